"""One run: read and not repeated, refused where it is another's, alone in its folder, told apart by what matters."""

import json
import os
import shutil
import sys
from pathlib import Path

import filelock
import pytest
import toy

from inpaintkit import data, evaluate, fills, masking, papers, runtime, training
from inpaintkit.experiments import records, run

PACKAGE = Path(runtime.__file__).parent


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished toy run: its folder and its record. Tests that change files take a copy."""
    out = tmp_path_factory.mktemp("toy") / "run"
    return out, run.run(toy.PAPER, {}, out, progress=False)


@pytest.fixture
def copy(finished, tmp_path):
    return Path(shutil.copytree(finished[0], tmp_path / "copy"))


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*given, **options):
        raise AssertionError("a training was started")

    monkeypatch.setattr(training, "fit", refuse)


# --- what was done before ---------------------------------------------------------------------------------------------


def test_a_finished_run_is_read_and_not_repeated(finished, no_training):
    out, record = finished
    assert run.run(toy.PAPER, {}, out) == record
    assert run.run(toy.PAPER, {"profile": "demo", "experiments": "all"}, out) == record, "free to change"


@pytest.mark.parametrize(
    ("given", "changed", "named"),
    [
        ({"epochs": 2, "lr": 0.01, "width": 9}, {}, "lr, width"),
        ({"n_train": 16}, {}, "n_train"),
        ({}, {"code": "other"}, "code"),
        ({}, {"paper": "other"}, "paper"),
    ],
)
def test_the_folder_of_another_run_is_refused_by_what_differs(copy, no_training, given, changed, named):
    path = copy / "results.json"
    runtime.write_json(path, runtime.read_json(path) | changed)
    with pytest.raises(ValueError, match=rf"another run \(.*{named}.*\)"):
        run.run(toy.PAPER, given, copy)


@pytest.mark.parametrize(
    ("content", "words"),
    [('{"schema": 1, "pa', "damaged"), (f'{{"schema": {run.SCHEMA - 1}}}', "version"), ('{"filler": {}}', "version")],
)
def test_a_record_that_is_damaged_or_of_an_older_version_is_refused_and_stays(copy, no_training, content, words):
    (copy / "results.json").write_text(content)
    with pytest.raises(ValueError, match=rf"results\.json.* {words}"):
        run.run(toy.PAPER, {}, copy)
    assert (copy / "results.json").read_text() == content


def test_more_epochs_continue_a_finished_run(copy):
    longer = run.run(toy.PAPER, {"epochs": 2}, copy, progress=False)
    assert (longer["history"]["resumed_from"], longer["steps"]) == (4, 8)
    with pytest.raises(ValueError, match="epochs"):
        run.run(toy.PAPER, {"epochs": 1}, copy)
    (copy / "results.json").unlink()  # as if it had been stopped: its checkpoint says whose it is
    for other in ({"lr": 0.5}, {"seed": 1}, {"n_train": 16}):
        with pytest.raises(ValueError, match=r"checkpoint.* another run"):
            run.run(toy.PAPER, {"epochs": 3} | other, copy)


def test_a_folder_that_another_process_uses_or_that_cannot_be_made_is_refused(tmp_path, no_training):
    with filelock.FileLock(tmp_path / "run.lock"), pytest.raises(ValueError, match="in use by another process"):
        run.run(toy.PAPER, {}, tmp_path)
    with pytest.raises(OSError, match=r"run\.lock"):
        run.run(toy.PAPER, {}, tmp_path / "run.lock")


# --- what makes a run another one -------------------------------------------------------------------------------------


def test_a_changed_file_voids_the_runs_of_its_own_work_only(tmp_path, monkeypatch):
    works = papers.PAPERS

    def codes(name):
        """Of all works, in a copy of the package in which the file has one line more."""
        copied = Path(shutil.copytree(PACKAGE, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.zip")))
        (copied / name).write_text((copied / name).read_text(encoding="utf8") + "\nADDED = 1\n", encoding="utf8")
        monkeypatch.setattr(run, "PACKAGE", copied)
        for id, paper in works.items():
            monkeypatch.setattr(sys.modules[type(paper).__module__], "__file__", str(copied / "papers" / f"{id}.py"))
        return {id: run.code(paper, paper.Parameters.resolve({})) for id, paper in works.items()}

    before = codes("viz.py")
    assert codes("apps/doctor.py") == codes("experiments/report.py") == before
    for name, voided in (("papers/vae.py", {"vae"}), ("training.py", set(works)), ("data/photographs.py", set(works))):
        assert {id for id, code in codes(name).items() if code != before[id]} == voided


def test_folders_differ_where_results_may(monkeypatch):
    def name(**given):
        return run.name(toy.PAPER, toy.Parameters.resolve(given))

    assert name() == name(experiments="all", out_dir="x", epochs=1)
    names = [name(), name(seed=1), name(lr=0.01), name(profile="smoke"), name(reading="as_run", width=9)]
    assert len(set(names)) == len(names)
    assert not set("".join(names)) & set(':*?"<>|\\ '), "Windows and shells have to take them"
    cfg = toy.Parameters.resolve({})
    pictures = [data.open("photographs", size=32, n_train=n, n_test=4) for n in (8, 9)]
    assert len({run.name(toy.PAPER, cfg, images) for images in (None, *pictures)}) == 3
    assert len({str(run.checkpoint_identity(toy.PAPER, cfg, images)) for images in pictures}) == 2
    monkeypatch.setattr(run, "code", lambda paper, cfg: "other code")
    assert name() not in names


# --- the record -------------------------------------------------------------------------------------------------------


def test_the_record_says_what_produced_it(finished):
    _, record = finished
    assert record["threads"] == 1
    assert record["device"].endswith("1 thread")
    assert record["revision"] == runtime.git_revision()
    assert (record["steps"], record["seed"], record["changes"]) == (4, 0, {})
    assert record["data"]["counts"]["train"] == 32
    assert record["seconds"] > 0
    json.dumps(record, allow_nan=False)


def test_a_run_is_what_a_notebook_writes_out(tmp_path):
    paper = papers.get("vae")
    given = {"profile": "smoke", "n_train": 32, "n_test": 4}
    record = run.run(paper, given, tmp_path, progress=False)
    cfg = paper.Parameters.resolve(given)
    images = data.open_for(cfg)
    runtime.seed_everything(cfg.seed)
    modules = paper.build(cfg)
    pictures, fixed_holes = paper.training_set(images.train, cfg)
    recipe = paper.recipe(modules, cfg, len(pictures) // cfg.batch_size)
    options = {"epochs": cfg.epochs, "batch_size": cfg.batch_size, "seed": cfg.seed, "progress": False}
    training.fit(recipe, pictures, fixed_holes, **options)
    assert training.weights_hash(modules) == record["weights"]
    image, score = images.test[:].float() / 255, paper.scores[0]
    holes, mask = next(iter(paper.test_holes(cfg, len(image)).items()))
    (scored,) = evaluate.score([paper.filler(modules.eval(), cfg)], image, mask, [score])
    rows = {(row["part"], row["holes"], row["filler"], row.get("score")): row for row in record["scores"]}
    assert rows["test", holes, "vae", score]["mean"] == pytest.approx(scored.mean(score))


def test_a_slim_run_leaves_its_record_alone_and_a_whole_one_its_weights(finished, tmp_path):
    assert {"checkpoint.pt", "weights.safetensors", "images.npz", "results.json"} <= set(os.listdir(finished[0]))
    slim = run.run(toy.PAPER, {}, tmp_path, slim=True, progress=False)
    assert set(os.listdir(tmp_path)) - {"run.lock"} == {"images.npz", "results.json"}
    assert slim["weights"] == finished[1]["weights"]


def test_a_filler_that_declines_leaves_its_reason_and_nothing_dies(tmp_path):
    class Declining(toy.Toy):
        fills = ("nothing", "frequency")

        def filler(self, modules, cfg):
            filler = super().filler(modules, cfg)
            filler.accepts = lambda shape, mask: "takes nothing today"
            return filler

        def preview(self, modules, cfg, masked, mask):
            return masked

    record = run.run(Declining(), {}, tmp_path, progress=False)
    assert {row["note"] for row in record["scores"] if row["filler"] == "toy"} == {"takes nothing today"}
    kept = set(records.collect(Declining(), [tmp_path]).scores["filler"])
    assert "nothing" in kept
    assert "toy" not in kept


def test_a_notebooks_record_is_completed_without_training_again(finished, tmp_path):
    _, whole = finished
    cfg = toy.PAPER.Parameters.resolve({})
    images, device = data.open_for(cfg), runtime.pick_device()
    modules, history = run.train(toy.PAPER, cfg, images, tmp_path, device, progress=False)
    quick = run.save(tmp_path, toy.PAPER, cfg, modules, images, history, device, own_holes_only=True)
    assert {row["holes"] for row in quick["scores"]} == {quick["holes"]}
    again = run.run(toy.PAPER, {}, tmp_path, progress=False)
    assert again["history"]["resumed_from"] == history.steps[-1]
    assert again["scores"] == whole["scores"]


def test_what_a_fill_scored_is_kept_for_the_same_pictures_and_holes_only(tmp_path, monkeypatch):
    monkeypatch.setenv("INPAINTKIT_RUNS", str(tmp_path))
    test = data.open("photographs", size=32, n_train=8, n_test=8).test.float() / 255
    scored = []
    for image in (test[:4], test[4:]):
        for place in ("centre", (0.3, 0.3)):
            mask = masking.square(4, 32, 8, place)
            wanted = evaluate.score(fills.fills(*toy.PAPER.fills), image, mask, toy.PAPER.scores)
            for _ in range(2):  # the second time, kept ones are read
                found = run.reference(toy.PAPER, image, mask, runtime.fingerprint(image))
                same = zip(found, wanted, strict=True)
                assert all((f.filler, f.mean("hole_mse")) == (w.filler, w.mean("hole_mse")) for f, w in same)
            scored.append(found[-1].mean("hole_mse"))
    assert len(set(scored)) == 4, "pictures and holes that cannot be told apart test nothing"
    for damage in (lambda whole: b"damaged", lambda whole: whole[: len(whole) // 2], lambda whole: b""):
        for kept in (tmp_path / "fills").iterdir():
            kept.write_bytes(damage(kept.read_bytes()))
        again = run.reference(toy.PAPER, image, mask, runtime.fingerprint(image))
        assert again[-1].mean("hole_mse") == scored[-1]


def test_networks_stand_beside_the_fills_of_their_work_and_what_cannot_is_left_out(tmp_path, monkeypatch):
    class Refuses(fills.Box):
        id = "refuses"

        def accepts(self, shape, mask):
            return "takes no hole"

    monkeypatch.setenv("INPAINTKIT_RUNS", str(tmp_path))
    image = data.open("photographs", size=32, n_train=8, n_test=4).test.float() / 255
    mask = masking.square(4, 32, 8, "centre")
    beside = lambda *given: run.beside_fills(toy.PAPER, image, mask, *given)  # noqa: E731
    assert [row.filler for row in beside([Refuses(), *fills.fills("telea")])] == [*toy.PAPER.fills, "telea"]
    black, white = (beside([fills.Nothing()], ["hole_mse"], fill)[-1].mean("hole_mse") for fill in ("", "white"))
    assert black == beside([])[0].mean("hole_mse") != white, "black is what the work leaves in its holes"


def test_what_a_work_measures_besides_stands_in_its_record(tmp_path):
    class Measured(toy.Toy):
        def measure(self, modules, cfg, image, mask):
            return {"detail": 0.25, "pictures": len(image)}

    record = run.run(Measured(), {}, tmp_path, progress=False)
    measured = {row["score"]: row["mean"] for row in record["scores"] if row.get("filler") == "toy"}
    assert (measured["detail"], measured["pictures"]) == (0.25, 12)
    assert record["history"]["scores"]["detail"] == [0.25], "the one measure that is worth a curve"
