"""One run of any work: open, test holes, build, fit, score, save. The only place where this is written down.

A run leaves a folder: results.json (the record: one row for each part x holes x filler x score, and what produced it),
images.npz (the main score of every picture), weights.safetensors, and checkpoint.pt while it is trained.
"""

import contextlib
import hashlib
import inspect
import json
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from torch import nn

from inpaintkit import data, evaluate, fills, masking, metrics, papers, runtime, shipped, training
from inpaintkit.contracts import Filler, Paper
from inpaintkit.parameters import Training

SCHEMA = 1  # of results.json and of the tables in results/; raise it when a column changes its meaning
PACKAGE = Path(runtime.__file__).parent
DAMAGED = (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile)  # what broken .npz files raise
# What the result of any run depends on.
SHARED = ("contracts", "masking", "metrics", "evaluate", "fills", "patches", "training")

DATA = {  # the same for each kind of data; all named sets are read as a folder is
    "photographs": ("photographs.py", "embedded_v1.csv"),
    "portraits": ("portraits.py", "reading.py", "photographs.py", "embedded_v1.csv"),
    "folder": ("reading.py", "store.py", "splits.py", "sets.py", "sets.toml"),
}


# --- identity ---------------------------------------------------------------------------------------------------------


def code(paper: Paper, cfg: Training) -> str:
    """The hash of the code that a run depends on: its paper, the shared files, the data of its kind."""
    kind = cfg.dataset.partition(":")[0]
    return _code(inspect.getfile(type(paper)), DATA.get(kind, DATA["folder"]))


@cache
def _code(own: str, data_files: tuple[str, ...]) -> str:
    shared = (PACKAGE / f"{name}.py" for name in SHARED)
    return runtime.code_hash(Path(own), *shared, *(PACKAGE / "data" / name for name in data_files))


def identity(paper: Paper, cfg: Training, images: data.Images | None = None) -> str:
    """Eight hex digits that two runs share if they must end alike: work, parameters, code, and pictures if given."""
    what = [paper.id, cfg.identifying(), code(paper, cfg), images.fingerprint["train"] if images else None]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]


def name(paper: Paper, cfg: Training, images: data.Images | None = None) -> str:
    """The folder of a run below runs/: its work, then words for people and its `identity`."""
    return f"{paper.notebook}/{cfg.profile}-{cfg.reading}-seed{cfg.seed}-{identity(paper, cfg, images)}"


def folder(paper: Paper, cfg: Training, images: data.Images) -> Path:
    """Where a run keeps its files: ``cfg.out_dir``, or a folder of its own, so that no run meets another's files.

    Raises OSError with one sentence for a folder that cannot be written to.
    """
    return runtime.runs_dir(name(paper, cfg, images), cfg.out_dir)


def checkpoint_identity(paper: Paper, cfg: Training, images: data.Images) -> dict[str, Any]:
    """For `training.fit`: what must be the same when a run continues. ``epochs`` may be raised where the learning rate
    does not follow from their number.
    """
    fixed = {name: value for name, value in cfg.identifying().items() if name != "epochs" or cfg.anneal}
    return {"paper": paper.id} | fixed | {"training pictures": images.fingerprint["train"], "code": code(paper, cfg)}


# --- the run ----------------------------------------------------------------------------------------------------------


def run(
    paper: Paper | str,
    given: dict[str, Any] | Training,
    out: str | Path | None = None,
    *,
    slim: bool = False,
    progress: bool = True,
) -> dict:
    """Trains and scores one work with some parameters; returns its record, as results.json has it.

    Args:
        paper: a work, or its id.
        given: its parameters by name, or all of them resolved.
        out: the folder; None: ``out_dir``, or one of its own below runs/.
        slim: leave neither checkpoint nor weights behind, as hundreds of runs should.

    A finished run is read and not repeated; an interrupted one continues. Raises ValueError or OSError with one
    sentence: parameters, data or a folder that cannot be, a folder of another run, a run that is under way elsewhere.
    """
    paper = papers.get(paper) if isinstance(paper, str) else paper
    cfg = given if isinstance(given, Training) else paper.Parameters.resolve(given)
    with torch.device("meta"):
        paper.build(cfg)  # refuses what cannot be before any picture is opened
    images = data.open_for(cfg)
    out = runtime.runs_dir(out_dir=out) if out else folder(paper, cfg, images)
    with _alone(out):
        found = _finished(out / "results.json", paper, cfg, images)
        if found:
            return found
        device = runtime.pick_device()
        modules, history = train(paper, cfg, images, out, device, progress)
        record = save(out, paper, cfg, modules, images, history, device, slim=slim)
        if slim:
            (out / "checkpoint.pt").unlink(missing_ok=True)
    return record


def save(out: Path, paper, cfg, modules, images, history, device, *, slim=False, own_holes_only=False, **more) -> dict:
    """Scores trained networks and writes what a run leaves behind; returns the record. ``more`` are further entries."""
    rows, arrays = score(paper, cfg, modules, images, device, own_holes_only)
    runtime.write_arrays(out / "images.npz", arrays)
    if not slim:
        save_weights(out, paper, cfg, modules, images)
    more |= {"own_holes_only": True} if own_holes_only else {}
    drawn = [path.name for path in sorted(out.glob("*.png")) if path.stem != "teaser"]
    more |= {"pictures": drawn} if drawn else {}  # a notebook has saved them there, for the page of `make course`
    record = describe(paper, cfg, modules, images, history, device) | {"scores": rows} | more
    runtime.write_json(out / "results.json", record)
    return record


def train(
    paper: Paper, cfg: Training, images: data.Images, out: Path, device: torch.device, progress: bool = True
) -> tuple[nn.ModuleDict, training.History]:
    """Builds and trains, or loads the shipped weights: (modules, history). Notebooks write it out cell by cell."""
    parts = dict(open_parts(paper, images, device, ("test",)))
    own = next(iter(paper.test_holes(cfg, len(parts["test"])).values())).to(device)
    few = torch.linspace(0, len(own) - 1, min(64, len(own))).long()
    image, mask = parts["test"][few], own[few]
    masked = masking.apply(image, mask, paper.untouched)
    runtime.seed_everything(cfg.seed)
    modules = paper.build(cfg)
    if cfg.weights == "ours":
        return modules.to(device), load_shipped(paper, modules)
    pictures, fixed_holes = paper.training_set(images.train, cfg)  # pyrefly: ignore[bad-argument-type]  (like a tensor)
    recipe = paper.recipe(modules, cfg, len(pictures) // cfg.batch_size)
    filler, main = paper.filler(modules, cfg), paper.scores[0]

    def monitor():
        pred = filler(masked, mask)
        values = evaluate.SCORES[main].of(pred, masking.composite(image, pred, mask), image, mask)
        summary = metrics.summarise(values)  # without a mean if all pictures are black
        curve = {main: summary["mean"]} if "mean" in summary else {}
        return curve | {k: v for k, v in paper.measure(modules, cfg, image, mask).items() if k == "detail"}

    history = training.fit(
        recipe,
        pictures,
        fixed_holes,
        epochs=cfg.epochs,
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        out_dir=out,
        identity=checkpoint_identity(paper, cfg, images),
        device=device,
        precision=runtime.pick_precision(device, cfg.precision),
        monitor=monitor,
        preview=lambda: paper.preview(modules, cfg, masked[:12], mask[:12]),
        progress=progress,
    )
    modules.eval()
    return modules, history


def open_parts(paper: Paper, images: data.Images, device, only: tuple[str, ...] = ()):
    """The parts of a data set that a work is scored on: (name, pictures (B, C, H, W) in [0, 1] on ``device``)."""
    for part in only or paper.parts:
        pictures = getattr(images, part)
        if pictures is not None:
            pictures = pictures[:256] if part == "train" else pictures[:]
            yield part, pictures.to(device).float() / 255


def score(
    paper: Paper, cfg: Training, modules: nn.ModuleDict, images: data.Images, device, own_holes_only: bool = False
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Scores the network, and the classic fills beside it, on every part and all test holes, or (quicker, for a
    notebook) on the configuration's own holes.

    Returns the record's rows, and the main score of each picture: {"part|holes|filler": (n,)}.
    """
    rows, arrays, network = [], {}, paper.filler(modules, cfg)
    for part, image in open_parts(paper, images, device):
        pictures = runtime.fingerprint(image)
        named = list(paper.test_holes(cfg, len(image)).items())
        for number, (holes, mask) in enumerate(named[:1] if own_holes_only else named):
            fillers = [network, *(paper.other_fillers(modules, cfg) if part == "test" and number == 0 else [])]
            scored = evaluate.score(fillers, image, mask.to(device), paper.scores, paper.untouched)
            if part != "train":
                scored += reference(paper, image, mask.to(device), pictures)
            place = {"part": part, "holes": holes, "pictures": pictures, "mask": runtime.fingerprint(mask)}
            for one in scored:
                rows += _rows(place, one)
                if not one.note:
                    arrays[f"{part}|{holes}|{one.filler}"] = one.scores[paper.scores[0]].cpu().numpy().astype("f4")
            if part == "test" and number == 0:
                measured = paper.measure(modules, cfg, image, mask.to(device))
                of_network = place | {"filler": network.id, "n": 1}
                rows += [of_network | {"score": k, "mean": float(v)} for k, v in measured.items()]
    return rows, arrays


def _rows(place: dict, one: evaluate.Scored) -> list[dict]:
    if one.note:
        return [place | {"filler": one.filler, "note": one.note}]
    return [
        place | {"filler": one.filler, "score": name} | metrics.summarise(values) for name, values in one.scores.items()
    ]


def reference(paper: Paper, image: torch.Tensor, mask: torch.Tensor, pictures: str) -> list[evaluate.Scored]:
    """The work's classic fills on these pictures and holes; what was scored once is read from runs/fills."""
    known = runtime.code_hash(*(PACKAGE / f"{name}.py" for name in ("fills", "masking", "metrics", "evaluate")))
    what = json.dumps([pictures, runtime.fingerprint(mask), paper.scores, paper.untouched, known])
    scored = []
    for fill in fills.fills(*paper.fills):
        key = hashlib.sha256(f"{what} {fill.id}".encode()).hexdigest()[:16]
        path = runtime.runs_dir("fills") / f"{fill.id}-{key}.npz"
        if path.exists():
            with contextlib.suppress(*DAMAGED), np.load(path) as kept:  # a damaged one is made anew
                values = {score: torch.from_numpy(kept[score]) for score in paper.scores}
                scored.append(evaluate.Scored(fill.id, fill.label, values))
                continue
        (one,) = evaluate.score([fill], image, mask, paper.scores, paper.untouched)
        scored.append(one)
        if not one.note:
            runtime.write_arrays(path, {k: v.cpu().numpy() for k, v in one.scores.items()})
    return scored


def beside_fills(
    paper: Paper,
    image: torch.Tensor,
    mask: torch.Tensor,
    fillers: Sequence[Filler],
    scores: Sequence[str] = (),
    fill: str = "",
) -> list[evaluate.Scored]:
    """The `reference` of a work and other fillers on the same pictures and holes; what cannot take them is left out.

    ``fill`` is what the others find in a hole, by default what the work's ``untouched`` says.
    """
    rows = reference(paper, image, mask, runtime.fingerprint(image))
    rows += evaluate.score(fillers, image, mask, scores or paper.scores, fill or paper.untouched)
    return [row for row in rows if not row.note]


def save_weights(out: Path, paper: Paper, cfg: Training, modules: nn.ModuleDict, images: data.Images) -> Path:
    """weights.safetensors in ``out``: what `repair --method network` reads."""
    header = {
        "paper": paper.id,
        "parameters": json.dumps(cfg.identifying()),
        "data": images.name,
        "training pictures": images.fingerprint["train"],
        "revision": str(runtime.git_revision()),
    }
    return training.save_weights(out / "weights.safetensors", modules, paper.kept, header)


def load_shipped(paper: Paper, modules: nn.ModuleDict) -> training.History:
    """Puts the weights that ship into ``modules``; returns the history of their training, without pictures.

    Raises ValueError for modules of another network, and as `shipped.file` does.
    """
    training.load_weights(shipped.file(paper.id), modules, paper.kept)
    modules.eval()
    return training.History(**json.loads(shipped.header(paper.id)["history"]))


def trained_filler(path: Path, device: torch.device | str = "cpu") -> tuple[Paper, Filler]:
    """The work and the network of a weights file, ready to fill.

    Raises ValueError with one sentence for a file that is damaged or was not saved by this version.
    """
    header = training.weights_header(path)
    try:
        paper = papers.get(header["paper"])
        cfg = paper.Parameters().changed(**json.loads(header["parameters"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} was not saved by this version of the kit ({error}): train it again.") from error
    modules = paper.build(cfg).to(device).eval()
    training.load_weights(path, modules, paper.kept)
    return paper, paper.filler(modules, cfg)


def shipped_filler(paper: Paper, device: torch.device | str = "cpu", name: str | None = None) -> Filler:
    """The network of a work whose weights ship, or another one by its ``name``. Raises as `shipped.file` does."""
    _, filler = trained_filler(shipped.file(name or paper.id), device)
    filler.id, filler.label = f"{filler.id}, shipped", f"{filler.label}, shipped weights"
    return filler


def describe(paper: Paper, cfg: Training, modules, images: data.Images, history: training.History, device) -> dict:
    """What produced a result, for results.json: notebooks and `run` write the same."""
    return {
        "schema": SCHEMA,
        "paper": paper.id,
        "run": identity(paper, cfg),
        "profile": cfg.profile,
        "reading": cfg.reading,
        "changes": cfg.changes(),
        "seed": cfg.seed,
        "parameters": cfg.identifying(),
        "holes": next(iter(paper.test_holes(cfg, 1))),  # those that the network was trained for
        "steps": history.steps[-1],
        "seconds": round(history.seconds, 3),  # of training alone
        "precision": runtime.pick_precision(device, cfg.precision),
        "code": code(paper, cfg),
        "weights": training.weights_hash(modules),
        "data": images.describe(),
        **runtime.provenance(device),
        "history": history.to_json(),
    }


def _finished(path: Path, paper: Paper, cfg: Training, images: data.Images) -> dict | None:
    """The record in ``path`` if it is this run's; None if there is none, or if more epochs are asked for now."""
    if not path.exists():
        return None
    found = runtime.read_json(path)
    if found.get("schema") != SCHEMA or "parameters" not in found:
        raise ValueError(f"{path} was written by another version of the kit: choose another out_dir, or delete it.")
    wanted = {"paper": paper.id} | cfg.identifying()
    there = {"paper": found["paper"]} | found["parameters"]
    differing = [key for key in wanted if there.get(key) != wanted[key]]
    if found["code"] != code(paper, cfg):
        differing.append("code")
    if found["data"]["fingerprint"]["train"] != images.fingerprint["train"]:
        differing.append("training pictures")
    if not differing:  # a notebook's run is scored again on all holes, and not trained again
        return None if found.get("own_holes_only") else found
    if differing == ["epochs"] and there["epochs"] < wanted["epochs"] and not cfg.anneal:
        return None
    raise ValueError(f"{path} belongs to another run ({', '.join(differing)} differ): choose another out_dir.")


@contextlib.contextmanager
def _alone(out: Path):
    try:
        with filelock.FileLock(out / "run.lock", timeout=0):
            yield
    except filelock.Timeout as error:
        raise ValueError(f"{out} is in use by another process that runs the same: wait for it.") from error
