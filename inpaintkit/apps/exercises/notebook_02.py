"""Checks of the exercises of notebook 02."""

import math
from collections.abc import Callable

import torch
from torch import nn

from inpaintkit.apps.exercises import check


def merged_layers(function: Callable, number: int = 3) -> str:
    """Notebook 02: two linear layers with nothing between them are one; which?"""
    generator = torch.Generator().manual_seed(0)
    first, second = (nn.Linear(a, b, dtype=torch.float64) for a, b in ((5, 7), (7, 3)))
    for tensor in [*first.parameters(), *second.parameters()]:
        nn.init.normal_(tensor, generator=generator)
    x = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    wanted = second(first(x)).detach()

    def judge(answer):
        weight, bias = (torch.as_tensor(part).detach() for part in answer)
        if tuple(weight.shape) != (3, 5):
            return f"layers of 5 -> 7 -> 3 merge into weights of shape (3, 5), and yours have {tuple(weight.shape)}."
        if not torch.allclose(weight, (second.weight @ first.weight).detach()):
            return "the weights are not the product: what does the second layer do to the first one's output?"
        if torch.allclose(bias, second.bias.detach()):
            return "the weights are right; the first layer's bias goes through the second layer too."
        if bias.shape != (3,) or not torch.allclose(x @ weight.T + bias, wanted):
            return "the weights are right, the bias is not: feed zeros to both layers and look what comes out."
        return None

    return check(number, function, (first.weight, first.bias, second.weight, second.bias), judge)


def luminance_loss(function: Callable, number: int = 4) -> str:
    """Notebook 02, find the bug: the loss against a target of luminance and alpha in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    pred, truth = torch.rand(2, 4, 1, 8, 8, generator=generator)
    target = torch.cat([2 * truth - 1, torch.ones_like(truth)], 1)
    wanted = (pred - truth).square().mean().item()

    def judge(answer):
        answer = float(answer)
        if math.isclose(answer, wanted, rel_tol=1e-5):
            return None
        if math.isclose(answer, (pred - target).square().mean().item(), rel_tol=1e-5):
            return f"still there: a perfect prediction would lose {(1 - truth).square().mean():.3f}, not 0."
        if math.isclose(answer, (pred - target[:, :1]).square().mean().item(), rel_tol=1e-5):
            return "alpha is gone; now prediction and target lie in different ranges."
        if math.isclose(answer, 4 * wanted, rel_tol=1e-5):
            return "right up to a factor of 4: bring the target to [0, 1], the range of the prediction."
        return f"the loss of this prediction is {wanted:.4f}, and yours says {answer:.4f}."

    return check(number, function, (pred, target), judge)
