"""Checks of the exercises of notebook 04, and what its cells call."""

import copy
import itertools
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image, display
from torch import nn

from inpaintkit import data, fills, masking, metrics, runtime, viz
from inpaintkit.apps.exercises import Own, check, guessed, solved, train_with
from inpaintkit.contracts import Filler, Recipe
from inpaintkit.experiments import answers, run
from inpaintkit.experiments.answers import Worth
from inpaintkit.experiments.records import Records
from inpaintkit.papers import ssrgan
from inpaintkit.training import History


def lost_shares(guess: dict, number: int = 1) -> str:
    """Predict: the NMSE of black pixels at 80 %, and how many lost pixels have no known one within 5x5."""

    def judge(answer):
        nothing, lonely = answer["do nothing"], answer["none known in 5x5"]
        if not 0 <= nothing <= 1 or not 0 <= lonely <= 1:
            return "give both as shares between 0 and 1, not as percentages."
        if math.isclose(nothing, 0.2, abs_tol=0.01):
            return "do nothing: a known pixel has no error. Which share of the energy is lost?"
        if not math.isclose(nothing, 0.8, abs_tol=0.01):
            return "do nothing: a lost pixel is 0, so its error is its own energy. Compare the two sums."
        if math.isclose(lonely, 0.8**25, abs_tol=2e-4):
            return "the pixel in the middle is lost already: count the others."
        if math.isclose(lonely, 0.8**8, abs_tol=0.005):
            return "these are the 8 pixels of 3x3; how many others are in 5x5?"
        if lonely < 1e-6:
            return "all others must be lost, and each is lost with the probability 0.8."
        if not math.isclose(lonely, 0.8**24, abs_tol=4e-4):
            return "pixels are lost independently, so the probabilities are multiplied: how many factors are there?"
        return None

    return check(number, lambda: guess, (), judge)


def box(function: Callable, number: int = 2) -> str:
    """Write: the mean of the known pixels within 5x5, in every lost pixel that has one."""
    generator = torch.Generator().manual_seed(0)
    picture, mask = 0.2 + 0.8 * torch.rand(3, 3, 16, 16, generator=generator), masking.pixels(3, 16, 0.8, generator)
    masked = masking.apply(picture, mask, "grey")  # what stands in a lost pixel must not matter
    pool = lambda x: nn.functional.avg_pool2d(x, 5, 1, 2)  # noqa: E731
    total, count = pool(masked * ~mask), pool((~mask).float())
    reached, known = (count > 0).expand_as(masked), (~mask).expand_as(masked)

    def judge(answer):
        if not torch.is_tensor(answer) or answer.shape != masked.shape:
            return f"return the filled pictures, {tuple(masked.shape)}; yours is {tuple(getattr(answer, 'shape', ()))}."

        def same(wanted):
            return torch.allclose(answer[reached], wanted[reached], atol=1e-5)

        if not answer.isfinite().all():
            return "some pixels are 0 divided by 0: no known pixel is in their window. Use clamp(min=...) on the count."
        if same(torch.where(mask, total / count, masked)):
            return None
        if same(total / count):
            return "lost pixels are right, but known pixels have changed: torch.where(mask, ..., masked)."
        if not torch.equal(answer[known], masked[known]):
            return "known pixels have changed: torch.where(mask, ..., masked)."
        if same(torch.where(mask, total, masked)):
            return "too dark: this is the sum of the known pixels divided by 25. How many are known?"
        if same(torch.where(mask, pool(masked), masked)):
            return "the lost pixels themselves are in this mean: make them 0 first."
        if same(torch.where(mask, pool(masked) / count, masked)):
            return "the count is right, but the lost pixels are in the sum: make them 0 first."
        return "not yet: two windows of 5x5 with stride 1 and padding 2, one over values and one over known pixels."

    return check(number, function, (masked.clone(), mask), judge)


def residual(function: Callable, number: int = 3) -> str:
    """Modify: a block of two convolutions that adds to its input, and starts as the identity."""
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))

    def build():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return function(4)

    def judge(block):
        inner = lambda: block.second(block.activation(block.first(x)))  # noqa: E731
        with torch.no_grad():
            out, found = block(x), inner()
        if out.shape != x.shape:
            return f"the shape must stay {tuple(x.shape)}, and yours is {tuple(out.shape)}."
        if torch.equal(out, x) and not any(p.requires_grad for p in block.parameters()):
            return "nothing in this block can be trained."
        if torch.allclose(out, found, atol=1e-6):
            return "the fault is still there: only what the convolutions find is returned."
        if not torch.allclose(out, x + found, atol=1e-5):
            return "wanted is the input plus what the convolutions find, without another activation."
        if not torch.allclose(out, x, atol=1e-6):
            if not block.second.weight.any():
                return "nearly: what does a convolution have besides its kernel?"
            return "now it adds. But at the start it is not the identity: which layer must begin with zeros?"
        out = block(x)
        grads = torch.autograd.grad(out.square().sum(), list(block.parameters()), allow_unused=True)
        kernel = dict(zip([n for n, _ in block.named_parameters()], grads, strict=True)).get("second.weight")
        if kernel is None or not kernel.any():
            return "it is the identity, and stays it: the last kernel gets no gradient, because its input is 0, too."
        with torch.no_grad():
            for p in block.parameters():
                p.fill_(0.1)
            if not torch.allclose(block(x), x + inner(), atol=1e-5):
                return "at the start it is right. Later it does not add what its convolutions find."
        return None

    return check(number, build, (), judge)


def shuffle(function: Callable, number: int = 4) -> str:
    """Write: the pixel shuffle, (B, C r^2, H, W) -> (B, C, r H, r W)."""
    small, r = torch.arange(2 * 12 * 3 * 5, dtype=torch.float32).view(2, 12, 3, 5), 2
    large = torch.pixel_shuffle(small, r)

    def judge(answer):
        if not torch.is_tensor(answer) or answer.shape != large.shape:
            shape = tuple(getattr(answer, "shape", ()))
            return f"{tuple(small.shape)} must become {tuple(large.shape)}, and yours is {shape}."
        if torch.equal(answer, large):
            return None
        if torch.equal(answer, large.view(2, 3, 3, 2, 5, 2).transpose(3, 5).reshape(large.shape)):
            return "nearly: rows and columns are exchanged within each tile."
        if torch.equal(answer, small.view(2, 2, 2, 3, 3, 5).permute(0, 3, 4, 1, 5, 2).reshape(large.shape)):
            return "nearly: channels r^2 c to r^2 c + r^2 - 1 become output channel c, so C stands before r and r."
        if torch.equal(answer.flatten().sort().values, small.flatten()):
            return "all values are there, but not in their places: where do the rows i of a tile go, beside H or W?"
        return "some values are lost or doubled: reshape and permute only."

    return check(number, function, (small, r), judge)


def show_shuffle(numbers: torch.Tensor, r: int):
    """The r * r channels of ``numbers`` (1, r * r, H, W), and the picture that a pixel shuffle makes of them, as whole
    numbers in pixels of one size; those of a channel share a colour."""
    channels, large = numbers[0], torch.pixel_shuffle(numbers, r)[0, 0]
    (height, width), gap = channels.shape[1:], 1.0
    left, top = r * (width + gap) + 2, r * (height + gap) - gap
    figure, axes = plt.subplots(figsize=(0.4 * (left + r * width), 0.4 * (top + 1)), dpi=viz.DPI, layout="tight")

    def draw(values, x, y, label):
        for (i, j), value in np.ndenumerate(values.numpy()):
            colour = plt.get_cmap("Pastel1")(int(value) // (height * width) % 9)
            axes.add_patch(plt.Rectangle((x + j, y + i), 1, 1, facecolor=colour, edgecolor="white"))
            axes.text(x + j + 0.5, y + i + 0.5, int(value), ha="center", va="center", fontsize=9)
        axes.text(x + values.shape[1] / 2, y - 0.15, label, ha="center", va="bottom", fontsize=9)

    for i, channel in enumerate(channels):
        draw(channel, i % r * (width + gap), i // r * (height + gap), f"channel {i}")
    axes.text(left - 1.5, top / 2, "→", ha="center", va="center", fontsize=18)
    draw(large, left, (top - r * height) / 2, "shuffled")
    axes.set(xlim=(0, left + r * width), ylim=(top, -1), aspect="equal")
    axes.axis("off")
    content, form = viz.encode(figure, "pictures")
    alt = f"{r * r} channels, each of {height} times {width} numbers, and the one picture that a shuffle makes of them"
    display(Image(content, format=form, metadata={"alt": alt}))


def generator(function: Callable, number: int = 5) -> str:
    """Write: put the layers of SRGAN's generator together, with the long skip connection."""
    calls, x = [], torch.rand(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))

    def layer(name, factor):
        def call(tensor):
            calls.append(name)
            return factor * tensor + 1  # not linear: the order matters

        return call

    parts = {"stem": 2, "blocks": 3, "after": 5, "enlarge": 7, "last": 11}
    layers = {name: layer(name, factor) for name, factor in parts.items()}
    first = 2 * x + 1
    deep = 3 * first + 1
    found = 5 * deep + 1
    ends = {
        None: first + found,
        "the skip connection is missing: the stem's output is added to what `after` returns.": found,
        "the picture x is added; wanted is what the stem made of it.": x + found,
        "the output of the blocks is added; wanted is that of the stem.": deep + found,
        "`after` gets the sum; wanted is that it gets the blocks' output, and its own output is added.": 5
        * (first + deep)
        + 1,
    }

    def judge(answer):
        missing = [name for name in parts if name not in calls]
        if missing:
            return f"not used yet: {', '.join(missing)}."
        twice = [name for name in parts if calls.count(name) > 1]
        if twice:
            return f"called more than once: {', '.join(twice)}. Keep the output in a variable."
        for problem, end in ends.items():
            if torch.allclose(answer, 11 * (7 * end + 1) + 1):
                return problem
        if calls != list(parts):
            return f"the order is {', '.join(calls)}; the diagram has another one."
        return "all layers are there in their order: what does each of them get?"

    return check(number, lambda: function(x, *layers.values()), (), judge)


def blind(guess: dict, number: int = 6) -> str:
    """Predict: the best constant answer of a discriminator that cannot tell, and both losses at it."""
    best, fooling = 0.475, 0.525**2
    loss = 2 * best**2 + 0.1**2 / 12

    def judge(answer):
        if math.isclose(answer["score"], 0.5, abs_tol=1e-3):
            return "score: half-way between 0 and 1. But what is wanted for true pictures is not 1: what is its mean?"
        if not math.isclose(answer["score"], best, abs_tol=2e-3):
            return "score: which number c makes the sum of (c - a)^2 and c^2 smallest, a being the mean of the target?"
        if math.isclose(answer["loss of D"], best**2, abs_tol=2e-3):
            return "loss of D: this is one of its two terms."
        if not math.isclose(answer["loss of D"], loss, abs_tol=3e-3):
            return "loss of D: put the score into both terms, L_real of true and L_fake of generated pictures."
        if math.isclose(answer["fooling"], best**2, abs_tol=2e-3):
            return "fooling: the generator wants 1, not 0 and not 0.95."
        if not math.isclose(answer["fooling"], fooling, abs_tol=2e-3):
            return "fooling: the squared distance of the score from what the generator wants, without its weight."
        return None

    return check(number, lambda: guess, (), judge)


def own_box(function: Callable) -> Filler:
    """The student's box if it is solved, else the kit's."""
    return Own("your box", function) if solved(box(function)) else fills.Box()


def own_parts(modules: nn.ModuleDict, block: type, shuffle_: Callable, assemble: Callable) -> str:
    """Lets correct answers to exercises 3 to 5 compute the generator, on the kit's weights; says which do.

    Together they must give what the kit's layers give.
    """
    parts = {"ResidualBlock": residual(block), "pixel_shuffle": shuffle(shuffle_), "assemble": generator(assemble)}
    own, net = {name for name, verdict in parts.items() if solved(verdict)}, modules["generator"]
    plain = (net.start, net.value_range) == ("lost", "[-1,1]") and len(net.blocks[0].layers) == 3
    if not own or not plain:
        return "parts of yours in the network: " + ("these parameters need the kit's" if own else "none is solved yet")

    class Block(type(net.blocks[0])):
        def forward(self, x):
            first, activation, second = self.layers
            return block.forward(SimpleNamespace(first=first, activation=activation, second=second), x)

    class Shuffle(nn.PixelShuffle):
        def forward(self, x):
            return shuffle_(x, self.upscale_factor)

    class Network(type(net)):
        def forward(self, masked, mask=None):
            x = 2 * masked - 1
            if self.mask_channels:
                x = torch.cat([x, mask.expand(-1, self.mask_channels, -1, -1).to(x.dtype)], 1)
            x = assemble(x, self.stem, self.blocks, self.after, self.enlarge, self.last)
            return (torch.tanh(x.to(masked.dtype)) + 1) / 2

    changed = copy.deepcopy(net)
    for layer in changed.modules():
        if "ResidualBlock" in own and type(layer) is type(net.blocks[0]):
            layer.__class__ = Block
        if "pixel_shuffle" in own and type(layer) is nn.PixelShuffle:
            layer.__class__ = Shuffle
    if "assemble" in own:
        changed.__class__ = Network
    masked = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            same = torch.allclose(changed(masked, masked[:, :1] > 0.5), net(masked, masked[:, :1] > 0.5), atol=1e-5)
    except Exception:  # a block with layers of its own, which the kit's has not
        same = False
    if not same:
        return "parts of yours in the network: none, because together they give another picture than the kit's"
    modules["generator"] = changed
    return "parts of yours in the network: " + ", ".join(name for name in parts if name in own)


class _TinyGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, masked, mask):
        return self.layer(torch.cat([masked, mask.to(masked.dtype)], 1)).sigmoid()


def _generator_problem(same: Callable, g: list, d: list, x: SimpleNamespace) -> str | None:
    """What is wrong with the generator's gradients ``g``; ``same(loss)`` says whether they are those of a loss."""
    if not any(step.any() for step in g):
        return "no weight of the generator has changed: backward, then its optimiser's step."
    if same(x.content):
        if not any(step.any() for step in d):
            return "the fault is still there: the generator sees only the content term, and D is not trained."
        return "the generator still sees only the content term: add the second term of L_G."
    known = {
        None: x.content + x.weight * x.fooling,
        "the generator's second term has lost its weight.": x.content + x.fooling,
        "the generator wants D to say 1 of its pictures, not 0.": x.content + x.weight * x.scores.square().mean(),
        "keep the factor 4 of the content term.": x.content / 4 + x.weight * x.fooling,
        "D was trained first: here the generator comes first.": x.content + x.weight * x.by_new_d,
    }
    for problem, loss in known.items():
        if same(loss):
            return problem
    return "the generator's weights went elsewhere: zero_grad, backward of content + weight * fooling, step."


def _discriminator_problem(same: Callable, d: list, x: SimpleNamespace) -> str | None:
    """What is wrong with the discriminator's gradients ``d``."""
    if not any(step.any() for step in d):
        return "the generator's step is right. Now D's: L_D is L_real plus L_fake."
    second = "D judges a second picture, drawn after the step; use the first one, and save half of the time."
    known = {
        None: x.real + x.fake,
        "D's target for true pictures is not 1: see L_real.": (x.true - 1).square().mean() + x.fake,
        "L_real: the noise has a factor of 0.1.": (x.true - (1 - x.noise)).square().mean() + x.fake,
        "D sees only true pictures: L_fake is missing.": x.real,
        "D sees only generated pictures: L_real is missing.": x.fake,
        "L_D is a sum, without a half.": (x.real + x.fake) / 2,
        second: x.real + x.of_new_g,
    }
    for problem, loss in known.items():
        if same(loss):
            return problem
    return "D's weights went elsewhere: are its old gradients, also those of the generator's step, set to 0?"


def both_steps(function: Callable, number: int = 7) -> str:
    """Modify: a training step of the generator alone becomes one of both networks."""
    draw, rate, weight = torch.Generator().manual_seed(0), 0.1, 0.5
    nets = {"g": _TinyGenerator(), "d": nn.Conv2d(3, 3, 3, padding=1)}
    for tensor in [p for net in nets.values() for p in net.parameters()]:
        nn.init.normal_(tensor, std=0.4, generator=draw)
        tensor.grad = torch.ones_like(tensor)  # what an earlier step has left
    old = copy.deepcopy(nets)
    image, noise = torch.rand(2, 4, 3, 8, 8, generator=draw)
    mask = masking.pixels(4, 8, 0.5, draw)
    masked = masking.apply(image, mask, "grey")

    def step():
        optimisers = [torch.optim.SGD(net.parameters(), lr=rate) for net in nets.values()]
        try:
            return function(nets["g"], nets["d"], *optimisers, masked, image, mask, noise, weight)
        except RuntimeError as error:
            if "second time" in str(error):
                raise RuntimeError(
                    "the first backward has used up the graph of pred: D needs only its values."
                ) from None
            raise

    def moved(name):
        return [(a - b).detach() / rate for a, b in zip(old[name].parameters(), nets[name].parameters(), strict=True)]

    def same(found, loss, name):
        wanted = torch.autograd.grad(loss, list(old[name].parameters()), retain_graph=True)
        return all(torch.allclose(a, b, atol=1e-4) for a, b in zip(found, wanted, strict=True))

    def judge(answer):
        g, d, pred = moved("g"), moved("d"), old["g"](masked, mask)
        x = SimpleNamespace(weight=weight, noise=noise, scores=old["d"](pred), true=old["d"](image))
        x.content, x.fooling = 4 * (pred - image).square().mean(), (x.scores - 1).square().mean()
        x.real, x.fake = (x.true - (1 - 0.1 * noise)).square().mean(), old["d"](pred.detach()).square().mean()
        x.by_new_d = (nets["d"](pred) - 1).square().mean()
        x.of_new_g = old["d"](nets["g"](masked, mask).detach()).square().mean()
        problem = _generator_problem(lambda loss: same(g, loss, "g"), g, d, x)
        problem = problem or _discriminator_problem(lambda loss: same(d, loss, "d"), d, x)
        if problem:
            return problem
        if not isinstance(answer, tuple) or len(answer) != 3:
            return "both networks are right; return the three losses: content, fooling, loss of D."
        wanted = (x.content, x.fooling, x.real + x.fake)
        if not all(torch.allclose(torch.as_tensor(a), b, rtol=1e-4) for a, b in zip(answer, wanted, strict=True)):
            return (
                "both networks are right; the three losses are returned without weights: content, fooling, loss of D."
            )
        return None

    return check(number, step, (), judge)


def own_step(recipe: Recipe, step: Callable) -> Recipe:
    """The recipe, trained with the student's step of exercise 7.

    It is the paper's: another loss, other smoothing, other values or no discriminator need the kit's.
    """
    cfg, names = recipe.cfg, ("generator", "discriminator")
    usual = (cfg.adversarial, cfg.smoothing, cfg.value_range) == ("lsgan", 0.1, "[-1,1]") and cfg.weight_adv > 0

    def call(image, masked, mask, generator):
        noise = torch.rand(image.shape, generator=generator, device=image.device)
        parts = [*(recipe.modules[name] for name in names), *(recipe.optimisers[name] for name in names)]
        losses = step(*parts, masked, image, mask, noise, cfg.weight_adv)
        return dict(zip(("content", "fooling D", "D"), losses, strict=True))

    return train_with(recipe, both_steps(step), call, usual)


def blind_levels(cfg) -> dict[str, float] | None:
    """The answers of exercise 6 as levels for the curves; None if other losses were trained."""
    if cfg.adversarial != "lsgan" or not cfg.weight_adv:
        return None
    mean = 1 - cfg.smoothing / 2  # of what a true picture should score
    loss = mean**2 / 2 + cfg.smoothing**2 / 12
    return {"D: if it cannot tell": loss, "fooling D: if D cannot tell": (1 - mean / 2) ** 2}


def side(history: History, told: dict[str, float]) -> str:
    """Is "fooling D", in the last third of the training, above or below its level of `blind_levels`?"""
    values, (_, level) = history.losses["fooling D"], told.values()
    late = values[-max(1, len(values) // 3) :]
    return "above" if sum(late) / len(late) > level else "below"


def mean_nmse(function: Callable, number: int = 8) -> str:
    """Find the bug: mean over images of sum e^2 / sum x^2, from batches of pictures."""
    draw = torch.Generator().manual_seed(0)
    light = [0.2 + 0.8 * torch.rand(n, 1, 1, 1, generator=draw) for n in (40, 40, 5)]
    images = [x * torch.rand(len(x), 3, 8, 8, generator=draw) for x in light]
    preds = [image + 0.1 * torch.randn(image.shape, generator=draw) for image in images]
    each = torch.cat(
        [((p - x) ** 2).sum((1, 2, 3)) / (x**2).sum((1, 2, 3)) for p, x in zip(preds, images, strict=True)]
    )
    batches = torch.stack([((p - x) ** 2).sum() / (x**2).sum() for p, x in zip(preds, images, strict=True)])
    wanted, last = each.mean().item(), "the last 5 images count as much as the first 40."
    slips = {  # what float32 gives: the bugs that are left without the precision, and a hint
        batches.sum().item() / 1000: (2, "three batches of 40, 40 and 5 pictures were given. What is divided by what?"),
        each.sum().item() / 1000: (1, "the divisor fits one data set only."),
        batches.mean().item(): (1, "one value per image is averaged in the definition; what is averaged here?"),
        torch.stack([e.mean() for e in each.split(40)]).mean().item(): (1, last),
        wanted: (0, "close, but rounded on the way: in which precision is the sum kept?"),
    }

    def judge(answer):
        answer = float(answer)
        if math.isclose(answer, wanted, rel_tol=1e-5):
            return None
        value = min(slips, key=lambda one: abs(math.log(max(answer, 1e-9) / one)))
        if math.isclose(answer, value, rel_tol=5e-3):
            left, hint = slips[value]
            left += not math.isclose(answer, value, rel_tol=1e-5)
            return f"still there: {left} of 3 bugs. One of them: {hint}"
        return f"the mean over these 85 images is {wanted:.5f}, and yours says {answer:.5f}."

    return check(number, function, (preds, images), judge)


def short(changes: dict, seeds: int = 1, epochs: int = 1) -> dict[str, str]:
    """Open question: short trainings on 100 faces, of the demo and with ``changes``, with seeds 0, 1, ...: the NMSE of
    48 test faces for each seed, and whether the seeds agree.

    Raises ValueError for a parameter that does not exist.
    """
    scores = {label: [_trained(changed, s, epochs) for s in range(seeds)] for label, changed in _two(changes).items()}
    before, after = scores.values()
    lower = sum(b < a for a, b in zip(before, after, strict=True))
    said = "all agree" if lower in (0, seeds) else "they do not agree"
    said = f"{said}, which is an answer" if seeds > 2 else "too few for an answer, three seeds are wanted"
    return {label: ", ".join(f"{score:.4f}" for score in values) for label, values in scores.items()} | {
        "verdict": f"the change is lower with {lower} of {seeds} seeds: {said}"
    }


def _two(changes: dict) -> dict[str, dict]:
    return {"your network": {}, str(changes): changes}


def _trained(changes: dict, seed: int, epochs: int) -> float:
    cfg = ssrgan.Parameters.resolve({"n_train": 100, "n_test": 48, "epochs": epochs, "seed": seed} | changes)
    images, device = data.open_for(cfg), runtime.pick_device()
    with tempfile.TemporaryDirectory() as folder:
        modules, _ = run.train(ssrgan.PAPER, cfg, images, Path(folder), device, progress=False)
    ((_, test),) = run.open_parts(ssrgan.PAPER, images, device, ("test",))
    lost = ssrgan.PAPER.test_holes(cfg, len(test))[ssrgan.level_name(cfg.p)].to(device)
    full = masking.composite(test, ssrgan.PAPER.filler(modules, cfg)(masking.apply(test, lost), lost), lost)
    return metrics.nmse(full, test).mean().item()


def weights(*networks: nn.Module) -> int:
    """How many numbers networks learn."""
    return sum(p.numel() for network in networks for p in network.parameters())


def lowering(guess: list[str] | None, effects: dict[str, Worth]) -> str:
    """Which changes lower the error? How many of them a guess found, and how many it named in vain."""
    if guess is None:
        return guessed(None, "")
    if unknown := set(guess) - effects.keys():
        return f"not in the list: {', '.join(sorted(unknown))}"
    lower = {name for name, effect in effects.items() if effect.verdict.startswith("lower")}
    return f"{len(lower & set(guess))} of {len(lower)} found, {len(set(guess) - lower)} named that do not"


def levels_told_apart(recorded: Records) -> list[dict[str, str]]:
    """The paper's figure 5 in words: does the error rise from level to level, where is the network below or above
    biharmonic, and where are flowers higher than another set? Only what all seeds and the interval say."""
    found, flowers = answers.lines(recorded, "figure5"), "Flowers-102"

    def where(said: dict[float, str], wanted: str) -> str:
        if answers.NOT_RUN in said.values():
            return answers.NOT_RUN
        levels = [f"{100 * p:.0f}" for p, one in said.items() if one == wanted]
        return "all levels" if len(levels) == len(said) else ", ".join(levels) + " %" if levels else "none"

    rows = []
    for name, line in found.items():
        steps = [answers.direction(recorded, b, a, apart=True) for a, b in itertools.pairwise(line.values())]
        against = {p: answers.direction(recorded, one, one, fillers=("", "biharmonic")) for p, one in line.items()}
        higher = {p: answers.direction(recorded, found[flowers][p], one, apart=True) for p, one in line.items()}
        row = {"data set": name, "NMSE rises": f"{steps.count('higher')} of {len(steps)} steps"}
        row |= {"network lower than biharmonic at": where(against, "lower")}
        row |= {"network higher than biharmonic at": where(against, "higher")}
        rows.append(row | {"flowers have a higher NMSE at": "–" if name == flowers else where(higher, "higher")})
    return rows


def reach(filler: Filler) -> int:
    """How many pixels away a known pixel may be that still changes what a network puts into a lost one."""
    net, side = copy.deepcopy(filler.net).cpu().float().eval(), 96
    middle, lost = side // 2, torch.zeros(1, 1, side, side, dtype=torch.bool)
    lost[..., middle, middle] = True
    masked = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    drawn = net(masked, lost)[..., middle, middle].sum()
    (changed,) = torch.autograd.grad(drawn, masked)
    return int((changed.abs().sum((0, 1, 2)).nonzero() - middle).abs().max())


def stands(filler: Filler, image: torch.Tensor, masked: torch.Tensor, mask: torch.Tensor) -> tuple[str, str]:
    """Where a filler stands between the box and biharmonic, by the mean NMSE of its images; and the three values."""
    ours, box_, smooth = (
        metrics.nmse(masking.composite(image, one(masked, mask), mask), image).nanmean().item()
        for one in (filler, *fills.fills("box", "biharmonic"))
    )
    place = "behind the box" if ours > box_ else "between" if ours > smooth else "ahead of biharmonic"
    return place, f"{place} (NMSE {ours:.4f}; box {box_:.4f}, biharmonic {smooth:.4f})"
