"""Shotland and Goldfarb 2022, "Image Inpainting with Auto Encoder" (Ariel University, course report).

An encoder reads the picture with a black square in it, a decoder writes the missing square, and nothing else:

    patch = D(E(x * (1 - m)))        loss = mean over the hole of (patch - x)^2        (report, sections 4.2-4.4)

Three readings of the same work. `as_written` is the text: three convolutions with pooling, two dense layers of 2048.
`as_run` is the authors' code, which their figure also shows: the second convolution is applied to the input again, so
that the first one is never used, and the dense layers have 1024. `fixed` is that code with the convolutions chained.
"""

from typing import ClassVar, Literal

import torch
import torchvision
from pydantic import Field
from torch import nn

from inpaintkit import contracts, evaluate, masking, runtime
from inpaintkit.parameters import PLAIN, Training
from inpaintkit.patches import is_square, put_patch, take_patch

AUTHORS_PLACE = (68 / 128, 70 / 128)  # centre of the hole in the authors' code: rows 60-75, columns 62-77 of 128
# What text and code share, and the repaired reading changes: see section 7 of the notebook.
AUTHORS = {"narrow": 3, "out_act": "relu"} | PLAIN
SMALLEST_HOLE = 8  # side of the smallest hole of random size, in pixels


class Parameters(Training):
    """What notebook 01 takes. Defaults: the demo in the reading `fixed`."""

    epochs: int = Field(8, ge=1, le=100_000, description="passes over the training pictures")
    batch_size: int = Field(10, ge=1, le=4096, description="pictures per step")
    lr: float = Field(1e-3, ge=1e-7, le=1.0, description="Adam's learning rate")
    decay: float = Field(0.0, ge=0, le=1, description="Keras's: the rate is divided by 1 + decay * steps")
    n_train: int | None = Field(None, ge=10, le=10**6, description="training pictures; None: all there are")
    mirror: bool = Field(True, description="mirror about half of each batch of training pictures")
    anneal: bool = Field(True, description="the learning rate rises for 5 % of the steps, then falls to 0")
    side: Literal[16, 32] = Field(32, description="side of the hole, in pixels")
    side_max: int | None = Field(None, ge=9, le=64, description="holes of 8 to this many pixels (full decoder)")
    hole: Literal["authors", "centre", "random"] = Field("centre", description="the hole's place")
    conv_layers: int = Field(3, ge=1, le=4, description="convolutions with pooling in the encoder")
    dense: Literal[256, 512, 1024, 2048, 4096] = Field(1024, description="width of the two dense layers")
    n_dec: Literal[4, 5] = Field(5, description="layers of the 16x16 decoder")
    narrow: Literal[3, 64] = Field(64, description="channels of the decoder's narrow layers (authors: 3)")
    out_act: Literal["relu", "sigmoid", "none"] = Field("sigmoid", description="activation at the output")
    encoder: Literal["authors", "alexnet", "googlenet"] = Field("authors", description="the encoder's shape")
    decoder: Literal["patch", "full"] = Field("patch", description="draws the hole, or (ours) the whole picture")
    gd_steps: int = Field(10_000, ge=1, le=10**6, description="steps of the 3x3 regression's gradient descent")
    mlp_steps: int = Field(5000, ge=1, le=10**6, description="steps of the 5x5 perceptron")

    profiles: ClassVar[dict[str, dict]] = {
        "smoke": {"n_train": 200, "n_test": 40, "epochs": 1, "gd_steps": 200, "mlp_steps": 200},
        "paper": {"dataset": "afhq-wild", "size": 128, "side": 16, "hole": "authors", "epochs": 50, "mlp_steps": 10_000}
        | PLAIN,
    }
    readings: ClassVar[dict[str, dict]] = {
        "as_written": AUTHORS | {"dense": 2048, "n_dec": 4},
        "as_run": AUTHORS | {"conv_layers": 2, "resize": "bilinear", "decay": 1e-6},
    }


# --- network --------------------------------------------------------------------------------------------------------


def conv_pool(channels_in: int, channels_out: int) -> nn.Sequential:
    """One step of the encoder: (B, channels_in, S, S) -> (B, channels_out, S/2, S/2)."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def transposed(channels_in: int, channels_out: int, stride: int = 1) -> nn.ConvTranspose2d:
    """Transposed convolution that keeps (stride 1) or doubles (stride 2) the side, as Keras's padding="same" does."""
    return nn.ConvTranspose2d(
        channels_in, channels_out, kernel_size=3, stride=stride, padding=1, output_padding=stride - 1
    )


def make_encoder(name: str, size: int, conv_layers: int, dense: int) -> nn.Sequential:
    """Picture (B, 3, size, size) -> (B, dense). "alexnet" and "googlenet" are torchvision's shapes, untrained: the
    report's future work (section 6), in place of the authors' convolutions.
    """
    if name == "authors":
        widths = [3] + [64] * (conv_layers - 1) + [32]
        features = nn.Sequential(*map(conv_pool, widths[:-1], widths[1:]), nn.Flatten())
        n_features = 32 * (size // 2**conv_layers) ** 2  # 128 px, two layers: 32 x 32 x 32 = 32768
    elif name == "alexnet":
        features = nn.Sequential(
            torchvision.models.alexnet(weights=None).features, nn.AdaptiveAvgPool2d(3), nn.Flatten()
        )
        n_features = 256 * 3 * 3
    else:
        features = torchvision.models.googlenet(weights=None, aux_logits=False, init_weights=False)
        features.fc = nn.Identity()
        n_features = 1024
    return nn.Sequential(
        features,
        nn.Linear(n_features, dense), nn.ReLU(),
        nn.Linear(dense, dense), nn.ReLU(),
    )  # fmt: skip


def make_decoder(side: int, channels: int, n_dec: int, narrow: int, out_act: str) -> nn.Sequential:
    """(B, channels, 8, 8) -> the missing square (B, 3, side, side), side 16 or 32.

    The 16x16 decoder has 4 layers in the text and the figure and 5 in the code (``n_dec``); the 32x32 one has 5 in all.
    The first and, of five, the fourth layer have ``narrow`` channels: 3 in the report, whose ReLUs can die one by one.
    """
    five = side == 32 or n_dec == 5
    layers = [
        transposed(channels, narrow), nn.ReLU(),                # 8x8
        transposed(narrow, 64), nn.ReLU(),                      # 8x8
        transposed(64, 128), nn.ReLU(),                         # 8x8
        transposed(128, narrow if five else 3, stride=2),       # 8x8 => 16x16
    ]  # fmt: skip
    if five:
        layers += [nn.ReLU(), transposed(narrow, 3, stride=2 if side == 32 else 1)]  # 16x16, or => 32x32
    return nn.Sequential(*layers, _activation(out_act))


def make_full_decoder(size: int, channels: int, out_act: str) -> nn.Sequential:
    """(B, channels, 8, 8) -> a whole picture (B, 3, size, size). Our extension: holes of any size, place and shape."""
    layers, width = [transposed(channels, 64), nn.ReLU()], 64
    for _ in range((size // 8).bit_length() - 1):
        layers += [transposed(width, 64, stride=2), nn.ReLU()]  # 8 => 16 => ... => size
    return nn.Sequential(*layers, transposed(width, 3), _activation(out_act))


def _activation(name: str) -> nn.Module:
    return {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "none": nn.Identity}[name]()


class Autoencoder(nn.Module):
    """The encoder-decoder of the report, section 4.3: masked picture (B, 3, size, size) -> square (B, 3, side, side).

    With ``decoder="full"`` (ours) it returns a whole picture. Weights start as Keras starts them (Glorot uniform, zero
    biases), since the authors used Keras. Raises ValueError for a size the network cannot take.
    """

    def __init__(
        self,
        size: int = 128,
        side: int = 16,
        *,
        conv_layers: int = 2,
        dense: int = 1024,
        n_dec: int = 5,
        narrow: int = 3,
        out_act: str = "relu",
        encoder: str = "authors",
        decoder: str = "patch",
    ):
        super().__init__()
        if size < 64 or size & (size - 1):
            raise ValueError(f"size must be 64, 128, 256, ... for the autoencoder, and {size} is not.")
        if side not in (16, 32):
            raise ValueError(f"side must be 16 or 32, the two holes of the report, and {side} is not.")
        self.size, self.side, self.whole = size, side, decoder == "full"
        self.channels = dense // 64  # the dense layer's output, reshaped to channels x 8 x 8
        self.encoder = make_encoder(encoder, size, conv_layers, dense)
        if self.whole:
            self.decoder = make_full_decoder(size, self.channels, out_act)
        else:
            self.decoder = make_decoder(side, self.channels, n_dec, narrow, out_act)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.to(memory_format=torch.channels_last)  # the same numbers in another order: steps take 10 to 15 % less time

    def forward(self, masked: torch.Tensor) -> torch.Tensor:
        z = self.encoder(masked)  # (B, dense)
        return self.decoder(z.view(-1, self.channels, 8, 8))


# --- hole, loss, step -----------------------------------------------------------------------------------------------


def hole(n: int, size: int, side: int, place: str, generator: torch.Generator | None = None) -> torch.Tensor:
    """The report's hole: one black square at the authors' place, in the centre, or anywhere. (n, 1, size, size)."""
    return masking.square(n, size, side, AUTHORS_PLACE if place == "authors" else place, generator)


def hole_loss(pred: torch.Tensor, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared error over the hole: of the square itself, or of the missing part of a whole picture. A scalar."""
    if pred.shape == image.shape:
        holes = mask.expand_as(image)
        return ((pred - image) ** 2 * holes).sum() / holes.sum()
    return nn.functional.mse_loss(pred, take_patch(image, mask, pred.shape[-1]))


class Recipe(contracts.Recipe):
    """Trains an `Autoencoder` as the report does: Adam, 1e-3, mean squared error of the hole (section 4.4).

    ``cfg.decay`` is Keras's: the rate is divided by 1 + decay * steps taken. ``cfg.side_max`` (ours) draws the side of
    each batch's hole, for a network with the full decoder.
    """

    def __init__(self, modules: nn.ModuleDict, cfg, steps_per_epoch: int = 1):
        super().__init__(modules, cfg, steps_per_epoch)
        self.net = modules["net"]
        # eps is Keras's; fused is the same update in one pass over the weights
        self.optimisers = {"adam": torch.optim.Adam(self.net.parameters(), lr=cfg.lr, eps=1e-7, fused=True)}

    def rate(self):
        return super().rate() / (1 + self.cfg.decay * self.progress.step)

    def holes(self, images, generator):
        return PAPER.holes(self.cfg, len(images), generator)

    def step(self, batch, generator):
        image, masked, mask = batch
        with self.autocast(image.device):
            loss = hole_loss(self.net(masked), image, mask)
        self.update("adam", loss)
        return {"hole MSE": loss}


class Filler(contracts.Filler):
    """A trained `Autoencoder` as a filler. A patch network takes one square of its side; a full decoder any hole."""

    id, label = "autoencoder", "autoencoder"

    def __init__(self, net: Autoencoder):
        self.net = net

    def accepts(self, shape, mask):
        net = self.net
        if tuple(shape[1:]) != (3, net.size, net.size):
            return f"takes RGB pictures of {net.size}x{net.size}"
        if mask.shape[1] != 1:
            return "needs one mask for all channels"
        if not net.whole and not is_square(mask, net.side):
            return f"takes one {net.side}x{net.side} square hole"
        return None

    @torch.no_grad()
    def __call__(self, masked, mask):
        self.net.eval()
        preds = []
        for x, m in zip(masked.split(100), mask.split(100), strict=True):
            x = torch.where(m, 0, x)  # the network has only ever seen black holes
            y = self.net(x)
            preds.append(y if self.net.whole else put_patch(x, y, m))
        return torch.cat(preds)


# --- the paper --------------------------------------------------------------------------------------------------------


def alive_channels(net: Autoencoder, masked: torch.Tensor) -> list[int]:
    """For each ReLU that is three channels wide: how many of the three are ever positive. A dead one stays dead."""
    counts, hooks = [], []

    def count(module, args, out):
        counts.append(int((out > 0).any(0).flatten(1).any(1).sum()))

    for before, layer in zip(net.decoder, net.decoder[1:], strict=False):
        if isinstance(layer, nn.ReLU) and before.out_channels == 3:
            hooks.append(layer.register_forward_hook(count))
    with torch.no_grad():
        net(masked)
    for hook in hooks:
        hook.remove()
    return counts


class AutoencoderPaper(contracts.Paper):
    """The report of Shotland and Goldfarb."""

    id, notebook, title = "autoencoder", "01_autoencoder", "Autoencoder (Ariel University)"
    Parameters = Parameters
    network = "autoencoder"
    scores = ("hole_mse", "hole_mse_clipped", "hole_l1", "hole_psnr", "hole_ssim", "image_ssim")
    fills = ("nothing", "mean", "ring", "box", "harmonic", "biharmonic", "telea", "navier-stokes", "frequency")

    def build(self, cfg):
        if cfg.side_max is not None and cfg.decoder == "patch":
            raise ValueError("side_max needs decoder='full': the patch decoder draws squares of one side.")
        names = ("conv_layers", "dense", "n_dec", "narrow", "out_act", "encoder", "decoder")
        return nn.ModuleDict({"net": Autoencoder(cfg.size, cfg.side, **{name: getattr(cfg, name) for name in names})})

    def holes(self, cfg, n, generator):
        side = cfg.side
        if cfg.side_max is not None:  # one side for the whole batch
            sides = (SMALLEST_HOLE, cfg.side_max + 1)
            side = int(torch.randint(*sides, (), generator=generator, device=generator.device))
        return hole(n, cfg.size, side, cfg.hole, generator)

    def test_holes(self, cfg, n):
        own = f"{cfg.side} {cfg.hole}" if cfg.side_max is None else "8-24 random"
        kinds = {(cfg.side, cfg.hole): None}
        if cfg.decoder == "full":
            kinds |= dict.fromkeys([(16, "authors"), (16, "centre"), (16, "random"), (32, "authors")])
        named = {f"{side} {place}": hole(n, cfg.size, side, place, runtime.generator(0)) for side, place in kinds}
        if cfg.decoder == "full":
            generator = runtime.generator(0)
            sides = torch.randint(SMALLEST_HOLE, 25, (n,), generator=generator).tolist()
            named["8-24 random"] = torch.cat([masking.square(1, cfg.size, side, "random", generator) for side in sides])
        return {own: named.pop(own)} | named

    def recipe(self, modules, cfg, steps_per_epoch):
        return Recipe(modules, cfg, steps_per_epoch)

    def filler(self, modules, cfg):
        return Filler(modules["net"])

    def measure(self, modules, cfg, image, mask):
        masked, measured = masking.apply(image, mask), {}
        alive = alive_channels(modules["net"], masked)
        if alive:
            measured["channels alive, fewest of 3"] = min(alive)
        if not modules["net"].whole:
            measured["detail"] = evaluate.detail(self.filler(modules, cfg)(masked, mask), image, mask, cfg.side)
        return measured


PAPER = AutoencoderPaper()
