"""Fillers x fixed holes x scores -> one value per image: the one way in which notebooks and runs score."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from tqdm.auto import tqdm

from inpaintkit import masking, metrics, runtime
from inpaintkit.contracts import Filler
from inpaintkit.patches import take_patch


@dataclass(frozen=True)
class Score:
    """A score of one image: its ``label`` for people, digits in tables, and what is better."""

    label: str
    of: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # raw, composite, image, mask
    digits: int = 4
    higher_is_better: bool = False


# Every score a table can show, by id. "hole": over the missing pixels, where raw prediction and composite are the same
# (SSIM's window also sees what is around, so it takes the composite). "raw": the whole prediction. "image": the whole
# composite, in which the known pixels are perfect and flatter every score. Raw predictions are not clamped.
SCORES = {
    "hole_mse": Score("hole MSE", lambda raw, full, image, mask: metrics.mse(raw, image, mask)),
    "hole_mse_clipped": Score(
        "hole MSE, clipped", lambda raw, full, image, mask: metrics.mse(raw.clamp(0, 1), image, mask)
    ),
    "hole_l1": Score("hole L1", lambda raw, full, image, mask: metrics.l1(raw, image, mask)),
    # L1 and L2 in percent: as Pathak et al. 2016 print them
    "hole_l1_percent": Score("hole L1, %", lambda raw, full, image, mask: 100 * metrics.l1(raw, image, mask), 2),
    "hole_l2_percent": Score("hole L2, %", lambda raw, full, image, mask: 100 * metrics.mse(raw, image, mask), 2),
    "hole_psnr": Score("hole PSNR, dB", lambda raw, full, image, mask: metrics.psnr(raw, image, mask), 1, True),
    "hole_ssim": Score("hole SSIM", lambda raw, full, image, mask: metrics.ssim(full, image, mask), 3, True),
    "image_mse": Score("image MSE", lambda raw, full, image, mask: metrics.mse(full, image)),
    "image_psnr": Score("image PSNR, dB", lambda raw, full, image, mask: metrics.psnr(full, image), 1, True),
    "image_ssim": Score("image SSIM", lambda raw, full, image, mask: metrics.ssim(full, image), 3, True),
    "image_ssim_uniform": Score(
        "image SSIM, uniform", lambda raw, full, image, mask: metrics.ssim(full, image, kind="uniform7"), 3, True
    ),
    "image_ssim_global": Score(
        "image SSIM, global", lambda raw, full, image, mask: metrics.ssim(full, image, kind="global"), 3, True
    ),
    "image_nmse": Score("image NMSE [0,1]", lambda raw, full, image, mask: metrics.nmse(full, image)),
    "image_nmse_signed": Score(
        "image NMSE [-1,1]", lambda raw, full, image, mask: metrics.nmse(full, image, value_range="[-1,1]")
    ),
    "raw_mse": Score("raw MSE", lambda raw, full, image, mask: metrics.mse(raw, image)),
    "raw_nmse": Score("raw NMSE [0,1]", lambda raw, full, image, mask: metrics.nmse(raw, image)),
    "raw_nmse_signed": Score(
        "raw NMSE [-1,1]", lambda raw, full, image, mask: metrics.nmse(raw, image, value_range="[-1,1]")
    ),
    "raw_ssim": Score("raw SSIM", lambda raw, full, image, mask: metrics.ssim(raw, image), 3, True),
    "raw_ssim_uniform": Score(
        "raw SSIM, uniform", lambda raw, full, image, mask: metrics.ssim(raw, image, kind="uniform7"), 3, True
    ),
    "raw_ssim_global": Score(
        "raw SSIM, global", lambda raw, full, image, mask: metrics.ssim(raw, image, kind="global"), 3, True
    ),
}


@dataclass
class Scored:
    """One filler's scores: a tensor (B,) per score id, or a note: why it was not scored."""

    filler: str  # id
    label: str
    scores: dict[str, torch.Tensor]
    seconds_per_image: float | None = None
    note: str | None = None

    def mean(self, score: str) -> float:
        """The mean over the images in which the score is defined; NaN if there is none, or it was not scored."""
        values = self.scores.get(score)
        return float("nan") if values is None else metrics.summarise(values).get("mean", float("nan"))


def score(
    fillers: Sequence[Filler], image: torch.Tensor, mask: torch.Tensor, scores: Sequence[str], fill: str = "black"
) -> list[Scored]:
    """Scores every filler on the same images and the same holes.

    Args:
        image: (B, C, H, W) in [0, 1].
        mask: (B, 1 or C, H, W).
        scores: keys of `SCORES`.
        fill: what stands in the hole, see `masking.apply`.

    A filler that cannot take these images gets its reason instead of numbers. Raises ValueError for images or masks
    that cannot be scored (see `masking.check`), and for an unknown score.
    """
    masking.check(image, mask)
    unknown = [name for name in scores if name not in SCORES]
    if unknown:
        raise ValueError(f"there is no score {unknown[0]!r}; there are {', '.join(SCORES)}.")
    masked = masking.apply(image, mask, fill, runtime.generator(0, image.device))  # (only noise is random)
    rows = []
    bar = {"desc": "scoring", "unit": "filler", "leave": False, "disable": len(fillers) < 2}
    for filler in tqdm(fillers, delay=10, **bar):  # shown if it takes longer
        reason = filler.accepts(tuple(image.shape), mask)
        if reason:
            rows.append(Scored(filler.id, filler.label, {}, note=reason))
            continue
        started = time.perf_counter()
        raw = filler(masked, mask)
        if raw.shape != image.shape or not torch.isfinite(raw).all():
            raise ValueError(
                f"{filler.label} returned {tuple(raw.shape)} or values that are not numbers for images of "
                f"{tuple(image.shape)}: a filler returns finite pictures of the same shape."
            )  # (also waits for a GPU, so that the time is the filler's)
        seconds = (time.perf_counter() - started) / len(image)
        full = masking.composite(image, raw, mask)
        values = {name: SCORES[name].of(raw, full, image, mask) for name in scores}
        rows.append(Scored(filler.id, filler.label, values, seconds))
    return rows


def frame(rows: Sequence[Scored], average: str = "mean", time: bool = True) -> pd.DataFrame:
    """Scored fillers as a table, a row each: labels, ``average`` ("mean" or "median") of each score, ms per image.

    A filler that was not scored has its reason in the column "note".
    """
    table = []
    for row in rows:
        line = {"filler": row.label}
        for name, values in row.scores.items():
            summary = metrics.summarise(values)
            line[SCORES[name].label] = summary.get(average)
            if summary["undefined"]:
                line[f"{SCORES[name].label}, undefined"] = summary["undefined"]
        if time and row.seconds_per_image is not None:
            line["ms per image"] = 1000 * row.seconds_per_image
        table.append(line | ({"note": row.note} if row.note else {}))
    return pd.DataFrame(table)


def detail(pred: torch.Tensor, image: torch.Tensor, mask: torch.Tensor, side: int) -> float:
    """How much detail a filled square has: mean step between neighbouring pixels, relative to the truth's.

    0 is a flat patch, 1 as many and as strong lines as in the hidden part; 1 does not say that they are the right ones.
    """
    steps = [
        sum((patch.diff(dim=d).abs().mean().item()) for d in (2, 3))
        for patch in (take_patch(x, mask, side) for x in (pred, image))
    ]
    return steps[0] / steps[1]
