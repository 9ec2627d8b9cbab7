"""The weights that ship with the kit: results/weights/WORK.safetensors, each trained for longer than the demo.

A header says with what: parameters, data, licence, history, score. `sha256.txt` beside them tells a damaged or edited
file. ``weights="ours"`` in a notebook loads them instead of training, as `repair --method network` does without a run.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import nn

from inpaintkit import contracts, runtime, training

SUMS = "sha256.txt"
OPEN = ("n_test", "precision")  # parameters that may differ from those of the training


def file(work: str) -> Path:
    """The weights file of a work, by its id. Raises FileNotFoundError or ValueError with one sentence."""
    folder = runtime.results_dir() / "weights"
    path = folder / f"{work}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"no weights of {work} come with this version of the kit: train the network.")
    sums = dict(reversed(line.split()) for line in (folder / SUMS).read_text(encoding="utf8").splitlines())
    if sums.get(path.name) != hashlib.sha256(path.read_bytes()).hexdigest():
        raise ValueError(f"{path} is damaged or was changed: install inpaintkit again.")
    return path


def parameters(work: str) -> dict[str, Any]:
    """What the shipped network of a work was trained with: {name: value}."""
    trained = json.loads(training.weights_header(file(work))["parameters"])
    return {name: value for name, value in trained.items() if name not in OPEN}


def filler(paper: contracts.Paper) -> contracts.Filler:
    """The shipped network of a work, ready to fill."""
    cfg = paper.Parameters().changed(**parameters(paper.id))
    modules = paper.build(cfg)
    load(paper.id, modules, paper.kept)
    found = paper.filler(modules, cfg)
    found.id, found.label = f"{found.id}, shipped", f"{found.label}, shipped weights"
    return found


def load(work: str, modules: nn.ModuleDict, kept: tuple[str, ...]) -> training.History:
    """Puts the shipped weights of a work into ``modules``; returns the history of their training, without pictures.

    Raises ValueError if the modules are not those of `parameters`.
    """
    path = file(work)
    training.load_weights(path, modules, kept)
    modules.eval()
    return training.History(**json.loads(training.weights_header(path)["history"]))
