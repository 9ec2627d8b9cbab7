"""The exercises of the notebooks: the given code fails, the solution passes, typical slips get a hint."""

import importlib
import inspect
import math
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
import torch

from inpaintkit import evaluate, fills, masking, metrics
from inpaintkit.apps.exercises import (
    costliest,
    guessed,
    notebook_00,
    notebook_01,
    notebook_02,
    notebook_03,
    notebook_04,
)
from inpaintkit.experiments import records
from inpaintkit.experiments.answers import Worth
from inpaintkit.experiments.records import Interval
from inpaintkit.papers import autoencoder, context_encoder, ssrgan, vae

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def exercises_of(path):
    """{check: (module of the checks, the student's name for the answer, source)} of one notebook."""
    found = {}
    for cell in nbformat.read(path, as_version=4).cells:
        call = re.search(r"^print\(exercises\.(\w+)\((\w+)\)\)$", cell.source, flags=re.MULTILINE)
        if call and cell.cell_type == "code":
            found[call.group(1)] = (call.group(2), cell.source.replace(call.group(0), ""), cell)
    return found


def module_of(path):
    source = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    return importlib.import_module(
        "inpaintkit.apps.exercises." + re.search(r"from inpaintkit.apps.exercises import (\w+) as", source).group(1)
    )


ALL = [(path, check) for path in sorted(NOTEBOOKS.glob("*.ipynb")) for check in exercises_of(path)]


@pytest.mark.parametrize(("path", "check"), ALL, ids=[f"{path.stem[:2]}-{check}" for path, check in ALL])
def test_given_code_fails_and_the_solution_passes(path, check):
    judge, namespace = getattr(module_of(path), check), {"torch": torch, "nn": torch.nn}
    name, given, _ = exercises_of(path)[check]
    solved = path.parent / "solutions" / path.name
    assert module_of(solved) is module_of(path)
    cell = exercises_of(solved)[check][2]
    exec(given, namespace)
    assert re.search("not answered yet|still there", judge(namespace[name]))
    for earlier, source, _ in exercises_of(solved).values():  # a solution may call those before it
        exec(source, namespace)
        if earlier == name:
            break
    verdict = judge(namespace[name])
    assert re.fullmatch(r"exercise \d: correct", verdict)
    assert cell.outputs[0].text.strip() == verdict, "what the solved notebook shows"


@pytest.mark.parametrize(
    ("name", "check", "paper", "others"),
    [
        ("01_autoencoder", "train_step", autoencoder.PAPER, [{"decoder": "full"}]),
        ("02_vae", "vae_step", vae.PAPER, [{"pairs": "shuffled"}, {"la_bug": True}, {"beta": 0.0}]),
    ],
)
def test_a_correct_step_trains_the_network_and_others_leave_it_to_the_kit(name, check, paper, others, capsys):
    cfg, steps, module = paper.Parameters.resolve({"profile": "smoke"}), [], module_of(NOTEBOOKS / f"{name}.ipynb")
    for path in (NOTEBOOKS / f"{name}.ipynb", NOTEBOOKS / "solutions" / f"{name}.ipynb"):
        namespace = {"torch": torch, "nn": torch.nn}
        for function, source, _ in exercises_of(path).values():  # one may call another
            exec(source, namespace)
            if function == exercises_of(path)[check][0]:
                steps.append(namespace[function])
    recipe = paper.recipe(paper.build(cfg), cfg, 1)
    image = torch.rand(
        2, 1 if paper is vae.PAPER else 3, cfg.size, cfg.size, generator=torch.Generator().manual_seed(0)
    )
    masked, mask = recipe.corrupt(image, torch.Generator().manual_seed(0))
    weights = [p.detach().clone() for p in recipe.net.parameters()]
    for step, said in zip(steps, ("yours is not solved yet", "with your step"), strict=True):
        module.own_step(recipe, step).step((image, masked, mask), torch.Generator().manual_seed(0))
        assert said in capsys.readouterr().out
        assert not all(torch.equal(a, b) for a, b in zip(weights, recipe.net.parameters(), strict=True))
        with torch.no_grad():
            for p, old in zip(recipe.net.parameters(), weights, strict=True):
                p.copy_(old)
    for changes in others:  # which the student's step does not know
        other = cfg.changed(**changes)
        recipe = paper.recipe(paper.build(other), other, 1)
        assert module.own_step(recipe, steps[1]).step == recipe.step
        assert "these parameters need it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("step", "changes", "said"),
    [("open", {}, "not solved yet"), ("own", {}, "your step"), ("own", {"smoothing": 0.0}, "parameters need it")],
)
def test_a_correct_step_of_both_networks_trains_as_the_kit_does(step, changes, said, capsys):
    cfg = ssrgan.Parameters.resolve({"profile": "smoke", "fill": "grey"} | changes)
    own = both_with() if step == "own" else lambda *tensors: None
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    weights = []
    for given in (own, None):
        torch.manual_seed(0)
        recipe = ssrgan.PAPER.recipe(ssrgan.PAPER.build(cfg), cfg, 1)
        masked, mask = recipe.corrupt(image, torch.Generator().manual_seed(0))
        recipe = notebook_04.own_step(recipe, given) if given else recipe
        losses = recipe.step((image, masked, mask), torch.Generator().manual_seed(0))
        assert losses.keys() == {"content", "fooling D", "D"}
        weights.append([p.detach().clone() for p in recipe.modules.parameters()])
    assert said in capsys.readouterr().out
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*weights, strict=True))


def steps_of_the_gan():
    """The step of exercise 4 of notebook 03, as given and solved."""
    for path in (NOTEBOOKS / "03_context_encoder_gan.ipynb", NOTEBOOKS / "solutions" / "03_context_encoder_gan.ipynb"):
        namespace = {"torch": torch, "nn": torch.nn}
        name, source, _ = exercises_of(path)["gan_step"]
        exec(source, namespace)
        yield namespace[name]


def test_a_correct_step_trains_both_networks_as_the_kit_does(capsys):
    given, solution = steps_of_the_gan()
    ends = []
    for step in (given, solution):
        torch.manual_seed(0)
        cfg = context_encoder.Parameters.resolve({"profile": "smoke"})
        recipe = notebook_03.own_step(context_encoder.PAPER.recipe(context_encoder.PAPER.build(cfg), cfg, 1), step)
        image = torch.rand(4, 3, 64, 64)
        masked, mask = recipe.corrupt(image, torch.Generator().manual_seed(0))
        for _ in range(2):
            losses = recipe.step((image, masked, mask), torch.Generator().manual_seed(0))
        ends.append([*losses.values(), *(p.detach() for p in recipe.modules.parameters())])
    assert "with your step" in capsys.readouterr().out
    for kits, yours in zip(*ends, strict=True):
        torch.testing.assert_close(yours, kits, rtol=1e-3, atol=1e-3)
    cfg = context_encoder.Parameters.resolve({"profile": "smoke", "weight_adv": 0.0})
    recipe = context_encoder.PAPER.recipe(context_encoder.PAPER.build(cfg), cfg, 1)
    assert notebook_03.own_step(recipe, solution).step == recipe.step
    assert "these parameters need it" in capsys.readouterr().out


def test_correct_fills_of_a_student_answer_as_fills():
    solved = exercises_of(NOTEBOOKS / "solutions" / "00_masks_and_metrics.ipynb")
    namespace = {"torch": torch}
    for check in ("ring_mean", "harmonic"):
        exec(solved[check][1], namespace)
    image, mask = torch.rand(2, 3, 24, 24), masking.square(2, 24, 8, "centre")
    own = notebook_00.your_fills(namespace["ring_mean"], namespace["harmonic"])
    for mine, kits in zip(own, fills.fills("ring", "harmonic"), strict=True):
        masked = masking.apply(image, mask)
        full = masking.composite(image, kits(masked, mask), mask)
        torch.testing.assert_close(mine(masked, mask), full, rtol=0, atol=1e-3)
        assert mine.accepts(tuple(image.shape), mask) is None
    assert "border" in own[1].accepts(tuple(image.shape), ~mask)
    assert notebook_00.your_fills(lambda x, hole: ..., namespace["harmonic"])[0].label.startswith("your harmonic")
    rounds = notebook_00.your_rounds(namespace["harmonic"])
    torch.testing.assert_close(rounds(masked, mask, 50), notebook_00.relax(masked, mask, 50))
    assert notebook_00.your_rounds(lambda x, hole, rounds: ...) is notebook_00.relax


def test_the_figures_of_the_first_notebook_show_what_its_text_says():
    (truth, grey, shifted), hole = notebook_00.striped()[0], notebook_00.striped()[1][0]
    errors = [metrics.mse(x[None], truth[None], hole[None]).item() for x in (grey, shifted)]
    assert notebook_00.stripes(dict(zip(("grey", "shifted"), errors, strict=True))) == "exercise 5: correct"

    pictures, products = notebook_00.changed(torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert all(x.min() >= 0 and x.max() <= 1 for x in pictures.values())
    factors = [product.split(" = ")[0].split(" × ") for product in products]
    lowered = [[i for i, factor in enumerate(row) if factor != "1.00"] for row in factors]
    assert lowered == [[], [0], [1], [2]], "each change lowers one factor"

    hole = masking.square(1, 32, 8, (0.5, 0.25))[0]
    row, series, (left, right) = notebook_00.through({"a": torch.rand(3, 32, 32)}, hole, margin=10)
    hidden = hole[0, row].nonzero().flatten().tolist()
    assert (left, right) == (hidden[0] - 0.5, hidden[-1] + 0.5), "the band ends between two pixels"
    assert [len(values) for values in series["a"]] == [22, 22]  # 4 columns to the left, 8, and 10

    rows, titles = notebook_00.kinds(torch.zeros(3, 40, 40), {"square": 0.5, "strokes": 0.3}, 0)
    assert (rows[""][0, 0] > 0).sum() == 400
    assert titles == ["square, 0.5", "strokes, 0.3"]
    frames = notebook_00.spreading(lambda x, hole, rounds: ..., torch.zeros(1, 3, 8, 8), hole[None, :, :8, :8], (0, 1))
    assert [*frames] == ["round 0 (our function)", "round 1 (our function)"]
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert notebook_00.crossing(image, image, image / 2) == math.inf
    assert notebook_00.crossing(image, image / 2, image) == 3


def test_a_lead_of_a_few_photographs_is_sure_only_as_long_as_crops_are_drawn():
    lead = torch.tensor([4.0] * 8 + [-0.2] * 24).double()
    names = [f"{'abcd'[i // 8]}@{i}" for i in range(32)]
    better, than = (evaluate.Scored("x", "x", {"hole_mse": -x, "hole_psnr": x}) for x in (lead, 0 * lead))
    rows, zero, means = notebook_00.leads(better, than, names)
    assert zero["PSNR"] == zero["MSE"] == "does not"
    assert zero["PSNR, photographs drawn"] == zero["MSE, photographs drawn"] == "contains 0"
    assert [row["better on crops"] for row in rows] == ["8 of 32"] * 2
    assert [row["better on photographs"] for row in rows] == ["1 of 4"] * 2
    assert len(means["crops drawn"]) == len(means["photographs drawn"]) == 500
    assert "hole MSE 0.8500 ± 1.8478, hole PSNR 0.8 ± 1.8 dB" in notebook_00.lead_in_words(better, than)


def test_a_score_of_plausible_fills_is_judged_by_noise_by_the_truth_and_without_it():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.avg_pool2d(image, 5, 1, 2)
    mask = masking.square(1, 32, 8, "centre")
    rows, said = notebook_00.trial(lambda full, truth, hole: metrics.mse(full, truth, hole), image, mask)
    assert [rows[0]["fill"], rows[-1]["fill"]] == ["truth", "noise"]
    assert said == (
        "exercise 9: not yet: patch-based, 7x7 is not before the mean of a 2-pixel ring; it needs the truth (image)"
    )
    rows, said = notebook_00.trial(lambda full, truth, hole: [-full.diff().abs().mean()], image, mask)
    assert rows[0]["fill"] == "noise"
    assert "noise is not last" in said
    assert "needs" not in said
    assert "stopped with NameError" in notebook_00.trial(lambda *all_three: undefined, image, mask)[1]  # noqa: F821


def test_a_code_moves_by_a_share_of_its_length():
    pixels = SimpleNamespace(encode=lambda x: (x.flatten(1), None))  # the code is the picture itself
    moves = notebook_02.code_moves(pixels, torch.full((2, 1, 52, 52), 0.5), 21)
    assert [move.tolist() for move in moves.values()] == [pytest.approx([21 / 52] * 2)] * 3
    assert notebook_02.farthest(moves)[0] == "similar"
    assert notebook_02.farthest(moves | {"mouth": moves["mouth"] + 0.1})[0] == "mouth"


def test_the_worst_narrow_run_is_named_with_its_living_channels():
    rows = [(run, "channels alive, fewest of 3", alive, "", "") for run, alive in (("a", 1), ("b", 3))]
    rows += [(run, "hole_mse", error, "test", "autoencoder") for run, error in (("a", 0.01), ("b", 0.03), ("c", 0.09))]
    scores = pd.DataFrame(rows, columns=["run", "score", "mean", "part", "filler"])
    said = notebook_01.dead_channels(SimpleNamespace(scores=scores, paper=autoencoder.PAPER))
    assert said.startswith("recorded: 1 of 2 trainings")
    assert said.endswith("3 of 3 alive")


def test_a_correct_function_is_used_and_an_open_one_is_not(capsys):
    own = two_losses()
    assert notebook_03.yours(notebook_03.least_squares, own) is own
    used = notebook_03.yours(notebook_03.d_block, lambda channels_in, channels_out, stride: ...)
    assert used(4, 6, 2)(torch.zeros(1, 4, 8, 8)).shape == (1, 6, 4, 4)
    assert capsys.readouterr().out.count("answer") == 2


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_check_is_used_once_and_no_two_exercises_share_a_number(path):
    module = module_of(path)
    checks = {
        name for name, thing in vars(module).items()
        if getattr(thing, "__module__", "") == module.__name__ and "number" in inspect.signature(thing).parameters
    }  # fmt: skip
    assert exercises_of(path).keys() == exercises_of(path.parent / "solutions" / path.name).keys() == checks
    numbers = [inspect.signature(getattr(module, check)).parameters["number"].default for check in checks]
    assert len(set(numbers)) == len(numbers)


def chain(conv_pool, transposed, conv=32, wide=128, between=torch.nn.ReLU):
    """The encoder-decoder of notebook 01, and its slips."""
    nn = torch.nn
    encoder = [conv_pool(3, 64), conv_pool(64, 64), conv_pool(64, conv), nn.Flatten()]
    encoder += [nn.Linear(2048, 1024), between(), nn.Linear(1024, 1024), nn.ReLU(), nn.Unflatten(1, (16, 8, 8))]
    decoder = [transposed(16, 64), nn.ReLU(), transposed(64, 64), nn.ReLU(), transposed(64, wide), nn.ReLU()]
    decoder += [transposed(wide, 64, stride=2), nn.ReLU(), transposed(64, 3, stride=2), nn.Sigmoid()]
    return nn.Sequential(*encoder, *decoder)


def test_an_assembled_network_computes_with_the_weights_of_the_kits(capsys):
    cfg, x = autoencoder.Parameters(), torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    net = autoencoder.PAPER.build(cfg)["net"]
    names, wanted, calls = list(net.state_dict()), net(x), []

    def counted(*parts):
        mine = chain(*parts)
        mine[0].register_forward_hook(lambda *_: calls.append(1))
        return mine

    notebook_01.own_network(torch.nn.ModuleDict({"net": net}), lambda *parts: ...)
    notebook_01.own_network(torch.nn.ModuleDict({"net": net}), counted)
    calls.clear()
    drawn = net(x)
    assert calls
    assert torch.equal(drawn, wanted)
    drawn.sum().backward()
    assert list(net.state_dict()) == names
    assert all(p.grad is not None for p in net.parameters())
    other = autoencoder.PAPER.build(cfg.changed(narrow=3))
    notebook_01.own_network(other, chain)
    assert "forward" not in vars(other["net"])
    said = [line.split(": ")[-1] for line in capsys.readouterr().out.splitlines()]
    assert said == ["yours is not solved yet", "your network", "these parameters need it"]


def test_noise_of_exercise_8_is_in_the_hole_only():
    mask, drawn = masking.square(3, 16, 6, "centre"), torch.full((3, 3, 16, 16), 0.5)
    filled = notebook_01.candidates(drawn, mask)
    assert list(filled) == ["network", "network + noise"]
    noise = filled["network + noise"] - drawn
    assert not noise[~mask.expand_as(noise)].any()
    assert 0.02 < noise[mask.expand_as(noise)].std() < 0.04


def test_a_measure_of_squares_is_relative_to_the_truth():
    mask = masking.square(2, 16, 6, "centre")
    half = notebook_01.relative(lambda x: x.mean((1, 2, 3)), mask * 0.25, torch.full((2, 1, 16, 16), 0.5), mask, 6)
    assert half == pytest.approx(0.5)


def test_flat_squares_show_a_checkerboard_and_none_of_the_solution():
    before, contrasts = notebook_01.flat_squares(notebook_01.given_layers)
    assert contrasts.shape == (4,)
    assert before.shape == (4, 1, 64, 64)
    assert (before.amin(), before.amax()) == (0, 1)
    inner = before[..., ::4, ::4][..., 3:-3, 3:-3]
    assert torch.allclose(inner[..., ::2, ::2].std((2, 3)), torch.zeros(4, 1), atol=1e-5)  # it repeats after 2 pixels
    assert inner.std((2, 3)).min() > 0.1


def test_pictures_of_a_training_are_few_and_end_with_the_last_epoch(monkeypatch):
    previews, shown = [torch.full((3, 3, 2, 2), 255, dtype=torch.uint8)] * 4, []
    monkeypatch.setattr(notebook_01.viz, "grid", lambda *parts: shown.append(parts))
    notebook_01.show_epochs(SimpleNamespace(preview_epochs=[0, 1, 3, 8], previews=previews))
    ((rows, titles),) = shown
    assert titles == ["epoch 0", "epoch 1", "epoch 3", "epoch 8"]
    assert list(rows) == ["face 2", "face 3"]
    assert all(row.shape == (4, 3, 2, 2) and row.max() == 1 for row in rows.values())


def test_means_have_a_column_for_each_part_and_the_ratio_is_that_of_the_means():
    labels = {"harmonic": "harmonic", "autoencoder": "the network", "ring": "ring"}
    parts = {
        part: [
            evaluate.Scored(f, label, {"hole_mse": torch.full((3,), value * k)})
            for k, (f, label) in enumerate(labels.items(), 1)
        ]
        for part, value in {"test": 0.5, "unseen": 2.0}.items()
    }
    rows = notebook_01.means(parts, ("harmonic", "autoencoder"))
    assert rows[0] == {"filler": "harmonic", "test: hole MSE": 0.5, "unseen: hole MSE": 2.0}
    assert [row["filler"] for row in rows] == ["harmonic", "the network"]
    assert notebook_01.ratio(parts["test"]) == 2


def test_two_changes_together_are_judged_by_every_seed():
    def worth(*seeds):
        return Worth("", "", Interval(sum(seeds) / 2, 0.0, 1.0, 9), "higher", seeds)

    one, two = worth(1.0, 2.0), worth(2.0, 1.0)
    for both, said in ((worth(4.0, 5.0), "more"), (worth(1.0, 2.0), "less"), (worth(1.0, 5.0), "as much")):
        assert notebook_01.together({"one": one, "two": two, "both": both}) == said
    assert notebook_01.together(dict.fromkeys("abc", Worth("", "", None, "not run"))) == "not run"


def test_unseen_examples_are_named_by_their_photographs():
    images = SimpleNamespace(names={"unseen": ["chelsea@0,0"] * 20 + ["brick@0,0"] * 20 + ["grass@0,0"] * 23})
    assert notebook_01.examples(images, "unseen") == {"cat": 10, "bricks": 36, "grass": 45}


def test_narrow_channels_are_pictures_and_a_dead_one_is_black():
    net = autoencoder.PAPER.build(autoencoder.Parameters(narrow=3, out_act="relu"))["net"]
    with torch.no_grad():
        net.decoder[6].weight[:, 1] = -net.decoder[6].weight[:, 1].abs()
    channels = notebook_01.narrow_channels(net, torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert channels.shape == (2, 3, 64, 64)
    assert not channels[:, 1].any()
    assert channels.max() == 1


def total(beta_of=lambda beta: beta, numbers=64, scale=1):
    """The total loss of exercise 5 of notebook 02, with a slip."""
    return lambda pred, picture, mu, logvar, beta: (
        scale * ((pred - picture).square().mean() + 2 * beta_of(beta) * vae.kl(mu, logvar).mean() / numbers)
    )


def sampled_kl(mu, logvar, prior=False):
    """The KL by sampling of exercise 3 of notebook 02; from the prior's points it is that of the prior."""
    own, other = torch.distributions.Normal(mu, (0.5 * logvar).exp()), torch.distributions.Normal(0.0, 1.0)
    z = torch.randn(20_000, *mu.shape) if prior else own.sample((20_000,))
    return (own.log_prob(z) - other.log_prob(z)).sum(2).mean(0)


def sizes(**wrong):
    """The answer of exercise 4 of notebook 02, with a slip."""
    return {"block 1": 24, "block 2": 10, "block 3": 2, "weights of fc1": 131_072} | wrong


def step_with(kl=1, moves=True, clears=True):
    """The training step of exercise 6 of notebook 02, with a slip."""

    def step(net, optimiser, masked, picture, beta):
        mu, logvar = net.encode(masked)
        pred = net.decode(mu + (0.5 * logvar).exp() * torch.randn_like(mu))
        loss = (pred - picture).square().mean() + kl * 2 * beta * vae.kl(mu, logvar).mean() / 16
        if clears:
            optimiser.zero_grad()
        loss.backward()
        if moves:
            optimiser.step()
        return loss

    return step


def windows(x):
    """The mean of each 5x5 window (exercise 2 of notebook 04)."""
    return torch.nn.functional.avg_pool2d(x.float(), 5, 1, 2)


def block_with(adds=True, zero=("second",)):
    """The residual block of exercise 3 of notebook 04, with a slip."""

    class Block(torch.nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.first = torch.nn.Conv2d(channels, channels, 3, padding=1)
            self.activation = torch.nn.PReLU(channels)
            self.second = torch.nn.Conv2d(channels, channels, 3, padding=1)
            for name, tensor in self.named_parameters():
                if name.startswith(zero or ("none",)):
                    torch.nn.init.zeros_(tensor)

        def forward(self, x):
            return adds * x + self.second(self.activation(self.first(x)))

    return Block


def put_together(middle):
    """The generator of exercise 5 of notebook 04, with a slip between its blocks and its last layers."""

    def assemble(x, stem, blocks, after, enlarge, last):
        first = stem(x)
        return last(enlarge(middle(x, first, blocks(first), after)))

    return assemble


def both_with(
    factor=4, fooling=lambda score: (score - 1).square().mean(), target=lambda noise: 1 - 0.1 * noise, real=1, fake=1,
    g=True, d=True, detach=True, clears=True, returned=lambda losses: losses,
):  # fmt: skip
    """The training step of exercise 7 of notebook 04, with a slip."""

    def step(generator, discriminator, adam_g, adam_d, masked, image, mask, noise, weight):
        pred = generator(masked, mask)
        content = factor * (pred - image).square().mean()
        term = fooling(discriminator(pred))
        adam_g.zero_grad()
        (content + weight * term).backward()
        if g:
            adam_g.step()
        scores = discriminator(image), discriminator(pred.detach() if detach else pred)
        judged = real * (scores[0] - target(noise)).square().mean() + fake * scores[1].square().mean()
        if clears:
            adam_d.zero_grad()
        judged.backward()
        if d:
            adam_d.step()
        return returned((content, term, judged))

    return step


def game(true, made):
    """Both losses of exercise 1 of notebook 03."""
    return ((true - 1) ** 2).mean() / 2 + (made**2).mean() / 2, ((made - 1) ** 2).mean()


def two_losses(d=lambda true, made: game(true, made)[0], g=lambda made: game(made, made)[1]):
    """The two functions of exercise 1 of notebook 03."""
    return d, g


def judging(kernel=3, stride=None, slope=0.2, affine=False, order=(0, 1, 2)):
    """The block of exercise 2 of notebook 03, with a slip."""

    def block(channels_in, channels_out, given):
        conv = torch.nn.Conv2d(channels_in, channels_out, kernel, stride or given, kernel // 2)
        layers = conv, torch.nn.InstanceNorm2d(channels_out, affine=affine), torch.nn.LeakyReLU(slope)
        return torch.nn.Sequential(*(layers[i] for i in order))

    return block


def levels(*values):
    names = ("cannot tell: D", "cannot tell: fooling D", "knows all: D", "knows all: fooling D")
    return dict(zip(names, values, strict=True))


def both_networks(half=0.5, detached=True, clears=True, moves=True, weighted=True):
    """The training step of exercise 4 of notebook 03, with a slip."""

    def step(generator, discriminator, adam_g, adam_d, masked, square, weight):
        made = generator(masked)
        l1, fooling = 2 * (made - square).abs().mean(), ((discriminator(made) - 1) ** 2).mean()
        adam_g.zero_grad()
        ((1 - weight) * l1 + weight * fooling if weighted else l1 + fooling).backward()
        adam_g.step()
        on_made = discriminator(made.detach() if detached else made)
        loss_d = half * (((discriminator(square) - 1) ** 2).mean() + (on_made**2).mean())
        if clears:
            adam_d.zero_grad()
        loss_d.backward()
        if moves:
            adam_d.step()
        return {"L1": l1, "fooling D": fooling, "D": loss_d}

    return step


def turn(g, d, adam_g, adam_d, g_learns):
    """One turn of the toy of notebook 03."""
    true, noise = notebook_03.toy_batch()
    notebook_03.descend(adam_d, game(d(true), d(g(noise).detach()))[0])
    if g_learns:
        notebook_03.descend(adam_g, game(d(true), d(g(noise)))[1])


def test_the_toy_of_the_gan_finds_both_signs_and_a_head_start_leaves_the_generator_alone():
    played = notebook_03.toy_game(turn)
    assert 30 < int(notebook_03.below_zero(played(0, 0)[0]).removesuffix(" %")) < 70
    untouched, trained = (played(head_start, 0, 0) for head_start in (0, 5))
    same = [
        all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
        for one, other in zip(untouched, trained, strict=True)
    ]
    assert same == [True, False]


def test_hard_cases_are_filled_and_scored():
    test = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    cases = notebook_03.hard_cases(test, None, masking.square(1, 64, 32, "centre"))
    assert list(cases) == ["face in grey", "face upside down", "hole moved left"]
    means, shown = notebook_03.fill_cases(cases, fills.fills("mean"), "white")
    assert shown["filled"].keys() == {"masked", "mean of known pixels"}
    assert shown["truth"].shape == (3, 3, 64, 64)
    known = ~shown["mask"].expand(-1, 3, -1, -1)
    assert all(torch.equal(x[known], shown["truth"][known]) for x in shown["filled"].values()), "of the same pictures"
    assert all(0 < mean["mean of known pixels"] < 0.2 for mean in means.values())


def test_the_networks_that_the_page_shows_are_the_kits():
    solved, namespace = exercises_of(NOTEBOOKS / "solutions" / "03_context_encoder_gan.ipynb"), {"nn": torch.nn}
    for cell in nbformat.read(NOTEBOOKS / "03_context_encoder_gan.ipynb", as_version=4).cells:
        if "def generator_layers" in cell.source or "def discriminator_layers" in cell.source:
            exec(re.sub(r"^print.*$", "", cell.source, flags=re.MULTILINE), namespace)
    exec(solved["d_block"][1], namespace)
    layers = namespace["generator_layers"], namespace["discriminator_layers"]
    said = notebook_03.same_networks(*layers, context_encoder.Parameters.resolve({"profile": "smoke"}))
    assert said.count("kit's: True") == 2
    assert "kit's block" not in said
    assert "40,401,187" in said


def test_the_game_the_seam_and_the_records_of_the_gan():
    one_sided = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(one_sided.bias, 99.0)
    assert notebook_03.three_games(lambda *given: (one_sided, None), 5)[0] == 0
    assert notebook_03.tendency(([0, 1], [0.5, 0.9])) == "rises"
    errors = {"unseen": {"a": 1, "b": 2}, "face in grey": {"a": 1, "b": 2}, "hole moved left": {"a": 3, "b": 2}}
    assert notebook_03.better(errors, "a", "b") == "face in grey"
    recorded = records.load(context_encoder.PAPER)
    detail = [line["detail"] for line in notebook_03.by_weight(recorded)]
    assert detail[0] < detail[-1]
    assert notebook_03.row_of(0.05) == "B"
    assert "with discriminator: hole MSE" in notebook_03.large_network(recorded)
    assert "not run" not in notebook_03.large_network(recorded)
    means = {"test": {"harmonic": 0.0135, "white": 0.006}, "train": {"white": 0.005}}
    assert notebook_03.guesses({"test": 0.006, "unseen": None}, means, "white").endswith("close (within 25 %)")
    assert notebook_03.rows_of(means, [SimpleNamespace(label="white")])[1]["train: hole MSE"] == 0.005
    assert len(notebook_03.single(notebook_03.differences(recorded))) == len(notebook_03.DIFFERENCES) - 2
    assert [line["verdict"] for line in notebook_03.over_seeds(recorded)][:2] == ["lower", "higher"]
    assert notebook_03.differences(recorded).keys() == notebook_03.DIFFERENCES.keys()

    mask = masking.square(4, 64, 32, "centre")
    assert notebook_03.seam(mask.expand(-1, 3, -1, -1).float(), mask) == 1
    images = SimpleNamespace(train=torch.zeros(4, 3, 64, 64, dtype=torch.uint8), test=torch.zeros(4, 3, 64, 64).byte())
    fill = type("White", (), {"label": "white", "__call__": lambda self, masked, mask: torch.ones_like(masked)})()
    for function, said in ((lambda masked, drawn, mask: drawn, "seam: not yet"), (lambda *given: 0 / 0, "stopped")):
        assert said in notebook_03.seams(function, fill, images, mask, "white")[0]
    same = notebook_03.seams(lambda masked, drawn, mask: 0 * drawn, fill, images, mask, "white")[0]
    assert same.endswith("seam: reached, hole MSE: reached")


def nmse_of(pred, image, over=(1, 2, 3)):
    return (pred - image).square().sum(over) / image.square().sum(over)


def steps_of(squares, truth, dims=(2, 3), size=torch.abs):
    one, other = (sum(size(x.diff(dim=d)).mean() for d in dims) for x in (squares, truth))
    return one / other


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        (notebook_00.mean_psnr, lambda pred, image: undefined, "NameError"),  # noqa: F821
        (notebook_00.mean_psnr, lambda pred, image: torch.tensor(3.0), "40 dB"),
        (notebook_00.mean_psnr, lambda pred, image: metrics.psnr(pred, image), "a value for each image"),
        (notebook_00.coverage, {"share": 0.2, "side": 45}, "20 x 20"),
        (notebook_00.coverage, {"share": 0.04, "side": 20}, "hides 400"),
        (notebook_00.coverage, {"share": 4, "side": 45}, "between 0 and 1"),
        (notebook_00.ring_mean, lambda x, hole: x * 0.5, "known pixels have changed"),
        (notebook_00.ring_mean, lambda x, hole: x[0], "whole picture"),
        (
            notebook_00.ring_mean,
            lambda x, hole: torch.where(hole, x[:, ~hole].mean(1)[:, None, None], x),
            "mean of all known pixels",
        ),
        (notebook_00.harmonic, lambda x, hole, rounds: torch.where(hole, 0.5, x), "is there a loop"),
        (notebook_00.harmonic, lambda x, hole, rounds: x / rounds, "known pixels have changed"),
        (notebook_00.stripes, {"grey": 0.5, "shifted": 1}, "the square of that"),
        (notebook_00.stripes, {"grey": 0.25, "shifted": 0}, "meets a white one"),
        (notebook_00.similarity, lambda x, y, c1, c2: 0.5, "and yours is 0.5000"),
        (
            notebook_00.similarity,
            lambda x, y, c1, c2: (
                metrics.ssim(y[None, None], x[None, None], kind="global").item()
                / ((2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1))
            ),
            "the factor luminance is missing",
        ),
        (notebook_00.composite, lambda x, p, m: torch.where(m, x, p), "the other way round"),
        (notebook_00.composite, lambda x, p, m: p, "the known pixels are not those of the picture"),
        (notebook_00.composite, lambda x, p, m: x, "the hidden pixels are not those of the prediction"),
        (notebook_00.composite, lambda x, p, m: x[0], "return whole pictures"),
        (notebook_00.hole_mse, lambda p, x, m: ((p - x) ** 2 * m).sum((1, 2, 3)) / 48, "grey ones"),
        (notebook_01.sizes, {"third pooling": 256, "fc 1": 1}, "32 channels"),
        (notebook_01.sizes, {"third pooling": 2048, "fc 1": 1}, "begin with 128"),
        (notebook_01.sizes, {"third pooling": 8192, "fc 1": 8192 * 1024}, "a bias, too"),
        (notebook_01.sizes, {"third pooling": 8192, "fc 1": 8192}, "every input has a weight"),
        (notebook_01.stamp, lambda values, kernel: torch.zeros(7, 11), "cut off its first row"),
        (notebook_01.stamp, lambda values, kernel: torch.zeros(6, 10), "begins at row 2i"),
        (notebook_01.stamp, lambda values, kernel: notebook_01.stamped(values, kernel.flip(0, 1)), "turned around"),
        (notebook_01.overlaps, {(0, 0): 1, (0, 1): 1, (1, 1): 4}, "pixel (0, 1) does not get 1"),
        (notebook_01.encoder, lambda: torch.nn.Conv2d(3, 4, 3), "three poolings"),
        (notebook_01.assemble, lambda conv_pool, transposed: conv_pool(3, 64)[0], "return a list of layers"),
        (notebook_01.assemble, lambda *parts: chain(*parts, conv=64), "Linear(in_features=2048, out_features=1024"),
        (notebook_01.assemble, lambda *parts: chain(*parts)[:-2], "ends with 64x16x16"),
        (notebook_01.assemble, lambda *parts: chain(*parts)[:-1], "a sigmoid is the last"),
        (notebook_01.assemble, lambda *parts: chain(*parts, wide=32), "and the diagram 3,400,547"),
        (notebook_01.assemble, lambda *parts: chain(*parts, between=torch.nn.Identity), "a ReLU follows every fc"),
        (notebook_01.train_step, lambda net, o, masked, image, mask: net(masked), "return the loss"),
        (
            notebook_01.train_step,
            lambda net, o, masked, image, mask: net(masked).square().mean(),
            "the target is black",
        ),
        (
            notebook_01.train_step,
            lambda net, o, masked, x, m: ((net(masked) - x[m.expand_as(x)].view(5, 3, 4, 4)) ** 2).mean(),
            "the weights have not changed",
        ),
        (notebook_01.flat_decoder, lambda: torch.nn.Upsample(scale_factor=2), "(8, 3, 16, 16)"),
        (
            notebook_01.flat_decoder,
            lambda: torch.nn.Sequential(
                torch.nn.Upsample(scale_factor=2), torch.nn.Conv2d(16, 3, 1), torch.nn.Sigmoid()
            ),
            "two layers with weights",
        ),
        (notebook_01.realness, lambda squares: squares.mean(), "one number for each square"),
        (notebook_01.realness, lambda squares: squares.mean((1, 2, 3)), "90% is wanted"),
        (notebook_02.sampled_latent, lambda mu, logvar: mu, "nothing is sampled"),
        (notebook_02.sampled_latent, lambda mu, logvar: mu[0], "yours is (2,)"),
        (notebook_02.sampled_latent, lambda mu, logvar: mu + logvar.exp() * torch.randn_like(mu), "sigma squared"),
        (notebook_02.sampled_latent, lambda mu, logvar: mu + torch.randn_like(mu), "deviations of 0.5 and 2"),
        (
            notebook_02.sampled_latent,
            lambda mu, logvar: mu + (logvar / 2).exp() * torch.randn(len(mu), 1),
            "the same noise",
        ),
        (
            notebook_02.sampled_latent,
            lambda mu, logvar: mu + (logvar / 2).exp().detach() * torch.randn_like(mu),
            "logvar gets none",
        ),
        (notebook_02.known_kl, {"equal": 1, "mean is 2": 2, "costs more": 2}, "no distance"),
        (notebook_02.known_kl, {"equal": 0, "mean is 2": 4, "costs more": 2}, "one half"),
        (notebook_02.known_kl, {"equal": 0, "mean is 2": 2, "costs more": 0.5}, "0.318"),
        (notebook_02.known_kl, {"equal": 0, "mean is 2": 2, "costs more": "two"}, "0.5 or 2"),
        (notebook_02.kl_by_sampling, lambda mu, logvar: 3.0, "a tensor"),
        (notebook_02.kl_by_sampling, lambda mu, logvar: mu, "which dimension"),
        (notebook_02.kl_by_sampling, lambda mu, logvar: sampled_kl(mu, logvar).sum(), "which dimension"),
        (notebook_02.kl_by_sampling, lambda mu, logvar: -sampled_kl(mu, logvar), "never negative"),
        (notebook_02.kl_by_sampling, lambda mu, logvar: sampled_kl(mu, logvar) / 4, "4 times too small"),
        (notebook_02.kl_by_sampling, lambda mu, logvar: sampled_kl(mu, logvar, prior=True), "you sampled the prior"),
        (notebook_02.kl_by_sampling, lambda mu, logvar: -sampled_kl(mu, logvar, prior=True), "you sampled the prior"),
        (notebook_02.kl_by_sampling, lambda mu, logvar: mu.sum(1), "and yours is"),
        (notebook_02.encoder_sizes, sizes(**{"block 1": 48}), "then halves the side"),
        (notebook_02.encoder_sizes, sizes(**{"block 2": 11}), "block 2: each 3x3"),
        (notebook_02.encoder_sizes, sizes(**{"weights of fc1": 64 * 512}), "64 channels of 2 x 2"),
        (notebook_02.encoder_sizes, sizes(**{"weights of fc1": 512}), "inputs x outputs"),
        (notebook_02.total_loss, lambda p, x, m, v, beta: (p - x).square(), "one number for the whole batch"),
        (notebook_02.total_loss, lambda p, x, m, v, beta: (p - x).square().mean(), "where is the KL term"),
        (notebook_02.total_loss, total(beta_of=lambda beta: beta / 2), "a factor of 2"),
        (notebook_02.total_loss, total(beta_of=lambda beta: 1), "beta is missing"),
        (notebook_02.total_loss, total(numbers=1), "divide it by N"),
        (notebook_02.total_loss, total(numbers=3 * 64), "not in the batch"),
        (notebook_02.total_loss, total(numbers=64 / 3), "mean over the pictures"),
        (notebook_02.total_loss, total(scale=64), "take the mean"),
        (notebook_02.total_loss, total(scale=7), "reconstruction and KL term"),
        (notebook_02.vae_step, lambda net, *others: 1.0, "nothing was decoded"),
        (notebook_02.vae_step, step_with(kl=0), "add the KL term"),
        (notebook_02.vae_step, step_with(kl=2), "see exercise 5"),
        (notebook_02.vae_step, step_with(moves=False), "no weight has changed"),
        (notebook_02.vae_step, step_with(clears=False), "zero_grad before backward"),
        (notebook_02.training_pair, lambda x, holes: (x[0], x[0]), "pictures"),
        (notebook_02.training_pair, lambda x, holes: (x.masked_fill(holes, 0), x / 2), "complete picture"),
        (notebook_02.training_pair, lambda x, holes: (x, x), "has no hole"),
        (notebook_02.training_pair, lambda x, holes: (x * holes, x), "unchanged outside"),
        (
            notebook_02.training_pair,
            lambda x, holes: (lambda truth: (x.masked_fill_(holes, 0), truth))(x.clone()),
            "next epoch",
        ),
        (notebook_03.least_squares, (lambda true, made: true, lambda made: made), "each loss is one number"),
        (notebook_03.least_squares, two_losses(lambda t, m: ((m - 1) ** 2).mean(), lambda m: m.mean()), "for these"),
        (notebook_03.least_squares, two_losses(lambda t, m: 2 * game(t, m)[0]), "twice too large"),
        (notebook_03.least_squares, two_losses(lambda t, m: game(1 - t, 1 - m)[0]), "wants 0 for true"),
        (notebook_03.least_squares, two_losses(lambda t, m: m.mean()), "the discriminator's loss for these"),
        (notebook_03.least_squares, two_losses(g=lambda m: (m**2).mean()), "recognises"),
        (notebook_03.least_squares, two_losses(g=lambda m: m.mean()), "the generator's loss for these"),
        (notebook_03.d_block, lambda channels_in, channels_out, stride: 3, "return nn.Sequential"),
        (notebook_03.d_block, judging(order=(0, 2, 1)), "in this order"),
        (notebook_03.d_block, judging(kernel=5), "by 5"),
        (notebook_03.d_block, judging(stride=1), "must become 6x4x4"),
        (notebook_03.d_block, judging(slope=0.01), "wanted is 0.2"),
        (notebook_03.d_block, judging(affine=True), "number of weights"),
        (notebook_03.loss_levels, {"cannot tell: D": 0.25}, "four answers"),
        (notebook_03.loss_levels, levels(0.5, 0.25, 0, 1), "half of (0.5 - 1)^2"),
        (notebook_03.loss_levels, levels(0.25, 0.25, 0, 0), "the generator wants 1"),
        (notebook_03.gan_step, lambda *given: 0.0, "return {"),
        (notebook_03.gan_step, both_networks(detached=False), "reaches back into the generator"),
        (notebook_03.gan_step, both_networks(half=1), "see exercise 1"),
        (notebook_03.gan_step, both_networks(moves=False), "no weight of the discriminator"),
        (notebook_03.gan_step, both_networks(clears=False), "which gradients are left"),
        (notebook_03.gan_step, both_networks(weighted=False), "the weighted sum"),
        (notebook_03.detail_of, lambda squares, truth: squares, "one number for all squares"),
        (notebook_03.detail_of, lambda squares, truth: 1 / steps_of(squares, truth), "upside down"),
        (notebook_03.detail_of, lambda squares, truth: sum(squares.diff(dim=d).abs().mean() for d in (2, 3)), "alone"),
        (notebook_03.detail_of, lambda squares, truth: steps_of(squares, truth, (3,)), "between columns alone"),
        (notebook_03.detail_of, lambda squares, truth: steps_of(squares, truth, (2,)), "between rows alone"),
        (notebook_03.detail_of, lambda squares, truth: steps_of(squares, truth, size=lambda x: x), "cancel"),
        (notebook_03.detail_of, lambda squares, truth: 3.0, "and yours is 3.0000"),
        (notebook_03.unit_deviation, lambda channels: torch.nn.InstanceNorm2d(channels), "must stay"),
        (notebook_03.unit_deviation, lambda channels: torch.nn.BatchNorm2d(channels, 80.0), "wanted is 1"),
        (notebook_03.centre_mask, lambda picture: picture + 1, "of the centre"),
        (notebook_03.centre_mask, lambda picture: picture[0], "(1, 3, 128, 128)"),
        (notebook_04.lost_shares, {"do nothing": 80, "none known in 5x5": 0.5}, "not as percentages"),
        (notebook_04.lost_shares, {"do nothing": 0.2, "none known in 5x5": 0.8**24}, "a known pixel has no error"),
        (notebook_04.lost_shares, {"do nothing": 1, "none known in 5x5": 0.8**24}, "its own energy"),
        (notebook_04.lost_shares, {"do nothing": 0.8, "none known in 5x5": 0.8**25}, "lost already"),
        (notebook_04.lost_shares, {"do nothing": 0.8, "none known in 5x5": 0.8**8}, "3x3"),
        (notebook_04.lost_shares, {"do nothing": 0.8, "none known in 5x5": 0.2**24}, "all others must be lost"),
        (notebook_04.lost_shares, {"do nothing": 0.8, "none known in 5x5": 0.2}, "multiplied"),
        (notebook_04.box, lambda x, m: x[0], "return the filled pictures"),
        (notebook_04.box, lambda x, m: windows(x * ~m) / windows(~m), "0 divided by 0"),
        (notebook_04.box, lambda x, m: windows(x * ~m) / windows(~m).clamp(min=1e-3), "lost pixels are right"),
        (notebook_04.box, lambda x, m: windows(x), "known pixels have changed"),
        (notebook_04.box, lambda x, m: torch.where(m, windows(x * ~m), x), "too dark"),
        (notebook_04.box, lambda x, m: torch.where(m, windows(x), x), "in this mean"),
        (notebook_04.box, lambda x, m: torch.where(m, windows(x) / windows(~m).clamp(min=1e-3), x), "in the sum"),
        (notebook_04.box, lambda x, m: x, "two windows"),
        (notebook_04.residual, block_with(adds=False, zero=()), "still there"),
        (notebook_04.residual, block_with(zero=()), "must begin with zeros"),
        (notebook_04.residual, block_with(zero=("second.weight",)), "besides its kernel"),
        (notebook_04.residual, block_with(zero=("first", "second")), "stays it"),
        (notebook_04.residual, block_with(adds=False), "still there"),
        (notebook_04.shuffle, lambda x, r: x, "must become"),
        (notebook_04.shuffle, lambda x, r: torch.zeros(2, 3, 6, 10), "lost or doubled"),
        (notebook_04.shuffle, lambda x, r: x.reshape(2, 3, 6, 10), "not in their places"),
        (
            notebook_04.shuffle,
            lambda x, r: x.view(2, 3, 2, 2, 3, 5).permute(0, 1, 4, 3, 5, 2).reshape(2, 3, 6, 10),
            "exchanged",
        ),
        (
            notebook_04.shuffle,
            lambda x, r: x.view(2, 2, 2, 3, 3, 5).permute(0, 3, 4, 1, 5, 2).reshape(2, 3, 6, 10),
            "C stands before",
        ),
        (notebook_04.generator, put_together(lambda x, first, deep, after: deep), "not used yet: after"),
        (notebook_04.generator, put_together(lambda x, first, deep, after: after(deep)), "skip connection is missing"),
        (notebook_04.generator, put_together(lambda x, first, deep, after: x + after(deep)), "what the stem made of"),
        (notebook_04.generator, put_together(lambda x, first, deep, after: deep + after(deep)), "that of the stem"),
        (notebook_04.generator, put_together(lambda x, first, deep, after: after(first + deep)), "gets the sum"),
        (notebook_04.generator, put_together(lambda x, first, deep, after: after(first)), "what does each of them get"),
        (notebook_04.blind, {"score": 0.5, "loss of D": 0.5, "fooling": 0.25}, "what is its mean"),
        (notebook_04.blind, {"score": 0.9, "loss of D": 0.5, "fooling": 0.25}, "smallest"),
        (notebook_04.blind, {"score": 0.475, "loss of D": 0.2256, "fooling": 0.2756}, "one of its two terms"),
        (notebook_04.blind, {"score": 0.475, "loss of D": 0.5, "fooling": 0.2756}, "both terms"),
        (notebook_04.blind, {"score": 0.475, "loss of D": 0.4521, "fooling": 0.2256}, "wants 1"),
        (notebook_04.blind, {"score": 0.475, "loss of D": 0.4521, "fooling": 0.475}, "squared distance"),
        (notebook_04.both_steps, both_with(g=False), "no weight of the generator"),
        (notebook_04.both_steps, both_with(fooling=lambda score: 0), "second term"),
        (notebook_04.both_steps, both_with(fooling=lambda score: 2 * (score - 1).square().mean()), "lost its weight"),
        (notebook_04.both_steps, both_with(fooling=lambda score: score.square().mean()), "not 0"),
        (notebook_04.both_steps, both_with(factor=1), "factor 4"),
        (notebook_04.both_steps, both_with(factor=2), "went elsewhere"),
        (notebook_04.both_steps, both_with(d=False), "Now D's"),
        (notebook_04.both_steps, both_with(detach=False), "needs only its values"),
        (notebook_04.both_steps, both_with(target=lambda noise: 1), "not 1"),
        (notebook_04.both_steps, both_with(target=lambda noise: 1 - noise), "a factor of 0.1"),
        (notebook_04.both_steps, both_with(fake=0), "L_fake is missing"),
        (notebook_04.both_steps, both_with(real=0), "L_real is missing"),
        (notebook_04.both_steps, both_with(real=0.5, fake=0.5), "without a half"),
        (notebook_04.both_steps, both_with(clears=False), "set to 0"),
        (notebook_04.both_steps, both_with(returned=lambda losses: losses[0]), "return the three losses"),
        (notebook_04.both_steps, both_with(returned=lambda losses: losses[::-1]), "without weights"),
        (notebook_04.mean_nmse, lambda preds, images: 0.5, "the mean over these 85"),
        (
            notebook_04.mean_nmse,
            lambda preds, images: sum(nmse_of(*pair, (0, 1, 2, 3)) for pair in zip(preds, images, strict=True)) / 3,
            "what is averaged here",
        ),
        (
            notebook_04.mean_nmse,
            lambda preds, images: sum(nmse_of(*pair).mean() for pair in zip(preds, images, strict=True)) / 3,
            "as much as the first 40",
        ),
        (
            notebook_04.mean_nmse,
            lambda preds, images: nmse_of(torch.cat(preds), torch.cat(images)).half().mean(),
            "in which precision",
        ),
    ],
)
def test_wrong_answers_get_a_hint(check, answer, hint):
    assert hint in check(answer)


def test_a_prediction_is_answered():
    assert "0.59" not in guessed(None, 0.59), "the measured value is given away"
    verdicts = [guessed(guess, 0.6).split(": ")[1] for guess in (0.3, 0.59, 0.9)]
    assert verdicts == ["too low", "close (within 25 %)", "too high"]
    assert guessed("ring", "ring").endswith("right")
    assert not guessed("box", "ring").endswith("right")


def solved_parts():
    """The answers to exercises 3 to 5 of notebook 04, solved."""
    namespace, found = {"torch": torch, "nn": torch.nn}, exercises_of(NOTEBOOKS / "solutions" / "04_ssrgan.ipynb")
    for check in ("residual", "shuffle", "generator"):
        name, source, _ = found[check]
        exec(source, namespace)
        yield namespace[name]


def test_a_students_parts_compute_what_the_kits_generator_computes():
    block, shuffle, assemble = solved_parts()
    masked = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = masked[:, :1] > 0.5
    for changes in ({}, {"shuffles": 2}, {"mask_channel": False}):
        modules = ssrgan.PAPER.build(ssrgan.Parameters.resolve({"network": "smallest"} | changes))
        old, names = modules["generator"](masked, mask), list(modules.state_dict())
        assert notebook_04.own_parts(modules, block, shuffle, assemble).endswith(
            "ResidualBlock, pixel_shuffle, assemble"
        )
        assert type(modules["generator"]).__name__ == "Network"
        assert torch.allclose(modules["generator"](masked, mask), old, atol=1e-5)
        assert list(modules.state_dict()) == names
    modules = ssrgan.PAPER.build(ssrgan.Parameters.resolve({"network": "smallest"}))
    kits = modules["generator"]
    assert "none is solved" in notebook_04.own_parts(modules, lambda c: None, lambda x, r: None, lambda *parts: None)
    assert modules["generator"] is kits
    ours = ssrgan.PAPER.build(ssrgan.Parameters.resolve({"network": "smallest", "reading": "ours"}))
    assert "need the kit's" in notebook_04.own_parts(ours, block, shuffle, assemble)


def test_what_a_network_reaches_adds_up():
    modules = ssrgan.PAPER.build(ssrgan.Parameters.resolve({"network": "smallest"}))
    for parameter in modules["generator"].parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    assert notebook_04.reach(ssrgan.PAPER.filler(modules, ssrgan.Parameters.resolve({}))) == 2 * 2 + 15


def test_the_costliest_change_is_graded_only_as_far_as_seeds_agree():
    def worth(*seeds):
        return Worth("", "", Interval(sum(seeds) / 3, 0.0, 1.0, 9), "higher", seeds)

    effects = {"a": worth(1.0, 1.0, 4.0), "b": worth(2.0, 1.0, 1.0), "c": worth(0.5, 0.5, 0.5)}
    ends = {guess: costliest(guess, effects).split(": ")[-1] for guess in effects}
    assert ends == {"a": "right", "b": "right", "c": "not this one"}


def test_levels_of_a_discriminator_that_cannot_tell():
    levels = notebook_04.blind_levels(ssrgan.Parameters.resolve({}))
    assert list(levels.values()) == pytest.approx([2 * 0.475**2 + 0.1**2 / 12, 0.525**2])
    assert notebook_04.blind_levels(ssrgan.Parameters.resolve({"weight_adv": 0.0})) is None


def test_fooling_ends_above_or_below_its_level():
    told = notebook_04.blind_levels(ssrgan.Parameters.resolve({}))
    for values, side in (([0.1, 0.2, 0.9], "above"), ([0.9, 0.9, 0.1], "below")):
        assert notebook_04.side(SimpleNamespace(losses={"fooling D": values}), told) == side


def test_bugs_of_the_mean_nmse_are_counted():
    def given(per_picture=False, divisor=1000, precision=torch.float16):
        def function(preds, images):
            axes, total = (1, 2, 3) if per_picture else (0, 1, 2, 3), torch.zeros((), dtype=precision)
            for pair in zip(preds, images, strict=True):
                total += nmse_of(*pair, axes).sum()
            return total / divisor

        return notebook_04.mean_nmse(function)

    assert "3 of 3" in given()
    assert "2 of 3" in given(True)
    assert "2 of 3" in given(False, 3)
    assert "2 of 3" in given(precision=torch.float32)
    assert "1 of 3" in given(True, 85)
    assert "1 of 3" in given(True, precision=torch.float32)
    assert given(True, 85, torch.float32).endswith(": correct")


def test_changes_that_lower_the_error_are_counted():
    effects = {name: Worth("", "", None, said) for name, said in {"a": "lower", "b": "higher", "c": "lower"}.items()}
    assert notebook_04.lowering(None, effects).startswith("no guess yet")
    assert notebook_04.lowering(["a", "b"], effects) == "1 of 2 found, 1 named that do not"
    assert notebook_04.lowering(["d"], effects) == "not in the list: d"


def test_levels_of_figure_5_are_told_apart_as_recorded():
    rows = {row.pop("data set"): row for row in notebook_04.levels_told_apart(records.load(ssrgan.PAPER))}
    assert {row["NMSE rises"] for row in rows.values()} == {"5 of 5 steps"}
    pets = rows["Oxford-IIIT Pet"]
    assert pets["flowers have a higher NMSE at"] == pets["network higher than biharmonic at"] == "all levels"
    assert rows["Caltech-101"]["flowers have a higher NMSE at"] == "80 %"
    assert rows["Caltech-101"]["network lower than biharmonic at"] == "30, 40, 70, 80 %"
    assert rows["Flowers-102"]["network lower than biharmonic at"] == "none"
    empty = notebook_04.levels_told_apart(records.Records(ssrgan.PAPER))
    assert {row["network higher than biharmonic at"] for row in empty} == {"not run"}


def test_pca_of_the_known_pixels_finds_a_face_of_its_own_directions():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(64, 5, generator=generator)).Q.T
    average, mask = torch.full((64,), 0.5), masking.square(3, 8, 3, "random", generator)
    face = (0.2 * torch.rand(3, 5, generator=generator) @ basis + average).view(3, 1, 8, 8)
    masked = face.masked_fill(mask, 0)
    known, plain = (kind(average, basis)(masked, mask) for kind in (notebook_02.KnownPCA, notebook_02.PCA))
    assert torch.allclose(known, face, atol=1e-4)
    assert metrics.mse(plain, face, mask).min() > 100 * metrics.mse(known, face, mask).max()


def test_tables_of_the_vae_say_what_is_recorded():
    recorded = records.load(vae.PAPER)
    rows = notebook_02.kinds_of_pictures(recorded)
    assert [row["the VAE is"] for row in rows] == ["lower", "higher"]
    assert rows[0]["VAE minus fill"].startswith("-0.0057 [")
    empty = records.Records(vae.PAPER)
    assert notebook_02.kinds_of_pictures(empty)[0]["the VAE is"] == "not run"
    assert notebook_02.squares(empty)[0]["one large square"] == "not run"
    assert notebook_02.harder(recorded, "vae") == "two small squares"
    assert notebook_02.harder(recorded, "biharmonic") == "one large square"
    of_two = notebook_02.squares(recorded)[1]
    assert float(of_two["two small squares"]) < float(of_two["one large square"])
    effects = {name: row[3] for name, row in notebook_02.slips(recorded).items()}
    assert list(effects.values()) == ["lower", "not told apart", "higher", "higher", "higher"]
    assert set(notebook_02.slips(empty)) == {"1: no activation", "2: alpha"}
    signs = [row["large minus small"].startswith("-") for row in notebook_02.squares(recorded)]
    assert signs == [True, False, False, False]  # only a VAE that never saw two squares finds them harder
    surveyed = notebook_02.survey_rows()
    assert [row["side of the hole"] for row in surveyed] == ["20 %"] * 3 + ["40 %"] * 3
    assert surveyed[0]["one window"] == "0.895"


def test_the_table_of_the_riddle_has_both_windows_for_each_picture():
    test = torch.rand(3, 1, 52, 52, generator=torch.Generator().manual_seed(0))
    hole = masking.square(1, 52, 21, (0.5, 0.5)).expand(3, -1, -1, -1)
    net = vae.PAPER.filler(vae.PAPER.build(vae.Parameters.resolve({})), vae.Parameters.resolve({}))
    scored = evaluate.score([*fills.fills("nothing", "harmonic"), net], test, hole, vae.PAPER.scores)
    rows = notebook_02.riddle(scored)
    assert [row["picture"] for row in rows[:-1]] == ["unrepaired face", "harmonic", "VAE, raw", "VAE, composite"]
    assert notebook_02.higher(scored).keys() == notebook_02.WINDOWS.keys()
    assert all(float(rows[3][window]) > float(rows[2][window]) for window in notebook_02.WINDOWS)


def test_a_correction_reaches_the_target_on_the_last_half_only():
    truth, hole = torch.rand(8, 1, 52, 52), masking.square(8, 52, 21, (0.5, 0.5))
    before, after = truth + 0.2, truth + 0.1
    assert "better" in notebook_02.corrected(before, after, truth, hole, False)
    assert "target is reached" not in notebook_02.corrected(before, after, truth, hole, False)
    assert "target is reached" in notebook_02.corrected(before, after, truth, hole, True)
    assert "not told apart" in notebook_02.corrected(before, before, truth, hole, True)
    assert "worse" in notebook_02.corrected(after, before, truth, hole, True)


def test_the_kl_term_ends_higher_or_lower():
    cfg = vae.Parameters.resolve({"epochs": 2})
    for values, said in (([1.0, 2.0], "higher"), ([2.0, 1.0], "lower"), ([], "not recorded")):
        history = SimpleNamespace(losses={"KL": values}, steps=[50, 100])
        curves, first, trend = notebook_02.kl_term(history, cfg)
        assert (trend, bool(curves), bool(first)) == (said, bool(values), bool(values))
        assert all(x == [1, 2] for x, _ in curves.values())


def test_the_page_shows_the_network_of_the_vae_and_the_terms_of_its_loss():
    namespace, cfg = {"nn": torch.nn}, vae.Parameters.resolve({})
    for cell in nbformat.read(NOTEBOOKS / "02_vae.ipynb", as_version=4).cells:
        if "def down(" in cell.source or "class SmallVAE" in cell.source:
            exec(cell.source, namespace)
    net, picture = vae.PAPER.build(cfg)["net"], torch.rand(2, 1, 52, 52)
    assert notebook_02.same_network(namespace["SmallVAE"], net, picture) == "True"
    other = vae.PAPER.build(cfg.changed(leaky_slope=1.0))["net"]
    assert notebook_02.same_network(namespace["SmallVAE"], other, picture) == "False"
    smoke = vae.PAPER.build(vae.Parameters.resolve({"profile": "smoke"}))["net"]
    assert "another size" in notebook_02.same_network(namespace["SmallVAE"], smoke, picture)
    assert notebook_02.loss_terms(net, 0.0, picture, picture).endswith("KL term 0.0000")


def test_several_predictions_are_judged_together():
    assert notebook_02.judged({"a": "lower", "b": None}, {}).startswith("no guess yet")
    said = notebook_02.judged({"a": "lower", "b": "higher"}, {"a": "lower", "b": "lower"})
    assert said.count("\n") == 1
    assert said.endswith("not this one")


def test_networks_are_told_apart_from_another_method_or_not():
    truth, hole = torch.rand(6, 1, 52, 52), masking.square(6, 52, 21, (0.5, 0.5))
    net = vae.PAPER.filler(vae.PAPER.build(vae.Parameters.resolve({})), vae.Parameters.resolve({}))
    scored = evaluate.score([*fills.fills("nothing"), net], truth, hole, vae.PAPER.scores)
    ((label, (verdict, change)),) = notebook_02.beside(scored, scored[0].label).items()
    assert (label, verdict) == ("VAE", "lower")
    assert change.high < 0
