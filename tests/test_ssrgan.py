"""SSRGAN of notebook 04: counts, shapes, what the networks see, losses by hand, lost pixels, tiles, the rate."""

import pytest
import torch
from conftest import smooth
from torch import nn
from torch.nn import functional as F

from inpaintkit import evaluate, fills, masking, runtime
from inpaintkit.papers import ssrgan

PAPER = ssrgan.PAPER


def configuration(**given):
    return ssrgan.Parameters.resolve({"profile": "smoke"} | given)


def recipe_of(**given):
    cfg = configuration(**given)
    runtime.seed_everything(0)
    return PAPER.recipe(PAPER.build(cfg), cfg, 4)


def small(**changes):
    torch.manual_seed(0)
    return ssrgan.Generator(**{"width": 8, "blocks": 1, "shuffles": 0} | changes)


@pytest.fixture
def tiles():
    return smooth(4, 3, 16)


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parameters", "billions"),
    [({}, 808_067, 20.4), ({"shuffles": 0, "blocks": 2}, 290_307, 4.7), ({"head": "shrink"}, 537_203, 8.9)],
)
def test_parameters_and_multiply_adds_of_the_generator(options, parameters, billions, count):
    with torch.device("meta"):
        net = ssrgan.Generator(**options)
        assert count(net) == parameters
        assert count(ssrgan.Generator(mask_channels=3, **options)) == parameters + 3 * 64 * 81
        assert round(ssrgan.gmac(net), 1) == billions


def test_parameters_of_the_discriminator_layer_by_layer(count):
    with torch.device("meta"):
        net, direct = ssrgan.Discriminator(), ssrgan.Discriminator(head="direct")
    layers = [count(layer) for layer in net.layers if count(layer)]
    assert layers == [1_792, 73_728, 256, 294_912, 512, 1_179_648, 1_024, 16_416, 1_539]
    assert (count(net), count(direct), count(direct.layers[-1])) == (1_569_827, 1_576_451, 24_579)


def test_shapes_at_the_authors_size(shapes):
    with torch.device("meta"):
        net, judge, picture = ssrgan.Generator(), ssrgan.Discriminator(), torch.zeros(2, 3, 128, 128)
        seen = shapes([net.stem, *net.blocks, net.after, *net.enlarge, net.last], lambda: net(picture))
        layers = [layer for layer in judge.layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        judged = shapes(layers, lambda: judge(picture))
    assert seen == [(64, 128, 128)] * 8 + [(64, 256, 256), (64, 512, 512), (3, 128, 128)]
    assert judged == [(64, 128, 128), (128, 64, 64), (256, 64, 64), (512, 32, 32), (32, 32, 32), (3, 128, 128)]


@pytest.mark.parametrize(("value_range", "middle"), [("[-1,1]", 0.8808), ("[0,1]", 0.7311)])
def test_what_the_networks_see_and_that_both_ranges_come_out_between_0_and_1(tiles, value_range, middle):
    net, judge, seen = small(value_range=value_range, mask_channels=3), ssrgan.Discriminator(4), {}
    for name, layer in (("net", net.stem), ("judge", judge.layers)):
        layer.register_forward_pre_hook(lambda module, args, name=name: seen.update({name: args[0]}))
    mask, signed = masking.pixels(4, 16, 0.5, runtime.generator(1)), 2 * tiles - 1
    judge(tiles)
    with torch.no_grad():
        net.last.weight.mul_(100)
        pred = net(tiles, mask)
        assert 0 <= pred.min() < 0.05
        assert 0.95 < pred.max() <= 1
        net.last.weight.zero_()
        net.last.bias.fill_(1.0)
        assert net(tiles, mask).mean().item() == pytest.approx(middle, abs=1e-4)  # (tanh(1) + 1) / 2, or sigmoid(1)
    assert torch.equal(seen["net"][:, :3], signed if value_range == "[-1,1]" else tiles)
    assert torch.equal(seen["net"][:, 3:], mask.float().expand(-1, 3, -1, -1))
    assert torch.equal(seen["judge"], signed)


def test_a_network_that_starts_from_the_box_begins_as_the_box_and_never_changes_known_pixels(tiles):
    net, mask = small(start="box", mask_channels=3), masking.pixels(4, 16, 0.5, runtime.generator(1))
    masked = masking.apply(tiles, mask, "black")
    assert torch.equal(net(masked, mask), fills.Box()(masked, mask))
    nn.init.normal_(net.last.weight)
    with torch.no_grad():
        later = net(masked, mask)
    known = ~mask.expand_as(tiles)
    assert torch.equal(later[known], tiles[known])
    assert not torch.equal(later[~known], fills.Box()(masked, mask)[~known])


def test_a_block_adds_to_what_came_in_and_so_does_the_chain_of_blocks(tiles):
    block, net = ssrgan.Block(8).eval(), small().eval()
    x = torch.randn(2, 8, 6, 6, generator=runtime.generator(0))
    assert torch.allclose(block(x) - x, block.layers(x), atol=1e-6)
    nn.init.zeros_(net.after[-1].weight)
    without = (torch.tanh(net.last(net.enlarge(net.stem(2 * tiles - 1)))) + 1) / 2
    assert torch.allclose(net(tiles), without, atol=1e-6)


def test_what_the_readings_mean():
    names = ("blocks", "shuffles", "mask_channel", "fill", "lr_factor", "lr", "batch_size", "size")
    wanted = {
        "as_written": [6, 2, False, "black", 0.5, 2e-4, 64, 128],
        "as_run": [2, 0, False, "black", 0.6, 2e-4, 64, 128],
        "fixed": [6, 0, True, "grey", 0.5, 2e-4, 64, 128],
    }
    for reading, values in wanted.items():
        cfg = configuration(reading=reading, profile="paper")
        assert [getattr(cfg, name) for name in names] == values, reading


# --- lost pixels, tiles -----------------------------------------------------------------------------------------------


def test_a_network_for_all_levels_is_trained_at_30_to_80_percent(generator):
    share = masking.coverage(PAPER.holes(configuration(levels="all"), 300, generator))
    assert [share.min(), share.max(), share.mean()] == pytest.approx([0.3, 0.8, 0.55], abs=0.03)


def test_zero_fill_costs_about_the_share_of_lost_pixels_at_every_level_of_the_paper(images):
    named = PAPER.test_holes(configuration(p=0.5), 8)
    assert list(named) == ["50 %", "30 %", "40 %", "60 %", "70 %", "80 %"]
    for level, mask in named.items():
        (row,) = evaluate.score(fills.fills("nothing"), images, mask, ["raw_nmse", "image_nmse"])
        for values in row.scores.values():
            assert torch.allclose(values, torch.tensor(float(level[:2]) / 100).double(), atol=0.03)


def test_tiles_put_together_are_the_pictures_and_keep_their_holes_without_redraw(images):
    pictures = (255 * images).byte()

    def tiles(**given):
        return PAPER.training_set(pictures, configuration(crop=16, **given))

    cut, redrawn = tiles()
    assert redrawn is None
    assert cut.dtype == torch.uint8
    assert torch.equal(cut.view(8, 4, 4, 3, 16, 16).permute(0, 3, 1, 4, 2, 5).reshape(8, 3, 64, 64), pictures)
    _, fixed = tiles(redraw=False, per_channel=True)
    assert fixed.shape == (128, 3, 16, 16)
    assert len({runtime.fingerprint(mask) for mask in fixed}) == 128, "every tile has holes of its own"
    assert torch.equal(fixed, tiles(redraw=False, per_channel=True)[1])
    assert not torch.equal(fixed, tiles(redraw=False, per_channel=True, seed=1)[1])


# --- losses and steps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value_range", ["[-1,1]", "[0,1]"])
@pytest.mark.parametrize(("weight", "kind"), [(0.001, "lsgan"), (0.5, "lsgan"), (0.5, "cross entropy")])
def test_both_networks_are_taught_by_their_losses(tiles, weight, kind, value_range):
    """Losses and gradients of a whole step, computed by hand on a second copy of the networks."""
    given = {"weight_adv": weight, "adversarial": kind, "value_range": value_range, "crop": 16}
    recipe, by_hand = recipe_of(**given), recipe_of(**given)
    masked, mask = recipe.corrupt(tiles, runtime.generator(0))
    losses = recipe.step((tiles, masked, mask), runtime.generator(3))

    generator, discriminator = by_hand.modules["generator"], by_hand.modules["discriminator"]
    pred = generator(masked, mask)
    scores, target = discriminator(pred), 1 - 0.1 * torch.rand(tiles.shape, generator=runtime.generator(3))
    terms = {"content": (pred - tiles).square().mean() * (4 if value_range == "[-1,1]" else 1)}
    terms["fooling D"] = (scores - 1).square().mean() if kind == "lsgan" else -scores.sigmoid().log().mean()
    loss = terms["content"] + weight * terms["fooling D"]
    wanted = {"generator": torch.autograd.grad(loss, list(generator.parameters()))}
    true, fake = discriminator(tiles), discriminator(pred.detach())
    if kind == "lsgan":
        terms["D"] = (true - target).square().mean() + fake.square().mean()
    else:
        terms["D"] = F.binary_cross_entropy(true.sigmoid(), target) - (1 - fake.sigmoid()).log().mean()
    wanted["discriminator"] = torch.autograd.grad(terms["D"], list(discriminator.parameters()))
    assert {k: v.item() for k, v in losses.items()} == {k: pytest.approx(v.item(), rel=1e-4) for k, v in terms.items()}
    for name, gradients in wanted.items():
        for p, want in zip(recipe.modules[name].parameters(), gradients, strict=True):
            assert torch.allclose(p.grad, want, rtol=1e-3, atol=1e-6), name
    assert all(p.requires_grad for p in recipe.discriminator.parameters())


@pytest.mark.parametrize(("reading", "steps", "factor"), [("as_written", 4, 0.5), ("as_run", 5, 0.6)])
def test_the_learning_rate_goes_down_in_steps_of_two_epochs(reading, steps, factor):
    recipe, rates = recipe_of(reading=reading, epochs=2 * steps, lr=1e-2), []
    for epoch in range(2 * steps):
        recipe.progress.step = epoch * recipe.progress.steps_per_epoch
        recipe.slow_down()
        for optimiser in recipe.optimisers.values():
            rates.append(optimiser.param_groups[0]["lr"])
            assert optimiser.param_groups[0]["betas"] == (0.9, 0.999)
    assert rates == pytest.approx([1e-2 * factor**i for i in range(steps) for _ in range(2 * 2)])


def test_without_an_adversarial_term_the_discriminator_takes_no_part(tiles):
    recipe = recipe_of(weight_adv=0.0, crop=16)
    losses = recipe.step((tiles, *recipe.corrupt(tiles, runtime.generator(0))), runtime.generator(0))
    assert losses.keys() == {"content"}


# --- filler -----------------------------------------------------------------------------------------------------------


def test_the_filler_says_what_it_does_not_take(generator):
    one, three = (masking.pixels(1, 16, 0.5, generator, channels) for channels in (1, 3))
    for mask_channels in (0, 1, 3):
        filler = ssrgan.Filler(small(mask_channels=mask_channels))
        assert "RGB" in filler.accepts((1, 1, 16, 16), one)
        assert filler.accepts((1, 3, 16, 16), one) is None
        assert bool(filler.accepts((1, 3, 16, 16), three)) == (mask_channels == 1)
