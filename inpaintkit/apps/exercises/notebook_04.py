"""Checks of the exercises of notebook 04."""

import math
from collections.abc import Callable

import torch

from inpaintkit.apps.exercises import check


def unshuffle(function: Callable, number: int = 3) -> str:
    """Notebook 04: the pixel shuffle undone, (B, C, r H, r W) -> (B, C r^2, H, W)."""
    small, r = torch.arange(2 * 8 * 3 * 5, dtype=torch.float32).view(2, 8, 3, 5), 2
    large = torch.pixel_shuffle(small, r)

    def judge(answer):
        if not torch.is_tensor(answer) or answer.shape != small.shape:
            shape = tuple(getattr(answer, "shape", ()))
            return f"{tuple(large.shape)} must become {tuple(small.shape)}, and yours is {shape}."
        if torch.equal(answer, small):
            return None
        if torch.equal(answer.flatten().sort().values, small.flatten().sort().values):
            return "all are there, but not in their places: channel c r^2 + r i + j holds row i, column j of each tile."
        return "some values are lost or doubled: reshape and permute only."

    return check(number, function, (large, r), judge)


def mean_nmse(function: Callable, number: int = 4) -> str:
    """Notebook 04, find the bug: mean over images of sum e^2 / sum x^2, from batches of pictures."""
    draw = torch.Generator().manual_seed(0)
    light = [0.2 + 0.8 * torch.rand(n, 1, 1, 1, generator=draw) for n in (40, 40, 5)]
    images = [x * torch.rand(len(x), 3, 8, 8, generator=draw) for x in light]
    preds = [image + 0.1 * torch.randn(image.shape, generator=draw) for image in images]
    each = torch.cat(
        [((p - x) ** 2).sum((1, 2, 3)) / (x**2).sum((1, 2, 3)) for p, x in zip(preds, images, strict=True)]
    )
    batches = [((p - x) ** 2).sum() / (x**2).sum() for p, x in zip(preds, images, strict=True)]
    wanted, of_batches = each.mean().item(), sum(batches).item() / len(batches)

    def judge(answer):
        answer = float(answer)
        for slip, value in (
            ("divided by 1000, whatever was added up", sum(batches).item() / 1000),
            ("divided by 1000, whatever was added up", each.sum().item() / 1000),
            ("the NMSE of batches: bright pictures hide the errors of dark ones", of_batches),
            ("a mean of batch means: the last batch is smaller", sum(e.mean() for e in each.split(40)).item() / 3),
        ):
            if math.isclose(answer, value, rel_tol=2e-3):
                return f"still there: this is {slip}."
        if math.isclose(answer, wanted, rel_tol=1e-5):
            return None
        if math.isclose(answer, wanted, rel_tol=5e-3):
            return "close, but rounded on the way: in which precision is the sum kept?"
        return f"the mean over these 85 images is {wanted:.5f}, and yours says {answer:.5f}."

    return check(number, function, (preds, images), judge)
