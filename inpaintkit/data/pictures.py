"""Folders of pictures -> one uint8 array on disk: decoded once, by all processors, read a batch at a time."""

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import Image
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from inpaintkit import runtime
from inpaintkit.data.decoding import Decoding, TooSmall, decode

ROWS = 64  # pictures that a worker decodes before it writes and reports
FEW = 2 * ROWS  # fewer pictures than this are decoded sooner than workers start
SPARE = 10**8  # bytes of a disk that are left free
VERSION = 2  # raise it when `decode` changes, so that nobody reads what an older one made


def cache_dir() -> Path:
    """Where decoded and fetched pictures are kept: $INPAINTKIT_CACHE, data/cache in a checkout, or
    ~/.cache/inpaintkit.
    """
    if "INPAINTKIT_CACHE" in os.environ:
        return Path(os.environ["INPAINTKIT_CACHE"]).expanduser()
    checkout = runtime.checkout()
    return checkout / "data" / "cache" if checkout else Path.home() / ".cache" / "inpaintkit"


class NoRoom(OSError):
    """A disk that is too small for what is to come."""


def need_room(folder: Path, n_bytes: float, what: str, variable: str = "INPAINTKIT_CACHE") -> None:
    """Raises `NoRoom` with one sentence if the disk of ``folder``, which ``variable`` sets, has no ``n_bytes`` to
    spare.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if n_bytes + SPARE > free:
        raise NoRoom(
            f"{what} needs {n_bytes / 1e9:.2f} GB in {folder}, where {free / 1e9:.2f} GB are free: make room, or set "
            f"{variable} to a folder on another disk."
        )


@contextlib.contextmanager
def locked(path: Path, what: str):
    """One process at a time; the others are told that they wait for ``what``."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print(f"Another process is {what}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def read_rows(pixels: Path, shape: tuple, rows: Iterable[int]) -> np.ndarray:
    """Some rows of a uint8 array of ``shape`` in a file.

    Not a memory map: that is a little faster, but the system maps much more than one picture at a time, and all of it
    counts as memory of this process: see benchmarks/data.py --many 70000.
    """
    rows = list(rows)
    array = np.empty((len(rows), *shape[1:]), np.uint8)
    with pixels.open("rb", buffering=0) as file:
        for row, into in zip(rows, array, strict=True):
            file.seek(row * into.nbytes)
            if file.readinto(into) != into.nbytes:
                raise OSError(f"{pixels} ends before picture {row}: delete its folder, and open the data set again.")
    return array


class Pictures:
    """Rows of a uint8 array (N, C, H, W) on disk, read when they are asked for; indexed like a tensor along axis 0.

    ``pictures[i]``, ``[a:b]`` and ``[indices]`` are tensors; ``to(device)`` stays on disk for a CPU and moves
    everything to a GPU; ``float()`` is the whole as one float32 tensor.
    """

    dtype, device, ndim = torch.uint8, torch.device("cpu"), 4

    def __init__(self, pixels: Path, shape: tuple, rows: list[int]):
        self._pixels, self._on_disk, self._rows = pixels, shape, np.asarray(rows)
        self.shape = torch.Size((len(rows), *shape[1:]))

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, indices: list[int]) -> "Pictures":
        """Some of these pictures, still on disk."""
        return Pictures(self._pixels, self._on_disk, self._rows[indices])

    def __getitem__(self, wanted) -> torch.Tensor:
        rows = self._rows[wanted.cpu().numpy() if isinstance(wanted, torch.Tensor) else wanted]
        batch = torch.from_numpy(read_rows(self._pixels, self._on_disk, np.atleast_1d(rows).tolist()))
        return batch if np.ndim(rows) else batch[0]

    def _chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        for start in range(0, len(self), ROWS):
            yield slice(start, start + ROWS), self[start : start + ROWS]

    def to(self, device: torch.device | str):
        device = torch.device(device)
        if device.type == "cpu":
            return self
        moved = torch.empty(self.shape, dtype=torch.uint8, device=device)
        for place, chunk in self._chunks():
            moved[place] = chunk.to(device)
        return moved

    def float(self) -> torch.Tensor:
        whole = torch.empty(self.shape)
        for place, chunk in self._chunks():
            whole[place] = chunk
        return whole

    def fingerprint(self) -> str:
        """The same as `runtime.fingerprint` of the whole tensor."""
        digest = hashlib.sha256(f"{tuple(self.shape)}uint8".encode())
        for _, chunk in self._chunks():
            digest.update(chunk.numpy().data)
        return digest.hexdigest()[:12]


def listing(folder: Path) -> list[tuple[str, int, int]]:
    """Every file below ``folder`` that is not hidden, (name, bytes, time of change in ns), by name; links are followed.

    A link that leads nowhere is listed with -1 bytes; one that leads back up is not walked again, nor is our cache.
    """
    found, walked, ours = [], set(), os.path.realpath(cache_dir())

    def walk(directory: str, prefix: str):
        real = os.path.realpath(directory)
        if real in walked or real == ours:
            return
        walked.add(real)
        with os.scandir(directory) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                try:
                    is_folder, is_file = entry.is_dir(), entry.is_file()
                except OSError:  # a link to itself
                    is_folder = is_file = False
                if is_folder:
                    walk(entry.path, f"{prefix}{entry.name}/")
                elif is_file:
                    stat = entry.stat()
                    found.append((prefix + entry.name, stat.st_size, stat.st_mtime_ns))
                elif entry.is_symlink():
                    found.append((prefix + entry.name, -1, 0))

    walk(str(folder), "")
    return sorted(found)


def load(folder: Path, files: list | None, how: Decoding) -> tuple[Pictures, list[str], list[int], dict[str, int]]:
    """The usable pictures among ``files`` (None: all `listing` finds in ``folder``), from the cache if nothing changed.

    Returns an array of all files (those that could not be used hold anything), their names, the rows that are usable
    pictures, and the counts of what was left out or changed. Two processes that want the same decode it once: the
    second waits for the first.
    """
    files = listing(folder) if files is None else files
    if not files:
        raise ValueError(f"{folder} holds no files: data_dir must name a folder with pictures in it.")
    key = json.dumps([VERSION, str(folder.resolve()), asdict(how), files])
    key = hashlib.sha256(key.encode()).hexdigest()[:16]
    entry = cache_dir() / "decoded" / f"{_safe(folder.name)}-{how.size}-{key}"
    shape = (len(files), 3 if how.colour else 1, how.size, how.size)
    if not _complete(entry, shape):
        _build(folder, files, how, entry, shape)
    index = json.loads((entry / "index.json").read_text(encoding="utf8"))
    _warn_of_skipped(index["skipped"], len(files))
    pictures = Pictures(entry / "pixels.u8", shape, range(len(files)))
    return pictures, [name for name, *_ in files], index["rows"], index["notes"]


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)[:40]


def _complete(entry: Path, shape: tuple) -> bool:
    pixels, index = entry / "pixels.u8", entry / "index.json"
    return index.exists() and pixels.exists() and pixels.stat().st_size == math.prod(shape)


def _build(folder: Path, files: list, how: Decoding, entry: Path, shape: tuple) -> None:
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # else it would wait for its own parent
        raise RuntimeError("call data.open below `if __name__ == '__main__':`, because it starts processes.")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with locked(entry.with_suffix(".lock"), f"decoding {folder.name}"):
            if _complete(entry, shape):  # another process made it meanwhile
                return
            for left in entry.parent.glob(f"{entry.name}.*.part"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            shutil.rmtree(entry, ignore_errors=True)  # one that is not whole
            need_room(entry.parent, math.prod(shape), f"decoding the {len(files):,} files of {folder.name}")
            part = Path(tempfile.mkdtemp(prefix=f"{entry.name}.", suffix=".part", dir=entry.parent))
            try:
                runtime.write_json(part / "index.json", _decode_all(folder, files, how, part / "pixels.u8", shape))
                part.rename(entry)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except NoRoom:
        raise
    except OSError as error:
        said = error.strerror or error
        if error.filename and str(error.filename).startswith(str(folder)):
            raise OSError(f"{error.filename} could not be read ({said}); mend that, or move it away.") from error
        raise OSError(
            f"the pictures of {folder} could not be decoded into {entry.parent} ({said}); nothing was left there. "
            "INPAINTKIT_CACHE may name a folder on another disk."
        ) from error


def _decode_all(folder: Path, files: list, how: Decoding, pixels: Path, shape: tuple) -> dict:
    with pixels.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, math.prod(shape))  # a full disk says so now, not in the middle
        else:
            file.truncate(math.prod(shape))
    jobs = _Jobs(folder, [name for name, *_ in files], how, pixels)
    workers = 0 if len(files) < FEW else min(8, runtime.cores())
    # A generator of its own: without one, a first run would draw from the seeded stream of the training, a second not.
    loader = DataLoader(jobs, None, num_workers=workers, collate_fn=list, generator=torch.Generator())
    rows, sums, skipped, duplicates, enlarged = [], {}, [], 0, 0
    with tqdm(total=len(files), desc=f"decoding {folder.name}", unit="picture", mininterval=1) as bar:
        for first, results in zip(range(0, len(files), ROWS), loader, strict=True):
            for row, result in enumerate(results, first):
                if isinstance(result, OSError):  # a disk, not the picture
                    raise result
                if isinstance(result, str):
                    skipped.append(f"{files[row][0]}: {result}")
                elif any(_equal(pixels, shape, row, other) for other in sums.get(result[0], ())):
                    duplicates += 1  # the same picture on both sides of a split would be a leak
                else:
                    sums.setdefault(result[0], []).append(row)
                    rows.append(row)
                    enlarged += result[1]
            bar.update(len(results))
    if not rows:
        raise ValueError(f"none of the {len(files)} files in {folder} is a usable picture; the first: {skipped[0]}.")
    notes = {"files skipped": len(skipped), "exact duplicates left out": duplicates}
    if how.enlarge:
        notes["smaller pictures enlarged"] = enlarged
    return {"folder": str(folder), "how": asdict(how), "rows": rows, "skipped": skipped, "notes": notes}


def _equal(pixels: Path, shape: tuple, *rows: int) -> bool:
    one, other = read_rows(pixels, shape, rows)
    return bool((one == other).all())


class _Jobs:
    """What a worker does: ``jobs[i]`` decodes the i-th ``ROWS`` files, writes them to their place in the array, and
    returns for each a checksum of the pixels and whether it was enlarged, or why it was skipped.
    """

    def __init__(self, folder: Path, names: list[str], how: Decoding, pixels: Path):
        self.folder, self.names, self.how, self.pixels = folder, names, how, pixels
        self.buffer = np.zeros((ROWS, 3 if how.colour else 1, how.size, how.size), np.uint8)

    def __len__(self) -> int:
        return -(-len(self.names) // ROWS)

    def __getitem__(self, i: int) -> list:
        names = self.names[i * ROWS : (i + 1) * ROWS]
        array = self.buffer[: len(names)]  # the same memory every time
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `decode` refuses what it warns of
                results = [self._decode(name, array[row]) for row, name in enumerate(names)]
            with self.pixels.open("r+b") as file:
                file.seek(i * ROWS * array[0].nbytes)
                file.write(array.data)
        except OSError as error:
            return [error]
        return results

    def _decode(self, name: str, into: np.ndarray):
        path, how = os.path.join(self.folder, name), self.how
        try:
            try:
                into[:], enlarged = decode(path, how.size, how.colour, how.resize, how.aspect), False
            except TooSmall:
                if not how.enlarge:
                    raise
                into[:], enlarged = decode(path, how.size, how.colour, how.resize, how.aspect, True), True
        except ValueError as error:
            return str(error)
        return zlib.crc32(into), enlarged


def _warn_of_skipped(skipped: list[str], n_files: int) -> None:
    if skipped:
        more = f" ... and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        warnings.warn(f"{len(skipped)} of {n_files} files skipped: {'; '.join(skipped[:5])}{more}", stacklevel=4)
