"""What every work promises. Runs over `papers.PAPERS`: a new work passes this file without a line here."""

import signal

import pytest
import torch
from conftest import smooth

from inpaintkit import data, masking, papers, parameters, runtime, training
from inpaintkit.contracts import Question
from inpaintkit.experiments import questions, run

EVERY = list(papers.PAPERS.values())
QUICK = {"profile": "smoke", "n_train": 32, "n_test": 4, "batch_size": 4}
NARROW = {"autoencoder": {"dense": 256}}  # where the networks of "smoke" take more than a moment

every_paper = pytest.mark.parametrize("paper", EVERY, ids=lambda paper: paper.id)
READINGS = [
    pytest.param(paper, reading, id=f"{paper.id}-{reading}")
    for paper in EVERY
    for reading in dict.fromkeys((*parameters.READINGS, *paper.Parameters.readings))
]
every_reading = pytest.mark.parametrize(("paper", "reading"), READINGS)


def configuration(paper, reading=None, **given):
    return paper.Parameters.resolve(QUICK | NARROW.get(paper.id, {}) | {"reading": reading} | given)


def channels_of(cfg):
    return 3 if getattr(cfg, "colour", True) else 1


def pictures_of(cfg, n):
    return (255 * smooth(n, channels_of(cfg), cfg.size)).byte()


def built(paper, cfg, seed=0):
    runtime.seed_everything(seed)
    return paper.build(cfg)


def fit(paper, cfg, pictures, *, before_step=lambda recipe, batch: None, n=None, **options):
    """Trains as `run.train` does; returns the recipe and the history."""
    modules = built(paper, cfg, cfg.seed)
    pictures, fixed_holes = paper.training_set(pictures, cfg)
    pictures, fixed_holes = pictures[:n], fixed_holes if fixed_holes is None else fixed_holes[:n]
    recipe = paper.recipe(modules, cfg, len(pictures) // cfg.batch_size)
    step = recipe.step
    recipe.step = lambda batch, generator: (before_step(recipe, batch), step(batch, generator))[1]
    options = {"epochs": cfg.epochs, "batch_size": cfg.batch_size, "seed": cfg.seed, "progress": False} | options
    return recipe, training.fit(recipe, pictures, fixed_holes, log_every=1, **options)


# --- parameters, networks, questions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", parameters.PROFILES)
@every_reading
def test_every_profile_in_every_reading_builds_at_its_full_size(paper, profile, reading):
    cfg = paper.Parameters.resolve({"profile": profile, "reading": reading})
    with torch.device("meta"):
        modules = paper.build(cfg)
    assert set(paper.kept) <= set(modules)
    assert all(torch.is_floating_point(p) for p in modules.parameters())
    for mask in paper.test_holes(cfg, 1).values():
        assert mask.shape[2:] == (cfg.size, cfg.size)


@pytest.mark.parametrize(
    ("paper", "given", "name"),
    [
        ("autoencoder", {"size": 100}, "size"),
        ("autoencoder", {"side_max": 24}, "side_max"),
        ("vae", {"size": 53}, "size"),
        ("context_encoder", {"mask_train": "strokes"}, "mask_train.*head"),
        ("ssrgan", {"crop": 24}, "size"),
        ("ssrgan", {"size": 30, "crop": 64}, "size"),
        ("ssrgan", {"head": "shrink", "shuffles": 2}, "head"),
    ],
)
def test_networks_that_cannot_be_are_refused_and_the_parameter_named(paper, given, name):
    paper = papers.get(paper)
    with torch.device("meta"), pytest.raises(ValueError, match=name):
        paper.build(configuration(paper, **given))


@every_paper
def test_two_seeds_start_with_other_weights_and_one_seed_with_the_same(paper):
    cfg = configuration(paper)
    hashes = [training.weights_hash(built(paper, cfg, seed)) for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


ASKED = [
    pytest.param(paper, question, id=f"{paper.id}-{question.id}")
    for paper in EVERY
    for question in (Question("default", "", {"as it is": {}}), *questions.questions(paper).values())
]


@pytest.mark.slow
@pytest.mark.parametrize(("paper", "question"), ASKED)
def test_every_variant_of_a_question_is_another_run_that_trains(paper, question):
    """Two steps each, on the same pictures: a picture meets a new hole, unless its hole is fixed."""
    whole = [questions.configuration(paper, question, label, 0) for label in question.variants]
    assert len({run.identity(paper, cfg) for cfg in whole}) == len(whole), "two variants are the same run"
    tried = set()
    for label in question.variants:
        small = {"n_train": 32, "n_test": 4, "batch_size": 2} | NARROW.get(paper.id, {})
        cfg = questions.configuration(paper, question, label, 0, "smoke", small)
        cfg = cfg.changed(epochs=2, mirror=False)  # a mirrored picture would count as another one
        rest = {k: v for k, v in cfg.identifying().items() if k not in ("dataset", "n_train", "n_test")}
        if repr(rest) in tried:  # the same network on other pictures
            continue
        tried.add(repr(rest))
        holes, before, pictures = {}, training.weights_hash(built(paper, cfg)), pictures_of(cfg, cfg.batch_size)

        def watch(recipe, batch, holes=holes):
            for picture, mask in zip(batch[0], batch[2], strict=True):
                holes.setdefault(runtime.fingerprint(picture), set()).add(runtime.fingerprint(mask))

        recipe, history = fit(paper, cfg, pictures, before_step=watch, n=cfg.batch_size)
        assert history.steps == [1, 2]
        assert training.weights_hash(recipe.modules) != before
        drawn = [runtime.fingerprint(paper.holes(cfg, 2, runtime.generator(seed))) for seed in (0, 1)]
        new = drawn[0] != drawn[1] and paper.training_set(pictures, cfg)[1] is None
        if not getattr(cfg, "numpy_seed_bug", False):  # the slip that repeats holes; has tests of its own
            assert {len(of_picture) for of_picture in holes.values()} == {2 if new else 1}, label


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_paper
def test_one_batch_is_learned_by_heart(paper):
    cfg = configuration(paper, epochs=1000, lr=1e-3)
    recipe, stream = paper.recipe(built(paper, cfg), cfg, 1), runtime.generator(0)
    recipe.modules.train()
    image = smooth(2, channels_of(cfg), cfg.size)
    batch = (image, *recipe.corrupt(image, stream))
    losses = [next(iter(recipe.step(batch, stream).values())).item() for _ in range(40)]
    assert losses[-1] < losses[0] / 2


@pytest.mark.slow
@every_reading
def test_a_training_that_was_stopped_ends_with_the_same_weights_and_goes_on_for_more_epochs(tmp_path, paper, reading):
    cfg = configuration(paper, reading, epochs=2)
    images = data.open_for(cfg)

    def train(out_dir, epochs=2, **options):
        identity = run.checkpoint_identity(paper, cfg.changed(epochs=epochs, experiments="all"), images)
        return fit(paper, cfg, images.train, n=12, epochs=epochs, out_dir=out_dir, identity=identity, **options)

    def stop(recipe, batch):
        if recipe.progress.step == 4:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "two", before_step=stop)
    in_two, history = train(tmp_path / "two")
    assert history.resumed_from == 5
    assert history.steps == [1, 2, 3, 4, 5, 6]
    assert training.weights_hash(in_two.modules) == training.weights_hash(train(None)[0].modules)
    if cfg.anneal:  # the learning rate follows from the number of epochs: another run
        with pytest.raises(ValueError, match="epochs: 2 there, 3 here"):
            train(tmp_path / "two", epochs=3)
        return
    longer, history = train(tmp_path / "two", epochs=3)
    assert (history.resumed_from, history.steps[-1]) == (6, 9)
    assert training.weights_hash(longer.modules) != training.weights_hash(in_two.modules)


@pytest.mark.slow
@every_reading
def test_mixed_precision_is_for_forward_passes_only(monkeypatch, paper, reading):
    cfg, inside = configuration(paper, reading), []
    note = lambda *_: inside.append(torch.is_autocast_enabled("cpu"))  # noqa: E731
    backward = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss, *given: (note(), backward(loss, *given))[1])

    def watch(recipe, batch):
        for optimiser in recipe.optimisers.values():
            optimiser.register_step_pre_hook(note)

    pictures, losses = pictures_of(cfg, 4), {}
    for precision in ("fp32", "bf16"):
        recipe, history = fit(paper, cfg, pictures, before_step=watch, n=4, precision=precision, epochs=2)
        losses[precision] = {name: values[-1] for name, values in history.losses.items()}
        assert {p.dtype for p in recipe.modules.parameters()} == {torch.float32}
    assert inside
    assert not any(inside)
    for name, exact in losses["fp32"].items():
        assert losses["bf16"][name] == pytest.approx(exact, rel=0.1)
    assert losses["bf16"] != losses["fp32"], "bf16 was not used"


# --- holes and fillers ------------------------------------------------------------------------------------------------


@every_reading
def test_holes_of_a_test_are_the_same_for_everybody_and_its_own_come_first(paper, reading):
    cfg = configuration(paper, reading)
    named = paper.test_holes(cfg, 12)
    image = smooth(12, channels_of(cfg), cfg.size)
    for other in (cfg, cfg.changed(seed=5, lr=0.5), *(configuration(paper, r) for r in parameters.READINGS)):
        torch.rand(1)  # whatever else is random meanwhile
        for name, mask in paper.test_holes(other, 12).items():
            if name in named:
                assert torch.equal(mask, named[name]), name
    for mask in named.values():
        masking.check(image, mask)
    own = masking.coverage(next(iter(named.values()))).mean().item()
    trained = masking.coverage(paper.holes(cfg, 200, runtime.generator(1))).mean().item()
    assert own == pytest.approx(trained, rel=0.05), "the first holes of a test are not those of the training"


@every_reading
def test_a_filler_needs_known_pixels_only_and_leaves_the_network_as_it_is(paper, reading):
    cfg = configuration(paper, reading)
    modules = built(paper, cfg)
    before, filler = training.weights_hash(modules.train()), paper.filler(modules, cfg)
    assert filler.id == paper.network
    mask = next(iter(paper.test_holes(cfg, 5).values()))
    image = smooth(5, channels_of(cfg), cfg.size)
    assert filler.accepts(tuple(image.shape), mask) is None
    for one in (filler, *paper.other_fillers(modules, cfg)):
        pred = one(masking.apply(image, mask), mask)
        assert torch.equal(pred, one(masking.apply(image, mask, "white"), mask)), one.label
        assert (pred.shape, pred.dtype, pred.requires_grad) == (image.shape, torch.float32, False)
        assert torch.isfinite(pred).all()
    assert training.weights_hash(modules) == before
    masked = masking.apply(image, mask, paper.untouched)
    assert paper.preview(modules, cfg, masked, mask).shape == image.shape


@every_paper
def test_a_filler_takes_what_it_is_given_or_says_why_not(paper):
    cfg = configuration(paper)
    filler, channels = paper.filler(built(paper, cfg), cfg), channels_of(cfg)
    many, mask = smooth(101, channels, cfg.size), next(iter(paper.test_holes(cfg, 101).values()))
    few = [0, 49, 50, 100]  # fillers work through many pictures part by part
    assert torch.allclose(filler(many, mask)[few], filler(many[few], mask[few]), atol=1e-4)
    wrong = smooth(2, 4 - channels, cfg.size)
    assert filler.accepts(tuple(wrong.shape), masking.square(2, cfg.size, 9, "centre"))
    for size in (cfg.size, cfg.size + 36):
        image = smooth(2, channels, size)
        for mask in (
            masking.strokes(2, size, runtime.generator(0)),
            masking.square(2, size, size // 2, "centre"),
            masking.pixels(2, size, 0.5, runtime.generator(0), channels),
        ):
            said = filler.accepts(tuple(image.shape), mask)
            assert said is None or len(said.split()) > 2
            if said is None:
                assert filler(masking.apply(image, mask), mask).shape == image.shape


# --- files ------------------------------------------------------------------------------------------------------------


@every_paper
def test_saved_weights_fill_as_before(tmp_path, paper):
    cfg = configuration(paper)
    images, modules, again = data.open_for(cfg), built(paper, cfg), built(paper, cfg, seed=1)
    path = run.save_weights(tmp_path, paper, cfg, modules, images)
    assert training.weights_header(path)["paper"] == paper.id
    mask = next(iter(paper.test_holes(cfg, 4).values()))
    masked = masking.apply(images.test[:].float() / 255, mask)
    wanted, differs = (paper.filler(m, cfg)(masked, mask) for m in (modules, again))
    assert not torch.equal(wanted, differs)
    training.load_weights(path, again, paper.kept)
    assert torch.equal(paper.filler(again, cfg)(masked, mask), wanted)
