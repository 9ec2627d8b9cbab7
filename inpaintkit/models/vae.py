"""Deesamutara and Maggiore 2020, "Restoring corrupted image with Variational Autoencoders", DOI 10.5281/zenodo.4383315.

A picture with a black square goes in; mean and variance of a short code come out; a code drawn from them is decoded to
the *whole* picture, known pixels included. Nothing tells the network where the square is.

    mu, logvar = E(x * (1 - m)),  z = mu + exp(logvar / 2) * eps,  x' = D(z)                          (Method)
    loss = mean of (x' - x)^2 + 2 beta KL / number of values,  KL = -1/2 sum(1 + logvar - mu^2 - exp(logvar))

Three readings of the same work. `as_run` is the authors' code with its slips: activations that do nothing, a target
with a second channel, batch statistics and a drawn code at test. `as_written` is the text: squares of 20 % of the
*area*, activations that act. `fixed` is the code with its slips repaired. The loss is that of the code in all three,
because the text gives none.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from inpaintkit import masking, runtime

NETWORKS = {  # width of the first block, of the dense layers, of the code
    "authors": {"width": 64, "hidden": 8000, "latent": 1500},  # 301,013,889 parameters at 100x100
    "medium": {"width": 16, "hidden": 1024, "latent": 256},  # parts of real data sets, on a CPU
    "small": {"width": 16, "hidden": 512, "latent": 128},  # the demo
    "short code": {"width": 16, "hidden": 512, "latent": 16},
    "smallest": {"width": 8, "hidden": 512, "latent": 128},
}
_ALWAYS = {"colour": False, "hole": "squares", "ratio": 0.2, "squares": 1, "beta": 0.005, "batch_size": 32}
_ALWAYS |= {"augment": False, "pairs": "matched"}
_EMBEDDED = _ALWAYS | {"dataset": "embedded", "size": 52, "lr": 1e-3}
PROFILES = {
    "smoke": _EMBEDDED | {"network": "smallest", "n_train": 64, "n_test": 12, "epochs": 1},
    "demo": _EMBEDDED | {"network": "small", "n_train": 3200, "n_test": None, "epochs": 6},
    "paper": _ALWAYS
    | {"dataset": "ffhq", "size": 100, "network": "authors"}
    | {"n_train": None, "n_test": None, "epochs": 350, "lr": 1e-4},
}
_REPAIRED = {"la_bug": False, "test_unnormalised": False, "bn_test": "running", "sample_z": False}
_REPAIRED |= {"resize": "bicubic"}
READINGS = {
    "as_written": _REPAIRED | {"ratio_of": "area", "leaky_slope": 0.2, "redraw": False},
    "as_run": {"la_bug": True, "test_unnormalised": True, "bn_test": "batch1", "sample_z": True}
    | {"ratio_of": "side", "leaky_slope": 1.0, "redraw": False, "resize": "nearest"},
    "fixed": _REPAIRED | {"ratio_of": "side", "leaky_slope": 0.2, "redraw": True},
}

HOLES = ("squares", "pixels", "strokes", "text")
ALLOWED = runtime.TRAINING | {
    "n_train": (32, 10**6),
    "n_test": (1, 10**6),
    "size": (52, 512),
    "colour": None,
    "network": set(NETWORKS),
    "hole": set(HOLES),
    "ratio": (0.01, 0.9),
    "ratio_of": {"side", "area"},
    "squares": (1, 16),
    "redraw": None,
    "augment": None,
    "lr": (1e-7, 1.0),
    "batch_size": (2, 4096),
    "beta": (0.0, 100.0),
    "leaky_slope": (0.0, 1.0),
    "la_bug": None,
    "pairs": {"matched", "shuffled"},
    "test_unnormalised": None,
    "bn_test": {"running", "batch1"},
    "sample_z": None,
    "resize": None,  # `data.open` knows which there are
}


# --- network --------------------------------------------------------------------------------------------------------


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that can be tested as the authors do: in train mode, with one picture as the batch.

    The statistics are then those of the picture itself, which is instance normalisation; with ``per_image`` set, eval
    mode does that, for any number of pictures at once and without touching the running statistics.
    """

    per_image = False

    def forward(self, x):
        if self.per_image and not self.training:
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        return super().forward(x)


def block(channels_in: int, channels_out: int, convs: int, leaky_slope: float) -> nn.Sequential:
    """One step of the encoder: ``convs`` unpadded convolutions, each two pixels smaller, then half the side.

    After VGG16, says the text; VGG16 pads, and has an activation after every convolution. ``leaky_slope=1`` is what the
    authors' ``LeakyReLU(True)`` means: no activation at all.
    """
    widths = [channels_in] + [channels_out] * convs
    layers = [nn.Conv2d(a, b, kernel_size=3) for a, b in pairwise(widths)]
    return nn.Sequential(*layers, nn.MaxPool2d(2), BatchNorm(channels_out), nn.LeakyReLU(leaky_slope))


def transposed_block(channels_in: int, channels_out: int, kernel: int, stride: int, leaky_slope: float):
    """One step of the decoder, after DCGAN: side S -> stride * (S - 1) + kernel."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, channels_out, kernel_size=kernel, stride=stride),
        BatchNorm(channels_out),
        nn.LeakyReLU(leaky_slope),
    )


class VAE(nn.Module):
    """The variational autoencoder: masked picture (B, C, size, size) in [0, 1] -> whole picture, mu, logvar.

    The defaults of ``width``, ``hidden`` and ``latent`` are the authors'; see `NETWORKS` for narrow ones. No layer
    is padded, so only sizes 52, 60, ... 100, ... come out as they went in: ValueError for others.
    """

    def __init__(
        self,
        size: int = 100,
        channels: int = 1,
        *,
        width: int = 64,
        hidden: int = 8000,
        latent: int = 1500,
        leaky_slope: float = 0.2,
    ):
        super().__init__()
        if size < 52 or (size - 36) % 8:
            raise ValueError(f"size must be 52, 60, 68, ... 100, ... for the VAE, and {size} is not.")
        self.size, self.channels, self.latent = size, channels, latent
        self.side = (size - 36) // 8  # of the feature map between the convolutions and the dense layers
        slope, features = leaky_slope, 4 * width * self.side**2
        self.encoder = nn.Sequential(
            block(channels, width, 2, slope),                      # 1x100x100 => 64x48x48
            block(width, 2 * width, 2, slope),                     # => 128x22x22
            block(2 * width, 4 * width, 3, slope),                 # => 256x8x8
        )  # fmt: skip
        self.fc1 = nn.Linear(features, hidden)  # 16384 => 8000, no activation
        self.mean = nn.Linear(hidden, latent)
        self.logvar = nn.Linear(hidden, latent)
        self.expand = nn.Linear(latent, hidden)  # 1500 => 8000, no activation
        self.fc4 = nn.Linear(hidden, features)  # => 256x8x8, no activation
        narrow = [max(width // 2**i, 8) for i in (1, 2, 3)]  # 32, 16, 8
        self.decoder = nn.Sequential(
            transposed_block(4 * width, 2 * width, 5, 2, slope),   # => 128x19x19
            transposed_block(2 * width, width, 5, 2, slope),       # => 64x41x41
            transposed_block(width, narrow[0], 5, 2, slope),       # => 32x85x85
            transposed_block(narrow[0], narrow[1], 6, 1, slope),   # => 16x90x90
            transposed_block(narrow[1], narrow[2], 6, 1, slope),   # => 8x95x95
            nn.ConvTranspose2d(narrow[2], channels, kernel_size=6),  # => 1x100x100
            nn.Sigmoid(),
        )  # fmt: skip
        self.to(memory_format=torch.channels_last)

    def encode(self, masked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Picture in [0, 1] -> mean and log-variance of its code, (B, latent) each."""
        hidden = self.fc1(self.encoder(2 * masked - 1).flatten(1))  # the authors train on [-1, 1]
        return self.mean(hidden).to(masked.dtype), self.logvar(hidden).to(masked.dtype)  # not an autocast's bf16

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Code (B, latent) -> picture (B, C, size, size) in [0, 1]."""
        return self.decoder(self._unflatten(z)).to(z.dtype)

    def logits(self, z: torch.Tensor) -> torch.Tensor:
        """The decoded picture before its sigmoid: affine in ``z`` when the activations are the identity."""
        return self.decoder[:-1](self._unflatten(z)).to(z.dtype)

    def _unflatten(self, z):
        return self.fc4(self.expand(z)).view(len(z), -1, self.side, self.side)

    def forward(self, masked: torch.Tensor, generator: torch.Generator | None = None):
        """Prediction, mu and logvar; the code is drawn if there is a ``generator``, else it is mu."""
        mu, logvar = self.encode(masked)
        return self.decode(mu if generator is None else reparameterise(mu, logvar, generator)), mu, logvar


def from_config(cfg) -> VAE:
    """The network that a notebook's configuration describes."""
    channels = 3 if cfg.colour else 1
    return VAE(cfg.size, channels, **NETWORKS[cfg.network], leaky_slope=cfg.leaky_slope)


# --- code, loss, step -----------------------------------------------------------------------------------------------


def reparameterise(mu: torch.Tensor, logvar: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A code drawn from N(mu, exp(logvar)), in a form that gradients pass through: mu + sigma * eps. (B, latent)."""
    return mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=generator, device=mu.device)


def kl(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """KL divergence of N(mu, exp(logvar)) from N(0, 1), summed over the code, in nats: one value per picture, (B,)."""
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)


def reconstruction(pred: torch.Tensor, image: torch.Tensor, la_bug: bool = False) -> torch.Tensor:
    """Mean squared error of the whole picture: a scalar.

    ``la_bug`` computes what the authors' code does: the target is loaded as luminance *and alpha* and normalised to
    [-1, 1], so that a prediction of one channel in [0, 1] is compared with two, one of them 1 everywhere. For grey
    pictures the result is the right loss + mean of (1 - image)^2, with the same gradient.
    """
    if la_bug:
        target = torch.cat([2 * image - 1, torch.ones_like(image)], 1)
        pred = pred.repeat(1, 2, 1, 1)
        return F.mse_loss(pred, target)
    return F.mse_loss(pred, image)


def holes(cfg, n: int, generator: torch.Generator) -> torch.Tensor:
    """The holes of a configuration: ``squares`` squares, or another kind of `masking.draw`. (n, 1, size, size).

    ``ratio`` is the share of the side or area that one square takes, and the ``amount`` of the other kinds. (The
    authors' draw never reaches the last row and column; this one does.)
    """
    if cfg.hole == "squares":
        return masking.squares(n, cfg.size, masking.side_of(cfg.ratio, cfg.size, cfg.ratio_of), cfg.squares, generator)
    return masking.draw(cfg.hole, n, cfg.size, generator, cfg.ratio)


def training_images(images: torch.Tensor, cfg) -> torch.Tensor:
    """What `fit` trains on: uint8 (N, C, H, W), or without ``cfg.redraw`` (N, C + 1, H, W): the last channel is then
    each picture's hole, drawn once, as the authors write theirs to disk before training.
    """
    if cfg.redraw:
        return images
    images = images[:]  # pictures on disk come into memory
    mask = holes(cfg, len(images), runtime.generator(cfg.seed))
    return torch.cat([images, 255 * mask.to(images.device, torch.uint8)], 1)


class Recipe:
    """Trains a `VAE` as the authors do: Adam, no schedule, reconstruction of the whole picture plus KL.

    With ``cfg.redraw`` every batch gets new holes; without, the last channel of its images holds them (see
    `training_images`). ``cfg.augment`` mirrors half of the pictures. ``cfg.pairs="shuffled"`` is what the authors'
    unsorted file lists can come to: every picture is compared with the truth of another one. ``cfg.beta=0`` is a plain
    autoencoder: no code is drawn, because without the KL term nothing would bound its variance.
    """

    def __init__(self, net: VAE, cfg):
        self.net, self.cfg = net, cfg
        self.modules = nn.ModuleDict({"net": net})
        self.optimisers = {"adam": torch.optim.Adam(net.parameters(), lr=cfg.lr, fused=True)}
        self.schedulers = {}

    def corrupt(self, images, generator):
        if self.cfg.redraw:
            mask = holes(self.cfg, len(images), generator)
        else:
            images, mask = images[:, :-1], images[:, -1:] > 0.5
        return masking.apply(images, mask, "black"), mask

    def step(self, batch, generator):
        image, masked, _ = batch
        image = image[:, : self.net.channels]  # without the fixed hole
        if self.cfg.augment:
            mirrored = torch.rand(len(image), 1, 1, 1, generator=generator, device=image.device) < 0.5
            image, masked = (torch.where(mirrored, x.flip(3), x) for x in (image, masked))
        if self.cfg.pairs == "shuffled":
            image = image[torch.randperm(len(image), generator=generator, device=image.device)]
        pred, mu, logvar = self.net(masked, generator if self.cfg.beta else None)
        fit, divergence = reconstruction(pred, image, self.cfg.la_bug), kl(mu, logvar).mean()
        loss = fit + 2 * self.cfg.beta * divergence / image[0].numel() if self.cfg.beta else fit
        self.optimisers["adam"].zero_grad()
        loss.backward()
        self.optimisers["adam"].step()
        return {"reconstruction": fit, "KL": divergence}


class Filler(masking.Filler):
    """A trained `VAE` as a filler: it returns the whole picture, redrawn, and is never told where the hole is.

    ``bn_test``: "running" (eval mode) or "batch1" (the authors': statistics of each picture alone). ``sample_z`` draws
    the code, from a fixed seed, instead of taking its mean. ``test_unnormalised`` feeds [0, 1] to a network that was
    trained on [-1, 1].
    """

    def __init__(
        self,
        net: VAE,
        name: str = "VAE",
        *,
        bn_test: str = "running",
        sample_z: bool = False,
        test_unnormalised: bool = False,
    ):
        self.net, self.name = net, name
        self.bn_test, self.sample_z, self.test_unnormalised = bn_test, sample_z, test_unnormalised

    def accepts(self, shape, mask):
        net = self.net
        if tuple(shape[1:]) != (net.channels, net.size, net.size):
            return f"takes {'RGB' if net.channels == 3 else 'grey'} pictures of {net.size}x{net.size}"
        if mask.shape[1] != 1:
            return "needs one mask for all channels"
        return None

    @torch.no_grad()
    def __call__(self, masked, mask):
        self.net.eval()
        self._normalise_per_image(self.bn_test == "batch1")
        generator = runtime.generator(0, masked.device) if self.sample_z else None
        x = torch.where(mask, 0, masked)  # the network has only ever seen black holes
        if self.test_unnormalised:
            x = (x + 1) / 2  # the network's own 2x - 1 then gives [0, 1]
        preds = [self.net(part, generator)[0] for part in x.split(100)]
        self._normalise_per_image(False)
        return torch.cat(preds)

    def _normalise_per_image(self, on: bool) -> None:
        for module in self.net.modules():
            if isinstance(module, BatchNorm):
                module.per_image = on
