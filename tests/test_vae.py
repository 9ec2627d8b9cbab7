"""The VAE of notebook 02: counts, shapes, parity with torch, each slip of the authors' code, the collapse."""

import pytest
import torch
from conftest import smooth
from torch import nn

from inpaintkit import masking, metrics, runtime
from inpaintkit.papers import vae


def configuration(**given):
    return vae.Parameters.resolve({"profile": "smoke"} | given)


def small(**changes):
    """A network that is built and trained in a moment."""
    torch.manual_seed(0)
    return vae.VAE(52, **{"width": 8, "hidden": 32, "latent": 6} | changes)


def recipe_of(net, **given):
    return vae.PAPER.recipe(nn.ModuleDict({"net": net}), configuration(**given), 4)


@pytest.fixture
def grey():
    """Twelve smooth grey pictures (12, 1, 52, 52) in [0, 1]."""
    return smooth(12, 1, 52)


# --- network ----------------------------------------------------------------------------------------------------------


def test_parameter_counts_and_shapes_at_the_authors_size(count, shapes):
    with torch.device("meta"):
        net = vae.VAE(**vae.NETWORKS["authors"])
        steps = [*net.encoder, net.fc1, net.mean, net.expand, net.fc4, *net.decoder[:-1]]
        seen = shapes(steps, lambda: net(torch.zeros(2, 1, 100, 100)))
    assert count(net) == 301_013_889
    assert (count(net.encoder), count(net.decoder)) == (1_735_232, 1_099_273)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    wanted = [640, 36_928, 73_856, 147_584, 295_168, 590_080, 590_080]  # encoder
    wanted += [131_080_000, 12_001_500, 12_001_500, 12_008_000, 131_088_384]  # dense
    wanted += [819_328, 204_864, 51_232, 18_448, 4_616, 289]  # decoder
    assert [count(layer) for layer in layers] == wanted
    wanted = [(64, 48, 48), (128, 22, 22), (256, 8, 8), (8000,), (1500,), (8000,), (16384,)]
    wanted += [(128, 19, 19), (64, 41, 41), (32, 85, 85), (16, 90, 90), (8, 95, 95), (1, 100, 100)]
    assert seen == wanted


# --- latent vector, loss, step ----------------------------------------------------------------------------------------


def test_kl_is_that_of_torch(generator):
    mu, logvar = torch.randn(2, 5, 30, generator=generator)
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), normal(0.0, 1.0)).sum(1)
    assert torch.allclose(vae.kl(mu, logvar), wanted, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_alpha_channel_adds_a_floor_and_nothing_else(generator, channels):
    pred, truth = torch.rand(2, 4, channels, 9, 9, generator=generator, dtype=torch.float64)
    pred.requires_grad_()
    right, with_alpha = (vae.reconstruction(pred, truth, la_bug) for la_bug in (False, True))
    assert with_alpha.item() == pytest.approx(right.item() + (1 - truth).square().mean().item(), abs=1e-12)
    assert torch.allclose(*(torch.autograd.grad(loss, pred)[0] for loss in (right, with_alpha)), atol=1e-12)
    if channels == 1:  # literally: MSELoss repeats the one channel
        target = torch.cat([2 * truth - 1, torch.ones_like(truth)], 1)
        with pytest.warns(UserWarning, match="different to the input size"):
            assert nn.functional.mse_loss(pred, target).item() == pytest.approx(with_alpha.item(), abs=1e-12)


def test_loss_of_a_step_is_the_authors(grey):
    """MSE - 0.005 sum(1 + logvar - mu^2 - exp(logvar)) / (B C H W), by hand; judged by the gradients of the step."""
    net = small()
    recipe = recipe_of(net, beta=0.005)
    masked, mask = recipe.corrupt(grey, runtime.generator(1))
    pred, mu, logvar = net.train()(masked, runtime.generator(2))
    by_hand = (pred - grey).square().mean() - 0.005 * (1 + logvar - mu**2 - logvar.exp()).sum() / grey.numel()
    wanted = torch.autograd.grad(by_hand, list(net.parameters()))
    recipe.step((grey, masked, mask), runtime.generator(2))
    for (name, weights), gradient in zip(net.named_parameters(), wanted, strict=True):
        assert torch.allclose(weights.grad, gradient, rtol=1e-3, atol=1e-7), name


def test_without_kl_nothing_is_sampled(grey):
    recipe = recipe_of(small(), beta=0.0, lr=1e-2)
    before = recipe.net.logvar.weight.clone()
    for i in range(60):  # long enough for an unbounded variance to overflow
        losses = recipe.step((grey, grey, None), runtime.generator(i))
    assert torch.isfinite(losses["KL"])
    assert torch.equal(recipe.net.logvar.weight, before)


class Spy(nn.Module):
    """Stands in for the network; predicts what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, masked, generator):
        return masked * self.weight, torch.zeros(len(masked), 2), torch.zeros(len(masked), 2)


def test_shuffling_separates_pictures_from_their_truth(grey):
    matched, shuffled = (
        recipe_of(Spy(), pairs=pairs).step((grey, grey, None), runtime.generator(0))["reconstruction"].item()
        for pairs in ("matched", "shuffled")
    )
    assert matched == 0
    assert shuffled > 0.01


# --- readings, holes, fillers -----------------------------------------------------------------------------------------


def test_what_the_readings_mean():
    run, written, fixed = (configuration(reading=r, profile="paper") for r in ("as_run", "as_written", "fixed"))
    assert (run.leaky_slope, run.la_bug, run.bn_test, run.redraw, run.resize) == (1.0, True, "batch1", False, "nearest")
    assert (written.ratio_of, written.redraw, written.leaky_slope) == ("area", False, 0.2)
    assert (fixed.ratio_of, fixed.redraw, fixed.la_bug) == ("side", True, False)
    for cfg in (run, written, fixed):
        assert (cfg.epochs, cfg.lr, cfg.batch_size, cfg.n_train) == (350, 1e-4, 32, None)
        assert (cfg.mirror, cfg.anneal) == (False, False)
    with torch.device("meta"):
        net = vae.PAPER.build(run)["net"]
    assert {layer.negative_slope for layer in net.modules() if isinstance(layer, nn.LeakyReLU)} == {1.0}


@pytest.mark.parametrize(("ratio_of", "share", "name"), [("side", 0.04, "1 x 20x20"), ("area", 0.2025, "1 x 45x45")])
def test_holes_of_side_and_area(ratio_of, share, name, generator):
    cfg = configuration(size=100, ratio=0.2, ratio_of=ratio_of)
    assert masking.coverage(vae.PAPER.holes(cfg, 40, generator)).mean().item() == pytest.approx(share)
    named = vae.PAPER.test_holes(cfg, 3)
    assert next(iter(named)) == name
    assert named.keys() >= {"1 x 20x20", "1 x 40x40", "2 x 20x20"}, "those of the two experiments"


def test_per_image_normalisation_is_training_mode_with_a_batch_of_one(grey):
    net = small().train()
    with torch.no_grad():
        for picture in grey:
            net(picture[None] * 0.5)  # running statistics of darker pictures
        nowhere = torch.zeros_like(grey, dtype=torch.bool)
        ours, running = (vae.Filler(net, bn_test=bn_test)(grey, nowhere) for bn_test in ("batch1", "running"))
        authors = torch.cat([net.train()(picture[None])[0] for picture in grey])
    assert torch.allclose(ours, authors, atol=1e-5)
    assert not torch.allclose(ours, running, atol=1e-2)


def test_the_unnormalised_input_is_hidden_by_batch_statistics_only(generator):
    """The authors train on [-1, 1] and test on [0, 1]: harmless with a batch of one, not in eval mode."""
    busy, net = (torch.rand(6, 1, 52, 52, generator=generator) > 0.5).float(), small(leaky_slope=1.0)
    nowhere = torch.zeros_like(busy, dtype=torch.bool)
    for _ in range(20):
        net.train()(busy)  # running statistics of [-1, 1]

    def change(bn_test):
        right, wrong = (vae.Filler(net, bn_test=bn_test, test_unnormalised=slip) for slip in (False, True))
        return (right(busy, nowhere) - wrong(busy, nowhere)).abs().max().item()

    assert change("running") > 10 * change("batch1")
    assert change("batch1") < 0.01


# --- what needs no training -------------------------------------------------------------------------------------------


def test_slope_one_collapses_and_a_real_activation_does_not(grey):
    def trained(slope):
        recipe = recipe_of(small(leaky_slope=slope), lr=1e-3)
        for i in range(15):  # so that normalisation has statistics of its own
            recipe.step((grey, grey, None), runtime.generator(i))
        return recipe.net

    net = trained(1.0)
    assert vae.collapse_difference(net, grey) < 1e-4
    assert vae.collapse_difference(trained(0.2), grey) > 1e-2
    with torch.no_grad():
        assert torch.allclose(vae.Collapsed(net)(grey), net.eval()(grey)[0], atol=1e-5)
    mask = masking.square(12, 52, 10, "centre")
    measured = [vae.PAPER.measure({"net": net}, configuration(reading=r), grey, mask) for r in ("as_run", "fixed")]
    assert measured == [{"collapse difference": pytest.approx(0, abs=1e-4)}, {}]


def test_sizes_of_the_collapsed_network(count):
    with torch.device("meta"):
        net = vae.VAE(**vae.NETWORKS["authors"], leaky_slope=1.0)
        collapsed = vae.Collapsed(net)
    assert count(collapsed) == 1_735_232 + 16_384 * 1500 + 1500 + 1500 * 10_000 + 10_000
    assert round(3 * count(net) / count(collapsed), 2) == 21.85  # 3.61 GB of checkpoint to 165 MB


def test_survey_agrees_with_its_parts(grey):
    found, mask = vae.survey(grey, draws=2), masking.squares(12, 52, 10, 1, runtime.generator(1))
    by_hand = metrics.ssim(masking.apply(grey, mask), grey, kind="global").mean().item()
    assert found["holes"]["1 x 20 %"]["nothing"]["global"]["draws"][1] == pytest.approx(by_hand, abs=1e-4)
    assert found["floor"] == pytest.approx((1 - grey).square().mean().item(), abs=1e-4)
