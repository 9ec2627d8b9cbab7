"""The weights that ship with the kit: results/weights/WORK.safetensors, each trained for longer than the demo, and
WORK-LEVEL.safetensors, SSRGAN's demo for each level.

A header says with what: parameters, data, licence, history, score. `sha256.txt` beside them tells a damaged or edited
file. ``weights="ours"`` loads them instead of training, and `repair --method network` uses them where no run is named.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors

from inpaintkit import runtime

SUMS = "sha256.txt"
OPEN = ("n_test", "precision")  # parameters that may differ from those of the training


def file(work: str) -> Path:
    """A weights file by its name, the id of its work or WORK-LEVEL. Raises FileNotFoundError or ValueError with one
    sentence.
    """
    folder = runtime.results_dir() / "weights"
    path = folder / f"{work}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"no weights of {work} come with this version of the kit: train the network.")
    sums = dict(reversed(line.split()) for line in (folder / SUMS).read_text(encoding="utf8").splitlines())
    if sums.get(path.name) != hashlib.sha256(path.read_bytes()).hexdigest():
        raise ValueError(f"{path} is damaged or was changed: install inpaintkit again.")
    return path


def header(work: str) -> dict[str, str]:
    """What the weights file of a work says of itself. Raises as `file` does."""
    with safetensors.safe_open(file(work), "pt") as opened:
        return opened.metadata()


def parameters(work: str) -> dict[str, Any]:
    """What the shipped network of a work was trained with: {name: value}."""
    said = header(work)
    trained = {name: value for name, value in json.loads(said["parameters"]).items() if name not in OPEN}
    return trained | {"reading": said["reading"]}
