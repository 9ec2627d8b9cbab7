"""The GAN of notebook 03: counts, shapes, losses, each slip of the author's code, and what is claimed about it."""

import copy

import pytest
import torch
from torch import nn

from inpaintkit import checks, data, effects, evaluate, masking, metrics, repair, runtime, training
from inpaintkit.effects import context_encoder as study
from inpaintkit.models import classical, context_encoder


def configuration(**changes):
    given = {"profile": "smoke", "reading": "fixed", "seed": 0} | changes
    return runtime.configure(given, context_encoder.PROFILES, context_encoder.READINGS)


def recipe_of(cfg, steps_per_epoch=4):
    torch.manual_seed(cfg.seed)
    return context_encoder.Recipe(*context_encoder.from_config(cfg), cfg, steps_per_epoch)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


# --- networks ---


def test_parameter_counts_at_the_authors_size():
    with torch.device("meta"):
        generator, discriminator = context_encoder.Generator(), context_encoder.Discriminator()
    layers = [x for x in generator.modules() if isinstance(x, nn.Conv2d | nn.ConvTranspose2d)]
    wanted = [3_136, 65_600, 131_200, 524_544, 2_097_664, 2_052_000]  # down, bottleneck
    wanted += [32_768_512, 2_097_408, 524_416, 131_136, 1_731]  # up, to RGB
    assert [count(layer) for layer in layers] == wanted
    norms = [count(layer) for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms == [128, 256, 512, 1024, 1024, 512, 256, 128]
    assert count(generator) == 40_401_187
    layers = [count(layer) for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)]
    assert layers == [1_792, 73_856, 295_168, 1_180_160, 4_609]
    assert count(discriminator) == 1_555_585


def test_shapes_at_the_authors_size():
    with torch.device("meta"):
        generator, shapes = context_encoder.Generator(), []
        for step in [*generator.encoder, generator.bottleneck, *generator.decoder]:
            step.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape[1:])))
        patch = generator(torch.zeros(2, 3, 128, 128))
        assert context_encoder.Discriminator()(patch).shape == (2, 1, 8, 8)
    wanted = [(64, 64, 64), (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (4000, 4, 4)]
    wanted += [(512, 8, 8), (256, 16, 16), (128, 32, 32), (64, 64, 64), (3, 64, 64), (3, 64, 64)]
    assert shapes == wanted
    assert patch.shape == (2, 3, 64, 64)


@pytest.mark.parametrize(("head", "mask_channel"), [("patch", True), ("full", False), ("full", True)])
def test_heads_and_the_mask_as_an_input(head, mask_channel):
    with torch.device("meta"):
        net = context_encoder.Generator(64, width=8, bottleneck=8, head=head, mask_channel=mask_channel)
        side = net(torch.zeros(2, 3, 64, 64), torch.zeros(2, 1, 64, 64, dtype=torch.bool)).shape[-1]
    assert side == (64 if head == "full" else 32)
    assert net.encoder[0][0].in_channels == (4 if mask_channel else 3)


def test_only_with_a_mask_channel_the_network_knows_where_the_hole_is(images):
    here, there = (masking.square(8, 64, 32, place) for place in ("centre", (0.3, 0.4)))
    for mask_channel in (True, False):
        torch.manual_seed(0)
        net = context_encoder.Generator(64, width=8, bottleneck=8, mask_channel=mask_channel).eval()
        assert torch.equal(net(images, here), net(images, there)) == (not mask_channel)


def test_only_sizes_that_can_be_halved_five_times():
    for size in (32, 100):
        with pytest.raises(ValueError, match=rf"size must be 64, 96, 128, .* and {size} is not"):
            context_encoder.Generator(size)
    with pytest.raises(ValueError, match="mask_train='strokes' needs head='full'"):
        context_encoder.from_config(configuration(mask_train="strokes"))


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


def test_the_slip_reaches_eps_and_not_the_momentum():
    nets = {reading: context_encoder.from_config(configuration(reading=reading))[0] for reading in ("as_run", "fixed")}
    for reading, eps in (("as_run", 0.8), ("fixed", 1e-5)):
        norms = [layer for layer in nets[reading].modules() if isinstance(layer, nn.BatchNorm2d)]
        assert {layer.eps for layer in norms} == {eps}
        assert {layer.momentum for layer in norms} == {0.1}


def test_a_score_of_the_discriminator_sees_47_pixels():
    picture = torch.rand(1, 3, 128, 128, generator=runtime.generator(0)).requires_grad_()
    layers = [x for x in context_encoder.Discriminator(8).layers if not isinstance(x, nn.InstanceNorm2d)]
    score = nn.Sequential(*layers)(picture)  # instance normalisation sees everything
    seen = torch.autograd.grad(score[0, 0, 8, 8], picture)[0][0].abs().sum(0) > 0
    assert (int(seen.any(0).sum()), int(seen.any(1).sum())) == (47, 47)


# --- losses and steps ---


def test_adversarial_losses_on_known_cases():
    loss, shape = context_encoder.adversarial_loss, (2, 1, 4, 4)
    for score, true, drawn in ((0.5, 0.25, 0.25), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (3.0, 4.0, 9.0)):
        assert loss(torch.full(shape, score), True).item() == pytest.approx(true)
        assert loss(torch.full(shape, score), False).item() == pytest.approx(drawn)
    scores = torch.randn(shape, generator=runtime.generator(0))
    p = scores.sigmoid()
    assert loss(scores, True, "cross entropy").item() == pytest.approx(-p.log().mean().item(), rel=1e-5)
    assert loss(scores, False, "cross entropy").item() == pytest.approx(-(1 - p).log().mean().item(), rel=1e-5)


def test_pixel_loss_is_of_the_hole_in_the_authors_range(images):
    mask = masking.square(8, 64, 32, "random", runtime.generator(1))
    patch = context_encoder.take_patch(images, mask, 32)
    assert context_encoder.pixel_loss(patch, images, mask) == 0
    assert context_encoder.pixel_loss(patch + 0.1, images, mask).item() == pytest.approx(0.2, rel=1e-4)
    whole = images + 0.1 * mask + 0.4 * ~mask
    assert context_encoder.pixel_loss(whole, images, mask).item() == pytest.approx(0.2, rel=1e-4)


def gradients_of_a_step(cfg, images):
    """What one step teaches the generator: its gradient, from the weights' state before Adam."""
    recipe = recipe_of(cfg)
    masked, mask = recipe.corrupt(images, runtime.generator(0))
    seen = {}
    for name, optimiser in recipe.optimisers.items():
        net = recipe.modules[name]
        keep = lambda net=net, name=name: seen.update({name: [p.grad.clone() for p in net.parameters()]})  # noqa: E731
        optimiser.step = keep
    losses = recipe.step((images, masked, mask), runtime.generator(0))
    return losses, seen


@pytest.mark.parametrize("weight", [0.001, 0.25])
def test_the_generator_is_taught_by_both_terms_with_their_weights(images, weight):
    cfg = configuration(weight_adv=weight)
    losses, seen = gradients_of_a_step(cfg, images)
    recipe = recipe_of(cfg)
    masked, mask = recipe.corrupt(images, runtime.generator(0))
    drawn = recipe.generator(masked, mask)
    pixels = 2 * (drawn - context_encoder.take_patch(images, mask, 32)).abs().mean()
    adversarial = ((recipe.discriminator(drawn) - 1) ** 2).mean()
    assert losses["L1"].item() == pytest.approx(pixels.item(), rel=1e-4)
    assert losses["fooling D"].item() == pytest.approx(adversarial.item(), rel=1e-4)
    loss = (1 - weight) * pixels + weight * adversarial
    wanted = torch.autograd.grad(loss, list(recipe.generator.parameters()))
    for got, want in zip(seen["generator"], wanted, strict=True):
        assert torch.allclose(got, want, rtol=1e-3, atol=1e-6)


def test_the_discriminator_is_taught_by_true_and_drawn_and_does_not_teach_itself_for_the_generator(images):
    cfg = configuration()
    losses, seen = gradients_of_a_step(cfg, images)
    recipe = recipe_of(cfg)
    masked, mask = recipe.corrupt(images, runtime.generator(0))
    drawn = recipe.generator(masked, mask).detach()
    real = context_encoder.take_patch(images, mask, 32)
    discriminator = recipe.discriminator
    loss = ((discriminator(real) - 1) ** 2).mean() / 2 + (discriminator(drawn) ** 2).mean() / 2
    wanted = torch.autograd.grad(loss, list(discriminator.parameters()))
    assert losses["D"].item() == pytest.approx(loss.item(), rel=1e-4)
    for got, want in zip(seen["discriminator"], wanted, strict=True):
        assert torch.allclose(got, want, rtol=1e-3, atol=1e-6)
    assert all(p.requires_grad for p in discriminator.parameters())


@pytest.mark.parametrize(
    ("first", "moved"),
    [("none", {"generator", "discriminator"}), ("generator", {"generator"}), ("discriminator", {"discriminator"})],
)
def test_who_trains_alone_at_first(images, first, moved):
    recipe = recipe_of(configuration(first=first, epochs=5), steps_per_epoch=4)

    def step():
        before = {name: training.weights_hash(net) for name, net in recipe.modules.items()}
        masked, mask = recipe.corrupt(images, runtime.generator(0))
        recipe.step((images, masked, mask), runtime.generator(0))
        return {name for name, net in recipe.modules.items() if training.weights_hash(net) != before[name]}

    # A generator that only draws for the discriminator moves its running statistics, but none of its weights.
    weights = {name for name in step() if name != "generator" or first != "discriminator"}
    assert weights == moved
    while recipe.clock.steps < 20 * context_encoder.ALONE[first]:
        step()
    assert step() == {"generator", "discriminator"}


def test_without_an_adversarial_term_the_discriminator_takes_no_part(images):
    losses, seen = gradients_of_a_step(configuration(weight_adv=0.0), images)
    assert losses.keys() == {"L1"}
    assert seen.keys() == {"generator"}


@pytest.mark.parametrize(
    "changes",
    [{}, {"reading": "as_written"}, {"reading": "as_run"}, {"head": "full", "mask_train": "strokes", "fill": "mean"}],
)
def test_one_batch_can_be_learned_by_heart(images, changes):
    recipe = recipe_of(configuration(network="quarter", lr=2e-3, epochs=1000, **changes))
    generator = runtime.generator(0)
    masked, mask = recipe.corrupt(images, generator)
    losses = [recipe.step((images, masked, mask), generator)["L1"].item() for _ in range(60)]
    assert losses[-1] < losses[0] / 3


# --- slips ---


def test_four_workers_draw_the_same_holes_again_in_every_epoch(images):
    recipe = recipe_of(configuration(reading="as_run"), steps_per_epoch=8)
    stream = runtime.generator(0)

    def epoch():
        drawn = []
        for _ in range(8):
            drawn.append(runtime.fingerprint(recipe.corrupt(images, stream)[1]))
            recipe.clock.steps += 1
        return drawn

    first = epoch()
    assert first == [first[0]] * 4 + [first[4]] * 4
    assert first[0] != first[4]
    assert epoch() == first
    recipe.cfg.numpy_seed_bug = False
    assert len(set(epoch())) == 8


def test_a_preview_in_train_mode_changes_the_running_statistics_and_one_in_eval_mode_does_not(images):
    net, _ = context_encoder.from_config(configuration())
    mask = masking.square(8, 64, 32, "centre")
    before = training.weights_hash(net)
    picture = context_encoder.preview(net, images, mask)
    assert training.weights_hash(net) == before
    assert torch.equal(torch.where(mask, 0, picture), torch.where(mask, 0, images))
    context_encoder.preview(net, images, mask, "train")
    assert training.weights_hash(net) != before
    assert not net.training


def test_the_tutorials_test_mask_changes_nothing(images):
    picture = images[:1].clone()
    picture[:, 16:48, 16:48] = 1
    assert torch.equal(picture, images[:1])


# --- training, filling ---


@pytest.mark.parametrize("changes", [{}, {"reading": "as_run"}, {"first": "generator", "reading": "as_written"}])
def test_a_training_in_two_parts_ends_with_the_same_weights(tmp_path, changes):
    pictures = data.open("embedded", size=64, n_train=32, n_test=4).train
    cfg = configuration(epochs=2, **changes)

    class Stop(Exception):
        pass

    def train(out_dir, stop_at=None):
        recipe = recipe_of(cfg)
        step = recipe.step

        def counted(batch, generator):
            if recipe.clock.steps == stop_at:
                raise Stop
            return step(batch, generator)

        recipe.step = counted
        options = {"epochs": 2, "batch_size": 8, "seed": 0, "out_dir": out_dir, "progress": False}
        history = training.fit(recipe, pictures, checkpoint_seconds=0, **options)
        return history, training.weights_hash(recipe.modules)

    with pytest.raises(Stop):
        train(tmp_path / "two", stop_at=5)
    history, in_two = train(tmp_path / "two")
    assert history.resumed_from == 5
    assert in_two == train(tmp_path / "one")[1]


@pytest.mark.parametrize("head", ["patch", "full"])
def test_fillers_fill_the_hole_whatever_stood_in_it(images, head):
    cfg = configuration(head=head, fill="mean")
    filler = context_encoder.Filler(context_encoder.from_config(cfg)[0], fill="mean")
    mask = masking.square(8, 64, 32, "random", runtime.generator(2))
    preds = [filler(masking.apply(images, mask, fill), mask) for fill in ("black", "white")]
    assert torch.equal(*preds)
    assert preds[0].shape == images.shape
    kept = torch.equal(torch.where(mask, 0, preds[0]), torch.where(mask, 0, images))
    assert kept == (head == "patch")


def test_fillers_say_what_they_do_not_take():
    patch, full = (
        context_encoder.Filler(context_encoder.from_config(configuration(head=head))[0]) for head in ("patch", "full")
    )
    strokes = masking.strokes(1, 64, runtime.generator(0))
    assert patch.accepts((1, 3, 64, 64), strokes) == "takes one 32x32 square hole"
    assert full.accepts((1, 3, 64, 64), strokes) is None
    assert patch.accepts((1, 3, 64, 64), masking.square(1, 64, 32, (0.6, 0.4))) is None
    assert "takes RGB pictures of 64x64" in full.accepts((1, 3, 128, 128), strokes)
    assert "takes RGB pictures of 64x64" in full.accepts((1, 1, 64, 64), strokes)


def test_a_trained_run_repairs_photographs(tmp_path, generator):
    cfg = configuration(head="full", fill="grey", out_dir=None)
    net, _ = context_encoder.from_config(cfg)
    training.save_weights(tmp_path / "weights.pt", net)
    runtime.save_results(tmp_path, cfg, torch.device("cpu"))
    filler = repair.method("network", tmp_path)
    assert training.weights_hash(filler.net) == training.weights_hash(net)
    assert filler.fill == "grey"
    photo = (255 * torch.rand(90, 110, 3, generator=generator)).byte().numpy()
    mask = masking.strokes(1, (90, 110), generator)[0, 0].numpy()
    fixed = repair.repair(photo, mask, filler, progress=False)
    assert (fixed[~mask] == photo[~mask]).all()
    assert (fixed[mask] != photo[mask]).mean() > 0.9
    with pytest.raises(FileNotFoundError, match=r"holds no results.json: let run name the folder in which notebook 03"):
        repair.method("network", tmp_path / "elsewhere")
    runtime.write_json(tmp_path / "results.json", {"parameters": {"size": 64}})
    with pytest.raises(ValueError, match="is a run of another notebook"):
        repair.method("network", tmp_path)


# --- the protocol, the study, the exercises ---


def test_the_protocol_of_the_context_encoder_is_in_percent(images):
    mask = masking.square(8, 64, 32, "centre")
    (row,) = evaluate.score([classical.Nothing()], images, mask, ["hole L1, %", "hole L2, %"], "white")
    white = torch.ones_like(images)
    assert torch.allclose(row.scores["hole L1, %"], 100 * metrics.l1(white, images, mask))
    assert torch.allclose(row.scores["hole L2, %"], 100 * metrics.mse(white, images, mask))


def test_effects_are_variants_of_the_demo_and_need_other_runs():
    known = context_encoder.ALLOWED
    for effect in study.EFFECTS.values():
        assert len(effect.variants) >= 2
        labels = [tuple(sorted(parameters.items())) for parameters in effect.variants.values()]
        assert len(set(labels)) == len(labels)
        for parameters in effect.variants.values():
            assert parameters.keys() <= known.keys()
            for name, value in parameters.items():
                runtime.check_range(name, value, known[name])
                demo = study.configuration({}).values()[name]
                assert name == "reading" or value != demo, f"{name}={value} is the demo's own"


def test_the_study_scores_a_tiny_run(tmp_path, monkeypatch):
    tiny = {"n_train": 16, "n_test": 4, "epochs": 1, "network": "smallest"}
    monkeypatch.setattr(study, "configuration", lambda p, seed=0: configuration(seed=seed, **tiny, **p))
    run = study.run({"head": "full"}, 3, tmp_path / "a")
    assert run["scores"].keys() == {"centre", "random", "strokes"}
    assert run["scores"]["centre"].keys() == {"test", "unseen"}
    assert run == study.run({"head": "full"}, 3, tmp_path / "b") | {"seconds": run["seconds"]}
    patch = study.run({}, 3, tmp_path / "c")
    assert patch["scores"].keys() == {"centre", "random"}
    assert patch["judged"].keys() == {"true", "drawn"}
    record = {"runs": [{"parameters": {}, "seed": 3} | patch], "references": study.references()}
    (line, _) = study.lines(record, "place", "random")
    assert float(line["test: network"]) == pytest.approx(
        patch["scores"]["random"]["test"]["hole MSE"]["mean"], abs=1e-4
    )
    assert study.lines(None, "place")[0]["tested on"] == "not run"
    assert [holds for _, holds in study.verdicts(record)] == [False, False], "an untrained network must not pass"


def test_exercise_on_the_receptive_field():
    def right(kernels, strides):
        field, step = 1, 1
        for kernel, stride in zip(kernels, strides, strict=True):
            field, step = field + (kernel - 1) * step, step * stride
        return field

    def own_stride_too(kernels, strides):
        field, step = 1, 1
        for kernel, stride in zip(kernels, strides, strict=True):
            step *= stride
            field += (kernel - 1) * step
        return field

    assert checks.receptive_field(right) == "exercise 1: correct"
    assert checks.receptive_field(lambda k, s: ...) == f"exercise 1: {checks.OPEN}"
    assert "all strides before it, multiplied" in checks.receptive_field(lambda k, s: 1 + sum(x - 1 for x in k))
    assert "widens only the layers after it" in checks.receptive_field(own_stride_too)
    assert "see 3 pixels, and you say 7" in checks.receptive_field(lambda k, s: 7)


def test_exercise_on_the_mask_that_masks_nothing():
    def buggy(picture):
        picture[:, 32:96, 32:96] = 1
        return picture

    def right(picture):
        picture = copy.copy(picture)
        picture[..., 32:96, 32:96] = 1
        return picture

    def wrong_place(picture):
        picture[..., 30:94, 32:96] = 1
        return picture

    assert checks.centre_mask(right) == "exercise 2: correct"
    assert "not one pixel has changed" in checks.centre_mask(buggy)
    assert "and nothing else" in checks.centre_mask(wrong_place)
    assert "(1, 3, 128, 128) is wanted" in checks.centre_mask(lambda picture: picture[0])


def test_recorded_effects_bear_out_what_the_notebook_says():
    record = effects.recorded("03_context_encoder_gan")
    assert record is not None
    for claim, holds in study.verdicts(record):
        assert holds, claim
    wanted = [p for effect in study.EFFECTS.values() for p in effect.variants.values()]
    for parameters in wanted:
        assert {run["seed"] for run in effects.matching(record, parameters)} == set(effects.SEEDS), parameters


@pytest.mark.parametrize("changes", [{}, {"reading": "as_written", "head": "full"}])
def test_mixed_precision_trains_in_float32_weights(changes):
    """What a GPU with bf16 does, on a CPU: predictions and losses in float32, weights that stay so and learn."""
    pictures = data.open("embedded", size=64, n_train=16, n_test=4).train
    recipe = recipe_of(configuration(**changes), steps_per_epoch=2)
    before = training.weights_hash(recipe.modules)
    history = training.fit(
        recipe, pictures, epochs=1, batch_size=8, seed=0, precision="bf16", log_every=1, progress=False
    )
    assert training.weights_hash(recipe.modules) != before
    assert {p.dtype for p in recipe.modules.parameters()} == {torch.float32}
    full = recipe_of(configuration(**changes), steps_per_epoch=2)
    exact = training.fit(full, pictures, epochs=1, batch_size=8, seed=0, log_every=1, progress=False)
    for name in exact.losses:
        assert history.losses[name][0] == pytest.approx(exact.losses[name][0], rel=0.05)
        assert history.losses[name][0] != exact.losses[name][0], "bf16 was not used"
