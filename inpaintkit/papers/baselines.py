"""One missing pixel from its neighbours: the Ariel authors' "previous attempts" (report, sections 7.1 and 7.2).

    linear regression, 3x3:  y = w . x + b                      8 neighbours,   9 parameters
    perceptron, 5x5:         y = W2 relu(W1 x + b1) + b2        24 neighbours, 417 parameters

Both train on values 0-255, as the authors did (the learning rate 1e-5 depends on it), on one channel at a time, and
convert at their edge: as fillers they take and return [0, 1] like everything else. What the report calls "loss" and
"Mean Square Error" is the square ROOT of the mean squared error on 0-255: see `rmse255`.
"""

import torch
from torch import nn

from inpaintkit import contracts


def patches(channel: torch.Tensor, width: int, stride: int = 1) -> torch.Tensor:
    """All ``width`` x ``width`` patches of one channel (H, W), without copying: (rows, columns, width, width)."""
    return channel.unfold(0, width, stride).unfold(1, width, stride)


def neighbours_and_centre(patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Splits patches (..., w, w) into the w^2 - 1 neighbours (N, w^2 - 1), row by row, and the centre (N, 1)."""
    flat = patches.reshape(-1, patches.shape[-1] ** 2)
    middle = flat.shape[1] // 2
    return torch.cat([flat[:, :middle], flat[:, middle + 1 :]], 1), flat[:, middle : middle + 1]


def rmse255(pred: torch.Tensor, target: torch.Tensor) -> float:
    """Root of the mean squared error, on the scale of the input (0-255 here)."""
    return (pred.double() - target.double()).square().mean().sqrt().item()


# --- linear regression ----------------------------------------------------------------------------------------------


def closed_form(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Least squares with an intercept by the normal equations, in float64: weights then bias, (features + 1,)."""
    x = torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], 1)
    return torch.linalg.solve(x.T @ x, x.T @ y.double())[:, 0]


def gradient_descent(
    x: torch.Tensor, y: torch.Tensor, lr: float = 1e-5, steps: int = 10_000, keep: int = 200
) -> tuple[list[int], torch.Tensor]:
    """Full-batch gradient descent on the mean squared error, from zero, as the authors ran it (report, section 7.1).

    Returns the steps that were kept (about ``keep``, closer together at the beginning, the last one included) and the
    weights and bias there: (kept, features + 1), float64. The gradient comes from the Gram matrix, so that 10,000
    steps take a moment. Above `largest_stable_rate` the weights grow without bound; nothing stops them here.
    """
    x = torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], 1)
    gram, moment = x.T @ x / len(x), (x.T @ y.double() / len(x))[:, 0]
    w = torch.zeros(x.shape[1], dtype=torch.float64)
    wanted = sorted({round(steps ** (i / keep)) for i in range(keep + 1)})
    kept = []
    for step in range(1, steps + 1):
        w -= lr * 2 * (gram @ w - moment)
        if step == wanted[len(kept)]:
            kept.append(w.clone())
    return wanted, torch.stack(kept)


def largest_stable_rate(x: torch.Tensor) -> float:
    """The rate above which gradient descent on the mean squared error diverges: 1 / largest eigenvalue of X'X/n."""
    x = torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], 1)
    return (1 / torch.linalg.eigvalsh(x.T @ x / len(x))[-1]).item()


def predict_linear(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Centres (N, 1) from neighbours (N, features), with weights and bias (features + 1,)."""
    return x.double() @ w[:-1, None] + w[-1]


# --- perceptron -----------------------------------------------------------------------------------------------------


def perceptron(seed: int = 0) -> nn.Sequential:
    """24 neighbours -> 16 ReLU -> 1, 417 parameters, initialised as the authors did (N(0, 1) cut at 2)."""
    net = nn.Sequential(
        nn.Linear(24, 16),  # 5x5 without the centre
        nn.ReLU(),
        nn.Linear(16, 1),
    )
    generator = torch.Generator().manual_seed(seed)
    for layer, bias in ((net[0], 0.1), (net[2], 0.0)):
        nn.init.trunc_normal_(layer.weight, std=1.0, a=-2, b=2, generator=generator)
        nn.init.constant_(layer.bias, bias)
    return net


def train_perceptron(
    net: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int = 10_000, lr: float = 1e-3
) -> list[float]:
    """Full-batch Adam on the mean squared error, values 0-255 (report, section 7.2). Returns the RMSE at 100 points."""
    x, y = x.float(), y.float()
    optimiser = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
    curve = []
    for step in range(steps):
        loss = (net(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % max(1, steps // 100) == 0:
            curve.append(loss.detach())
    return torch.stack(curve).sqrt().tolist()


# --- as fillers -----------------------------------------------------------------------------------------------------


class PixelFiller(contracts.Filler):
    """Fills isolated single pixels: every missing pixel is predicted from the known ``width`` x ``width`` around it.

    ``predict`` maps neighbours (N, width^2 - 1) on 0-255 to centres (N, 1). Channels are filled alike, as the authors
    assumed ("all 3 channels are distributed the same"). The neighbourhood must lie inside the picture.
    """

    def __init__(self, name: str, width: int, predict):
        self.id = self.label = name
        self.width, self.predict = width, predict

    def accepts(self, shape, mask):
        missing = nn.functional.avg_pool2d(mask.double(), self.width, 1) * self.width**2
        inner = self._inner(mask)
        if inner.sum() < mask.sum() or (missing[inner] > 1.5).any():
            return f"needs every missing pixel alone in its {self.width}x{self.width} neighbourhood"
        return None

    def _inner(self, values):
        """A view without the border in which no neighbourhood is whole."""
        radius = self.width // 2
        return values[:, :, radius:-radius, radius:-radius]

    def __call__(self, masked, mask):
        pred = masked.clone()
        x = (255 * masked).unfold(2, self.width, 1).unfold(3, self.width, 1)  # (B, C, H - w + 1, W - w + 1, w, w)
        holes = self._inner(mask.expand_as(masked))
        x, _ = neighbours_and_centre(x[holes])
        with torch.no_grad():
            self._inner(pred)[holes] = (self.predict(x) / 255).to(masked.dtype)[:, 0]
        return pred


def single_pixel_grid(n: int, size: int, step: int = 5) -> torch.Tensor:
    """One missing pixel in every whole ``step`` x ``step`` cell: the only holes the authors' pixel models can take.

    Returns (n, 1, size, size).
    """
    mask = torch.zeros(n, 1, size, size, dtype=torch.bool)
    whole = size // step * step
    mask[:, :, step // 2 : whole : step, step // 2 : whole : step] = True
    return mask
