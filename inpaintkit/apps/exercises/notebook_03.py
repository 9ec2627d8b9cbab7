"""Checks of the exercises of notebook 03, and what uses the student's answers."""

import copy
import math
from collections.abc import Callable

import torch
from torch import nn

from inpaintkit.apps.exercises import check, solved, train_with
from inpaintkit.contracts import Recipe
from inpaintkit.patches import take_patch


def _both_losses(scores_true, scores_generated):
    loss_d = ((scores_true - 1) ** 2).mean() / 2 + (scores_generated**2).mean() / 2
    return loss_d, ((scores_generated - 1) ** 2).mean()


def _field(kernels, strides):
    seen, step = 1, 1  # pixels seen; how many pixels apart neighbouring outputs are
    for kernel, stride in zip(kernels, strides, strict=True):
        seen, step = seen + (kernel - 1) * step, step * stride
    return seen


def _steps(squares):
    return sum(squares.diff(dim=d).abs().mean() for d in (2, 3))


def least_squares(function: Callable, number: int = 1) -> str:
    """Write: the losses of discriminator and generator, from the scores of true and of generated squares."""
    generator = torch.Generator().manual_seed(0)
    true, generated = torch.rand(4, 1, 3, 3, generator=generator), torch.rand(2, 1, 3, 3, generator=generator)
    wanted = _both_losses(true, generated)

    def judge(answer):
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            return "return two losses: the discriminator's, then the generator's."
        loss_d, loss_g = (torch.as_tensor(loss) for loss in answer)
        if loss_d.numel() != 1 or loss_g.numel() != 1:
            return "each loss is one number: the bar over a square means the mean over all scores."
        loss_d, loss_g, right_d, right_g = (float(x) for x in (loss_d, loss_g, *wanted))
        if math.isclose(loss_d, right_g, rel_tol=1e-4) and math.isclose(loss_g, right_d, rel_tol=1e-4):
            return "the two losses have changed places: the discriminator's comes first."
        if math.isclose(loss_d, 2 * right_d, rel_tol=1e-4):
            return "the discriminator's loss is twice too large: look at the factors in front of its two terms."
        if math.isclose(loss_d, float(_both_losses(1 - true, 1 - generated)[0]), rel_tol=1e-4):
            return "this discriminator wants 0 for true squares and 1 for generated ones."
        if not math.isclose(loss_d, right_d, rel_tol=1e-4):
            return f"the discriminator's loss for these scores is {right_d:.4f}, and yours is {loss_d:.4f}."
        if math.isclose(loss_g, float((generated**2).mean()), rel_tol=1e-4):
            return "the generator's loss: this one is low when the discriminator recognises the generated squares."
        if not math.isclose(loss_g, right_g, rel_tol=1e-4):
            return f"the generator's loss for these scores is {right_g:.4f}, and yours is {loss_g:.4f}."
        return None

    return check(number, function, (true, generated), judge)


def receptive_field(function: Callable, number: int = 2) -> str:
    """Write: how many pixels one output of a stack of convolutions depends on, from kernels and strides."""
    cases = [([3], [1], 3), ([3, 3], [1, 1], 5), ([4, 4], [2, 2], 10), ([4] * 5, [2] * 5, 94)]
    cases.append(([3] * 5, [2, 2, 2, 1, 1], 47))

    def judge(answers):
        for (kernels, strides, wanted), answer in zip(cases, answers, strict=True):
            if int(answer) == wanted:
                continue
            layers = f"kernels {kernels} and strides {strides} see {wanted} pixels, and you say {answer}"
            if int(answer) == 1 + sum(k - 1 for k in kernels):
                return f"{layers}: after a layer of stride 2, one step to the side is two pixels of the picture."
            if int(answer) == 1 + sum((k - 1) * math.prod(strides[: i + 1]) for i, k in enumerate(kernels)):
                return f"{layers}: a layer's own stride widens only the layers after it."
            return f"{layers}."
        return None

    return check(number, lambda: [function(list(kernels), list(strides)) for kernels, strides, _ in cases], (), judge)


def loss_levels(guess: dict, number: int = 3) -> str:
    """Predict: the two losses of a discriminator that cannot tell, of one that knows all; the smoothed answer."""
    wanted = {
        "cannot tell: D": (0.25, "half of (0.5 - 1)^2, plus half of 0.5^2"),
        "cannot tell: fooling D": (0.25, "the scores of generated squares are 0.5, and the generator wants 1"),
        "knows all: D": (0, "every score is where this discriminator wants it"),
        "knows all: fooling D": (1, "the scores of generated squares are 0, and the generator wants 1"),
        "smoothed: best answer": (0.45, "try 0.5 and 0.4 in (s - 0.9)^2 + s^2: where between them is it lowest?"),
    }

    def judge(answer):
        if answer.keys() != wanted.keys():
            return f"five answers are wanted: {', '.join(wanted)}."
        for name, (value, hint) in wanted.items():
            if not math.isclose(answer[name], value, abs_tol=1e-3):
                return f"'{name}' is not {answer[name]}: {hint}."
        return None

    return check(number, lambda: guess, (), judge)


class _Tiny(nn.Module):
    """A network of one layer: a generator of squares, or a discriminator."""

    def __init__(self, side_in: int, side_out: int):
        super().__init__()
        self.layer, self.side = nn.Linear(3 * side_in**2, (3 if side_out > 1 else 1) * side_out**2), side_out
        self.seen = []
        for tensor in self.parameters():
            nn.init.normal_(tensor, std=0.2, generator=torch.Generator().manual_seed(tensor.numel()))

    def forward(self, x):
        self.seen.append(x.detach())
        return self.layer(x.flatten(1)).view(len(x), -1, self.side, self.side)


def gan_step(function: Callable, number: int = 4) -> str:
    """Modify: the step of a generator alone becomes that of two networks."""
    masked = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    square = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    networks, weight, rate = (_Tiny(4, 2), _Tiny(2, 1)), 0.25, 0.1
    before = copy.deepcopy(networks)
    for tensor in (*networks[0].parameters(), *networks[1].parameters()):
        tensor.grad = torch.ones_like(tensor)  # what an earlier step has left

    def step():
        optimisers = [torch.optim.SGD(network.parameters(), lr=rate) for network in networks]
        try:
            return function(*networks, *optimisers, masked, square, weight)
        except RuntimeError as error:
            if not any(words in str(error) for words in ("inplace operation", "a second time")):
                raise
            return "the discriminator's loss reaches back into the generator, whose step is over."

    def judge(answer):
        if isinstance(answer, str):
            return answer
        if not isinstance(answer, dict) or set(answer) != {"L1", "fooling D", "D"}:
            return 'return {"L1": ..., "fooling D": ..., "D": ...}, as the given code does.'
        if not networks[1].seen:
            return "still there: the generator is trained with L1 alone, and nobody asks the discriminator."
        generated = before[0](masked)
        losses = {"L1": 2 * (generated - square).abs().mean()}
        losses["fooling D"] = ((before[1](generated) - 1) ** 2).mean()
        losses["D"] = _both_losses(before[1](square), before[1](generated.detach()))[0]
        for name, wanted in losses.items():
            found = float(torch.as_tensor(answer[name]).detach())
            if not math.isclose(found, wanted.item(), rel_tol=1e-4):
                return f'"{name}" of this batch is {wanted.item():.4f}, and yours is {found:.4f}: see exercise 1.'
        loss_g = (1 - weight) * losses["L1"] + weight * losses["fooling D"]
        pairs = zip(networks, before, (loss_g, losses["D"]), ("generator", "discriminator"), strict=True)
        for network, old, loss, name in pairs:
            wanted = torch.autograd.grad(loss, list(old.parameters()))
            moved = [(a - b) / rate for a, b in zip(old.parameters(), network.parameters(), strict=True)]
            if all(not m.any() for m in moved):
                return f"the losses are right, and no weight of the {name} has changed."
            if not all(torch.allclose(m, w, atol=1e-3) for m, w in zip(moved, wanted, strict=True)):
                more = (
                    "is its loss the weighted sum of both terms?"
                    if name == "generator"
                    else "which gradients are left?"
                )
                return f"the losses are right, and the {name}'s weights have moved elsewhere: {more}"
        return None

    return check(number, step, (), judge)


def detail_of(function: Callable, number: int = 5) -> str:
    """Write: the mean step between neighbouring pixels, relative to the truth's."""
    squares, truth = torch.rand(2, 4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    squares = 0.5 + 0.3 * (squares - 0.5)
    wanted = float(_steps(squares) / _steps(truth))

    def judge(answer):
        answer = torch.as_tensor(answer)
        if answer.numel() != 1:
            return f"one number for all squares is wanted, and yours has the shape {tuple(answer.shape)}."
        found = float(answer)
        if math.isclose(found, wanted, rel_tol=1e-4):
            return None
        if math.isclose(found, 1 / wanted, rel_tol=1e-4):
            return "upside down: a flat square has the detail 0, so the truth stands below the line."
        if math.isclose(found, float(_steps(squares)), rel_tol=1e-4):
            return "this is the mean step alone: now compare it with the truth's."
        for d, name in ((3, "columns"), (2, "rows")):
            if math.isclose(
                found, float(squares.diff(dim=d).abs().mean() / truth.diff(dim=d).abs().mean()), rel_tol=1e-4
            ):
                return f"these are the steps between {name} alone: both directions count."
        signed = sum(squares.diff(dim=d).mean() for d in (2, 3)) / sum(truth.diff(dim=d).mean() for d in (2, 3))
        if math.isclose(found, float(signed), rel_tol=1e-3):
            return "steps up and steps down cancel: a step has a size."
        return f"the detail of these squares is {wanted:.4f}, and yours is {found:.4f}."

    return check(number, function, (squares, truth), judge)


def centre_mask(function: Callable, number: int = 6) -> str:
    """Find the bug: the centre of a picture with a batch dimension, filled with white."""
    picture = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    wanted = picture.clone()
    wanted[:, :, 32:96, 32:96] = 1

    def judge(answer):
        if not torch.is_tensor(answer) or answer.shape != picture.shape:
            return f"a picture of {tuple(picture.shape)} is wanted, and yours is {tuple(getattr(answer, 'shape', ()))}."
        changed = int((answer != picture).sum())
        if changed == 0:
            return "still there: no value has changed. 12,288 should become 1; which dimension does each slice cut?"
        if not torch.equal(answer, wanted):
            return f"{changed:,} values have changed; wanted are the 12,288 of the centre, which become 1."
        return None

    return check(number, lambda: function(picture.clone()), (), judge)


def unit_deviation(function: Callable, number: int = 7) -> str:
    """Find the bug: batch normalisation whose second argument is not what its author thought."""
    values = torch.randn(4000, 2, 1, 1, generator=torch.Generator().manual_seed(0)) * torch.tensor([3, 0.1]).view(
        2, 1, 1
    )

    def judge(layer):
        if not isinstance(layer, nn.Module):
            return f"return a layer; yours is a {type(layer).__name__}."
        with torch.no_grad():
            large, small = layer.train()(values).std((0, 2, 3)).tolist()
        if abs(large - 1) > 0.1:
            return f"channels of deviation 3 and 0.1 come out with {large:.2f} and {small:.2f}: is anything normalised?"
        if abs(small - 1) > 0.02:
            return f"still there: deviations of 3 and 0.1 come out as {large:.2f} and {small:.2f}, wanted is 1."
        return None

    return check(number, lambda: function(2), (), judge)


# --- answers in use ---------------------------------------------------------------------------------------------------

KITS = {least_squares: _both_losses, receptive_field: _field, detail_of: lambda p, t: float(_steps(p) / _steps(t))}


def yours(judge: Callable[..., str], function: Callable) -> Callable:
    """The student's function if its check finds it correct, and else the kit's."""
    if solved(judge(function)):
        print("with your function")
        return function
    print("with the kit's function: yours is not solved yet")
    return KITS[judge]


def own_step(recipe: Recipe, step: Callable) -> Recipe:
    """The recipe, trained with the student's step of exercise 4.

    It knows the patch head and least squares alone, without a mask, both networks from the start.
    """
    cfg, names = recipe.cfg, ("generator", "discriminator")
    plain = (cfg.head, cfg.mask_channel, cfg.adversarial, cfg.first) == ("patch", False, "lsgan", "none")

    def call(image, masked, mask, generator):
        square = take_patch(image, mask, recipe.generator.side)
        parts = [*(recipe.modules[name] for name in names), *(recipe.optimisers[name] for name in names)]
        return step(*parts, masked, square, cfg.weight_adv)

    return train_with(recipe, gan_step(step), call, plain and cfg.weight_adv > 0)
