"""One training loop for every paper: what to train is a `Recipe`, everything else is `fit`.

`fit` owns the order of the data, precision, logging, checkpoints and random state; a recipe owns its networks, its
holes and its backward passes. A run that was killed continues from its last checkpoint and ends with the same weights
as one that was not: bit for bit on a CPU with the same number of threads.
"""

import contextlib
import hashlib
import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from tqdm.auto import tqdm

from inpaintkit import runtime

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}


class Recipe(Protocol):
    """What `fit` trains. Any object with these attributes will do; one paper's recipe stands in its file in models/."""

    modules: nn.ModuleDict
    optimisers: dict[str, torch.optim.Optimizer]
    schedulers: dict[str, torch.optim.lr_scheduler.LRScheduler]  # stepped once per epoch; may be empty

    def corrupt(self, images: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws holes for a batch of images (B, C, H, W) in [0, 1]: returns (masked, mask)."""

    def step(self, batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """One training step on (image, masked, mask), backward passes and optimisers included; returns its losses."""


@dataclass
class History:
    """What a run has measured: losses averaged between log points, the monitor's scores after each epoch, pictures."""

    steps: list[int] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)
    previews: list[torch.Tensor] = field(default_factory=list)  # uint8, one per entry of preview_epochs
    preview_epochs: list[int] = field(default_factory=list)
    seconds: float = 0.0  # spent training, over all sessions
    resumed_from: int | None = None  # step at which this session took over

    def to_json(self) -> dict:
        """Everything but the pictures, for results.json."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("preview")}


def fit(
    recipe: Recipe,
    images: torch.Tensor,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    out_dir: str | Path | None = None,
    identity: dict | None = None,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    monitor: Callable[[], dict[str, float]] | None = None,
    preview: Callable[[], torch.Tensor] | None = None,
    previews: int = 4,
    log_every: int = 50,
    checkpoint_seconds: float = 30.0,
    progress: bool = True,
) -> History:
    """Trains ``recipe`` on ``images``, uint8 (N, C, H, W), for ``epochs`` passes in batches of ``batch_size``.

    With ``out_dir`` the run saves checkpoint.pt there at least every ``checkpoint_seconds``, when interrupted and at
    the end, and continues from it if there is one. ``identity`` names what the run is (reading, data fingerprint,
    ...): a checkpoint with another identity is refused; ``epochs`` may be raised. ``monitor`` is called after each
    epoch and returns scores to log; ``preview`` returns pictures (B, C, H, W) in [0, 1] of always the same images,
    kept ``previews`` times in a run, before the first step and at the end included. Both are called in eval mode
    without gradients.

    Raises TypeError or ValueError (wrong input, checkpoint of another run), FloatingPointError (a loss or a weight is
    no longer finite), OSError (the checkpoint cannot be written) and, after saving, KeyboardInterrupt.
    """
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise TypeError(f"images must be uint8 (N, C, H, W), and these are {images.dtype} {tuple(images.shape)}.")
    if batch_size < 1 or len(images) < batch_size:
        raise ValueError(
            f"batch_size must lie between 1 and the number of images ({len(images)}), and {batch_size} does not."
        )
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, and {precision!r} is not.")
    device = torch.device(device)
    runtime.keep_freed_memory()
    images = images.to(device)  # once: as uint8 every data set here fits into a GPU's memory
    recipe.modules.to(device)
    holes = runtime.generator(seed, device)
    runtime.seed_everything(seed)
    steps_per_epoch = len(images) // batch_size  # the short rest of an epoch is left out; the next one shuffles anew
    total = epochs * steps_per_epoch
    preview_at = {round(i * epochs / max(1, previews - 1)) for i in range(previews)} if preview else set()

    fixed = {"images": len(images), "batch_size": batch_size, "seed": seed, "precision": precision}
    run = _Run(recipe, holes, (identity or {}) | fixed, out_dir)
    step = run.load(device)
    if step > total:
        raise ValueError(
            f"{run.path} has trained {step // steps_per_epoch} epochs, more than epochs={epochs}: "
            "choose another out_dir, or delete it."
        )
    history = run.history
    started = time.perf_counter() - history.seconds
    saved = time.perf_counter()
    autocast = torch.autocast(device.type, PRECISIONS[precision]) if PRECISIONS[precision] else contextlib.nullcontext()

    def after_epoch(epoch):
        with _evaluating(recipe.modules):
            if epoch in preview_at and epoch not in history.preview_epochs:
                history.preview_epochs.append(epoch)
                history.previews.append((preview().clamp(0, 1) * 255).round().byte().cpu())
            if monitor and epoch and epoch not in history.epochs:
                history.epochs.append(epoch)
                for name, value in monitor().items():
                    history.scores.setdefault(name, []).append(float(value))

    recipe.modules.train()  # whatever was done with the networks before
    if step == 0:
        after_epoch(0)
    # Every refresh is three messages to the notebook. A reader that looks only when the cell has ended (nbval) loses
    # what its queues cannot hold, the last message included, and believes that the cell hangs: so one refresh a second.
    bar = tqdm(total=total, initial=step, desc="training", unit="step", mininterval=1, disable=not progress)
    with bar, _finish_step_first() as interrupted:
        while step < total:
            epoch, batch = divmod(step, steps_per_epoch)
            if batch == 0 or step == history.resumed_from:
                # The order depends on seed and epoch alone, so that a resumed run needs no history to find its place.
                order = torch.randperm(len(images), generator=runtime.generator(seed * 1_000_003 + epoch)).to(device)
            chosen = order[batch * batch_size : (batch + 1) * batch_size]
            image = images[chosen].float() / 255
            masked, mask = recipe.corrupt(image, holes)
            with autocast:
                losses = recipe.step((image, masked, mask), holes)
            for name, loss in losses.items():
                run.sums[name] = run.sums.get(name, 0) + loss.detach()
            step += 1
            bar.update()
            end_of_epoch = step % steps_per_epoch == 0
            if step % log_every == 0 or step == total:
                _log(run, step, bar)
            if end_of_epoch:
                for scheduler in recipe.schedulers.values():
                    scheduler.step()
                after_epoch(epoch + 1)
            if interrupted or step == total or time.perf_counter() - saved > checkpoint_seconds:
                history.seconds = time.perf_counter() - started
                run.save(step)
                saved = time.perf_counter()
            if interrupted:
                kept = (
                    "call fit again to continue from here"
                    if out_dir
                    else "nothing was saved, because out_dir is not set"
                )
                raise KeyboardInterrupt(f"stopped after step {step} of {total}; {kept}.")
    return history


def _log(run: "_Run", step: int, bar) -> None:
    """Moves the sums since the last log point into the history: the only moment at which a GPU must be waited for."""
    history = run.history
    since = step - (history.steps[-1] if history.steps else 0)
    run.check_finite(step)
    history.steps.append(step)
    for name, total in run.sums.items():
        history.losses.setdefault(name, []).append(float(total) / since)
    bar.set_postfix({name: f"{values[-1]:.4f}" for name, values in history.losses.items()}, refresh=False)
    run.sums.clear()


@dataclass
class _Run:
    """A run on disk: everything that must be the same again when it continues."""

    recipe: Recipe
    holes: torch.Generator
    identity: dict
    out_dir: str | Path | None
    history: History = field(default_factory=History)
    sums: dict[str, torch.Tensor] = field(default_factory=dict)  # of each loss since the last log point

    @property
    def path(self) -> Path:
        return Path(self.out_dir) / "checkpoint.pt"

    def _parts(self) -> dict:
        return {
            "modules": self.recipe.modules,
            **{f"optimiser {name}": optimiser for name, optimiser in self.recipe.optimisers.items()},
            **{f"scheduler {name}": scheduler for name, scheduler in self.recipe.schedulers.items()},
        }

    def check_finite(self, step: int) -> None:
        for name, total in self.sums.items():
            if not math.isfinite(total):
                raise FloatingPointError(
                    f"{name} is {float(total)} by step {step}: lower the learning rate, or check the images for NaN."
                )

    def save(self, step: int) -> None:
        if self.out_dir is None:
            return
        self.check_finite(step)
        for name, weights in self.recipe.modules.named_parameters():  # they must not replace a good checkpoint
            if not torch.isfinite(weights).all():
                raise FloatingPointError(f"{name} holds NaN or infinity by step {step}: lower the learning rate.")
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"step": step, "sums": self.sums, "history": asdict(self.history), "identity": self.identity}
        state |= {"holes": self.holes.get_state(), "torch": torch.get_rng_state()}
        if self.holes.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.holes.device)
        _write(self.path, state)

    def load(self, device: torch.device) -> int:
        """Restores the run and returns the step to continue at: 0 if there is nothing to continue."""
        if self.out_dir is None or not self.path.exists():
            return 0
        state = _read(self.path, device)
        saved = state.get("identity", {})
        differing = [name for name, value in self.identity.items() if name not in saved or saved[name] != value]
        missing = [name for name in self._parts() if name not in state]
        if differing or missing:
            what = ", ".join(differing) or "networks or optimisers"
            raise ValueError(
                f"{self.path} belongs to another run ({what} differ): choose another out_dir, or delete it."
            )
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError) as error:
            first = str(error).splitlines()[0]
            raise ValueError(
                f"{self.path} belongs to another model ({first}): choose another out_dir, or delete it."
            ) from error
        self.holes.set_state(state["holes"].cpu())
        torch.set_rng_state(state["torch"].cpu())
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"].cpu(), device)
        self.sums.update(state["sums"])
        self.history.__dict__.update(state["history"])
        self.history.previews = [preview.cpu() for preview in self.history.previews]
        self.history.resumed_from = state["step"]
        return state["step"]


@contextlib.contextmanager
def _evaluating(modules: nn.Module):
    """Eval mode and no gradients inside, train mode again afterwards."""
    modules.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        modules.train()


@contextlib.contextmanager
def _finish_step_first():
    """Yields a list, empty until Ctrl-C, a notebook's stop button or SIGTERM comes: no step is left half done."""
    came = []
    if threading.current_thread() is not threading.main_thread():  # signals cannot be caught elsewhere
        yield came
        return
    note = lambda number, _: came.append(number)  # noqa: E731
    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def save_weights(path: str | Path, modules: nn.Module) -> Path:
    """The weights alone, a third of a checkpoint with Adam's two moments: to keep, to send, to fill holes with."""
    _write(path, modules.state_dict())
    return Path(path)


def load_weights(path: str | Path, modules: nn.Module) -> None:
    """Puts saved weights into ``modules``. Raises ValueError if they are not this model's, FileNotFoundError."""
    state, own = _read(path), modules.state_dict()
    wrong = [name for name in own if name not in state or state[name].shape != own[name].shape]
    wrong += [name for name in state if name not in own]
    if wrong:
        raise ValueError(f"{path} holds the weights of another model ({wrong[0]} differs).")
    modules.load_state_dict(state)


def _write(path: str | Path, state: dict) -> None:
    with runtime.atomic_write(path) as part:
        try:
            torch.save(state, part)
        except RuntimeError as error:  # how torch reports a full disk
            raise OSError(f"is the disk full? {error}") from error


def _read(path: str | Path, device: torch.device | str = "cpu") -> dict:
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged files fail in many ways, all of which mean the same
        raise ValueError(f"{path} cannot be read: delete it to start anew ({error}).") from error


def weights_hash(modules: nn.Module) -> str:
    """First 12 hex digits of the SHA-256 of all weights and buffers, to tell whether two runs ended alike."""
    digest = hashlib.sha256()
    for name, tensor in modules.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
