"""The experiments of the VAE article and what each of its discrepancies is worth: the trainings behind notebook 02."""

import json
import math
import time
from pathlib import Path
from statistics import mean

import torch

from inpaintkit import data, effects, evaluate, forensics, masking, metrics, runtime, training
from inpaintkit.effects import Effect, matching, summary
from inpaintkit.models import classical, vae

EFFECTS = {
    "readings": Effect(
        "Which reading restores best?",
        {
            "fixed: slips repaired": {},
            "as_written: 20 % of the area, real activations": {"reading": "as_written"},
            "as_run: the authors' code": {"reading": "as_run"},
        },
    ),
    "experiment_1": Effect(
        "Experiment 1: does a homogeneous set restore better? (One texture for faces, all photographs for animals.)",
        {
            "all eight photographs": {},
            "brick alone": {"dataset": "embedded:brick"},
            "grass alone": {"dataset": "embedded:grass"},
        },
    ),
    "experiment_2": Effect(
        "Experiment 2: one square of 40 % or two of 20 %?",
        {
            "one square of 20 %": {},
            "one square of 40 % (the article's training)": {"ratio": 0.4},
            "two squares of 20 %": {"squares": 2},
        },
    ),
    "slips": Effect(
        "One slip at a time put back into the repaired code: what is it worth?",
        {
            "none": {},
            "activations of slope 1": {"leaky_slope": 1.0},
            "target with alpha": {"la_bug": True},
            "one fixed hole per picture": {"redraw": False},
            "squares of 20 % of the area": {"ratio_of": "area"},
            "pictures paired with others' truth": {"pairs": "shuffled"},
            "batch of 64 (the 40 % script)": {"batch_size": 64},
            "1.56 times the pictures (39,000 instead of 25,000)": {"n_train": 4992},
        },
    ),
    "latent": Effect(
        "What does the variational part do?",
        {
            "beta 0.005 (authors)": {},
            "beta 0: a plain autoencoder": {"beta": 0.0},
            "beta 0.05": {"beta": 0.05},
            "code of 16 numbers": {"network": "short code"},
        },
    ),
    "outlook": Effect(
        "The article's outlook: other shapes, colour, augmentation, more squares.",
        {
            "as it is": {},
            "strokes": {"hole": "strokes"},
            "half of the pixels": {"hole": "pixels", "ratio": 0.5},
            "four squares": {"squares": 4},
            "RGB": {"colour": True},
            "mirrored pictures added": {"augment": True},
        },
    ),
}

SCORES = [
    "hole MSE",
    "raw MSE",
    "raw SSIM, global",
    "raw SSIM",
    "raw SSIM, uniform",
    "image SSIM, global",
    "image SSIM",
]
SHORT_SCORES = ["hole MSE", "raw SSIM, global", "image SSIM, global"]  # on holes that a network was not trained for
TEST_SLIPS = {  # what the authors' test does differently; needs no further training
    "repaired: running statistics, mean code": {},
    "code drawn": {"sample_z": True},
    "batch of one": {"bn_test": "batch1"},
    "input in [0, 1]": {"test_unnormalised": True},
    "batch of one, input in [0, 1]": {"bn_test": "batch1", "test_unnormalised": True},
    "all three (authors)": {"bn_test": "batch1", "test_unnormalised": True, "sample_z": True},
}
TESTED_IN_SIX_WAYS = ({}, {"reading": "as_run"})


def configuration(parameters: dict, seed: int = 0) -> runtime.Config:
    """The demo with ``parameters`` changed."""
    given = {"profile": "demo", "reading": "fixed", "seed": seed} | parameters
    return runtime.configure(given, vae.PROFILES, vae.READINGS)


def describe_holes(cfg) -> str:
    """The holes of a configuration in words, with pixels: "1 x 10x10", "strokes 20 %"."""
    if cfg.hole != "squares":
        return f"{cfg.hole} {cfg.ratio:.0%}"
    side = masking.side_of(cfg.ratio, cfg.size, cfg.ratio_of)
    return f"{cfg.squares} x {side}x{side}"


def scoring_holes(cfg, n: int) -> dict[str, torch.Tensor]:
    """Fixed holes (n, 1, size, size) by name: the configuration's own first, then those of the two experiments."""
    named = {describe_holes(cfg): vae.holes(cfg, n, runtime.generator(0))}
    for changes in ({"ratio": 0.2, "squares": 1}, {"ratio": 0.4, "squares": 1}, {"ratio": 0.2, "squares": 2}):
        other = runtime.Config(**cfg.values() | {"hole": "squares", "ratio_of": "side"} | changes)
        named.setdefault(describe_holes(other), vae.holes(other, n, runtime.generator(0)))
    return named


def open_parts(cfg, device) -> tuple[data.Images, dict[str, torch.Tensor]]:
    """The data of a configuration, and what is scored: 256 training crops, the test and the unseen part."""
    images = data.open(cfg.dataset, None, cfg.size, cfg.colour, cfg.n_train, cfg.n_test, cfg.seed)
    few = -(-64 // len(images.test))  # every crop again, with other holes, where there are few
    parts = {"train": images.train[:256], "test": images.test.repeat(few, 1, 1, 1), "unseen": images.unseen}
    return images, {part: pictures.to(device).float() / 255 for part, pictures in parts.items()}


def run(parameters: dict, seed: int, out_dir: Path) -> dict:
    """One training of the demo with ``parameters`` changed; returns its scores on three parts and its curves."""
    cfg, device = configuration(parameters, seed), runtime.pick_device()
    images, parts = open_parts(cfg, device)
    runtime.seed_everything(seed)
    net = vae.from_config(cfg)
    recipe = vae.Recipe(net, cfg)
    filler = vae.Filler(net, bn_test=cfg.bn_test, sample_z=cfg.sample_z, test_unnormalised=cfg.test_unnormalised)
    own = describe_holes(cfg)
    test_mask = scoring_holes(cfg, len(parts["test"]))[own].to(device)
    masked = masking.apply(parts["test"], test_mask)

    started = time.perf_counter()
    history = training.fit(
        recipe,
        vae.training_images(images.train, cfg),
        epochs=cfg.epochs,
        batch_size=cfg.batch_size,
        seed=seed,
        out_dir=out_dir,
        identity={"parameters": cfg.values(), "data": images.fingerprint["train"]},
        device=device,
        monitor=lambda: {"hole MSE": metrics.mse(filler(masked, test_mask), parts["test"], test_mask).mean()},
        progress=False,
    )
    scores = {}
    for part, image in parts.items():
        for name, mask in scoring_holes(cfg, len(image)).items():
            if name == own or part != "train":
                row = evaluate.score([filler], image, mask.to(device), SCORES if name == own else SHORT_SCORES)[0]
                scores.setdefault(name, {})[part] = {score: summary(v) for score, v in row.scores.items()}
    measured = {
        "trained on": own,
        "scores": scores,
        "curve": [round(v, 6) for v in history.scores["hole MSE"]],
        "losses": {name: [round(v, 6) for v in values] for name, values in history.losses.items()},
        "weights": training.weights_hash(recipe.modules),
        "data": images.fingerprint,
        "seconds": round(time.perf_counter() - started, 1),
    }
    if parameters in TESTED_IN_SIX_WAYS:
        for name, slips in TEST_SLIPS.items():
            row = evaluate.score([vae.Filler(net, **slips)], parts["test"], test_mask, SHORT_SCORES)[0]
            measured.setdefault("at test", {})[name] = {score: summary(values) for score, values in row.scores.items()}
    if cfg.leaky_slope == 1:
        measured["collapse difference"] = forensics.collapse_difference(net, masked)
    return measured


def setting(cfg) -> str:
    """What the classic fills depend on: the pictures and the holes' size."""
    return f"{cfg.dataset}, {'RGB' if cfg.colour else 'grey'}"


def references() -> dict:
    """The classic fills on the same crops and holes: {pictures: {holes: {part: {fill: {score: mean and sd}}}}}."""
    names = ("do nothing", "mean of known pixels", "mean of a 2-pixel ring", "harmonic", "biharmonic")
    fills = [fill for fill in classical.fills() if fill.name in names]
    table = {}
    for effect in EFFECTS.values():
        for parameters in effect.variants.values():
            cfg = configuration(parameters)
            place = table.setdefault(setting(cfg), {})
            _, parts = open_parts(cfg, torch.device("cpu"))
            for part, image in parts.items():
                for name, mask in scoring_holes(cfg, len(image)).items():
                    if part != "train" and part not in place.get(name, {}):
                        rows = evaluate.score(fills, image, mask, [*SHORT_SCORES, "image SSIM"])
                        place.setdefault(name, {})[part] = {
                            row.filler: {score: summary(values) for score, values in row.scores.items()} for row in rows
                        }
    return table


def _runs_and_fills(record: dict, parameters: dict):
    """The runs of a variant and the fills' scores on its pictures."""
    runs = matching(record, parameters)
    return runs, record["references"][setting(configuration(parameters))] if runs else None


def lines(record: dict | None, name: str) -> list[dict]:
    """An effect as lines for `viz.Table`: hole MSE, mean ± spread over seeds, beside fills on the same holes."""
    table = []
    for label, parameters in EFFECTS[name].variants.items():
        runs, fills = _runs_and_fills(record or {}, parameters)
        if not runs:
            table.append({"trained": label, "seeds": "not run"})
            continue
        holes = runs[0]["trained on"]
        line = {"trained": label, "hole": holes, "seeds": str(len(runs))}
        for part in ("test", "unseen"):
            values = [run["scores"][holes][part]["hole MSE"]["mean"] for run in runs]
            classics = fills[holes][part]
            line[f"{part}: VAE"] = effects.mean_spread(values)
            for fill, short in (("mean of known pixels", "mean fill"), ("biharmonic", "biharmonic")):
                line[f"{part}: {short}"] = classics[fill]["hole MSE"]["mean"]
        table.append(line)
    return table


def article_lines(record: dict | None, name: str) -> list[dict]:
    """An effect in the form of the article's table: global SSIM of raw pictures, mean ± spread over *pictures*, mean
    over seeds; beside what the composite, an untouched picture and mean fill get.
    """
    table = []
    for label, parameters in EFFECTS[name].variants.items():
        runs, fills = _runs_and_fills(record or {}, parameters)
        if not runs:
            table.append({"trained": label, "tested on": "not run"})
            continue
        own = runs[0]["trained on"]
        for holes, parts in runs[0]["scores"].items():
            line = {"trained": f"{label}, {own}", "tested on": holes}
            for part in parts:
                values = [run["scores"][holes][part]["raw SSIM, global"] for run in runs]
                line[f"VAE, {part}"] = f"{mean(v['mean'] for v in values):.3f} ± {mean(v['sd'] for v in values):.3f}"
            composited = "image SSIM, global"
            line["composited, test"] = mean(run["scores"][holes]["test"][composited]["mean"] for run in runs)
            for fill in ("do nothing", "mean of known pixels"):
                line[f"{fill}, test"] = fills[holes]["test"][fill][composited]["mean"]
            table.append(line)
    return table


def test_slip_lines(record: dict | None, parameters: dict) -> list[dict]:
    """What the authors' way of testing does to trained networks: mean over seeds."""
    runs = matching(record, parameters)
    return [
        {"tested": name}
        | {score: mean(run["at test"][name][score]["mean"] for run in runs) for score in SHORT_SCORES}
        | {"seeds": str(len(runs))}
        for name in TEST_SLIPS
        if runs
    ] or [{"tested": "not run"}]


def resize_lines() -> list[dict]:
    """What the resize filter is worth before anything is trained, a line for every filter and recorded data set
    (tools/survey_resize.py), for `viz.Table`.
    """
    lines = []
    for path in sorted(runtime.results_dir().glob("02_vae-resize-*.json")):
        record = json.loads(path.read_text(encoding="utf8"))
        for resize, run in record["filters"].items():
            scores = {row["filler"]: row for row in run["scores"]}
            line = {"data": f"{run['data']['name']}, from {record['resized from']}", "resize": resize}
            line["do nothing, SSIM"] = scores["do nothing"]["image SSIM, global"]["mean"]
            for fill in ("mean of known pixels", "harmonic", "biharmonic"):
                line[f"{fill}, hole MSE"] = scores[fill]["hole MSE"]["mean"]
            lines.append(line)
    return lines or [{"data": "not run"}]


def difference(record: dict | None, changed: dict) -> str:
    """What changing some of the demo's parameters does to the hole MSE on test, in words."""
    return effects.difference(record, changed, lambda run: run["scores"][run["trained on"]]["test"]["hole MSE"]["mean"])


def verdicts(record: dict) -> list[tuple[str, bool]]:
    """The claims that notebook 02 makes about all seeds of the demo: (sentence, whether it holds)."""
    demo = matching(record, {})
    holes = describe_holes(configuration({}))
    scores = [run["scores"][holes]["test"]["hole MSE"]["mean"] for run in demo]
    limit = record["references"][setting(configuration({}))][holes]["test"]["mean of known pixels"]["hole MSE"]["mean"]
    affine = [run["collapse difference"] for run in record["runs"] if "collapse difference" in run]
    largest = max(affine, default=math.nan)
    return [
        *effects.below(scores, {"mean of known pixels": limit}),
        (
            f"{len(affine)} networks of slope 1 collapse to within 1e-4 (largest difference {largest:.0e})",
            largest < 1e-4,
        ),
    ]
