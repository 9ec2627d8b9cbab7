"""Pictures in, uint8 tensors out: found, verified, decoded once, split, fingerprinted.

`open` serves every data set behind one call. "embedded" are the photographs inside the wheels of scikit-image and
matplotlib, cut by the committed split embedded_v1.csv; "folder" is any tree of pictures.
"""

import csv
import hashlib
import json
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from inpaintkit import runtime

BY_HAND = {  # the papers' own sets that have to be fetched by hand: what to fetch, which folder to name
    "afhq-wild": "Animal Faces (AFHQ) from Kaggle, andrewmvd/animal-faces, and data_dir=.../afhq/train/wild",
    "ffhq": "the thumbnails of Flickr-Faces-HQ from github.com/NVlabs/ffhq-dataset, and data_dir=.../thumbnails128x128",
    "animals10": "Animals-10 from Kaggle, alessiocorrado99/animals10, and data_dir=.../raw-img",
    "paris-streetview": "Paris StreetView from the authors of Context Encoders, who give it on request "
    "(github.com/pathak22/context-encoder), or any folder of street views, and data_dir=that folder,",
    "flowers102": "Oxford Flowers-102 (torchvision.datasets.Flowers102 downloads it) and data_dir=.../flowers-102/jpg",
    "oxford-pet": "Oxford-IIIT Pet (torchvision.datasets.OxfordIIITPet downloads it) and data_dir=.../images",
    "caltech101": "Caltech-101 (torchvision.datasets.Caltech101 downloads it), with its class BACKGROUND_Google, "
    "and data_dir=.../101_ObjectCategories",
}
WIDEST_CROP = 128  # the guard band between the train and test regions of embedded-v1 is this wide
DARK, FLAT = 0.1, 0.02  # crops with a lower mean or standard deviation are dropped


@dataclass(frozen=True)
class Images:
    """A data set, decoded: uint8 tensors (N, C, size, size) and the name of every picture.

    ``test`` is never trained on; ``unseen`` (embedded only) holds whole photographs of which nothing was trained on.
    ``notes`` counts what was left out and why.
    """

    name: str
    train: torch.Tensor
    test: torch.Tensor
    names: dict[str, list[str]]
    unseen: torch.Tensor | None = None
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def fingerprint(self) -> dict[str, str]:
        """A hash of the pixels of each part, for results.json."""
        return {part: runtime.fingerprint(getattr(self, part)) for part in self.names}

    def describe(self) -> dict:
        """For results.json: name, number of pictures and fingerprint of each part, what was left out."""
        counts = {part: len(names) for part, names in self.names.items()}
        return {"name": self.name, "counts": counts, "fingerprint": self.fingerprint, "left out": self.notes}

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(getattr(self, part))} {part}" for part in self.names)
        notes = "".join(f"; {count} {what}" for what, count in self.notes.items() if count)
        return f"{self.name}: {counts}, {'x'.join(map(str, self.train.shape[1:]))} uint8{notes}"


def open(
    dataset: str,
    data_dir: str | Path | None = None,
    size: int = 128,
    colour: bool = True,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
    split: str = "drawn",
) -> Images:
    """Opens a data set as `Images` of ``size`` x ``size`` pixels, RGB or grey.

    ``dataset``: "embedded", "embedded:NAME" (trained and tested on one of its photographs) or "folder" (``data_dir``
    names the tree of pictures). ``n_train`` and ``n_test`` None mean all there is (embedded: 4,000 random training
    crops; folder: 70 % and 30 %). ``seed`` chooses the training crops or the split; embedded test crops do not depend
    on it. ``split``: a folder's test pictures are "drawn", or those that come "last" in the order of their names.

    Raises ValueError, FileNotFoundError or NotADirectoryError with one sentence; unreadable pictures are skipped with a
    warning that names them.
    """
    for name, value in (("n_train", n_train), ("n_test", n_test)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, or None for all there is, and {value} is not.")
    kind, colon, name = dataset.partition(":")
    if kind == "embedded":
        return _open_embedded(name if colon else None, size, colour, n_train, n_test, seed)
    if split not in ("drawn", "last"):
        raise ValueError(f"split must be 'drawn' or 'last', and {split!r} is neither.")
    if dataset == "folder":
        return _open_folder(data_dir, size, colour, n_train, n_test, seed, split)
    if dataset in BY_HAND:
        raise ValueError(
            f"this run needs {dataset}, which is not fetched for you: get {BY_HAND[dataset]} with dataset='folder'."
        )
    raise ValueError(
        f"dataset {dataset!r} is not known: use 'embedded', or 'folder' with data_dir=the folder of pictures."
    )


# --- embedded: photographs inside the wheels of scikit-image and matplotlib -----------------------------------------


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
    return _to_tensor(Image.open(path).convert("RGB" if colour else "L"))


def _to_tensor(picture: Image.Image) -> torch.Tensor:
    array = np.array(picture)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def _usable(crop: torch.Tensor) -> bool:
    crop = crop.double() / 255
    return crop.mean() >= DARK and crop.std() >= FLAT


def _open_embedded(only, size, colour, n_train, n_test, seed) -> Images:
    if not 8 <= size <= WIDEST_CROP:
        raise ValueError(
            f"size must lie between 8 and {WIDEST_CROP} for the embedded photographs, and {size} does not."
        )
    parts = {"train": [], "test": [], "unseen": []}
    for row in regions():
        box = tuple(int(row[side]) for side in ("top", "left", "bottom", "right"))
        if row["part"] == "unseen" or only in (None, row["photograph"]):
            parts[row["part"]].append((row["photograph"], box))
    if not parts["train"]:
        known = ", ".join(sorted({row["photograph"] for row in regions() if row["part"] == "train"}))
        raise ValueError(f"dataset='embedded:NAME' takes one of {known}, and {only!r} is not.")
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
    tensors = {part: torch.stack(values) for part, values in crops.items()}
    notes = {"crops dropped as nearly black or flat": dropped}
    name = f"embedded-v1, {only} alone" if only else "embedded-v1"
    return Images(name, tensors["train"], tensors["test"], names, tensors["unseen"], notes)


# --- folder: any tree of pictures -----------------------------------------------------------------------------------


def cache_dir() -> Path:
    """Where decoded folders are kept: $INPAINTKIT_CACHE, data/cache in a checkout, or ~/.cache/inpaintkit."""
    if "INPAINTKIT_CACHE" in os.environ:
        return Path(os.environ["INPAINTKIT_CACHE"])
    checkout = Path(__file__).parent.parent / "data"
    return checkout / "cache" if checkout.is_dir() else Path.home() / ".cache" / "inpaintkit"


def decode(path: str | Path, size: int, colour: bool = True) -> np.ndarray:
    """One picture as uint8 (C, size, size): turned as its camera says, squashed to a square (as the papers do),
    bicubic.

    Transparent parts become white. Raises ValueError with the reason for anything that is not a usable picture.
    """
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (2 * size, 2 * size))  # lets JPEG decode at a fraction of a large size
            picture = ImageOps.exif_transpose(picture)
            if min(picture.size) < size:
                raise ValueError(f"{picture.width}x{picture.height} is smaller than size={size}")
            if picture.mode.startswith(("I", "F")):
                raise ValueError("more than 8 bits per channel; convert it to 8 bits")
            if "A" in picture.mode or "transparency" in picture.info:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            picture = picture.convert("RGB" if colour else "L").resize((size, size), Image.Resampling.BICUBIC)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # SyntaxError: some broken PNG files
        raise ValueError(f"not a readable picture ({type(error).__name__}: {error})") from error
    return _to_tensor(picture).numpy()


def _decode_folder(folder: Path, size: int, colour: bool) -> tuple[np.ndarray, list[str], dict[str, int]]:
    """All usable pictures below ``folder``, from the cache if nothing changed: arrays, names and what was left out."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    if not files:
        raise ValueError(f"{folder} holds no files: data_dir must name a folder with pictures in it.")
    listing = [(p.relative_to(folder).as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    key = hashlib.sha256(json.dumps([str(folder.resolve()), size, colour, listing]).encode()).hexdigest()[:16]
    arrays_file, names_file = cache_dir() / f"folder-{key}.npy", cache_dir() / f"folder-{key}.json"
    if arrays_file.exists() and names_file.exists():
        kept = json.loads(names_file.read_text(encoding="utf8"))
        _warn_of_skipped(kept["skipped"], len(files))
        return np.load(arrays_file), kept["names"], kept["notes"]

    def attempt(path):
        try:
            return decode(path, size, colour)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        decoded = list(tqdm(pool.map(attempt, files), total=len(files), desc=f"decoding {folder.name}", unit="picture"))
    arrays, names, seen, skipped, duplicates = [], [], set(), [], 0
    for (name, *_), picture in zip(listing, decoded, strict=True):
        if isinstance(picture, str):
            skipped.append(f"{name}: {picture}")
        elif (digest := hashlib.sha256(picture.data).digest()) in seen:
            duplicates += 1  # the same picture on both sides of a split would be a leak
        else:
            seen.add(digest)
            arrays.append(picture)
            names.append(name)
    if not arrays:
        raise ValueError(f"none of the {len(files)} files in {folder} is a usable picture; the first: {skipped[0]}.")
    _warn_of_skipped(skipped, len(files))
    arrays, notes = np.stack(arrays), {"files skipped": len(skipped), "exact duplicates left out": duplicates}
    with runtime.atomic_write(arrays_file) as part, part.open("wb") as file:
        np.save(file, arrays)
    runtime.write_json(names_file, {"names": names, "notes": notes, "skipped": skipped})
    return arrays, names, notes


def _warn_of_skipped(skipped: list[str], n_files: int) -> None:
    if skipped:
        more = f" ... and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        warnings.warn(f"{len(skipped)} of {n_files} files skipped: {'; '.join(skipped[:5])}{more}", stacklevel=5)


def _open_folder(data_dir, size, colour, n_train, n_test, seed, split) -> Images:
    if data_dir is None:
        raise ValueError("dataset='folder' needs data_dir: the folder that holds the pictures.")
    folder = Path(data_dir).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"data_dir {folder} does not exist.")
    if not folder.is_dir():
        raise NotADirectoryError(f"data_dir {folder} is a file: name the folder that holds the pictures.")
    if size < 8:
        raise ValueError(f"size must be at least 8, and {size} is not.")
    arrays, names, notes = _decode_folder(folder, size, colour)
    if n_test is None:
        n_test = round(0.3 * len(arrays)) if n_train is None else len(arrays) - n_train
    n_train = len(arrays) - n_test if n_train is None else n_train
    if n_train < 1 or n_test < 1 or n_train + n_test > len(arrays):
        raise ValueError(
            f"{folder} holds {len(arrays)} usable pictures: n_train={n_train} and n_test={n_test} do not fit; "
            "lower them, or leave both out for a 70/30 split."
        )
    order = np.random.default_rng(seed).permutation(len(arrays)) if split == "drawn" else np.arange(len(arrays))
    chosen = {"train": order[:n_train], "test": order[len(order) - n_test :]}
    parts = {part: torch.from_numpy(arrays[indices]) for part, indices in chosen.items()}
    return Images(
        f"folder {folder.name}", **parts, names={p: [names[i] for i in ix] for p, ix in chosen.items()}, notes=notes
    )
