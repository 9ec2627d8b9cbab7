"""Files -> one uint8 array on disk: decoded once, by all processors, then read a batch at a time."""

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import sys
import warnings
from collections.abc import Iterable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import Image
from tqdm.auto import tqdm

from inpaintkit import runtime
from inpaintkit.data.reading import Decoding, to_square

File = tuple[str, int, int]  # name, bytes, time of change in ns
ROWS = 64  # pictures that a worker decodes before it writes and reports
FEW = 128  # fewer files than this are decoded sooner than processes start
SPARE = 10**8  # bytes of a disk that are left free
VERSION = 3  # raise it when decoding changes, so that nobody reads what an older one made


def cache_dir() -> Path:
    """Where pictures are kept: $INPAINTKIT_CACHE, data/cache in a checkout, or ~/.cache/inpaintkit."""
    if "INPAINTKIT_CACHE" in os.environ:
        return Path(os.environ["INPAINTKIT_CACHE"]).expanduser()
    checkout = runtime.checkout()
    return checkout / "data" / "cache" if checkout else Path.home() / ".cache" / "inpaintkit"


def need_room(folder: Path, n_bytes: float, what: str) -> None:
    """Makes ``folder``. Raises OSError if its disk has no ``n_bytes`` to spare."""
    folder.mkdir(parents=True, exist_ok=True)
    if n_bytes + SPARE > (free := shutil.disk_usage(folder).free):
        raise OSError(
            f"{what} needs {n_bytes / 1e9:.2f} GB in {folder}, where {free / 1e9:.2f} GB are free: make room, or set "
            "INPAINTKIT_CACHE (for what kagglehub fetches KAGGLEHUB_CACHE) to a folder on another disk."
        )


@contextlib.contextmanager
def locked(path: Path, what: str):
    """One process at a time; the others are told that they wait for ``what``. Raises OSError for a cache not to be."""
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=1)
    except Timeout:
        print(f"Another process is {what}; waiting for it.")
        lock.acquire()
    except OSError as error:
        raise OSError(
            f"{path.parent} cannot be written to ({error.strerror}): set INPAINTKIT_CACHE to a folder of yours."
        ) from error
    try:
        yield
    finally:
        lock.release()


class Pictures:
    """Rows of a uint8 array (N, C, H, W) on disk, read when they are asked for; indexed like a tensor along axis 0.

    ``to(device)`` stays on disk for a CPU and moves everything to a GPU; ``float()`` is the whole as one tensor.
    """

    dtype, device, ndim = torch.uint8, torch.device("cpu"), 4

    def __init__(self, pixels: np.ndarray, rows: Iterable[int]):
        self._pixels, self._rows = pixels, np.asarray(rows, int)
        self.shape = torch.Size((len(self._rows), *pixels.shape[1:]))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, wanted) -> torch.Tensor:
        rows = self._rows[wanted.cpu().numpy() if isinstance(wanted, torch.Tensor) else wanted]
        batch = torch.from_numpy(self._pixels[np.atleast_1d(rows)])  # by a list of rows, so that it is a copy
        return batch if np.ndim(rows) else batch[0]

    def to(self, device: torch.device | str) -> "Pictures | torch.Tensor":
        return self if torch.device(device).type == "cpu" else self[:].to(device)

    def float(self) -> torch.Tensor:
        return self[:].float()

    def fingerprint(self) -> str:
        """The same as `runtime.fingerprint` of the whole tensor, without having it in memory."""
        digest = hashlib.sha256(f"{tuple(self.shape)}uint8".encode())
        for row in self._rows:
            digest.update(self._pixels[row].data)
        return digest.hexdigest()[:12]


def _stamp(path: str | Path) -> list[int]:
    """Bytes and time of change, by which a file is known again; [-1, 0] for a link to nowhere, or to itself."""
    try:
        stat = os.stat(path)
        return [stat.st_size, stat.st_mtime_ns]
    except OSError:
        return [-1, 0]


def listing(folder: Path) -> list[File]:
    """Every file below ``folder`` but hidden ones and our cache, by name; links are followed, each folder once.

    Raises OSError for a folder that cannot be read.
    """
    found, walked, top = [], {os.path.realpath(cache_dir())}, str(folder)

    def fail(error: OSError):
        raise error

    for where, folders, names in os.walk(top, onerror=fail, followlinks=True):
        real = os.path.realpath(where)
        if real in walked:
            folders.clear()
            continue
        walked.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (os.path.join(where, name) for name in names if not name.startswith(".")):
            found.append((path[len(top) :].strip(os.sep).replace(os.sep, "/"), *_stamp(path)))
    return sorted(found)


def load(folder: Path, files: list[File] | None, how: Decoding) -> tuple[np.ndarray, list[str], dict[str, Any]]:
    """The pictures among ``files`` (None: all `listing` finds in ``folder``), from the cache if nothing changed.

    Returns a uint8 array on disk with a row for every file, the files' names, and what is known of them: "rows", those
    that are usable pictures; "notes", the counts of what was left out or changed. Two processes that want the same
    decode it once. Raises ValueError for a folder without a usable picture, OSError with one sentence.
    """
    files = listing(folder) if files is None else files
    if not files:
        raise ValueError(f"{folder} holds no files: data_dir must name a folder with pictures in it.")
    key = json.dumps([VERSION, str(folder.resolve()), asdict(how), files])
    safe = "".join(letter if letter.isalnum() else "-" for letter in folder.name)[:40]
    entry = cache_dir() / "decoded" / f"{safe}-{how.size}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    index = _index(entry) or _build(folder, files, how, entry)
    if skipped := index["skipped"]:
        more = f" ... and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        warnings.warn(f"{len(skipped)} of {len(files)} files skipped: {'; '.join(skipped[:5])}{more}", stacklevel=4)
    pixels = np.asarray(np.load(entry / "pixels.npy", mmap_mode="r"))
    return pixels, [name for name, *_ in files], index


def _index(entry: Path) -> dict[str, Any] | None:
    """What is known of a decoded folder; None for one that is not there, not whole, or was changed since."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        index = runtime.read_json(entry / "index.json")
        return index if index["made"] == _stamp(entry / "pixels.npy") else None


def _build(folder: Path, files: list[File], how: Decoding, entry: Path) -> dict[str, Any]:
    """Decodes into a folder beside ``entry``, which gets its name when it is whole; returns its index."""
    part = entry.with_suffix(".part")
    shape = (len(files), 3 if how.colour else 1, how.size, how.size)
    with locked(entry.with_suffix(".lock"), f"decoding {folder.name}"):
        if index := _index(entry):  # another process made it meanwhile
            return index
        if entry.exists():
            print(f"The decoded pictures of {folder.name} are damaged or were changed: they are made anew.")
        for old in (entry, part):  # part: of a process that was killed
            shutil.rmtree(old, ignore_errors=True)
        need_room(entry.parent, math.prod(shape), f"decoding the {len(files):,} files of {folder.name}")
        try:
            part.mkdir()
            index = _decode_all(folder, files, how, part / "pixels.npy", shape)
            runtime.write_json(part / "index.json", index)
            part.rename(entry)
        except OSError as error:
            raise OSError(
                f"{folder} could not be decoded into {entry.parent} ({error}), where nothing was left. If that disk is "
                "full or fails, set INPAINTKIT_CACHE to a folder on another."
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return index


def _decode_all(folder: Path, files: list[File], how: Decoding, pixels: Path, shape: tuple) -> dict[str, Any]:
    rows, skipped, copies, enlarged, seen, n = [], [], 0, 0, {}, min(8, runtime.cores())
    with pixels.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        work = partial(_decode_some, how, pixels, file.tell())
    pool: Executor = ThreadPoolExecutor(n)
    if sys.platform == "linux" and len(files) >= FEW:  # elsewhere processes would import everything anew
        pool = ProcessPoolExecutor(n, multiprocessing.get_context("fork"))
    paths = [os.path.join(folder, name) for name, *_ in files]
    starts = range(0, len(files), ROWS)
    bar = tqdm(total=len(files), desc=f"decoding {folder.name}", unit="picture", mininterval=1)
    with bar, warnings.catch_warnings(), pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `read` refuses what it warns of
        try:
            for first, results in zip(
                starts, pool.map(work, starts, [paths[i : i + ROWS] for i in starts]), strict=True
            ):
                for row, (small, digest, why) in enumerate(results, first):
                    if not why and digest in seen:  # one in training and one in the test would be a leak
                        why = f"a duplicate of {seen[digest]}"
                        copies += 1
                    if why:
                        skipped.append(f"{files[row][0]}: {why}")
                    else:
                        seen[digest] = files[row][0]
                        rows.append(row)
                        enlarged += small
                bar.update(len(results))
        finally:
            pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C
    if not rows:
        raise ValueError(f"none of the {len(files)} files in {folder} is a usable picture; the first: {skipped[0]}.")
    notes = {"files skipped": len(skipped) - copies, "exact duplicates left out": copies}
    notes |= {"smaller pictures enlarged": enlarged} if how.enlarge else {}
    return {"rows": rows, "skipped": skipped, "notes": notes, "made": _stamp(pixels)}


def _decode_some(
    how: Decoding, pixels: Path, start: int, first: int, paths: list[str]
) -> list[tuple[bool, bytes, str]]:
    """Writes the pictures of ``paths`` to their place in the array, from row ``first`` on. Returns of each whether it
    was enlarged, a digest of its pixels, and why it cannot be used if so.
    """
    blank, told = np.zeros((3 if how.colour else 1, how.size, how.size), np.uint8), []
    with pixels.open("r+b") as file:
        file.seek(start + first * blank.nbytes)
        for path in paths:
            picture, small, why = blank, False, ""
            try:
                picture, small = to_square(path, how)
            except ValueError as error:
                why = str(error)
            except OSError as error:  # a disk, not the picture; Pillow's own error names no file
                raise OSError(error.errno, error.strerror, path) from error
            row = picture.tobytes()
            file.write(row)
            told.append((small, hashlib.sha256(row).digest(), why))
    return told
