"""A photograph of 24 megapixels with 40 brush strokes and one solid hole, repaired from file to file.

Each method runs in a process of its own, so that its peak memory is its own. Names on the command line choose methods.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from inpaintkit import data
from inpaintkit.apps import repair
from inpaintkit.papers import context_encoder

WIDTH, HEIGHT, SOLID = 6000, 4000, 400
METHODS = ("telea", "network 64", "network 128")
PROMISED = {"seconds": 20, "GB": 3}  # for Telea and the networks, on two cores


def write_files(folder: Path) -> None:
    """photo.png, a photograph enlarged with a little noise, and mask.png, strokes 20 to 30 pixels thick."""
    rng = np.random.default_rng(0)
    photo = Image.fromarray(data.photograph("chelsea").permute(1, 2, 0).numpy())
    pixels = np.array(photo.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels += rng.integers(-3, 4, pixels.shape, dtype=np.int16)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "photo.png", compress_level=1)
    mask = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(mask)
    for _ in range(40):
        point = rng.uniform((0, 0), (WIDTH, HEIGHT))
        points = [point, *(point + rng.normal(0, 250, (4, 2)).cumsum(0))]
        pen.line([tuple(p) for p in points], fill=255, width=int(rng.integers(20, 31)), joint="curve")
    pen.rectangle((3000, 1800, 3000 + SOLID - 1, 1800 + SOLID - 1), fill=255)
    mask.save(folder / "mask.png")


def run(name: str, folder: Path) -> None:
    """One repair, in this process: prints seconds (without the imports) and peak memory."""
    torch.set_num_threads(2)
    if name.startswith("network"):  # untrained: it takes as long as a trained one
        filler = context_encoder.Filler(context_encoder.Generator(int(name.split()[1]), width=16, bottleneck=500))
    else:
        filler = repair.method(name)
    started = time.perf_counter()
    done = repair.repair_file(folder / "photo.png", folder / "mask.png", folder / "out.png", filler, progress=False)
    seconds = time.perf_counter() - started
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    print(f"{name:12} {seconds:6.1f} s {gigabytes:5.2f} GB   {done['holes']} holes, {done['share']:.2%} of the picture")
    if name in METHODS and (seconds > PROMISED["seconds"] or gigabytes > PROMISED["GB"]):
        print(f"{name}: more than the promised {PROMISED['seconds']} s or {PROMISED['GB']} GB")


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] in {*METHODS, *repair.METHODS} and Path(sys.argv[2]).is_dir():
        return run(sys.argv[1], Path(sys.argv[2]))
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder))
        for name in sys.argv[1:] or METHODS:
            subprocess.run([sys.executable, __file__, name, folder], check=True)


if __name__ == "__main__":
    main()
