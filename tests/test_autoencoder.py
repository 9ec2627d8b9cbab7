"""The autoencoder of notebook 01 and its pixel baselines: counts, known answers, what the readings mean."""

import numpy as np
import pytest
import torch
from torch import nn

from inpaintkit import masking, patches, runtime
from inpaintkit.papers import autoencoder, baselines


def configuration(**given):
    given = {"profile": "smoke", "dense": 256, "size": 64, "side": 16, "hole": "authors"} | given
    return autoencoder.Parameters.resolve(given)


# --- the network ------------------------------------------------------------------------------------------------------

COUNTS = [  # variants of the report's text, figure and code; the last column: a reading's own
    ({"n_dec": 4}, 34_704_854, None),
    ({"n_dec": 5}, 34_704_938, "as_run"),
    ({"conv_layers": 3, "dense": 2048, "n_dec": 4}, 21_112_774, "as_written"),
    ({"conv_layers": 3, "n_dec": 5}, 9_576_042, None),
    ({"conv_layers": 3, "narrow": 64}, 9_692_003, "fixed"),
    ({"conv_layers": 3, "side": 32}, 9_576_042, None),
]


@pytest.mark.parametrize(("arguments", "parameters", "reading"), COUNTS)
def test_parameter_counts_and_output_shapes(arguments, parameters, reading, count):
    side = arguments.get("side", 16)
    with torch.device("meta"):
        net = autoencoder.Autoencoder(128, **arguments)
        assert count(net) == parameters
        assert net(torch.zeros(2, 3, 128, 128)).shape == (2, 3, side, side)
        if reading:
            cfg = autoencoder.Parameters.resolve({"profile": "paper", "reading": reading})
            assert count(autoencoder.PAPER.build(cfg)) == parameters
            assert cfg.resize == ("bilinear" if reading == "as_run" else "bicubic")  # Keras's, not antialiased
            assert (cfg.decay > 0) == (reading == "as_run"), "only the code has a decay"
            assert (cfg.side, cfg.hole, cfg.mirror, cfg.anneal) == (16, "authors", False, False)


def test_layers_have_the_shapes_of_the_figure(shapes):
    with torch.device("meta"):
        net = autoencoder.Autoencoder(128)
        layers = [*net.encoder[0], *net.encoder[1:], *net.decoder]
        seen = shapes(layers, lambda: net(torch.zeros(1, 3, 128, 128)))
    wanted = [(64, 64, 64), (32, 32, 32), (32768,), (1024,), (3, 8, 8), (64, 8, 8), (128, 8, 8), (3, 16, 16)]
    assert list(dict.fromkeys(seen)) == wanted


# --- hole, loss, step -------------------------------------------------------------------------------------------------


def test_taking_and_putting_a_patch_are_inverse(images, generator):
    mask = autoencoder.hole(8, 64, 16, "random", generator)
    patch = patches.take_patch(images, mask, 16)
    assert torch.equal(patch.reshape(-1), images[mask.expand_as(images)])
    assert torch.equal(patches.put_patch(masking.apply(images, mask), patch, mask), images)


def test_hole_loss_known_answers(images):
    mask = autoencoder.hole(8, 64, 16, "authors")
    assert masking.bounding_box(autoencoder.hole(1, 128, 16, "authors"))[0].tolist() == [60, 62, 76, 78]
    patch = patches.take_patch(images, mask, 16)
    assert autoencoder.hole_loss(patch + 0.5, images, mask).item() == pytest.approx(0.25)
    wrong_outside = torch.where(mask, images + 0.5, images + 9)
    assert autoencoder.hole_loss(wrong_outside, images, mask).item() == pytest.approx(0.25)


def test_keras_decay_divides_the_rate():
    cfg = configuration(reading="as_run", lr=1e-3)
    recipe = autoencoder.PAPER.recipe(autoencoder.PAPER.build(cfg), cfg, 334)
    recipe.progress.step = 50 * 334
    recipe.slow_down()
    rate = recipe.optimisers["adam"].param_groups[0]["lr"]
    assert rate == pytest.approx(1e-3 / (1 + 1e-6 * 50 * 334))


def test_holes_of_random_size_have_one_side_a_batch_and_all_sizes_over_batches(generator):
    cfg = configuration(decoder="full", hole="random", side_max=24)
    sides = set()
    for _ in range(60):
        top, _, bottom, _ = masking.bounding_box(autoencoder.PAPER.holes(cfg, 3, generator)).unbind(1)
        sides.add(tuple((bottom - top).tolist()))
    assert {len(set(batch)) for batch in sides} == {1}
    assert {batch[0] for batch in sides} >= {8, 24}
    assert next(iter(autoencoder.PAPER.test_holes(cfg, 4))) == "8-24 random"


def test_a_patch_network_takes_its_own_square_only_and_a_full_one_any_hole():
    patch, full = (
        autoencoder.PAPER.filler(autoencoder.PAPER.build(cfg), cfg)
        for cfg in (configuration(), configuration(decoder="full"))
    )
    own, shape = autoencoder.hole(8, 64, 16, "authors"), (8, 3, 64, 64)
    others = [masking.square(8, 64, 15, "centre"), own | masking.square(8, 64, 3, (0.1, 0.1)), own[..., :32, :]]
    assert patch.accepts(shape, own) is full.accepts(shape, others[1]) is None
    assert all("16x16" in patch.accepts(shape, mask) for mask in others[:2])
    assert "64x64" in patch.accepts((8, 3, 128, 128), own)


def test_channels_that_are_dead_are_counted(images):
    cfg = configuration(n_dec=4, narrow=3)
    modules = autoencoder.PAPER.build(cfg)
    relu_after = modules["net"].decoder[0]  # three channels wide
    with torch.no_grad():
        relu_after.weight.zero_()
        relu_after.bias.copy_(torch.tensor([1.0, -1.0, -1.0]))
    measured = autoencoder.PAPER.measure(modules, cfg, images, autoencoder.hole(8, 64, 16, "authors"))
    assert measured["channels alive, fewest of 3"] <= 1
    assert measured["detail"] >= 0


# --- one missing pixel ------------------------------------------------------------------------------------------------


def test_perceptron_has_417_parameters_and_learns(count, generator):
    net, x = baselines.perceptron(), 255 * torch.rand(200, 24, generator=generator)
    assert count(net) == 417
    curve = baselines.train_perceptron(net, x, x.mean(1, keepdim=True), steps=300)
    assert curve[-1] < curve[0] / 2


def test_patches_are_views_and_neighbours_leave_out_the_centre_only():
    channel = torch.arange(63.0).view(7, 9)
    cut = baselines.patches(channel, 3, 2)
    assert cut.data_ptr() == channel.data_ptr(), "a view, not a copy"
    loop = [channel[y : y + 3, x : x + 3] for y in range(0, 5, 2) for x in range(0, 7, 2)]
    assert torch.equal(cut.reshape(-1, 3, 3), torch.stack(loop))
    x, y = baselines.neighbours_and_centre(torch.arange(25.0).view(1, 1, 5, 5))
    assert (y.item(), x[0].tolist()) == (12, [*range(12), *range(13, 25)])


def test_closed_form_finds_planted_weights_and_equals_numpy(generator):
    x, w = 255 * torch.rand(500, 8, generator=generator), torch.randn(9, generator=generator).double()
    y = baselines.predict_linear(w, x)
    assert torch.allclose(baselines.closed_form(x, y), w, atol=1e-8)
    noisy = y + torch.randn(500, 1, generator=generator)
    numpy = np.linalg.lstsq(np.c_[x.numpy(), np.ones(500)], noisy.numpy(), rcond=None)[0][:, 0]
    assert np.allclose(baselines.closed_form(x, noisy), numpy, atol=1e-6)


def test_gradient_descent_equals_autograd_and_diverges_above_the_limit(generator):
    x = 100 * torch.rand(60, 8, generator=generator).double()
    y, net = x.mean(1, keepdim=True) + 1, nn.Linear(8, 1, dtype=torch.float64)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    sgd = torch.optim.SGD(net.parameters(), 1e-5)
    for _ in range(50):
        sgd.zero_grad()
        (net(x) - y).square().mean().backward()
        sgd.step()
    steps, ours = baselines.gradient_descent(x, y, 1e-5, 50, keep=5)
    assert steps == [1, 2, 5, 10, 23, 50]
    assert torch.allclose(ours[-1], torch.cat([net.weight[0], net.bias]).detach(), atol=1e-12)
    limit = baselines.largest_stable_rate(x)
    below, above = (baselines.gradient_descent(x, y, factor * limit, 5000)[1][-1].norm() for factor in (0.99, 1.01))
    assert below < 10
    assert above > 1e10


@pytest.mark.parametrize(("width", "size"), [(3, 63), (3, 64), (5, 64), (5, 65)])
def test_pixel_filler_fills_isolated_pixels_from_their_neighbours_only(width, size):
    image = torch.rand(2, 3, size, size, generator=runtime.generator(0))
    filler = baselines.PixelFiller("mean", width, lambda x: x.mean(1, keepdim=True))
    grid = baselines.single_pixel_grid(2, size)
    assert filler.accepts(image.shape, grid) is None
    pred, white = (filler(masking.apply(image, grid, fill), grid) for fill in ("black", "white"))
    assert torch.equal(pred, white)
    assert torch.equal(pred[~grid.expand_as(pred)], image[~grid.expand_as(pred)])
    around = image[1, 1, 12 - width // 2 : 13 + width // 2, 12 - width // 2 : 13 + width // 2]
    by_hand = (around.sum() - image[1, 1, 12, 12]) / (width**2 - 1)
    assert pred[1, 1, 12, 12].item() == pytest.approx(by_hand.item(), abs=1e-6)
    at_the_border = torch.zeros_like(grid)
    at_the_border[:, :, size - 1, 9] = True
    for wrong in (at_the_border, masking.square(2, size, 2, "centre")):
        assert f"{width}x{width}" in filler.accepts(image.shape, wrong)
