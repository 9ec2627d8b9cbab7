"""The photographs inside the wheels of scikit-image and matplotlib, cut by the committed split embedded_v1.csv."""

import csv
import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

WIDEST_CROP = 128  # the guard band between the train and test regions of embedded-v1 is this wide
DARK, FLAT = 0.1, 0.02  # crops with a lower mean or standard deviation are dropped


def regions() -> list[dict[str, str]]:
    """The rows of the split embedded-v1: photograph, part, top, left, bottom, right, package, file, sha256, licence."""
    table = Path(__file__).with_name("embedded_v1.csv").read_text(encoding="utf8")
    return list(csv.DictReader(table.splitlines()))


@cache
def photograph(name: str, colour: bool = True) -> torch.Tensor:
    """A whole photograph of embedded-v1, uint8 (C, H, W); grey ones have three equal channels if ``colour``."""
    rows = {row["photograph"]: row for row in regions()}
    if name not in rows:
        raise ValueError(f"there is no photograph {name!r}; there are {', '.join(rows)}.")
    row = rows[name]
    if row["package"] == "scikit-image":
        import skimage

        path = Path(skimage.__file__).parent / "data" / row["file"]
    else:
        import matplotlib

        path = Path(matplotlib.get_data_path()) / "sample_data" / row["file"]
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
        raise FileNotFoundError(f"the installed {row['package']} does not ship the {name} photograph of embedded-v1.")
    array = np.array(Image.open(path).convert("RGB" if colour else "L"))
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def _usable(crop: torch.Tensor) -> bool:
    crop = crop.double() / 255
    return bool(crop.mean() >= DARK and crop.std() >= FLAT)


def open_photographs(only, size, colour, n_train, n_test, seed) -> tuple[dict, dict, dict]:
    """Crops of the photographs, or of ``only`` one: {part: uint8 (N, C, size, size)}, {part: names}, notes.

    Raises ValueError for a size, a photograph or a number of tests that there is not.
    """
    if not 8 <= size <= WIDEST_CROP:
        raise ValueError(f"size must lie between 8 and {WIDEST_CROP} for the photographs, and {size} does not.")
    parts: dict[str, list] = {"train": [], "test": [], "unseen": []}
    for row in regions():
        box = tuple(int(row[side]) for side in ("top", "left", "bottom", "right"))
        if row["part"] == "unseen" or only in (None, row["photograph"]):
            parts[row["part"]].append((row["photograph"], box))
    if not parts["train"]:
        known = ", ".join(sorted({row["photograph"] for row in regions() if row["part"] == "train"}))
        raise ValueError(f"dataset='photographs:NAME' takes one of {known}, and {only!r} is not.")
    n_train, dropped = 4000 if n_train is None else n_train, 0
    crops, names = {part: [] for part in parts}, {part: [] for part in parts}

    def take(part, name, y, x):
        crop = photograph(name, colour)[:, y : y + size, x : x + size]
        if _usable(crop):
            crops[part].append(crop)
            names[part].append(f"{name}@{y},{x}")
            return True
        return False

    # Training: random positions, the same number from each photograph.
    rng = np.random.default_rng(seed)
    for i, (name, (top, left, bottom, right)) in enumerate(parts["train"]):
        wanted = n_train // len(parts["train"]) + (i < n_train % len(parts["train"]))
        while wanted:
            y, x = rng.integers(top, bottom - size + 1), rng.integers(left, right - size + 1)
            if take("train", name, y, x):
                wanted -= 1
            else:
                dropped += 1
    # Tests: a fixed grid, half a crop apart in the narrow test regions, a whole crop apart in the unseen photographs.
    for part, stride in (("test", size // 2), ("unseen", size)):
        for name, (top, left, bottom, right) in parts[part]:
            for y in range(top, bottom - size + 1, stride):
                for x in range(left, right - size + 1, stride):
                    dropped += not take(part, name, y, x)
        if n_test is not None:  # chosen by a fixed draw, so that every seed sees the same ones
            if part == "test" and n_test > len(crops[part]):
                raise ValueError(f"n_test={n_test} is more than the {len(crops[part])} test crops of size {size}.")
            chosen = sorted(np.random.default_rng(0).permutation(len(crops[part]))[:n_test])
            crops[part], names[part] = ([values[i] for i in chosen] for values in (crops[part], names[part]))
    return (
        {part: torch.stack(values) for part, values in crops.items() if values},  # no training crops: n_train=0
        names,
        {"crops dropped as nearly black or flat": dropped},
    )
