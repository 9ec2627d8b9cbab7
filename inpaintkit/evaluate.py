"""Fillers x fixed holes x metrics -> rows: the one way in which every notebook scores."""

import time
from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from inpaintkit import masking, metrics, runtime
from inpaintkit.models.blocks import take_patch

# Every score a table can show, per image. "hole": over the missing pixels, where raw prediction and composite are the
# same (SSIM's window also sees what is around, so it takes the composite). "raw": the whole prediction. "image": the
# whole composite, in which the known pixels are perfect and flatter every score.
SCORES = {
    "hole MSE": lambda raw, full, image, mask: metrics.mse(raw, image, mask),
    "hole MSE, clipped": lambda raw, full, image, mask: metrics.mse(raw.clamp(0, 1), image, mask),
    "hole L1": lambda raw, full, image, mask: metrics.l1(raw, image, mask),
    "hole L1, %": lambda raw, full, image, mask: 100 * metrics.l1(raw, image, mask),  # as Pathak et al. 2016 print them
    "hole L2, %": lambda raw, full, image, mask: 100 * metrics.mse(raw, image, mask),
    "hole PSNR": lambda raw, full, image, mask: metrics.psnr(raw, image, mask),
    "hole SSIM": lambda raw, full, image, mask: metrics.ssim(full, image, mask),
    "image MSE": lambda raw, full, image, mask: metrics.mse(full, image),
    "image PSNR": lambda raw, full, image, mask: metrics.psnr(full, image),
    "image SSIM": lambda raw, full, image, mask: metrics.ssim(full, image),
    "image SSIM, uniform": lambda raw, full, image, mask: metrics.ssim(full, image, kind="uniform7"),
    "image SSIM, global": lambda raw, full, image, mask: metrics.ssim(full, image, kind="global"),
    "image NMSE [0,1]": lambda raw, full, image, mask: metrics.nmse(full, image),
    "image NMSE [-1,1]": lambda raw, full, image, mask: metrics.nmse(full, image, value_range="[-1,1]"),
    "raw MSE": lambda raw, full, image, mask: metrics.mse(raw, image),
    "raw NMSE [0,1]": lambda raw, full, image, mask: metrics.nmse(raw, image),
    "raw NMSE [-1,1]": lambda raw, full, image, mask: metrics.nmse(raw, image, value_range="[-1,1]"),
    "raw SSIM": lambda raw, full, image, mask: metrics.ssim(raw, image),
    "raw SSIM, uniform": lambda raw, full, image, mask: metrics.ssim(raw, image, kind="uniform7"),
    "raw SSIM, global": lambda raw, full, image, mask: metrics.ssim(raw, image, kind="global"),
}


@dataclass
class Row:
    """One filler's scores: a tensor (B,) per score, or a note saying why it was not scored."""

    filler: str
    scores: dict[str, torch.Tensor]
    seconds_per_image: float | None = None
    note: str | None = None

    def show(self, averages: tuple[str, ...] = ("mean",)) -> dict:
        """A line for `viz.table`: the filler's name and the chosen averages of every score."""
        line = {"filler": self.filler}
        for name, values in self.scores.items():
            summary = metrics.summarise(values)
            line |= {name if averages == ("mean",) else f"{name}, {a}": summary.get(a) for a in averages}
            if summary["undefined"]:
                line[f"{name}, undefined"] = summary["undefined"]
        if self.seconds_per_image is not None:
            line["ms per image"] = 1000 * self.seconds_per_image
        return line | ({"note": self.note} if self.note else {})

    def to_json(self) -> dict:
        """For results.json: the summary of every score."""
        if self.note:
            return {"filler": self.filler, "note": self.note}
        return {"filler": self.filler, **{name: metrics.summarise(values) for name, values in self.scores.items()}}


def score(
    fillers: list[masking.Filler], image: torch.Tensor, mask: torch.Tensor, scores: list[str], fill: str = "black"
) -> list[Row]:
    """Scores every filler on the same images (B, C, H, W) in [0, 1] and the same holes. One `Row` per filler.

    A filler that cannot take these images gets a row with its reason instead of numbers. Raises ValueError for images
    or masks that cannot be scored (see `masking.check`) and for a score that does not exist.
    """
    masking.check(image, mask)
    unknown = [name for name in scores if name not in SCORES]
    if unknown:
        raise ValueError(f"there is no score {unknown[0]!r}; there are {', '.join(SCORES)}.")
    masked = masking.apply(image, mask, fill, runtime.generator(0, image.device))  # (only noise is drawn)
    rows = []
    for filler in tqdm(fillers, desc="scoring", unit="filler", delay=10, leave=False):  # shown if it takes longer
        reason = filler.accepts(tuple(image.shape), mask)
        if reason:
            rows.append(Row(filler.name, {}, note=reason))
            continue
        started = time.perf_counter()
        raw = filler(masked, mask)
        if raw.shape != image.shape or not torch.isfinite(raw).all():
            raise ValueError(
                f"{filler.name} returned {tuple(raw.shape)} or values that are not numbers for images of "
                f"{tuple(image.shape)}: a filler returns finite pictures of the same shape."
            )  # (also waits for a GPU, so that the time is the filler's)
        seconds = (time.perf_counter() - started) / len(image)
        full = masking.composite(image, raw, mask)
        rows.append(Row(filler.name, {name: SCORES[name](raw, full, image, mask) for name in scores}, seconds))
    return rows


def detail(pred: torch.Tensor, image: torch.Tensor, mask: torch.Tensor, side: int) -> float:
    """How much drawing there is in a filled square: mean step between neighbouring pixels, relative to the truth's.

    0 is a flat patch, 1 as many and as strong lines as in the hidden part; 1 does not say that they are the right ones.
    """
    steps = [
        sum((patch.diff(dim=d).abs().mean().item()) for d in (2, 3))
        for patch in (take_patch(x, mask, side) for x in (pred, image))
    ]
    return steps[0] / steps[1]
