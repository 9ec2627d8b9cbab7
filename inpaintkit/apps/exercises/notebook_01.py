"""Checks of the exercises of notebook 01."""

import math
from collections.abc import Callable

import torch
from torch import nn

from inpaintkit.apps.exercises import check
from inpaintkit.papers import baselines


def stable_rate(function: Callable, number: int = 3) -> str:
    """Notebook 01: the learning rate above which gradient descent on the 3x3 regression diverges."""
    x = 255 * torch.rand(400, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = baselines.largest_stable_rate(x)

    def judge(answer):
        ratio = float(answer) / wanted
        if math.isclose(ratio, 1, rel_tol=0.02):
            return None
        if math.isclose(ratio, 2, rel_tol=0.02):
            return "twice too large: the gradient of the MEAN SQUARED error carries a factor 2."
        if math.isclose(ratio * len(x), 1, rel_tol=0.02) or math.isclose(ratio, len(x), rel_tol=0.02):
            return "off by the number of patches: the loss is a mean, so divide X'X by their number."
        return f"{float(answer):.3g} is {ratio:.3g} times the right value."

    return check(number, function, (x,), judge)


def encoder(network: Callable[[], nn.Module], number: int = 4) -> str:
    """Notebook 01, find the bug: every convolution of the encoder must take part, each with its pooling."""

    def run():
        torch.manual_seed(0)
        net = network()
        return net, net(torch.rand(2, 3, 32, 32))

    def judge(answer):
        net, features = answer
        if torch.is_tensor(features) and features.requires_grad:
            features.sum().backward()
            unused = [name for name, weight in net.named_parameters() if weight.grad is None]
            if unused:
                return f"still there: {unused[0]} got no gradient, so it is not part of the network."
        if not torch.is_tensor(features) or tuple(features.shape) != (2, 4, 4, 4):
            shape = tuple(getattr(features, "shape", ()))
            return f"three poolings take a 32x32 picture to 4x4 with 4 channels, (2, 4, 4, 4); yours gives {shape}."
        if len(list(net.parameters())) != 6:
            return "three convolutions are wanted, each with weights and biases."
        return None

    return check(number, run, (), judge)
