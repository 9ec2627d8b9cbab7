"""Shotland and Goldfarb 2022, "Image Inpainting with Auto Encoder" (Ariel University, course report).

An encoder reads the picture with a black square in it, a decoder writes the missing square, and nothing else:

    patch = D(E(x * (1 - m)))        loss = mean over the hole of (patch - x)^2        (report, sections 4.2-4.4)

Three readings of the same work. `as_written` is the text: three convolutions with pooling, two dense layers of 2048.
`as_run` is the authors' code, which their figure also shows: the second convolution is applied to the input again, so
that the first one is never used, and the dense layers have 1024. `fixed` is that code with the convolutions chained.
"""

import torch
import torchvision
from torch import nn

from inpaintkit import masking, runtime
from inpaintkit.models.blocks import is_square, put_patch, take_patch

AUTHORS_PLACE = (68 / 128, 70 / 128)  # centre of the hole in the authors' code: rows 60-75, columns 62-77 of 128

_ALWAYS = {"side": 16, "hole": "authors", "out_act": "relu", "encoder": "authors", "lr": 1e-3, "batch_size": 10}
_EMBEDDED = _ALWAYS | {"dataset": "embedded", "size": 64}
PROFILES = {
    "smoke": _EMBEDDED | {"n_train": 200, "n_test": 40, "epochs": 1, "gd_steps": 200, "mlp_steps": 200},
    "demo": _EMBEDDED | {"n_train": 4000, "n_test": None, "epochs": 5, "gd_steps": 10_000, "mlp_steps": 5000},
    "paper": _ALWAYS
    | {"dataset": "afhq-wild", "size": 128, "n_train": None, "n_test": None, "epochs": 50}
    | {"gd_steps": 10_000, "mlp_steps": 10_000},
}
READINGS = {
    "as_written": {"conv_layers": 3, "dense": 2048, "n_dec": 4, "decay": 0.0, "resize": "bicubic"},
    "as_run": {"conv_layers": 2, "dense": 1024, "n_dec": 5, "decay": 1e-6, "resize": "bilinear"},
    "fixed": {"conv_layers": 3, "dense": 1024, "n_dec": 5, "decay": 1e-6, "resize": "bicubic"},
}

ALLOWED = runtime.TRAINING | {
    "lr": (1e-7, 1.0),
    "n_train": (10, 10**6),
    "n_test": (1, 10**6),
    "side": {16, 32},
    "hole": {"authors", "centre", "random"},
    "conv_layers": (1, 4),
    "dense": {256, 512, 1024, 2048, 4096},
    "n_dec": {4, 5},
    "out_act": {"relu", "sigmoid", "none"},
    "encoder": {"authors", "alexnet", "googlenet"},
    "resize": None,  # `data.open` knows which there are
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


def make_decoder(side: int, channels: int, n_dec: int, out_act: str) -> nn.Sequential:
    """(B, channels, 8, 8) -> the missing square (B, 3, side, side), side 16 or 32.

    The 16x16 decoder has 4 layers in the text and the figure and 5 in the code (``n_dec``); the 32x32 one has 5 in all.
    """
    layers = [
        transposed(channels, 3), nn.ReLU(),         # 8x8, only three channels wide: see section 7 of the notebook
        transposed(3, 64), nn.ReLU(),               # 8x8
        transposed(64, 128), nn.ReLU(),             # 8x8
        transposed(128, 3, stride=2),               # 8x8 => 16x16
    ]  # fmt: skip
    if side == 32 or n_dec == 5:
        layers += [nn.ReLU(), transposed(3, 3, stride=2 if side == 32 else 1)]  # 16x16, or => 32x32
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
            self.decoder = make_decoder(side, self.channels, n_dec, out_act)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.to(memory_format=torch.channels_last)  # the same numbers in another order: steps take 10 to 15 % less time

    def forward(self, masked: torch.Tensor) -> torch.Tensor:
        z = self.encoder(masked)  # (B, dense)
        return self.decoder(z.view(-1, self.channels, 8, 8))


def from_config(cfg, decoder: str = "patch") -> Autoencoder:
    """The network that a notebook's configuration describes."""
    return Autoencoder(
        cfg.size,
        cfg.side,
        conv_layers=cfg.conv_layers,
        dense=cfg.dense,
        n_dec=cfg.n_dec,
        out_act=cfg.out_act,
        encoder=cfg.encoder,
        decoder=decoder,
    )


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


class Recipe:
    """Trains an `Autoencoder` as the report does: Adam, 1e-3, mean squared error of the hole (section 4.4).

    ``decay`` is Keras's: the rate is divided by 1 + decay * steps taken (here once per epoch). ``side_max`` (ours)
    draws the side of each batch's hole between ``side`` and ``side_max``, for a network with the full decoder.
    """

    def __init__(
        self,
        net: Autoencoder,
        *,
        place: str = "authors",
        lr: float = 1e-3,
        decay: float = 0.0,
        steps_per_epoch: int = 0,
        side: int | None = None,
        side_max: int | None = None,
    ):
        self.net, self.place = net, place
        self.side, self.side_max = side or net.side, side_max
        self.modules = nn.ModuleDict({"net": net})
        # eps is Keras's; fused is the same update in one pass over the weights
        adam = torch.optim.Adam(net.parameters(), lr=lr, eps=1e-7, fused=True)
        self.optimisers = {"adam": adam}
        self.schedulers = {}
        if decay:
            slow_down = lambda epoch: 1 / (1 + decay * epoch * steps_per_epoch)  # noqa: E731
            self.schedulers["decay"] = torch.optim.lr_scheduler.LambdaLR(adam, slow_down)

    def corrupt(self, images, generator):
        side = self.side
        if self.side_max is not None:
            side = int(torch.randint(self.side, self.side_max + 1, (), generator=generator, device=generator.device))
        mask = hole(len(images), images.shape[-1], side, self.place, generator).to(images.device)
        return masking.apply(images, mask, "black"), mask

    def step(self, batch, generator):
        image, masked, mask = batch
        loss = hole_loss(self.net(masked), image, mask)
        self.optimisers["adam"].zero_grad()
        loss.backward()
        self.optimisers["adam"].step()
        return {"hole MSE": loss}


class Filler(masking.Filler):
    """A trained `Autoencoder` as a filler. A patch network takes one square of its side; a full decoder any hole."""

    def __init__(self, net: Autoencoder, name: str = "autoencoder"):
        self.net, self.name = net, name

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
