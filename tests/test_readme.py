"""The README is held to what is in the repository: its numbers, links and commands."""

import json
import re
from pathlib import Path
from statistics import mean

from inpaintkit import forensics, report, sweep
from inpaintkit.effects import ssrgan

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf8")
MAP = [line for line in README.splitlines() if line.startswith("|")]


def row(words):
    (found,) = [line for line in MAP if words in line]
    return found


def assert_demo(words, demo, fills):
    """The line of a demo on the map: mean and range over the seeds, doing nothing, the best fill."""
    cells = row(words)
    assert f" {mean(demo):.4f} ({min(demo):.4f} to {max(demo):.4f}) " in cells
    assert f" {fills['do nothing']:.4f} " in cells
    assert f" {min(fills.values()):.4f} {min(fills, key=fills.get)} " in cells


def test_every_notebook_is_on_the_map_with_its_badge():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        line = row(f"(notebooks/{path.name})")
        assert f"colab.research.google.com/github/inpaintkit/inpaintkit/blob/main/notebooks/{path.name}" in line


def test_numbers_on_the_map_are_those_of_the_recorded_runs():
    for line in report.comparison("01_autoencoder", "autoencoder"):
        cells = row(f"{line['setting']} hole, 128x128")
        assert f" {line['reported']:.4f} " in cells
        if line["reproduced"] is None:
            assert "not run" in cells
            continue
        for name in ("reproduced", "do nothing", "best classic"):
            assert f" {line[name]:.4f}" in cells, name
        assert f" {line['minutes']:.0f} |" in cells
        assert ("not comparable" in cells) == (line["comparable?"] != "yes")
    record = json.loads((ROOT / "results" / "01_autoencoder-effects.json").read_text())
    demo = [run["scores"]["16 authors"]["test"]["mean"] for run in record["runs"] if not run["parameters"]]
    classics = {name: scores["mean"] for name, scores in record["references"]["16 authors"]["test"].items()}
    assert_demo("`demo`: 16x16 hole", demo, classics)


def test_numbers_of_the_vae_are_those_of_the_surveys_and_effects():
    for line in forensics.reported_lines():
        name = {"FFHQ": "faces", "Animals-10": "animals"}[line["data"]]
        if (line["part"], line["holes"]) == ("test", "1 x 20 %"):
            cells = row(f"| {name}, 1 x 20 %, **SSIM**")
            for column in ("reported", "untouched, global", "mean fill, global"):
                assert f" {line[column]} " in cells, column
            assert f" {line['ours on'].removesuffix(' pictures')} " in README
    packs = {line["data"]: line for line in forensics.pack_lines()}
    for name, data in {"faces": "afhq_cat", "animals": "caltech101"}.items():
        cells = row(f"| {name}, 1 x 20 %, **SSIM**")
        assert f" {packs[data]['VAE, test']} on " in cells
        assert "not comparable" in cells
        assert f" {float(packs[data]['minutes']):.0f} |" in cells
    record = json.loads((ROOT / "results" / "02_vae-effects.json").read_text())
    demo = [run["scores"]["1 x 10x10"]["test"]["hole MSE"]["mean"] for run in record["runs"] if not run["parameters"]]
    fills = record["references"]["embedded, grey"]["1 x 10x10"]["test"]
    classics = {name: scores["hole MSE"]["mean"] for name, scores in fills.items()}
    assert_demo("`demo`: 10x10 hole", demo, classics)


def test_numbers_of_the_gan_are_those_of_the_recorded_runs():
    run = json.loads((ROOT / "results" / "03_context_encoder_gan-pack-afhq_cat.json").read_text())
    scores = {row["filler"]: row["hole MSE"]["mean"] for row in run["scores"]["test"]}
    classics = {name: value for name, value in scores.items() if name != "context encoder"}
    cells = row("64x64 hole in 128x128")
    assert f" {scores['context encoder']:.4f} on cats, not comparable " in cells
    assert f" {scores['do nothing']:.4f} " in cells
    assert f" {min(classics.values()):.4f} {min(classics, key=classics.get)} " in cells
    assert f" {run['history']['seconds'] / 60:.0f} |" in cells
    counts = run["data"]["counts"]
    assert f"{run['parameters']['epochs']} epochs on {counts['train']:,} cat faces" in README
    assert f"tested on {counts['test']} others" in README
    record = json.loads((ROOT / "results" / "03_context_encoder_gan-effects.json").read_text())
    demo = [run["scores"]["centre"]["test"]["hole MSE"]["mean"] for run in record["runs"] if not run["parameters"]]
    fills = {name: scores["hole MSE"]["mean"] for name, scores in record["references"]["centre"]["test"].items()}
    assert_demo("`demo`: 32x32 hole", demo, fills)


def test_numbers_of_ssrgan_are_those_of_the_recorded_runs():
    def scores(rows):
        return {name: row["image NMSE [0,1]"]["mean"] for name, row in rows.items()}

    (run,) = [r for r in sweep.recorded() if r["dataset"] == "flowers102" and r["parameters"]["p"] == 0.8]
    found = scores({row["filler"]: row for row in run["scores"]["test"]})
    cells = row("80 % of the pixels lost, **NMSE**")
    assert f" {found.pop('SSRGAN'):.4f} on flowers, not comparable " in cells
    assert f" {found['do nothing']:.4f} " in cells
    assert f" {min(found.values()):.4f} {min(found, key=found.get)} " in cells
    assert f" {run['history']['seconds'] / 60:.0f} |" in cells
    counts = run["data"]["counts"]
    assert f"{run['parameters']['epochs']} epochs on {counts['train']:,} flowers" in README.replace("\n", " ")
    assert f"tested on {counts['test']} others" in README
    record = json.loads((ROOT / "results" / "04_ssrgan-effects.json").read_text())
    demo = [ssrgan.value(run) for run in record["runs"] if not run["parameters"]]
    fills = scores(record["references"]["0.8"]["test"])
    assert_demo("`demo`: the same, 64x64 crops", demo, fills)
    assert f"a 5x5 box, {fills['normalised 5x5 box']:.4f}" in README


def test_links_and_make_targets_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", README):
        if target not in ("sure", "room"):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
