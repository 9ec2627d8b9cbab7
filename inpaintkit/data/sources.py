"""The papers' data sets by name: looked for in ``data_dir``, then in the cache, then fetched. See sources.toml."""

import hashlib
import json
import os
import re
import shutil
import tempfile
import warnings
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from urllib.parse import urlparse

from inpaintkit import runtime
from inpaintkit.data import download
from inpaintkit.data.pictures import cache_dir, listing, locked, need_room
from inpaintkit.data.splits import Plan


@cache
def known() -> dict[str, dict]:
    """Every named data set, {name: its table in sources.toml}."""
    return runtime.read_toml(Path(__file__).with_name("sources.toml"))


def plan(name: str, variant: str = "paper") -> Plan:
    """A set's split. Raises ValueError for one that sources.toml does not have."""
    table = known()[name]
    if variant not in table["splits"]:
        options = ", ".join(f"{name}:{other}" for other in table["splits"])
        raise ValueError(f"dataset {name}:{variant} is not known: there are {options}.")
    twins = tuple(table.get("twins", ("", "")))
    return Plan(**table["splits"][variant], files=table["files"], twins=twins)


def existing_folder(data_dir: str | Path) -> Path:
    """``data_dir`` as a folder that exists. Raises FileNotFoundError or NotADirectoryError."""
    folder = Path(data_dir).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"data_dir {folder} does not exist.")
    if not folder.is_dir():
        raise NotADirectoryError(f"data_dir {folder} is a file: name the folder that holds the pictures.")
    return folder


def find(name: str, folder: Path) -> tuple[Path, list] | None:
    """The set ``name`` below ``folder``: the folder of its pictures and their `listing`; None if it is not there."""
    pattern = re.compile(known()[name]["files"], re.IGNORECASE | re.DOTALL)
    for below in known()[name]["below"]:
        if (folder / below).is_dir():
            files = [file for file in listing(folder / below) if pattern.fullmatch(file[0])]
            if files:
                return folder / below, files
    return None


def obtain(name: str, data_dir: str | Path | None = None) -> tuple[Path, list]:
    """The folder of the pictures of ``name`` and their `listing`, fetched if they are neither in ``data_dir`` nor in
    the cache. Raises FileNotFoundError with what was tried and the three ways on.
    """
    found = find(name, existing_folder(data_dir)) if data_dir is not None else None
    if data_dir is not None and not found:
        print(f"{name} is not in {data_dir}; looking in the cache.")
    found = found or cached(name) or fetch(name)
    there, whole = len(found[1]), known()[name]["pictures"]
    if there < whole:
        warnings.warn(f"{name}: {found[0]} holds {there:,} of its {whole:,} pictures.", stacklevel=3)
    return found


def _shelf(name: str) -> Path:
    return cache_dir() / "sets" / name


def cached(name: str) -> tuple[Path, list] | None:
    """The set ``name`` as an earlier `fetch` has left it; None if there is none, or its folder is gone."""
    note = _shelf(name).with_suffix(".json")
    try:
        folder = note.parent / json.loads(note.read_text(encoding="utf8"))["folder"]
    except (FileNotFoundError, ValueError, KeyError):  # none, or not one of ours
        return None
    return find(name, folder) if folder.is_dir() else None


def fetch(name: str, source: str | None = None) -> tuple[Path, list]:
    """Fetches ``name`` into the cache from the first source that works; returns what `find` does.

    ``source``, "kaggle:OWNER/NAME" or the address of an archive, stands in for those of sources.toml, and what it gives
    replaces what the cache holds. Raises FileNotFoundError with what was tried and the three ways on, and OSError for a
    cache that cannot be made.
    """
    table, shelf = known()[name], _shelf(name)
    sources = [_given(source)] if source else table.get("sources", [])
    print(f"{name}: {table['title']}. {table['citation']}. Licence: {table['licence']}.")
    tried = []
    if sources:
        try:
            shelf.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"{shelf.parent} cannot be made ({error.strerror}): set INPAINTKIT_CACHE to a folder of yours."
            ) from error
        with locked(shelf.with_name("fetching.lock"), "fetching a data set"):  # two sets may share an archive
            if not source and (found := cached(name)):  # another process fetched it meanwhile
                return found
            for one in sources:
                try:
                    folder, found = _fetch_from(one, name, shelf)
                except Exception as error:  # whatever a source or its library raises: the next may do
                    tried.append(f"{_called(one)}: {download.reason(error)}")
                else:
                    # Ours by its name alone, so that the cache can be moved; kagglehub's with its whole path.
                    place = folder.name if folder == shelf else str(folder.resolve())
                    note = {"folder": place, "source": _called(one), "pictures": len(found[1])}
                    note["date"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
                    runtime.write_json(shelf.with_suffix(".json"), note)
                    return found
    said = "; ".join(tried) if tried else "it is given on request only"
    raise FileNotFoundError(
        f"{name} is not here and could not be fetched ({said}). Three ways on: another source, with "
        f"`python -m inpaintkit fetch {name} --source SOURCE`, where SOURCE is kaggle:OWNER/NAME or the address of an "
        f"archive; by hand: {table['by_hand']}, and name that folder with data_dir; or dataset='embedded', which needs "
        "no download."
    )


def _given(source: str) -> dict:
    if source.startswith("kaggle:"):
        return {"kaggle": source.removeprefix("kaggle:")}
    if source.startswith(("https://", "http://")):
        # Its own name, so that what is left of one address is never taken for another's.
        name = f"{hashlib.sha256(source.encode()).hexdigest()[:8]}-{Path(urlparse(source).path).name}"
        return {"archive": [{"name": name, "urls": [source]}]}
    raise ValueError(f"source must be kaggle:OWNER/NAME or the address of an archive, and {source!r} is neither.")


def _called(source: dict) -> str:
    if "kaggle" in source:
        return f"Kaggle {source['kaggle']}"
    host = urlparse((source.get("archive") or source["files"])[0]["urls"][0]).hostname
    return f"torchvision.datasets.{source['torchvision']}" if "torchvision" in source else host


def _fetch_from(source: dict, name: str, shelf: Path) -> tuple[Path, tuple[Path, list]]:
    """The folder into which one source was fetched, and what `find` finds there."""
    what, n_bytes = f"fetching {name}", known()[name].get("bytes", 0)
    if "kaggle" in source:
        import kagglehub  # not imported for those who need nothing from it

        kept = Path(os.environ.get("KAGGLEHUB_CACHE", Path.home() / ".cache" / "kagglehub"))
        need_room(kept, 2.2 * n_bytes, what, "KAGGLEHUB_CACHE")  # the archive and the pictures
        folder = Path(kagglehub.dataset_download(source["kaggle"]))
        return folder, _found_in(folder, name)
    need_room(shelf.parent, 3.2 * n_bytes, what)  # the archive, torchvision's copy of it, and the pictures
    archives = source.get("archive") or source["files"]
    downloads = shelf.with_name(f"{name}.downloads")
    for file in archives:  # what is whole or half there is not downloaded again
        checksum = {kind: file[kind] for kind in ("md5", "sha256") if kind in file}
        download.download(file["urls"], downloads / file["name"], **checksum)
    for left in shelf.parent.glob(f"{name}.*.part"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f"{name}.", suffix=".part", dir=shelf.parent))
    try:
        if "torchvision" in source:
            _by_torchvision(source, downloads, part)
        else:
            for file in archives:
                download.unpack(downloads / file["name"], part)
        _found_in(part, name)
        shutil.rmtree(shelf, ignore_errors=True)
        part.rename(shelf)
    except (download.Damaged, ValueError):  # kept, it would be taken for whole the next time
        shutil.rmtree(downloads)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(downloads)
    return shelf, _found_in(shelf, name)


def _found_in(folder: Path, name: str) -> tuple[Path, list]:
    found = find(name, folder)
    if not found:
        raise ValueError("it holds no pictures named like those of this set")
    return found


def _by_torchvision(source: dict, downloads: Path, root: Path) -> None:
    """torchvision verifies and unpacks, as it would what it had downloaded itself: it cannot take up a download again,
    and takes a half-unpacked folder for a whole one, so it gets whole archives and a fresh folder.
    """
    from torchvision import datasets

    for file in source["files"]:
        if file["name"].endswith((".zip", ".gz", ".tgz")):
            download.check_members(downloads / file["name"])
        place = root / file["to"] / file["name"]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(downloads / file["name"], place)
    getattr(datasets, source["torchvision"])(root, download=True)
    for file in source["files"]:  # the archives; torchvision keeps them
        if not file["name"].endswith(".mat"):
            (root / file["to"] / file["name"]).unlink(missing_ok=True)
