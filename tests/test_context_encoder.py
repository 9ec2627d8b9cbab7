"""The GAN of notebook 03: counts, shapes, the start of the weights, losses by hand, each slip of the author's code."""

import pytest
import torch
from torch import nn

from inpaintkit import evaluate, fills, masking, metrics, patches, runtime, training
from inpaintkit.papers import context_encoder

PAPER = context_encoder.PAPER


def configuration(**given):
    return context_encoder.Parameters.resolve({"profile": "smoke"} | given)


def recipe_of(steps_per_epoch=4, **given):
    cfg = configuration(**given)
    runtime.seed_everything(0)
    return PAPER.recipe(PAPER.build(cfg), cfg, steps_per_epoch)


# --- networks ---------------------------------------------------------------------------------------------------------


def test_parameter_counts_and_shapes_at_the_authors_size(count, shapes):
    with torch.device("meta"):
        generator, discriminator = context_encoder.Generator(), context_encoder.Discriminator()
        judging = [layer for layer in discriminator.layers if isinstance(layer, nn.Conv2d)]
        steps = [*generator.encoder, generator.bottleneck, *generator.decoder, *judging]
        seen = shapes(steps, lambda: discriminator(generator(torch.zeros(2, 3, 128, 128))))
    layers = [x for x in generator.modules() if isinstance(x, nn.Conv2d | nn.ConvTranspose2d)]
    wanted = [3_136, 65_600, 131_200, 524_544, 2_097_664, 2_052_000]  # down, bottleneck
    wanted += [32_768_512, 2_097_408, 524_416, 131_136, 1_731]  # up, to RGB
    assert [count(layer) for layer in layers] == wanted
    norms = [count(layer) for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms == [128, 256, 512, 1024, 1024, 512, 256, 128]
    assert [count(layer) for layer in judging] == [1_792, 73_856, 295_168, 1_180_160, 4_609]
    assert (count(generator), count(discriminator)) == (40_401_187, 1_555_585)
    wanted = [(64, 64, 64), (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (4000, 4, 4)]
    wanted += [(512, 8, 8), (256, 16, 16), (128, 32, 32), (64, 64, 64), (3, 64, 64), (3, 64, 64)]
    wanted += [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 8, 8), (1, 8, 8)]
    assert seen == wanted


@pytest.mark.parametrize(("head", "mask_channel"), [("patch", True), ("full", False), ("full", True)])
def test_heads_and_the_mask_as_an_input(images, head, mask_channel):
    net = PAPER.build(configuration(head=head, mask_channel=mask_channel))["generator"].eval()
    here, there = (masking.square(8, 64, 32, place) for place in ("centre", (0.3, 0.4)))
    assert net(images, here).shape[-1] == (64 if head == "full" else 32)
    assert torch.equal(net(images, here), net(images, there)) == (not mask_channel), "does it know where the hole is?"


def test_weights_start_as_the_authors():
    torch.manual_seed(0)
    net = context_encoder.Generator(64, width=16, bottleneck=64)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 5000:
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert abs(layer.weight.mean().item()) < 0.002
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1, abs=0.02)
            assert 0 < layer.weight.std() < 0.05
            assert not layer.bias.any()


# --- losses and steps -------------------------------------------------------------------------------------------------


def test_pixel_loss_is_of_the_hole_in_the_authors_range(images, generator):
    mask = masking.square(8, 64, 32, "random", generator)
    patch = patches.take_patch(images, mask, 32)
    assert context_encoder.pixel_loss(patch, images, mask) == 0
    for pred in (patch + 0.1, images + 0.1 * mask + 0.4 * ~mask):
        assert context_encoder.pixel_loss(pred, images, mask).item() == pytest.approx(0.2, rel=1e-4)


def distance(scores, target, kind):
    """Of a discriminator's scores from 1 or 0, as Mao et al. 2017 and Goodfellow et al. 2014 have it."""
    if kind == "lsgan":
        return ((scores - target) ** 2).mean()
    return -(scores if target else -scores).sigmoid().log().mean()


@pytest.mark.parametrize(("weight", "kind"), [(0.001, "lsgan"), (0.25, "lsgan"), (0.25, "cross entropy")])
def test_both_networks_are_taught_by_their_losses(images, weight, kind):
    """Losses and gradients of a whole step, computed by hand on a second copy of the networks."""
    recipe, by_hand = (recipe_of(weight_adv=weight, adversarial=kind) for _ in range(2))
    masked, mask = recipe.corrupt(images, runtime.generator(0))
    taught = {}
    for name, optimiser in recipe.optimisers.items():
        net = recipe.modules[name]
        keep = lambda net=net, name=name: taught.update({name: [p.grad.clone() for p in net.parameters()]})  # noqa: E731
        optimiser.step = keep  # and no weight moves: the discriminator judges what the generator's step was about
    losses = recipe.step((images, masked, mask), runtime.generator(0))

    generator, discriminator = by_hand.modules["generator"], by_hand.modules["discriminator"]
    pred, real = generator(masked, mask), patches.take_patch(images, mask, 32)
    terms = {"L1": 2 * (pred - real).abs().mean(), "fooling D": distance(discriminator(pred), 1, kind)}
    loss = (1 - weight) * terms["L1"] + weight * terms["fooling D"]
    wanted = {"generator": torch.autograd.grad(loss, list(generator.parameters()))}
    fake = distance(discriminator(pred.detach()), 0, kind)
    terms["D"] = (distance(discriminator(real), 1, kind) + fake) / 2
    wanted["discriminator"] = torch.autograd.grad(terms["D"], list(discriminator.parameters()))
    assert {k: v.item() for k, v in losses.items()} == {k: pytest.approx(v.item(), rel=1e-4) for k, v in terms.items()}
    for name in wanted:
        for got, want in zip(taught[name], wanted[name], strict=True):
            assert torch.allclose(got, want, rtol=1e-3, atol=1e-6), name
    assert all(p.requires_grad for p in recipe.discriminator.parameters())


@pytest.mark.parametrize(
    ("given", "moved", "alone"),
    [
        ({}, {"generator", "discriminator"}, 0),
        ({"first": "generator"}, {"generator"}, 10),
        ({"first": "discriminator"}, {"discriminator"}, 2),
        ({"weight_adv": 0.0}, {"generator"}, 20),
    ],
)
def test_who_trains_alone_and_how_long(images, given, moved, alone):
    recipe = recipe_of(epochs=5, **given)  # 20 steps in all
    weights = lambda net: runtime.fingerprint(*(p.detach() for p in net.parameters()))  # noqa: E731
    for step in range(20):
        recipe.progress.step = step
        before = {name: weights(net) for name, net in recipe.modules.items()}
        if step in (0, alone - 1, alone):
            recipe.step((images, *recipe.corrupt(images, runtime.generator(0))), runtime.generator(0))
            now = {name for name, net in recipe.modules.items() if weights(net) != before[name]}
            assert now == (moved if step < alone else {"generator", "discriminator"}), step


# --- readings, slips --------------------------------------------------------------------------------------------------


def test_what_the_readings_mean():
    run, written, fixed = (configuration(reading=r, profile="paper") for r in ("as_run", "as_written", "fixed"))
    assert (run.mask_train, written.mask_train, fixed.mask_train) == ("random", "random", "centre")
    assert (written.mask_channel, written.adversarial) == (True, "cross entropy")
    assert (run.numpy_seed_bug, run.preview_mode, run.bn_eps) == (True, "train", 0.8)
    assert (fixed.numpy_seed_bug, fixed.preview_mode, fixed.mask_channel) == (False, "eval", False)
    for cfg, eps in ((run, 0.8), (fixed, 1e-5)):  # the slip reaches eps and not the momentum
        with torch.device("meta"):
            norms = [x for x in PAPER.build(cfg)["generator"].modules() if isinstance(x, nn.BatchNorm2d)]
        assert {(layer.eps, layer.momentum) for layer in norms} == {(eps, 0.1)}


def test_four_workers_draw_the_same_holes_again_in_every_epoch(images):
    def epochs(**given):
        recipe, stream, drawn = recipe_of(8, reading="as_run", **given), runtime.generator(0), []
        for step in range(16):
            recipe.progress.step = step
            drawn.append(runtime.fingerprint(recipe.corrupt(images, stream)[1]))
        return drawn

    first = epochs()
    assert first == ([first[0]] * 4 + [first[4]] * 4) * 2
    assert first[0] != first[4]
    assert epochs(seed=1)[0] != first[0]
    assert len(set(epochs(numpy_seed_bug=False))) == 16


def test_a_preview_in_train_mode_changes_the_running_statistics_and_one_in_eval_mode_does_not(images):
    for reading, changes in (("fixed", False), ("as_run", True)):
        cfg, mask = configuration(reading=reading), masking.square(8, 64, 32, "centre")
        modules = PAPER.build(cfg)
        before = training.weights_hash(modules)
        picture = PAPER.preview(modules, cfg, images, mask)
        assert (training.weights_hash(modules) != before) == changes
        assert torch.equal(masking.apply(picture, mask), masking.apply(images, mask))
        assert not modules["generator"].training


# --- filler, scores ---------------------------------------------------------------------------------------------------


def test_the_patch_head_takes_one_square_and_the_full_head_any_hole(generator):
    patch, full = (PAPER.filler(PAPER.build(cfg), cfg) for cfg in (configuration(), configuration(head="full")))
    strokes = masking.strokes(1, 64, generator)
    assert "32x32" in patch.accepts((1, 3, 64, 64), strokes)
    assert full.accepts((1, 3, 64, 64), strokes) is None
    assert patch.accepts((1, 3, 64, 64), masking.square(1, 64, 32, (0.6, 0.4))) is None
    for shape in ((1, 3, 128, 128), (1, 1, 64, 64)):
        assert "64x64" in full.accepts(shape, strokes)
    holes = PAPER.test_holes(configuration(head="full", mask_train="strokes"), 1)
    assert list(holes) == ["strokes", "centre", "random"]


def test_the_protocol_of_the_context_encoder_is_in_percent(images):
    mask, white = masking.square(8, 64, 32, "centre"), torch.ones_like(images)
    (row,) = evaluate.score(fills.fills("nothing"), images, mask, PAPER.scores, PAPER.untouched)
    assert torch.allclose(row.scores["hole_l1_percent"], 100 * metrics.l1(white, images, mask))
    assert torch.allclose(row.scores["hole_l2_percent"], 100 * metrics.mse(white, images, mask))
