import numpy as np
import pytest
import torch
from torch import nn

from inpaintkit import masking
from inpaintkit.models import autoencoder, baselines

# --- baselines ---


def test_patches_are_views_and_equal_the_loop():
    channel = torch.arange(63.0).view(7, 9)
    patches = baselines.patches(channel, 3, 2)
    assert patches.data_ptr() == channel.data_ptr(), "a view, not a copy"
    loop = [channel[y : y + 3, x : x + 3] for y in range(0, 5, 2) for x in range(0, 7, 2)]
    assert torch.equal(patches.reshape(-1, 3, 3), torch.stack(loop))


def test_neighbours_leave_out_the_centre_only():
    x, y = baselines.neighbours_and_centre(torch.arange(25.0).view(1, 1, 5, 5))
    assert y.item() == 12
    assert x[0].tolist() == [*range(12), *range(13, 25)]


def test_closed_form_finds_planted_weights_and_equals_numpy():
    generator = torch.Generator().manual_seed(0)
    x = 255 * torch.rand(500, 8, generator=generator)
    w = torch.randn(9, generator=generator).double()
    y = baselines.predict_linear(w, x)
    assert torch.allclose(baselines.closed_form(x, y), w, atol=1e-8)
    noisy = y + torch.randn(500, 1, generator=generator)
    numpy = np.linalg.lstsq(np.c_[x.numpy(), np.ones(500)], noisy.numpy(), rcond=None)[0][:, 0]
    assert np.allclose(baselines.closed_form(x, noisy), numpy, atol=1e-6)


def test_gradient_descent_equals_autograd_and_diverges_above_the_limit():
    x = 100 * torch.rand(60, 8, generator=torch.Generator().manual_seed(0)).double()
    y = x.mean(1, keepdim=True) + 1
    net = nn.Linear(8, 1, dtype=torch.float64)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    sgd = torch.optim.SGD(net.parameters(), 1e-5)
    for _ in range(50):
        sgd.zero_grad()
        (net(x) - y).square().mean().backward()
        sgd.step()
    steps, ours = baselines.gradient_descent(x, y, 1e-5, 50, keep=5)
    assert steps == [1, 2, 5, 10, 23, 50]
    assert ours.shape == (6, 9)
    assert torch.allclose(ours[-1], torch.cat([net.weight[0], net.bias]).detach(), atol=1e-12)
    limit = baselines.largest_stable_rate(x)
    below, above = (baselines.gradient_descent(x, y, factor * limit, 5000)[1][-1].norm() for factor in (0.99, 1.01))
    assert below < 10
    assert above > 1e10


def test_perceptron_has_417_parameters_and_learns():
    net = baselines.perceptron()
    assert sum(p.numel() for p in net.parameters()) == 417
    assert net[0].weight.abs().max() <= 2
    assert (net[0].bias == 0.1).all()
    x = 255 * torch.rand(200, 24, generator=torch.Generator().manual_seed(0))
    curve = baselines.train_perceptron(net, x, x.mean(1, keepdim=True), steps=300)
    assert curve[-1] < curve[0] / 2


def test_pixel_filler_fills_isolated_pixels_and_refuses_larger_holes(images):
    mean = baselines.PixelFiller("mean of 8", 3, lambda x: x.mean(1, keepdim=True))
    grid = baselines.single_pixel_grid(8, 64)
    assert grid[0].sum() == 12 * 12
    assert mean.accepts(images.shape, grid) is None
    pred = mean(masking.apply(images, grid), grid)
    by_hand = (images[2, 1, 11:14, 11:14].sum() - images[2, 1, 12, 12]) / 8
    assert pred[2, 1, 12, 12].item() == pytest.approx(by_hand.item(), abs=1e-6)
    assert torch.equal(pred[~grid.expand_as(pred)], images[~grid.expand_as(pred)])
    assert "alone in its 3x3" in mean.accepts(images.shape, masking.square(8, 64, 2, "centre"))


@pytest.mark.parametrize("width", [3, 5])
@pytest.mark.parametrize("size", [63, 64, 65])
def test_pixel_filler_never_reads_a_missing_pixel(width, size):
    image = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    filler = baselines.PixelFiller("mean", width, lambda x: x.mean(1, keepdim=True))
    grid = baselines.single_pixel_grid(2, size)
    assert filler.accepts(image.shape, grid) is None
    assert torch.equal(*(filler(masking.apply(image, grid, fill), grid) for fill in ("black", "white")))
    at_the_border = torch.zeros_like(grid)
    at_the_border[:, :, size - 1, 9] = True
    assert "neighbourhood" in filler.accepts(image.shape, at_the_border)


# --- autoencoder ---

COUNTS = [  # PAPERS' table: every variant of the report's text, figure and code
    ({"n_dec": 4}, 34_704_854),
    ({"n_dec": 5}, 34_704_938),
    ({"side": 32}, 34_704_938),
    ({"conv_layers": 3, "dense": 2048, "n_dec": 4}, 21_112_774),
    ({"conv_layers": 3, "dense": 2048, "side": 32}, 21_112_858),
    ({"conv_layers": 3, "n_dec": 4}, 9_575_958),
    ({"conv_layers": 3, "n_dec": 5}, 9_576_042),
    ({"conv_layers": 3, "side": 32}, 9_576_042),
]


@pytest.mark.parametrize(("arguments", "count"), COUNTS)
def test_parameter_counts_and_output_shapes(arguments, count):
    with torch.device("meta"):
        net = autoencoder.Autoencoder(128, **arguments)
        assert sum(p.numel() for p in net.parameters()) == count
        side = arguments.get("side", 16)
        assert net(torch.zeros(2, 3, 128, 128)).shape == (2, 3, side, side)


def test_layers_have_the_shapes_of_the_figure():
    with torch.device("meta"):
        net, shapes = autoencoder.Autoencoder(128), []
        for layer in [*net.encoder[0], *net.encoder[1:], *net.decoder]:
            layer.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape[1:])))
        net(torch.zeros(1, 3, 128, 128))
    wanted = [(64, 64, 64), (32, 32, 32), (32768,), (1024,), (3, 8, 8), (64, 8, 8), (128, 8, 8), (3, 16, 16)]
    assert list(dict.fromkeys(shapes)) == wanted


@pytest.mark.parametrize("encoder", ["alexnet", "googlenet"])
@pytest.mark.parametrize("size", [64, 128])
def test_heavier_encoders_fit_the_same_decoder(encoder, size):
    with torch.device("meta"):
        net = autoencoder.Autoencoder(size, encoder=encoder)
        assert net(torch.zeros(2, 3, size, size)).shape == (2, 3, 16, 16)


def test_taking_and_putting_a_patch_are_inverse(images, generator):
    mask = autoencoder.hole(8, 64, 16, "random", generator)
    patch = autoencoder.take_patch(images, mask, 16)
    assert torch.equal(patch.reshape(-1), images[mask.expand_as(images)])
    restored = autoencoder.put_patch(masking.apply(images, mask), patch, mask)
    assert torch.equal(restored, images)


def test_hole_loss_known_answers(images):
    mask = autoencoder.hole(8, 64, 16, "authors")
    patch = autoencoder.take_patch(images, mask, 16)
    assert autoencoder.hole_loss(patch + 0.5, images, mask).item() == pytest.approx(0.25)
    wrong_outside = torch.where(mask, images + 0.5, images + 9)
    assert autoencoder.hole_loss(wrong_outside, images, mask).item() == pytest.approx(0.25)


@pytest.mark.parametrize("decoder", ["patch", "full"])
def test_one_batch_can_be_overfitted(images, decoder):
    torch.manual_seed(0)
    net = autoencoder.Autoencoder(64, dense=256, n_dec=4, out_act="sigmoid", decoder=decoder)
    recipe = autoencoder.Recipe(net)
    masked, mask = recipe.corrupt(images, None)
    losses = [recipe.step((images, masked, mask), None)["hole MSE"].item() for _ in range(150)]
    assert losses[-1] < losses[0] / 20


def test_filler_accepts_its_own_hole_only(images):
    net = autoencoder.Autoencoder(64, dense=256)
    filler = autoencoder.Filler(net)
    own = autoencoder.hole(8, 64, 16, "authors")
    assert filler.accepts(images.shape, own) is None
    pred = filler(masking.apply(images, own, "white"), own)
    assert torch.equal(pred, filler(masking.apply(images, own), own)), "what stands in the hole must not matter"
    assert filler.accepts(images.shape, masking.square(8, 64, 15, "centre")) == "takes one 16x16 square hole"
    assert "16x16" in filler.accepts(images.shape, own | masking.square(8, 64, 3, (0.1, 0.1)))
    assert "64x64" in filler.accepts((8, 3, 128, 128), own)
    assert autoencoder.Filler(autoencoder.Autoencoder(64, dense=256, decoder="full")).accepts(
        images.shape, masking.pixels(8, 64, 0.3, torch.Generator().manual_seed(0))
    ) is None  # fmt: skip


@pytest.mark.parametrize(
    ("size", "side", "message"), [(100, 16, "size must be 64, 128"), (64, 24, "side must be 16 or 32")]
)
def test_impossible_networks_are_refused(size, side, message):
    with pytest.raises(ValueError, match=message):
        autoencoder.Autoencoder(size, side)


def test_keras_decay_divides_the_rate():
    recipe = autoencoder.Recipe(autoencoder.Autoencoder(64, dense=256), lr=1e-3, decay=1e-6, steps_per_epoch=334)
    for _ in range(50):
        recipe.optimisers["adam"].step()
        recipe.schedulers["decay"].step()
    rate = recipe.optimisers["adam"].param_groups[0]["lr"]
    assert rate == pytest.approx(1e-3 / (1 + 1e-6 * 50 * 334))


def test_pictures_are_resized_as_each_reading_does():
    assert {reading: given["resize"] for reading, given in autoencoder.READINGS.items()} == {
        "as_written": "bicubic",
        "as_run": "bilinear",  # Keras' loader, without antialiasing
        "fixed": "bicubic",
    }
