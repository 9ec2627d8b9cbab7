"""Checks of the exercises of notebook 03."""

import math
from collections.abc import Callable

import torch

from inpaintkit.apps.exercises import OPEN, check


def receptive_field(function: Callable, number: int = 3) -> str:
    """Notebook 03: how many pixels one output of a stack of convolutions depends on, from kernels and strides."""
    cases = [([3], [1], 3), ([3, 3], [1, 1], 5), ([4, 4], [2, 2], 10), ([4] * 5, [2] * 5, 94)]
    cases.append(([3] * 5, [2, 2, 2, 1, 1], 47))

    def judge(answers):
        for (kernels, strides, wanted), answer in zip(cases, answers, strict=True):
            if answer is None or answer is ...:
                return OPEN
            if int(answer) == wanted:
                continue
            layers = f"kernels {kernels} and strides {strides} see {wanted} pixels, and you say {answer}"
            if int(answer) == 1 + sum(k - 1 for k in kernels):
                return f"{layers}: a step in a later layer is as many pixels wide as all strides before it, multiplied."
            if int(answer) == 1 + sum((k - 1) * math.prod(strides[: i + 1]) for i, k in enumerate(kernels)):
                return f"{layers}: a layer's own stride widens only the layers after it."
            return f"{layers}."
        return None

    return check(number, lambda: [function(list(kernels), list(strides)) for kernels, strides, _ in cases], (), judge)


def centre_mask(function: Callable, number: int = 4) -> str:
    """Notebook 03, find the bug: the centre of a picture with a batch dimension, filled with white."""
    picture = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    wanted = picture.clone()
    wanted[:, :, 32:96, 32:96] = 1

    def judge(answer):
        if not torch.is_tensor(answer) or answer.shape != picture.shape:
            return f"a picture of {tuple(picture.shape)} is wanted, and yours is {tuple(getattr(answer, 'shape', ()))}."
        changed = int((answer != picture).sum())
        if changed == 0:
            return "still there: not one pixel has changed. Which dimensions do the slices cut, if there is a batch?"
        if not torch.equal(answer, wanted):
            return f"{changed:,} of the 12,288 values of the centre were expected to change to 1, and nothing else."
        return None

    return check(number, lambda: function(picture.clone()), (), judge)
