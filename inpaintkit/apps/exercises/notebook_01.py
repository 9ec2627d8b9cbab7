"""Checks of the exercises of notebook 01, and what its cells call: rows of tables, holes, layers by name."""

import functools
import math
from collections.abc import Callable

import torch
from torch import nn

from inpaintkit import data, evaluate, masking, training, viz
from inpaintkit.apps.exercises import check, solved, train_with
from inpaintkit.contracts import Filler, Recipe
from inpaintkit.experiments import records, run
from inpaintkit.experiments.answers import Worth
from inpaintkit.papers import baselines
from inpaintkit.papers.autoencoder import PAPER, Autoencoder, conv_pool, transposed
from inpaintkit.patches import take_patch


def own_holes(cfg, pictures: torch.Tensor) -> torch.Tensor:
    """The hole of the parameters in each picture: (N, 1, H, W), bool, on the pictures' device."""
    return next(iter(PAPER.test_holes(cfg, len(pictures)).values())).to(pictures.device)


def pixel_models(steps: int, seed: int) -> list[Filler]:
    """The authors' two models for single pixels, trained on patches of one photograph (values 0 to 255)."""
    channel = data.photograph("astronaut")[0].double()
    x, y = baselines.neighbours_and_centre(baselines.patches(channel[180:240, 120:210], 3, 3))
    weights = baselines.closed_form(x, y)
    perceptron = baselines.perceptron(seed)
    x, y = baselines.neighbours_and_centre(baselines.patches(channel[100:300, 30:230], 5, 5))
    baselines.train_perceptron(perceptron, x, y, steps=steps)
    return [
        baselines.PixelFiller("3x3 regression", 3, lambda x: baselines.predict_linear(weights, x)),
        baselines.PixelFiller("5x5 perceptron", 5, perceptron),
    ]


def scored(cfg, pictures: torch.Tensor, fillers: list[Filler]) -> list[evaluate.Scored]:
    """The classic fills and ``fillers`` on the parameters' hole; what cannot take it is left out."""
    return run.beside_fills(PAPER, pictures, own_holes(cfg, pictures), fillers)


def show(pictures: torch.Tensor, mask: torch.Tensor, fillers: list[Filler], labels: dict[str, int]) -> None:
    """What ``fillers`` make of some pictures, {label: its number}, beside the truth."""
    truth = pictures[list(labels.values())]
    holes = mask[:1].expand(len(truth), -1, -1, -1)
    filled = {one.label: one(masking.apply(truth, holes, "black"), holes) for one in fillers}
    viz.compare(filled, truth, holes, labels=list(labels))


def examples(images: data.Images, part: str) -> dict[str, int]:
    """Three pictures of a part for `show`, named by their photograph: of the unseen ones a cat, bricks and grass."""
    names, called = images.names[part], {"chelsea": "cat", "brick": "bricks"}
    numbers = [len(names) * share // 63 for share in (10, 36, 45)]
    labels = [names[i].split("@")[0] for i in numbers] if part == "unseen" else ["face 1", "face 2", "face 3"]
    return {called.get(label, label): i for label, i in zip(labels, numbers, strict=True)}


def relative(measure: Callable, filled: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor, side: int) -> float:
    """A student's measure of the drawn squares, divided by that of the true ones: means over the pictures."""
    drawn, true = (measure(take_patch(x, mask, side)).mean().item() for x in (filled, truth))
    return drawn / true


def together(effects: dict[str, Worth]) -> str:
    """Whether the last effect, of all changes together, is less or more than the sum of the others with every seed."""
    *alone, both = (effect.seeds for effect in effects.values())
    gaps = [of_both - sum(parts) for of_both, *parts in zip(both, *alone, strict=True)]
    if not gaps:
        return "not run"
    return "more" if min(gaps) > 0 else "less" if max(gaps) < 0 else "as much"


def diagram_layers(net: Autoencoder) -> dict[str, nn.Module]:
    """The layers of the diagram by name: a convolution with its pooling, the fully connected ones, the code as a
    picture of 8x8, the transposed ones."""
    layers = {f"conv {i}": block for i, block in enumerate(net.encoder[0][:3], 1)}
    layers |= {"fc 1": nn.Sequential(nn.Flatten(), *net.encoder[1:3]), "fc 2": net.encoder[3:5]}
    layers |= {"reshape": nn.Unflatten(1, (net.channels, 8, 8))}
    return layers | {f"t-conv {i}": layer for i, layer in enumerate(net.decoder[:-1:2], 1)}


def show_epochs(history: training.History, faces: tuple[int, ...] = (1, 2)) -> None:
    """What was drawn during a training, a row for each face: five epochs at most."""
    drawn = list(zip(history.preview_epochs, history.previews, strict=True))
    some = {f"epoch {n}": pictures / 255 for n, pictures in drawn[:: max(1, len(drawn) // 4)]}
    viz.grid({f"face {i + 1}": torch.stack([one[i] for one in some.values()]) for i in faces}, list(some))


def ratio(rows: list[evaluate.Scored]) -> float:
    """The mean hole MSE of the network of the notebook, divided by that of the harmonic fill."""
    mean = {row.filler: row.mean("hole_mse") for row in rows}
    return mean[PAPER.network] / mean["harmonic"]


def means(scored: dict[str, list[evaluate.Scored]], chosen: tuple[str, ...]) -> list[dict]:
    """{part: rows of `scored`} -> mean hole MSEs as a table: the ``chosen`` as rows, the parts as columns."""
    first = next(iter(scored.values()))
    of_part = {part: {row.filler: row.mean("hole_mse") for row in rows} for part, rows in scored.items()}
    return [
        {"filler": row.label} | {f"{part}: hole MSE": mean[row.filler] for part, mean in of_part.items()}
        for row in first if row.filler in chosen and all(row.filler in mean for mean in of_part.values())
    ]  # fmt: skip


@torch.no_grad()
def narrow_channels(net: Autoencoder, masked: torch.Tensor) -> torch.Tensor:
    """The channels after the ReLU before the last layer of a network with three of them: (B, 3, 64, 64); 1 is the
    largest value of all."""
    code = net.encoder(masked).view(-1, net.channels, 8, 8)
    channels = net.decoder[:-2](code)
    zoom = 64 // channels.shape[-1]
    return (channels / channels.max()).repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)


def sizes(guess: dict, number: int = 1) -> str:
    """Predict, for pictures of 128x128: how many numbers does the third pooling give, and how many weights has fc 1?"""

    def judge(answer):
        pooled, weights = answer["third pooling"], answer["fc 1"]
        if pooled == 32 * 8 * 8:
            return "2048 is for 64x64 pixels, as in the figure: begin with 128."
        if pooled == 32 * 128 * 128:
            return "each pooling halves height and width: 128, 64, 32, 16."
        if pooled == 16 * 16:
            return "there are 16x16 places, and at each of them 32 channels."
        if pooled != 32 * 16 * 16:
            return f"32 channels of 16x16 are left, and you say {pooled}."
        if weights == pooled * 1024:
            return "each of the 1024 outputs has a bias, too."
        if weights != (pooled + 1) * 1024:
            return f"every input has a weight for each of the 1024 outputs, and there are biases; you say {weights}."
        return None

    return check(number, lambda: guess, (), judge)


def stamped(values: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """The transposed convolution of stride 2 that doubles the side: (H, W) and a 3x3 kernel -> (2H, 2W)."""
    return nn.functional.conv_transpose2d(
        values[None, None], kernel[None, None], stride=2, padding=1, output_padding=1
    )[0, 0]


def stamp(function: Callable, number: int = 2) -> str:
    """Write: a transposed convolution with stride 2, one stamp for each value."""
    generator = torch.Generator().manual_seed(0)
    values, kernel = torch.rand(3, 5, generator=generator), torch.rand(3, 3, generator=generator)
    wanted = stamped(values, kernel)

    def judge(answer):
        shape = tuple(getattr(answer, "shape", ()))
        if not torch.is_tensor(answer) or answer.shape != wanted.shape:
            if shape == (7, 11):
                return "the canvas is right, (7, 11): cut off its first row and its first column."
            return f"(3, 5) becomes (6, 10), and yours is {shape}."
        if torch.allclose(answer, wanted, atol=1e-5):
            return None
        if torch.allclose(answer, stamped(values, kernel.flip(0, 1)), atol=1e-5):
            return "the kernel is turned around: add it as it is."
        last = torch.zeros(7, 11)
        for i in range(3):
            for j in range(5):
                last[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] = values[i, j] * kernel
        if torch.allclose(answer, last[1:, 1:], atol=1e-5):
            return "a new stamp replaces the old ones: where stamps overlap they are added (+=)."
        if torch.allclose(answer[0, 0], last[0, 0], atol=1e-5):
            return "the last row and column were cut off: cut off the first ones."
        return f"the largest error is {(answer - wanted).abs().max():.3f}: stamp (i, j) begins at row 2i, column 2j."

    return check(number, function, (values, kernel), judge)


def overlaps(guess: dict, number: int = 3) -> str:
    """Predict: how many stamps does a pixel get, if neighbouring stamps lie two pixels apart?"""

    def judge(answer):
        counts = stamped(torch.ones(4, 4), torch.ones(3, 3))
        for (row, column), said in answer.items():
            if said != counts[row, column]:
                return (
                    f"pixel ({row}, {column}) does not get {said}: the stamps cover rows -1 to 1, 1 to 3, 3 to 5, and "
                    "so on, and the same columns. Which of them hold this pixel?"
                )
        return None

    return check(number, lambda: guess, (), judge)


def _leaves(net: nn.Module) -> list[nn.Module]:
    """The layers that have weights, in the order in which they were put together."""
    return [layer for layer in net.modules() if list(layer.parameters(recurse=False))]


def _share(net: nn.Module, other: nn.Module) -> bool:
    """Gives ``net`` the weights of ``other``, layer by layer: the same tensors. False where shapes differ."""
    pairs = list(zip(_leaves(net), _leaves(other), strict=False))
    same = len(_leaves(net)) == len(_leaves(other)) and all(
        type(a) is type(b) and a.weight.shape == b.weight.shape for a, b in pairs
    )
    for mine, theirs in pairs if same else ():
        mine.weight, mine.bias = theirs.weight, theirs.bias
    return same


def assemble(function: Callable, number: int = 4) -> str:
    """Write: the encoder-decoder of the diagram, put together from its parts."""

    def run():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return function(conv_pool, transposed), torch.rand(2, 3, 64, 64)

    def judge(answer):
        layers, pictures = answer
        if not isinstance(layers, list | nn.Sequential):
            return f"return a list of layers, not {type(layers).__name__}."
        net, x = nn.Sequential(*layers), pictures
        for i, layer in enumerate(net):
            try:
                x = layer(x)
            except RuntimeError:
                return f"layer {i}, {layer}, cannot take {'x'.join(map(str, x.shape[1:]))}: what comes before it?"
        if tuple(x.shape[1:]) != (3, 32, 32):
            return f"the chain ends with {'x'.join(map(str, x.shape[1:]))}, and the square has 3x32x32."
        if x.min() < 0 or x.max() > 1:
            return "the values leave the range from 0 to 1: a sigmoid is the last layer."
        right = Autoencoder(64, 32, conv_layers=3, dense=1024, narrow=64, out_act="sigmoid")
        count, wanted = (sum(p.numel() for p in one.parameters()) for one in (net, right))
        if count != wanted:
            return f"the shape is right, but it has {count:,} weights, and the diagram {wanted:,}."
        if not _share(net, right):
            return "as many weights, but in other layers: compare each with the diagram."
        with torch.no_grad():
            error = (net(pictures) - right(pictures)).abs().max()
        if error > 1e-5:
            return "with the kit's weights it draws something else: a ReLU follows every fc and t-conv but the last."
        return None

    return check(number, run, (), judge)


def own_network(modules: nn.ModuleDict, function: Callable) -> nn.ModuleDict:
    """The networks, computed by what the student has assembled in exercise 4, with the same weights, if it is right."""
    net, verdict = modules["net"], assemble(function)
    if solved(verdict):
        mine = nn.Sequential(*function(conv_pool, transposed))
        fits = net.size == 64 and isinstance(net.decoder[-1], nn.Sigmoid) and _share(mine, net)
        if fits:
            net.forward = lambda masked: mine(masked)
        print("your network" if fits else "the kit's network: these parameters need it")
    else:
        print("the kit's network: yours is not solved yet")
    return modules


def encoder(network: Callable[[], nn.Module], number: int = 5) -> str:
    """Find the bug: every convolution of the encoder must take part, each with its pooling."""

    def run():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = network()
            return net, net(torch.rand(2, 3, 32, 32))

    def judge(answer):
        net, features = answer
        if torch.is_tensor(features) and features.requires_grad:
            features.sum().backward()
            if any(weight.grad is None for weight in net.parameters()):
                return "the bug is still there."
        if not torch.is_tensor(features) or tuple(features.shape) != (2, 4, 4, 4):
            shape = tuple(getattr(features, "shape", ()))
            return f"three poolings take a 32x32 picture to 4x4 with 4 channels, (2, 4, 4, 4); yours gives {shape}."
        if len(list(net.parameters())) != 6:
            return "three convolutions are wanted, each with weights and biases."
        return None

    return check(number, run, (), judge)


def train_step(function: Callable, number: int = 6) -> str:
    """Write: one training step on the mean squared error of the hole."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(5, 3, 8, 8, generator=generator)
    mask = masking.square(5, 8, 4, "random", generator)
    masked = masking.apply(image, mask)
    target = image[mask.expand_as(image)].view(5, 3, 4, 4)

    def network():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Flatten(), nn.Linear(192, 48), nn.Unflatten(1, (3, 4, 4)))
        return net, torch.optim.SGD(net.parameters(), lr=0.5)

    def right(steps):
        (net, optimiser), losses = network(), []
        for _ in range(steps):
            losses.append(nn.functional.mse_loss(net(masked), target))
            optimiser.zero_grad()
            losses[-1].backward()
            optimiser.step()
        return net[1].weight.detach(), [loss.item() for loss in losses]

    def answers():
        net, optimiser = network()
        losses = []
        for _ in range(2):
            losses.append(function(net, optimiser, masked, image, mask))
            if losses[-1] is None or losses[-1] is ...:
                return losses[-1]
        return losses, net[1].weight.detach()

    def judge(answer):
        (loss, second), weight = answer
        if not torch.is_tensor(loss) or loss.numel() != 1:
            found = tuple(getattr(loss, "shape", ())) or type(loss).__name__
            return f"return the loss, a tensor with one number; yours is {found}."
        before = network()[0]
        wanted_weight, wanted = right(2)
        if not math.isclose(loss.item(), wanted[0], rel_tol=1e-4):
            black = before(masked).square().mean().item()
            if math.isclose(loss.item(), black, rel_tol=1e-4):
                return "the target is black: cut it out of the picture, not out of the masked one."
            if math.isclose(loss.item(), wanted[0] * target.numel(), rel_tol=1e-4):
                return "this is the sum of the squared errors: take their mean."
            return f"the loss of the first step should be {wanted[0]:.4f}, and yours is {loss.item():.4f}."
        if torch.equal(weight, before[1].weight):
            return "the loss is right, and the weights have not changed: gradients (backward), then optimiser.step()."
        if not math.isclose(second.item(), wanted[1], rel_tol=1e-3):
            return f"after one step the loss should be {wanted[1]:.4f}, and yours is {second.item():.4f}."
        if not torch.allclose(weight, wanted_weight, atol=1e-5):
            return "the second step is wrong: gradients add up until they are set to zero (optimiser.zero_grad())."
        return None

    return check(number, answers, (), judge)


def flat_decoder(network: Callable[[], nn.Module], number: int = 7) -> str:
    """Modify: enlarge without a checkerboard, so that a flat input gives a flat square away from its border."""

    def run():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = network()
            if net is None or net is ...:
                return net
            inputs = torch.rand(8, 16, 1, 1).expand(8, 16, 8, 8)
            with torch.no_grad():
                return net, net(inputs)

    def judge(answer):
        net, squares = answer
        if not torch.is_tensor(squares) or tuple(squares.shape) != (8, 3, 16, 16):
            shape = tuple(getattr(squares, "shape", ()))
            return f"(8, 16, 8, 8) becomes (8, 3, 16, 16), and yours is {shape}."
        inner = squares[:, :, 3:-3, 3:-3]
        if (inner.amax((2, 3)) - inner.amin((2, 3))).max() > 1e-4:
            return "still there: a flat input gives a pattern that repeats after two pixels."
        if squares.min() < 0 or squares.max() > 1:
            return "the values leave the range from 0 to 1: keep the sigmoid at the end."
        if sum(isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) for layer in net.modules()) < 2:
            return "two layers with weights are wanted: nn.Upsample only enlarges, a convolution must follow."
        if inner.std(0).max() < 1e-4:
            return "flat, and the same for every input: does the input reach the output?"
        return None

    return check(number, run, (), judge)


def given_layers() -> nn.Module:
    """The decoder of exercise 7, before it is modified."""
    enlarge = nn.ConvTranspose2d(16, 32, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(enlarge, nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1), nn.Sigmoid())


@torch.no_grad()
def flat_squares(network: Callable[[], nn.Module]) -> tuple[torch.Tensor, torch.Tensor]:
    """What the untrained decoder of exercise 7 draws from four flat inputs: (4, 1, 64, 64), with all the contrast that
    there is from black to white, every pixel four times as large; and what this contrast is, (4,)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        grey = network()(torch.rand(4, 16, 1, 1).expand(4, 16, 8, 8)).mean(1, keepdim=True)
    low, high = grey.amin((1, 2, 3), keepdim=True), grey.amax((1, 2, 3), keepdim=True)
    full = ((grey - low) / (high - low).clamp(min=1e-6)).repeat_interleave(4, 2).repeat_interleave(4, 3)
    return full, (high - low).flatten()


def show_squares(networks: dict[str, Callable[[], nn.Module]]) -> None:
    """What some decoders draw from four flat inputs, at full contrast; the numbers say how much that is."""
    drawn = {label: flat_squares(network) for label, network in networks.items()}
    notes = {label: [f"{contrast:.3f}" for contrast in contrasts] for label, (_, contrasts) in drawn.items()}
    viz.grid({label: full for label, (full, _) in drawn.items()}, [f"input {i}" for i in range(1, 5)], notes=notes)


@functools.cache
def _squares() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The true squares of the test faces, those that the shipped network draws, and these with noise."""
    cfg = PAPER.Parameters()
    test = data.open_for(cfg).test[:].float() / 255
    mask, generator = own_holes(cfg, test), torch.Generator().manual_seed(0)
    true, drawn = (
        take_patch(x, mask, cfg.side) for x in (test, run.shipped_filler(PAPER)(masking.apply(test, mask), mask))
    )
    return true, drawn, (drawn + 0.03 * torch.randn(drawn.shape, generator=generator)).clamp(0, 1)


def realness(function: Callable, number: int = 8) -> str:
    """Modify: a number for each square that is higher for true squares than for drawn ones, with noise or without."""

    def judge(answer):
        true, *others = answer
        if not all(torch.is_tensor(one) and one.shape == (len(_squares()[0]),) for one in answer):
            return f"one number for each square is wanted, a tensor ({len(_squares()[0])},)."
        drawn, noisy = ((true > one).float().mean().item() for one in others)
        if min(drawn, noisy) < 0.9:
            what = "softness" if drawn < 0.9 else "effect of noise"
            won = f"true squares win against {drawn:.0%}, with noise {noisy:.0%}"
            return f"the {what} is still there: {won}; 90% is wanted."
        return None

    return check(number, lambda: [function(squares.clone()) for squares in _squares()], (), judge)


def candidates(drawn: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the network has drawn, and the same with a little noise in the hole: {label: pictures}."""
    noisy = (drawn + 0.03 * torch.randn_like(drawn)).clamp(0, 1)
    return {"network": drawn, "network + noise": torch.where(mask, noisy, drawn)}


def own_step(recipe: Recipe, step: Callable) -> Recipe:
    """The recipe, trained with the student's step of exercise 6, which knows a network that draws one square."""

    def call(image, masked, mask, generator):
        return {"hole MSE": step(recipe.net, recipe.optimisers["adam"], masked, image, mask)}

    return train_with(recipe, train_step(step), call, recipe.cfg.decoder == "patch")


def dead_channels(recorded: records.Records) -> str:
    """How many recorded runs with a ReLU on three channels lost one, and how many live in the worst of them."""
    scores, network = recorded.scores, recorded.paper.network
    alive = scores[scores["score"] == "channels alive, fewest of 3"].set_index("run")["mean"]
    errors = scores[(scores["score"] == "hole_mse") & (scores["part"] == "test") & (scores["filler"] == network)]
    worst = errors.set_index("run")["mean"][alive.index].idxmax()
    return (
        f"recorded: {(alive < 3).sum()} of {len(alive)} trainings with a ReLU on three channels lost a channel; "
        f"the one with the highest error has {alive[worst]:.0f} of 3 alive"
    )
