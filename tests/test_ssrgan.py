"""SSRGAN of notebook 04: counts, shapes, losses and steps, lost pixels and tiles, and what is claimed about them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from inpaintkit import checks, data, effects, evaluate, masking, metrics, runtime, training
from inpaintkit.effects import ssrgan as study
from inpaintkit.models import classical, ssrgan

pytestmark = pytest.mark.usefixtures("one_thread")


def configuration(**changes):
    given = {"profile": "smoke", "reading": "fixed", "seed": 0} | changes
    return runtime.configure(given, ssrgan.PROFILES, ssrgan.READINGS)


def recipe_of(cfg):
    torch.manual_seed(cfg.seed)
    return ssrgan.Recipe(*ssrgan.from_config(cfg), cfg)


def small(**changes):
    torch.manual_seed(0)
    return ssrgan.Generator(**{"width": 8, "blocks": 1, "shuffles": 0} | changes)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def copies(*modules):
    return [p.detach().clone() for module in modules for p in module.parameters()]


def same(before, after):
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.fixture(scope="module")
def pictures():
    """Embedded pictures of 64x64: 8 to train on, 4 to test, 4 unseen."""
    return data.open("embedded", size=64, n_train=8, n_test=4)


@pytest.fixture
def tiles(generator):
    """Four smooth random RGB pictures (4, 3, 16, 16) in [0, 1]."""
    return F.interpolate(torch.rand(4, 3, 4, 4, generator=generator), 16, mode="bilinear")


# --- networks ---


@pytest.mark.parametrize(
    ("options", "parameters", "billions"),
    [
        ({}, 808_067, 20.4),
        ({"shuffles": 0}, 586_499, 9.6),
        ({"shuffles": 0, "blocks": 2}, 290_307, 4.7),
        ({"shuffles": 1}, 660_291, 10.8),
        ({"head": "shrink"}, 537_203, 8.9),
        ({"blocks": 16}, 1_548_547, 32.5),
    ],
)
def test_parameters_and_multiply_adds_of_the_generator(options, parameters, billions):
    with torch.device("meta"):
        net = ssrgan.Generator(**options)
        assert count(net) == parameters
        assert count(ssrgan.Generator(mask_channels=3, **options)) == parameters + 3 * 64 * 81
        assert round(ssrgan.gmac(net), 1) == billions


def test_parameters_of_the_discriminator_layer_by_layer():
    with torch.device("meta"):
        net, direct = ssrgan.Discriminator(), ssrgan.Discriminator(head="direct")
    layers = [count(layer) for layer in net.layers if count(layer)]
    assert layers == [1_792, 73_728, 256, 294_912, 512, 1_179_648, 1_024, 16_416, 1_539]
    with_norms = [layers[0], sum(layers[1:3]), sum(layers[3:5]), sum(layers[5:7]), sum(layers[7:])]
    assert with_norms == [1_792, 73_984, 295_424, 1_180_672, 17_955]
    assert count(net) == 1_569_827
    assert count(direct) == 1_576_451
    assert count(direct.layers[-1]) == 24_579


def test_shapes_of_the_generator():
    with torch.device("meta"):
        net, shapes = ssrgan.Generator(), []
        for step in [net.stem, *net.blocks, net.after, *net.enlarge, net.last]:
            step.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape[1:])))
        net(torch.zeros(2, 3, 128, 128))
    assert shapes == [(64, 128, 128)] * 8 + [(64, 256, 256), (64, 512, 512), (3, 128, 128)]


def test_shapes_of_the_discriminator():
    with torch.device("meta"):
        net, shapes = ssrgan.Discriminator(), []
        for layer in net.layers:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape[1:])))
        net(torch.zeros(2, 3, 128, 128))
    wanted = [(64, 128, 128), (128, 64, 64), (256, 64, 64), (512, 32, 32), (32, 32, 32), (3, 128, 128)]
    assert shapes == wanted


@pytest.mark.parametrize("head", ["expand", "shrink"])
@pytest.mark.parametrize("shuffles", [0, 1, 2])
def test_a_picture_of_any_size_keeps_its_size(shuffles, head):
    with torch.device("meta"):
        net = ssrgan.Generator(width=16, blocks=1, shuffles=shuffles, head=head)
        for size in ((16, 16), (64, 64), (20, 36), (33, 47)):
            assert net(torch.zeros(2, 3, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("head", ["bottleneck", "direct"])
def test_the_map_of_the_discriminator_has_the_size_of_the_picture(head):
    with torch.device("meta"):
        net = ssrgan.Discriminator(8, head)
        for size in ((16, 16), (64, 64), (20, 36)):
            assert net(torch.zeros(2, 3, *size)).shape == (2, 3, *size)


def test_a_score_of_the_discriminator_sees_13_pixels(generator):
    picture = torch.rand(1, 3, 64, 64, generator=generator).requires_grad_()
    torch.manual_seed(0)
    score = ssrgan.Discriminator(32).eval()(picture)[0, :, 30, 30].sum()
    seen = torch.autograd.grad(score, picture)[0][0].abs().sum(0) > 0
    assert (int(seen.any(0).sum()), int(seen.any(1).sum())) == (13, 13)


@pytest.mark.parametrize(("value_range", "middle"), [("[-1,1]", 0.8808), ("[0,1]", 0.7311)])
def test_both_output_ranges_come_out_between_0_and_1(tiles, value_range, middle):
    net = small(value_range=value_range)
    with torch.no_grad():
        net.last.weight.mul_(100)
        drawn = net(tiles)
        assert 0 <= drawn.min() < 0.05
        assert 0.95 < drawn.max() <= 1
        net.last.weight.zero_()
        net.last.bias.fill_(1.0)
        assert net(tiles).mean().item() == pytest.approx(middle, abs=1e-4)  # (tanh(1) + 1) / 2, or sigmoid(1)


@pytest.mark.parametrize("value_range", ["[-1,1]", "[0,1]"])
def test_what_the_networks_see(tiles, value_range):
    seen = {}
    net, judge = small(value_range=value_range, mask_channels=3), ssrgan.Discriminator(4)
    for name, layer in (("net", net.stem), ("judge", judge.layers)):
        layer.register_forward_pre_hook(lambda module, args, name=name: seen.update({name: args[0]}))
    mask = masking.pixels(4, 16, 0.5, runtime.generator(1))
    net(tiles, mask)
    judge(tiles)
    signed = 2 * tiles - 1
    assert torch.equal(seen["net"][:, :3], signed if value_range == "[-1,1]" else tiles)
    assert torch.equal(seen["net"][:, 3:], mask.float().expand(-1, 3, -1, -1))
    assert torch.equal(seen["judge"], signed)


def test_only_with_a_mask_channel_the_network_knows_which_pixels_are_lost(tiles):
    here, there = (masking.pixels(4, 16, 0.5, runtime.generator(seed)) for seed in (1, 2))
    for channels in (0, 1):
        net = small(mask_channels=channels).eval()
        assert torch.equal(net(tiles, here), net(tiles, there)) == (channels == 0)


@pytest.mark.parametrize(("head", "channels"), [("expand", 8), ("shrink", 2)])
def test_enlarging_turns_the_channels_of_a_pixel_into_a_tile(generator, head, channels):
    convolution, shuffle, activation = layers = ssrgan.enlarge(8, 2, head)
    x = torch.randn(2, 8, 5, 7, generator=generator)
    wide = convolution(x)
    tile = wide.view(2, channels, 2, 2, 5, 7).permute(0, 1, 4, 2, 5, 3).reshape(2, channels, 10, 14)
    assert torch.equal(tile, F.pixel_shuffle(wide, 2))
    assert torch.equal(shuffle(wide), tile)
    assert torch.equal(layers(x), torch.where(tile > 0, tile, 0.25 * tile))
    assert activation.num_parameters == channels


def test_a_block_adds_to_what_came_in_and_so_does_the_chain_of_blocks(tiles):
    block, x = ssrgan.Block(8), torch.randn(2, 8, 6, 6, generator=runtime.generator(0))
    assert torch.allclose(block.eval()(x) - x, block.layers(x), atol=1e-6)
    nn.init.zeros_(block.layers[-1].weight)
    assert torch.equal(block(x), x)
    net = small().eval()
    nn.init.zeros_(net.after[-1].weight)
    without = (torch.tanh(net.last(net.enlarge(net.stem(2 * tiles - 1)))) + 1) / 2
    assert torch.allclose(net(tiles), without, atol=1e-6)


def test_networks_of_a_configuration():
    for changes, channels in (({}, 4), ({"per_channel": True}, 6), ({"reading": "as_written", "per_channel": True}, 3)):
        net, _ = ssrgan.from_config(configuration(**changes))
        assert net.stem[0].in_channels == channels
    net, judge = ssrgan.from_config(configuration(network="narrow", blocks=3, shuffles=2, value_range="[0,1]"))
    with torch.device("meta"):
        wanted = ssrgan.Generator(width=16, blocks=3, shuffles=2, mask_channels=1)
        assert count(net) == count(wanted)
        assert count(judge) == count(ssrgan.Discriminator(8))
    assert (net.value_range, net.last.stride) == ("[0,1]", (4, 4))
    direct = ssrgan.from_config(configuration(head_d="direct"))[1]
    assert direct.layers[-1].in_channels == 8 * 4


@pytest.mark.parametrize(("size", "crop"), [(64, 24), (60, 30), (30, 64)])
def test_a_size_that_cannot_be_cut_is_refused(size, crop):
    with pytest.raises(
        ValueError, match=rf"size must be a multiple of the parts' {min(crop, size)} .* and {size} is not"
    ):
        ssrgan.from_config(configuration(size=size, crop=crop))


# --- lost pixels, tiles ---


@pytest.mark.parametrize("p", [0.3, 0.8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_holes_take_the_share_asked_for(generator, p, per_channel):
    cfg = configuration(p=p, per_channel=per_channel)
    for mask in (ssrgan.holes(cfg, 8, 64, generator), ssrgan.fixed_holes(cfg, 8)):
        assert mask.shape == (8, 3 if per_channel else 1, 64, 64)
        assert torch.allclose(masking.coverage(mask), torch.tensor(p).double(), atol=0.04)
        assert masking.coverage(mask).mean().item() == pytest.approx(p, abs=0.015)
    if per_channel:
        assert not torch.equal(mask[:, 0], mask[:, 1])


def test_all_levels_are_drawn_picture_by_picture(generator):
    share = masking.coverage(ssrgan.holes(configuration(levels="all"), 300, 64, generator))
    assert ((share > 0.27) & (share < 0.83)).all()
    assert share.min() < 0.32
    assert share.max() > 0.78
    assert share.mean().item() == pytest.approx(0.55, abs=0.03)


def test_test_holes_are_the_same_for_every_seed_and_follow_the_level():
    first = ssrgan.fixed_holes(configuration(), 4)
    assert torch.equal(first, ssrgan.fixed_holes(configuration(seed=1, levels="all"), 4))
    assert torch.equal(first, ssrgan.fixed_holes(configuration(p=0.3), 4, 0.8))
    assert not torch.equal(first, ssrgan.fixed_holes(configuration(), 4, 0.3))


@pytest.mark.parametrize("p", ssrgan.LEVELS)
def test_zero_fill_costs_about_the_share_of_lost_pixels(pictures, p):
    image = pictures.test.float() / 255
    mask = ssrgan.fixed_holes(configuration(), len(image), p)
    (row,) = evaluate.score([classical.Nothing()], image, mask, ["raw NMSE [0,1]", "image NMSE [0,1]"])
    for values in row.scores.values():
        assert torch.allclose(values, torch.tensor(p).double(), atol=0.02)


def test_tiles_put_together_are_the_pictures(pictures):
    cfg = configuration(crop=16)
    tiles = ssrgan.training_images(pictures.train, cfg)
    assert tiles.dtype == torch.uint8
    assert tiles.shape == (8 * 16, 3, 16, 16)
    again = tiles.view(8, 4, 4, 3, 16, 16).permute(0, 3, 1, 4, 2, 5).reshape(8, 3, 64, 64)
    assert torch.equal(again, pictures.train)
    with_holes = ssrgan.training_images(pictures.train, configuration(crop=16, redraw=False))
    assert torch.equal(with_holes[:, :3], tiles)
    assert set(with_holes[:, 3:].unique().tolist()) == {0, 255}


@pytest.mark.parametrize(("redraw", "per_channel"), [(True, False), (False, False), (False, True)])
def test_only_without_redraw_a_tile_keeps_its_holes(pictures, redraw, per_channel):
    cfg = configuration(redraw=redraw, per_channel=per_channel)
    recipe, drawn = recipe_of(cfg), {}
    given = ssrgan.training_images(pictures.train, cfg)

    def step(batch, generator):
        image, masked, mask = batch
        assert mask.shape[1] == (3 if per_channel else 1)
        assert torch.equal(masked, masking.apply(image[:, :3], mask, "grey"))
        for picture, holes in zip(image[:, :3], mask, strict=True):
            drawn.setdefault(runtime.fingerprint(picture), []).append(runtime.fingerprint(holes))
        return {}

    recipe.step, recipe.schedulers = step, {}
    training.fit(recipe, given, epochs=3, batch_size=8, seed=0, progress=False)
    assert {len(holes) for holes in drawn.values()} == {3}
    assert {len(set(holes)) for holes in drawn.values()} == ({3} if redraw else {1})
    assert len({holes[0] for holes in drawn.values()}) == len(given), "every tile must get holes of its own"
    if not redraw:
        other = ssrgan.training_images(pictures.train, configuration(redraw=False, per_channel=per_channel, seed=1))
        assert not torch.equal(other, given)


@pytest.mark.parametrize(("reading", "value"), [("fixed", 0.5), ("as_written", 0.0)])
def test_what_stands_in_a_lost_pixel(tiles, reading, value):
    recipe = recipe_of(configuration(reading=reading, crop=16))
    masked, mask = recipe.corrupt(tiles, runtime.generator(1))
    holes = mask.expand_as(tiles)
    assert (masked[holes] == value).all()
    assert torch.equal(masked[~holes], tiles[~holes])


# --- losses and steps ---


def test_content_loss_of_an_error_of_a_tenth(tiles):
    assert ssrgan.content_loss(tiles, tiles) == 0
    assert ssrgan.content_loss(tiles + 0.1, tiles).item() == pytest.approx(0.04, rel=1e-4)
    assert ssrgan.content_loss(tiles + 0.1, tiles, "[0,1]").item() == pytest.approx(0.01, rel=1e-4)


def test_adversarial_losses_on_known_cases():
    loss, shape = ssrgan.adversarial_loss, (2, 3, 4, 4)
    for score, true, drawn in ((0.5, 0.25, 0.25), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (3.0, 4.0, 9.0)):
        assert loss(torch.full(shape, score), 1.0).item() == pytest.approx(true)
        assert loss(torch.full(shape, score), 0.0).item() == pytest.approx(drawn)
        assert loss(torch.full(shape, score), torch.full(shape, 1.0)).item() == pytest.approx(true)
    scores = torch.randn(shape, generator=runtime.generator(0))
    p = scores.sigmoid()
    assert loss(scores, 1.0, "cross entropy").item() == pytest.approx(-p.log().mean().item(), rel=1e-5)
    assert loss(scores, 0.0, "cross entropy").item() == pytest.approx(-(1 - p).log().mean().item(), rel=1e-5)


def test_true_pictures_should_score_between_nine_tenths_and_one(generator):
    scores = torch.zeros(4, 3, 32, 32)
    target = ssrgan.real_target(scores, 0.1, generator)
    assert target.shape == scores.shape
    assert 0.9 <= target.min() < 0.905
    assert 0.995 < target.max() <= 1
    assert target.mean().item() == pytest.approx(0.95, abs=0.002)
    assert (ssrgan.real_target(scores, 0.0, generator) == 1).all()


@pytest.mark.parametrize("value_range", ["[-1,1]", "[0,1]"])
@pytest.mark.parametrize(("weight", "kind"), [(0.001, "lsgan"), (0.5, "lsgan"), (0.5, "cross entropy")])
def test_the_generator_is_taught_by_both_terms_with_their_weights(tiles, weight, kind, value_range):
    cfg = configuration(weight_adv=weight, adversarial=kind, value_range=value_range, crop=16)
    recipe, by_hand = recipe_of(cfg), recipe_of(cfg)
    masked, mask = recipe.corrupt(tiles, runtime.generator(0))
    losses, pred = recipe.step_g(tiles, masked, mask)
    drawn = by_hand.generator(masked, mask)
    content = (drawn - tiles).square().mean() * (4 if value_range == "[-1,1]" else 1)
    scores = by_hand.discriminator(drawn)
    fooling = (scores - 1).square().mean() if kind == "lsgan" else -scores.sigmoid().log().mean()
    assert torch.allclose(pred, drawn)
    assert losses["content"].item() == pytest.approx(content.item(), rel=1e-4)
    assert losses["fooling D"].item() == pytest.approx(fooling.item(), rel=1e-4)
    wanted = torch.autograd.grad(content + weight * fooling, list(by_hand.generator.parameters()))
    for p, want in zip(recipe.generator.parameters(), wanted, strict=True):
        assert torch.allclose(p.grad, want, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["lsgan", "cross entropy"])
def test_the_discriminator_is_taught_by_true_and_drawn_pictures(tiles, kind):
    cfg = configuration(adversarial=kind, crop=16)
    recipe, by_hand = recipe_of(cfg), recipe_of(cfg)
    drawn = 1 - tiles
    losses = recipe.step_d(tiles, drawn, runtime.generator(3))
    true, fake = by_hand.discriminator(tiles), by_hand.discriminator(drawn)
    target = 1 - 0.1 * torch.rand(tiles.shape, generator=runtime.generator(3))
    if kind == "lsgan":
        loss = (true - target).square().mean() + fake.square().mean()
    else:
        p = true.sigmoid()
        loss = -(target * p.log() + (1 - target) * (1 - p).log()).mean() - (1 - fake.sigmoid()).log().mean()
    assert losses["D"].item() == pytest.approx(loss.item(), rel=1e-4)
    wanted = torch.autograd.grad(loss, list(by_hand.discriminator.parameters()))
    for p, want in zip(recipe.discriminator.parameters(), wanted, strict=True):
        assert torch.allclose(p.grad, want, rtol=1e-3, atol=1e-6)


def test_each_step_trains_one_network_and_a_whole_step_both(tiles):
    recipe = recipe_of(configuration(weight_adv=0.1, crop=16))
    masked, mask = recipe.corrupt(tiles, runtime.generator(0))
    nets = [recipe.generator, recipe.discriminator]

    def moved(step):
        before = [copies(net) for net in nets]
        step()
        return [not same(old, copies(net)) for old, net in zip(before, nets, strict=True)]

    assert moved(lambda: recipe.step_g(tiles, masked, mask)) == [True, False]
    assert all(p.grad is None for p in recipe.discriminator.parameters()), "asked, not taught"
    assert all(p.requires_grad for p in recipe.discriminator.parameters())
    assert moved(lambda: recipe.step_d(tiles, 1 - tiles, runtime.generator(0))) == [False, True]
    assert moved(lambda: recipe.step((tiles, masked, mask), runtime.generator(0))) == [True, True]


def test_the_discriminator_judges_what_was_drawn_before_the_generators_step(tiles):
    cfg = configuration(crop=16)
    recipe, judged = recipe_of(cfg), []
    masked, mask = recipe.corrupt(tiles, runtime.generator(0))
    with torch.no_grad():
        drawn = recipe_of(cfg).generator(masked, mask)
    recipe.step_d = lambda image, pred, generator: judged.append((image, pred)) or {}
    recipe.step((torch.cat([tiles, mask.float()], 1), masked, mask), runtime.generator(0))
    ((image, pred),) = judged
    assert torch.equal(image, tiles)
    assert torch.allclose(pred, drawn)
    assert not pred.requires_grad


def test_without_an_adversarial_term_the_discriminator_takes_no_part(tiles):
    recipe = recipe_of(configuration(weight_adv=0.0, crop=16))
    before = training.weights_hash(recipe.discriminator)
    masked, mask = recipe.corrupt(tiles, runtime.generator(0))
    assert recipe.step((tiles, masked, mask), runtime.generator(0)).keys() == {"content"}
    assert training.weights_hash(recipe.discriminator) == before
    assert recipe.schedulers.keys() == {"generator"}
    assert recipe_of(configuration()).schedulers.keys() == {"generator", "discriminator"}


@pytest.mark.parametrize(
    ("reading", "epochs", "steps_down"),
    [
        ("fixed", 8, [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]),
        ("as_written", 4, [1, 0.5, 0.25, 0.125]),
        ("as_run", 10, [1, 1, 0.6, 0.6, 0.36, 0.36, 0.216, 0.216, 0.1296, 0.1296]),
        ("fixed", 1, [1]),
    ],
)
def test_the_learning_rate_goes_down_in_steps(reading, epochs, steps_down):
    recipe, rates = recipe_of(configuration(reading=reading, epochs=epochs)), []

    def step(batch, generator):
        rates.append([optimiser.param_groups[0]["lr"] for optimiser in recipe.optimisers.values()])
        for optimiser in recipe.optimisers.values():
            optimiser.step()
        return {}

    recipe.step = step
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    training.fit(recipe, images, epochs=epochs, batch_size=2, seed=0, progress=False)
    assert rates == [[pytest.approx(3e-3 * share)] * 2 for share in steps_down]


def test_adams_momentum_is_the_default_for_both():
    for optimiser in recipe_of(configuration(lr=1e-3)).optimisers.values():
        assert isinstance(optimiser, torch.optim.Adam)
        assert optimiser.param_groups[0]["betas"] == (0.9, 0.999)
        assert optimiser.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize("changes", [{}, {"reading": "as_written"}, {"reading": "as_run", "value_range": "[0,1]"}])
def test_one_batch_can_be_learned_by_heart(tiles, changes):
    recipe = recipe_of(configuration(crop=16, **changes))
    stream = runtime.generator(0)
    masked, mask = recipe.corrupt(tiles, stream)
    losses = [recipe.step((tiles, masked, mask), stream)["content"].item() for _ in range(40)]
    assert losses[-1] < losses[0] / 4


# --- training, filling ---


@pytest.mark.parametrize("changes", [{"levels": "all"}, {"redraw": False, "reading": "as_run"}, {"weight_adv": 0.0}])
def test_a_training_in_two_parts_ends_with_the_same_weights(tmp_path, pictures, changes):
    cfg = configuration(epochs=2, **changes)

    class Stop(Exception):
        pass

    def train(out_dir, stop_at=None):
        recipe = recipe_of(cfg)
        step, done = recipe.step, []

        def counted(batch, generator):
            if len(done) == stop_at:
                raise Stop
            done.append(1)
            return step(batch, generator)

        recipe.step = counted
        options = {"epochs": 2, "batch_size": 8, "seed": 0, "out_dir": out_dir, "progress": False}
        given = ssrgan.training_images(pictures.train, cfg)
        history = training.fit(recipe, given, checkpoint_seconds=0, **options)
        return history, training.weights_hash(recipe.modules)

    with pytest.raises(Stop):
        train(tmp_path / "two", stop_at=5)
    history, in_two = train(tmp_path / "two")
    assert history.resumed_from == 5
    assert in_two == train(tmp_path / "one")[1]


@pytest.mark.parametrize("changes", [{}, {"reading": "as_written"}])
def test_mixed_precision_trains_in_float32_weights(pictures, changes):
    """What a GPU with bf16 does, on a CPU: pictures and losses in float32, weights that stay so and learn."""
    recipe, full = (recipe_of(configuration(**changes)) for _ in range(2))
    image = pictures.test.float() / 255
    mask = ssrgan.fixed_holes(recipe.cfg, 4)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert recipe.generator(image, mask).dtype == torch.float32
        assert recipe.discriminator(image).dtype == torch.float32
    recipe, before = recipe_of(configuration(**changes)), copies(recipe.modules)
    options = {"epochs": 1, "batch_size": 8, "seed": 0, "log_every": 1, "progress": False}
    given = ssrgan.training_images(pictures.train[:4], recipe.cfg)
    history = training.fit(recipe, given, precision="bf16", **options)
    assert not same(before, copies(recipe.modules))
    assert {p.dtype for p in recipe.modules.parameters()} == {torch.float32}
    exact = training.fit(full, given, **options)
    assert exact.losses.keys() == history.losses.keys() == {"content", "fooling D", "D"}
    for name in exact.losses:
        assert history.losses[name][0] == pytest.approx(exact.losses[name][0], rel=0.05)
        assert history.losses[name][0] != exact.losses[name][0], "bf16 was not used"


@pytest.mark.parametrize("fill", ["grey", "black", "noise"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_filler_fills_whatever_stood_in_the_hole(tiles, fill, channels):
    net = small(mask_channels=channels)
    mask = masking.pixels(4, 16, 0.5, runtime.generator(2), channels)
    net.train()(tiles, mask)  # running statistics of its own
    filler = ssrgan.Filler(net, fill=fill)
    before = training.weights_hash(net)
    black, white = (filler(masking.apply(tiles, mask, stood), mask) for stood in ("black", "white"))
    assert torch.equal(black, white)
    assert not net.training
    assert training.weights_hash(net) == before, "scoring must not change the running statistics"
    given = masking.apply(tiles, mask, fill, runtime.generator(0))
    assert torch.allclose(black, net(given, mask), atol=1e-6)
    assert not black.requires_grad
    assert not torch.equal(masking.composite(tiles, black, mask), black), "it redraws known pixels, too"


def test_the_filler_takes_many_pictures_of_any_size(generator):
    filler = ssrgan.Filler(small(mask_channels=1, shuffles=2), fill="grey")
    image = torch.rand(103, 3, 12, 20, generator=generator)
    mask = masking.pixels(103, (12, 20), 0.5, generator)
    pred = filler(image, mask)
    assert pred.shape == image.shape
    apart = torch.cat([filler(image[i : i + 1], mask[i : i + 1]) for i in (0, 49, 50, 102)])
    assert torch.allclose(pred[[0, 49, 50, 102]], apart, atol=1e-5)


def test_the_filler_says_what_it_does_not_take():
    one, three = (masking.pixels(1, 16, 0.5, runtime.generator(0), channels) for channels in (1, 3))
    for mask_channels, wanted in ((0, None), (1, "needs one mask for all channels"), (3, None)):
        filler = ssrgan.Filler(small(mask_channels=mask_channels))
        assert filler.accepts((1, 1, 16, 16), one) == "takes RGB pictures"
        assert filler.accepts((1, 3, 16, 16), one) is None
        assert filler.accepts((1, 3, 16, 16), three) == wanted


# --- scores, study ---


class Halve(masking.Filler):
    """Gets every value wrong by half, the known ones too."""

    name = "halve"

    def __call__(self, masked, mask):
        return self.image / 2


def test_raw_scores_judge_the_known_pixels_too(images, generator):
    mask, halve = masking.pixels(8, 64, 0.4, generator), Halve()
    halve.image = images
    names = ["raw NMSE [0,1]", "image NMSE [0,1]", "raw NMSE [-1,1]", "image NMSE [-1,1]"]
    (row,) = evaluate.score([halve], images, mask, names)
    raw, full, raw_signed, full_signed = row.scores.values()
    assert torch.allclose(raw, torch.tensor(0.25).double(), atol=1e-6)
    assert torch.allclose(full, metrics.nmse(masking.composite(images, images / 2, mask), images))
    signed = images.square().sum((1, 2, 3)) / (2 * images - 1).square().sum((1, 2, 3))  # 2 x - 1 is off by x
    assert torch.allclose(raw_signed, signed.double(), rtol=1e-4)
    assert (full < raw).all()
    assert (full_signed < raw_signed).all()


def test_the_curves_are_means_over_pictures_and_not_of_a_batch():
    image = torch.tensor([1.0, 0.1]).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    mask = masking.square(2, 8, 4, "centre")
    scores = study.curves(image + 0.1, image, mask)
    assert scores["raw NMSE"] == pytest.approx((0.01 + 1) / 2, rel=1e-4)
    assert scores["composited NMSE"] == pytest.approx((0.01 + 1) / 2 / 4, rel=1e-4)


def test_both_parts_are_tested_at_the_level_asked_for(pictures):
    for p in (0.3, 0.7):
        parts = study.test_parts(configuration(), pictures, p)
        for name, given in (("test", pictures.test), ("unseen", pictures.unseen)):
            image, mask = parts.pop(name)
            assert torch.equal(image, given.float() / 255)
            assert torch.allclose(masking.coverage(mask), torch.tensor(p).double(), atol=0.03)
        assert not parts


def test_every_profile_and_reading_is_allowed_and_the_readings_differ_as_said():
    for parameters in [*ssrgan.PROFILES.values(), *ssrgan.READINGS.values()]:
        assert parameters.keys() <= ssrgan.ALLOWED.keys()
        for name, value in parameters.items():
            if value is not None:
                runtime.check_range(name, value, ssrgan.ALLOWED[name])
    written, run, fixed = (configuration(profile="paper", reading=name) for name in runtime.READINGS)
    names = ("blocks", "shuffles", "mask_channel", "fill", "lr_every", "lr_factor")
    assert [getattr(written, name) for name in names] == [6, 2, False, "black", 0.25, 0.5]
    assert [getattr(run, name) for name in names] == [2, 0, False, "black", 0.2, 0.6]
    assert [getattr(fixed, name) for name in names] == [6, 0, True, "grey", 0.25, 0.5]
    assert (written.n_train, written.n_test, written.size, written.batch_size) == (None, None, 128, 64)


def test_effects_are_variants_of_the_demo_and_need_other_runs():
    for effect in study.EFFECTS.values():
        variants = list(effect.variants.values())
        assert len(variants) >= 2
        assert all(variants.count(parameters) == 1 for parameters in variants)
        for parameters in variants:
            assert parameters.keys() <= ssrgan.ALLOWED.keys()
            reading = {name: value for name, value in parameters.items() if name == "reading"}
            for name, value in parameters.items():
                runtime.check_range(name, value, ssrgan.ALLOWED[name])
                unchanged = study.configuration({} if name == "reading" else reading).values()[name]
                assert value != unchanged, f"{name}={value} changes nothing"
            with torch.device("meta"):
                ssrgan.from_config(study.configuration(parameters))
    fewer = study.configuration(study.EFFECTS["pictures"].variants["160 pictures"])
    demo = study.configuration({})
    assert fewer.n_train * fewer.epochs == demo.n_train * demo.epochs, "as many steps"
    assert [fill.name for fill in study.fills()] == list(study.FILLS)


def test_the_study_scores_a_tiny_run(tmp_path, monkeypatch):
    tiny = {"n_train": 4, "n_test": 4, "epochs": 1, "network": "smallest"}
    monkeypatch.setattr(study, "configuration", lambda p, seed=0: configuration(**{"seed": seed} | tiny | p))
    monkeypatch.setattr(study, "FILLS", ("do nothing", "mean of known pixels", study.BAR))
    run = study.run({"per_channel": True}, 3, tmp_path / "a")
    assert run == study.run({"per_channel": True}, 3, tmp_path / "b") | {"seconds": run["seconds"]}
    demo = study.run({}, 3, tmp_path / "c")
    assert demo["weights"] != run["weights"]
    assert [list(scores) for scores in demo["scores"].values()] == [["test", "unseen"]] * 6
    assert list(demo["scores"]) == ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8"]
    assert demo["curves"]["composited NMSE"] == [pytest.approx(study.value(demo), abs=1e-5)]
    assert demo["curves"]["raw NMSE"] == [pytest.approx(study.value(demo, score="raw NMSE [0,1]"), abs=1e-5)]
    references = study.references()
    assert list(references) == [*demo["scores"], "each its own"]
    for level in demo["scores"]:
        nothing = references[level]["test"]["do nothing"]["image NMSE [0,1]"]["mean"]
        assert nothing == pytest.approx(float(level), abs=0.02)
    assert references["each its own"]["unseen"].keys() == {"do nothing", "mean of known pixels", study.BAR}
    runs = [{"parameters": {}} | demo, {"parameters": {}} | demo, {"parameters": {"per_channel": True}} | run]
    record = {"runs": runs, "references": references}
    first, second = study.lines(record, "channels")
    assert first["test: composited"] == f"{study.value(demo):.4f} ± 0.0000"
    assert second["unseen: composited"] == f"{study.value(run, part='unseen'):.4f}"
    assert study.difference(record, {"per_channel": True}).endswith("(1 seeds)")
    assert [holds for _, holds in study.verdicts(record)] == [False], "an untrained network must not pass"


def test_what_was_not_run_says_so():
    for name, effect in study.EFFECTS.items():
        table = study.lines(None, name)
        assert [line["trained"] for line in table] == list(effect.variants)
        assert {line["test: composited"] for line in table} == {"not run"}
    assert study.difference(None, {"blocks": 6}) == "not run"
    table = study.level_lines(None, [])
    assert [line["trained"] for line in table][-3:] == ["one for each level", study.BAR, "biharmonic"]
    assert all(line.keys() == {"trained"} for line in table)


def test_levels_side_by_side_are_means_over_seeds():
    def scores(first):
        return {
            f"{p:g}": {"test": {"image NMSE [0,1]": {"mean": first + i}}, "unseen": {"image NMSE [0,1]": {"mean": 99}}}
            for i, p in enumerate(ssrgan.LEVELS)
        }

    def swept(dataset, value):
        rows = [{"filler": name, "image NMSE [0,1]": {"mean": v}} for name, v in (("Telea", 50), ("SSRGAN", value))]
        return {"dataset": dataset, "parameters": {"p": 0.3}, "scores": {"test": rows}}

    fills = {name: {"image NMSE [0,1]": {"mean": 7}} for name in (study.BAR, "biharmonic")}
    references = {f"{p:g}": {"test": fills} for p in ssrgan.LEVELS}
    runs = [{"parameters": {}, "scores": scores(first)} for first in (1, 2)]
    runs.append({"parameters": {"levels": "all"}, "scores": scores(10)})
    table = study.level_lines(
        {"runs": runs, "references": references}, [swept("embedded", 3), swept("embedded", 4), swept("flowers", 60)]
    )
    demo, other, every, own, box, _ = table
    levels = ["p=0.3", "p=0.4", "p=0.5", "p=0.6", "p=0.7", "p=0.8"]
    assert demo == {"trained": "trained at 80 %"} | dict(zip(levels, (1.5, 2.5, 3.5, 4.5, 5.5, 6.5), strict=True))
    assert other == {"trained": "trained at 30 %"}
    assert every == {"trained": "trained at 30 to 80 %"} | dict(zip(levels, range(10, 16), strict=True))
    assert own == {"trained": "one for each level", "p=0.3": 3.5}
    assert box == {"trained": study.BAR} | dict.fromkeys(levels, 7)


def test_verdicts_can_fail():
    def record(*values):
        runs = [
            {"parameters": {}, "scores": {"0.8": {"test": {"image NMSE [0,1]": {"mean": value}}}}} for value in values
        ]
        worse = {"parameters": {"fill": "black"}, "scores": {"0.8": {"test": {"image NMSE [0,1]": {"mean": 1.0}}}}}
        references = {"0.8": {"test": {study.BAR: {"image NMSE [0,1]": {"mean": 0.02}}}}}
        return {"runs": [*runs, worse], "references": references}

    assert [holds for _, holds in study.verdicts(record(0.01, 0.019))] == [True]
    assert [holds for _, holds in study.verdicts(record(0.01, 0.021))] == [False]
    assert [holds for _, holds in study.verdicts(record())] == [False]
    ((claim, _),) = study.verdicts(record(0.01, 0.019))
    assert claim == f"the demo's composited NMSE on test (0.0100, 0.0190) is below {study.BAR} (0.0200)"


def test_recorded_effects_bear_out_what_the_notebook_says():
    record = effects.recorded("04_ssrgan")
    assert record is not None
    for claim, holds in study.verdicts(record):
        assert holds, claim
    wanted = [p for effect in study.EFFECTS.values() for p in effect.variants.values()]
    for parameters in wanted:
        assert {run["seed"] for run in effects.matching(record, parameters)} == set(effects.SEEDS), parameters


# --- exercises ---


def test_exercise_on_the_pixel_shuffle_undone():
    def folded(x, r):
        return x.view(len(x), x.shape[1], x.shape[2] // r, r, x.shape[3] // r, r)

    def right(x, r):
        return folded(x, r).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)

    assert checks.unshuffle(right) == "exercise 1: correct"
    assert checks.unshuffle(torch.pixel_unshuffle) == "exercise 1: correct"
    assert checks.unshuffle(lambda x, r: ...) == f"exercise 1: {checks.OPEN}"
    columns_first = checks.unshuffle(lambda x, r: folded(x, r).permute(0, 1, 5, 3, 2, 4).flatten(1, 3))
    assert "not in their places: channel c r^2 + r i + j holds row i, column j" in columns_first
    assert "not in their places" in checks.unshuffle(lambda x, r: x.reshape(2, 8, 3, 5))
    assert "lost or doubled" in checks.unshuffle(lambda x, r: x[:, :, ::r, ::r].repeat(1, r**2, 1, 1))
    assert "and yours is (2, 2, 6, 10)" in checks.unshuffle(lambda x, r: x)
    assert "and yours is ()" in checks.unshuffle(lambda x, r: 7)
    assert "stopped with RuntimeError" in checks.unshuffle(lambda x, r: x.view(7))


def test_exercise_on_the_mean_nmse():
    def of_images(preds, images):
        return torch.cat([metrics.nmse(p, x) for p, x in zip(preds, images, strict=True)])

    def of_batches(preds, images):
        pairs = zip(preds, images, strict=True)
        return torch.stack([((p - x) ** 2).sum() / (x**2).sum() for p, x in pairs])

    def right(preds, images):
        return of_images(preds, images).mean()

    def of_means(preds, images):
        return sum(part.mean() for part in of_images(preds, images).split(40)) / 3

    assert checks.mean_nmse(right) == "exercise 2: correct"
    assert checks.mean_nmse(lambda p, x: ...) == f"exercise 2: {checks.OPEN}"
    assert "divided by 1000" in checks.mean_nmse(lambda p, x: of_batches(p, x).sum() / 1000)
    assert "divided by 1000" in checks.mean_nmse(lambda p, x: of_images(p, x).sum() / 1000)
    assert "NMSE of batches" in checks.mean_nmse(lambda p, x: of_batches(p, x).mean())
    assert "a mean of batch means" in checks.mean_nmse(of_means)
    assert "close, but rounded" in checks.mean_nmse(lambda p, x: round(float(right(p, x)), 4))
    assert "over these 85 images is" in checks.mean_nmse(lambda p, x: 7)
    assert "yours says 7.00000" in checks.mean_nmse(lambda p, x: 7)
    assert "stopped with ZeroDivisionError" in checks.mean_nmse(lambda p, x: 1 / 0)
