"""Checks of the exercises of notebook 03, and what its cells call: the toy game, figures, rows of tables."""

import copy
import math
from collections.abc import Callable
from statistics import fmean

import torch
from torch import nn

from inpaintkit import data, evaluate, fills, masking, metrics, runtime, viz
from inpaintkit.apps.exercises import check, guessed, solved, train_with
from inpaintkit.contracts import Filler, Question, Recipe
from inpaintkit.experiments import answers, run
from inpaintkit.experiments.records import Records
from inpaintkit.papers import context_encoder
from inpaintkit.patches import take_patch


def _loss_of_d(scores_true, scores_generated):
    return ((scores_true - 1) ** 2).mean() / 2 + (scores_generated**2).mean() / 2


def _loss_of_g(scores_generated):
    return ((scores_generated - 1) ** 2).mean()


def _both_losses(scores_true, scores_generated):
    return _loss_of_d(scores_true, scores_generated), _loss_of_g(scores_generated)


def _block(channels_in, channels_out, stride):
    conv = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1)
    return nn.Sequential(conv, nn.InstanceNorm2d(channels_out), nn.LeakyReLU(0.2))


def _steps(squares):
    return sum(squares.diff(dim=d).abs().mean() for d in (2, 3))


def least_squares(losses: tuple[Callable, Callable], number: int = 1) -> str:
    """Write: the losses of discriminator and generator, from the scores of true and of generated squares."""
    generator = torch.Generator().manual_seed(0)
    true, generated = torch.rand(4, 1, 3, 3, generator=generator), torch.rand(2, 1, 3, 3, generator=generator)
    wanted = _both_losses(true, generated)

    def judge(answer):
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

    return check(number, lambda: (losses[0](true, generated), losses[1](generated)), (), judge)


def d_block(function: Callable, number: int = 2) -> str:
    """Write: a block of the discriminator, from its channels and its stride."""
    wanted = ["Conv2d", "InstanceNorm2d", "LeakyReLU"]

    def judge(blocks):
        for block, stride in zip(blocks, (2, 1), strict=True):
            if not isinstance(block, nn.Module):
                return f"return nn.Sequential(...); yours is a {type(block).__name__}."
            layers = [one for one in block.modules() if not list(one.children())]
            kinds = [type(one).__name__ for one in layers]
            if kinds != wanted:
                return f"wanted are {', '.join(wanted)}, in this order, and yours are {', '.join(kinds)}."
            side, made = 8 // stride, tuple(block(torch.zeros(2, 4, 8, 8)).shape)
            if layers[0].kernel_size != (3, 3) or made != (2, 6, side, side):
                return (
                    f"with 4 channels in, 6 out and stride {stride}, 8x8 pixels must become 6x{side}x{side}, by a "
                    f"kernel of 3x3; yours become {'x'.join(map(str, made[1:]))}, by {layers[0].kernel_size[0]}."
                )
            if layers[2].negative_slope != 0.2:
                return f"LeakyReLU keeps {layers[2].negative_slope:g} of a negative value, and wanted is 0.2."
            if sum(p.numel() for p in block.parameters()) != sum(p.numel() for p in _block(4, 6, 1).parameters()):
                return "the number of weights is another: leave the other settings of the layers as they are."
        return None

    return check(number, lambda: [function(4, 6, stride) for stride in (2, 1)], (), judge)


def loss_levels(guess: dict, number: int = 3) -> str:
    """Predict: the two losses of a discriminator that cannot tell, and of one that knows all."""
    wanted = {
        "cannot tell: D": (0.25, "half of (0.5 - 1)^2, plus half of 0.5^2"),
        "cannot tell: fooling D": (0.25, "the scores of generated squares are 0.5, and the generator wants 1"),
        "knows all: D": (0, "every score is where this discriminator wants it"),
        "knows all: fooling D": (1, "the scores of generated squares are 0, and the generator wants 1"),
    }

    def judge(answer):
        if answer.keys() != wanted.keys():
            return f"four answers are wanted: {', '.join(wanted)}."
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
            return "not answered yet: the generator is trained with L1 alone, and nobody asks the discriminator."
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
            return "still there: no pixel has become white."
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
        if not isinstance(layer, nn.BatchNorm2d) or not layer.affine:
            return f"it must stay an nn.BatchNorm2d with learned scale and shift; yours is {layer}."
        with torch.no_grad():
            large, small = layer.train()(values).std((0, 2, 3)).tolist()
        if abs(large - 1) > 0.1:
            return f"channels of deviation 3 and 0.1 come out with {large:.2f} and {small:.2f}; wanted is 1."
        if abs(small - 1) > 0.02:
            return f"still there: deviations of 3 and 0.1 come out as {large:.2f} and {small:.2f}, wanted is 1."
        return None

    return check(number, lambda: function(2), (), judge)


# --- answers in use ---------------------------------------------------------------------------------------------------

KITS = {
    least_squares: (_loss_of_d, _loss_of_g),
    d_block: _block,
    detail_of: lambda p, t: float(_steps(p) / _steps(t)),
}


def yours(judge: Callable[..., str], answer):
    """The student's function or functions if their check finds them correct, and else the kit's."""
    if solved(judge(answer)):
        print("with your answer")
        return answer
    print("with the kit's answer: yours is not solved yet")
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


# --- the toy of section 2 ---------------------------------------------------------------------------------------------


def toy_batch(device: torch.device | str = "cpu", n: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """True numbers (n, 1) near -1.5 or 1.5, and noise (n, 1) for the generator."""
    normal = torch.randn(3, n, 1, device=device)
    return 1.5 * normal[0].sign() + 0.3 * normal[1], normal[2]


def descend(adam: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One step of an optimiser: forgets old gradients, computes those of the loss, moves its network's weights."""
    adam.zero_grad()
    loss.backward()
    adam.step()


def toy_game(turn: Callable, device: torch.device | str = "cpu") -> Callable:
    """The game of two tiny networks: ``game(head_start, seed, turns)`` returns a trained generator and discriminator.

    ``turn(g, d, adam_g, adam_d, g_learns)`` is one turn; in the first ``head_start`` turns G does not learn.
    """

    def three_layers():
        hidden = nn.Sequential(nn.Linear(1, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2))
        return nn.Sequential(hidden, nn.Linear(32, 1)).to(device)

    def game(head_start: int, seed: int, turns: int = 600):
        runtime.seed_everything(seed)
        g, d = three_layers(), three_layers()
        adam_g, adam_d = (torch.optim.Adam(net.parameters(), lr=0.004, betas=(0.5, 0.999)) for net in (g, d))
        for i in range(-head_start, turns):
            turn(g, d, adam_g, adam_d, i >= 0)
        return g, d

    return game


@torch.no_grad()
def below_zero(g: nn.Module) -> str:
    """The share of 4,000 generated numbers that are below 0, in per cent."""
    made = g(torch.randn(4000, 1, device=next(g.parameters()).device))
    return f"{100 * (made < 0).float().mean():.0f} %"


def three_games(game: Callable, head_start: int) -> tuple[int, list[dict]]:
    """In how many of three games with a head start G finds both groups: a fifth of its numbers at least on each side of
    0. And a row for the games without and with it: the share below 0, for each seed.
    """
    rows = []
    for steps in (0, head_start):
        shares = {f"seed {seed}": below_zero(game(steps, seed)[0]) for seed in (0, 1, 2)}
        rows.append({"steps of D alone": steps} | shares)
    found = [20 <= int(str(share).removesuffix(" %")) <= 80 for share in list(rows[-1].values())[1:]]
    return sum(found), rows


# --- figures and tables -----------------------------------------------------------------------------------------------


def shapes(cfg) -> tuple[dict, dict]:
    """What the layers of generator and discriminator make of one picture: two dicts for `viz.diagram`."""
    with torch.device("meta"):  # shapes only: no memory, no computation
        built = context_encoder.PAPER.build(cfg)
        x, square = torch.zeros(1, 3, cfg.size, cfg.size), torch.zeros(1, 3, cfg.size // 2, cfg.size // 2)
    g, d, ups = built["generator"], built["discriminator"].layers, len(built["generator"].decoder) - 2
    layers = {_named(f"down {i}", step): step for i, step in enumerate(g.encoder, 1)}
    layers |= {_named("bottleneck", g.bottleneck): g.bottleneck}
    layers |= {_named(f"up {i}", step): step for i, step in enumerate(g.decoder[:ups], 1)}
    layers |= {_named("to RGB", g.decoder[ups:]): g.decoder[ups:]}
    judged = {"conv 1": d[:2], "conv 2": d[2:5], "conv 3": d[5:8], "conv 4": d[8:11], "scores": d[11:]}
    judged = {_named(label, layer): layer for label, layer in judged.items()}
    return viz.trace(layers, torch.cat([x, x[:, :1]], 1) if cfg.mask_channel else x), viz.trace(judged, square)


def _named(label: str, layer: nn.Module) -> str:
    """The label of a layer, with its kernel and its stride."""
    conv = next(one for one in layer.modules() if isinstance(one, nn.Conv2d | nn.ConvTranspose2d))
    return f"{label}\nkernel {conv.kernel_size[0]}\nstride {conv.stride[0]}"


def same_networks(
    generator_layers: Callable, discriminator_layers: Callable, cfg, block: Callable | None = None
) -> str:
    """How many weights the notebook's networks have, and whether they compute what the kit's do: a line for each.

    The kit's are those of the patch head, without a mask. ``block``: what the discriminator is made of.
    """
    shape, lines = context_encoder.NETWORKS[cfg.network], []
    width, bottleneck, width_d = (shape[name] for name in ("width", "bottleneck", "width_d"))
    x = torch.rand(2, 3, cfg.size, cfg.size, generator=torch.Generator().manual_seed(0))
    with torch.device("meta"):
        theirs = context_encoder.Generator(), context_encoder.Discriminator()
    kit_g = context_encoder.Generator(cfg.size, width=width, bottleneck=bottleneck)
    kits = kit_g, context_encoder.Discriminator(width_d)
    owns = generator_layers(width, bottleneck), discriminator_layers(width_d)
    for name, kit, own, author in zip(("generator", "discriminator"), kits, owns, theirs, strict=True):
        own.load_state_dict(dict(zip(own.state_dict(), kit.state_dict().values(), strict=True)))
        with torch.no_grad():
            y = kit(x)
            same = torch.allclose(own(2 * x - 1), 2 * y - 1 if name == "generator" else y, atol=1e-4)
        ours, many = (sum(p.numel() for p in net.parameters()) for net in (own, author))
        name += " (with the kit's block)" if name == "discriminator" and block is _block else ""
        lines.append(f"{name}: {ours:,} weights ({many:,} in the tutorial); gives the same output as the kit's: {same}")
    return "\n".join(lines)


def film(history, masked: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """The last faces of a training's previews, one above the other, as frames for `viz.animation`."""
    frames = {}
    for epoch, drawn in zip(history.preview_epochs, history.previews, strict=True):
        columns = [masked.cpu(), drawn[-len(masked) :].float() / 255, truth.cpu()]
        frames[f"epoch {epoch}: masked, restored, true"] = torch.stack([torch.cat(list(x), 1) for x in columns])
    return frames


def game_curves(history, per_epoch: int) -> dict[str, tuple]:
    """The losses of the game in a training, as curves over epochs: {"fooling D" and "D": (epochs, losses)}."""
    epochs = [step / per_epoch for step in history.steps]
    return {name: (epochs[-len(loss) :], loss) for name, loss in history.losses.items() if name != "L1"}


def tendency(curve: tuple | None) -> str:
    """Whether a curve (x, y) ends higher than it begins."""
    return "not trained" if curve is None or len(curve[1]) < 2 else "rises" if curve[1][-1] > curve[1][0] else "falls"


def hard_cases(test: torch.Tensor, unseen: torch.Tensor | None, hole: torch.Tensor) -> dict[str, tuple]:
    """What the network was not trained for: {case: (pictures (B, 3, H, W), a hole (1, 1, H, W))}."""
    cases = {} if unseen is None else {"unseen photograph": (unseen.to(test.device).float() / 255, hole)}
    cases["face in grey"] = test.mean(1, keepdim=True).expand(test.shape), hole
    cases["face upside down"] = test.flip(2), hole.flip(2)
    cases["hole moved left"] = test, hole.roll(-test.shape[-1] // 16, 3)
    return cases


def better(errors: dict[str, dict[str, float]], one: str, other: str) -> str:
    """The changed faces for which ``one`` has a lower mean error than the ``other``."""
    found = [name for name, means in errors.items() if name.startswith(("face", "hole")) and means[one] < means[other]]
    return ", ".join(found) or "none"


def fill_cases(cases: dict[str, tuple], fillers: list[Filler], fill: str) -> tuple[dict, dict]:
    """Fills every case: {case: {filler: the mean hole MSE}}; and, for one picture each, arguments of `viz.compare`."""
    means, columns, truth, holes = {}, {}, [], []
    for case, (pictures, hole) in cases.items():
        mask, one = hole.expand(len(pictures), -1, -1, -1), len(pictures) // 4
        masked = masking.apply(pictures, mask, fill, runtime.generator(0, pictures.device))
        drawn = {filler.label: filler(masked, mask) for filler in fillers}
        means[case] = {label: metrics.mse(y, pictures, mask).mean().item() for label, y in drawn.items()}
        for label, y in ({"masked": masked} | drawn).items():
            columns.setdefault(label, []).append(y[one])
        truth.append(pictures[one])
        holes.append(mask[one])
    filled = {label: torch.stack(column) for label, column in columns.items()}
    return means, {"filled": filled, "truth": torch.stack(truth), "mask": torch.stack(holes), "labels": list(cases)}


ROWS = {"A": 0.001, "B": 0.05, "C": 0.0}  # of results/03_weights.png: factors of "fooling D"


def row_of(weight: float) -> str:
    """The row of results/03_weights.png whose network was trained with this factor of "fooling D"."""
    return next(row for row, one in ROWS.items() if one == weight)


def by_weight(recorded: Records) -> list[dict]:
    """Detail and hole MSE of recorded demos whose "fooling D" has other factors: means over seeds."""
    paper, found = recorded.paper, []
    for row, weight in sorted(ROWS.items(), key=lambda one: one[1]):
        runs = recorded.seeds(paper.Parameters.resolve({"weight_adv": weight})).values()
        line = {"row": row, "factor of fooling D": f"{weight:g}"}
        for score, label, digits in (("detail", "detail", 2), ("hole_mse", "hole MSE", 4)):
            values = [recorded.score(run, "test", "centre", paper.network, score) for run in runs]
            line[label] = f"{fmean(values):.{digits}f}" if values else "not run"
        found.append(line)
    return found


def over_seeds(recorded: Records) -> list[dict]:
    """What the recorded demos of all seeds say on the questions of section 6: difference and verdict."""
    (demo,) = answers.variants(recorded, Question("seeds", "", {"demo": {}}))
    found = {}
    for part, pictures in {"test": "faces", "unseen": "unseen photographs"}.items():
        asked = recorded, demo, demo, part, ("", "harmonic")
        name = f"{pictures}: the network, minus {fills.label('harmonic')}"
        found[name] = answers.compare(*asked), answers.direction(*asked)
    for name, weight in {"without D, minus with D": 0.0, "factor 0.05, minus 0.001": 0.05}.items():
        worth = answers.worth(recorded, {"weight_adv": weight})
        found[f"faces: {name}"] = worth.difference, worth.verdict
    return [{"compared": n, "difference of hole MSE": _difference(d), "verdict": v} for n, (d, v) in found.items()]


def _difference(one) -> str:
    if one is None:
        return "–"
    digits = 4 if abs(one.mean) >= 0.00005 else 5
    return f"{one.mean:+.{digits}f} [{one.low:+.{digits}f}, {one.high:+.{digits}f}]"


def large_network(recorded: Records) -> str:
    """The tutorial's network on cats beside the harmonic fill: a line for each variant that was run."""
    words = {"fixed": "with discriminator", "fixed, no discriminator": "without discriminator"}
    words |= {"as_run": "the tutorial's code, unchanged"}
    lines = answers.beside_fill(recorded, "scale", "harmonic", words).splitlines()
    return "\n".join(["the large network, on cats:", *(line for line in lines if not line.endswith(answers.NOT_RUN))])


# What section 7 changes in the demo, and how it is called there.
DIFFERENCES = {
    "all of the tutorial's code": {"reading": "as_run"},
    "all of the tutorial's text": {"reading": "as_written"},
    "random places": {"mask_train": "random"},
    "bug of exercise 7": {"bn_eps": 0.8},
    "constant learning rate": {"anneal": False},
    "cross entropy": {"adversarial": "cross entropy"},
    "D learns first": {"first": "discriminator"},
}


def differences(recorded: Records) -> dict[str, answers.Worth]:
    """What each of `DIFFERENCES` is worth in recorded demos."""
    return {name: answers.worth(recorded, changed) for name, changed in DIFFERENCES.items()}


def single(effects: dict[str, answers.Worth]) -> dict[str, answers.Worth]:
    """Those that change one thing."""
    return {name: effect for name, effect in effects.items() if not name.startswith("all of")}


# --- the seam ---------------------------------------------------------------------------------------------------------


def seam(pictures: torch.Tensor, mask: torch.Tensor) -> float:
    """The mean absolute step from a known pixel to its neighbour in the hole."""
    total = count = 0.0
    for d in (2, 3):
        n = mask.shape[d] - 1
        border = mask.narrow(d, 0, n) != mask.narrow(d, 1, n)
        total += (pictures.diff(dim=d).abs() * border).sum().item()
        count += pictures.shape[1] * border.sum().item()
    return total / count


def seams(function: Callable, filler: Filler, images: data.Images, mask: torch.Tensor, fill: str) -> tuple[str, list]:
    """Is the seam at most the truth's, and the hole MSE at most the network's, on test faces? And both numbers, for
    training faces and test faces.
    """
    harmonic, means = fills.Harmonic(), {}
    for part, pixels in {"training": images.train, "test": images.test}.items():
        truth = pixels[: len(mask)].to(mask.device).float() / 255
        holes = mask[: len(truth)]
        masked = masking.apply(truth, holes, fill, runtime.generator(0, mask.device))
        drawn = masking.composite(truth, filler(masked, holes), holes)
        try:
            yours = masking.composite(truth, function(masked.clone(), drawn.clone(), holes), holes)
        except Exception as error:  # whatever a student's code raises is what they want to read
            return f"exercise 8: stopped with {type(error).__name__}: {error}", []
        filled = {"truth": truth, harmonic.label: harmonic(masked, holes), filler.label: drawn, "yours": yours}
        for name, x in filled.items():
            error = metrics.mse(masking.composite(truth, x, holes), truth, holes).mean().item()
            means.setdefault(name, {}).update({f"{part}: seam": seam(x, holes), f"{part}: hole MSE": error})
    yours, reached = means["yours"], []
    reached.append(yours["test: seam"] <= means["truth"]["test: seam"])
    reached.append(yours["test: hole MSE"] <= means[filler.label]["test: hole MSE"])
    said = [f"{what}: {'reached' if r else 'not yet'}" for what, r in zip(("seam", "hole MSE"), reached, strict=True)]
    rows = [{"fill": name} | numbers for name, numbers in means.items()]
    return f"exercise 8, on test faces: {', '.join(said)}", rows


# --- the errors of section 6 ------------------------------------------------------------------------------------------


def mean_errors(cfg, images, networks: list[Filler], device: torch.device | str) -> dict[str, dict[str, float]]:
    """The mean hole MSE of classic fills and networks: {part of the data: {fill: mean}}; networks alone on training
    pictures."""
    paper, means = context_encoder.PAPER, {}
    for part, pictures in run.open_parts(paper, images, device, ("test", "unseen", "train")):
        holes = next(iter(paper.test_holes(cfg, len(pictures)).values())).to(device)
        if part == "train":
            scored = [x for x in evaluate.score(networks, pictures, holes, ("hole_mse",), cfg.fill) if not x.note]
        else:
            scored = run.beside_fills(paper, pictures, holes, networks, ("hole_mse",), cfg.fill)
        means[part] = {one.label: one.scores["hole_mse"].mean().item() for one in scored}
    return means


def guesses(guess: dict, means: dict[str, dict[str, float]], label: str) -> str:
    """What became of the guesses {part of the data: mean hole MSE of the network}: a line for each."""
    return "\n".join(f"{part}: {guessed(one, means[part][label])}" for part, one in guess.items() if part in means)


def rows_of(means: dict[str, dict[str, float]], networks: list[Filler]) -> list[dict]:
    """`mean_errors` of some fills and of the networks, as rows of a table."""
    shown = ["do nothing", *(fills.label(id) for id in ("mean", "telea", "harmonic")), *(one.label for one in networks)]
    return [
        {"fill": name} | {f"{part}: hole MSE": of.get(name) for part, of in means.items()}
        for name in shown
        if name in means["test"]
    ]
