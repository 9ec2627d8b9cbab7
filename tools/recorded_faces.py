"""Draws two pictures of notebook 03 that are shown without training there: results/03_teaser.jpg (a test face, its
hole, and what the shipped weights make of it) and results/03_weights.jpg (rows A, B and C: the squares of three demos
that differ in the weight of the adversarial loss). Three demos are trained first, unless FOLDER has them: about four
minutes.

    python tools/recorded_faces.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import torch

from inpaintkit import data, masking, runtime, viz
from inpaintkit.experiments import run
from inpaintkit.papers import context_encoder

PAPER = context_encoder.PAPER
ROWS = {"A": 0.001, "B": 0.05, "C": 0.0}
FACE = 0.6  # which of the test faces is the teaser, as a share of the way


def teaser(masked: torch.Tensor, restored: torch.Tensor, truth: torch.Tensor, path: Path, zoom: int = 3) -> None:
    """One row, every pixel a square of ``zoom`` pixels, with words above."""
    tile = 64 * zoom
    sheet, font = PIL.Image.new("RGB", (3 * tile + 8, tile + 18), "white"), PIL.ImageFont.load_default(12)
    words = ("the hole", "the network's answer", "the truth")
    for i, (word, picture) in enumerate(zip(words, (masked, restored, truth), strict=True)):
        pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy().repeat(zoom, 0).repeat(zoom, 1)
        sheet.paste(PIL.Image.fromarray(np.ascontiguousarray(pixels)), (i * (tile + 4), 18))
        draw = PIL.ImageDraw.Draw(sheet)
        draw.text((i * (tile + 4) + 2, 1), word, fill="black", font=font)
        corner = i * (tile + 4) + 16 * zoom - 1, 18 + 16 * zoom - 1
        draw.rectangle((*corner, corner[0] + 32 * zoom + 1, corner[1] + 32 * zoom + 1), outline=viz.FRAME)
    sheet.save(path, quality=60, optimize=True)


def main(folder: Path) -> None:
    cfg = PAPER.Parameters.resolve({})
    images = data.open_for(cfg)
    test = images.test.float() / 255
    mask = next(iter(PAPER.test_holes(cfg, len(test)).values()))
    masked = masking.apply(test, mask, cfg.fill)
    one = round(FACE * len(test))
    restored = run.shipped_filler(PAPER)(masked[one : one + 1], mask[one : one + 1])[0]
    teaser(masked[one], restored, test[one], runtime.results_dir() / "03_teaser.jpg")

    few = torch.linspace(0.1, 0.99, 4).mul(len(test)).long()  # as in the notebook
    top, left, bottom, right = masking.bounding_box(mask[:1])[0].tolist()
    rows = {}
    for row, weight in ROWS.items():
        out, asked = folder / f"w{weight}", cfg.changed(weight_adv=weight)
        if not (out / "weights.safetensors").exists():
            run.run(PAPER, asked, out)
        _, filler = run.trained_filler(out / "weights.safetensors")
        cut = filler(masked[few], mask[few])[..., top - 2 : bottom + 2, left - 2 : right + 2]
        rows[row] = torch.nn.functional.interpolate(cut, scale_factor=2)
    framed = torch.zeros(len(few), 1, *cut.shape[-2:]).repeat_interleave(2, 2).repeat_interleave(2, 3) > 0
    framed[..., 4:-4, 4:-4] = True  # the square; around it are two known pixels
    viz.grid(rows, save=runtime.results_dir() / "03_weights.jpg", holes=framed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
