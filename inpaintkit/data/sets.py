"""The papers' data sets by name: how each is parted, and where it is looked for: ``data_dir``, the cache, its sources.

sets.toml says what each is and where it comes from.
"""

import os
import re
import shutil
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import scipy.io

from inpaintkit import runtime
from inpaintkit.data.splits import Files, Numbers, Split, drawn, last, listed
from inpaintkit.data.store import File, cache_dir, listing, locked, need_room

Found = tuple[Path, list[File]]  # the folder of a set's pictures, and their listing


@cache
def known() -> dict[str, dict[str, Any]]:
    """Every named data set, {name: its table in sets.toml}."""
    return runtime.read_toml(Path(__file__).with_name("sets.toml"))


# --- how each is parted -----------------------------------------------------------------------------------------------


def _without(files: Files, folder: str) -> Files:
    return replace(files, rows=[i for i in files.rows if not files.names[i].lower().startswith(folder)])


def afhq(files: Files, paper: Numbers) -> Split:
    """Drawn from the authors' folder train; what is in their val is never looked at."""
    return drawn(_without(files, "val/"), paper)


def caltech101(files: Files, paper: Numbers, background: bool = True) -> Split:
    """Drawn; Faces_easy holds the same 435 photographs as Faces, cropped. Without ``background`` as in torchvision."""
    files = files if background else _without(files, "background_google/")
    return drawn(files, paper, scene=lambda name: name.lower().replace("faces_easy/", "faces/"))


def oxford_pet(files: Files) -> Split:
    """The first word of every line of annotations/trainval.txt and test.txt is a picture."""
    stems, lists = {Path(name).stem: i for i, name in enumerate(files.names)}, {}
    for side, file in (("train", "annotations/trainval.txt"), ("test", "annotations/test.txt")):
        path = _nearby(files.folder, file)
        words = [line.split(" ")[0] for line in path.read_text(encoding="utf8").splitlines()] if path else []
        lists[side] = [stems[word] for word in words if word in stems]
    return listed(files, (3680, 3669), lists, "trainval.txt")


def flowers102(files: Files) -> Split:
    """setid.mat numbers the pictures of train, val (which the paper does not use) and test."""
    rows = {int(Path(name).stem.rsplit("_", 1)[1]): i for i, name in enumerate(files.names)}
    path = _nearby(files.folder, "setid.mat")
    numbers = scipy.io.loadmat(path) if path else {"trnid": (), "tstid": ()}
    lists = {
        side: [rows[number] for row in numbers[key] for number in row.tolist() if number in rows]
        for side, key in (("train", "trnid"), ("test", "tstid"))
    }
    # Without the list: ten of every class, as in it, if a class has a folder.
    each = 10 if any("/" in name for name in files.names) else None
    return listed(files, (1020, 6149), lists, "setid.mat", each)


def _nearby(folder: Path, name: str) -> Path | None:
    """A file in the folder of the pictures, or in one of the two above it."""
    return next((path for above in (folder, *folder.parents[:2]) if (path := above / name).is_file()), None)


# By name, or NAME:VARIANT for another split. The numbers are those of the papers, and may be more than there are.
SPLITS: dict[str, Callable[[Files], Split]] = {
    "afhq-wild": partial(afhq, paper=(3341, 1400)),  # the report; its code has validation_split=0.3 of Keras
    "afhq-wild:code": partial(afhq, paper=(3317, 1421)),
    "afhq-cat": partial(afhq, paper=(3341, 1400)),  # the numbers of the report on wild
    "ffhq": partial(drawn, paper=(25_000, 2000)),
    "ffhq:poster": partial(drawn, paper=(39_000, 2000)),
    "animals10": partial(drawn, paper=(25_000, 2000)),
    "paris-streetview": partial(last, paper=(None, 3000)),  # the tutorial's
    "oxford-pet": oxford_pet,
    "caltech101": partial(caltech101, paper=(7315, 1829)),  # 80/20 of 9,144
    "caltech101:objects": partial(caltech101, paper=(6942, 1735), background=False),
    "flowers102": flowers102,
}


# --- where it is ------------------------------------------------------------------------------------------------------


def existing_folder(data_dir: str | Path) -> Path:
    """``data_dir`` as a whole path that exists. Raises FileNotFoundError or NotADirectoryError."""
    folder = Path(data_dir).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"data_dir {folder} does not exist.")
    if not folder.is_dir():
        raise NotADirectoryError(f"data_dir {folder} is a file: name the folder that holds the pictures.")
    return Path(os.path.abspath(folder))  # "." has no name and nothing above it


def find(name: str, folder: Path) -> Found | None:
    """The set ``name`` below ``folder``; None if it is not there."""
    pattern = re.compile(known()[name]["files"], re.IGNORECASE | re.DOTALL)
    for place in (folder / below for below in known()[name]["below"]):
        files = [file for file in listing(place) if pattern.fullmatch(file[0])] if place.is_dir() else []
        if files:
            return place, files
    return None


def cached(name: str) -> Found | None:
    """The set ``name`` as an earlier `fetch` has left it in the cache."""
    return find(name, cache_dir() / "sets" / name)


def obtain(name: str, data_dir: str | Path | None = None) -> Found:
    """The pictures of ``name``, fetched if they are neither in ``data_dir`` nor in the cache. Raises as `fetch`."""
    found = find(name, existing_folder(data_dir)) if data_dir is not None else None
    if data_dir is not None and not found:
        print(f"{name} is not in {data_dir}; looking in the cache.")
    found = found or cached(name) or fetch(name)
    there, whole = len(found[1]), known()[name]["pictures"]
    if there < whole:
        warnings.warn(f"{name}: {found[0]} holds {there:,} of its {whole:,} pictures.", stacklevel=4)
    return found


# --- how it is fetched ------------------------------------------------------------------------------------------------


def fetch(name: str, source: str | None = None) -> Found:
    """Fetches ``name`` into the cache from the first source that works. A download that breaks begins anew.

    ``source``, "kaggle:OWNER/NAME" or the address of an archive, stands in for those of sets.toml, and what it gives
    replaces what the cache holds. Raises ValueError for another kind of source, FileNotFoundError with what was tried
    and the three ways on, OSError for a cache that cannot be written to.
    """
    table, tried, shelf = known()[name], [], cache_dir() / "sets"
    if source and not source.startswith(("kaggle:", "https://", "http://")):
        raise ValueError(f"source must be kaggle:OWNER/NAME or the address of an archive, not {_shown(source)}.")
    print(f"{name}: {table['about']}")
    with locked(shelf / "fetching.lock", "fetching a data set"):
        if not source and (found := cached(name)):  # another process fetched it meanwhile
            return found
        for one in [source] if source else table["sources"]:
            try:
                return _fetch_from(one, name, shelf)
            except Exception as error:  # whatever a source or its library raises: the next may do
                tried.append(f"{_shown(one)}: {type(error).__name__}, {_shown(' '.join(str(error).split()))[:600]}")
    said, again = "; ".join(tried) or "it is given on request only", runtime.command("fetch", name)
    raise FileNotFoundError(
        f"{name} is not here and could not be fetched ({said}). Three ways on: another source, with `{again} --source "
        f"SOURCE`, where SOURCE is kaggle:OWNER/NAME or the address of an archive; by hand: {table['by_hand']}, and "
        "name that folder with data_dir; or dataset='portraits', which needs no download."
    )


def _shown(text: str) -> str:
    """A text without what may be secret in addresses: user and password, and what follows a question mark."""
    return re.sub(r"\?[^\s)#]*", "", re.sub(r"//[^/\s]*@", "//", text))


def _fetch_from(source: str, name: str, shelf: Path) -> Found:
    """Puts the pictures of one source on the ``shelf``, in place of what is there, if they are those of the set."""
    kind, _, rest = source.partition(":")
    kept = os.environ.get("KAGGLEHUB_CACHE", "~/.cache/kagglehub") if kind == "kaggle" else shelf
    need_room(Path(kept).expanduser(), 2.2 * known()[name]["bytes"], f"fetching {name}")  # archive and pictures
    for left in shelf.glob(f"{name}.*.part"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}.", suffix=".part", dir=shelf, ignore_cleanup_errors=True) as part:
        got = Path(part, "got")
        if kind == "kaggle":
            import kagglehub  # not imported for those who need nothing from it

            got.symlink_to(Path(kagglehub.dataset_download(rest)).resolve())  # two sets may share an archive
        elif kind == "torchvision":
            from torchvision import datasets

            getattr(datasets, rest)(got, download=True)  # its own addresses and checksums
            for archive in (path for path in got.rglob("*") if path.suffix in (".tgz", ".gz", ".zip")):
                archive.unlink()
        else:
            _download(source, Path(part), got)
        if not (found := find(name, got)):
            raise ValueError("it holds no pictures named like those of this set")
        if (shelf / name).is_dir() and not (shelf / name).is_symlink():
            shutil.rmtree(shelf / name)
        (shelf / name).unlink(missing_ok=True)
        got.rename(shelf / name)
    return shelf / name / found[0].relative_to(got), found[1]


def _download(address: str, downloads: Path, folder: Path) -> None:
    """Downloads and unpacks a .zip or .tar(.gz) at ADDRESS[#sha256=...], verified if a checksum is given.

    Raises what the libraries raise. Nothing is ever written outside ``folder``.
    """
    import pooch

    pooch.get_logger().setLevel("ERROR")  # it prints addresses as they are given, secrets included
    url, _, checksum = address.partition("#")
    path = pooch.retrieve(url, checksum.replace("=", ":") or None, "archive", downloads, progressbar=True)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:  # `extractall` would put such members elsewhere in the folder
            if any(one.external_attr >> 28 == 0o12 or ".." in one.filename.split("/") for one in archive.infolist()):
                raise ValueError("it holds a link, or a path that leads outside its folder")
            archive.extractall(folder)
    else:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
