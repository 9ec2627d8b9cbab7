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
    files: Files,
    paper: Numbers = (None, None),
    *,
    scene: Callable[[str], str] = str,
    kind: Callable[[str], str] = str,
    each: int | None = None,
) -> Split:
    """Drawn by the seed, in the ``paper``'s numbers or 70 % and 30 %. Names of one ``scene`` are never parted.

    The draw is over all files, so that one which cannot be used does not shuffle the others. ``each``: so many of every
    ``kind`` of name are for training, unless a number is asked for.
    """
    n_train, n_test = _numbers(files, paper)
    order = np.random.default_rng(files.seed).permutation(len(files.names))
    scenes: dict[str, list[int]] = {}
    for i in order[np.isin(order, files.rows)].tolist():
        scenes.setdefault(scene(files.names[i]), []).append(i)
    train, rest, taken = [], [], Counter()
    most = each if each and not files.asked[0] else n_train
    for rows in scenes.values():
        if len(train) + len(rows) > n_train or taken[kind(files.names[rows[0]])] >= most:
            rest.append(rows)
        else:
            train += rows
            taken[kind(files.names[rows[0]])] += len(rows)
    test = []
    for rows in reversed(rest):
        test = rows + test if len(test) + len(rows) <= n_test else test
    return {"train": train, "test": test}, f"drawn, seed {files.seed}"


def last(files: Files, paper: Numbers) -> Split:
    """The end of the names in order is the test."""
    n_train, n_test = _numbers(files, paper)
    return {"train": files.rows[:n_train], "test": files.rows[-n_test:]}, "the last by name are the test"


def listed(files: Files, paper: tuple[int, int], lists: dict[str, list[int]], called: str, **how) -> Split:
    """The authors' own ``lists`` of rows, of which a number that is asked for is drawn; `drawn` for want of lists."""
    usable, test = set(files.rows), set(lists["test"])
    sides = {side: [i for i in rows if i in usable] for side, rows in lists.items()}
    if not all(sides.values()):
        warnings.warn(f"{files.folder} has no {called} that parts its pictures: they are drawn instead.", stacklevel=5)
        parts, words = drawn(files, paper, **how)
        return parts, f"{words}, for want of {called}"
    sides["train"] = [i for i in sides["train"] if i not in test]  # whatever lists may say
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
    there, asked = len(files.rows), files.asked
    train, test = (own or papers for own, papers in zip(asked, paper, strict=True))
    if train is None and not asked[1] and test and test > there / 2:
        test = None  # so few pictures that a paper's fixed test would leave none to train on
    train = train or there - (test or round(0.3 * there))
    test = test or there - train
    wanted, missing = (train, test), train + test - there
    if missing > 0 and not all(asked):
        if asked[1]:
            train -= missing
        elif asked[0] or missing <= test / 2:  # the training keeps its number while the test keeps half of its own
            test -= missing
        else:
            train = max(1, there * train // (train + test))
            test = there - train
    if train < 1 or test < 1 or train + test > there:
        named = " and ".join(f"{name}={n}" for name, n in zip(("n_train", "n_test"), asked, strict=True) if n)
        raise ValueError(
            f"{files.folder} holds {there:,} usable picture{'s' * (there != 1)}, too few for "
            + (f"{named}: lower what is asked for." if named else "a training and a test part: add some.")
        )
    if (train, test) != wanted:
        warnings.warn(
            f"{files.folder} holds {there:,} pictures, fewer than {wanted[0]:,} and {wanted[1]:,}: {train:,} are for "
            f"training and {test:,} for the test.",
            stacklevel=5,
        )
    return train, test


def fingerprint(names: list[str]) -> str:
    """First 12 hex digits of the SHA-256 of the names in order, without folders and endings: the same on every machine,
    and for copies of a set that are laid out in other folders.
    """
    stems = [name.rsplit("/", 1)[-1].rsplit(".", 1)[0] for name in names]
    return hashlib.sha256("\n".join(stems).encode("utf8", "surrogateescape")).hexdigest()[:12]
