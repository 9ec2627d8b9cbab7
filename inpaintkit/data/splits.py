"""Which picture is for training and which for the test: seeded, disjoint, pictures of one scene on one side.

Each split takes the `Files` of a set and returns ({"train": rows, "test": rows}, the split in words).
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Split = tuple[dict[str, list[int]], str]
Numbers = tuple[int | None, int | None]  # of pictures for training and for the test; None: what there is


@dataclass(frozen=True)
class Files:
    """The files of a set, in order; the rows of usable pictures among them; what the caller asks for."""

    folder: Path
    names: list[str]
    rows: list[int]
    asked: Numbers = (None, None)
    seed: int = 0


def drawn(
    files: Files, paper: Numbers = (None, None), *, scene: Callable[[str], str] = str, each: int | None = None
) -> Split:
    """Drawn by the seed, in the ``paper``'s numbers or 70 % and 30 %. Names of one ``scene`` are never parted.

    The draw is over all files, so that one which cannot be used does not shuffle the others. ``each``: so many of every
    folder are for training, unless a number is asked for.
    """
    n_train, n_test = _numbers(files, paper)
    order = np.random.default_rng(files.seed).permutation(len(files.names))
    scenes: dict[str, list[int]] = {}
    for i in order[np.isin(order, files.rows)].tolist():
        scenes.setdefault(scene(files.names[i]), []).append(i)
    train, rest, test, taken = [], [], [], Counter()
    most = each if each and not files.asked[0] else n_train
    for rows in scenes.values():
        folder = files.names[rows[0]].rpartition("/")[0]
        if len(train) + len(rows) > n_train or taken[folder] >= most:
            rest.append(rows)
        else:
            train += rows
            taken[folder] += len(rows)
    for rows in reversed(rest):  # from the end, so that a larger training part meets the test last
        test += reversed(rows) if len(test) + len(rows) <= n_test else ()
    return {"train": train, "test": test[::-1]}, f"drawn, seed {files.seed}"


def last(files: Files, paper: Numbers) -> Split:
    """The end of the names in order is the test."""
    n_train, n_test = _numbers(files, paper)
    return {"train": files.rows[:n_train], "test": files.rows[-n_test:]}, "the last by name are the test"


def listed(
    files: Files, paper: tuple[int, int], lists: dict[str, list[int]], called: str, each: int | None = None
) -> Split:
    """The authors' own ``lists`` of rows, of which a number that is asked for is drawn; `drawn` for want of lists."""
    test = set(lists["test"])  # what is in both lists is for the test
    usable = {"train": set(files.rows) - test, "test": test.intersection(files.rows)}
    sides = {side: [i for i in rows if i in usable[side]] for side, rows in lists.items()}
    if not all(sides.values()):
        warnings.warn(f"{files.folder} has no {called} that parts its pictures: they are drawn instead.", stacklevel=5)
        parts, words = drawn(files, paper, each=each)
        return parts, f"{words}, for want of {called}"
    rng, words = np.random.default_rng(files.seed), f"the authors' own ({called})"
    for (side, rows), asked, wanted in zip(sides.items(), files.asked, paper, strict=True):
        if len(rows) < (asked or 0):
            raise ValueError(f"{files.folder} holds {len(rows):,} pictures for n_{side}, fewer than {asked}: lower it.")
        if len(rows) < (asked or wanted):
            warnings.warn(f"{files.folder} holds {len(rows):,} of the {wanted:,} of the paper's {side}.", stacklevel=5)
        elif len(rows) > (asked or wanted):
            sides[side] = [rows[i] for i in rng.permutation(len(rows))[: asked or wanted]]
            words = f"the authors' own ({called}), a part of it drawn, seed {files.seed}"
    return sides, words


def _numbers(files: Files, paper: Numbers) -> tuple[int, int]:
    """How many pictures to take: what is asked for, else the paper's numbers, as far as they go."""
    there, (own_train, own_test) = len(files.rows), files.asked
    train, test = own_train or paper[0] or 0, own_test or paper[1] or 0
    if own_train:
        test = own_test or min(test or there, there - own_train)
    elif own_test:
        train = min(train or there, there - own_test)
    elif not train:
        test = test if 0 < test <= there / 2 else round(0.3 * there)
        train = there - test
    elif train + test > there:  # the training keeps its number while the test keeps half of its own
        train = train if there - train >= test / 2 else max(1, there * train // (train + test))
        test = there - train
    if train < 1 or test < 1 or train + test > there:
        named = " and ".join(f"{name}={n}" for name, n in zip(("n_train", "n_test"), files.asked, strict=True) if n)
        raise ValueError(
            f"{files.folder} holds {there:,} usable picture{'s' * (there != 1)}, too few for "
            + (f"{named}: lower what is asked for." if named else "a training and a test part: add some.")
        )
    if any(n < (own or papers or 0) for n, own, papers in zip((train, test), files.asked, paper, strict=True)):
        warnings.warn(
            f"{files.folder} holds {there:,} pictures, too few for the paper's numbers: {train:,} are for training and "
            f"{test:,} for the test.",
            stacklevel=5,
        )
    return train, test


def fingerprint(names: list[str]) -> str:
    """First 12 hex digits of the SHA-256 of the names in order, without folders and endings: the same on every machine,
    and for copies of a set that are laid out in other folders.
    """
    stems = [name.rsplit("/", 1)[-1].rsplit(".", 1)[0] for name in names]
    return hashlib.sha256("\n".join(stems).encode("utf8", "surrogateescape")).hexdigest()[:12]
