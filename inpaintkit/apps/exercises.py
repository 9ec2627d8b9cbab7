"""Checks of the exercises: each takes the student's function and says what is right, or what is wrong and where to
look.

They return a text instead of raising, so that a notebook with unanswered exercises still runs from top to bottom.
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from inpaintkit import metrics
from inpaintkit.papers import baselines

OPEN = "not answered yet: replace the ... and run this cell again."


def _check(number: int, function: Callable, arguments: tuple, judge: Callable) -> str:
    """Calls the student's function and judges its answer: ``judge(answer)`` returns None or what is wrong with it."""
    try:
        answer = function(*arguments)
        problem = OPEN if answer is None or answer is ... else judge(answer)
    except Exception as error:  # whatever a student's code raises is what they want to read
        problem = f"stopped with {type(error).__name__}: {error}"
    return f"exercise {number}: {problem or 'correct'}"


def image_mse(function: Callable, number: int = 1) -> str:
    """Notebook 00: the MSE of a whole composite from its hole's MSE and the hole's share of the image."""
    hole_mse, share = torch.tensor([0.01, 0.04], dtype=torch.float64), torch.tensor([0.0625, 0.16], dtype=torch.float64)

    def judge(answer):
        answer = torch.as_tensor(answer, dtype=torch.float64)
        if answer.shape != hole_mse.shape:
            return f"one value per image is wanted, shape {tuple(hole_mse.shape)}, and yours is {tuple(answer.shape)}."
        if torch.allclose(answer, hole_mse * share):
            return None
        if torch.allclose(answer, hole_mse):
            return "the known pixels of a composite are perfect: which share of the pixels carries the error?"
        if torch.allclose(answer, hole_mse * (1 - share)):
            return "you kept the known part; share is the part that is missing."
        return f"for a hole MSE of 0.01 over 6.25 % of the image your answer is {answer[0]:.6f}."

    return _check(number, function, (hole_mse, share), judge)


def mean_psnr(function: Callable, number: int = 2) -> str:
    """Notebook 00, find the bug: the mean PSNR of a batch must be the mean of the images' PSNRs."""
    image = torch.full((2, 1, 4, 4), 0.5)
    pred = image + torch.tensor([0.1, 0.001]).view(2, 1, 1, 1)
    wanted, of_the_mean = metrics.psnr(pred, image).mean().item(), -10 * math.log10(metrics.mse(pred, image).mean())

    def judge(answer):
        if torch.is_tensor(answer) and answer.numel() > 1:
            return "one number is wanted, the mean over the batch; yours has a value for each image."
        answer = float(answer)
        if math.isclose(answer, of_the_mean, abs_tol=0.01):
            return (
                f"still there: two images of 20 and 60 dB give {answer:.1f} dB, because the errors are averaged before "
                "the logarithm; their mean is 40."
            )
        if not math.isclose(answer, wanted, abs_tol=0.01):
            return f"two images of 20 and 60 dB have a mean of 40 dB, and you give {answer:.1f}."
        return None

    return _check(number, function, (pred, image), judge)


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

    return _check(number, function, (x,), judge)


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

    return _check(number, run, (), judge)


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

    return _check(number, function, (first.weight, first.bias, second.weight, second.bias), judge)


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

    return _check(number, function, (pred, target), judge)


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

    return _check(number, lambda: [function(list(kernels), list(strides)) for kernels, strides, _ in cases], (), judge)


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

    return _check(number, lambda: function(picture.clone()), (), judge)


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

    return _check(number, function, (large, r), judge)


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

    return _check(number, function, (preds, images), judge)
