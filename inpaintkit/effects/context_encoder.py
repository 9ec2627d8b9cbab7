"""What each slip of the GAN tutorial, each of its choices and its adversarial term is worth: behind notebook 03."""

import json
import time
from pathlib import Path
from statistics import mean

import torch

from inpaintkit import data, effects, evaluate, masking, metrics, runtime, training
from inpaintkit.effects import Effect, matching, summary
from inpaintkit.models import classical, context_encoder

EFFECTS = {
    "readings": Effect(
        "Which reading restores best?",
        {
            "fixed: slips repaired": {},
            "as_written: mask as input, cross entropy": {"reading": "as_written"},
            "as_run: the author's code": {"reading": "as_run"},
        },
    ),
    "adversarial": Effect(
        "What does the discriminator do?",
        {
            "weight 0.001 (author)": {},
            "no discriminator": {"weight_adv": 0.0},
            "weight 0.05": {"weight_adv": 0.05},
            "cross entropy instead of LSGAN": {"adversarial": "cross entropy"},
        },
    ),
    "order": Effect(
        "Which network first? Together, the autoencoder for half of the steps, or the discriminator for a tenth?",
        {
            "together (author)": {},
            "autoencoder first, then the discriminator": {"first": "generator"},
            "discriminator first": {"first": "discriminator"},
            "autoencoder alone, to the end": {"weight_adv": 0.0},
        },
    ),
    "slips": Effect(
        "One slip at a time put back into the repaired code: what is it worth?",
        {
            "none": {},
            "batch normalisation with eps 0.8": {"bn_eps": 0.8},
            "trained on random places": {"mask_train": "random"},
            "the same, with every worker's and epoch's holes alike": {"mask_train": "random", "numpy_seed_bug": True},
            "previews in train mode": {"preview_mode": "train"},
        },
    ),
    "input": Effect(
        "What should the network find in the hole?",
        {
            "white (author)": {},
            "white, and the mask": {"mask_channel": True},
            "the mean of the known pixels": {"fill": "mean"},
            "noise": {"fill": "noise"},
        },
    ),
    "place": Effect(
        "Trained on random places and tested in the centre: what does it cost?",
        {"centre": {}, "random (author)": {"mask_train": "random"}},
    ),
    "shape": Effect(
        "The author's to-do list: irregular holes (full-size head, ours).",
        {
            "patch head": {},
            "full-size head, squares": {"head": "full"},
            "full-size head, strokes": {"head": "full", "mask_train": "strokes"},
        },
    ),
    "batch": Effect(
        "A batch of 32 instead of 8, with as many passes over the pictures and so a quarter of the steps.",
        {"batch of 8 (author)": {}, "batch of 32": {"batch_size": 32}},
    ),
}
SCORES = ["hole MSE", "hole L1", "hole PSNR"]
PROTOCOL = ["hole L1, %", "hole L2, %", "hole PSNR", "hole MSE"]  # as Pathak et al. 2016, section 5.1


def configuration(parameters: dict, seed: int = 0) -> runtime.Config:
    """The demo with ``parameters`` changed."""
    given = {"profile": "demo", "reading": "fixed", "seed": seed} | parameters
    return runtime.configure(given, context_encoder.PROFILES, context_encoder.READINGS)


def scoring_holes(cfg, n: int) -> dict[str, torch.Tensor]:
    """Fixed holes (n, 1, size, size) by name: "centre" and "random" squares; "strokes" for full heads."""
    kinds = ("centre", "random") + (("strokes",) if cfg.head == "full" else ())
    return {kind: context_encoder.holes(kind, n, cfg.size, runtime.generator(0)) for kind in kinds}


def judged(discriminator: context_encoder.Discriminator, real: torch.Tensor, drawn: torch.Tensor) -> dict:
    """The discriminator's mean scores for true and drawn squares; LSGAN wants 1 and 0."""
    with torch.no_grad():
        scores = {name: discriminator(x).mean().item() for name, x in (("true", real), ("drawn", drawn))}
    return {name: round(score, 4) for name, score in scores.items()}


def run(parameters: dict, seed: int, out_dir: Path) -> dict:
    """One training of the demo with ``parameters`` changed; returns its scores on both test parts and its curves."""
    cfg, device = configuration(parameters, seed), runtime.pick_device()
    images = data.open(cfg.dataset, None, cfg.size, True, cfg.n_train, cfg.n_test, seed)
    parts = {part: getattr(images, part).to(device).float() / 255 for part in ("test", "unseen")}
    runtime.seed_everything(seed)
    generator, discriminator = context_encoder.from_config(cfg)
    recipe = context_encoder.Recipe(generator, discriminator, cfg, len(images.train) // cfg.batch_size)
    filler = context_encoder.Filler(generator, fill=cfg.fill)
    test, mask = parts["test"], context_encoder.fixed_holes(cfg, len(parts["test"])).to(device)
    masked = masking.apply(test, mask, cfg.fill, runtime.generator(0, device))

    started = time.perf_counter()
    history = training.fit(
        recipe,
        images.train,
        epochs=cfg.epochs,
        batch_size=cfg.batch_size,
        seed=seed,
        out_dir=out_dir,
        identity={"parameters": cfg.values(), "data": images.fingerprint["train"]},
        device=device,
        monitor=lambda: {"hole MSE": metrics.mse(filler(masked, mask), test, mask).mean()},
        preview=lambda: context_encoder.preview(generator, masked[:12], mask[:12], cfg.preview_mode),
        progress=False,
    )
    seconds = time.perf_counter() - started
    scores = {}
    for part, image in parts.items():
        for name, holes in scoring_holes(cfg, len(image)).items():
            row = evaluate.score([filler], image, holes.to(device), SCORES)[0]
            scores.setdefault(name, {})[part] = {score: summary(values) for score, values in row.scores.items()}
    measured = {
        "trained on": "strokes" if cfg.mask_train == "strokes" else "centre",  # the hole it is tested on
        "scores": scores,
        "curve": [round(v, 6) for v in history.scores["hole MSE"]],
        "steps": history.steps,
        "losses": {name: [round(v, 6) for v in values] for name, values in history.losses.items()},
        "weights": training.weights_hash(recipe.modules),
        "data": images.fingerprint,
        "seconds": round(seconds, 1),
    }
    if cfg.mask_train != "strokes":
        pred, side = filler(masked, mask), cfg.size // 2
        measured["detail"] = round(evaluate.detail(pred, test, mask, side), 4)
        if cfg.weight_adv and cfg.head == "patch":
            squares = (context_encoder.take_patch(x, mask, side) for x in (test, pred))
            measured["judged"] = judged(discriminator, *squares)
    return measured


def references() -> dict:
    """The classic fills on the same crops and holes: {holes: {part: {fill: {score: mean and sd}}}}."""
    cfg = configuration({"head": "full"})
    images = data.open(cfg.dataset, None, cfg.size, True, 8, cfg.n_test)
    table = {}
    for part in ("test", "unseen"):
        image = getattr(images, part).float() / 255
        for name, holes in scoring_holes(cfg, len(image)).items():
            rows = evaluate.score(classical.fills(), image, holes, SCORES, cfg.fill)
            table.setdefault(name, {})[part] = {
                row.filler: {score: summary(values) for score, values in row.scores.items()}
                for row in rows
                if not row.note
            }
    return table


def lines(record: dict | None, name: str, holes: str | None = None) -> list[dict]:
    """An effect as lines for `viz.Table`: hole MSE, mean ± spread over seeds, beside two fills on the same holes; how
    much drawing there is (see `evaluate.detail`), and the discriminator's mean scores for true and drawn squares.

    ``holes``: "centre", "random" or "strokes"; None: those that each variant is tested on.
    """
    table = []
    for label, parameters in EFFECTS[name].variants.items():
        runs = matching(record, parameters)
        if not runs:
            table.append({"trained": label, "tested on": "not run"})
            continue
        kind = holes or runs[0]["trained on"]
        line = {"trained": label, "tested on": kind}
        for part in ("test", "unseen"):
            line[f"{part}: network"] = effects.mean_spread([r["scores"][kind][part]["hole MSE"]["mean"] for r in runs])
            for fill, short in (("mean of a 2-pixel ring", "ring mean"), ("harmonic", "harmonic")):
                line[f"{part}: {short}"] = record["references"][kind][part][fill]["hole MSE"]["mean"]
        if "detail" in runs[0]:
            line["detail"] = f"{mean(run['detail'] for run in runs):.2f}"
        if "judged" in runs[0]:
            true, drawn = (mean(run["judged"][kind] for run in runs) for kind in ("true", "drawn"))
            line["D: true, drawn"] = f"{true:.2f}, {drawn:.2f}"
        table.append(line)
    return table


def pack_lines() -> tuple[list[dict], str]:
    """The recorded training on a part of a real data set, as lines and caption for `viz.Table`."""
    path = runtime.results_dir() / "03_context_encoder_gan-pack-afhq_cat.json"
    if not path.exists():
        return [{"filler": "not run"}], ""
    run = json.loads(path.read_text(encoding="utf8"))
    counts, minutes = run["data"]["counts"], run["history"]["seconds"] / 60
    lines = [
        {"filler": row["filler"]} | {name: row[name]["mean"] for name in PROTOCOL} for row in run["scores"]["test"]
    ]
    caption = f"{run['data']['name']}: {counts['train']:,} for training, {counts['test']} for the test; "
    caption += f"{run['parameters']['epochs']} epochs in {minutes:.0f} minutes, seed {run['parameters']['seed']}, "
    return lines, caption + run["device"]


def difference(record: dict | None, changed: dict) -> str:
    """What changing some of the demo's parameters does to the hole MSE on test, in words."""
    return effects.difference(record, changed, lambda run: run["scores"][run["trained on"]]["test"]["hole MSE"]["mean"])


def verdicts(record: dict) -> list[tuple[str, bool]]:
    """The claims that notebook 03 makes about all seeds of the demo: (sentence, whether it holds)."""
    demo = [run["scores"]["centre"]["test"]["hole MSE"]["mean"] for run in matching(record, {})]
    classics = record["references"]["centre"]["test"]
    fills = ("mean of known pixels", "mean of a 2-pixel ring")
    return effects.below(demo, {fill: classics[fill]["hole MSE"]["mean"] for fill in fills})
