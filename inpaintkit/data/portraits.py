"""875 aligned faces in the public domain, which come with the package: see data/README.md."""

import hashlib
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from inpaintkit import runtime
from inpaintkit.data.reading import Decoding, to_square

PACK = Path(__file__).with_name("portraits.zip")
SHA256 = "c1d80507a64038d285afa4e99002abd431e33bf5a9c040bf4cb3cd0b07afce75"
SIDE, TEST = 128, 95  # pixels of every portrait; how many are for the test


def open_portraits(how: Decoding, n_train: int | None, n_test: int | None, seed: int):
    """The portraits: {part: uint8 (N, C, size, size)} and {part: names}.

    The split is the same for every seed, which only chooses among the training portraits if fewer are asked for.
    Raises ValueError for a size or a number that there is not, and for a pack that is not the published one.
    """
    if how.size > SIDE:
        raise ValueError(f"size must lie between 8 and {SIDE} for the portraits, and {how.size} does not.")
    if not PACK.exists() or hashlib.sha256(PACK.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{PACK.name} is missing, damaged or of another version: install inpaintkit again.")
    with zipfile.ZipFile(PACK) as pack:
        files = [pack.read(name) for name in sorted(pack.namelist())]
    order, parts, names = np.random.default_rng(0).permutation(len(files)), {}, {}
    with ThreadPoolExecutor(min(8, runtime.cores())) as pool:
        for part, rows, asked, draw in (("train", order[:-TEST], n_train, seed), ("test", order[-TEST:], n_test, 0)):
            if (asked or 1) > len(rows):
                raise ValueError(f"n_{part}={asked} is more than the {len(rows)} portraits of that part: lower it.")
            rows = np.random.default_rng(draw).permutation(rows)[:asked] if (asked or len(rows)) < len(rows) else rows
            pixels = pool.map(lambda i: to_square(io.BytesIO(files[i]), how)[0], rows)
            parts[part], names[part] = torch.from_numpy(np.stack(list(pixels))), [f"portrait {i:03}" for i in rows]
    return parts, names
