import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from inpaintkit import contracts, masking, runtime, training

RUN = {"epochs": 5, "batch_size": 4, "seed": 3, "progress": False, "log_every": 3}  # 5 steps an epoch, 25 in all


class ToyGan(contracts.Recipe):
    """Two networks, two optimisers, a schedule, mirroring, random holes, dropout: all that has to survive a restart.

    Keeps what a step sees; raises the signal ``stop`` in step ``stop_at``.
    """

    stop, stop_at = signal.SIGINT, None

    def __init__(self, epochs=RUN["epochs"]):
        torch.manual_seed(7)
        g = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.2), nn.Conv2d(4, 3, 3, padding=1)
        )
        d = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 1, 3))
        cfg = SimpleNamespace(epochs=epochs, mirror=True, anneal=True)
        super().__init__(nn.ModuleDict({"g": g, "d": d}), cfg)
        self.optimisers = {
            "g": torch.optim.Adam(g.parameters(), 1e-2),
            "d": torch.optim.SGD(d.parameters(), 1e-2, momentum=0.9),
        }
        self.rates, self.seen, self.drawn, self.noise, self.in_train_mode = [], [], [], [], []

    def holes(self, images, generator):
        return masking.square(len(images), images.shape[-1], 4, "random", generator)

    def step(self, batch, generator):
        image, masked, mask = batch
        self.seen.append([FINGERPRINTS[runtime.fingerprint((255 * x).round().byte())] for x in image])
        self.rates.append([optimiser.param_groups[0]["lr"] for optimiser in self.optimisers.values()])
        self.drawn.append(runtime.fingerprint(mask))
        self.noise.append(torch.rand(()).item())  # the global state, as dropout uses it
        self.in_train_mode.append(self.modules["g"].training)
        if len(self.seen) == self.stop_at:
            signal.raise_signal(self.stop)
        g, d = self.modules["g"], self.modules["d"]
        with self.autocast(image.device):
            fake = g(masked)
            loss_d = (d(image) - 1).square().mean() + d(fake.detach()).square().mean()
        self.update("d", loss_d)
        with self.autocast(image.device):
            loss_g = (fake - image).square().mean() + 0.001 * (d(fake) - 1).square().mean()
        self.update("g", loss_g)
        return {"g": loss_g, "d": loss_d}


IMAGES = torch.randint(0, 256, (22, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
FINGERPRINTS = {
    runtime.fingerprint(x): (i, x is not image) for i, image in enumerate(IMAGES) for x in (image, image.flip(2))
}


def fit(recipe, out_dir=None, **changes):
    monitor = lambda: {"weight": recipe.modules["g"][0].weight.sum().item()}  # noqa: E731
    preview = lambda: recipe.modules["g"](IMAGES[:2].float() / 255)  # noqa: E731
    options = {"out_dir": out_dir, "monitor": monitor, "preview": preview} | RUN | changes
    return training.fit(recipe, IMAGES, **options)


def hash_of(recipe):
    return training.weights_hash(recipe.modules)


@pytest.fixture(scope="module")
def straight():
    recipe = ToyGan()
    return recipe, fit(recipe)


def assert_same_run(recipe, history, straight):
    reference, wanted = straight
    assert hash_of(recipe) == hash_of(reference)
    for name, optimiser in recipe.optimisers.items():
        assert str(optimiser.state_dict()) == str(reference.optimisers[name].state_dict())
    names = ("losses", "steps", "scores", "preview_epochs")
    assert {name: getattr(history, name) for name in names} == {name: getattr(wanted, name) for name in names}
    assert all(torch.equal(a, b) for a, b in zip(history.previews, wanted.previews, strict=True))


# --- what a training is -----------------------------------------------------------------------------------------------


def test_one_seed_repeats_a_training_and_another_changes_all_that_is_random(straight):
    recipe, other = ToyGan(), ToyGan()
    assert_same_run(recipe, fit(recipe), straight)
    fit(other, seed=4)
    for name in ("seen", "drawn", "noise"):
        assert getattr(recipe, name) == getattr(straight[0], name)
        assert all(a != b for a, b in zip(getattr(recipe, name), getattr(other, name), strict=True)), name
    assert hash_of(other) != hash_of(recipe)


def test_every_epoch_uses_each_picture_once_in_an_order_of_its_own(straight):
    seen = straight[0].seen
    epochs = [[i for batch in seen[start : start + 5] for i, _ in batch] for start in range(0, 25, 5)]
    assert all(len(set(epoch)) == 20 for epoch in epochs), "five batches of four, nothing twice"
    assert set().union(*epochs) == set(range(22)), "what one epoch leaves out is in the next"
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert len(set(straight[0].drawn)) == 25


def test_about_half_of_the_pictures_are_mirrored_with_their_fixed_holes(straight):
    turned = [mirrored for batch in straight[0].seen for _, mirrored in batch]
    assert 0.3 < sum(turned) / len(turned) < 0.7
    holes = torch.zeros(len(IMAGES), 1, 16, 16, dtype=torch.bool)
    holes[..., :3] = True
    recipe, both = ToyGan(), set()

    def watch(images, generator, fixed):
        both.update((seen[1], bool(hole[..., 0].all())) for seen, hole in zip(look(images), fixed, strict=True))
        return contracts.Recipe.corrupt(recipe, images, generator, fixed)

    look = lambda images: [FINGERPRINTS[runtime.fingerprint((255 * x).round().byte())] for x in images]  # noqa: E731
    recipe.corrupt = watch
    fit(recipe, fixed_holes=holes, epochs=1)
    assert both == {(False, True), (True, False)}


def test_an_annealed_rate_rises_for_a_twentieth_of_the_steps_and_falls_to_zero():
    recipe = ToyGan()
    recipe.progress, rates = contracts.Progress(0, 100, 1), []
    for recipe.progress.step in range(101):
        recipe.slow_down()
        rates.append([group["lr"] for optimiser in recipe.optimisers.values() for group in optimiser.param_groups])
    g, d = (torch.tensor(rates).T / 1e-2).tolist()
    assert g == d
    assert [g[i] for i in (0, 4, 50, 100)] == pytest.approx([0.2, 0.996, 0.5, 0], abs=1e-3)
    assert g[:5] == sorted(g[:5])
    assert g[4:] == sorted(g[4:], reverse=True)


def test_losses_fall_and_monitoring_never_leaves_eval_mode_on(straight):
    recipe, history = straight
    assert history.losses["g"][-1] < history.losses["g"][0]
    assert all(recipe.in_train_mode)
    assert history.steps == [3, 6, 9, 12, 15, 18, 21, 24, 25]
    assert history.epochs == [1, 2, 3, 4, 5]
    assert history.preview_epochs == [0, 2, 3, 5]
    assert not any("preview" in name for name in history.to_json())


def test_seconds_are_those_of_training_alone(tmp_path, monkeypatch):
    save, waited = torch.save, []

    def wait(result=None):
        waited.append(0.15)
        time.sleep(0.15)
        return result

    monkeypatch.setattr(torch, "save", lambda *given: (wait(), save(*given))[1])
    started, waits = time.perf_counter(), {"monitor": lambda: wait({}), "preview": lambda: wait(torch.zeros(1))}
    fit(ToyGan(), tmp_path, epochs=1, **waits)
    history = fit(ToyGan(), tmp_path, epochs=3, **waits)
    assert len(waited) == 3 + 4 + 2, "scores of three epochs, pictures before and after each, two checkpoints"
    assert 0 < history.seconds <= time.perf_counter() - started - sum(waited)


# --- interrupted and continued ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stop", "at"), [(signal.SIGTERM, 1), (signal.SIGINT, 5), (signal.SIGTERM, 13)])
def test_interrupted_run_continues_bit_for_bit(tmp_path, straight, at, stop):
    stopped = ToyGan()
    stopped.stop_at, stopped.stop = at, stop
    with pytest.raises(KeyboardInterrupt, match=f"step {at} of 25"):
        fit(stopped, tmp_path)
    recipe = ToyGan()
    recipe.modules.eval()  # as after pictures were filled with it
    history = fit(recipe, tmp_path)
    assert history.resumed_from == at
    assert_same_run(recipe, history, straight)


def test_a_signal_that_comes_while_scores_are_computed_loses_nothing(tmp_path, straight):
    with pytest.raises(KeyboardInterrupt):
        fit(ToyGan(), tmp_path, monitor=lambda: signal.raise_signal(signal.SIGINT) or {})
    recipe = ToyGan()
    assert fit(recipe, tmp_path).resumed_from >= 5
    assert hash_of(recipe) == hash_of(straight[0])


def test_small_gradients_survive_fp16():
    net = nn.Linear(1, 1, bias=False)
    recipe = contracts.Recipe(nn.ModuleDict({"net": net}), SimpleNamespace(epochs=1))
    recipe.optimisers = {"sgd": torch.optim.SGD(net.parameters(), lr=1)}
    nn.init.zeros_(net.weight)
    recipe.use("fp16", torch.device("cpu"))
    with recipe.autocast(torch.device("cpu")):
        output = net(torch.ones(1, 1))
    recipe.update("sgd", output.float().sum() * 1e-8)  # float16 ends at 6e-8
    assert net.weight.item() == pytest.approx(-1e-8, rel=0.01)


def test_an_interrupted_fp16_run_continues_with_the_scale_that_it_had(tmp_path, monkeypatch):
    scaler = functools.partial(torch.amp.GradScaler, init_scale=1024, growth_interval=20)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    whole, stopped, recipe = ToyGan(), ToyGan(), ToyGan()
    history = fit(whole, precision="fp16")
    assert whole.scaler.get_scale() > 1024
    stopped.stop_at = 13
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, tmp_path, precision="fp16")
    assert_same_run(recipe, fit(recipe, tmp_path, precision="fp16"), (whole, history))
    assert recipe.scaler.state_dict() == whole.scaler.state_dict()


@pytest.mark.slow
def test_killed_process_continues_bit_for_bit(tmp_path, straight):
    """SIGKILL leaves no time to save: the run goes back to its last checkpoint, and still ends the same."""
    script = f"""
        import signal, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import test_training as t
        recipe = t.ToyGan()
        recipe.stop, recipe.stop_at = signal.SIGKILL, 18
        t.fit(recipe, {str(tmp_path)!r}, checkpoint_seconds=0.0)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert killed.returncode == -signal.SIGKILL
    recipe = ToyGan()
    history = fit(recipe, tmp_path)
    assert history.resumed_from == 17
    assert_same_run(recipe, history, straight)


def test_finished_run_is_not_trained_again_can_be_extended_and_not_shortened(tmp_path):
    def constant():  # an annealed rate follows from the number of epochs
        recipe = ToyGan()
        recipe.cfg.anneal = False
        return recipe

    whole = constant()
    fit(whole)
    fit(constant(), tmp_path, epochs=3)
    again = constant()
    fit(again, tmp_path, epochs=3)
    assert not again.seen
    longer = constant()
    fit(longer, tmp_path, epochs=5)
    assert len(longer.seen) == 10
    assert hash_of(longer) == hash_of(whole)
    with pytest.raises(ValueError, match="5 epochs, more than epochs=2"):
        fit(ToyGan(), tmp_path, epochs=2)


# --- a checkpoint that is another's, damaged, or cannot be written ----------------------------------------------------


@pytest.fixture
def finished(tmp_path):
    recipe = ToyGan()
    fit(recipe, tmp_path, epochs=1, identity={"reading": "as_run"})
    return tmp_path / "checkpoint.pt", hash_of(recipe)


def go_on(path, recipe=None, **changes):
    return fit(recipe or ToyGan(), path.parent, **{"epochs": 1, "identity": {"reading": "as_run"}} | changes)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"identity": {"reading": "fixed"}}, "reading"),
        ({"identity": {"reading": "as_run", "lr": 0.1}}, "lr"),
        ({"seed": 9}, "seed"),
        ({"batch_size": 5}, "batch_size"),
        ({"precision": "bf16"}, "precision"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_what_differs_named(finished, changes, name):
    with pytest.raises(ValueError, match=rf"{finished[0].name} belongs to another run \({name}: .* out_dir"):
        go_on(finished[0], **changes)


def test_a_checkpoint_of_another_model_is_refused(finished):
    wider, third = ToyGan(), ToyGan()
    wider.modules["g"][0] = nn.Conv2d(3, 4, 5, padding=2)
    third.optimisers["third"] = torch.optim.SGD(third.modules.parameters(), 0.1)
    for other in (wider, third):
        with pytest.raises(ValueError, match="another model"):
            go_on(finished[0], other)


def test_a_flipped_byte_is_refused_or_harmless(finished):
    path, wanted = finished
    whole, refused = path.read_bytes(), 0
    places = range(7, len(whole), max(1, len(whole) // 60))
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 0b1000
        path.write_bytes(damaged)
        recipe, said = ToyGan(), None
        try:
            go_on(path, recipe)
        except ValueError as error:
            said = str(error)
            refused += 1
        assert path.name in said if said else hash_of(recipe) == wanted, f"byte {place} was changed unnoticed"
    assert refused > len(places) / 2


def test_a_file_that_is_no_checkpoint_is_refused_in_a_sentence(finished):
    path, _ = finished
    state = torch.load(path, weights_only=True)
    pickled = {"anything": Path("a class that torch does not know")}
    without = [{name: part for name, part in state.items() if name != key} for key in state]
    for content in ([1, 2], torch.zeros(3), pickled, *without, b"", b"nothing of the kind", b"PK\x03\x04"):
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(ValueError, match=path.name) as caught:
            go_on(path)
        assert "weights_only" not in str(caught.value)


def test_full_disk_leaves_the_old_checkpoint(finished, monkeypatch):
    path, _ = finished
    before = path.read_bytes()

    def full(state, path):
        path.write_bytes(b"half of it")
        raise RuntimeError("[enforce fail] PytorchStreamWriter failed writing file: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=rf"{path.name}.*disk full"):
        go_on(path, epochs=3)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("broken", ["input", "gradient"])
def test_nan_stops_with_a_sentence_and_never_replaces_a_checkpoint(finished, broken):
    path, _ = finished
    before, recipe = path.read_bytes(), ToyGan()
    if broken == "input":
        recipe.corrupt = lambda images, generator, fixed=None: (images * torch.nan, images[:, :1] > 2)
    else:  # the last step's loss is a number, its gradient is none
        update = recipe.update
        recipe.update = lambda name, loss: update(name, loss * torch.nan if len(recipe.seen) == 5 else loss)
    with pytest.raises(FloatingPointError, match="lower lr"):
        go_on(path, recipe, epochs=2, checkpoint_seconds=0.0 if broken == "input" else 30.0)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", IMAGES.float()),
        ("images", IMAGES[0]),
        ("fixed_holes", torch.zeros(22, 1, 16, 16)),
        ("fixed_holes", torch.zeros(21, 1, 16, 16, dtype=torch.bool)),
        ("batch_size", 23),
        ("batch_size", 0),
        ("precision", "fp8"),
    ],
)
def test_bad_arguments_name_the_parameter(name, value):
    with pytest.raises((TypeError, ValueError), match=name):
        training.fit(ToyGan(), **({"images": IMAGES} | RUN | {name: value}))


# --- weights, the bar -------------------------------------------------------------------------------------------------


def test_a_weights_file_is_small_and_another_models_or_a_damaged_one_is_refused(tmp_path, finished):
    modules, kept = ToyGan().modules, ("g", "d")
    path = training.save_weights(tmp_path / "weights.safetensors", modules, kept, {"paper": "toy"})
    assert path.stat().st_size < finished[0].stat().st_size / 2
    wider = ToyGan().modules
    wider["d"][0] = nn.Conv2d(3, 4, 5)
    for other, names in ((modules, ("g",)), (wider, kept)):
        with pytest.raises(ValueError, match=rf"{path.name}.* another model"):
            training.load_weights(path, other, names)
    whole, before = path.read_bytes(), training.weights_hash(modules)
    for damaged in (whole[: len(whole) // 2], whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], b"", b"no weights"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=path.name):
            training.load_weights(path, modules, kept)
    assert training.weights_hash(modules) == before
    with pytest.raises(FileNotFoundError, match=r"nothing.safetensors"):
        training.load_weights(tmp_path / "nothing.safetensors", modules, kept)


def test_the_bar_sends_few_messages_however_quick_the_steps_are(monkeypatch):
    drawn = []
    bar = type("Bar", (training.tqdm,), {"display": lambda self, *given, **options: drawn.append(time.monotonic())})
    monkeypatch.setattr(training, "tqdm", bar)
    fit(ToyGan(), epochs=60, progress=True)
    assert 2 <= len(drawn) <= 2 + drawn[-1] - drawn[0] + 1  # the first and the last, and one a second
