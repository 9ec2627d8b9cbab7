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

import torch
from torch import nn
from torch.nn import functional as F

from inpaintkit import masking, runtime
from inpaintkit.models.blocks import is_square, put_patch, take_patch

NETWORKS = {  # channels of the first layer; of the bottleneck; of the discriminator's first layer
    "author": {"width": 64, "bottleneck": 4000, "width_d": 64},  # 40,401,187 + 1,555,585 parameters
    "half": {"width": 32, "bottleneck": 500, "width_d": 16},  # parts of real data sets, on a CPU
    "quarter": {"width": 16, "bottleneck": 128, "width_d": 8},  # the demo
    "smallest": {"width": 8, "bottleneck": 64, "width_d": 8},
}
_ALWAYS = {"head": "patch", "fill": "white", "weight_adv": 0.001, "first": "none", "lr": 2e-4, "batch_size": 8}
_EMBEDDED = _ALWAYS | {"dataset": "embedded", "size": 64}
PROFILES = {
    "smoke": _EMBEDDED | {"network": "smallest", "n_train": 64, "n_test": 16, "epochs": 1},
    "demo": _EMBEDDED | {"network": "quarter", "n_train": 3000, "n_test": None, "epochs": 4},
    "paper": _ALWAYS
    | {"dataset": "paris-streetview", "size": 128, "network": "author"}
    | {"n_train": None, "n_test": None, "epochs": 200},
}
_REPAIRED = {"bn_eps": 1e-5, "numpy_seed_bug": False, "preview_mode": "eval"}
READINGS = {
    "as_written": _REPAIRED | {"mask_train": "random", "mask_channel": True, "adversarial": "cross entropy"},
    "as_run": {"bn_eps": 0.8, "numpy_seed_bug": True, "preview_mode": "train"}
    | {"mask_train": "random", "mask_channel": False, "adversarial": "lsgan"},
    "fixed": _REPAIRED | {"mask_train": "centre", "mask_channel": False, "adversarial": "lsgan"},
}
WORKERS = 4  # processes of the author's data loader
ALONE = {"none": 0.0, "discriminator": 0.1, "generator": 0.5}  # share of the training in which one trains alone first

ALLOWED = runtime.TRAINING | {
    "n_train": (8, 10**6),
    "n_test": (1, 10**6),
    "size": {64, 128, 256},
    "network": set(NETWORKS),
    "head": {"patch", "full"},
    "mask_train": {"random", "centre", "strokes"},
    "fill": set(masking.FILLS),
    "mask_channel": None,
    "weight_adv": (0.0, 1.0),
    "adversarial": {"lsgan", "cross entropy"},
    "first": set(ALONE),
    "lr": (1e-7, 1.0),
    "batch_size": (2, 4096),
    "bn_eps": (1e-8, 10.0),
    "numpy_seed_bug": None,
    "preview_mode": {"eval", "train"},
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


def from_config(cfg) -> tuple[Generator, Discriminator]:
    """The networks that a notebook's configuration describes. Raises ValueError for strokes with a patch head."""
    if cfg.mask_train == "strokes" and cfg.head == "patch":
        raise ValueError("mask_train='strokes' needs head='full': the patch head draws one square.")
    shape = NETWORKS[cfg.network]
    options = {"head": cfg.head, "mask_channel": cfg.mask_channel, "bn_eps": cfg.bn_eps}
    generator = Generator(cfg.size, width=shape["width"], bottleneck=shape["bottleneck"], **options)
    return generator, Discriminator(shape["width_d"])


# --- hole, losses, steps --------------------------------------------------------------------------------------------


def holes(kind: str, n: int, size: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Holes (n, 1, size, size): a square of half the side in the "centre" or at "random", or "strokes"."""
    if kind == "strokes":
        return masking.strokes(n, size, generator)
    return masking.square(n, size, size // 2, kind, generator)


def fixed_holes(cfg, n: int) -> torch.Tensor:
    """The fixed holes of every test: squares in the centre, as the author's, or strokes for who was trained on them."""
    return holes("strokes" if cfg.mask_train == "strokes" else "centre", n, cfg.size, runtime.generator(0))


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


class Clock:
    """Counts steps; among the schedulers, which checkpoints keep, so that a resumed run knows where it is."""

    steps = 0

    def step(self) -> None:
        """For `fit`, after every epoch: nothing is scheduled."""

    def state_dict(self) -> dict:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]


class Recipe:
    """Trains both networks as the tutorial does: Adam with betas 0.5 and 0.999, no schedule, generator first.

    ``cfg.first`` names the network that trains alone at first (see `ALONE`); with ``cfg.weight_adv=0`` the
    discriminator takes no part. ``cfg.numpy_seed_bug`` draws holes as the author's loader does with PyTorch before 1.9:
    its four worker processes start with the same random state, again in every epoch.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator, cfg, steps_per_epoch: int):
        self.generator, self.discriminator, self.cfg = generator, discriminator, cfg
        self.steps_per_epoch = steps_per_epoch
        self.modules = nn.ModuleDict({"generator": generator, "discriminator": discriminator})
        self.optimisers = {
            name: torch.optim.Adam(module.parameters(), lr=cfg.lr, betas=(0.5, 0.999), fused=True)
            for name, module in self.modules.items()
        }
        self.clock = Clock()
        self.schedulers = {"clock": self.clock}

    def corrupt(self, images, generator):
        if self.cfg.numpy_seed_bug:
            turn = self.clock.steps % self.steps_per_epoch // WORKERS
            generator = runtime.generator(1000 * self.cfg.seed + turn, images.device)
        mask = holes(self.cfg.mask_train, len(images), self.cfg.size, generator).to(images.device)
        return masking.apply(images, mask, self.cfg.fill, generator), mask

    def step(self, batch, generator):
        done = self.clock.steps / (self.cfg.epochs * self.steps_per_epoch)
        self.clock.steps += 1
        alone = self.cfg.first if done < ALONE[self.cfg.first] else "none"
        if alone == "discriminator":
            with torch.no_grad():
                drawn = self._seen(self.generator(batch[1], batch[2]), batch)
            return self.step_d(batch, drawn)
        taking_part = self.cfg.weight_adv > 0 and alone == "none"
        losses, drawn = self.step_g(batch, taking_part)
        return losses | (self.step_d(batch, drawn.detach()) if taking_part else {})

    def _seen(self, pred: torch.Tensor, batch) -> torch.Tensor:
        """What the discriminator is shown of a prediction: the square, or the whole composite."""
        image, _, mask = batch
        return masking.composite(image, pred, mask) if pred.shape == image.shape else pred

    def step_g(self, batch, taking_part: bool) -> tuple[dict, torch.Tensor]:
        """One step of the generator; returns its losses and what it drew."""
        image, masked, mask = batch
        pred = self.generator(masked, mask)
        drawn = self._seen(pred, batch)
        losses = {"L1": pixel_loss(pred, image, mask)}
        loss = (1 - self.cfg.weight_adv) * losses["L1"]
        if taking_part:
            self.discriminator.requires_grad_(False)  # asked, not taught here: no gradients for its weights
            losses["fooling D"] = adversarial_loss(self.discriminator(drawn), True, self.cfg.adversarial)
            loss = loss + self.cfg.weight_adv * losses["fooling D"]
        self._update("generator", loss)
        self.discriminator.requires_grad_(True)
        return losses, drawn

    def step_d(self, batch, drawn: torch.Tensor) -> dict:
        """One step of the discriminator on what is hidden and on what was drawn; returns its loss."""
        image, _, mask = batch
        real = image if drawn.shape == image.shape else take_patch(image, mask, drawn.shape[-1])
        loss = adversarial_loss(self.discriminator(real), True, self.cfg.adversarial)
        loss = (loss + adversarial_loss(self.discriminator(drawn), False, self.cfg.adversarial)) / 2
        self._update("discriminator", loss)
        return {"D": loss}

    def _update(self, name, loss):
        self.optimisers[name].zero_grad()
        loss.backward()
        self.optimisers[name].step()


def preview(net: Generator, masked: torch.Tensor, mask: torch.Tensor, mode: str = "eval") -> torch.Tensor:
    """Predictions as whole pictures (B, 3, size, size). In the author's mode, "train", batch normalisation uses these
    pictures' statistics and *keeps* a tenth of them, test pictures or not. Leaves the network in eval mode.
    """
    net.train(mode == "train")
    with torch.no_grad():
        pred = net(masked, mask)
    net.eval()
    return pred if pred.shape == masked.shape else put_patch(masked, pred, mask)


class Filler(masking.Filler):
    """A trained `Generator` as a filler: the patch head takes one square of half the side, the full head any hole.
    ``fill`` is what it was trained to find in the hole.
    """

    def __init__(self, net: Generator, name: str = "context encoder", *, fill: str = "white"):
        self.net, self.name, self.fill, self.size, self.side = net, name, fill, net.size, net.side

    def accepts(self, shape, mask):
        if tuple(shape[1:]) != (3, self.size, self.size) or mask.shape[1] != 1:
            return f"takes RGB pictures of {self.size}x{self.size} with one mask for all channels"
        if self.side is not None and not is_square(mask, self.side):
            return f"takes one {self.side}x{self.side} square hole"
        return None

    def __call__(self, masked, mask):
        x = masking.apply(masked, mask, self.fill, runtime.generator(0, masked.device))
        return torch.cat([preview(self.net, *part) for part in zip(x.split(100), mask.split(100), strict=True)])
