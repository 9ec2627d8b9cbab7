"""A fifth work, as small as one can be: the tests copy it into inpaintkit/papers (CONTRIBUTING.md tells how)."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from inpaintkit import contracts, masking, runtime
from inpaintkit.parameters import Training


class Parameters(Training):
    """What the toy takes."""

    size: int = Field(32, ge=16, le=64, description="side of the pictures")
    n_train: int | None = Field(32, ge=1, le=1000, description="training pictures")
    n_test: int | None = Field(12, ge=1, le=1000, description="test pictures")
    width: int = Field(8, ge=1, le=64, description="channels of the hidden layers")

    profiles: ClassVar[dict[str, dict]] = {"smoke": {"n_train": 16}, "paper": {"epochs": 20}}


class Recipe(contracts.Recipe):
    """Mean squared error of the hole, with Adam."""

    def __init__(self, modules, cfg, steps_per_epoch=1):
        super().__init__(modules, cfg, steps_per_epoch)
        self.optimisers = {"adam": torch.optim.Adam(modules.parameters(), lr=cfg.lr)}

    def holes(self, images, generator):
        return PAPER.holes(self.cfg, len(images), generator)

    def step(self, batch, generator):
        image, masked, mask = batch
        with self.autocast(image.device):
            loss = ((self.modules["net"](masked) - image).square() * mask).sum() / (3 * mask.sum())
        self.update("adam", loss)
        return {"hole MSE": loss}


class Filler(contracts.Filler):
    """The three layers as a filler."""

    id, label = "toy", "toy"

    def __init__(self, net):
        self.net = net

    def accepts(self, shape, mask):
        return None if shape[1] == 3 and mask.shape[1] == 1 else "takes RGB pictures and one mask for all channels"

    @torch.no_grad()
    def __call__(self, masked, mask):
        return self.net.eval()(masked.masked_fill(mask, 0))


class Toy(contracts.Paper):
    """Three convolutions."""

    id, notebook, title = "toy", "05_toy", "Toy"
    Parameters, network, fills = Parameters, "toy", ("nothing", "mean")
    bar = "mean"

    def build(self, cfg):
        layers = [nn.Conv2d(3, cfg.width, 9, padding=4), nn.ReLU(), nn.Conv2d(cfg.width, cfg.width, 9, padding=4)]
        return nn.ModuleDict({"net": nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(cfg.width, 3, 1), nn.Sigmoid())})

    def holes(self, cfg, n, generator):
        return masking.square(n, cfg.size, cfg.size // 4, "random", generator)

    def test_holes(self, cfg, n):
        return {"random": self.holes(cfg, n, runtime.generator(0))}

    def recipe(self, modules, cfg, steps_per_epoch):
        return Recipe(modules, cfg, steps_per_epoch)

    def filler(self, modules, cfg):
        return Filler(modules["net"])


PAPER = Toy()
