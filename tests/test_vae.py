"""The VAE of notebook 02: counts, shapes, each slip of the authors' code, and what is claimed about it."""

import pytest
import torch
from torch import nn

from inpaintkit import effects, forensics, masking, metrics, report, runtime, training
from inpaintkit.effects import vae as study
from inpaintkit.models import vae


def configuration(**changes):
    return runtime.configure({"profile": "smoke", "reading": "fixed", "seed": 0} | changes, vae.PROFILES, vae.READINGS)


def small(**changes):
    """A network that is built and trained in a moment."""
    torch.manual_seed(0)
    return vae.VAE(52, **{"width": 8, "hidden": 32, "latent": 6} | changes)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.fixture
def grey(generator):
    """Twelve smooth grey pictures (12, 1, 52, 52) in [0, 1]."""
    coarse = torch.rand(12, 1, 7, 7, generator=generator)
    return nn.functional.interpolate(coarse, 52, mode="bilinear").clamp(0, 1)


# --- network ---


def test_parameter_counts_at_the_authors_size():
    with torch.device("meta"):
        net = vae.VAE(**vae.NETWORKS["authors"])
    assert count(net.encoder) == 1_735_232
    assert count(net.decoder) == 1_099_273
    assert count(net.fc1, net.mean, net.logvar, net.expand, net.fc4) == 298_179_384
    assert count(net) == 301_013_889
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    wanted = [640, 36_928, 73_856, 147_584, 295_168, 590_080, 590_080]  # encoder
    wanted += [131_080_000, 12_001_500, 12_001_500, 12_008_000, 131_088_384]  # dense
    wanted += [819_328, 204_864, 51_232, 18_448, 4_616, 289]  # decoder
    assert [count(layer) for layer in layers] == wanted


def test_shapes_at_the_authors_size():
    with torch.device("meta"):
        net, shapes = vae.VAE(**vae.NETWORKS["authors"]), []
        for step in [*net.encoder, net.fc1, net.mean, net.expand, net.fc4, *net.decoder[:-1]]:
            step.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape[1:])))
        pred, mu, logvar = net(torch.zeros(2, 1, 100, 100))
    assert pred.shape == (2, 1, 100, 100)
    assert mu.shape == logvar.shape == (2, 1500)
    wanted = [(64, 48, 48), (128, 22, 22), (256, 8, 8), (8000,), (1500,), (8000,), (16384,)]
    wanted += [(128, 19, 19), (64, 41, 41), (32, 85, 85), (16, 90, 90), (8, 95, 95), (1, 100, 100)]
    assert shapes == wanted


@pytest.mark.parametrize(("size", "channels"), [(52, 1), (60, 3), (100, 3), (132, 1)])
def test_other_sizes_and_colours_come_out_as_they_went_in(size, channels):
    with torch.device("meta"):
        net = vae.VAE(size, channels, width=16, hidden=64, latent=8)
        assert net(torch.zeros(2, channels, size, size))[0].shape == (2, channels, size, size)


@pytest.mark.parametrize("size", [44, 64, 101])
def test_sizes_that_do_not_close_are_refused(size):
    with pytest.raises(ValueError, match=rf"size must be 52, 60, .* and {size} is not"):
        vae.VAE(size)


def test_per_image_normalisation_is_training_mode_with_a_batch_of_one(grey):
    net = small()
    net.train()
    with torch.no_grad():
        for picture in grey:
            net(picture[None] * 0.5)  # running statistics of darker pictures
        before = {name: value.clone() for name, value in net.state_dict().items()}
        ours = vae.Filler(net, bn_test="batch1")(grey, torch.zeros_like(grey, dtype=torch.bool))
        kept = all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        running = vae.Filler(net)(grey, torch.zeros_like(grey, dtype=torch.bool))
        net.train()
        authors = torch.cat([net(picture[None])[0] for picture in grey])
    assert torch.allclose(ours, authors, atol=1e-5)
    assert kept, "scoring must not change the running statistics"
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


# --- code, loss, step ---


def test_kl_is_that_of_torch(generator):
    mu, logvar = torch.randn(2, 5, 30, generator=generator)
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), normal(0.0, 1.0)).sum(1)
    assert torch.allclose(vae.kl(mu, logvar), wanted, atol=1e-5)
    assert vae.kl(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0
    assert vae.kl(torch.full((1, 4), 1.0), torch.zeros(1, 4)).item() == pytest.approx(2.0)


def test_drawn_codes_have_mean_deviation_and_gradients():
    mu, logvar = torch.full((20_000, 1), 3.0, requires_grad=True), torch.full((20_000, 1), -1.0, requires_grad=True)
    z = vae.reparameterise(mu, logvar, runtime.generator(0))
    assert z.mean().item() == pytest.approx(3, abs=0.02)
    assert z.std().item() == pytest.approx(torch.tensor(-0.5).exp().item(), abs=0.02)
    z.square().mean().backward()
    assert mu.grad.abs().min() > 0
    assert logvar.grad.abs().min() > 0


@pytest.mark.parametrize("channels", [1, 3])
def test_the_alpha_channel_adds_a_floor_and_nothing_else(generator, channels):
    pred, truth = torch.rand(2, 4, channels, 9, 9, generator=generator, dtype=torch.float64)
    pred.requires_grad_()
    right, with_alpha = (vae.reconstruction(pred, truth, la_bug) for la_bug in (False, True))
    assert with_alpha.item() == pytest.approx(right.item() + (1 - truth).square().mean().item(), abs=1e-12)
    gradients = [torch.autograd.grad(loss, pred)[0] for loss in (right, with_alpha)]
    assert torch.allclose(*gradients, atol=1e-12)
    if channels == 1:  # literally: MSELoss repeats the one channel
        target = torch.cat([2 * truth - 1, torch.ones_like(truth)], 1)
        with pytest.warns(UserWarning, match="different to the input size"):
            assert nn.functional.mse_loss(pred, target).item() == pytest.approx(with_alpha.item(), abs=1e-12)


def test_loss_of_a_step_is_the_authors(grey):
    """MSE - 0.005 sum(1 + logvar - mu^2 - exp(logvar)) / (B C H W), by hand; judged by the gradients of the step."""
    net = small()
    recipe = vae.Recipe(net, configuration(beta=0.005))
    masked, mask = recipe.corrupt(grey, runtime.generator(1))
    pred, mu, logvar = net.train()(masked, runtime.generator(2))
    by_hand = (pred - grey).square().mean() - 0.005 * (1 + logvar - mu**2 - logvar.exp()).sum() / grey.numel()
    wanted = torch.autograd.grad(by_hand, list(net.parameters()))
    recipe.step((grey, masked, mask), runtime.generator(2))
    for (name, weights), gradient in zip(net.named_parameters(), wanted, strict=True):
        assert torch.allclose(weights.grad, gradient, rtol=1e-3, atol=1e-7), name
    assert net.logvar.weight.grad.abs().max() > 0


def test_without_kl_no_code_is_drawn(grey):
    recipe = vae.Recipe(small(), configuration(beta=0.0, lr=1e-2))
    masked, mask = recipe.corrupt(grey, runtime.generator(0))
    before = recipe.net.logvar.weight.clone()
    for i in range(60):  # long enough for an unbounded variance to overflow
        losses = recipe.step((grey, masked, mask), runtime.generator(i))
    assert torch.isfinite(losses["KL"])
    assert torch.equal(recipe.net.logvar.weight, before)


def test_one_batch_can_be_overfitted(grey):
    recipe = vae.Recipe(small(latent=32, hidden=64), configuration(lr=1e-3, beta=0.0))
    masked, mask = recipe.corrupt(grey[:6], runtime.generator(0))
    losses = [recipe.step((grey[:6], masked, mask), runtime.generator(i))["reconstruction"].item() for i in range(100)]
    assert losses[-1] < losses[0] / 5


def test_trains_in_mixed_precision_with_losses_and_pictures_in_float32(grey):
    net, images = small(), (255 * grey).byte()
    cfg = configuration(redraw=False)
    recipe = vae.Recipe(net, cfg)
    options = {"epochs": 2, "batch_size": 6, "seed": 0, "precision": "bf16", "progress": False, "log_every": 1}
    history = training.fit(recipe, vae.training_images(images, cfg), **options)
    assert len(history.losses["reconstruction"]) == 4
    assert all(0 < loss < 1 for loss in history.losses["reconstruction"])
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        assert {part.dtype for part in net(grey)} == {torch.float32}


@pytest.mark.parametrize("redraw", [True, False])
def test_a_training_in_two_parts_ends_like_one(grey, tmp_path, redraw):
    """What the article's authors could not do; random codes, mirrored pictures and running statistics included."""
    cfg, images = configuration(redraw=redraw, augment=True), (255 * grey).byte()
    ended = []
    for name, parts in {"one": (3,), "two": (1, 3)}.items():
        for epochs in parts:
            recipe = vae.Recipe(small(), cfg)
            options = {"epochs": epochs, "batch_size": 4, "seed": 0, "out_dir": tmp_path / name, "progress": False}
            training.fit(recipe, vae.training_images(images, cfg), **options)
        ended.append(training.weights_hash(recipe.modules))
    assert ended[0] == ended[1]


def test_holes_of_side_and_area():
    generator = runtime.generator(0)
    side = vae.holes(configuration(size=100), 5, generator)
    assert masking.coverage(side).tolist() == pytest.approx([0.04] * 5)
    area = vae.holes(configuration(size=100, ratio_of="area"), 5, generator)
    assert masking.coverage(area).tolist() == pytest.approx([0.2025] * 5)
    two = vae.holes(configuration(size=100, squares=2), 200, generator)
    assert masking.coverage(two).max().item() == pytest.approx(0.08)
    assert vae.holes(configuration(hole="pixels", ratio=0.5), 5, generator).float().mean() == pytest.approx(
        0.5, abs=0.02
    )


def test_fixed_holes_stay_with_their_picture_and_redrawn_ones_do_not():
    images = torch.full((6, 1, 52, 52), 255, dtype=torch.uint8)
    fixed = vae.training_images(images, configuration(redraw=False))
    assert fixed.shape == (6, 2, 52, 52)
    recipe = vae.Recipe(small(), configuration(redraw=False))
    batch = fixed.float() / 255
    (a, mask), (b, _) = recipe.corrupt(batch, runtime.generator(1)), recipe.corrupt(batch, runtime.generator(2))
    assert torch.equal(a, b)
    assert a.shape == (6, 1, 52, 52)
    assert len({tuple(box.tolist()) for box in masking.bounding_box(mask)}) > 1, "a place of its own for each"
    assert torch.equal(a == 0, mask)
    recipe.step((batch, a, mask), runtime.generator(0))
    redrawn = vae.Recipe(small(), configuration(redraw=True))
    assert vae.training_images(images, configuration(redraw=True)) is images
    first, second = (redrawn.corrupt(batch[:, :1], runtime.generator(i))[0] for i in (1, 2))
    assert not torch.equal(first, second)


class Spy(nn.Module):
    """Stands in for the network and keeps what it is given; predicts it unchanged."""

    channels = 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, masked, generator):
        self.seen = masked
        return masked * self.weight, torch.zeros(len(masked), 2), torch.zeros(len(masked), 2)


def test_mirroring_mirrors_picture_and_truth_alike_and_shuffling_separates_them(grey):
    spy = Spy()
    recipe = vae.Recipe(spy, configuration(augment=True))
    assert recipe.step((grey, grey, None), runtime.generator(0))["reconstruction"].item() == 0
    mirrored = [torch.equal(seen, picture.flip(2)) for seen, picture in zip(spy.seen, grey, strict=True)]
    assert 0 < sum(mirrored) < len(grey)
    shuffled = vae.Recipe(Spy(), configuration(pairs="shuffled"))
    assert shuffled.step((grey, grey, None), runtime.generator(0))["reconstruction"].item() > 0.01


# --- readings, filler ---


def test_every_reading_sets_the_same_parameters_and_all_are_allowed():
    names = {reading: set(parameters) for reading, parameters in vae.READINGS.items()}
    assert names["as_written"] == names["as_run"] == names["fixed"]
    for parameters in [*vae.READINGS.values(), *vae.PROFILES.values()]:
        for name, value in parameters.items():
            assert name in vae.ALLOWED, name
            if value is not None:
                runtime.check_range(name, value, vae.ALLOWED[name])
    as_run = configuration(reading="as_run", profile="paper")
    assert (as_run.leaky_slope, as_run.la_bug, as_run.bn_test, as_run.redraw) == (1.0, True, "batch1", False)
    assert (as_run.epochs, as_run.lr, as_run.batch_size, as_run.resize) == (350, 1e-4, 32, "nearest")
    assert (as_run.n_train, as_run.n_test) == (None, None), "those of the data set, see data/sources.toml"


def test_filler_says_what_it_takes_and_never_sees_the_fill(grey):
    filler = vae.Filler(small())
    mask = masking.square(12, 52, 10, "random", runtime.generator(0))
    assert filler.accepts(grey.shape, mask) is None
    assert filler.accepts((12, 3, 52, 52), mask) == "takes grey pictures of 52x52"
    assert filler.accepts((12, 1, 60, 60), mask) == "takes grey pictures of 52x52"
    black, white = (filler(masking.apply(grey, mask, fill), mask) for fill in ("black", "white"))
    assert torch.equal(black, white)


def test_a_drawn_code_is_repeatable_and_not_the_mean(grey):
    net, nowhere = small(), torch.zeros_like(grey, dtype=torch.bool)
    drawn = vae.Filler(net, sample_z=True)
    assert torch.equal(drawn(grey, nowhere), drawn(grey, nowhere))
    assert not torch.equal(drawn(grey, nowhere), vae.Filler(net)(grey, nowhere))


# --- forensics ---


@pytest.fixture
def trained(grey):
    """Networks of slope 1 and 0.2 after some steps, so that their normalisation has statistics of its own."""

    def train(slope):
        net = small(leaky_slope=slope)
        recipe = vae.Recipe(net, configuration(lr=1e-3))
        for i in range(15):
            recipe.step((grey, grey, None), runtime.generator(i))
        return net

    return train


def test_slope_one_collapses_and_a_real_activation_does_not(trained, grey):
    net = trained(1.0)
    assert {layer.negative_slope for layer in net.modules() if isinstance(layer, nn.LeakyReLU)} == {1.0}
    assert forensics.collapse_difference(net, grey) < 1e-4
    assert forensics.collapse_difference(trained(0.2), grey) > 1e-2
    collapsed = forensics.Collapsed(net)
    with torch.no_grad():
        assert torch.allclose(collapsed(grey), net.eval()(grey)[0], atol=1e-5)


def test_sizes_of_the_collapsed_network():
    with torch.device("meta"):
        net = vae.VAE(**vae.NETWORKS["authors"], leaky_slope=1.0)
        collapsed = forensics.Collapsed(net)
    assert count(collapsed) == 1_735_232 + 16_384 * 1500 + 1500 + 1500 * 10_000 + 10_000
    assert round(3 * count(net) / count(collapsed), 2) == 21.85  # 3.61 GB of checkpoint to 165 MB


def test_survey_agrees_with_its_parts(grey):
    found = forensics.survey(grey, draws=2)
    mask = masking.squares(12, 52, 10, 1, runtime.generator(1))
    by_hand = metrics.ssim(masking.apply(grey, mask), grey, kind="global").mean().item()
    assert found["holes"]["1 x 20 %"]["do nothing"]["global"]["draws"][1] == pytest.approx(by_hand, abs=1e-4)
    assert found["floor"] == pytest.approx((1 - grey).square().mean().item(), abs=1e-4)
    assert found["pictures"] == 12


def test_reported_numbers_stand_beside_surveys_or_say_not_run(monkeypatch, tmp_path):
    rows = report.reported("02_vae")
    assert {("0.9012", "0.0537"), ("0.6869", "0.1606"), ("0.8553", "0.0617")} <= {(r["value"], r["sd"]) for r in rows}
    lines = forensics.reported_lines()
    assert len(lines) == 6
    assert all(line["ours on"] for line in lines)
    original = runtime.results_dir() / "reported.csv"
    (tmp_path / "reported.csv").write_text(original.read_text())
    monkeypatch.setattr(runtime, "results_dir", lambda: tmp_path)
    assert {line["untouched, global"] for line in forensics.reported_lines()} == {"not run"}
    assert forensics.floor_lines() == forensics.pack_lines() == []


# --- effects ---


@pytest.fixture
def small_study(monkeypatch):
    """The real study with a training of a moment."""
    tiny = {"epochs": 1, "n_train": 64, "n_test": 4}
    for name in ("small", "short code"):
        monkeypatch.setitem(vae.NETWORKS, name, {"width": 8, "hidden": 16, "latent": 4})
    monkeypatch.setattr(vae, "PROFILES", {"demo": vae.PROFILES["demo"] | tiny})
    monkeypatch.setattr(study, "SCORES", ["hole MSE", "raw SSIM, global", "image SSIM, global"])


def test_every_variant_of_every_effect_can_be_trained_and_shown(small_study, tmp_path):
    record = effects.record("02_vae", "all", seeds=(0,), runs=tmp_path)
    assert record["references"].keys() == {
        study.setting(study.configuration(run["parameters"])) for run in record["runs"]
    }
    for name, effect in study.EFFECTS.items():
        table = study.lines(record, name)
        assert [line["trained"] for line in table] == list(effect.variants)
        assert all(line["test: mean fill"] > 0 and line["unseen: VAE"] for line in table)
        shown = study.article_lines(record, name)
        assert {line["tested on"] for line in shown} >= {"1 x 10x10", "1 x 21x21", "2 x 10x10"}
    assert "1 seeds" in study.difference(record, {"ratio_of": "area"})
    assert "hole 1 x 23x23" in study.difference(record, {"ratio_of": "area"})
    assert len(study.test_slip_lines(record, {"reading": "as_run"})) == len(study.TEST_SLIPS)
    affine = [run for run in record["runs"] if "collapse difference" in run]
    assert {str(run["parameters"]) for run in affine} == {"{'reading': 'as_run'}", "{'leaky_slope': 1.0}"}


def test_what_was_not_run_says_so():
    assert study.difference(None, {"la_bug": True}) == "not run"
    assert {line["seeds"] for line in study.lines(None, "slips")} == {"not run"}
    assert {line["tested on"] for line in study.article_lines(None, "slips")} == {"not run"}
    assert study.test_slip_lines(None, {}) == [{"tested": "not run"}]


def test_verdicts_can_fail():
    fills = {"mean of known pixels": {"hole MSE": {"mean": 0.02}}}
    references = {"embedded, grey": {"1 x 10x10": {"test": fills}}}

    def record(difference, *values):
        runs = [
            {"parameters": {}, "scores": {"1 x 10x10": {"test": {"hole MSE": {"mean": value}}}}} for value in values
        ]
        runs.append({"parameters": {"leaky_slope": 1.0}, "collapse difference": difference})
        return {"runs": runs, "references": references}

    assert [holds for _, holds in study.verdicts(record(1e-6, 0.012, 0.019))] == [True, True]
    assert [holds for _, holds in study.verdicts(record(1e-3, 0.012, 0.021))] == [False, False]
    assert [holds for _, holds in study.verdicts(record(1e-6))] == [False, True]
    nothing_affine = record(1e-6, 0.012)
    nothing_affine["runs"].pop()
    assert [holds for _, holds in study.verdicts(nothing_affine)] == [True, False]


def test_the_filters_are_worth_what_the_notebook_says(monkeypatch, tmp_path):
    errors = {}
    for line in study.resize_lines():
        errors.setdefault(line["data"], {})[line["resize"]] = line["biharmonic, hole MSE"]
    assert len(errors) == 2
    for name, error in errors.items():
        assert error["bilinear"] < error["bicubic"] < error["nearest"], name
        assert 1 / 6 - 0.01 < error["nearest"] / error["bilinear"] - 1 < 1 / 5 + 0.01, "a sixth to a fifth"
    monkeypatch.setattr(runtime, "results_dir", lambda: tmp_path)
    assert study.resize_lines() == [{"data": "not run"}]
