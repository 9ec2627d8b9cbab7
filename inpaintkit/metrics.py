"""Scores of an inpainted image: one value per image, over the whole image or over the hole alone.

Every function takes ``pred`` and ``image`` ``(B, C, H, W)`` in [0, 1] and returns ``(B,)`` float64 on the images'
device. ``mask`` (bool, (B, 1 or C, H, W), True = hole) restricts the score to the hole. Predictions are scored as
they are, not clamped. Averages are taken last and named: see `summarise`.
"""

import math

import torch

PSNR_CAP = 100.0  # dB; an exact copy would score infinity
NMSE_FLOOR = 1e-3  # mean square of an image below which its NMSE is undefined
SSIM_KINDS = ("global", "gauss11", "uniform7")
RANGES = ("[0,1]", "[-1,1]")


def _mean(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over channels and pixels, (B, C, H, W) -> (B,); over the hole if a mask is given."""
    values = values.double()
    if mask is None:
        return values.mean((1, 2, 3))
    mask = mask.expand_as(values)
    missing = mask.sum((1, 2, 3))
    if (missing == 0).any():
        raise ValueError("a score over the hole needs a hole in every image; leave mask out to score whole images.")
    return (values * mask).sum((1, 2, 3)) / missing


def _in_chunks(score, pred: torch.Tensor, image: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """``score(pred, image, mask)`` for a few images at a time: float64 copies of a whole test set can fill a memory."""
    fits = mask is None or (len(mask), *mask.shape[2:]) == (len(image), *image.shape[2:])
    if pred.shape != image.shape or not fits:
        shapes = ", ".join(str(tuple(x.shape)) for x in (pred, image, mask) if x is not None)
        raise ValueError(f"prediction, image and mask must have the same batch, height and width, not {shapes}.")
    n = max(1, 2**22 // image[0].numel())
    preds, images = pred.split(n), image.split(n)
    masks = mask.split(n) if mask is not None else [None] * len(images)
    return torch.cat([score(*parts) for parts in zip(preds, images, masks, strict=True)])


def mse(pred: torch.Tensor, image: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared error, 0 is perfect. (B,)."""
    return _in_chunks(lambda x, y, m: _mean((x.double() - y.double()) ** 2, m), pred, image, mask)


def l1(pred: torch.Tensor, image: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean absolute error, 0 is perfect. (B,)."""
    return _in_chunks(lambda x, y, m: _mean((x.double() - y.double()).abs(), m), pred, image, mask)


def psnr(pred: torch.Tensor, image: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Peak signal-to-noise ratio, -10 log10(MSE) for the peak 1, in dB, capped at 100 dB. (B,).

    >>> psnr(torch.full((1, 1, 2, 2), 0.6), torch.full((1, 1, 2, 2), 0.5)).round().item()
    20.0
    """
    return (-10 * torch.log10(mse(pred, image, mask))).clamp(max=PSNR_CAP)


def nmse(
    pred: torch.Tensor, image: torch.Tensor, mask: torch.Tensor | None = None, value_range: str = "[0,1]"
) -> torch.Tensor:
    """Normalised mean squared error, sum e^2 / sum x^2 per image, 0 is perfect. (B,).

    It depends on where zero lies: in ``value_range="[-1,1]"`` mid-grey is 0, the same error is divided by less, and
    the score is about four times higher on ordinary photographs. NaN where the mean square of the image is below 1e-3
    (nearly black in [0,1], nearly mid-grey in [-1,1]): undefined, to be excluded and counted.
    """
    error, energy = nmse_terms(pred, image, mask, value_range)
    return torch.where(energy < NMSE_FLOOR, torch.nan, error / energy)


def nmse_terms(pred, image, mask=None, value_range: str = "[0,1]") -> tuple[torch.Tensor, torch.Tensor]:
    """Numerator and denominator of `nmse`, as means per image: the ratio of their sums is the other NMSE in use."""
    if value_range not in RANGES:
        raise ValueError(f"value_range must be one of {', '.join(RANGES)}, and {value_range!r} is not.")
    scale, shift = (2, 1) if value_range == "[-1,1]" else (1, 0)
    error = scale**2 * mse(pred, image, mask)
    energy = _in_chunks(lambda x, y, m: _mean((scale * y.double() - shift) ** 2, m), pred, image, mask)
    return error, energy


# --- SSIM: Wang, Bovik, Sheikh and Simoncelli 2004, "Image Quality Assessment", section III -------------------------


def _window_matrix(size: int, kind: str) -> torch.Tensor:
    """The 1-D window as a banded (size, size) matrix that averages around each position, with mirrored borders.

    A separable window is then two matrix products, twice as fast as a convolution on a CPU. Windows and borders are
    scikit-image's: Gaussian, sigma 1.5, cut at 3.5 sigma (11 wide), or 7 equal weights; "abc" continues as "abccba".
    """
    if kind == "gauss11":
        weights = torch.exp(-0.5 * (torch.arange(-5, 6, dtype=torch.float64) / 1.5) ** 2)
    else:
        weights = torch.ones(7, dtype=torch.float64)
    radius = len(weights) // 2
    if size < len(weights):
        raise ValueError(f"ssim {kind!r} needs images of at least {len(weights)} pixels, and these have {size}.")
    columns = torch.arange(size)[:, None] + torch.arange(-radius, radius + 1)  # neighbours of each position
    columns = torch.where(columns < 0, -1 - columns, columns)
    columns = torch.where(columns >= size, 2 * size - 1 - columns, columns)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(
        1, columns, (weights / weights.sum()).expand(size, -1)
    )


def ssim_map(pred: torch.Tensor, image: torch.Tensor, kind: str = "gauss11") -> torch.Tensor:
    """SSIM at every pixel, (B, C, H, W) float64, for a windowed kind ("gauss11" or "uniform7").

    SSIM = (2 mu_x mu_y + C1)(2 sigma_xy + C2) / ((mu_x^2 + mu_y^2 + C1)(sigma_x^2 + sigma_y^2 + C2)), C1 = 0.01^2,
    C2 = 0.03^2 for the value range 1. "uniform7" uses the sample covariance (n - 1), as scikit-image does by default.
    """
    rows, columns = (_window_matrix(side, kind).to(image.device) for side in image.shape[2:])
    correction = 49 / 48 if kind == "uniform7" else 1.0
    chunk = max(1, 2**16 // image[0].numel())  # a few images at a time stay in the processor's cache
    maps = []
    for x, y in zip(pred.split(chunk), image.split(chunk), strict=True):
        x, y = x.double(), y.double()
        stack = torch.stack([x, y, x * x + y * y, x * y])  # the variances are only needed as their sum
        mu_x, mu_y, squares, product = rows @ stack @ columns.mT
        variances = correction * (squares - mu_x**2 - mu_y**2)
        covariance = correction * (product - mu_x * mu_y)
        maps.append(_ssim_formula(mu_x, mu_y, variances, covariance))
    return torch.cat(maps)


def _ssim_formula(mu_x, mu_y, variances, covariance):
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mu_x * mu_y + c1) * (2 * covariance + c2) / ((mu_x**2 + mu_y**2 + c1) * (variances + c2))


def ssim(
    pred: torch.Tensor, image: torch.Tensor, mask: torch.Tensor | None = None, kind: str = "gauss11"
) -> torch.Tensor:
    """Structural similarity, 1 is perfect. (B,), averaged over channels.

    ``kind``: "gauss11" (Wang et al. 2004: Gaussian window 11x11), "uniform7" (7x7, scikit-image's default), "global"
    (one window as large as the image, as some texts write the formula). Windowed kinds average the map, without the
    border where the window sticks out, as scikit-image does; with a mask, over the hole's pixels. "global" has no
    map: no mask.
    """
    if kind not in SSIM_KINDS:
        raise ValueError(f"kind must be one of {', '.join(SSIM_KINDS)}, and {kind!r} is not.")
    if kind == "global" and mask is not None:
        raise ValueError('global SSIM is one number for the whole image; use kind="gauss11" for the hole.')
    border = {"gauss11": 5, "uniform7": 3}.get(kind)

    def score(x, y, m):
        if kind == "global":
            return _ssim_global(x, y)
        values = ssim_map(x, y, kind)
        return values[:, :, border:-border, border:-border].mean((1, 2, 3)) if m is None else _mean(values, m)

    return _in_chunks(score, pred, image, mask)


def _ssim_global(pred, image):
    x, y = pred.double().flatten(2), image.double().flatten(2)  # (B, C, H*W)
    mu_x, mu_y = x.mean(2), y.mean(2)
    dx, dy = x - mu_x[..., None], y - mu_y[..., None]
    return _ssim_formula(mu_x, mu_y, (dx * dx + dy * dy).mean(2), (dx * dy).mean(2)).mean(1)


def summarise(values: torch.Tensor) -> dict:
    """Mean, median and standard deviation over images, how many were scored and how many were undefined (NaN).

    The spread is over images: it says how different the images are, not how sure the mean is.
    """
    defined = values[~values.isnan()].double()
    if len(defined) == 0:
        return {"n": 0, "undefined": len(values)}
    spread = defined.std().item() if len(defined) > 1 else math.nan
    summary = {"mean": defined.mean().item(), "median": defined.quantile(0.5).item(), "sd": spread}
    summary = {name: value for name, value in summary.items() if not math.isnan(value)}
    return summary | {"n": len(defined), "undefined": len(values) - len(defined)}
