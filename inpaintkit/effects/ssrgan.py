"""What SSRGAN's claims, silences and open questions are worth: behind notebook 04."""

import time
from pathlib import Path
from statistics import mean

import torch

from inpaintkit import data, effects, evaluate, masking, metrics, runtime, training
from inpaintkit.effects import Effect, matching
from inpaintkit.models import classical, ssrgan

EFFECTS = {
    "readings": Effect(
        "Which reading restores best?",
        {
            "fixed: no detour, mask as input, grey": {},
            "as_written: the text": {"reading": "as_written"},
            "as_run: the channel-estimation code": {"reading": "as_run"},
        },
    ),
    "silences": Effect(
        "One decision of the repaired reading at a time taken back: what is it worth?",
        {
            "none": {},
            "black in the lost pixels": {"fill": "black"},
            "not told which pixels are lost": {"mask_channel": False},
            "four times larger and back (two shuffles, stride 4)": {"shuffles": 2},
            "grey, but not told, and with the detour": {"reading": "as_written", "fill": "grey"},
            "lost pixels drawn once, not for every batch": {"redraw": False},
            "values in [0, 1] and a sigmoid": {"value_range": "[0,1]"},
        },
    ),
    "adversarial": Effect(
        "Does the adversarial term help NMSE? And least squares instead of cross entropy?",
        {
            "weight 0.001 (their code)": {},
            "no discriminator": {"weight_adv": 0.0},
            "weight 0.1": {"weight_adv": 0.1},
            "weight 0.1, cross entropy (SRGAN's)": {"weight_adv": 0.1, "adversarial": "cross entropy"},
            "weight 0.1, no label smoothing": {"weight_adv": 0.1, "smoothing": 0.0},
            "weight 0.1, the text's last layer": {"weight_adv": 0.1, "head_d": "direct"},
        },
    ),
    "size": Effect(
        "Fewer parameters than SRGAN: what do residual blocks buy?",
        {"2 blocks (demo)": {}, "6 blocks (paper)": {"blocks": 6}, "16 blocks (SRGAN)": {"blocks": 16}},
    ),
    "levels": Effect(
        "A network that was trained at one level, or one for all levels?",
        {"trained at 80 %": {}, "trained at 30 %": {"p": 0.3}, "trained at 30 to 80 %": {"levels": "all"}},
    ),
    "channels": Effect(
        "Each channel loses pixels of its own: an easier task?",
        {"all channels at once": {}, "each its own": {"per_channel": True}},
    ),
    "pictures": Effect(
        "A quarter of the training pictures, with as many steps: is that what makes Flowers-102 worse?",
        {"640 pictures": {}, "160 pictures": {"n_train": 160, "epochs": 16}},
    ),
}
SCORES = ["image NMSE [0,1]", "raw NMSE [0,1]", "image NMSE [-1,1]", "raw NMSE [-1,1]", "hole MSE"]
FILLS = ("do nothing", "mean of known pixels", "normalised 5x5 box", "harmonic", "biharmonic", "Telea")
BAR = "normalised 5x5 box"
LEVELS_AND_CHANNELS = {f"{p:g}": {"p": p} for p in ssrgan.LEVELS} | {"each its own": {"per_channel": True}}


def configuration(parameters: dict, seed: int = 0) -> runtime.Config:
    """The demo with ``parameters`` changed."""
    given = {"profile": "demo", "reading": "fixed", "seed": seed} | parameters
    return runtime.configure(given, ssrgan.PROFILES, ssrgan.READINGS)


def fills() -> list[masking.Filler]:
    """The classic fills that every level is compared with; those that copy patches find no whole one here."""
    return [fill for fill in classical.fills() if fill.name in FILLS]


def train(cfg, images: data.Images, out_dir: Path, progress: bool = False) -> tuple[ssrgan.Generator, dict]:
    """One training as ``cfg`` says, continued from ``out_dir`` if it was interrupted: the generator; curves, seconds
    and hash of its weights.
    """
    device = runtime.pick_device()
    runtime.seed_everything(cfg.seed)
    generator, discriminator = ssrgan.from_config(cfg)
    recipe = ssrgan.Recipe(generator, discriminator, cfg)
    filler = ssrgan.Filler(generator, fill=cfg.fill)
    test = (
        images.test[torch.linspace(0, len(images.test) - 1, min(64, len(images.test))).long()].to(device).float() / 255
    )
    mask = ssrgan.fixed_holes(cfg, len(test)).to(device)
    masked = masking.apply(test, mask, cfg.fill)
    started = time.perf_counter()
    history = training.fit(
        recipe,
        ssrgan.training_images(images.train, cfg),
        epochs=cfg.epochs,
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        out_dir=out_dir,
        identity={"parameters": cfg.values(), "data": images.fingerprint["train"]},
        device=device,
        precision=runtime.pick_precision(device),
        monitor=lambda: curves(filler(masked, mask), test, mask),
        progress=progress,
    )
    seconds = round(time.perf_counter() - started, 1)
    return generator, {
        "history": history.to_json(), "weights": training.weights_hash(recipe.modules), "seconds": seconds,
    }  # fmt: skip


def curves(pred: torch.Tensor, image: torch.Tensor, mask: torch.Tensor) -> dict[str, float]:
    """What is followed during training: NMSE in [0, 1], raw and composited, mean over images."""
    full = masking.composite(image, pred, mask)
    return {
        "raw NMSE": metrics.summarise(metrics.nmse(pred, image))["mean"],
        "composited NMSE": metrics.summarise(metrics.nmse(full, image))["mean"],
    }


def run(parameters: dict, seed: int, out_dir: Path) -> dict:
    """One training of the demo with ``parameters`` changed; returns its scores on both test parts, at every level."""
    cfg = configuration(parameters, seed)
    images = data.open(cfg.dataset, None, cfg.size, True, cfg.n_train, cfg.n_test, seed)
    generator, measured = train(cfg, images, out_dir)
    filler, history = ssrgan.Filler(generator, fill=cfg.fill), measured.pop("history")
    scores = {}
    for p in ssrgan.LEVELS:
        for part, (image, mask) in test_parts(cfg, images, p).items():
            row = evaluate.score([filler], image, mask, SCORES)[0]
            summaries = {name: effects.summary(values) for name, values in row.scores.items()}
            scores.setdefault(f"{p:g}", {})[part] = summaries
    curves = {name: [round(v, 6) for v in values] for name, values in history["scores"].items()}
    losses = {name: round(values[-1], 6) for name, values in history["losses"].items()}  # of the last steps
    return measured | {
        "trained on": f"{cfg.p:.0%}" if cfg.levels == "one" else "30 to 80 %",
        "scores": scores,
        "curves": curves,
        "steps": history["steps"][-1],
        "losses": losses,
        "data": images.fingerprint,
    }


def test_parts(cfg, images: data.Images, p: float) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The test parts at the level ``p``, {part: (images, lost pixels)}; only embedded pictures have an unseen part."""
    device, parts = runtime.pick_device(), {"test": images.test, "unseen": images.unseen}
    return {
        part: (pictures.to(device).float() / 255, ssrgan.fixed_holes(cfg, len(pictures), p).to(device))
        for part, pictures in parts.items()
        if pictures is not None
    }


def references() -> dict:
    """The classic fills on the same pictures and lost pixels: {level: {part: {fill: {score: mean and sd}}}}; "each its
    own" instead of a level for the demo's level with channels apart.
    """
    table = {}
    for name, parameters in LEVELS_AND_CHANNELS.items():
        cfg = configuration(parameters)
        images = data.open(cfg.dataset, None, cfg.size, True, 8, cfg.n_test)
        for part, (image, mask) in test_parts(cfg, images, cfg.p).items():
            rows = evaluate.score(fills(), image, mask, SCORES)
            table.setdefault(name, {})[part] = {
                row.filler: {score: effects.summary(values) for score, values in row.scores.items()}
                for row in rows
                if not row.note
            }
    return table


def value(run: dict, p: float = 0.8, part: str = "test", score: str = "image NMSE [0,1]") -> float:
    """One number of a recorded run: by default the composited NMSE at the demo's level."""
    return run["scores"][f"{p:g}"][part][score]["mean"]


def lines(record: dict | None, name: str) -> list[dict]:
    """An effect as lines for `viz.Table`: NMSE in [0, 1] at the demo's level, mean ± spread over seeds."""
    table = []
    for label, parameters in EFFECTS[name].variants.items():
        runs = matching(record, parameters)
        if not runs:
            table.append({"trained": label, "test: composited": "not run"})
            continue
        line = {"trained": label}
        for part in ("test", "unseen"):
            line[f"{part}: composited"] = effects.mean_spread([value(r, part=part) for r in runs])
        line["test: raw"] = effects.mean_spread([value(r, score="raw NMSE [0,1]") for r in runs])
        table.append(line)
    return table


def level_lines(record: dict | None, runs: list[dict]) -> list[dict]:
    """Composited NMSE on test at every level: networks trained at one level, at all, and one for each (a sweep's)."""
    table = []
    for label, parameters in EFFECTS["levels"].variants.items():
        found = matching(record, parameters)
        table.append(
            {"trained": label} | {f"p={p:g}": mean(value(r, p) for r in found) for p in ssrgan.LEVELS if found}
        )
    own = {}
    for run in runs:
        if run["dataset"] == "embedded":
            (row,) = [row for row in run["scores"]["test"] if row["filler"] == "SSRGAN"]
            own.setdefault(run["parameters"]["p"], []).append(row["image NMSE [0,1]"]["mean"])
    table.append({"trained": "one for each level"} | {f"p={p:g}": mean(own[p]) for p in sorted(own)})
    classics = record["references"] if record else {}
    for name in (BAR, "biharmonic"):
        at = {p: classics[f"{p:g}"]["test"][name]["image NMSE [0,1]"]["mean"] for p in ssrgan.LEVELS if classics}
        table.append({"trained": name} | {f"p={p:g}": value for p, value in at.items()})
    return table


def difference(record: dict | None, changed: dict) -> str:
    """What changing some of the demo's parameters does to the composited NMSE on test, in words."""
    return effects.difference(record, changed, value)


def verdicts(record: dict) -> list[tuple[str, bool]]:
    """The claims that notebook 04 makes about all seeds of the demo: (sentence, whether it holds)."""
    demo = [value(run) for run in matching(record, {})]
    limit = record["references"]["0.8"]["test"][BAR]["image NMSE [0,1]"]["mean"]
    return effects.below(demo, {BAR: limit}, "composited NMSE")
