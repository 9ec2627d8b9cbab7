"""Pictures in, uint8 tensors out: found, fetched, verified, decoded once, split, fingerprinted.

`open` serves every data set behind one call: "embedded" are the photographs inside two packages (embedded.py), "folder"
is any tree of pictures of your own, and the papers' data sets go by their names (sources.py says where each comes
from, download.py gets it). Files are decoded once into an array on disk (decoding.py, pictures.py) and parted into
training and test (splits.py).
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from inpaintkit import runtime
from inpaintkit.data import sources, splits
from inpaintkit.data.decoding import ASPECTS, FILTERS, Decoding, decode
from inpaintkit.data.embedded import DARK, WIDEST_CROP, open_embedded, photograph, regions
from inpaintkit.data.pictures import Pictures, cache_dir, load

__all__ = [
    "DARK", "WIDEST_CROP", "Images", "Pictures", "cache_dir", "decode", "named", "open", "open_for", "photograph",
    "regions",
]  # fmt: skip


@dataclass(frozen=True)
class Images:
    """A data set, decoded: uint8 (N, C, size, size) and the name of every picture.

    ``test`` is never trained on; ``unseen`` (embedded only) holds whole photographs of which nothing was trained on.
    Decoded files are `Pictures`, which stay on disk and are indexed like a tensor; embedded crops are tensors.
    ``split`` says in words how the parts were made; ``notes`` counts what was left out or changed, and why.
    """

    name: str
    train: torch.Tensor | Pictures
    test: torch.Tensor | Pictures
    names: dict[str, list[str]]
    unseen: torch.Tensor | None = None
    notes: dict[str, int] = field(default_factory=dict)
    split: str = "embedded-v1"

    @property
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
        counts = ", ".join(f"{len(getattr(self, part))} {part}" for part in self.names)
        notes = "".join(f"; {count} {what}" for what, count in self.notes.items() if count)
        crops = " crops, never resized" if isinstance(self.train, torch.Tensor) else ""
        return f"{self.name}: {counts}, {'x'.join(map(str, self.train.shape[1:]))} uint8{crops}{notes}"


def named() -> list[str]:
    """The papers' data sets that `open` knows by name."""
    return list(sources.known())


def open_for(cfg) -> Images:
    """The data set that a work's parameters name: see `open`."""
    names = ("data_dir", "size", "colour", "n_train", "n_test", "seed", "resize")
    return open(cfg.dataset, **{name: getattr(cfg, name) for name in names if hasattr(cfg, name)})


def open(
    dataset: str,
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

    ``dataset``: "embedded", "embedded:NAME" (trained and tested on one of its photographs), "folder" (``data_dir``
    names the tree of pictures), or one of the papers' sets, as "flowers102" or with another of its splits
    "caltech101:objects" (sources.toml has them all). A named set is looked for in ``data_dir``, then in the cache,
    then fetched. ``n_train`` and ``n_test`` None mean all there is (embedded: 4,000 random training crops; folder: 70 %
    and 30 %; a named set: the paper's numbers), and what that comes to is printed. ``seed`` chooses the training crops
    or draws the split; embedded test crops do not depend on it. ``resize``: "bicubic" (antialiased), "bilinear" (as
    TensorFlow's loader, without antialiasing) or "nearest"; ``aspect``: "squash" the picture to a square, as the papers
    do, or "crop" its middle. Embedded crops are never resized, and their repr says so.

    Raises ValueError or OSError with one sentence; unreadable pictures are skipped with a warning that names them.
    """
    _check(size, n_train, n_test, resize, aspect)
    kind, colon, variant = dataset.partition(":")
    if kind == "embedded":
        if data_dir is not None:
            raise ValueError("dataset='embedded' needs no data_dir: use 'folder', or the name of a data set.")
        parts, names, notes = open_embedded(variant if colon else None, size, colour, n_train, n_test, seed)
        return Images(f"embedded-v1, {variant} alone" if colon else "embedded-v1", **parts, names=names, notes=notes)
    if kind in sources.known():
        plan = sources.plan(kind, variant if colon else "paper")
        folder, files = sources.obtain(kind, data_dir)
        label, how = kind, Decoding(size, colour, resize, aspect, enlarge=True)
    elif dataset == "folder":
        if data_dir is None:
            raise ValueError("dataset='folder' needs data_dir: the folder that holds the pictures.")
        plan = splits.Plan("drawn")
        folder, files = sources.existing_folder(data_dir), None
        label, how = f"folder {folder.name}", Decoding(size, colour, resize, aspect)
    else:
        raise ValueError(
            f"dataset {dataset!r} is not known: use 'embedded', 'folder' with data_dir=the folder of pictures, or one "
            f"of {', '.join(named())}."
        )
    pictures, names, rows, notes = load(folder, files, how)
    chosen, said = splits.part(plan, folder, names, rows, n_train, n_test, seed)
    label = f"{kind}:{variant}" if colon else label
    if None in (n_train, n_test):
        train, test = (f"{len(chosen[part]):,}" for part in ("train", "test"))
        print(f"{label}: {train} pictures are for training and {test} for the test; n_train and n_test change that.")
    return Images(
        label,
        **{part: pictures.take(indices) for part, indices in chosen.items()},
        names={part: [names[i] for i in indices] for part, indices in chosen.items()},
        notes=notes,
        split=said,
    )


def _check(size: int, n_train: int | None, n_test: int | None, resize: str, aspect: str) -> None:
    for name, value, least in (("n_train", n_train, 1), ("n_test", n_test, 1), ("size", size, 8)):
        if value is not None and value < least:
            or_none = ", or None for all there is" if least == 1 else ""
            raise ValueError(f"{name} must be at least {least}{or_none}, and {value} is not.")
    for name, value, allowed in (("resize", resize, FILTERS), ("aspect", aspect, ASPECTS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, and {value!r} is not.")
