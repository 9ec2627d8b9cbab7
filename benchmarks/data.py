"""Data: decoding once into the cache against a plain Pillow loop, and batches from the cache against decoding them.

python benchmarks/data.py [FOLDER of pictures] [--many N: also the memory that N pictures take, 70000 for FFHQ; Linux]
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import torch
from PIL import Image

from inpaintkit import data

PHOTOS = ("astronaut", "chelsea", "coffee")
SIZE, BATCH = 128, 64


def crops(folder: Path, n: int, side: int) -> Path:
    """``n`` different JPEGs of side x side: random crops of the photographs, enlarged where needed."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    whole = [Image.fromarray(data.photograph(name).permute(1, 2, 0).numpy()) for name in PHOTOS]
    for i in range(n):
        photo = whole[i % len(whole)]
        edge = int(rng.integers(100, 280))
        left, top = rng.integers(photo.width - edge), rng.integers(photo.height - edge)
        crop = photo.resize((side, side), box=(left, top, left + edge, top + edge))
        crop.save(folder / f"{i:05}.jpg", quality=90)
    return folder


def plain(files: list[Path]) -> np.ndarray:
    """What everybody writes first: one process, full decoding, then resizing."""
    array = np.empty((len(files), SIZE, SIZE, 3), np.uint8)
    for i, file in enumerate(files):
        array[i] = np.asarray(Image.open(file).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return array


def seconds(function) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def opened(folder: Path) -> data.Images:
    return data.open("folder", data_dir=folder, size=SIZE)


def build(folder: Path, repeats: int = 5) -> None:
    """Building the cache and the plain loop in turn; then the second open."""
    files, times = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".jpg"), []
    cache = data.cache_dir()
    for _ in range(repeats):
        loop = seconds(lambda: plain(files))
        shutil.rmtree(cache, ignore_errors=True)
        times.append((loop, seconds(lambda: opened(folder))))
    ratios = [loop / ours for loop, ours in times]
    again = median(seconds(lambda: opened(folder)) for _ in range(5))
    loop, ours = (median(column) for column in zip(*times, strict=True))
    print(
        f"{folder.name}: {len(files):,} pictures: plain loop {loop:.2f} s, cache {ours:.2f} s, x{median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}); second open {1e3 * again:.0f} ms"
    )


def batches(folder: Path) -> None:
    """A batch of random pictures, decoded by Pillow or taken from the cache."""
    images = opened(folder)
    generator = torch.Generator().manual_seed(0)
    loops, caches = [], []
    for _ in range(7):
        chosen = torch.randperm(len(images.train), generator=generator)[:BATCH]
        files = [folder / images.names["train"][i] for i in chosen]
        loops.append(seconds(lambda files=files: plain(files)))
        caches.append(seconds(lambda chosen=chosen: images.train[chosen]))
    loop, ours = median(loops), median(caches)
    print(
        f"{folder.name}: batch of {BATCH}: decoded {1e3 * loop:.0f} ms, cache {1e3 * ours:.2f} ms, x{loop / ours:.0f}"
    )


def memory(folder: Path) -> None:
    """The highest anonymous memory (backed by no file) of this process and its workers, decoding and reading it all."""
    process, peak, done = psutil.Process(), [0.0], threading.Event()

    def anonymous(pid: int) -> int:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            return 0
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))

    def watch():
        while not done.wait(0.1):
            peak[0] = max(peak[0], sum(map(anonymous, (process.pid, *(child.pid for child in process.children())))))

    before = anonymous(process.pid)
    watcher = threading.Thread(target=watch)
    watcher.start()
    made = seconds(lambda: opened(folder))
    images = opened(folder)
    order = torch.randperm(len(images.train))
    read = seconds(lambda: sum(len(images.train[order[i : i + BATCH]]) for i in range(0, len(order), BATCH)))
    done.set()
    watcher.join()
    n = len(images.train) + len(images.test)
    print(
        f"{n:,} pictures, {n * images.train[0].numel() / 1e9:.2f} GB of pixels: decoded in {made:.0f} s, an epoch of "
        f"random batches in {read:.1f} s; anonymous memory {before / 1e9:.2f} GB before, {peak[0] / 1e9:.2f} GB at most"
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--many", type=int, default=0)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="inpaintkit-bench-") as scratch:
        os.environ["INPAINTKIT_CACHE"] = f"{scratch}/cache"
        scratch = Path(scratch)
        if given.many:  # first, while nothing else has used memory
            memory(crops(scratch / "many", given.many, 128))
            shutil.rmtree(data.cache_dir())
        build(given.folder or crops(scratch / "128 pixels", 3000, 128))
        for side in (512, 1024):
            folder = crops(scratch / f"{side} pixels", 300, side)
            build(folder, repeats=3)
            batches(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
