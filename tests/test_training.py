import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from torch import nn

from inpaintkit import masking, training


class ToyGan:
    """Two networks, two optimisers, a scheduler, random holes and dropout: everything that has to survive a restart."""

    def __init__(self, lr=1e-2):
        torch.manual_seed(7)
        g = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.2), nn.Conv2d(4, 3, 3, padding=1)
        )
        d = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 1, 3))
        self.modules = nn.ModuleDict({"g": g, "d": d})
        self.optimisers = {
            "g": torch.optim.Adam(g.parameters(), lr),
            "d": torch.optim.SGD(d.parameters(), lr, momentum=0.9),
        }
        self.schedulers = {"g": torch.optim.lr_scheduler.StepLR(self.optimisers["g"], 2, 0.5)}
        self.trained_in_eval_mode = False
        self.interrupt_at = None
        self.steps = 0

    def corrupt(self, images, generator):
        mask = masking.square(len(images), images.shape[-1], 4, "random", generator)
        return masking.apply(images, mask), mask

    def step(self, batch, generator):
        image, masked, _ = batch
        self.trained_in_eval_mode |= not self.modules["g"].training
        self.steps += 1
        if self.steps == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)
        g, d = self.modules["g"], self.modules["d"]
        fake = g(masked)
        loss_d = (d(image) - 1).square().mean() + d(fake.detach()).square().mean()
        self._update("d", loss_d)
        loss_g = (fake - image).square().mean() + 0.001 * (d(fake) - 1).square().mean()
        self._update("g", loss_g)
        return {"g": loss_g, "d": loss_d}

    def _update(self, name, loss):
        self.optimisers[name].zero_grad()
        loss.backward()
        self.optimisers[name].step()


IMAGES = torch.randint(0, 256, (22, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
RUN = {"epochs": 5, "batch_size": 4, "seed": 3, "progress": False, "log_every": 3}  # 5 steps an epoch, 25 in all


def fit(recipe, out_dir=None, **changes):
    monitor = lambda: {"weight": recipe.modules["g"][0].weight.sum().item()}  # noqa: E731
    preview = lambda: recipe.modules["g"](IMAGES[:2].float() / 255)  # noqa: E731
    return training.fit(recipe, IMAGES, out_dir=out_dir, monitor=monitor, preview=preview, **(RUN | changes))


@pytest.fixture(scope="module")
def straight():
    recipe = ToyGan()
    return recipe, fit(recipe)


def assert_same_run(recipe, history, straight):
    reference, wanted = straight
    assert training.weights_hash(recipe.modules) == training.weights_hash(reference.modules)
    for name, optimiser in recipe.optimisers.items():
        ours, theirs = optimiser.state_dict(), reference.optimisers[name].state_dict()
        assert str(ours) == str(theirs)
    assert history.losses == wanted.losses
    assert history.steps == wanted.steps
    assert history.scores == wanted.scores
    assert history.preview_epochs == wanted.preview_epochs == [0, 2, 3, 5]
    assert all(torch.equal(a, b) for a, b in zip(history.previews, wanted.previews, strict=True))


def test_same_seed_same_weights_another_seed_others(straight):
    recipe = ToyGan()
    assert_same_run(recipe, fit(recipe), straight)
    other = ToyGan()
    fit(other, seed=4)
    assert training.weights_hash(other.modules) != training.weights_hash(recipe.modules)


def test_losses_fall_and_monitoring_never_leaves_eval_mode_on(straight):
    recipe, history = straight
    assert history.losses["g"][-1] < history.losses["g"][0]
    assert not recipe.trained_in_eval_mode
    assert history.steps == [3, 6, 9, 12, 15, 18, 21, 24, 25]
    assert history.epochs == [1, 2, 3, 4, 5]
    assert history.to_json().keys() == {"steps", "losses", "epochs", "scores", "seconds", "resumed_from"}


@pytest.mark.parametrize("at", [1, 5, 13, 24])
def test_interrupted_run_continues_bit_for_bit(tmp_path, straight, at):
    stopped = ToyGan()
    stopped.interrupt_at = at
    with pytest.raises(KeyboardInterrupt, match=f"stopped after step {at} of 25; call fit again"):
        fit(stopped, tmp_path)
    recipe = ToyGan()
    recipe.modules.eval()  # as after pictures were filled with it
    history = fit(recipe, tmp_path)
    assert history.resumed_from == at
    assert_same_run(recipe, history, straight)


def test_killed_process_continues_bit_for_bit(tmp_path, straight):
    """SIGKILL leaves no time to save: the run goes back to its last checkpoint, and still ends the same."""
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import torch
        import test_training as t
        torch.set_num_threads({torch.get_num_threads()})
        recipe = t.ToyGan()
        whole_step = recipe.step
        def step(batch, generator):
            if recipe.steps == 17:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole_step(batch, generator)
        recipe.step = step
        t.fit(recipe, {str(tmp_path)!r}, checkpoint_seconds=0.0)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert killed.returncode == -signal.SIGKILL
    recipe = ToyGan()
    history = fit(recipe, tmp_path)
    assert history.resumed_from == 17
    assert_same_run(recipe, history, straight)


def test_finished_run_is_not_trained_again_and_can_be_extended(tmp_path, straight):
    fit(ToyGan(), tmp_path, epochs=3)
    again = ToyGan()
    fit(again, tmp_path, epochs=3)
    assert again.steps == 0
    longer = ToyGan()
    fit(longer, tmp_path, epochs=5)
    assert longer.steps == 10
    assert training.weights_hash(longer.modules) == training.weights_hash(straight[0].modules)


def test_fewer_epochs_than_were_trained_are_refused(tmp_path):
    fit(ToyGan(), tmp_path, epochs=3)
    with pytest.raises(ValueError, match=r"has trained 3 epochs, more than epochs=2: choose another out_dir"):
        fit(ToyGan(), tmp_path, epochs=2)


def test_checkpoint_of_another_run_or_model_is_refused(tmp_path):
    fit(ToyGan(), tmp_path, epochs=1, identity={"reading": "as_run"})
    with pytest.raises(ValueError, match=r"another run \(reading differ"):
        fit(ToyGan(), tmp_path, epochs=1, identity={"reading": "fixed"})
    with pytest.raises(ValueError, match=r"another run \(seed differ"):
        fit(ToyGan(), tmp_path, epochs=1, seed=9)
    with pytest.raises(ValueError, match=r"another run \(batch_size, precision differ"):
        fit(ToyGan(), tmp_path, epochs=1, batch_size=5, precision="bf16")
    other = ToyGan()
    other.modules["g"][0] = nn.Conv2d(3, 4, 5, padding=2)
    with pytest.raises(ValueError, match="another model"):
        fit(other, tmp_path, epochs=1)
    other = ToyGan()
    other.optimisers["third"] = torch.optim.SGD(other.modules.parameters(), 0.1)
    with pytest.raises(ValueError, match="networks or optimisers differ"):
        fit(other, tmp_path, epochs=1)


def test_damaged_checkpoint_is_named(tmp_path):
    fit(ToyGan(), tmp_path, epochs=1)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"checkpoint.pt cannot be read: delete it"):
        fit(ToyGan(), tmp_path, epochs=1)


def test_weights_alone_are_smaller_and_come_back(tmp_path):
    recipe = ToyGan()
    fit(recipe, tmp_path, epochs=1)
    path = training.save_weights(tmp_path / "weights.pt", recipe.modules)
    assert path.stat().st_size < (tmp_path / "checkpoint.pt").stat().st_size
    other = ToyGan()
    assert training.weights_hash(other.modules) != training.weights_hash(recipe.modules)
    training.load_weights(path, other.modules)
    assert training.weights_hash(other.modules) == training.weights_hash(recipe.modules)


def test_weights_of_another_model_or_none_are_refused(tmp_path):
    path = training.save_weights(tmp_path / "weights.pt", ToyGan().modules)
    narrow = nn.ModuleDict({"g": nn.Conv2d(3, 4, 3)})
    before = training.weights_hash(narrow)
    with pytest.raises(ValueError, match=r"weights.pt holds the weights of another model \(g.weight differs\)"):
        training.load_weights(path, narrow)
    assert training.weights_hash(narrow) == before
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"weights.pt cannot be read"):
        training.load_weights(path, narrow)
    with pytest.raises(FileNotFoundError):
        training.load_weights(tmp_path / "nothing.pt", narrow)


def test_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    fit(ToyGan(), tmp_path, epochs=2)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(state, path):
        path.write_bytes(b"half of it")
        raise RuntimeError("[enforce fail] PytorchStreamWriter failed writing file: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"checkpoint.pt could not be written \(is the disk full\?"):
        fit(ToyGan(), tmp_path, epochs=3)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_really_full_device_is_reported(tmp_path, monkeypatch):
    from inpaintkit import runtime

    def write():
        with runtime.atomic_write(tmp_path / "file") as part:
            part.symlink_to("/dev/full")
            part.write_text("x" * 100_000)

    with pytest.raises(OSError, match="could not be written"):
        write()
    assert not (tmp_path / "file").exists()


def test_diverging_loss_stops_with_a_sentence_and_keeps_the_checkpoint(tmp_path):
    fit(ToyGan(), tmp_path, epochs=1)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    recipe = ToyGan()
    recipe.corrupt = lambda images, generator: (images * torch.nan, images[:, :1] > 2)
    with pytest.raises(FloatingPointError, match=r"is nan by step \d+: lower the learning rate"):
        fit(recipe, tmp_path, epochs=2, checkpoint_seconds=0.0)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_weights_that_are_no_numbers_never_replace_a_checkpoint(tmp_path):
    fit(ToyGan(), tmp_path, epochs=1)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    recipe = ToyGan()
    update = recipe._update

    def broken(name, loss):  # the last step's loss is a number, its gradient is none
        update(name, loss * torch.nan if recipe.steps == 5 and name == "g" else loss)

    recipe._update = broken
    with pytest.raises(FloatingPointError, match=r"g\..* holds NaN or infinity by step 10: lower the learning rate"):
        fit(recipe, tmp_path, epochs=2)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


def test_bf16_trains_and_differs(straight):
    recipe = ToyGan()
    history = fit(recipe, precision="bf16")
    assert history.losses["g"][-1] < history.losses["g"][0]
    assert training.weights_hash(recipe.modules) != training.weights_hash(straight[0].modules)


def test_checkpoints_are_taken_in_time(tmp_path):
    recipe = ToyGan()
    whole_step = recipe.step

    def slow_step(batch, generator):
        if recipe.steps == 10:
            assert (tmp_path / "checkpoint.pt").exists()
        time.sleep(0.02)
        return whole_step(batch, generator)

    recipe.step = slow_step
    fit(recipe, tmp_path, checkpoint_seconds=0.1)


@pytest.mark.parametrize(
    ("images", "changes", "error", "message"),
    [
        (IMAGES.float(), {}, TypeError, "images must be uint8"),
        (IMAGES[0], {}, TypeError, "images must be uint8"),
        (IMAGES, {"batch_size": 23}, ValueError, "batch_size must lie between 1 and the number of images"),
        (IMAGES, {"precision": "fp8"}, ValueError, "precision must be one of fp32, bf16"),
    ],
)
def test_bad_arguments_name_the_remedy(images, changes, error, message):
    with pytest.raises(error, match=message):
        training.fit(ToyGan(), images, **(RUN | changes))


def test_the_bar_sends_few_messages_however_quick_the_steps_are(monkeypatch):
    drawn = []

    class Bar(training.tqdm):
        def display(self, *arguments, **options):
            drawn.append(time.monotonic())

    class SlowGan(ToyGan):
        def step(self, batch, generator):
            time.sleep(0.03)
            return super().step(batch, generator)

    monkeypatch.setattr(training, "tqdm", Bar)
    training.fit(SlowGan(), IMAGES, **(RUN | {"epochs": 8, "progress": True}))  # 40 steps in more than 1.2 seconds
    assert 2 <= len(drawn) <= 2 + drawn[-1] - drawn[0] + 1  # the first and the last, and one a second
