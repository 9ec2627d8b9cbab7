"""Momen-Tayefeh et al. 2024, "Image inpainting for corrupted images by using the semi-super resolution GAN".

arXiv 2409.12636. A share p of all pixels is lost at random; a generator in the manner of SRGAN (Ledig et al. 2017)
redraws the whole picture, and a discriminator of the picture's size says of every pixel whether it looks real:

    G: mean (G(x) - y)^2 + w mean (D(G(x)) - 1)^2                                      (equation 5)
    D: mean (D(y) - (1 - 0.1 U))^2 + mean D(G(x))^2,   U uniform in [0, 1]              (equations 2 to 4)

with x the picture with its lost pixels black and y the truth, both in [-1, 1]. The network is not told which pixels
are lost. The text leaves out the size of the pictures, the weight w, what stands in a lost pixel, and more; what it
does not say is taken from the authors' channel-estimation code (Momen-Tayefeh et al. 2024, Signal Processing), from
which text and equations come.

Four readings. `as_written` is the text: two pixel shuffles make the picture four times as large, and a last
convolution of stride 4 makes it small again. `as_run` is the channel-estimation code: two blocks, no enlarging, another
schedule. `fixed` is the text without its detour, with the network told which pixels are lost, and without batch
normalisation. `ours` is what an engineer would do: it starts from the 5x5 box and learns what that gets wrong.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from inpaintkit import contracts, fills, masking, runtime
from inpaintkit.parameters import PLAIN, Training

LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # the paper trains one network for each (figures 3 and 5)
NETWORKS = {  # channels of the generator, side of its first and last kernel; channels of D's first layer
    "authors": {"width": 64, "kernel": 9, "width_d": 64},  # 808,067 + 1,569,827 parameters as written
    "middle": {"width": 32, "kernel": 5, "width_d": 16},
    "narrow": {"width": 16, "kernel": 5, "width_d": 8},  # the demo
    "smallest": {"width": 8, "kernel": 5, "width_d": 4},
}
# What text and code share.
SOURCES = {"norm": "batch", "fill": "black", "mask_channel": False, "lr": 2e-4, "batch_size": 64} | PLAIN


class Parameters(Training):
    """What notebook 04 takes. Defaults: the demo in the reading `fixed`."""

    reading: Literal["as_written", "as_run", "fixed", "ours"] = Field("fixed", description="whose decisions")
    epochs: int = Field(3, ge=1, le=100_000, description="passes over the training pictures")
    batch_size: int = Field(4, ge=2, le=4096, description="pictures per step")
    lr: float = Field(4e-3, ge=1e-7, le=1.0, description="Adam's learning rate, of both networks")
    lr_every: float = Field(0.25, ge=0.01, le=1, description="share of the epochs after which the rate is lowered")
    lr_factor: float = Field(1.0, ge=0.01, le=1, description="factor by which it is lowered then")
    mirror: bool = Field(True, description="mirror about half of each batch of training pictures")
    anneal: bool = Field(True, description="the learning rate rises for 5 % of the steps, then falls to 0")
    size: int = Field(64, ge=16, le=1024, description="side of the pictures")
    crop: int = Field(32, ge=16, le=1024, description="side of the tiles that training pictures are cut into")
    p: float = Field(0.8, ge=0.01, le=0.99, description="share of lost pixels")
    levels: Literal["one", "all"] = Field("one", description="trained at p, or at 30 to 80 %")
    per_channel: bool = Field(False, description="every channel loses pixels of its own")
    redraw: bool = Field(True, description="new lost pixels for every batch instead of once for each picture")
    fill: Literal["black", "white", "grey", "mean", "noise"] = Field("grey", description="what stands in a lost pixel")
    mask_channel: bool = Field(True, description="tell the network which pixels are lost")
    network: Literal["authors", "middle", "narrow", "smallest"] = Field("narrow", description="how wide")
    blocks: int = Field(6, ge=1, le=64, description="residual blocks")
    norm: Literal["batch", "none"] = Field("none", description="normalisation in the residual blocks")
    start: Literal["lost", "box"] = Field("lost", description="box: the network corrects filled pixels")
    shuffles: int = Field(0, ge=0, le=2, description="pixel shuffles, undone by the last convolution's stride")
    head: Literal["expand", "shrink"] = Field("expand", description="channels before a pixel shuffle")
    head_d: Literal["bottleneck", "direct"] = Field("bottleneck", description="the discriminator's last layers")
    value_range: Literal["[-1,1]", "[0,1]"] = Field("[-1,1]", description="tanh or sigmoid")
    weight_adv: float = Field(1e-3, ge=0, le=10, description="weight of the adversarial loss; 0: no discriminator")
    adversarial: Literal["lsgan", "cross entropy"] = Field("lsgan", description="the discriminator's loss")
    smoothing: float = Field(0.1, ge=0, le=1, description="of the labels of true pictures")

    profiles: ClassVar[dict[str, dict]] = {
        "smoke": {"network": "smallest", "n_train": 16, "n_test": 16, "epochs": 1},
        "paper": {
            "dataset": "flowers102", "size": 128, "crop": 128, "epochs": 100, "network": "authors",
            "lr": 2e-4, "batch_size": 64, "norm": "batch", "lr_factor": 0.5,
        } | PLAIN,
    }  # fmt: skip
    # Both sources print rate and batch, and both are affordable in the demo: the readings keep them there.
    readings: ClassVar[dict[str, dict]] = {
        "as_written": SOURCES | {"shuffles": 2, "lr_factor": 0.5},
        "as_run": SOURCES | {"blocks": 2, "lr_every": 0.2, "lr_factor": 0.6},
        "ours": {"start": "box", "weight_adv": 0.0, "norm": "none", "blocks": 4},
    }


# --- networks -------------------------------------------------------------------------------------------------------


def normed(channels: int, norm: str) -> list[nn.Module]:
    """A 3x3 convolution and its normalisation, if any: (B, channels, H, W) -> the same shape."""
    plain = norm == "none"
    convolution = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=plain)
    return [convolution] if plain else [convolution, nn.BatchNorm2d(channels)]


class Block(nn.Module):
    """A residual block, (B, C, H, W) -> (B, C, H, W): what two convolutions find is *added* to what came in.

    Without batch normalisation (norm="none", as EDSR, Lim et al. 2017) it starts by adding nothing.
    """

    def __init__(self, channels: int, norm: str = "batch"):
        super().__init__()
        self.layers = nn.Sequential(*normed(channels, norm), nn.PReLU(channels), *normed(channels, norm))
        if norm == "none":
            nn.init.zeros_(self.layers[-1].weight)
            nn.init.zeros_(self.layers[-1].bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def enlarge(channels: int, factor: int = 2, head: str = "expand") -> nn.Sequential:
    """A pixel shuffle, (B, channels, H, W) -> (B, C, factor H, factor W): the channels of one pixel become a tile of
    ``factor`` x ``factor`` pixels.

    head="expand" first makes as many channels as the shuffle uses up, as SRGAN does: C = channels; "shrink" does not:
    C = channels / factor^2.
    """
    wide = channels * factor**2 if head == "expand" else channels
    layers = [nn.Conv2d(channels, wide, kernel_size=3, padding=1), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers, nn.PReLU(wide // factor**2))


class Generator(nn.Module):
    """A picture with lost pixels (B, 3, H, W) in [0, 1] -> the whole picture redrawn, (B, 3, H, W) in [0, 1].

    ``shuffles`` pixel shuffles of factor 2, undone by a last convolution of stride 2^shuffles: the text says factor 2
    and stride 4, which gives the size of the input with two of them only. With ``shuffles=0`` the picture keeps its
    size, as in the channel-estimation code. ``mask_channels`` more inputs say which values are lost. In
    ``value_range`` "[-1,1]" the output is a tanh (the code's), in "[0,1]" a sigmoid. ``start="box"`` (ours) puts the
    mean of the known pixels within 5x5 into lost ones, adds the network's output to that, and keeps known pixels.
    """

    def __init__(
        self, *, width: int = 64, kernel: int = 9, blocks: int = 6, shuffles: int = 2, head: str = "expand",
        mask_channels: int = 0, value_range: str = "[-1,1]", norm: str = "batch", start: str = "lost",
    ):  # fmt: skip
        super().__init__()
        w, k, factor = width, kernel, 2 if shuffles else 1
        self.mask_channels, self.value_range, self.start = mask_channels, value_range, start
        self.stem = nn.Sequential(nn.Conv2d(3 + mask_channels, w, kernel_size=k, padding=k // 2), nn.PReLU(w))
        self.blocks = nn.Sequential(*[Block(w, norm) for _ in range(blocks)])
        self.after = nn.Sequential(*normed(w, norm))
        less = factor**2 if head == "shrink" else 1
        self.enlarge = nn.Sequential(  # 64x128x128 => 64x256x256 => 64x512x512; in the code twice to the same size
            enlarge(w, factor, head), enlarge(w // less, factor, head) if shuffles != 1 else nn.Identity()
        )
        channels = w // less ** (1 if shuffles == 1 else 2)
        self.last = nn.Conv2d(channels, 3, kernel_size=k, stride=2**shuffles, padding=k // 2)  # => 3x128x128
        if start == "box":
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, masked: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        signed, filled = self.value_range == "[-1,1]", masked
        if self.start == "box":
            filled = fills.Box()(masked, mask)
        x = 2 * filled - 1 if signed else filled
        if self.mask_channels:
            x = torch.cat([x, mask.expand(-1, self.mask_channels, -1, -1).to(x.dtype)], 1)
        x = self.stem(x)
        x = self.last(self.enlarge(x + self.after(self.blocks(x)))).to(masked.dtype)  # not an autocast's bf16
        if self.start == "box":
            return torch.where(mask, filled + x, masked)
        return (torch.tanh(x) + 1) / 2 if signed else torch.sigmoid(x)


class Discriminator(nn.Module):
    """A picture (B, 3, H, W) in [0, 1] -> a map of its size with a score for every value, (B, 3, H, W).

    A score sees 13x13 pixels. H and W must be multiples of 4. head="bottleneck" is that of the channel-estimation code;
    "direct" is the text's, whose last layer is all there is behind the four blocks.
    """

    def __init__(self, width: int = 64, head: str = "bottleneck"):
        super().__init__()
        w = width
        layers = [nn.Conv2d(3, w, kernel_size=3, padding=1), nn.LeakyReLU(0.2)]  # 3x128x128 => 64x128x128
        for channels, stride in ((2 * w, 2), (4 * w, 1), (8 * w, 2)):  # => 128x64x64 => 256x64x64 => 512x32x32
            layers += [
                nn.Conv2d(channels // 2, channels, kernel_size=3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.LeakyReLU(0.2),
            ]
        narrow = [nn.Conv2d(8 * w, w // 2, kernel_size=1), nn.ReLU()] if head == "bottleneck" else []  # => 32x32x32
        last = nn.ConvTranspose2d(w // 2 if narrow else 8 * w, 3, kernel_size=4, stride=4)  # => 3x128x128
        self.layers = nn.Sequential(*layers, *narrow, last)
        self.to(memory_format=torch.channels_last)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.layers(2 * picture - 1).float()


def gmac(network: nn.Module, size: int = 128) -> float:
    """Billions of multiply-adds for one RGB picture of ``size``; the network must be on the meta device."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, size, size, device="meta"))
    return counter.get_total_flops() / 2e9


# --- lost pixels, losses, steps -------------------------------------------------------------------------------------


def tiles(images: torch.Tensor, side: int) -> torch.Tensor:
    """Pictures (N, C, size, size) cut into tiles of ``side``: (N (size / side)^2, C, side, side)."""
    cut = images[:].unfold(2, side, side).unfold(3, side, side)  # (N, C, rows, columns, side, side)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).contiguous()


def content_loss(pred: torch.Tensor, image: torch.Tensor, value_range: str = "[-1,1]") -> torch.Tensor:
    """Mean squared error of the whole picture, known pixels included (equation 5, first term): a scalar.

    In [-1, 1] it is four times that of [0, 1].
    """
    return (4 if value_range == "[-1,1]" else 1) * F.mse_loss(pred, image)


def adversarial_loss(scores: torch.Tensor, target: float | torch.Tensor, kind: str = "lsgan") -> torch.Tensor:
    """How far the discriminator's map is from ``target``, a number or a map: a scalar.

    "lsgan": mean (score - target)^2, the paper's choice; "cross entropy": SRGAN's, with p = sigmoid(score).
    """
    target = torch.as_tensor(target, dtype=scores.dtype, device=scores.device).expand_as(scores)
    return F.mse_loss(scores, target) if kind == "lsgan" else F.binary_cross_entropy_with_logits(scores, target)


def real_target(scores: torch.Tensor, smoothing: float, generator: torch.Generator) -> torch.Tensor:
    """What true pictures should score: 1 - smoothing U, U uniform in [0, 1] for each value of the map (equation 3)."""
    return 1 - smoothing * torch.rand(scores.shape, generator=generator, device=scores.device)


class Recipe(contracts.Recipe):
    """Trains both networks as the paper does: generator first, Adam, learning rate times ``cfg.lr_factor`` every
    ``cfg.lr_every`` of the epochs. With ``cfg.weight_adv=0`` the discriminator is not trained.
    """

    def __init__(self, modules: nn.ModuleDict, cfg, steps_per_epoch: int = 1):
        super().__init__(modules, cfg, steps_per_epoch)
        self.generator, self.discriminator, self.fill = modules["generator"], modules["discriminator"], cfg.fill
        self.optimisers = {
            name: torch.optim.Adam(module.parameters(), lr=cfg.lr, betas=(0.9, 0.999), fused=True)
            for name, module in modules.items()
        }

    def rate(self):
        return super().rate() * self.cfg.lr_factor ** int(self.progress.share / self.cfg.lr_every + 1e-9)

    def holes(self, images, generator):
        return lost_pixels(self.cfg, len(images), images.shape[-1], generator)

    def step(self, batch, generator):
        losses, pred = self.step_g(*batch)
        return losses | (self.step_d(batch[0], pred.detach(), generator) if self.cfg.weight_adv else {})

    def step_g(self, image, masked, mask) -> tuple[dict, torch.Tensor]:
        """One step of the generator; returns its losses and its pictures."""
        with self.autocast(image.device):
            pred = self.generator(masked, mask)
            losses = {"content": content_loss(pred, image, self.cfg.value_range)}
            loss = losses["content"]
            if self.cfg.weight_adv:
                self.discriminator.requires_grad_(False)  # this step trains the generator: D's weights need no gradient
                losses["fooling D"] = adversarial_loss(self.discriminator(pred), 1.0, self.cfg.adversarial)
                loss = loss + self.cfg.weight_adv * losses["fooling D"]
        self.update("generator", loss)
        self.discriminator.requires_grad_(True)
        return losses, pred

    def step_d(self, image, pred, generator) -> dict:
        """One step of the discriminator on a true and a generated picture; returns its loss."""
        with self.autocast(image.device):
            real, fake = self.discriminator(image), self.discriminator(pred)
            loss = adversarial_loss(real, real_target(real, self.cfg.smoothing, generator), self.cfg.adversarial)
            loss = loss + adversarial_loss(fake, 0.0, self.cfg.adversarial)
        self.update("discriminator", loss)
        return {"D": loss}


class Filler(contracts.Filler):
    """A trained `Generator` as a filler, for RGB pictures of any size. It redraws known pixels, too: score it raw and
    composited. ``fill`` is what it was trained to find in a lost pixel.
    """

    id, label = "ssrgan", "SSRGAN"

    def __init__(self, net: Generator, *, fill: str = "black"):
        self.net, self.fill = net, fill

    def accepts(self, shape, mask):
        if shape[1] != 3:
            return "takes RGB pictures"
        if self.net.mask_channels == 1 and mask.shape[1] != 1:
            return "needs one mask for all channels"
        return None

    @torch.no_grad()
    def __call__(self, masked, mask):
        self.net.eval()
        x = masking.apply(masked, mask, self.fill, runtime.generator(0, masked.device))
        return torch.cat([self.net(*part) for part in zip(x.split(50), mask.split(50), strict=True)])


# --- the paper --------------------------------------------------------------------------------------------------------


def lost_pixels(cfg, n: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Lost pixels as the training draws them, (n, 1 or 3, size, size): a share ``cfg.p`` of all; with
    ``cfg.levels="all"`` a share between the lowest and the highest level, another one for each picture.
    """
    rate = cfg.p
    if cfg.levels == "all":
        low, high = LEVELS[0], LEVELS[-1]
        rate = low + (high - low) * torch.rand(n, generator=generator, device=generator.device)
    return masking.pixels(n, size, rate, generator, 3 if cfg.per_channel else 1)


def level_name(p: float) -> str:
    """The name of the test holes at a level: "80 %"."""
    return f"{100 * p:g} %"


class SSRGANPaper(contracts.Paper):
    """The paper of Momen-Tayefeh et al."""

    id, notebook, title = "ssrgan", "04_ssrgan", "SSRGAN (random missing pixels)"
    Parameters = Parameters
    network = "ssrgan"
    scores = ("image_nmse", "raw_nmse", "image_nmse_signed", "raw_nmse_signed", "hole_mse")
    bar = "box"
    fills = ("nothing", "mean", "box", "harmonic", "biharmonic", "telea")  # no whole patch is left to be copied
    kept = ("generator",)

    def build(self, cfg):
        side = min(cfg.crop, cfg.size)
        if cfg.size % side or side % 4:
            raise ValueError(
                f"size must be a multiple of the tiles' {side} pixels (crop), and these of 4, and {cfg.size} is not."
            )
        shape = NETWORKS[cfg.network]
        if cfg.head == "shrink" and shape["width"] % 4**cfg.shuffles:
            raise ValueError(f"head='shrink' divides {shape['width']} channels by 4 too often: choose a wider network.")
        mask_channels = (3 if cfg.per_channel else 1) if cfg.mask_channel else 0
        options = {name: getattr(cfg, name) for name in ("blocks", "shuffles", "head", "value_range", "norm", "start")}
        generator = Generator(width=shape["width"], kernel=shape["kernel"], mask_channels=mask_channels, **options)
        return nn.ModuleDict({"generator": generator, "discriminator": Discriminator(shape["width_d"], cfg.head_d)})

    def holes(self, cfg, n, generator):
        return lost_pixels(cfg, n, cfg.size, generator)

    def test_holes(self, cfg, n):
        """The configuration's own level first, then all levels of the paper."""
        channels = 3 if cfg.per_channel else 1
        return {
            level_name(p): masking.pixels(n, cfg.size, p, runtime.generator(0), channels)
            for p in dict.fromkeys((cfg.p, *LEVELS))
        }

    def training_set(self, images, cfg):
        """Pictures cut into tiles: random pixels need no more context, and small tiles give more steps a minute.

        Without ``cfg.redraw`` each tile keeps its lost pixels.
        """
        cut = tiles(images, min(cfg.crop, cfg.size))
        if cfg.redraw:
            return cut, None
        return cut, lost_pixels(cfg, len(cut), cut.shape[-1], runtime.generator(cfg.seed))

    def recipe(self, modules, cfg, steps_per_epoch):
        return Recipe(modules, cfg, steps_per_epoch)

    def filler(self, modules, cfg):
        return Filler(modules["generator"], fill=cfg.fill)


PAPER = SSRGANPaper()
