"""Training: `fit` runs a recipe over a data set, can be interrupted at any step, and continues bit for bit.

`fit` owns the order of the data, precision, logging, checkpoints and random state; a recipe (`contracts.Recipe`) owns
its networks, its holes and its backward passes. A run that was killed continues from its last checkpoint and ends with
the same weights as one that was not: bit for bit on a CPU with the same number of threads.
"""

import contextlib
import hashlib
import math
import signal
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn
from tqdm.auto import tqdm

from inpaintkit import runtime
from inpaintkit.contracts import Progress, Recipe


@dataclass
class History:
    """What a run has measured: losses averaged between log points, the monitor's scores after each epoch, pictures."""

    steps: list[int] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)
    previews: list[torch.Tensor] = field(default_factory=list)  # uint8, one per entry of preview_epochs
    preview_epochs: list[int] = field(default_factory=list)
    seconds: float = 0.0  # of training steps alone, over all sessions
    resumed_from: int | None = None  # step at which this session took over

    def to_json(self) -> dict:
        """Everything but the pictures, for results.json."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("preview")}


def fit(
    recipe: Recipe,
    images: torch.Tensor,
    fixed_holes: torch.Tensor | None = None,
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
    """Trains ``recipe`` on ``images`` for ``epochs`` passes in batches of ``batch_size``.

    Changes the process: seeds Python, NumPy and torch, and asks glibc to keep freed memory.

    Args:
        images: uint8 (N, C, H, W).
        fixed_holes: the hole that each image keeps, bool (N, 1 or C, H, W); None: the recipe draws new ones.
        out_dir: where checkpoint.pt is saved at least every ``checkpoint_seconds``, when interrupted and at the end. If
            there is one, the run continues from it; ``epochs`` may be raised.
        identity: what the run is, {name: value}; a checkpoint with another identity is refused.
        monitor: called after each epoch, in eval mode without gradients; returns scores to log.
        preview: returns pictures (B, C, H, W) in [0, 1] of always the same images, kept ``previews`` times, before the
            first step and at the end included; called as ``monitor`` is.

    Raises:
        TypeError, ValueError: wrong input, or the checkpoint of another run.
        FloatingPointError: a loss or a weight is no longer finite.
        OSError: the checkpoint cannot be written.
        KeyboardInterrupt: after saving.
    """
    device = torch.device(device)
    _check(images, fixed_holes, batch_size, precision)
    runtime.keep_freed_memory()
    images = images.to(device)  # once: as uint8 every data set here fits into a GPU's memory
    fixed_holes = fixed_holes if fixed_holes is None else fixed_holes.to(device)
    recipe.modules.to(device)
    recipe.use(precision, device)
    recipe.progress = Progress(0, len(images) // batch_size, epochs)
    fixed = {"images": len(images), "batch_size": batch_size, "seed": seed, "precision": precision}
    run = _Run(recipe, runtime.generator(seed, device), (identity or {}) | fixed, out_dir)
    runtime.seed_everything(seed)
    run.load(device)
    at = {round(i * epochs / max(1, previews - 1)) for i in range(previews)} if preview else set()
    run.evaluate = lambda epoch: run.after_epoch(epoch, monitor, preview if epoch in at else None)
    if run.progress.share > 1:
        raise ValueError(
            f"{run.path} has trained {run.progress.step // run.progress.steps_per_epoch} epochs, more than "
            f"epochs={epochs}: choose another out_dir, or delete it."
        )
    _train(run, images, fixed_holes, batch_size, seed, log_every, checkpoint_seconds, progress)
    return run.history


def _check(images, fixed_holes, batch_size, precision) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise TypeError(f"images must be uint8 (N, C, H, W), and these are {images.dtype} {tuple(images.shape)}.")
    if not 1 <= batch_size <= len(images):
        raise ValueError(
            f"{len(images)} training pictures make no batch of {batch_size}: add pictures, or choose batch_size from "
            "1 to their number."
        )
    if precision not in runtime.PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(runtime.PRECISIONS)}, and {precision!r} is not.")
    if fixed_holes is not None and (fixed_holes.dtype != torch.bool or len(fixed_holes) != len(images)):
        raise TypeError(f"fixed_holes must be bool, one for each of {len(images)} images.")


def _train(run: "_Run", images, fixed_holes, batch_size, seed, log_every, checkpoint_seconds, progress) -> None:
    """The loop of `fit`."""
    recipe, now = run.recipe, run.progress
    total = now.total  # the short rest of an epoch is left out; the next one shuffles anew
    recipe.modules.train()  # whatever was done with the networks before
    if now.step == 0:
        run.evaluate(0)
    # Every refresh is three messages to the notebook. A reader that looks only when the cell has ended (nbval) loses
    # what its queues cannot hold, the last message included, and believes that the cell hangs: so one refresh a second.
    bar = tqdm(total=total, initial=now.step, desc="training", unit="step", mininterval=1, disable=not progress)
    saved = started = time.perf_counter()
    with bar, _finish_step_first() as interrupted:
        while now.step < total:
            epoch, batch = divmod(now.step, now.steps_per_epoch)
            if batch == 0 or now.step == run.history.resumed_from:
                # The order depends on seed and epoch alone, so that a resumed run needs no history to find its place.
                order = torch.randperm(len(images), generator=runtime.generator(seed * 1_000_003 + epoch))
                order = order.to(images.device)
            chosen = order[batch * batch_size : (batch + 1) * batch_size]
            image, fixed = images[chosen].float() / 255, None if fixed_holes is None else fixed_holes[chosen]
            image, fixed = recipe.mirrored(image, fixed, run.holes)
            masked, mask = recipe.corrupt(image, run.holes, fixed)
            recipe.slow_down()
            for name, loss in recipe.step((image, masked, mask), run.holes).items():
                run.sums[name] = run.sums.get(name, 0) + loss.detach()
            now.step += 1
            bar.update()
            if now.step % log_every == 0 or now.step == total:
                run.log(bar)
            due = interrupted or now.step == total or time.perf_counter() - saved > checkpoint_seconds
            if now.step % now.steps_per_epoch == 0 or due:
                run.history.seconds += time.perf_counter() - started
                if now.step % now.steps_per_epoch == 0:
                    run.evaluate(epoch + 1)
                if due or interrupted:  # a signal may have come while scores were computed
                    run.save()
                    saved = time.perf_counter()
                started = time.perf_counter()
            if interrupted:
                how = "call fit again to continue from here" if run.out_dir else "nothing was saved: set out_dir"
                raise KeyboardInterrupt(f"stopped after step {now.step} of {total}; {how}.")


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

    @property
    def progress(self) -> Progress:
        return self.recipe.progress

    def _parts(self) -> dict:
        return {
            "modules": self.recipe.modules,
            **{f"optimiser {name}": optimiser for name, optimiser in self.recipe.optimisers.items()},
            **({"scaler": self.recipe.scaler} if self.recipe.scaler else {}),
        }

    def after_epoch(self, epoch: int, monitor, preview) -> None:
        """Scores and pictures, once for every epoch."""
        history = self.history
        with _evaluating(self.recipe.modules):
            if preview and epoch not in history.preview_epochs:
                history.preview_epochs.append(epoch)
                history.previews.append((preview().clamp(0, 1) * 255).round().byte().cpu())
            if monitor and epoch and epoch not in history.epochs:
                history.epochs.append(epoch)
                for name, value in monitor().items():
                    history.scores.setdefault(name, []).append(float(value))

    def log(self, bar) -> None:
        """Moves the sums since the last log point into the history: the only moment at which a GPU is waited for."""
        history = self.history
        since = self.progress.step - (history.steps[-1] if history.steps else 0)
        self.check_finite()
        history.steps.append(self.progress.step)
        for name, total in self.sums.items():
            history.losses.setdefault(name, []).append(float(total) / since)
        bar.set_postfix({name: f"{values[-1]:.4f}" for name, values in history.losses.items()}, refresh=False)
        self.sums.clear()

    def check_finite(self) -> None:
        for name, total in self.sums.items():
            if not math.isfinite(total):
                raise FloatingPointError(
                    f"{name} is {float(total)} by step {self.progress.step}: lower lr, or check the images for NaN."
                )

    def save(self) -> None:
        if self.out_dir is None:
            return
        self.check_finite()
        for name, weights in self.recipe.modules.named_parameters():  # they must not replace a good checkpoint
            if not torch.isfinite(weights).all():
                raise FloatingPointError(f"{name} holds NaN or infinity by step {self.progress.step}: lower lr.")
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"step": self.progress.step, "sums": self.sums, "history": asdict(self.history)}
        state |= {"identity": self.identity, "holes": self.holes.get_state(), "torch": torch.get_rng_state()}
        if self.holes.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.holes.device)
        with runtime.atomic_write(self.path) as part:
            try:
                torch.save(state, part)
            except RuntimeError as error:  # how torch reports a full disk
                raise OSError(f"is the disk full? {error}") from error

    def load(self, device: torch.device) -> None:
        """Restores the run, if there is one to continue."""
        if self.out_dir is None or not self.path.exists():
            return
        state = _read(self.path, device)
        saved = state["identity"]
        for name, value in self.identity.items():
            if name not in saved or saved[name] != value:
                there = f"{saved[name]!r} there" if name in saved else "not there"
                raise ValueError(
                    f"{self.path} belongs to another run ({name}: {there}, {value!r} here): choose another out_dir, or "
                    "delete it."
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
        if "cuda" in state and device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"].cpu(), device)
        self.sums.update(state["sums"])
        self.history.__dict__.update(state["history"])
        self.history.previews = [preview.cpu() for preview in self.history.previews]
        self.history.resumed_from = self.progress.step = state["step"]


def _read(path: Path, device: torch.device) -> dict:
    """A checkpoint, each byte of it verified by the checksums of its zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                raise ValueError("its checksum does not fit")
        state = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(state, dict) or {"identity", "step", "history", "sums", "holes", "torch"} - set(state):
            raise ValueError("it is no checkpoint of this kit")
    except Exception as error:  # damaged files fail in many ways, all of which mean the same
        why = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise ValueError(f"{path} cannot be read ({why}): delete it to start anew.") from error
    return state


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


def save_weights(path: str | Path, modules: nn.ModuleDict, kept: tuple[str, ...], header: dict[str, str]) -> Path:
    """The weights of the modules that a filler needs, as a safetensors file with a ``header`` of texts.

    That is a third of a checkpoint or less: to keep, to send, to fill holes with.
    """
    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name in kept
        for key, value in modules[name].state_dict().items()
    }
    with runtime.atomic_write(path) as part:
        try:
            safetensors.torch.save_file(tensors, part, header | {"sha256": _digest(tensors)})
        except SafetensorError as error:  # how it reports a full disk
            raise OSError(f"is the disk full? {error}") from error
    return Path(path)


def load_weights(path: str | Path, modules: nn.ModuleDict, kept: tuple[str, ...]) -> None:
    """Puts saved weights into ``modules``. Raises ValueError if they are not this model's, FileNotFoundError."""
    _, tensors = _opened(path)
    own = {f"{name}.{key}": value for name in kept for key, value in modules[name].state_dict().items()}
    wrong = [name for name in own if name not in tensors or tensors[name].shape != own[name].shape]
    wrong += [name for name in tensors if name not in own]
    if wrong:
        raise ValueError(f"{path} holds the weights of another model ({wrong[0]} differs).")
    for name in kept:
        prefix = f"{name}."
        modules[name].load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})


def weights_header(path: str | Path) -> dict[str, str]:
    """The header of a weights file. Raises ValueError for a damaged file, FileNotFoundError."""
    return _opened(path)[0]


def _opened(path: str | Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist or is no file: name a weights file.")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no weights file ({error}).") from error
    if header.get("sha256") != _digest(tensors):
        raise ValueError(f"{path} is damaged: its checksum does not fit.")
    return header, tensors


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def weights_hash(modules: nn.Module) -> str:
    """First 12 hex digits of the SHA-256 of all weights and buffers, to tell whether two runs ended alike."""
    digest = hashlib.sha256()
    for name, tensor in modules.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
