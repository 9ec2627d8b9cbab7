"""Which picture is for training and which for the test: seeded, disjoint, pictures of one scene on one side."""

import hashlib
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io


@dataclass(frozen=True)
class Plan:
    """How a set is parted, as sources.toml says it.

    ``rule``: "drawn" by a seed; "last", the end of the names in order is the test; "setid.mat" and "trainval.txt", what
    the lists of that name say; "folders", the authors' folders train and val. ``train`` and ``test``: the paper's
    numbers (None: 70 % and 30 %, or all that the rule gives). ``files``: what every name matches; its groups "part"
    (train or val) and "class" are used here. ``without``: a class that is left out. ``each``: so many training pictures
    of every class, where nothing but a draw can say which. ``twins``: beginnings of names, of which the first is read
    as the second, because they hold the same scenes.
    """

    rule: str
    train: int | None = None
    test: int | None = None
    files: str = ".*"
    without: str = ""
    each: int | None = None
    twins: tuple[str, str] = ("", "")


def part(
    plan: Plan, folder: Path, names: list[str], rows: list[int], n_train: int | None, n_test: int | None, seed: int
) -> tuple[dict[str, list[int]], str]:
    """Parts the pictures of ``folder``: ({"train": rows, "test": rows}, the split in words).

    ``names`` are those of all files, in order, and ``rows`` the places there that hold usable pictures. A draw is over
    all files, so that one which cannot be used, or only at some sizes, does not shuffle the others. ``n_train`` and
    ``n_test`` None are the plan's numbers; where fewer pictures exist, both shrink and a warning says so. Raises
    ValueError where fewer exist than the caller asks for.
    """
    groups = {i: re.fullmatch(plan.files, names[i], re.IGNORECASE | re.DOTALL).groupdict() for i in rows}
    usable = [i for i, group in groups.items() if not plan.without or group["class"] != plan.without]
    sides = None
    if plan.rule in LISTS:
        sides = LISTS[plan.rule](folder, {Path(names[i]).stem: i for i in rows})
    elif plan.rule == "folders":
        sides = {side: [i for i in usable if groups[i]["part"] == name] for side, name in _FOLDERS}
    else:
        usable = [i for i in usable if groups[i].get("part") in (None, "train")]  # never the authors' own test
    if sides and all(sides.values()):
        test = set(sides["test"])
        sides["train"] = [i for i in sides["train"] if i not in test]  # whatever lists may say
        chosen, some = _of_two_sides(plan, folder, sides, n_train, n_test, seed)
        return chosen, f"the authors' own ({plan.rule})" + (f", a part of it drawn, seed {seed}" if some else "")
    drawn = f"drawn, seed {seed}"
    if plan.rule not in ("drawn", "last"):
        _warn(f"{folder} has no {plan.rule} that parts its pictures: they are drawn instead.", 4)
        drawn += f", for want of {plan.rule}"
    each = plan.each if n_train is None else None
    n_train, n_test = _numbers(plan, folder, len(usable), n_train, n_test)
    if plan.rule == "last":
        return {"train": usable[:n_train], "test": usable[len(usable) - n_test :]}, "the last by name are the test"
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    drawable = set(usable)
    order = [i for i in order if i in drawable]
    return _cut(plan, names, groups, order, n_train, n_test, each), drawn


def fingerprint(names: list[str]) -> str:
    """First 12 hex digits of the SHA-256 of the names in order, without folders and endings: the same on every machine,
    and for copies of a set that are laid out in other folders.
    """
    stems = [name.rsplit("/", 1)[-1].rsplit(".", 1)[0] for name in names]
    return hashlib.sha256("\n".join(stems).encode("utf8", "surrogateescape")).hexdigest()[:12]


def _warn(message: str, stacklevel: int = 5) -> None:
    warnings.warn(message, stacklevel=stacklevel)  # the line that called `data.open`


def _numbers(plan: Plan, folder: Path, there: int, n_train: int | None, n_test: int | None) -> tuple[int, int]:
    """How many of ``there`` pictures to take: what the caller asks for, else the plan's numbers, as far as they go."""
    test = n_test or plan.test
    if plan.train is None and not n_test and test and test > there / 2:
        test = None  # so few pictures that a paper's fixed test would leave none to train on
    train = n_train or plan.train or there - (test or round(0.3 * there))
    test = test or there - train
    missing = train + test - there
    if missing > 0 and not (n_train and n_test):
        if n_test:
            train -= missing
        elif n_train or missing <= test / 2:  # the training keeps its number while the test keeps half of its own
            test -= missing
        else:
            train = max(1, there * train // (train + test))
            test = there - train
    if train < 1 or test < 1 or train + test > there:
        asked = [f"{name}={n}" for name, n in (("n_train", n_train), ("n_test", n_test)) if n]
        remedy = "lower them, or leave both out" if len(asked) > 1 else "lower it, or leave it out"
        raise ValueError(
            f"{folder} holds {there:,} usable pictures, too few for "
            + (f"{' and '.join(asked)}: {remedy}." if asked else "a training and a test part: add some.")
        )
    if train < (n_train or plan.train or 0) or test < (n_test or plan.test or 0):
        numbers = f"{plan.train:,} + {plan.test:,}" if plan.train else f"{plan.test:,} for the test"
        too_few = "too few for yours and the" if n_train or n_test else "fewer than the"
        _warn(
            f"{folder} holds {there:,} pictures, {too_few} {numbers} of the paper: {train:,} are for training and "
            f"{test:,} for the test."
        )
    return train, test


def _cut(plan: Plan, names: list[str], groups: dict, order: list[int], n_train: int, n_test: int, each) -> dict:
    """The first of ``order`` for training, the last for the test; twins on one side, or on none if they do not fit."""
    scenes = {}
    for i in order:
        name = names[i]
        scenes.setdefault(name.replace(*plan.twins, 1) if name.startswith(plan.twins[0]) else name, []).append(i)
    train, rest, taken = [], [], Counter()
    for scene in scenes.values():
        kind = groups[scene[0]].get("class")
        enough = each is not None and kind is not None and taken[kind] >= each
        if enough or len(train) + len(scene) > n_train:
            rest.append(scene)
        else:
            train += scene
            taken[kind] += len(scene)
    test, left = [], n_test
    for scene in reversed(rest):
        if len(scene) <= left:
            test.append(scene)
            left -= len(scene)
    return {"train": train, "test": [i for scene in reversed(test) for i in scene]}


def _of_two_sides(plan, folder, sides, n_train, n_test, seed) -> tuple[dict, bool]:
    """What is asked for of either side, in order if it is all of it; and whether it is not all of it."""
    rng, chosen, some = np.random.default_rng(seed), {}, False
    for side, asked, papers in (("train", n_train, plan.train), ("test", n_test, plan.test)):
        there = len(sides[side])
        if asked is not None and asked > there:
            raise ValueError(f"{folder} holds {there:,} pictures for n_{side}, and {asked} are asked for: lower it.")
        if asked is None and papers and there < papers:
            _warn(f"{folder} holds {there:,} usable ones of the {papers:,} pictures that are the paper's {side} part.")
        wanted = asked or min(papers or there, there)
        picked = range(there) if wanted == there else rng.permutation(there)[:wanted]
        chosen[side] = [sides[side][i] for i in picked]
        some |= wanted < there
    return chosen, some


_FOLDERS = (("train", "train"), ("test", "val"))


def _nearby(folder: Path, name: str) -> Path | None:
    """A file in the folder of the pictures, or in one of the two above it."""
    return next((path for above in (folder, *folder.parents[:2]) if (path := above / name).is_file()), None)


def _setid(folder: Path, stems: dict[str, int]) -> dict | None:
    """Flowers-102: setid.mat numbers the pictures of train, val (not used by the paper) and test."""
    path = _nearby(folder, "setid.mat")
    if path is None:
        return None
    numbers, lists = {int(stem.rsplit("_", 1)[1]): i for stem, i in stems.items()}, scipy.io.loadmat(path)
    return {
        side: [numbers[number] for number in lists[key].ravel().tolist() if number in numbers]
        for side, key in (("train", "trnid"), ("test", "tstid"))
    }


def _pet_lists(folder: Path, stems: dict[str, int]) -> dict | None:
    """Oxford-IIIT Pet: the first word of every line of annotations/trainval.txt and test.txt is a picture."""
    sides = {}
    for side, file in (("train", "annotations/trainval.txt"), ("test", "annotations/test.txt")):
        path = _nearby(folder, file)
        if path is None:
            return None
        listed = [line.split()[0] for line in path.read_text(encoding="utf8").splitlines() if line.strip()]
        sides[side] = [stems[stem] for stem in listed if stem in stems]
    return sides


LISTS = {"setid.mat": _setid, "trainval.txt": _pet_lists}
