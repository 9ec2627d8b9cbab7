"""The user's own photograph, repaired where the user's own mask is white, at any size.

Known pixels never leave uint8: the photograph is copied and only pixels of the hole are written. Classic fills work at
full resolution on crops around the holes. A network takes pictures of one size only; it sees windows of that size,
shrunk where a hole is too thick for them, and each window is responsible for its middle.
"""

import itertools
import json
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm.auto import tqdm

from inpaintkit import masking, photos, runtime, training
from inpaintkit import fills, context_encoder

METHODS = {
    "mean": classical.MeanFill,
    "ring": classical.RingMean,
    "box": classical.Box,
    "harmonic": classical.Harmonic,
    "biharmonic": classical.Biharmonic,
    "telea": lambda: classical.OpenCV("telea"),
    "navier-stokes": lambda: classical.OpenCV("navier-stokes"),
    "patch": classical.Exemplar,
    "frequency": classical.FrequencySelective,
}
MARGIN = 32  # pixels around the holes of a crop
CELL = 256  # holes up to this long are filled together when their centres lie in the same cell of this side
BATCH = 32  # windows that a network gets at once
SOFT = 2  # a network's patch is enlarged by more than this: it will look soft
# Missing pixels, all holes together, from which on a fill takes more than 10 s (one core of an AMD EPYC, 2026).
SLOW = {
    classical.Box: 400_000,
    classical.Harmonic: 900_000,
    classical.Biharmonic: 300_000,
    classical.Exemplar: 10_000,
    classical.FrequencySelective: 150_000,
}
PATCHES = 1_500_000  # source patches of a crop for which the patch-based fill takes 3 GB


def method(name: str, run: str | Path | None = None) -> masking.Filler:
    """The filler of a short name: one of `METHODS`, or "network" with ``run``, the out_dir of notebook 03."""
    if name != "network" and name not in METHODS:
        raise ValueError(f"method must be one of {', '.join([*METHODS, 'network'])}, and {name!r} is not.")
    if (name == "network") != (run is not None):
        raise ValueError('method "network" and run go together: let run name the folder in which notebook 03 trained.')
    if name != "network":
        return METHODS[name]()
    return trained_network(run)


def trained_network(run: str | Path) -> context_encoder.Filler:
    """The network of a run of notebook 03, from the weights and parameters in its folder.

    Raises FileNotFoundError or ValueError with one sentence if the folder holds no such run.
    """
    run = Path(run)
    for name in ("results.json", "weights.pt"):
        if not (run / name).is_file():
            raise FileNotFoundError(f"{run} holds no {name}: let run name the folder in which notebook 03 trained.")
    parameters = json.loads((run / "results.json").read_text(encoding="utf8"))["parameters"]
    if "mask_channel" not in parameters:
        raise ValueError(f"{run} is a run of another notebook: let run name the folder in which notebook 03 trained.")
    cfg = runtime.Config(**parameters, sources={})
    net, _ = context_encoder.from_config(cfg)
    training.load_weights(run / "weights.pt", net)
    return context_encoder.Filler(net, fill=cfg.fill)


def repair_file(
    photo_path: str | Path, mask_path: str | Path, out_path: str | Path, filler: masking.Filler, progress: bool = True
) -> dict:
    """Repairs a photograph where the mask's picture is white; the file written is lossless and keeps size, colour
    profile and transparency. Returns how many "holes", which "share" of the picture, and "seconds", files included.

    Raises ValueError or OSError with one sentence: files that cannot be used, or would be lost.
    """
    started = time.perf_counter()
    photo = photos.open_photo(photo_path)
    photos.check_target(out_path, photo, photo_path, mask_path)
    mask = photos.open_mask(mask_path, photo)
    photos.save(out_path, repair(photo.pixels, mask, filler, progress), photo)
    holes = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    return {"holes": holes, "share": float(mask.mean()), "seconds": time.perf_counter() - started}


# --- arrays -----------------------------------------------------------------------------------------------------------


def repair(photo: np.ndarray, mask: np.ndarray, filler: masking.Filler, progress: bool = True) -> np.ndarray:
    """A copy of ``photo``, uint8 (H, W, 1 or 3) or (H, W), with the hole filled where ``mask``, bool (H, W), is True.

    A filler with a ``size`` is a network that takes pictures of that side: it fills the square of ``filler.side`` in
    their middle, or any hole if ``side`` is None. Any other filler takes any size. Raises ValueError or TypeError with
    one sentence; warns of a fill that will take long and of a patch that will look soft.
    """
    if photo.dtype != np.uint8 or mask.dtype != bool:
        raise TypeError(f"photo must be uint8 and mask bool, and they are {photo.dtype} and {mask.dtype}: convert.")
    if photo.ndim not in (2, 3) or (photo.ndim == 3 and photo.shape[2] not in (1, 3)):
        raise ValueError(f"photo must have the shape (H, W), (H, W, 1) or (H, W, 3), and {photo.shape} is another.")
    if mask.shape != photo.shape[:2]:
        raise ValueError(f"mask must have the photo's shape {photo.shape[:2]}, and {mask.shape} is another.")
    if not mask.any() or mask.all():
        raise ValueError(f"mask is {mask.any()} everywhere: it must be True in the hole, False where pixels are known.")
    result = photo.copy()
    pixels = result.reshape(*mask.shape, -1)  # a view, so that grey photographs have a channel too
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    left, top, width, height = stats[1:, :4].T
    boxes = np.stack([top, left, top + height, left + width], 1)
    fill = _fill_windows if hasattr(filler, "size") else _fill_crops
    fill(pixels, mask, labels, boxes, filler, progress)
    return result


def _together(boxes: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups holes with the same cell side whose centres lie in the same cell: a million holes are no million crops.

    Returns the group of each hole, the box (top, left, bottom, right) around each group, its cell side.
    """
    y, x = (boxes[:, :2] + boxes[:, 2:]).T.astype(np.int64) // 2 // cells
    _, examples, groups = np.unique((cells * 2**20 + y) * 2**20 + x, return_index=True, return_inverse=True)
    unions = np.repeat([[2**31, 2**31, 0, 0]], len(examples), 0)
    np.minimum.at(unions[:, :2], groups, boxes[:, :2])
    np.maximum.at(unions[:, 2:], groups, boxes[:, 2:])
    return groups, unions, cells[examples]


def _numbered(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The group of every pixel, -1 outside the holes: (H, W)."""
    return np.concatenate([[-1], groups]).astype(np.int32)[labels]


def _write(pixels: np.ndarray, own: np.ndarray, values: np.ndarray) -> None:
    pixels[own] = (255 * values[own]).round().clip(0, 255).astype(np.uint8)


# --- classic fills: crops at full resolution --------------------------------------------------------------------------


def _fill_crops(pixels, mask, labels, boxes, filler, progress) -> None:
    missing, limit = int(mask.sum()), SLOW.get(type(filler), np.inf)
    if missing > limit:
        text = f"{filler.name} takes more than 10 s from about {limit:,} missing pixels on, and {missing:,} are missing"
        warnings.warn(f"{text}: be patient, or choose telea.", stacklevel=3)
    lengths = (boxes[:, 2:] - boxes[:, :2]).max(1)
    cells = CELL * 2 ** np.ceil(np.log2(np.maximum(lengths / CELL, 1))).astype(int)
    groups, unions, _ = _together(boxes, cells)
    number = _numbered(labels, groups)
    for group, box in enumerate(tqdm(unions, desc=filler.name, unit="crop", disable=not progress)):
        crop, masked, hole = _crop(pixels, mask, box, filler)
        _write(pixels[crop], number[crop] == group, filler(masked, hole)[0].movedim(0, -1).numpy())


def _crop(pixels, mask, box, filler):
    """Where the crop is, what is known there, and its holes, all of them: (1, C, h, w) and (1, 1, h, w)."""
    margin, problem = MARGIN, "?"
    while problem:  # the patch-based fill wants whole patches around the hole
        (top, left), (bottom, right) = np.maximum(box[:2] - margin, 0), np.minimum(box[2:] + margin, mask.shape)
        crop = slice(top, bottom), slice(left, right)
        hole = torch.from_numpy(mask[crop])[None, None]
        problem = filler.accepts((1, pixels.shape[2], *hole.shape[2:]), hole)
        if isinstance(filler, classical.Exemplar) and hole.numel() > PATCHES:
            problem = f"takes {PATCHES:,} pixels at once, and this hole spreads over {hole.numel():,}"
        if problem and (margin > max(mask.shape) or hole.numel() > PATCHES):
            raise ValueError(f"{filler.name} {problem}: choose another method.")
        margin *= 2
    known = torch.from_numpy(np.where(mask[crop][..., None], np.uint8(0), pixels[crop]))
    return crop, known.movedim(-1, 0)[None].float().div_(255), hole


# --- networks: windows of one size ------------------------------------------------------------------------------------


@torch.no_grad()
def _fill_windows(pixels, mask, labels, boxes, filler, progress) -> None:
    size, side = filler.size, filler.side or filler.size // 2
    number, windows = _windows(mask, labels, boxes, side)
    before = size // 2 - side // 2  # pixels of a window before its middle
    middle = slice(before, before + side)
    colour = np.zeros(3, int) if pixels.shape[2] == 1 else slice(None)  # networks take RGB only
    starts = range(0, len(windows), BATCH)
    for first in tqdm(starts, desc=filler.name, unit=f"x{BATCH} windows", disable=not progress):
        batch = windows[first : first + BATCH]
        shrunk = [_shrunk(pixels, mask, top - before * f, left - before * f, size, f) for _, f, top, left in batch]
        masked = torch.from_numpy(np.stack([picture for picture, _ in shrunk])[..., colour]).movedim(-1, 1)
        hole = torch.from_numpy(np.stack([hole for _, hole in shrunk]))[:, None]
        if filler.side is not None:
            hole = masking.square(len(batch), size, side, "centre")
        if problem := filler.accepts(tuple(masked.shape), hole):
            raise ValueError(f"{filler.name} {problem}: choose another method.")
        preds = masking.composite(masked, filler(masked, hole), hole)[..., middle, middle].movedim(1, -1).numpy()
        for (group, f, top, left), pred in zip(batch, preds, strict=True):
            values = _enlarged(pred, f)[max(-top, 0) :, max(-left, 0) :]  # the photograph begins at 0
            values = values.mean(2, keepdims=True) if pixels.shape[2] == 1 else values
            here = slice(max(top, 0), top + side * f), slice(max(left, 0), left + side * f)
            own = number[here] == group
            _write(pixels[here], own, values[: own.shape[0], : own.shape[1]])


def _windows(mask, labels, boxes, side) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """The number of every pixel, and (number, scale, top, left) of the middles, ``side * scale`` wide, that fill it."""
    # Twice the largest distance to a known pixel is the side of a solid square. At the photograph's border, with known
    # pixels on one side only, a hole counts twice, and so it does in a window, which is continued by reflection.
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    reach = np.zeros(len(boxes) + 1)
    np.maximum.at(reach, labels[mask], distance[mask])
    scales = np.maximum(np.ceil((2 * reach[1:] - 1) / side), 1).astype(int)
    if scales.max() > SOFT:
        row, column = np.unravel_index(distance.argmax(), mask.shape)
        top, left, bottom, right = boxes[labels[row, column] - 1]
        across, drawn = min(round(2 * distance.max()), bottom - top, right - left), side * scales.max()
        text = f"the hole at row {row}, column {column} is about {across} pixels thick, and the network draws only "
        text += f"{side}x{side} pixels for each {drawn}x{drawn} there, so its patch will look soft: choose a classic "
        warnings.warn(f"{text}fill, or a network trained for larger pictures.", stacklevel=5)
    groups, unions, cells = _together(boxes, scales * side)
    # At the border a window is centred on the hole and its reflection together, if they fit.
    first, last, end = unions[:, :2], unions[:, 2:], np.array(mask.shape)
    both = np.hstack([np.where(first == 0, 1 - last, first), np.where(last == end, 2 * end - 1 - first, last)])
    unions = np.where(np.tile(both[:, 2:] - both[:, :2] <= cells[:, None], 2), both, unions)
    # Thin holes that sprawl share one grid over the whole photograph.
    sprawling = ((unions[:, 2:] - unions[:, :2]).max(1) > side) & (cells == side)
    number = _numbered(labels, np.where(sprawling[groups], len(unions), groups))
    grids = [(group, cells[group], unions[group]) for group in np.nonzero(~sprawling)[0]]
    grids += [(len(unions), side, (0, 0, *mask.shape))] if sprawling.any() else []
    windows = []
    for group, cell, (top, left, bottom, right) in grids:
        rows, columns = (range(a - (a - b) % cell // 2, b, cell) for a, b in ((top, bottom), (left, right)))
        for y, x in itertools.product(rows, columns):
            if (number[max(y, 0) : max(y + cell, 0), max(x, 0) : max(x + cell, 0)] == group).any():
                windows.append((int(group), int(cell // side), int(y), int(x)))
    return number, windows


def _mirror(first: int, count: int, length: int) -> np.ndarray:
    """Indices first, first + 1, ... with those outside 0 ... length - 1 reflected back into it."""
    index = np.arange(first, first + count) % max(2 * length - 2, 1)
    return np.minimum(index, 2 * length - 2 - index)


def _shrunk(pixels, mask, top, left, size, f) -> tuple[np.ndarray, np.ndarray]:
    """A window ``f`` times smaller: picture (size, size, C) with the mean in its holes, and holes (size, size)."""
    window = np.ix_(_mirror(top, size * f, mask.shape[0]), _mirror(left, size * f, mask.shape[1]))
    known = ~mask[window]
    blocks = (pixels[window] * known[..., None]).reshape(size, f, size, f, -1)
    total = blocks.sum((1, 3), dtype=np.float32) / np.float32(255)
    count = known.reshape(size, f, size, f).sum((1, 3))
    # Where no block is known completely, among lone known pixels, blocks that are known in part are the best there is.
    hole = count < f * f if (count == f * f).any() else count == 0
    average = total / np.maximum(count, 1)[..., None].astype(np.float32)
    return np.where(hole[..., None], total.sum((0, 1)) / np.float32(count.sum()), average), hole


def _enlarged(pred: np.ndarray, f: int) -> np.ndarray:
    """A prediction (side, side, 3) ``f`` times as large, bicubic; shrunk again it is the prediction, nearly.

    Interpolation alone would flatten it: what is missing is added.
    """
    if f == 1:
        return pred
    small, size = pred.shape[1::-1], (pred.shape[1] * f, pred.shape[0] * f)
    large = cv2.resize(pred, size, interpolation=cv2.INTER_CUBIC)
    missing = pred - cv2.resize(large, small, interpolation=cv2.INTER_AREA)
    return large + cv2.resize(missing, size, interpolation=cv2.INTER_CUBIC)
