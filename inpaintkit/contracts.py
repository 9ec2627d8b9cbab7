"""The four nouns of the kit, the same for all works: Filler, Recipe, Paper, Question. A Record is in experiments.

Tensors: images are float32 (B, C, H, W) in [0, 1], stored as uint8; masks are bool (B, 1, H, W), or (B, C, H, W) where
channels lose different pixels, True = hole. Random holes come from a torch.Generator, in batches, on its device.
"""

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from inpaintkit import masking, runtime

WARM_UP = 0.05  # share of the steps in which an annealed learning rate rises


class Filler(ABC):
    """Anything that fills holes, from doing nothing to a trained network: ``pred = filler(masked, mask)``.

    ``id`` is the key of tables and records ("ring"), ``label`` the words for people ("mean of a 2-pixel ring").
    """

    id = "filler"
    label = "filler"
    uses_all_cores = False  # does one call keep all cores busy? then no pool of threads is put around it

    def accepts(self, shape: tuple[int, ...], mask: torch.Tensor) -> str | None:
        """None, or one sentence: why this filler cannot take images of ``shape`` (B, C, H, W) with this mask."""
        return None

    @abstractmethod
    def __call__(self, masked: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The filled images (B, C, H, W).

        Args:
            masked: images (B, C, H, W) in [0, 1]; the hole holds some value that says nothing.
            mask: (B, 1, H, W) or (B, C, H, W).

        The known pixels may change: `masking.composite` puts them back.
        """


@dataclass
class Progress:
    """How far a training is: ``step`` of ``steps_per_epoch * epochs``."""

    step: int = 0
    steps_per_epoch: int = 1
    epochs: int = 1

    @property
    def total(self) -> int:
        """All steps of the training."""
        return self.steps_per_epoch * self.epochs

    @property
    def share(self) -> float:
        """The share of all steps that is done, 0 to 1."""
        return self.step / self.total


class Recipe:
    """What `training.fit` trains. A subclass sets `modules` and `optimisers` and writes `holes` and `step`.

    ``fill`` is what stands in the hole of a training picture. `fit` keeps ``progress`` up to date.
    ``steps_per_epoch`` is known when the recipe is made.
    """

    modules: nn.ModuleDict
    optimisers: Mapping[str, torch.optim.Optimizer]
    fill: str = "black"
    precision: torch.dtype | None = None  # of the forward passes; None is float32
    scaler: torch.amp.GradScaler | None = None  # keeps small gradients above the lowest number of float16

    def __init__(self, modules: nn.ModuleDict, cfg, steps_per_epoch: int = 1):
        self.modules, self.cfg = modules, cfg
        self.progress = Progress(0, steps_per_epoch, cfg.epochs)

    def holes(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """New holes for a batch of images (B, C, H, W): (B, 1 or C, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} has no holes(images, generator).")

    def rate(self) -> float:
        """The factor of all learning rates now; it follows from ``progress`` alone, so that nothing has to be saved.

        With ``cfg.anneal`` it rises to 1 during the first 5 % of the steps and falls to 0 along a cosine.
        """
        if not self.cfg.anneal:
            return 1.0
        rise = min(1.0, (self.progress.step + 1) / (WARM_UP * self.progress.total))
        return rise * (1 + math.cos(math.pi * self.progress.share)) / 2

    def slow_down(self) -> None:
        """Sets the learning rates of the next step."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * self.rate()

    def mirrored(
        self, images: torch.Tensor, fixed: torch.Tensor | None, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """With ``cfg.mirror``: about half of a batch (B, C, H, W) as mirror images, their fixed holes likewise."""
        if not self.cfg.mirror:
            return images, fixed
        turned = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
        flip = lambda x: torch.where(turned, x.flip(3), x)  # noqa: E731
        return flip(images), fixed if fixed is None else flip(fixed)

    def corrupt(
        self, images: torch.Tensor, generator: torch.Generator, fixed: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(masked, mask) for a batch of images (B, C, H, W) in [0, 1]; ``fixed`` are the holes of these images, if each
        keeps its own.
        """
        mask = self.holes(images, generator).to(images.device) if fixed is None else fixed
        return masking.apply(images, mask, self.fill, generator), mask

    def step(self, batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """One training step on (image, masked, mask), backward passes and updates included; returns its losses."""
        raise NotImplementedError(f"{type(self).__name__} has no step(batch, generator).")

    def use(self, precision: str, device: torch.device) -> None:
        """Sets the precision of what follows: one of `runtime.PRECISIONS`."""
        self.precision = runtime.PRECISIONS[precision]
        self.scaler = torch.amp.GradScaler(device.type) if precision == "fp16" else None
        torch.backends.cudnn.benchmark = True  # all batches have one size: kernels are chosen once, by their times

    def autocast(self, device: torch.device):
        """The context of the forward passes and losses: mixed precision, if `fit` was asked for it."""
        if self.precision is None:
            return contextlib.nullcontext()
        return torch.autocast(device.type, self.precision)

    def update(self, name: str, loss: torch.Tensor) -> None:
        """Backward pass and one step of the optimiser ``name``, outside of `autocast`."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad()
        if self.scaler is None:
            loss.backward()
            optimiser.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(optimiser)
            self.scaler.update()


@dataclass(frozen=True)
class Question:
    """What is asked, and the trainings that answer it: {label: parameters that differ from the profile's}."""

    id: str
    text: str
    variants: dict[str, dict[str, Any]]
    seeds: tuple[int, ...] = (0, 1, 2)
    profile: str = "demo"
    scores: tuple[str, ...] = ()  # further scores and measures that its table shows


class Paper(ABC):
    """A work: its parameters, network, holes, training step and filler, with one signature each.

    A file in ``inpaintkit/papers`` that ends in ``PAPER = MyPaper()`` is registered (`inpaintkit.papers.PAPERS`). The
    questions, the claims and the costs stand beside it in a TOML file of the same name.
    """

    id: ClassVar[str]  # "vae"
    notebook: ClassVar[str]  # "02_vae"; where runs are kept
    title: ClassVar[str]  # for people
    Parameters: ClassVar[type]  # a subclass of `parameters.Training`
    scores: ClassVar[tuple[str, ...]] = ("hole_mse",)  # keys of `evaluate.SCORES`; the first is the main score
    network: ClassVar[str]  # the id of its filler
    bar: ClassVar[str] = "ring"  # the filler that a trained network must beat; below it, nothing was learned
    fills: ClassVar[tuple[str, ...]] = ("nothing", "mean", "ring", "box", "harmonic", "biharmonic", "telea")
    parts: ClassVar[tuple[str, ...]] = ("test", "unseen")  # what is scored; "train": the first 256 training pictures
    untouched: ClassVar[str] = "black"  # what stands in the hole of a picture that nobody fills
    kept: ClassVar[tuple[str, ...]] = ("net",)  # the modules that the filler needs: what a weights file holds

    @abstractmethod
    def build(self, cfg) -> nn.ModuleDict:
        """The networks that a configuration describes, untrained. Raises ValueError for one that cannot be."""

    @abstractmethod
    def holes(self, cfg, n: int, generator: torch.Generator) -> torch.Tensor:
        """Random holes as the training draws them: (n, 1 or C, H, W)."""

    @abstractmethod
    def test_holes(self, cfg, n: int) -> dict[str, torch.Tensor]:
        """The fixed holes of every test by name, equal for all fillers and seeds; the configuration's own first."""

    @abstractmethod
    def recipe(self, modules: nn.ModuleDict, cfg, steps_per_epoch: int) -> Recipe:
        """How the networks are trained."""

    @abstractmethod
    def filler(self, modules: nn.ModuleDict, cfg) -> Filler:
        """The trained networks as a filler."""

    def training_set(self, images: torch.Tensor, cfg) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What `fit` gets: pictures, uint8 (N, C, H, W), and the hole that each keeps, or None for new ones."""
        return images, None

    def preview(self, modules: nn.ModuleDict, cfg, masked: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The pictures that show how the training goes: (B, C, H, W)."""
        return self.filler(modules, cfg)(masked, mask)

    def other_fillers(self, modules: nn.ModuleDict, cfg) -> list[Filler]:
        """The same networks, tested in other ways; scored on the configuration's own holes."""
        return []

    def measure(self, modules: nn.ModuleDict, cfg, image: torch.Tensor, mask: torch.Tensor) -> dict[str, float]:
        """Other numbers about the trained networks, from the test part and the configuration's own holes."""
        return {}
