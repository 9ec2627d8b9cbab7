"""Deesamutara and Maggiore 2020, "Restoring corrupted image with Variational Autoencoders", DOI 10.5281/zenodo.4383315.

A picture with a black square goes in; mean and log-variance of a short latent vector come out; a sample of it is
decoded to the *whole* picture, known pixels included. Nothing tells the network where the square is.

    mu, logvar = E(x * (1 - m)),  z = mu + exp(logvar / 2) * eps,  x' = D(z)                          (Method)
    loss = mean of (x' - x)^2 + 2 beta KL / number of values,  KL = -1/2 sum(1 + logvar - mu^2 - exp(logvar))

Three readings of the same work. `as_run` is the authors' code with its slips: activations that do nothing, a target
with a second channel, batch statistics and a sampled latent vector at test. `as_written` is the text: squares of 20 %
of the *area*, activations that act. `fixed` is the code with its slips repaired. The loss is that of the code in all
three, because the text gives none.
"""

import copy
from itertools import pairwise
from statistics import mean
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from inpaintkit import contracts, fills, masking, metrics, runtime
from inpaintkit.parameters import PLAIN, Training

NETWORKS = {  # width of the first block, of the dense layers, of the latent vector
    "authors": {"width": 64, "hidden": 8000, "latent": 1500},  # 301,013,889 parameters at 100x100
    "medium": {"width": 16, "hidden": 1024, "latent": 256},  # parts of real data sets, on a CPU
    "small": {"width": 16, "hidden": 512, "latent": 64},  # the demo
    "short code": {"width": 16, "hidden": 512, "latent": 16},
    "smallest": {"width": 8, "hidden": 512, "latent": 128},
}


AUTHORS = {"redraw": False} | PLAIN  # what text and code share


class Parameters(Training):
    """What notebook 02 takes. Defaults: the demo in the reading `fixed`."""

    epochs: int = Field(15, ge=1, le=100_000, description="passes over the training pictures")
    batch_size: int = Field(16, ge=2, le=4096, description="pictures per step")
    lr: float = Field(1e-3, ge=1e-7, le=1.0, description="Adam's learning rate")
    beta: float = Field(0.005, ge=0, le=100, description="weight of the KL term; 0 is a plain autoencoder")
    n_train: int | None = Field(None, ge=32, le=10**6, description="training pictures; None: all there are")
    mirror: bool = Field(True, description="mirror about half of each batch of training pictures")
    anneal: bool = Field(True, description="the learning rate rises for 5 % of the steps, then falls to 0")
    size: int = Field(52, ge=52, le=512, description="side of the pictures: 52, 60, 68, ... 100, ...")
    colour: bool = Field(False, description="RGB instead of grey")
    network: Literal["authors", "medium", "small", "short code", "smallest"] = Field("small", description="how wide")
    leaky_slope: float = Field(0.2, ge=0, le=1, description="of the activations; 1 is none at all")
    hole: Literal["squares", "pixels", "strokes", "text"] = Field("squares", description="kind of the holes")
    ratio: float = Field(0.4, ge=0.01, le=0.9, description="size of one square, or amount of the other kinds")
    ratio_of: Literal["side", "area"] = Field("side", description="what ratio is a share of")
    squares: int = Field(1, ge=1, le=16, description="how many squares")
    redraw: bool = Field(True, description="new holes in every batch instead of one fixed hole per picture")
    la_bug: bool = Field(False, description="a target of luminance and alpha")
    pairs: Literal["matched", "shuffled"] = Field("matched", description="shuffled: compared with others' truth")
    bn_test: Literal["running", "batch1"] = Field("running", description="statistics of batch normalisation at test")
    sample_z: bool = Field(False, description="sample the latent vector at test instead of taking its mean")
    test_unnormalised: bool = Field(False, description="feed [0, 1] at test after training on [-1, 1]")

    profiles: ClassVar[dict[str, dict]] = {
        "smoke": {"network": "smallest", "n_train": 64, "n_test": 12, "epochs": 1},
        "paper": {
            "dataset": "ffhq",
            "size": 100,
            "network": "authors",
            "ratio": 0.2,
            "epochs": 350,
            "lr": 1e-4,
            "batch_size": 32,
        }
        | PLAIN,
    }
    # The text names neither optimiser nor rate nor batch; what it leaves out is the code's in all three.
    readings: ClassVar[dict[str, dict]] = {
        "as_written": AUTHORS | {"ratio": 0.2, "ratio_of": "area"},
        "as_run": AUTHORS | {
            "leaky_slope": 1.0, "la_bug": True, "resize": "nearest",
            "bn_test": "batch1", "sample_z": True, "test_unnormalised": True,
        },
    }  # fmt: skip


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
        """Picture in [0, 1] -> mean and log-variance of its latent vector, (B, latent) each: the posterior q(z | x)."""
        hidden = self.fc1(self.encoder(2 * masked - 1).flatten(1))  # the authors train on [-1, 1]
        return self.mean(hidden).to(masked.dtype), self.logvar(hidden).to(masked.dtype)  # not an autocast's bf16

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Latent vector (B, latent) -> picture (B, C, size, size) in [0, 1]."""
        return self.decoder(self._unflatten(z)).to(z.dtype)

    def logits(self, z: torch.Tensor) -> torch.Tensor:
        """The decoded picture before its sigmoid: affine in ``z`` when the activations are the identity."""
        return self.decoder[:-1](self._unflatten(z)).to(z.dtype)

    def _unflatten(self, z):
        return self.fc4(self.expand(z)).view(len(z), -1, self.side, self.side)

    def forward(self, masked: torch.Tensor, generator: torch.Generator | None = None):
        """Prediction, mu and logvar; z is sampled if there is a ``generator``, else it is mu."""
        mu, logvar = self.encode(masked)
        return self.decode(mu if generator is None else reparameterise(mu, logvar, generator)), mu, logvar


# --- latent vector, loss, step ----------------------------------------------------------------------------------------


def reparameterise(mu: torch.Tensor, logvar: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A sample of N(mu, exp(logvar)), in a form that gradients pass through: mu + sigma * eps. (B, latent)."""
    return mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=generator, device=mu.device)


def kl(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """KL divergence of the posterior N(mu, exp(logvar)) from the prior N(0, 1), in nats, for each picture: (B,)."""
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


class Recipe(contracts.Recipe):
    """Trains a `VAE` as the authors do: Adam, no schedule, reconstruction of the whole picture plus KL.

    ``cfg.pairs="shuffled"`` is what the authors' unsorted file lists can
    come to: every picture is compared with the truth of another one. ``cfg.beta=0`` is a plain autoencoder: nothing is
    sampled, because without the KL term nothing would bound the variance.
    """

    def __init__(self, modules: nn.ModuleDict, cfg, steps_per_epoch: int = 1):
        super().__init__(modules, cfg, steps_per_epoch)
        self.net = modules["net"]
        self.optimisers = {"adam": torch.optim.Adam(self.net.parameters(), lr=cfg.lr, fused=True)}

    def holes(self, images, generator):
        return PAPER.holes(self.cfg, len(images), generator)

    def step(self, batch, generator):
        image, masked, _ = batch
        if self.cfg.pairs == "shuffled":
            image = image[torch.randperm(len(image), generator=generator, device=image.device)]
        with self.autocast(image.device):
            pred, mu, logvar = self.net(masked, generator if self.cfg.beta else None)
            error, divergence = reconstruction(pred, image, self.cfg.la_bug), kl(mu, logvar).mean()
            loss = error + 2 * self.cfg.beta * divergence / image[0].numel() if self.cfg.beta else error
        self.update("adam", loss)
        return {"reconstruction": error, "KL": divergence}


class Filler(contracts.Filler):
    """A trained `VAE` as a filler: it returns the whole picture anew, and is never told where the hole is.

    ``bn_test``: "running" (eval mode) or "batch1" (the authors': statistics of each picture alone). ``sample_z``
    samples the latent vector, from a fixed seed, instead of taking its mean. ``test_unnormalised`` feeds [0, 1] to a
    network that was trained on [-1, 1].
    """

    id, label = "vae", "VAE"

    def __init__(self, net: VAE, *, bn_test: str = "running", sample_z: bool = False, test_unnormalised: bool = False):
        self.net, self.bn_test, self.sample_z, self.test_unnormalised = net, bn_test, sample_z, test_unnormalised

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
        generator = runtime.generator(0, masked.device) if self.sample_z else None
        x = torch.where(mask, 0, masked)  # the network has only ever seen black holes
        if self.test_unnormalised:
            x = (x + 1) / 2  # the network's own 2x - 1 then gives [0, 1]
        try:
            self._normalise_per_image(self.bn_test == "batch1")
            return torch.cat([self.net(part, generator)[0] for part in x.split(100)])
        finally:
            self._normalise_per_image(False)

    def _normalise_per_image(self, on: bool) -> None:
        for module in self.net.modules():
            if isinstance(module, BatchNorm):
                module.per_image = on


# --- what needs no training -------------------------------------------------------------------------------------------


def survey(image: torch.Tensor, draws: int = 3) -> dict:
    """SSIM of untouched and of mean-filled pictures: image (B, 1, 100, 100) in [0, 1].

    Returns {holes: {fill id: {kind of SSIM: {"mean", "sd"}}}}, mean and spread over pictures, averaged over ``draws``
    of the holes, with each draw's mean; and "floor", the mean of (1 - image)^2 with its standard error, which the
    target with alpha adds to the authors' loss.
    """
    size, table = image.shape[-1], {}
    for name, (side, count) in {
        "1 x 20 %": (size // 5, 1),
        "2 x 20 %": (size // 5, 2),
        "1 x 40 %": (2 * size // 5, 1),
        "20 % of the area": (masking.side_of(0.2, size, "area"), 1),
    }.items():
        masks = [masking.squares(len(image), size, side, count, runtime.generator(seed)) for seed in range(draws)]
        for fill in fills.fills("nothing", "mean"):
            for kind in metrics.SSIM_KINDS:
                values = [metrics.ssim(fill(masking.apply(image, mask), mask), image, kind=kind) for mask in masks]
                table.setdefault(name, {}).setdefault(fill.id, {})[kind] = {
                    "mean": round(mean(v.mean().item() for v in values), 4),
                    "sd": round(mean(v.std().item() for v in values), 4),
                    "draws": [round(v.mean().item(), 4) for v in values],
                }
    floor = (1 - image).square().mean((1, 2, 3)).double()  # per picture
    error = floor.std().item() / len(floor) ** 0.5
    floors = {"floor": round(floor.mean().item(), 4), "floor, standard error": round(error, 4)}
    return {"pictures": len(image), **floors, "holes": table}


class Collapsed(nn.Module):
    """A `VAE` with ``leaky_slope=1`` in eval mode with z = mu, with its affine layers multiplied out (ours).

    From the feature map to the picture before its sigmoid, everything is affine; what remains of ten layers is two
    matrices with the latent vector between them. ``Collapsed(net)`` computes them in float64.
    """

    def __init__(self, net: VAE):
        super().__init__()
        exact = copy.deepcopy(net).double().eval()
        self.encoder, self.shape = copy.deepcopy(net.encoder).eval(), (net.channels, net.size, net.size)
        self.down = nn.Linear(net.fc1.in_features, net.latent, device=net.fc1.weight.device)
        self.up = nn.Linear(net.latent, net.channels * net.size**2, device=net.fc1.weight.device)
        if net.fc1.weight.device.type == "meta":
            return  # only the shapes are wanted
        with torch.no_grad():
            self.down.weight.copy_(exact.mean.weight @ exact.fc1.weight)
            self.down.bias.copy_(exact.mean(exact.fc1.bias))
            unit = torch.eye(net.latent, dtype=torch.float64, device=net.fc1.weight.device)
            origin = exact.logits(torch.zeros_like(unit[:1]))
            self.up.weight.copy_((exact.logits(unit) - origin).flatten(1).T)
            self.up.bias.copy_(origin.flatten())

    def logits(self, masked: torch.Tensor) -> torch.Tensor:
        """Picture (B, C, H, W) in [0, 1] -> restored picture before its sigmoid."""
        return self.up(self.down(self.encoder(2 * masked - 1).flatten(1))).view(-1, *self.shape)

    def forward(self, masked: torch.Tensor) -> torch.Tensor:
        return self.logits(masked).sigmoid()


def collapse_difference(net: VAE, masked: torch.Tensor) -> float:
    """Largest difference between the pictures (before the sigmoid) of a VAE and its `Collapsed` form, over the
    largest value.
    """
    net.eval()
    with torch.no_grad():
        full, small = net.logits(net.encode(masked)[0]), Collapsed(net).logits(masked)
    return ((full - small).abs().max() / full.abs().max()).item()


# --- the paper --------------------------------------------------------------------------------------------------------

WAYS = {  # what the authors' test does differently; needs no further training
    "mean": ("running statistics, mean", {}),
    "sampled": ("latent vector sampled", {"sample_z": True}),
    "batch1": ("batch of one", {"bn_test": "batch1"}),
    "unnormalised": ("input in [0, 1]", {"test_unnormalised": True}),
    "batch1-unnormalised": ("batch of one, input in [0, 1]", {"bn_test": "batch1", "test_unnormalised": True}),
    "authors": (
        "all three (authors)", {"bn_test": "batch1", "test_unnormalised": True, "sample_z": True},
    ),
}  # fmt: skip


def describe_holes(cfg) -> str:
    """The holes of a configuration in words, with pixels: "1 x 10x10", "strokes 20 %"."""
    if cfg.hole != "squares":
        return f"{cfg.hole} {100 * cfg.ratio:g} %"
    side = masking.side_of(cfg.ratio, cfg.size, cfg.ratio_of)
    return f"{cfg.squares} x {side}x{side}"


class VAEPaper(contracts.Paper):
    """The article of Deesamutara and Maggiore."""

    id, notebook, title = "vae", "02_vae", "VAE (faces and animals)"
    Parameters = Parameters
    network = "vae"
    scores = (
        "hole_mse", "raw_mse", "raw_ssim_global", "raw_ssim", "raw_ssim_uniform", "image_ssim_global", "image_ssim",
    )  # fmt: skip
    bar = "mean"
    parts = ("train", "test", "unseen")

    def build(self, cfg):
        channels = 3 if cfg.colour else 1
        return nn.ModuleDict({"net": VAE(cfg.size, channels, **NETWORKS[cfg.network], leaky_slope=cfg.leaky_slope)})

    def holes(self, cfg, n, generator):
        """``cfg.squares`` squares, or another kind of `masking.draw`.

        (The authors' random place never reaches the last row and column; this one does.)
        """
        if cfg.hole == "squares":
            side = masking.side_of(cfg.ratio, cfg.size, cfg.ratio_of)
            return masking.squares(n, cfg.size, side, cfg.squares, generator)
        return masking.draw(cfg.hole, n, cfg.size, generator, cfg.ratio)

    def test_holes(self, cfg, n):
        named = {describe_holes(cfg): self.holes(cfg, n, runtime.generator(0))}
        for ratio, squares in ((0.2, 1), (0.4, 1), (0.2, 2)):  # those of the two experiments
            other = cfg.changed(hole="squares", ratio_of="side", ratio=ratio, squares=squares)
            named.setdefault(describe_holes(other), self.holes(other, n, runtime.generator(0)))
        return named

    def training_set(self, images, cfg):
        """Without ``cfg.redraw`` each picture keeps one hole, as the authors write theirs to disk before training."""
        return images, None if cfg.redraw else self.holes(cfg, len(images), runtime.generator(cfg.seed))

    def recipe(self, modules, cfg, steps_per_epoch):
        return Recipe(modules, cfg, steps_per_epoch)

    def filler(self, modules, cfg):
        ways = {"bn_test": cfg.bn_test, "sample_z": cfg.sample_z, "test_unnormalised": cfg.test_unnormalised}
        return Filler(modules["net"], **ways)

    def other_fillers(self, modules, cfg):
        others = []
        for way, (label, options) in WAYS.items():
            filler = Filler(modules["net"], **options)
            filler.id, filler.label = f"vae, {way}", f"VAE, {label}"
            others.append(filler)
        return others

    def measure(self, modules, cfg, image, mask):
        if cfg.leaky_slope != 1:
            return {}
        return {"collapse difference": collapse_difference(modules["net"], masking.apply(image, mask))}


PAPER = VAEPaper()
