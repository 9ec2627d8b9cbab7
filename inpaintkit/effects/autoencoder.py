"""What each difference between text, code and wishes of the Ariel report is worth: the trainings behind notebook 01."""

import time
from pathlib import Path

import torch

from inpaintkit import data, effects, evaluate, masking, metrics, runtime, training
from inpaintkit.effects import Effect, matching
from inpaintkit.models import autoencoder, classical

EFFECTS = {
    "readings": Effect(
        "Which reading of the report restores best?",
        {
            "as_run: 2 convolutions, 2x1024": {},
            "as_written: 3 convolutions, 2x2048, 4-layer decoder": {"reading": "as_written"},
            "fixed: 3 chained convolutions, 2x1024": {"reading": "fixed"},
        },
    ),
    "decoder": Effect(
        "The text and the figure have four decoder layers for the 16x16 hole, the code has five. Does it matter?",
        {"5 layers (code)": {}, "4 layers (text, figure)": {"n_dec": 4}},
    ),
    "output": Effect(
        "Does the ReLU at the output hurt?",
        {"ReLU (authors)": {}, "sigmoid": {"out_act": "sigmoid"}, "none": {"out_act": "none"}},
    ),
    "place": Effect(
        "What is knowing the hole's place worth?",
        {
            "authors' place": {},
            "centre": {"hole": "centre"},
            "random place, patch decoder": {"hole": "random"},
        },
    ),
    "side": Effect("How much harder is 32x32 than 16x16?", {"16x16": {}, "32x32": {"side": 32}}),
    "random_holes": Effect(
        "The report's future work: holes of random size and place (full-size decoder, ours).",
        {
            "trained on the authors' hole": {"decoder": "full"},
            "trained on random holes, 8 to 24 pixels": {"decoder": "full", "hole": "random", "side_max": 24},
        },
    ),
    "encoder": Effect(
        "The report's future work: are heavier encoders better? (torchvision's shapes, untrained)",
        {"authors'": {}, "AlexNet": {"encoder": "alexnet"}, "GoogLeNet": {"encoder": "googlenet"}},
    ),
    "width_depth": Effect(
        "Section 7.3: changing number and size of the layers damaged the loss. Does it?",
        {
            "dense 1024, 2 convolutions": {},
            "dense 512": {"dense": 512},
            "dense 2048": {"dense": 2048},
            "3 convolutions": {"reading": "fixed"},
            "4 convolutions": {"conv_layers": 4},
        },
    ),
    "epochs": Effect(
        "Section 4.4: no better loss after 30 epochs, yet more detail at 50. Is it so?",
        {"400 crops, 50 epochs": {"n_train": 400, "epochs": 50}},
    ),
}


def fixed_holes(n: int, size: int) -> dict[str, torch.Tensor]:
    """The fixed holes that everything is scored on, by name: (n, 1, size, size), the same for all fillers and seeds."""
    generator = runtime.generator(0)
    varied = [
        masking.square(1, size, int(side), "random", generator)
        for side in torch.randint(8, 25, (n,), generator=generator)
    ]
    holes = {
        f"{side} {place}": autoencoder.hole(n, size, side, place, runtime.generator(0))
        for side, place in ((16, "authors"), (16, "centre"), (16, "random"), (32, "authors"))
    }
    return holes | {"8-24 random": torch.cat(varied)}


def alive_channels(net: autoencoder.Autoencoder, masked: torch.Tensor) -> list[int]:
    """For each ReLU that is three channels wide: how many of the three are ever positive. A dead one stays dead."""
    counts, hooks = [], []
    for before, layer in zip(net.decoder, net.decoder[1:], strict=False):
        if isinstance(layer, torch.nn.ReLU) and before.out_channels == 3:
            hooks.append(layer.register_forward_hook(lambda module, args, out: counts.append(_positive(out))))
    with torch.no_grad():
        net(masked)
    for hook in hooks:
        hook.remove()
    return counts


def _positive(out: torch.Tensor) -> int:
    return int((out > 0).any(0).flatten(1).any(1).sum())


def run(parameters: dict, seed: int, out_dir: Path) -> dict:
    """One training of the demo with ``parameters`` changed; returns its scores on both test parts and its curves."""
    parameters = dict(parameters)
    decoder, side_max = parameters.pop("decoder", "patch"), parameters.pop("side_max", None)
    given = {"profile": "demo", "reading": "as_run", "seed": seed} | parameters
    cfg = runtime.configure(given, autoencoder.PROFILES, autoencoder.READINGS)
    images = data.open(cfg.dataset, size=cfg.size, n_train=cfg.n_train, n_test=cfg.n_test, seed=seed)
    device = runtime.pick_device()
    parts = {part: getattr(images, part).to(device).float() / 255 for part in ("test", "unseen")}
    runtime.seed_everything(seed)
    net = autoencoder.from_config(cfg, decoder)
    recipe = autoencoder.Recipe(
        net,
        place=cfg.hole,
        lr=cfg.lr,
        decay=cfg.decay,
        steps_per_epoch=len(images.train) // cfg.batch_size,
        side=8 if side_max else None,
        side_max=side_max,
    )
    filler = autoencoder.Filler(net)
    own = "8-24 random" if side_max else f"{cfg.side} {cfg.hole}"
    own_mask = fixed_holes(len(parts["test"]), cfg.size)[own].to(device)

    def monitor():
        pred = filler(parts["test"], own_mask)
        scores = {"hole MSE": metrics.mse(pred, parts["test"], own_mask).mean().item()}
        if not side_max:
            scores["detail"] = evaluate.detail(pred, parts["test"], own_mask, cfg.side)
        return scores

    started = time.perf_counter()
    history = training.fit(
        recipe,
        images.train,
        epochs=cfg.epochs,
        batch_size=cfg.batch_size,
        seed=seed,
        out_dir=out_dir,
        identity={
            "parameters": given | {"decoder": decoder, "side_max": side_max},
            "data": images.fingerprint["train"],
        },
        device=device,
        monitor=monitor,
        progress=False,
    )
    scores = {}
    for part, image in parts.items():
        for name, mask in fixed_holes(len(image), cfg.size).items():
            row = evaluate.score([filler], image, mask.to(device), ["hole MSE"])[0]
            if not row.note and (name == own or decoder == "full"):
                scores.setdefault(name, {})[part] = metrics.summarise(row.scores["hole MSE"])
    masked = masking.apply(parts["test"], own_mask)
    return {
        "trained on": own,
        "scores": scores,
        "epochs": history.epochs,
        "curves": {name: [round(v, 6) for v in values] for name, values in history.scores.items()},
        "train loss": [round(value, 6) for value in history.losses["hole MSE"]],
        "alive of 3": alive_channels(net, masked),
        "weights": training.weights_hash(recipe.modules),
        "data": images.fingerprint,
        "seconds": round(time.perf_counter() - started, 1),
    }


def references() -> dict:
    """The classic fills on the same crops and holes: {holes: {part: {fill: summary of hole MSE}}}."""
    cfg = runtime.configure({"profile": "demo", "reading": "as_run"}, autoencoder.PROFILES, autoencoder.READINGS)
    images = data.open(cfg.dataset, size=cfg.size, n_train=8)
    table = {}
    for part in ("test", "unseen"):
        image = getattr(images, part).float() / 255
        for name, mask in fixed_holes(len(image), cfg.size).items():
            rows = evaluate.score(classical.fills(), image, mask, ["hole MSE"])
            table.setdefault(name, {})[part] = {
                r.filler: metrics.summarise(r.scores["hole MSE"]) for r in rows if not r.note
            }
    return table


def lines(record: dict | None, name: str) -> list[dict]:
    """An effect as lines for `viz.Table`: hole MSE, mean ± spread over seeds, and two fills on the same holes."""
    table = []
    for label, parameters in EFFECTS[name].variants.items():
        runs = matching(record, parameters)
        if not runs:
            table.append({"trained": label, "seeds": "not run"})
            continue
        for holes in runs[0]["scores"]:
            line = {"trained": label, "hole": holes, "seeds": str(len(runs))}
            for part in ("test", "unseen"):
                values = [run["scores"][holes][part]["mean"] for run in runs]
                classics = record["references"][holes][part]
                line[f"{part}: network"] = effects.mean_spread(values)
                line[f"{part}: ring mean"] = classics["mean of a 2-pixel ring"]["mean"]
                line[f"{part}: biharmonic"] = classics["biharmonic"]["mean"]
            table.append(line)
    return table


def difference(record: dict | None, changed: dict) -> str:
    """What changing some of the demo's parameters does to the hole MSE on test, in words."""
    return effects.difference(record, changed, lambda run: run["scores"][run["trained on"]]["test"]["mean"])


def verdicts(record: dict) -> list[tuple[str, bool]]:
    """The claims that notebook 01 makes about all seeds of the demo: (sentence, whether it holds)."""
    demo = [run["scores"]["16 authors"]["test"]["mean"] for run in record["runs"] if not run["parameters"]]
    classics = record["references"]["16 authors"]["test"]
    fills = ("mean of known pixels", "mean of a 2-pixel ring")
    return effects.below(demo, {fill: classics[fill]["mean"] for fill in fills})
