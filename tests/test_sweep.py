"""The sweep of notebook 04: trained once, read afterwards, continued when interrupted, and its curves."""

import json
import signal
from statistics import mean, stdev

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from inpaintkit import __main__, data, runtime, sweep, viz
from inpaintkit.effects import ssrgan as study
from inpaintkit.models import ssrgan

TINY = {"profile": "smoke", "n_train": 8, "n_test": 4, "network": "smallest"}
NMSE = "image NMSE [0,1]"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep over two levels and two seeds: its folder and results."""
    out = tmp_path_factory.mktemp("sweep")
    return out, sweep.run({"embedded": {}}, (0.4, 0.3), (0, 1), out, TINY)


@pytest.fixture
def few_fills(monkeypatch):
    monkeypatch.setattr(study, "FILLS", ("do nothing", study.BAR, "biharmonic"))


@pytest.fixture
def no_training(monkeypatch):
    def train(*arguments):
        raise AssertionError("nothing was to be trained")

    monkeypatch.setattr(study, "train", train)


def made_up(dataset, p, seed, curve=(0.2, 0.1), **fillers):
    rows = [{"filler": name, NMSE: {"mean": value, "sd": 9.0}} for name, value in fillers.items()]
    rows.append({"filler": "Telea", "note": "needs one mask for all channels"})
    scores = {"composited NMSE": list(curve), "raw NMSE": [7.0, 7.0]}
    return {
        "dataset": dataset,
        "parameters": {"p": p, "seed": seed, "size": 64, "n_train": 640, "epochs": 2},
        "scores": {"test": rows},
        "history": {"epochs": [1, 2], "steps": [50, 70], "seconds": 90.0, "scores": scores},
        "data": {"counts": {"train": 640, "test": 200}},
        "device": "a processor",
    }


MADE_UP = [
    made_up("a", 0.8, 0, SSRGAN=0.30, biharmonic=0.40),
    made_up("a", 0.3, 1, (0.24, 0.14), SSRGAN=0.14, biharmonic=0.11),
    made_up("a", 0.3, 0, (0.20, 0.12), SSRGAN=0.10, biharmonic=0.10),
    made_up("b", 0.3, 0, (5.0, 5.0), SSRGAN=5.0, biharmonic=6.0),
]


# --- runs ---


def test_every_level_and_seed_is_a_run_of_its_own(swept):
    out, results = swept
    wanted = [(0.4, 0), (0.4, 1), (0.3, 0), (0.3, 1)]
    assert [(r["parameters"]["p"], r["parameters"]["seed"]) for r in results] == wanted
    assert len({result["weights"] for result in results}) == 4
    folders = {path.parent.relative_to(out).as_posix() for path in out.rglob("results.json")}
    assert folders == {f"embedded/p={p} seed={seed}" for p, seed in wanted}
    assert not list(out.rglob("checkpoint.pt"))
    for result in results:
        assert result["parameters"]["reading"] == "fixed"
        assert result["data"]["counts"]["train"] == 8
        for part in ("test", "unseen"):
            rows = {row["filler"]: row for row in result["scores"][part]}
            assert list(rows) == [*study.FILLS, "SSRGAN"]
            p = result["parameters"]["p"]
            assert rows["do nothing"]["raw NMSE [0,1]"]["mean"] == pytest.approx(p, abs=0.02)
            assert rows["biharmonic"][NMSE]["mean"] < rows["mean of known pixels"][NMSE]["mean"] < p
            assert rows["SSRGAN"][NMSE]["n"] == 4
        network = next(row for row in result["scores"]["test"] if row["filler"] == "SSRGAN")
        assert result["history"]["scores"]["composited NMSE"] == [pytest.approx(network[NMSE]["mean"], rel=1e-4)]


def test_a_second_call_reads_and_trains_nothing(swept, no_training):
    out, results = swept
    assert sweep.run({"embedded": {}}, (0.4, 0.3), (0, 1), out, TINY) == results
    found = sweep.read(out)
    assert sorted(run["weights"] for run in found) == sorted(result["weights"] for result in results)
    assert {run["dataset"] for run in found} == {"embedded"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"lr": 1e-3}, "lr"), ({"n_train": 16, "blocks": 1}, "n_train, blocks"), ({"reading": "as_run"}, "reading")],
)
def test_a_folder_of_other_parameters_is_refused(swept, no_training, changes, named):
    with pytest.raises(ValueError, match=rf"belongs to another sweep \(.*{named}.* differ\): choose another out"):
        sweep.run({"embedded": {}}, (0.4,), (0,), swept[0], TINY | changes)


@pytest.mark.parametrize(
    ("levels", "changes", "message"),
    [
        ((0.3,), {"epoch": 3}, r"unknown parameter 'epoch': did you mean epochs\?"),
        ((0.3, 1.5), {}, r"p must lie between 0.01 and 0.99, and 1.5 does not\."),
        ((0.3, 0.0), {}, r"p must lie between 0.01 and 0.99, and 0.0 does not\."),
        ((0.3,), {"epochs": "many"}, r"epochs must be a whole number, and 'many' is not\."),
        ((0.3,), {"epochs": 1.5}, r"epochs must be a whole number, and 1.5 is not\."),
        ((0.3,), {"redraw": "no"}, r"redraw must be True or False, and 'no' is not\."),
        ((0.3,), {"head": [1]}, r"head must be a text, and \[1\] is not\."),
        ((0.3,), {"seed": 5}, r"seed is not one parameter for all runs: use levels, seeds, datasets or out\."),
        ((0.3,), {"head": "shrink", "shuffles": 2}, r"head='shrink' divides 8 channels by 4 too often: .*"),
        ((0.3,), {"blocks": 0}, r"blocks must lie between 1 and 64, and 0 does not\."),
        ((0.3,), {"head": "grow"}, r"head must be one of expand, shrink, and 'grow' is not\."),
        ((0.3,), {"crop": 24}, r"size must be a multiple of the parts' 24 pixels .* 64 is not\."),
    ],
)
def test_what_a_sweep_does_not_take_is_one_sentence_and_trains_nothing(tmp_path, levels, changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        sweep.run({"embedded": {}}, levels, (0,), tmp_path / "out", TINY | changes)
    assert not (tmp_path / "out").exists()


def test_the_sweep_changes_the_demo_unless_told_otherwise():
    cfg = sweep.configuration({"p": 0.5, "seed": 2, "dataset": "folder", "data_dir": "flowers"})
    demo = study.configuration({}).values() | {"p": 0.5, "seed": 2, "dataset": "folder", "data_dir": "flowers"}
    assert cfg.values() == demo
    assert sweep.configuration({"profile": "paper", "reading": "as_run"}).blocks == 2


def test_an_interrupted_sweep_continues_where_it_stopped(tmp_path, few_fills, monkeypatch):
    step, done = ssrgan.Recipe.step, []

    def interrupted(recipe, batch, generator):
        done.append(recipe.cfg.p)
        if len(done) == 6:
            signal.raise_signal(signal.SIGINT)
        return step(recipe, batch, generator)

    monkeypatch.setattr(ssrgan.Recipe, "step", interrupted)
    arguments = ({"embedded": {}}, (0.3, 0.4), (0,))
    with pytest.raises(KeyboardInterrupt):
        sweep.run(*arguments, tmp_path / "two", TINY)
    assert (tmp_path / "two" / "embedded" / "p=0.4 seed=0" / "checkpoint.pt").exists()
    first, second = sweep.run(*arguments, tmp_path / "two", TINY)
    assert done == [0.3] * 4 + [0.4] * 4, "4 steps each, none of them twice"
    assert first["history"]["resumed_from"] is None
    assert second["history"]["resumed_from"] == 2
    assert not list(tmp_path.rglob("checkpoint.pt"))
    assert second["weights"] == sweep.run(*arguments, tmp_path / "one", TINY)[1]["weights"]


def test_a_finished_run_that_was_deleted_is_trained_again_and_ends_alike(swept, few_fills, monkeypatch):
    out, results = swept
    trained, train = [], study.train
    monkeypatch.setattr(study, "train", lambda cfg, *rest: trained.append((cfg.p, cfg.seed)) or train(cfg, *rest))
    path = out / "embedded" / "p=0.3 seed=1" / "results.json"
    before = path.read_text(encoding="utf8")
    path.unlink()
    again = sweep.run({"embedded": {}}, (0.4, 0.3), (0, 1), out, TINY)
    path.write_text(before, encoding="utf8")
    assert trained == [(0.3, 1)]
    assert [result["weights"] for result in again] == [result["weights"] for result in results]


# --- reading, curves ---


def test_reading_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no results.json: run a sweep first\."):
        sweep.read(tmp_path)


def test_runs_that_were_made_elsewhere_are_read_like_these(tmp_path):
    for run in MADE_UP:
        folder = tmp_path / run["dataset"] / f"job {run['parameters']['p']} {run['parameters']['seed']}"
        content = {name: value for name, value in run.items() if name != "dataset"}
        runtime.write_json(folder / "results.json", content)
    found = sweep.read(tmp_path)
    assert sorted(map(json.dumps, found)) == sorted(
        json.dumps({name: run[name] for name in run if name != "dataset"} | {"dataset": run["dataset"]})
        for run in MADE_UP
    )
    assert sweep.by_level(found, "a").keys() == {"SSRGAN", "biharmonic"}


def test_recorded_runs_are_those_in_results(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "results_dir", lambda: tmp_path)
    assert sweep.recorded() == []
    runtime.write_json(tmp_path / "04_ssrgan-sweep.json", {"runs": MADE_UP})
    assert sweep.recorded() == MADE_UP


def test_curves_over_levels_are_mean_and_spread_over_seeds():
    curves = sweep.by_level(MADE_UP, "a")
    assert curves.keys() == {"SSRGAN", "biharmonic"}
    levels, means, spreads = curves["SSRGAN"]
    assert levels == [0.3, 0.8]
    assert means == pytest.approx([0.12, 0.30])
    assert spreads == pytest.approx([0.02 * 2**0.5, 0.0])
    assert sweep.by_level(MADE_UP, "b")["SSRGAN"] == ([0.3], [5.0], [0.0])
    assert sweep.by_level(MADE_UP, "c") == sweep.by_level(MADE_UP, "a", part="unseen") == {}
    assert sweep.by_level(MADE_UP, "a", score="raw NMSE [0,1]") == {}


def test_curves_over_epochs_are_mean_and_spread_over_seeds():
    curves = sweep.by_epoch(MADE_UP, "a")
    assert list(curves) == ["30%", "80%"]
    epochs, means, spreads = curves["30%"]
    assert epochs == [1, 2]
    assert means == pytest.approx([0.22, 0.13])
    assert spreads == pytest.approx([0.02 * 2**0.5, 0.01 * 2**0.5])
    assert curves["80%"] == ([1, 2], [0.2, 0.1], [0.0, 0.0])
    assert sweep.by_epoch(MADE_UP, "b", "raw NMSE")["30%"] == ([1, 2], [7.0, 7.0], [0.0, 0.0])


def test_curves_of_a_real_sweep_are_those_of_its_files(swept):
    curves = sweep.by_level(sweep.read(swept[0]), "embedded", "raw NMSE [0,1]", "unseen")
    rows = {
        (r["parameters"]["p"], r["parameters"]["seed"]): r["scores"]["unseen"][-1]["raw NMSE [0,1]"]["mean"]
        for r in swept[1]
    }
    levels, means, spreads = curves["SSRGAN"]
    assert levels == [0.3, 0.4]
    for i, p in enumerate(levels):
        assert means[i] == pytest.approx(mean([rows[p, 0], rows[p, 1]]))
        assert spreads[i] == pytest.approx(stdev([rows[p, 0], rows[p, 1]]))
        assert spreads[i] > 0
    assert curves["biharmonic"][2] == [0.0, 0.0], "the test pictures and their holes do not depend on the seed"


def test_where_the_network_overtakes_a_fill():
    curves = sweep.by_level(MADE_UP, "a")
    assert sweep.overtakes(curves) == "80%"
    assert sweep.overtakes(curves, "biharmonic", "SSRGAN") == "30%"
    assert sweep.overtakes(curves, fill="SSRGAN") == "at none"
    assert sweep.overtakes({"SSRGAN": ([0.3, 0.4], [1, 1], 0), "biharmonic": ([0.3, 0.4], [2, 2], 0)}) == "30%, 40%"


def test_the_table_shows_means_and_what_they_are_means_of():
    table = sweep.table(MADE_UP, "a")
    assert table.lines == [
        {"filler": "SSRGAN", "p=0.3": pytest.approx(0.12), "p=0.8": 0.30},
        {"filler": "biharmonic", "p=0.3": pytest.approx(0.105), "p=0.8": 0.40},
    ]
    assert table.best == {"p=0.3": pytest.approx(0.105), "p=0.8": 0.30}
    for words in ("a: composited", "200 test pictures of 64 pixels and 2 seed(s)", "640 for training, 70 steps", "80%"):
        assert words in table.caption


def test_data_sets_are_compared_at_one_level():
    fills = dict.fromkeys(("do nothing", "normalised 5x5 box", "biharmonic"), 0.5)
    runs = [made_up(name, p, 0, SSRGAN=p, **fills) for name, p in (("b", 0.3), ("a", 0.8), ("a", 0.3))]
    runs.append(made_up("a", 0.3, 1, SSRGAN=0.5, **fills))
    first, second = sweep.compare(runs, 0.3).lines
    assert first == {"data": "a", "training pictures": 640, "epochs": 2, "SSRGAN": pytest.approx(0.4)} | fills
    assert second["SSRGAN"] == 0.3
    assert sweep.datasets(runs) == ["a"], "one level is no curve"
    assert [line["data"] for line in sweep.compare(runs, 0.8).lines] == ["a"]


def test_without_runs_the_curves_say_so(capsys):
    sweep.draw(MADE_UP, "c")
    sweep.draw_epochs([], "a")
    assert capsys.readouterr().out == 2 * "not run: python -m inpaintkit sweep\n"


def test_the_band_around_a_curve_is_its_spread(monkeypatch):
    drawn = []
    monkeypatch.setattr(viz, "_show", lambda figure, kind, save: drawn.append(figure))
    sweep.draw(MADE_UP, "a")
    sweep.draw_epochs(MADE_UP, "a")
    viz.lines({"no band": ([1, 2], [3, 4])}, "x", "y")
    levels, epochs, plain = (figure.axes[0] for figure in drawn)
    assert [line.get_label() for line in levels.lines] == ["SSRGAN", "biharmonic"]
    assert [line.get_label() for line in epochs.lines] == ["30%", "80%"]
    assert levels.get_yscale() == epochs.get_yscale() == "log"
    band = {tuple(corner) for corner in levels.collections[0].get_paths()[0].vertices.round(6).tolist()}
    spread = 0.02 * 2**0.5
    assert {(0.3, round(0.12 - spread, 6)), (0.3, round(0.12 + spread, 6)), (0.8, 0.3)} <= band
    assert len(levels.collections) == len(epochs.collections) == 2
    assert len(plain.collections) == 0
    for figure in drawn:
        plt.close(figure)


# --- command line ---


TINY_WORDS = [word for name, value in TINY.items() for word in ("-p", name, str(value))]


def test_the_command_line_sweeps_folders_and_draws(tmp_path, few_fills, capsys):
    folder, out = tmp_path / "pictures", tmp_path / "out"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for i in range(12):
        coarse = Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((64, 64)).save(folder / f"{i}.png")
    words = ["sweep", "embedded", f"own={folder}", "--levels", "0.3", "0.5", "--out", str(out), *TINY_WORDS]
    assert __main__.main([*words, "-p", "fill", "black", "-p", "mask_channel", "False"]) == 0
    shown = capsys.readouterr()
    names = ["embedded-epochs.png", "embedded-levels.png", "own-epochs.png", "own-levels.png"]
    assert sorted(path.name for path in out.glob("*.png")) == names
    pictures = [Image.open(out / name) for name in names]
    assert {picture.format for picture in pictures} == {"PNG"}
    assert len({path.read_bytes() for path in out.glob("*.png")}) == 4
    for name in ("embedded", "own"):
        assert f"{name}: composited NMSE in [0, 1], mean over 4 test pictures of 64 pixels and 1 seed(s)" in shown.out
        assert f"drawn in {out}: {name}-levels.png, {name}-epochs.png" in shown.out
    runs = sweep.read(out)
    assert sorted((run["dataset"], run["parameters"]["p"]) for run in runs) == [
        ("embedded", 0.3), ("embedded", 0.5), ("own", 0.3), ("own", 0.5),
    ]  # fmt: skip
    for run in runs:
        parameters = run["parameters"]
        assert (parameters["fill"], parameters["mask_channel"], parameters["n_train"]) == ("black", False, 8)
        assert run["scores"].keys() == ({"test", "unseen"} if run["dataset"] == "embedded" else {"test"})
        assert parameters["data_dir"] == (None if run["dataset"] == "embedded" else str(folder))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["embedded", "-p", "epoch", "3"], "unknown parameter 'epoch': did you mean epochs?"),
        (["embedded", "-p", "epochs", "many"], "epochs must be a whole number, and 'many' is not."),
        (["embedded", "--levels", "1.5"], "p must lie between 0.01 and 0.99, and 1.5 does not."),
        (["embedded", "--seeds", "-1"], "seed must lie between 0 and 2147483647, and -1 does not."),
        (["embedded", "-p", "lr", "-1"], "lr must lie between 1e-07 and 1.0, and -1 does not."),
        (["embedded", "-p", "p", "0.5"], "p is not one parameter for all runs: use levels, seeds, datasets or out."),
        (["own=nowhere"], "data_dir nowhere does not exist."),
        (
            ["flowers"],
            "dataset 'flowers' is not known: use 'embedded', 'folder' with data_dir=the folder of pictures, or one of "
            f"{', '.join(data.named())}.",
        ),
    ],
)
def test_the_command_line_says_in_one_sentence_what_is_wrong(tmp_path, capsys, words, message):
    out = tmp_path / "out"
    assert __main__.main(["sweep", *words[:1], "--out", str(out), *TINY_WORDS, *words[1:]]) == 2
    shown = capsys.readouterr()
    assert f"inpaintkit: {message}\n" in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert not out.exists()


def test_the_command_line_without_levels_sweeps_the_papers(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(sweep, "main", lambda *arguments: asked.append(arguments))
    assert __main__.main(["sweep", "embedded", "--seeds", "0", "1", "-p", "lr", "1e-3", "-p", "head", "shrink"]) == 0
    assert asked == [(["embedded"], ssrgan.LEVELS, [0, 1], None, {"lr": 1e-3, "head": "shrink"})]


def test_a_second_data_set_that_does_not_exist_is_said_before_the_first_is_trained(tmp_path, no_training):
    with pytest.raises(ValueError, match="dataset 'nosuch' is not known"):
        sweep.run({"embedded": {}, "other": {"dataset": "nosuch"}}, (0.3,), (0,), tmp_path, TINY)


def test_channels_that_lose_pixels_of_their_own_and_all_levels_can_be_swept(tmp_path, few_fills, capsys):
    words = ["-p", "per_channel", "True", "-p", "levels", "all"]
    assert __main__.main(["sweep", "embedded", "--levels", "0.5", "--out", str(tmp_path), *TINY_WORDS, *words]) == 0
    assert "SSRGAN is below biharmonic: not compared" in capsys.readouterr().out
    (found,) = sweep.read(tmp_path)
    assert found["parameters"]["levels"] == "all"
    sweep.compare([found], 0.5)


def test_the_command_line_opens_named_sets_and_folders_by_their_names(monkeypatch, tmp_path):
    asked = {}
    for function in ("table", "draw", "draw_epochs"):
        monkeypatch.setattr(sweep, function, lambda *arguments: None)
    monkeypatch.setattr(sweep, "run", lambda datasets, *others: asked.update(datasets))
    words = ["embedded", "caltech101:objects", "flowers102=here", "mine=there"]
    sweep.main(words, [0.3], [0], str(tmp_path), {})
    assert asked == {
        "embedded": {"dataset": "embedded"},
        "caltech101-objects": {"dataset": "caltech101:objects"},
        "flowers102": {"dataset": "flowers102", "data_dir": "here"},
        "mine": {"dataset": "folder", "data_dir": "there"},
    }
