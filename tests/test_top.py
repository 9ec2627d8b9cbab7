"""The top layer: scoring, tables, reports, explorers, exercises, effects."""

import io
import itertools
import json
import re
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from PIL import Image

from inpaintkit import checks, effects, evaluate, masking, metrics, report, runtime, training, viz, widgets
from inpaintkit.effects import autoencoder as study
from inpaintkit.models import autoencoder, classical

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"

# --- evaluate ---


class Shifted(masking.Filler):
    """Redraws the whole picture, a little too bright: raw and composite differ."""

    name = "shifted"

    def __init__(self, image):
        self.image = image

    def __call__(self, masked, mask):
        return self.image + 0.1


def test_scores_tell_raw_from_composite_and_hole_from_image(images):
    mask = masking.square(8, 64, 16, "centre")
    row = evaluate.score([Shifted(images)], images, mask, list(evaluate.SCORES))[0]
    mean = {name: values.mean().item() for name, values in row.scores.items()}
    assert mean["hole MSE"] == pytest.approx(0.01, rel=1e-4)
    assert mean["raw MSE"] == pytest.approx(0.01, rel=1e-4)
    assert mean["image MSE"] == pytest.approx(0.01 / 16, rel=1e-4)
    assert mean["image PSNR"] == pytest.approx(20 + 12.04, abs=0.01)
    assert mean["hole L1"] == pytest.approx(0.1, rel=1e-4)
    assert mean["hole MSE, clipped"] < mean["hole MSE"]
    assert mean["raw SSIM"] < mean["image SSIM"]
    assert all(values.shape == (8,) for values in row.scores.values())


def test_fillers_that_cannot_get_a_dash_with_the_reason(images):
    net = autoencoder.Filler(autoencoder.Autoencoder(64, dense=256))
    mask = masking.pixels(8, 64, 0.3, torch.Generator().manual_seed(0))
    rows = evaluate.score([classical.Nothing(), net], images, mask, ["hole MSE"])
    text = repr(viz.Table([row.show() for row in rows]))
    assert "autoencoder" in text
    assert "–" in text
    assert "(1) takes one 16x16 square hole" in text
    assert rows[1].to_json() == {"filler": "autoencoder", "note": "takes one 16x16 square hole"}


@pytest.mark.parametrize("bad", [lambda x: x / 0, lambda x: x[:, :, :1, :1]])
def test_a_filler_that_returns_no_picture_is_named(images, bad):
    filler = Shifted(bad(images))
    with pytest.raises(ValueError, match=r"shifted returned .* a filler returns finite pictures of the same shape"):
        evaluate.score([filler], images, masking.square(8, 64, 16, "centre"), ["hole MSE"])


def test_undefined_scores_are_counted_in_the_table():
    row = evaluate.Row("x", {"image NMSE [0,1]": torch.tensor([0.5, torch.nan, torch.nan])})
    assert row.show() == {"filler": "x", "image NMSE [0,1]": 0.5, "image NMSE [0,1], undefined": 2}


def test_bad_input_is_refused_before_anything_is_scored(images):
    with pytest.raises(ValueError, match="no hole"):
        evaluate.score([], images, torch.zeros(8, 1, 64, 64, dtype=torch.bool), ["hole MSE"])
    with pytest.raises(ValueError, match="there is no score 'hole FID'"):
        evaluate.score([], images, masking.square(8, 64, 4, "centre"), ["hole FID"])


# --- viz ---


def test_table_marks_the_best_rounds_and_escapes():
    lines = [
        {"filler": "<a>", "hole MSE": 0.25, "hole PSNR": 9.123},
        {"filler": "b", "hole MSE": 0.5, "hole PSNR": 20.0},
    ]
    table = viz.Table(lines, "caption", {"hole MSE": min, "hole PSNR": max})
    page = table._repr_html_()
    assert "<b>0.2500</b>" in page
    assert "<b>20.0</b>" in page
    assert ">9.1<" in page
    assert "&lt;a&gt;" in page
    assert "<a>" not in page
    assert repr(table).splitlines()[1].split() == ["<a>", "0.2500", "9.1"]


def test_figures_are_written_and_closed(images, tmp_path):
    viz.grid(
        {"a": images, "mask": masking.square(8, 64, 9, "centre")}, list("abcdefgh"), save=tmp_path / "new" / "grid.jpg"
    )
    viz.lines({"x": ([1, 2], [3, 4])}, "x", "y", {"level": 2.0}, log="xy", save=tmp_path / "lines.png")
    viz.bars({"g": {"a": 1.0, "b": 2.0}}, "y", save=tmp_path / "bars.png")
    assert Image.open(tmp_path / "new" / "grid.jpg").format == "JPEG"
    assert Image.open(tmp_path / "lines.png").format == "PNG"
    assert plt.get_fignums() == []


def test_shown_source_is_the_shipped_source():
    assert "def hole_loss" in viz.show_source(autoencoder.hole_loss).data


# --- widgets ---


def find(widget, kind):
    children = getattr(widget, "children", ())
    return ([widget] if isinstance(widget, kind) else []) + [found for child in children for found in find(child, kind)]


def test_explorer_follows_its_controls():
    box = widgets.explore(64)
    view = find(box, ipywidgets.HTML)[0]
    first = view.value
    assert first.count("<img") == 7
    assert "do nothing" in first
    for kind in masking.KINDS:
        find(box, ipywidgets.Dropdown)[1].value = kind
        assert "hole:" in view.value, kind
    amount, row, column = find(box, ipywidgets.FloatSlider)
    find(box, ipywidgets.Dropdown)[1].value = "square"
    for slider in (amount, row, column):
        before = view.value
        slider.value = 0.95
        assert view.value != before
    row.value = column.value = 0.0  # a large hole at the border is pushed inside, not refused
    assert "<table>" in view.value


@pytest.mark.parametrize("version", [7, 8])
def test_own_photograph_in_both_versions_of_ipywidgets(version):
    file = io.BytesIO()
    Image.new("RGB", (80, 90), "red").save(file, "PNG")
    content = {"content": file.getvalue()}
    value = {"red.png": content} if version == 7 else (content,)
    assert widgets._own_photograph(value, 64).shape == (1, 3, 64, 64)
    assert widgets._own_photograph({} if version == 7 else (), 64) is None


# --- exercises ---

CHECKS = {
    "image_mse": checks.image_mse,
    "mean_psnr": checks.mean_psnr,
    "stable_rate": checks.stable_rate,
    "Encoder": checks.encoder,
    "merged": checks.merged_layers,
    "loss": checks.luminance_loss,
    "receptive_field": checks.receptive_field,
    "masked_for_test": checks.centre_mask,
    "unshuffle": checks.unshuffle,
    "mean_nmse": checks.mean_nmse,
}


def exercises():
    """(check name, source in the notebook, solution) of every exercise."""
    found = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        for cell, after in itertools.pairwise(cells):
            call = re.search(r"^print\(checks\.\w+\((\w+)\)\)$", cell.source, flags=re.MULTILINE)
            if call:
                solution = re.search(r"<details>.*?```python\n(.*?)```", after.source, flags=re.DOTALL).group(1)
                found.append((call.group(1), cell.source.replace(call.group(0), ""), solution))
    return found


@pytest.mark.parametrize(("name", "given", "solution"), exercises(), ids=lambda value: value[:20].split("\n")[0])
def test_given_code_fails_and_the_solution_passes(name, given, solution):
    namespace = {"torch": torch, "nn": torch.nn}
    exec(given, namespace)
    wrong = CHECKS[name](namespace[name])
    assert "not answered yet" in wrong or "still there" in wrong
    exec(solution, namespace)
    assert re.fullmatch(r"exercise \d: correct", CHECKS[name](namespace[name]))


def test_every_notebook_has_two_exercises_and_all_checks_are_used():
    assert sorted(name for name, *_ in exercises()) == sorted(CHECKS)


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        (checks.image_mse, lambda mse, share: mse, "which share of the pixels"),
        (checks.image_mse, lambda mse, share: mse * (1 - share), "you kept the known part"),
        (checks.image_mse, lambda mse, share: (mse * share).mean(), "one value per image"),
        (checks.image_mse, lambda mse, share: mse / 0, "your answer is inf"),
        (checks.image_mse, lambda mse, share: undefined, "stopped with NameError"),  # noqa: F821
        (checks.image_mse, lambda mse, share: (mse * share).float(), "correct"),
        (checks.image_mse, lambda mse, share: "half", "stopped with"),
        (checks.mean_psnr, lambda pred, image: torch.tensor(3.0), "a mean of 40 dB"),
        (checks.mean_psnr, lambda pred, image: metrics.psnr(pred, image), "a value for each image"),
        (checks.stable_rate, lambda x: 2 / torch.linalg.eigvalsh(x.T @ x / len(x))[-1], "factor 2"),
        (checks.stable_rate, lambda x: 1 / torch.linalg.eigvalsh(x.T @ x)[-1], "number of patches"),
        (checks.stable_rate, lambda x: 1.0, "times the right value"),
        (checks.encoder, lambda: torch.nn.Conv2d(3, 4, 3), "three poolings"),
        (checks.merged_layers, lambda w, b, v, c: (w.T @ v.T, c), "weights of shape (3, 5), and yours have (5, 3)"),
        (checks.merged_layers, lambda w, b, v, c: (v @ w + 1, c), "not the product"),
        (checks.merged_layers, lambda w, b, v, c: (v @ w, c), "the first layer's bias goes through"),
        (checks.merged_layers, lambda w, b, v, c: (v @ w, v @ b), "the bias is not"),
        (checks.luminance_loss, lambda p, t: (p - t[:, :1]).square().mean(), "different ranges"),
        (checks.luminance_loss, lambda p, t: (2 * p - 1 - t[:, :1]).square().mean(), "factor of 4"),
        (checks.luminance_loss, lambda p, t: (p - t[:, 1:]).square().mean(), "and yours says"),
    ],
)
def test_wrong_answers_get_a_hint(check, answer, hint):
    assert hint in check(answer)


# --- effects and report ---


@pytest.fixture
def small_study(monkeypatch):
    """The real study with a training of a moment."""
    tiny = {"epochs": 1, "n_train": 20, "n_test": 8, "dense": 256}
    profiles = {"demo": autoencoder.PROFILES["demo"] | tiny}
    readings = {name: reading | {"dense": 256} for name, reading in autoencoder.READINGS.items()}
    monkeypatch.setattr(autoencoder, "PROFILES", profiles)
    monkeypatch.setattr(autoencoder, "READINGS", readings)
    fills = {"mean of a 2-pixel ring": {"mean": 0.02}, "biharmonic": {"mean": 0.01}}
    monkeypatch.setattr(study, "references", lambda: {"16 authors": {"test": fills, "unseen": fills}})


def test_effects_are_recorded_once_resumed_and_shared(small_study, tmp_path, monkeypatch):
    record = effects.record("01_autoencoder", "decoder, output", seeds=(0, 1), runs=tmp_path)
    assert len(record["runs"]) == 2 * 4, "the demo is shared by both effects"
    demo = effects.matching(record, {})
    assert [run["seed"] for run in demo] == [0, 1]
    assert demo[0]["weights"] != demo[1]["weights"]
    assert demo[0]["scores"]["16 authors"]["test"]["n"] > 0
    assert demo[0]["alive of 3"]
    assert not list(tmp_path.rglob("checkpoint.pt")), "finished runs need none"
    monkeypatch.setattr(study, "run", lambda *_: pytest.fail("trained again"))
    assert effects.record("01_autoencoder", "decoder, output", seeds=(0, 1), runs=tmp_path) == record
    monkeypatch.setattr(runtime, "package_hash", lambda: "the package has changed")
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        effects.record("01_autoencoder", "decoder", seeds=(0,), runs=tmp_path)
    assert study.difference(record, {"side": 32}) == "not run"
    demo_line, not_run = study.lines(record, "side")
    assert demo_line["seeds"] == "2"
    assert demo_line["test: biharmonic"] == 0.01
    assert re.fullmatch(r"0\.\d{4} ± 0\.\d{4}", demo_line["test: network"])
    assert not_run == {"trained": "32x32", "seeds": "not run"}
    assert "2 seeds" in study.difference(record, {"n_dec": 4})
    assert effects.stamp(record).startswith("profile demo, seeds 0, 1, ")


def test_every_variant_of_every_effect_can_be_trained(small_study, tmp_path, monkeypatch):
    fit = training.fit
    monkeypatch.setattr(training, "fit", lambda *args, **options: fit(*args, **(options | {"epochs": 1})))
    record = effects.record("01_autoencoder", "all", seeds=(0,), runs=tmp_path)
    for name, effect in study.EFFECTS.items():
        for parameters in effect.variants.values():
            (run,) = effects.matching(record, parameters)
            assert run["trained on"] in run["scores"], name
    full = effects.matching(record, {"decoder": "full", "hole": "random", "side_max": 24})[0]
    assert set(full["scores"]) == set(study.fixed_holes(1, 64))


@pytest.mark.parametrize(("names", "expected"), [("none", 0), ("all", len(study.EFFECTS)), ("side,place", 2)])
def test_experiments_parameter(names, expected):
    assert len(effects.select("01_autoencoder", names)) == expected


def test_unknown_experiment_is_named():
    with pytest.raises(ValueError, match=r"experiments must be none, all, or some of readings, .*, and 'sides' is not"):
        effects.select("01_autoencoder", "side, sides")


def test_verdicts_can_fail():
    classics = {"mean of known pixels": {"mean": 0.02}, "mean of a 2-pixel ring": {"mean": 0.0136}}

    def record(*values):
        runs = [{"parameters": {}, "scores": {"16 authors": {"test": {"mean": value}}}} for value in values]
        return {"runs": runs, "references": {"16 authors": {"test": classics}}}

    assert [holds for _, holds in study.verdicts(record(0.012, 0.0135))] == [True, True]
    assert [holds for _, holds in study.verdicts(record(0.012, 0.0137))] == [True, False]
    assert [holds for _, holds in study.verdicts(record())] == [False, False]


def test_detail_is_zero_for_a_flat_patch_and_one_for_the_truth(images):
    mask = autoencoder.hole(8, 64, 16, "centre")
    assert evaluate.detail(images, images, mask, 16) == 1
    assert evaluate.detail(torch.zeros_like(images), images, mask, 16) == 0


def test_recorded_numbers_carry_their_source_and_comparability(monkeypatch, tmp_path):
    rows = report.reported("01_autoencoder")
    assert {row["value"] for row in rows} >= {"0.0152", "0.0225"}
    assert all(row["source"] for row in rows)
    run = {
        "parameters": {"size": 128, "side": 16, "epochs": 50, "reading": "as_run"},
        "data": {"name": "folder cats"},
        "scores": {
            "test": [
                {"filler": f, "hole MSE": {"mean": m}} for f, m in (("do nothing", 0.2), ("box", 0.03), ("ours", 0.02))
            ]
        },
        "history": {"seconds": 60.0},
        "device": "a machine",
    }
    monkeypatch.setattr(runtime, "results_dir", lambda: tmp_path)
    (tmp_path / "reported.csv").write_text((NOTEBOOKS.parent / "results" / "reported.csv").read_text())
    assert [line["comparable?"] for line in report.comparison("01_autoencoder", "ours")] == ["not run", "not run"]
    (tmp_path / "01_autoencoder-paper-16.json").write_text(json.dumps(run))
    line = report.comparison("01_autoencoder", "ours")[0]
    assert (line["reported"], line["reproduced"], line["do nothing"], line["which"]) == (0.0152, 0.02, 0.2, "box")
    assert line["comparable?"] == "no: other pictures (folder cats)"
    run["data"] |= {"name": "folder wild", "counts": {"train": 3341, "test": 1397}}
    run["parameters"]["epochs"] = 3
    assert report.why_not(rows[0], run) == "no: epochs 3 instead of 50"
    run["parameters"]["epochs"] = 50
    assert report.why_not(rows[0], run) == "yes"
    for name, verdict in {
        "afhq-wild": "yes",
        "afhq-cat": "no: other pictures (afhq-cat)",
        "folder afhq": "no: other pictures (folder afhq)",
    }.items():
        run["data"]["name"] = name
        assert report.why_not(rows[0], run).startswith(verdict), name
    run["data"] |= {"name": "afhq-wild", "counts": {"train": 10, "test": 1397}}
    assert report.why_not(rows[0], run) == "no: 10 training pictures instead of 3341"
    run["data"]["name"] = "afhq-wild:official"
    assert report.why_not(rows[0], run) == "no: other pictures (afhq-wild:official)"


def test_summaries_keep_spread_over_images_apart():
    assert metrics.summarise(torch.tensor([1.0, 3.0]))["sd"] == pytest.approx(2**0.5)
