"""Pictures in, uint8 tensors out: found, fetched, decoded once, split, fingerprinted.

`open` serves them all: "portraits" come with the package, "photographs" inside two others, "folder" is any tree of
pictures of your own, the papers' data sets go by their names (sets.py). Files are read by one set of rules
(reading.py), decoded once into an array on disk (store.py) and parted into training and test (splits.py).
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from inpaintkit import parameters, runtime
from inpaintkit.data import sets, splits
from inpaintkit.data.photographs import WIDEST_CROP, open_photographs, photograph, regions
from inpaintkit.data.portraits import open_portraits
from inpaintkit.data.reading import Decoding, decode
from inpaintkit.data.store import Pictures, cache_dir, load

__all__ = ["WIDEST_CROP", "Images", "Pictures", "cache_dir", "decode", "open", "open_for", "photograph", "regions"]


@dataclass(frozen=True)
class Images:
    """A data set, decoded: uint8 (N, C, size, size) and the name of every picture.

    ``test`` is never trained on; ``unseen`` holds pictures of another kind: whole photographs of which nothing was
    trained on, or for the portraits the test crops of the photographs.
    Decoded files are `Pictures`, which stay on disk and are indexed like a tensor; what comes with packages are
    tensors. ``split`` says in words how the parts were made; ``notes`` counts what was left out or changed, and why.
    """

    name: str
    train: torch.Tensor | Pictures
    test: torch.Tensor | Pictures
    names: dict[str, list[str]]
    split: str
    unseen: torch.Tensor | None = None
    notes: dict[str, int] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """A hash of the pixels of each part, for results.json."""
        parts = {part: getattr(self, part) for part in self.names}
        return {
            part: pictures.fingerprint() if isinstance(pictures, Pictures) else runtime.fingerprint(pictures)
            for part, pictures in parts.items()
        }

    def describe(self) -> dict:
        """For results.json: name, split, number of pictures, fingerprints of pixels and of names, what was left out.

        The names' fingerprint is the same on every machine; that of the pixels may change with the JPEG library.
        """
        return {
            "name": self.name,
            "split": self.split,
            "counts": {part: len(names) for part, names in self.names.items()},
            "fingerprint": self.fingerprint,
            "names": {part: splits.fingerprint(names) for part, names in self.names.items()},
            "left out": self.notes,
        }

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(names)} {part}" for part, names in self.names.items())
        notes = "".join(f"; {count} {what}" for what, count in self.notes.items() if count)
        crops = " crops, never resized" if self.split == "embedded-v1" else ""
        return f"{self.name}: {counts}, {'x'.join(map(str, self.train.shape[1:]))} uint8{crops}{notes}"


def open_for(cfg) -> Images:
    """The data set that a work's parameters name: see `open`."""
    names = ("data_dir", "size", "colour", "n_train", "n_test", "seed", "resize")
    return open(cfg.dataset, **{name: getattr(cfg, name) for name in names if hasattr(cfg, name)})


def open(
    name: str,
    *,
    data_dir: str | Path | None = None,
    size: int = 128,
    colour: bool = True,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
    resize: str = "bicubic",
    aspect: str = "squash",
) -> Images:
    """Opens a data set as `Images` of ``size`` x ``size`` pixels, RGB or grey.

    Args:
        name: "portraits"; "photographs", or "photographs:NAME" (trained and tested on one of them); "folder"; or one of
            the papers' sets, as "flowers102" or with another of its splits "caltech101:objects" (sets.py).
        data_dir: for "folder", the tree of pictures. A named set is looked for there, then in the cache, then fetched.
        n_train, n_test: None means all there is (photographs: 4,000 random training crops; folder: 70 % and 30 %; a
            named set: the paper's numbers), and what that comes to is printed. ``n_test`` also limits the unseen part.
        seed: chooses the training crops, or draws the split. Tests of portraits and photographs do not
            depend on it.
        resize: "bicubic" (antialiased), "bilinear" (as TensorFlow's loader, without antialiasing) or "nearest".
            Photographs are cropped and never resized.
        aspect: "squash" the picture to a square, as the papers do, or "crop" its middle.

    Raises ValueError or OSError with one sentence; unreadable pictures are skipped with a warning that names them.
    """
    name = parameters.current_name(name)
    kind, _, variant = name.partition(":")
    if data_dir is not None and kind in ("portraits", "photographs"):
        raise ValueError(f"dataset={kind!r} needs no data_dir: use 'folder', or the name of a data set.")
    for part, n in (("n_train", n_train), ("n_test", n_test)):
        if n is not None and n < 1:
            raise ValueError(f"{part} must be at least 1, or None for all there is, and {n} is not.")
    how = Decoding(size, colour, resize, aspect, enlarge=kind in sets.known())
    if kind == "photographs":
        parts, names, notes = open_photographs(variant or None, size, colour, n_train, n_test, seed)
        return Images(name, **parts, names=names, split="embedded-v1", notes=notes)
    if name == "portraits":
        parts, names = open_portraits(how, n_train, n_test, seed)
        photographs, named, _ = open_photographs(None, size, colour, 0, None, 0)
        crops = len(named["test"])
        rows = np.linspace(0, crops - 1, min(n_test or crops, crops)).astype(int)
        parts["unseen"], names["unseen"] = photographs["test"][rows], [named["test"][i] for i in rows]
        return Images(name, **parts, names=names, split="portraits-v1")
    return _open_files(name, data_dir, how, (n_train, n_test), seed)


def _open_files(name: str, data_dir: str | Path | None, how: Decoding, asked: splits.Numbers, seed: int) -> Images:
    if name in sets.SPLITS:
        folder, listed = sets.obtain(name.partition(":")[0], data_dir)
    elif name != "folder":
        options = ("portraits", "photographs", "folder", *sets.SPLITS)
        raise ValueError(f"dataset {name!r} is not known: use one of {', '.join(options)}.")
    elif data_dir is None:
        raise ValueError("dataset='folder' needs data_dir: the folder that holds the pictures.")
    else:
        folder, listed = sets.existing_folder(data_dir), None
    pixels, files, index = load(folder, listed, how)
    split = sets.SPLITS.get(name, splits.drawn)
    chosen, said = split(splits.Files(folder, files, index["rows"], asked, seed))
    if None in asked:
        train, test = (f"{len(chosen[part]):,}" for part in ("train", "test"))
        print(f"{name}: {train} pictures are for training and {test} for the test; n_train and n_test change that.")
    return Images(
        f"folder {folder.name}" if name == "folder" else name,
        train=Pictures(pixels, chosen["train"]),
        test=Pictures(pixels, chosen["test"]),
        names={part: [files[i] for i in rows] for part, rows in chosen.items()},
        split=said,
        notes=index["notes"],
    )
