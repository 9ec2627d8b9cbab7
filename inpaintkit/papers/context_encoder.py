"""Renith 2020, "How to Repair your Damaged Images with Deep Learning" (Medium): a context encoder, trained as a GAN.

A generator reads the picture with a white square in it and draws the square; a discriminator says of every part of a
square, drawn or true, whether it is real. Each learns from the other:

    G: 0.999 mean|G(x) - y| + 0.001 mean (D(G(x)) - 1)^2      D: (mean (D(y) - 1)^2 + mean D(G(x))^2) / 2

with x the masked picture and y the hidden square, both in [-1, 1]. The design is Pathak et al. 2016, "Context
Encoders"; the code goes back to PyTorch-GAN's, with its losses (LSGAN, Mao et al. 2017) and its slip.

Three readings. `as_run` is the code: batch normalisation with eps 0.8, previews that leave test pictures in its running
averages, the same holes in every worker and epoch. `as_written` is the theory section: the mask as a further input, a
discriminator that returns probabilities, cross entropy. `fixed` is the code with its slips repaired, and trained where
it is tested, in the centre; the other two train on random places.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from inpaintkit import contracts, evaluate, masking, runtime
from inpaintkit.parameters import PLAIN, Training
from inpaintkit.patches import is_square, put_patch, take_patch

NETWORKS = {  # channels of the first layer; of the bottleneck; of the discriminator's first layer
    "author": {"width": 64, "bottleneck": 4000, "width_d": 64},  # 40,401,187 + 1,555,585 parameters
    "half": {"width": 32, "bottleneck": 500, "width_d": 16},  # parts of real data sets, on a CPU
    "quarter": {"width": 16, "bottleneck": 128, "width_d": 8},  # the demo
    "smallest": {"width": 8, "bottleneck": 64, "width_d": 8},
}
AUTHOR = {"lr": 2e-4} | PLAIN  # what theory section and code share
WORKERS = 4  # processes of the author's data loader
# Share of the training in which one network trains alone, before both do.
WARM_UP = {"none": 0.0, "discriminator": 0.1, "generator": 0.5}


class Parameters(Training):
    """What notebook 03 takes. Defaults: the demo in the reading `fixed`."""

    epochs: int = Field(13, ge=1, le=100_000, description="passes over the training pictures")
    batch_size: int = Field(8, ge=2, le=4096, description="pictures per step")
    lr: float = Field(4e-4, ge=1e-7, le=1.0, description="Adam's learning rate, of both networks")
    n_train: int | None = Field(None, ge=8, le=10**6, description="training pictures; None: all there are")
    mirror: bool = Field(True, description="mirror about half of each batch of training pictures")
    anneal: bool = Field(True, description="the learning rate rises for 5 % of the steps, then falls to 0")
    size: Literal[64, 128, 256] = Field(64, description="side of the pictures; the hole is half as wide")
    network: Literal["author", "half", "quarter", "smallest"] = Field("quarter", description="how wide")
    head: Literal["patch", "full"] = Field("patch", description="draws the square, or (ours) the whole picture")
    mask_train: Literal["random", "centre", "strokes"] = Field("centre", description="holes in training")
    fill: Literal["black", "white", "grey", "mean", "noise"] = Field("white", description="what stands in the hole")
    mask_channel: bool = Field(False, description="tell the network where the hole is")
    weight_adv: float = Field(0.001, ge=0, le=1, description="weight of the adversarial loss; 0: no discriminator")
    adversarial: Literal["lsgan", "cross entropy"] = Field("lsgan", description="the discriminator's loss")
    first: Literal["none", "generator", "discriminator"] = Field("none", description="the network that warms up alone")
    bn_eps: float = Field(1e-5, ge=1e-8, le=10, description="eps of batch normalisation")
    numpy_seed_bug: bool = Field(False, description="the same holes in every worker and every epoch")
    preview_mode: Literal["eval", "train"] = Field("eval", description="batch normalisation during previews")

    profiles: ClassVar[dict[str, dict]] = {
        "smoke": {"network": "smallest", "n_train": 64, "n_test": 16, "epochs": 1},
        "paper": {"dataset": "paris-streetview", "size": 128, "network": "author", "epochs": 200} | AUTHOR,
    }
    readings: ClassVar[dict[str, dict]] = {
        "as_written": AUTHOR | {"mask_train": "random", "mask_channel": True, "adversarial": "cross entropy"},
        "as_run": AUTHOR | {"mask_train": "random", "bn_eps": 0.8, "numpy_seed_bug": True, "preview_mode": "train"},
    }


# --- networks -------------------------------------------------------------------------------------------------------


def down(channels_in: int, channels_out: int, bn_eps: float | None) -> nn.Sequential:
    """One step of the encoder: (B, channels_in, S, S) -> (B, channels_out, S/2, S/2).

    ``bn_eps``: of batch normalisation, None for none. ``BatchNorm2d(64, 0.8)``, says the author: that sets eps and not
    the momentum, which stays 0.1.
    """
    normalise = [] if bn_eps is None else [nn.BatchNorm2d(channels_out, eps=bn_eps)]
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1), *normalise, nn.LeakyReLU(0.2))


def up(channels_in: int, channels_out: int, bn_eps: float) -> nn.Sequential:
    """One step of the decoder: (B, channels_in, S, S) -> (B, channels_out, 2S, 2S)."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, channels_out, kernel_size=4, stride=2, padding=1),
        nn.BatchNorm2d(channels_out, eps=bn_eps),
        nn.ReLU(),
    )


def start_weights(module: nn.Module) -> None:
    """The author's start: convolutions N(0, 0.02), batch normalisation N(1, 0.02) with biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class Generator(nn.Module):
    """Masked picture (B, 3, size, size) in [0, 1] -> the missing square (B, 3, size/2, size/2) in [0, 1].

    With ``head="full"`` (ours, for holes of any shape) the decoder doubles once more and returns a whole picture. With
    ``mask_channel`` the network is also told where the hole is. ``size`` must be a multiple of 32: ValueError.
    """

    def __init__(
        self,
        size: int = 128,
        *,
        width: int = 64,
        bottleneck: int = 4000,
        head: str = "patch",
        mask_channel: bool = False,
        bn_eps: float = 1e-5,
    ):
        super().__init__()
        if size < 64 or size % 32:
            raise ValueError(f"size must be 64, 96, 128, ... for the context encoder, and {size} is not.")
        self.size, self.side, self.mask_channel = size, None if head == "full" else size // 2, mask_channel
        w, eps = width, bn_eps
        self.encoder = nn.Sequential(
            down(3 + mask_channel, w, None),   # 3x128x128 => 64x64x64
            down(w, w, eps),                   # => 64x32x32
            down(w, 2 * w, eps),               # => 128x16x16
            down(2 * w, 4 * w, eps),           # => 256x8x8
            down(4 * w, 8 * w, eps),           # => 512x4x4
        )  # fmt: skip
        self.bottleneck = nn.Conv2d(8 * w, bottleneck, kernel_size=1)  # => 4000x4x4; Pathak et al.: 4000x1x1
        self.decoder = nn.Sequential(
            up(bottleneck, 8 * w, eps),        # => 512x8x8
            up(8 * w, 4 * w, eps),             # => 256x16x16
            up(4 * w, 2 * w, eps),             # => 128x32x32
            up(2 * w, w, eps),                 # => 64x64x64
            *([up(w, w, eps)] if head == "full" else []),
            nn.Conv2d(w, 3, kernel_size=3, padding=1), nn.Tanh(),  # => 3x64x64
        )  # fmt: skip
        self.apply(start_weights)
        self.to(memory_format=torch.channels_last)

    def forward(self, masked: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        x = 2 * masked - 1
        if self.mask_channel:
            x = torch.cat([x, mask.to(x.dtype)], 1)
        return ((self.decoder(self.bottleneck(self.encoder(x))) + 1) / 2).to(masked.dtype)  # not an autocast's bf16


class Discriminator(nn.Module):
    """A square or picture (B, 3, S, S) in [0, 1] -> one score for each part of it, (B, 1, S/8, S/8).

    A score sees 47x47 pixels (a "patch discriminator"). LSGAN wants 1 for true and 0 for drawn parts; with cross
    entropy a score is a logit.
    """

    def __init__(self, width: int = 64):
        super().__init__()
        w = width
        layers = [nn.Conv2d(3, w, kernel_size=3, stride=2, padding=1), nn.LeakyReLU(0.2)]  # 3x64x64 => 64x32x32
        for channels_in, channels_out, stride in ((w, 2 * w, 2), (2 * w, 4 * w, 2), (4 * w, 8 * w, 1)):
            layers += [  # => 128x16x16 => 256x8x8 => 512x8x8
                nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1),
                nn.InstanceNorm2d(channels_out),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * w, 1, kernel_size=3, padding=1))  # => 1x8x8
        self.apply(start_weights)
        self.to(memory_format=torch.channels_last)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.layers(2 * picture - 1).float()


# --- hole, losses, steps --------------------------------------------------------------------------------------------


def holes(kind: str, n: int, size: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Holes (n, 1, size, size): a square of half the side in the "centre" or at "random", or "strokes"."""
    if kind == "strokes":
        return masking.strokes(n, size, generator)
    return masking.square(n, size, size // 2, kind, generator)


def pixel_loss(pred: torch.Tensor, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of the hole, in the author's range [-1, 1] (twice that of [0, 1]): a scalar."""
    if pred.shape != image.shape:
        return 2 * F.l1_loss(pred, take_patch(image, mask, pred.shape[-1]))
    return 2 * ((pred - image).abs() * mask).sum() / (3 * mask.sum())


def adversarial_loss(scores: torch.Tensor, real: bool, kind: str = "lsgan") -> torch.Tensor:
    """How far the discriminator's scores are from "all real" or "all drawn": a scalar.

    "lsgan": mean (score - 1)^2 or mean score^2. "cross entropy": -log p or -log(1 - p) with p = sigmoid(score).
    """
    target = torch.full_like(scores, float(real))
    return F.mse_loss(scores, target) if kind == "lsgan" else F.binary_cross_entropy_with_logits(scores, target)


class Recipe(contracts.Recipe):
    """Trains both networks as the tutorial does: Adam with betas 0.5 and 0.999, no schedule, generator first.

    ``cfg.first`` names the network that warms up alone (see `WARM_UP`); with ``cfg.weight_adv=0`` the discriminator is
    not trained. ``cfg.numpy_seed_bug`` draws holes as the author's loader does with PyTorch before 1.9: its four worker
    processes start with the same random state, again in every epoch.
    """

    def __init__(self, modules: nn.ModuleDict, cfg, steps_per_epoch: int = 1):
        super().__init__(modules, cfg, steps_per_epoch)
        self.generator, self.discriminator, self.fill = modules["generator"], modules["discriminator"], cfg.fill
        self.optimisers = {
            name: torch.optim.Adam(module.parameters(), lr=cfg.lr, betas=(0.5, 0.999), fused=True)
            for name, module in modules.items()
        }

    def corrupt(self, images, generator, fixed=None):
        if self.cfg.numpy_seed_bug:
            turn = self.progress.step % self.progress.steps_per_epoch // WORKERS
            generator = runtime.generator(1000 * self.cfg.seed + turn, images.device)
        return super().corrupt(images, generator, fixed)

    def holes(self, images, generator):
        return PAPER.holes(self.cfg, len(images), generator)

    def step(self, batch, generator):
        alone = self.cfg.first if self.progress.share < WARM_UP[self.cfg.first] else "none"
        if alone == "discriminator":
            with torch.no_grad(), self.autocast(batch[0].device):
                fake = self._judged(self.generator(batch[1], batch[2]), batch)
            return self.step_d(batch, fake)
        adversarial = self.cfg.weight_adv > 0 and alone == "none"
        losses, fake = self.step_g(batch, adversarial)
        return losses | (self.step_d(batch, fake.detach()) if adversarial else {})

    def _judged(self, pred: torch.Tensor, batch) -> torch.Tensor:
        """What the discriminator gets of a prediction: the square, or the whole composite."""
        image, _, mask = batch
        return masking.composite(image, pred, mask) if pred.shape == image.shape else pred

    def step_g(self, batch, adversarial: bool) -> tuple[dict, torch.Tensor]:
        """One step of the generator; returns its losses and the generated square or picture."""
        image, masked, mask = batch
        with self.autocast(image.device):
            pred = self.generator(masked, mask)
            fake = self._judged(pred, batch)
            losses = {"L1": pixel_loss(pred, image, mask)}
            loss = (1 - self.cfg.weight_adv) * losses["L1"]
            if adversarial:
                self.discriminator.requires_grad_(False)  # this step trains the generator: D's weights need no gradient
                losses["fooling D"] = adversarial_loss(self.discriminator(fake), True, self.cfg.adversarial)
                loss = loss + self.cfg.weight_adv * losses["fooling D"]
        self.update("generator", loss)
        self.discriminator.requires_grad_(True)
        return losses, fake

    def step_d(self, batch, fake: torch.Tensor) -> dict:
        """One step of the discriminator on what is hidden and on what was generated; returns its loss."""
        image, _, mask = batch
        real = image if fake.shape == image.shape else take_patch(image, mask, fake.shape[-1])
        with self.autocast(image.device):
            loss = adversarial_loss(self.discriminator(real), True, self.cfg.adversarial)
            loss = (loss + adversarial_loss(self.discriminator(fake), False, self.cfg.adversarial)) / 2
        self.update("discriminator", loss)
        return {"D": loss}


def preview(net: Generator, masked: torch.Tensor, mask: torch.Tensor, mode: str = "eval") -> torch.Tensor:
    """Predictions as whole pictures (B, 3, size, size). In the author's mode, "train", batch normalisation uses these
    pictures' statistics and *keeps* a tenth of them, test pictures or not. Leaves the network in eval mode.
    """
    net.train(mode == "train")
    with torch.no_grad():
        pred = net(masked, mask)
    net.eval()
    return pred if pred.shape == masked.shape else put_patch(masked, pred, mask)


class Filler(contracts.Filler):
    """A trained `Generator` as a filler: the patch head takes one square of half the side, the full head any hole.
    ``fill`` is what it was trained to find in the hole.
    """

    id, label = "context_encoder", "context encoder"

    def __init__(self, net: Generator, *, fill: str = "white"):
        self.net, self.fill, self.size, self.side = net, fill, net.size, net.side

    def accepts(self, shape, mask):
        if tuple(shape[1:]) != (3, self.size, self.size) or mask.shape[1] != 1:
            return f"takes RGB pictures of {self.size}x{self.size} with one mask for all channels"
        if self.side is not None and not is_square(mask, self.side):
            return f"takes one {self.side}x{self.side} square hole"
        return None

    def __call__(self, masked, mask):
        x = masking.apply(masked, mask, self.fill, runtime.generator(0, masked.device))
        return torch.cat([preview(self.net, *part) for part in zip(x.split(100), mask.split(100), strict=True)])


# --- the paper --------------------------------------------------------------------------------------------------------


class ContextEncoderPaper(contracts.Paper):
    """The tutorial of Renith, after Pathak et al."""

    id, notebook, title = "context_encoder", "03_context_encoder_gan", "Context-encoder GAN (Medium tutorial)"
    Parameters = Parameters
    network = "context_encoder"
    scores = ("hole_mse", "hole_l1_percent", "hole_l2_percent", "hole_psnr")  # Pathak et al. 2016, section 5.1
    fills = ("nothing", "mean", "ring", "box", "harmonic", "biharmonic", "telea", "navier-stokes")
    kept = ("generator",)
    untouched = "white"

    def build(self, cfg):
        if cfg.mask_train == "strokes" and cfg.head == "patch":
            raise ValueError("mask_train='strokes' needs head='full': the patch head draws one square.")
        shape = NETWORKS[cfg.network]
        options = {"head": cfg.head, "mask_channel": cfg.mask_channel, "bn_eps": cfg.bn_eps}
        generator = Generator(cfg.size, width=shape["width"], bottleneck=shape["bottleneck"], **options)
        return nn.ModuleDict({"generator": generator, "discriminator": Discriminator(shape["width_d"])})

    def holes(self, cfg, n, generator):
        return holes(cfg.mask_train, n, cfg.size, generator)

    def test_holes(self, cfg, n):
        """Squares in the centre, as the author's, or strokes for a network that was trained on them."""
        own = "strokes" if cfg.mask_train == "strokes" else "centre"
        kinds = (own, "centre", "random") + (("strokes",) if cfg.head == "full" else ())
        return {kind: holes(kind, n, cfg.size, runtime.generator(0)) for kind in dict.fromkeys(kinds)}

    def recipe(self, modules, cfg, steps_per_epoch):
        return Recipe(modules, cfg, steps_per_epoch)

    def filler(self, modules, cfg):
        return Filler(modules["generator"], fill=cfg.fill)

    def preview(self, modules, cfg, masked, mask):
        masked = masking.apply(masked, mask, cfg.fill, runtime.generator(0, masked.device))
        return preview(modules["generator"], masked, mask, cfg.preview_mode)

    def measure(self, modules, cfg, image, mask):
        if cfg.mask_train == "strokes":
            return {}
        pred, side = self.filler(modules, cfg)(image, mask), cfg.size // 2
        measured = {"detail": evaluate.detail(pred, image, mask, side)}
        if cfg.weight_adv and cfg.head == "patch":
            with torch.no_grad():
                for name, picture in (("D(real)", image), ("D(fake)", pred)):
                    measured[name] = modules["discriminator"](take_patch(picture, mask, side)).mean().item()
        return measured


PAPER = ContextEncoderPaper()
