"""Levels x data sets x seeds of SSRGAN (notebook 04) in one call, a folder with a results.json for each run.

A finished run is read, an interrupted one continues. The curves are drawn from the results.json files alone, and the
notebook writes the same ones: runs that papermill or a workflow engine made elsewhere are drawn like these.
"""

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev

import torch
from tqdm.auto import tqdm

from inpaintkit import data, evaluate, runtime, viz
from inpaintkit.effects import ssrgan as study
from inpaintkit.models import ssrgan


def configuration(given: dict) -> runtime.Config:
    """The parameters of one run: the demo's reading "fixed" with ``given`` changed. Raises ValueError for a name that
    notebook 04 does not know and for a value of another type or out of range.
    """
    defaults = dict.fromkeys(["dataset", "data_dir", "epochs"]) | {"profile": "demo", "reading": "fixed", "seed": 0}
    usual = runtime.configure(defaults, ssrgan.PROFILES, ssrgan.READINGS).values()
    for name, value in given.items():
        if name not in ssrgan.ALLOWED:
            near = difflib.get_close_matches(name, ssrgan.ALLOWED, n=1) or ssrgan.ALLOWED
            raise ValueError(f"unknown parameter {name!r}: did you mean {' or '.join(near)}?")
        number = "int" if isinstance(ssrgan.ALLOWED[name], tuple) else "str"  # of what is usually None
        runtime.check_type(name, value, number if usual.get(name) is None else type(usual[name]).__name__)
        runtime.check_range(name, value, ssrgan.ALLOWED[name])
    cfg = runtime.configure(defaults | given, ssrgan.PROFILES, ssrgan.READINGS)
    with torch.device("meta"):
        ssrgan.from_config(cfg)  # refuses what fits no network
    return cfg


def run(
    datasets: dict[str, dict],
    levels: Iterable[float] = ssrgan.LEVELS,
    seeds: Iterable[int] = (0,),
    out: str | Path | None = None,
    parameters: dict | None = None,
) -> list[dict]:
    """Trains and scores a network for every level, data set and seed; returns the results, as `read` does.

    ``datasets`` names the sets and says how to open each, {"flowers": {"dataset": "folder", "data_dir": ...,
    "n_train": 1020}, "embedded": {}}; ``parameters`` are notebook 04's, the same for all. Runs stand in
    ``out``/NAME/p=0.3 seed=0 (default: runs/sweep); a finished one is read, whatever has become of its pictures. Raises
    ValueError for unknown parameters, and for a folder that holds a run with others.
    """
    out, parameters = Path(out) if out else runtime.runs_dir("sweep"), parameters or {}
    own = {"p", "seed", "dataset", "data_dir", "out_dir", "experiments"} & parameters.keys()
    if own:
        raise ValueError(f"{min(own)} is not one parameter for all runs: use levels, seeds, datasets or out.")
    wanted = {
        out / name / f"p={p:g} seed={seed}": configuration(parameters | opening | {"p": float(p), "seed": seed})
        for name, opening in datasets.items()
        for p in levels
        for seed in seeds
    }
    for folder, cfg in {folder.parent: (folder, cfg) for folder, cfg in wanted.items()}.values():
        if not (folder / "results.json").exists():
            _open(cfg)  # what cannot be opened is said before anything is trained
    results = []
    bar = tqdm(wanted.items(), desc="sweep", unit="run")
    for folder, cfg in bar:
        bar.set_postfix_str(f"{folder.parent.name}, {folder.name}")
        path = folder / "results.json"
        if path.exists():
            found = json.loads(path.read_text(encoding="utf8"))
            differing = [name for name, value in cfg.values().items() if found["parameters"].get(name) != value]
            if differing:
                raise ValueError(
                    f"{path} belongs to another sweep ({', '.join(differing)} differ): choose another out."
                )
        else:
            found = json.loads(_run(cfg, folder).read_text(encoding="utf8"))
        results.append(found | {"dataset": folder.parent.name})
    return results


def _open(cfg: runtime.Config) -> data.Images:
    return data.open(cfg.dataset, cfg.data_dir, cfg.size, True, cfg.n_train, cfg.n_test, cfg.seed)


def _run(cfg: runtime.Config, folder: Path) -> Path:
    images = _open(cfg)
    generator, measured = study.train(cfg, images, folder, True)
    fillers, scores = [*study.fills(), ssrgan.Filler(generator, fill=cfg.fill)], {}
    for part, (image, mask) in study.test_parts(cfg, images, cfg.p).items():
        scores[part] = [row.to_json() for row in evaluate.score(fillers, image, mask, study.SCORES)]
    path = runtime.save_results(folder, cfg, runtime.pick_device(), data=images.describe(), scores=scores, **measured)
    (folder / "checkpoint.pt").unlink(missing_ok=True)  # a finished run needs no checkpoint
    return path


def read(folder: str | Path) -> list[dict]:
    """All results.json below ``folder``, each with "dataset", the name of the folder above its run."""
    paths = sorted(Path(folder).rglob("results.json"))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no results.json: run a sweep first.")
    return [json.loads(path.read_text(encoding="utf8")) | {"dataset": path.parent.parent.name} for path in paths]


def recorded() -> list[dict]:
    """The sweep in results/, as `read` would return it (written by tools/record_sweep.py); empty if it was not run."""
    path = runtime.results_dir() / "04_ssrgan-sweep.json"
    return json.loads(path.read_text(encoding="utf8"))["runs"] if path.exists() else []


def by_level(runs: list[dict], dataset: str, score: str = "image NMSE [0,1]", part: str = "test") -> dict[str, tuple]:
    """Every filler's curve over the levels, for `viz.lines`: {filler: (levels, mean over seeds, spread over seeds)}."""
    found = {}
    for run in runs:
        if run["dataset"] == dataset:
            for row in run["scores"].get(part, []):
                if score in row:
                    level = found.setdefault(row["filler"], {}).setdefault(run["parameters"]["p"], [])
                    level.append(row[score]["mean"])
    return {
        filler: (
            sorted(levels),
            [mean(levels[p]) for p in sorted(levels)],
            [_spread(levels[p]) for p in sorted(levels)],
        )
        for filler, levels in found.items()
    }


def by_epoch(runs: list[dict], dataset: str, score: str = "composited NMSE") -> dict[str, tuple]:
    """Every level's curve over the epochs, for `viz.lines`: {level: (epochs, mean over seeds, spread over seeds)}."""
    found = {}
    for run in runs:
        if run["dataset"] == dataset:
            found.setdefault(run["parameters"]["p"], []).append(run["history"])
    curves = {}
    for p, histories in sorted(found.items()):
        columns = list(zip(*(history["scores"][score] for history in histories), strict=True))
        curves[f"{p:.0%}"] = (histories[0]["epochs"], [mean(c) for c in columns], [_spread(c) for c in columns])
    return curves


def _spread(values: Iterable[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def draw(runs: list[dict], dataset: str, save: str | Path | None = None) -> None:
    """The paper's figure 5 for one data set: NMSE against the share of lost pixels, of the network and the fills."""
    _lines(by_level(runs, dataset), "share of lost pixels", save)


def draw_epochs(runs: list[dict], dataset: str, save: str | Path | None = None) -> None:
    """The paper's figure 6 for one data set: NMSE against the epoch, a curve for each level."""
    _lines(by_epoch(runs, dataset), "epoch", save)


def _lines(curves: dict[str, tuple], xlabel: str, save: str | Path | None) -> None:
    if curves:
        viz.lines(curves, xlabel, "composited NMSE, [0, 1]", log="y", save=save)
    else:
        print("not run: python -m inpaintkit sweep")


def datasets(runs: list[dict]) -> list[str]:
    """The data sets of which there are curves (more than one level), in the order of their names."""
    names = sorted({run["dataset"] for run in runs})
    return [name for name in names if len({run["parameters"]["p"] for run in runs if run["dataset"] == name}) > 1]


def overtakes(curves: dict[str, tuple], network: str = "SSRGAN", fill: str = "biharmonic") -> str:
    """At which levels the network's curve lies below a fill's, in words."""
    if fill not in curves:  # it takes one mask for all channels
        return "not compared"
    better = [p for p, a, b in zip(curves[network][0], curves[network][1], curves[fill][1], strict=True) if a < b]
    return ", ".join(f"{p:.0%}" for p in better) if better else "at none"


def table(runs: list[dict], dataset: str) -> viz.Table:
    """Composited NMSE in [0, 1] of every filler at every level, mean over test pictures and seeds."""
    curves = by_level(runs, dataset)
    lines = [
        {"filler": filler} | {f"p={p:g}": y for p, y in zip(x, values, strict=True)}
        for filler, (x, values, _) in curves.items()
    ]
    caption = f"{_caption(runs, dataset)}. SSRGAN is below biharmonic: {overtakes(curves)}"
    return viz.Table(lines, caption, {name: min for name in lines[0] if name != "filler"})


def compare(runs: list[dict], p: float) -> viz.Table:
    """The network at one level on every data set, however many of its pictures it was trained on."""
    lines = []
    runs = [run for run in runs if run["parameters"]["p"] == p]
    for dataset in sorted({run["dataset"] for run in runs}):
        curves = by_level(runs, dataset)
        first = next(run for run in runs if run["dataset"] == dataset)
        line = {"data": dataset, "training pictures": first["data"]["counts"]["train"]}
        line["epochs"] = first["parameters"]["epochs"]
        names = ("do nothing", "normalised 5x5 box", "biharmonic", "SSRGAN")
        lines.append(line | {name: curves[name][1][0] for name in names if name in curves})
    return viz.Table(lines, f"composited NMSE in [0, 1], test, {p:.0%} lost, mean over pictures and seeds")


def _caption(runs: list[dict], dataset: str) -> str:
    mine = [run for run in runs if run["dataset"] == dataset]
    counts, parameters, seeds = (
        mine[0]["data"]["counts"],
        mine[0]["parameters"],
        {r["parameters"]["seed"] for r in mine},
    )
    minutes = mean(run["history"]["seconds"] for run in mine) / 60
    return (
        f"{dataset}: composited NMSE in [0, 1], mean over {counts['test']} test pictures of {parameters['size']} "
        f"pixels and {len(seeds)} seed(s); {counts['train']} for training, {mine[0]['history']['steps'][-1]} steps, "
        f"{minutes:.1f} minutes each on {mine[0]['device']}"
    )


def main(names: list[str], levels: list[float], seeds: list[int], out: str | None, parameters: dict) -> None:
    """``python -m inpaintkit sweep``: ``names`` are NAME=FOLDER, "embedded", or the name of a data set."""
    datasets = {}
    for name in names:
        name, _, folder = name.partition("=")
        own = folder and name.partition(":")[0] not in data.named()
        label = name.replace(":", "-")  # it becomes a folder
        datasets[label] = {"dataset": "folder" if own else name} | ({"data_dir": folder} if folder else {})
    runs = run(datasets, levels, seeds, out, parameters)
    for name in datasets:
        print(table(runs, name))
        target = Path(out) if out else runtime.runs_dir("sweep")
        draw(runs, name, target / f"{name}-levels.png")
        draw_epochs(runs, name, target / f"{name}-epochs.png")
        print(f"drawn in {target}: {name}-levels.png, {name}-epochs.png")
