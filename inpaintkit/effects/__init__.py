"""Further trainings that answer a question: run once, recorded in results/, read from there by the notebooks.

A study (one module of this package per notebook) lists its effects: a question, and variants that differ from the
demo by named parameters. Every variant is trained with every seed; runs that two effects share are trained once. Each
finished run is kept, so that an interrupted session continues where it stopped; after a change of the package the runs
are made anew.
"""

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
from tqdm.auto import tqdm

from inpaintkit import metrics, runtime

STUDIES = {
    "01_autoencoder": "inpaintkit.effects.autoencoder",
    "02_vae": "inpaintkit.effects.vae",
    "03_context_encoder_gan": "inpaintkit.effects.context_encoder",
    "04_ssrgan": "inpaintkit.effects.ssrgan",
}
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Effect:
    """A question and the trainings that answer it: {label: parameters that differ from the demo}."""

    question: str
    variants: dict[str, dict]


def study(notebook: str):
    """The module of a notebook's effects: it has EFFECTS, run(parameters, seed, out_dir), references(), verdicts()."""
    if notebook not in STUDIES:
        raise ValueError(f"there is no study {notebook!r}; there are {', '.join(STUDIES)}.")
    return importlib.import_module(STUDIES[notebook])


def select(notebook: str, names: str) -> list[str]:
    """The effects that a notebook's ``experiments`` parameter names: "none", "all", or names separated by commas."""
    known = list(study(notebook).EFFECTS)
    if names in ("none", "all"):
        return known if names == "all" else []
    chosen = [name.strip() for name in names.split(",")]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise ValueError(f"experiments must be none, all, or some of {', '.join(known)}, and {unknown[0]!r} is not.")
    return chosen


def record(notebook: str, names: str = "all", seeds: tuple[int, ...] = SEEDS, runs: Path | None = None) -> dict:
    """Trains what the effects ask for, with a progress bar, and returns the record; finished runs are read, not
    repeated.

    ``runs`` keeps every run's own file and checkpoint (default: runs/effects/NOTEBOOK), in a folder named after the
    package's sources.
    """
    module = study(notebook)
    folder = Path(runs or runtime.runs_dir("effects") / notebook) / runtime.package_hash()
    wanted = []
    for name in select(notebook, names):
        for parameters in module.EFFECTS[name].variants.values():
            wanted += [(parameters, seed) for seed in seeds if (parameters, seed) not in wanted]
    done = []
    bar = tqdm(wanted, desc=notebook, unit="run")
    for parameters, seed in bar:
        label = ",".join(f"{k}={v}" for k, v in parameters.items()) or "demo"
        bar.set_postfix_str(f"{label}, seed {seed}")
        path = folder / f"{label} seed={seed}" / "results.json"
        if not path.exists():
            measured = module.run(parameters, seed, path.parent)
            machine = runtime.provenance(runtime.pick_device())
            runtime.write_json(path, {"parameters": parameters, "seed": seed, **measured, **machine})
            (path.parent / "checkpoint.pt").unlink(missing_ok=True)  # a finished run needs no checkpoint
        done.append(json.loads(path.read_text(encoding="utf8")))
    references = folder / "references.json"
    if done and not references.exists():
        runtime.write_json(references, module.references())
    return {"references": json.loads(references.read_text(encoding="utf8")) if done else {}, "runs": done}


def recorded(notebook: str) -> dict | None:
    """The record in results/, or None if the study was not run."""
    path = runtime.results_dir() / f"{notebook}-effects.json"
    return json.loads(path.read_text(encoding="utf8")) if path.exists() else None


def write(notebook: str, record: dict) -> Path:
    """Puts a record into results/, where the notebook reads it."""
    path = runtime.results_dir() / f"{notebook}-effects.json"
    runtime.write_json(path, record)
    return path


def matching(record: dict | None, parameters: dict) -> list[dict]:
    """The recorded runs of one variant, one per seed; none if it was not run."""
    return [run for run in (record or {}).get("runs", []) if run["parameters"] == parameters]


def summary(values: torch.Tensor) -> dict:
    """Mean and spread over pictures, rounded for the record."""
    return {name: round(metrics.summarise(values)[name], 6) for name in ("mean", "sd")}


def mean_spread(values: list[float]) -> str:
    """Mean ± standard deviation, over seeds."""
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def difference(record: dict | None, changed: dict, value: Callable[[dict], float]) -> str:
    """What changing some of the demo's parameters does, in words: mean ``value(run)`` of both, and whose hole it is."""
    runs, demo = matching(record, changed), matching(record, {})
    if not runs or not demo:
        return "not run"
    holes = "" if runs[0]["trained on"] == demo[0]["trained on"] else f", hole {runs[0]['trained on']}"
    return f"{mean(map(value, demo)):.4f} -> {mean(map(value, runs)):.4f}{holes} ({len(runs)} seeds)"


def below(scores: list[float], limits: dict[str, float], name: str = "hole MSE") -> list[tuple[str, bool]]:
    """The claims that the demo's score ``name`` on test is below each fill's, {fill: score}, with every seed."""
    numbers = ", ".join(f"{score:.4f}" for score in scores)
    return [
        (f"the demo's {name} on test ({numbers}) is below {fill} ({limit:.4f})", bool(scores) and max(scores) < limit)
        for fill, limit in limits.items()
    ]


def stamp(record: dict | None) -> str:
    """Where recorded numbers come from, for a caption."""
    if not record or not record["runs"]:
        return "not run: make effects"
    run, seeds = record["runs"][0], sorted({run["seed"] for run in record["runs"]})
    minutes = sum(run["seconds"] for run in record["runs"]) / 60
    return (
        f"profile demo, seeds {', '.join(map(str, seeds))}, {run['device']}, torch {run['versions']['torch']}, "
        f"{run['date'][:10]}; {len(record['runs'])} runs in {minutes:.0f} minutes"
    )


def main() -> int:
    """`make effects`: all studies, recorded; then the claims that the notebooks make about three seeds, checked."""
    torch.set_num_threads(min(2, torch.get_num_threads()))  # as the stored numbers were made
    broken = 0
    for notebook in STUDIES:
        result = record(notebook)
        print(f"{notebook}: {write(notebook, result)}")
        for claim, holds in study(notebook).verdicts(result):
            print(f"  {'holds' if holds else 'DOES NOT HOLD'}: {claim}")
            broken += not holds
    return 1 if broken else 0
