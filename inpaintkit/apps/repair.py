"""The user's own photograph, repaired where the user's own mask is white, at any size.

Known pixels never leave uint8: the photograph is copied and only pixels of the hole are written. Classic fills work at
full resolution on crops around the holes. A network that takes pictures of one size sees windows of that size, shrunk
where a hole is too thick for them, and draws their middles, which overlap and are blended. A network that takes any
size sees the photograph in tiles.
"""

import hashlib
import itertools
import math
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from inpaintkit import fills, masking, papers, runtime, shipped
from inpaintkit.apps import photos
from inpaintkit.contracts import Filler
from inpaintkit.experiments.run import trained_filler

METHODS = (*(id for id in fills.FILLS if id != "nothing"), "network")
WORDS = {  # a fill that is not here is described by its label
    "mean": "one colour in all holes: the mean of the picture",
    "ring": "one colour in each hole: the mean of the pixels around it",
    "box": "soft: the mean of what is near, from the rim inwards",
    "harmonic": "smooth: a surface stretched over the hole",
    "biharmonic": "smoother than harmonic: the surface also continues the slopes around the hole",
    "telea": "quick: continues the colours at the rim; for scratches and text",
    "navier-stokes": "quick: continues lines of equal brightness; for scratches and text",
    "patch": "copies texture from other places of the picture",
    "frequency": "continues patterns and stripes",
    "network": "draws what it has seen in training: faces with the network of the kit, your pictures with --run",
}
WEIGHTS = "weights.safetensors"
SHIPPED = "context_encoder"  # whose weights repair where no run is named
DILATE = 100  # pixels by which a hole may grow
MARGIN = 32  # pixels around the holes of a crop, and around a tile
CELL = 256  # side of a tile; holes up to this long are filled together when their centres lie in the same cell
BATCH = 32  # windows that a network gets at once
SOFT = 2  # a network's patch is enlarged by more than this: it will look soft
PATCHES = 1_500_000  # source patches of a crop for which the patch-based fill takes 3 GB


def method(name: str, run: str | Path | None = None) -> Filler:
    """The filler of a name of `METHODS`; for "network" see `trained_network`."""
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, and {name!r} is not.")
    if run is not None and name != "network":
        raise ValueError(f"run goes with method network, and method is {name!r}: leave run out.")
    return trained_network(run or SHIPPED) if name == "network" else fills.FILLS[name]()


def methods() -> str:
    """A line for each of `METHODS`: what it draws, and from how many missing pixels on it is slow."""
    lines = []
    for id in METHODS:
        filler = fills.FILLS.get(id, lambda: None)()
        words = WORDS.get(id) or getattr(filler, "label", id)
        slow = getattr(filler, "slow_from", math.inf)
        lines.append(f"{id:14} {words}" + (f"; slow from {slow:,} missing pixels on" if slow < math.inf else ""))
    return "\n".join(lines)


def trained_network(run: str | Path) -> Filler:
    """The network of a finished run of any work that can repair photographs: of its folder, or of its weights file.

    The id of a work stands for the weights that come with the kit. Raises FileNotFoundError or ValueError with one
    sentence if there is none.
    """
    run = Path(run)
    path = run / WEIGHTS if run.is_dir() else run
    if not path.exists() and str(run) in papers.PAPERS:
        path = shipped.file(str(run))
    if not path.is_file():
        begun = "its training is not finished" if (run / "checkpoint.pt").exists() else "it is no finished run"
        why = f"holds no {WEIGHTS} ({begun})" if run.exists() else "does not exist"
        raise FileNotFoundError(f"run {run} {why}: name the folder of a finished run.")
    paper, filler = trained_filler(path)
    if problem := _unfit(filler):
        able = ", ".join(paper.id for paper in papers.PAPERS.values() if not _unfit(_untrained(paper)))
        raise ValueError(f"run {run} is one of {paper.id}, which {problem}: photographs are repaired by {able}.")
    return filler


def _unfit(filler: Filler) -> str | None:
    """None if a network can repair photographs (by windows, or because it takes any size), or why not."""
    a_pixel = torch.zeros(1, 1, 40, 56, dtype=torch.bool)
    a_pixel[..., 20, 30] = True
    return None if hasattr(filler, "size") else filler.accepts((1, 3, 40, 56), a_pixel)


def _untrained(paper) -> Filler:
    cfg = paper.Parameters()
    with torch.device("meta"):
        return paper.filler(paper.build(cfg), cfg)


def repair_file(
    photo_path: str | Path,
    mask_path: str | Path,
    out_path: str | Path,
    filler: Filler,
    progress: bool = True,
    *,
    dilate: int = 0,
    invert: bool = False,
    made: str = "",
) -> dict:
    """Repairs a photograph where the mask's picture is white; the file written is lossless and keeps size, colour
    profile and transparency. Returns how many "holes", which "share" of the picture, and "seconds", files included.

    Args:
        dilate: pixels by which the hole grows, 0 to 100: against the halo of an object that was painted over tightly.
        invert: repair what is black in the mask.
        made: see `photos.save`.

    Raises ValueError or OSError with one sentence: files that cannot be used, or would be lost.
    """
    started = time.perf_counter()
    _check_dilate(dilate)
    photo = photos.open_photo(photo_path)
    photos.check_target(out_path, photo, photo_path, mask_path)
    mask = photos.open_mask(mask_path, photo, invert)
    if dilate:
        mask |= _distance(~mask) <= dilate
    if mask.all():
        raise ValueError(f"dilate {dilate} leaves no known pixel of {Path(photo_path).name}: choose a smaller one.")
    photos.save(out_path, repair(photo.pixels, mask, filler, progress), photo, made)
    holes = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    return {"holes": holes, "share": float(mask.mean()), "seconds": time.perf_counter() - started}


def _check_dilate(dilate: int) -> None:
    if not 0 <= dilate <= DILATE:
        raise ValueError(f"dilate must be between 0 and {DILATE} pixels, and {dilate} is not.")


# --- a folder ---------------------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What became of a picture of a folder: "repaired", "kept" or "failed", and what its reader should know."""

    name: str
    what: str
    words: str = ""


def repair_folder(
    folder: str | Path,
    masks: str | Path,
    out: str | Path,
    filler: Filler,
    progress: bool = True,
    *,
    dilate: int = 0,
    invert: bool = False,
) -> list[Outcome]:
    """Repairs every picture of a folder, as `repair_file` does, to a PNG file of its name in the folder ``out``.

    ``masks`` is one mask for all, or a folder with a mask of the same name (but for the suffix) for each. A picture
    that fails stops no other. Each file that is written holds a hash of its photograph, its mask and the method: if
    that is the same, the file is kept. A file that this function has not written is never replaced.

    Raises ValueError or OSError with one sentence where no picture can be repaired.
    """
    folder, masks, out = Path(folder), Path(masks), Path(out)
    _check_dilate(dilate)
    if not masks.exists():
        raise FileNotFoundError(f"{masks} does not exist: name a mask, or a folder of masks.")
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is no folder: name one for the repaired pictures.")
    if out.exists() and (out.samefile(folder) or out.samefile(masks)):
        raise ValueError(f"{out} holds what is to be repaired: name another folder for the repaired pictures.")
    found = photos.pictures(folder)
    if not found:
        raise ValueError(f"{folder} holds no picture: name the folder of the photographs.")
    stems = Counter(path.stem for path in found)
    net = getattr(filler, "net", None)
    weights = runtime.fingerprint(*net.state_dict().values()) if net is not None else ""
    how = f"{filler.id} {weights} dilate {dilate} invert {invert}".encode()
    outcomes = []
    for path in tqdm(found, desc=filler.label, unit="picture", disable=not progress):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                if stems[path.stem] > 1:
                    raise ValueError(f"another picture is called {path.stem}, too: rename one of them.")
                mask, target = _mask_of(path, masks), out / f"{path.stem}.png"
                made = hashlib.sha256(how + path.read_bytes() + mask.read_bytes()).hexdigest()
                done = target.exists() and photos.made_from(target)
                if done is None:
                    raise ValueError(f"{target} is there and was not made by this command: move it away.")
                if done != made:
                    repair_file(path, mask, target, filler, False, dilate=dilate, invert=invert, made=made)
            except (ValueError, OSError, RuntimeError) as error:
                outcomes.append(Outcome(path.name, "failed", str(error)))
            else:
                words = " ".join(str(one.message) for one in said)
                outcomes.append(Outcome(path.name, "kept" if done == made else "repaired", words))
    return outcomes


def _mask_of(photo: Path, masks: Path) -> Path:
    if not masks.is_dir():
        return masks
    mine = [path for path in photos.pictures(masks) if path.stem == photo.stem]
    if len(mine) != 1:
        number = "no mask" if not mine else f"{len(mine)} masks"
        raise ValueError(f"{masks} holds {number} called {photo.stem}: there must be one for each photograph.")
    return mine[0]


# --- arrays -----------------------------------------------------------------------------------------------------------


def repair(photo: np.ndarray, mask: np.ndarray, filler: Filler, progress: bool = True) -> np.ndarray:
    """A copy of ``photo``, uint8 (H, W, 1 or 3) or (H, W), with the hole filled where ``mask``, bool (H, W), is True.

    A filler with a ``size`` is a network that takes pictures of that side: it fills the square of ``filler.side`` in
    their middle, or any hole if ``side`` is None. A filler with a ``net`` alone is a network that takes any size. Both
    get RGB. Raises ValueError or TypeError with one sentence; warns of a fill that will take long, of a patch that will
    look soft, and of a hole whose middle a network cannot see.
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
    network = hasattr(filler, "size") or hasattr(filler, "net")
    if network and pixels.shape[2] == 1:
        rgb = repair(pixels.repeat(3, 2), mask, filler, progress)
        pixels[mask] = rgb[mask].mean(1, keepdims=True).round()
    elif hasattr(filler, "size"):
        _fill_windows(pixels, mask, *_holes(mask), filler, progress)
    else:
        _fill_crops(pixels, mask, *(_tiles(mask, filler) if network else _holes(mask)), filler, progress)
    return result


def _holes(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the hole of each pixel, from 1 on, 0 where it is known; the boxes (top, left, bottom, right)."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    left, top, width, height = stats[1:, :4].T
    return labels, np.stack([top, left, top + height, left + width], 1)


def _thickest(distance: np.ndarray) -> tuple[int, int]:
    """Row and column of the pixel that is farthest from what is known."""
    row, column = np.unravel_index(distance.argmax(), distance.shape)
    return int(row), int(column)


def _distance(mask: np.ndarray) -> np.ndarray:
    """How far each pixel of the hole is from a known one."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _together(boxes: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups holes with the same cell side whose centres lie in the same cell: a million holes are no million crops.

    Returns the group of each hole, the box (top, left, bottom, right) around each group, its cell side.
    """
    y, x = (boxes[:, :2] + boxes[:, 2:]).T // 2 // cells
    holes = pd.DataFrame(boxes, columns=["top", "left", "bottom", "right"]).assign(cell=cells, y=y, x=x)
    groups = holes.groupby(["cell", "y", "x"])
    unions = groups.agg({"top": "min", "left": "min", "bottom": "max", "right": "max"})
    return groups.ngroup().to_numpy(), unions.to_numpy(), unions.index.get_level_values("cell").to_numpy()


def _numbered(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The group of every pixel, -1 outside the holes: (H, W)."""
    return np.concatenate([[-1], groups]).astype(np.int32)[labels]


def _bytes(values: np.ndarray) -> np.ndarray:
    return (255 * values).round().clip(0, 255).astype(np.uint8)


# --- classic fills: crops at full resolution --------------------------------------------------------------------------


def _fill_crops(pixels, mask, labels, boxes, filler, progress) -> None:
    missing, limit = int(mask.sum()), getattr(filler, "slow_from", np.inf)
    if missing > limit:
        text = (
            f"{filler.label} takes more than 10 s from about {limit:,} missing pixels on, and {missing:,} are missing"
        )
        warnings.warn(f"{text}: be patient, or choose telea.", stacklevel=3)
    lengths = (boxes[:, 2:] - boxes[:, :2]).max(1)
    cells = CELL * 2 ** np.ceil(np.log2(np.maximum(lengths / CELL, 1))).astype(int)
    groups, unions, _ = _together(boxes, cells)
    number = _numbered(labels, groups)
    for group, box in enumerate(tqdm(unions, desc=filler.label, unit="crop", disable=not progress)):
        crop, masked, hole = _crop(pixels, mask, box, filler)
        own = number[crop] == group
        pixels[crop][own] = _bytes(filler(masked, hole)[0].movedim(0, -1).numpy()[own])


def _crop(pixels, mask, box, filler):
    """Where the crop is, what is known there, and its holes, all of them: (1, C, h, w) and (1, 1, h, w)."""
    margin, problem = MARGIN, "?"
    while problem:  # the patch-based fill wants whole patches around the hole, a network's tile may be all hole
        (top, left), (bottom, right) = np.maximum(box[:2] - margin, 0), np.minimum(box[2:] + margin, mask.shape)
        crop = slice(top, bottom), slice(left, right)
        hole = torch.from_numpy(mask[crop])[None, None]
        problem = filler.accepts((1, pixels.shape[2], *hole.shape[2:]), hole)
        problem = "needs something known beside the hole" if hole.all() else problem
        if isinstance(filler, fills.Exemplar) and hole.numel() > PATCHES:
            problem = f"takes {PATCHES:,} pixels at once, and this hole spreads over {hole.numel():,}"
        if problem and (margin > max(mask.shape) or hole.numel() > PATCHES):
            raise ValueError(f"{filler.label} {problem}: choose another method.")
        margin *= 2
    known = torch.from_numpy(np.where(mask[crop][..., None], np.uint8(0), pixels[crop]))
    return crop, known.movedim(-1, 0)[None].float().div_(255), hole


def _tiles(mask: np.ndarray, filler: Filler) -> tuple[np.ndarray, np.ndarray]:
    """As `_holes`, with the part of the hole in each tile of the photograph in place of each separate hole."""
    distance = _distance(mask)
    if 2 * distance.max() > MARGIN:
        (row, column), across = _thickest(distance), round(2 * distance.max())
        text = (
            f"the hole at row {row}, column {column} is about {across} pixels thick, and {filler.label} was made for "
        )
        warnings.warn(f"{text}lost pixels with known ones beside them: choose a classic fill.", stacklevel=3)
    rows, columns = (np.arange(length) // CELL for length in mask.shape)
    across = columns[-1] + 1
    tiles, number = np.unique((rows[:, None] * across + columns)[mask], return_inverse=True)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = number + 1
    first = np.stack([tiles // across, tiles % across], 1) * CELL
    return labels, np.hstack([first, np.minimum(first + CELL, mask.shape)])


# --- networks: windows of one size ------------------------------------------------------------------------------------


class Window(NamedTuple):
    """What a network sees at once: its middle, at (top, left), is ``scale`` times the network's own."""

    group: int  # the number of the pixels that it fills
    scale: int
    top: int
    left: int


@torch.no_grad()
def _fill_windows(pixels, mask, labels, boxes, filler, progress) -> None:
    size, side = filler.size, filler.side or filler.size // 2
    number, windows = _windows(mask, labels, boxes, side)
    before = size // 2 - side // 2  # pixels of a window before its middle
    middle = slice(before, before + side)
    missing = int(mask.sum())
    index = np.zeros(mask.shape, np.int32)  # of each missing pixel in the two sums
    index[mask] = np.arange(missing)
    total, weights = np.zeros((missing, 3), np.float32), np.zeros((missing, 1), np.float32)
    starts = range(0, len(windows), BATCH)
    for first in tqdm(starts, desc=filler.label, unit=f"x{BATCH} windows", disable=not progress):
        batch = windows[first : first + BATCH]
        shrunk = [_shrunk(pixels, mask, top - before * f, left - before * f, size, f) for _, f, top, left in batch]
        masked = torch.from_numpy(np.stack([picture for picture, _ in shrunk])).movedim(-1, 1)
        hole = torch.from_numpy(np.stack([hole for _, hole in shrunk]))[:, None]
        if filler.side is not None:
            hole = masking.square(len(batch), size, side, "centre")
        if problem := filler.accepts(tuple(masked.shape), hole):
            raise ValueError(f"{filler.label} {problem}: choose another method.")
        preds = masking.composite(masked, filler(masked, hole), hole)[..., middle, middle].movedim(1, -1).numpy()
        for (group, f, top, left), pred in zip(batch, preds, strict=True):
            here = slice(max(top, 0), top + side * f), slice(max(left, 0), left + side * f)
            own = number[here] == group
            y, x = np.nonzero(own)
            y, x = y + max(-top, 0), x + max(-left, 0)  # the photograph begins at 0, its windows may not
            ramp = np.sin(np.pi * (np.arange(side * f) + 0.5) / (side * f)) ** 2
            weight = (ramp[y] * ramp[x]).astype(np.float32)[:, None]
            total[index[here][own]] += weight * _enlarged(pred, f)[y, x]
            weights[index[here][own]] += weight
    pixels[mask] = _bytes(total / weights)


def _scales(mask, labels, boxes, side) -> np.ndarray:
    """How many times a window is shrunk for each hole, so that the hole's thickest place fits into its middle."""
    # Twice the largest distance to a known pixel is the side of a solid square. At the photograph's border, with known
    # pixels on one side only, a hole counts twice, and so it does in a window, which is continued by reflection.
    distance = _distance(mask)
    reach = np.zeros(len(boxes) + 1)
    np.maximum.at(reach, labels[mask], distance[mask])
    scales = np.maximum(np.ceil((2 * reach[1:] - 1) / side), 1).astype(int)
    if scales.max() > SOFT:
        row, column = _thickest(distance)
        top, left, bottom, right = boxes[labels[row, column] - 1]
        across, drawn = min(round(2 * distance.max()), bottom - top, right - left), side * scales.max()
        text = f"the hole at row {row}, column {column} is about {across} pixels thick, and the network draws only "
        text += f"{side}x{side} pixels for each {drawn}x{drawn} there, so its patch will look soft: choose a classic "
        warnings.warn(f"{text}fill, or a network trained for larger pictures.", stacklevel=6)
    return scales


def _windows(mask, labels, boxes, side) -> tuple[np.ndarray, list[Window]]:
    """The number of every pixel, and the windows that fill it with their middles, ``side * scale`` wide.

    Where one is not enough, middles overlap by half.
    """
    scales = _scales(mask, labels, boxes, side)
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
        for y, x in itertools.product(_starts(top, bottom, cell), _starts(left, right, cell)):
            if (number[max(y, 0) : max(y + cell, 0), max(x, 0) : max(x + cell, 0)] == group).any():
                windows.append(Window(int(group), int(cell // side), int(y), int(x)))
    return number, windows


def _starts(first: int, last: int, cell: int) -> range:
    """Where the middles begin that cover ``first`` to ``last``, as far beyond the one as beyond the other."""
    further = max(math.ceil((last - first - cell) / (cell // 2)), 0)
    start = first - (cell + further * (cell // 2) - (last - first)) // 2
    return range(start, start + further * (cell // 2) + 1, cell // 2)


def _mirror(first: int, count: int, length: int) -> np.ndarray:
    """Indices first, first + 1, ... with those outside 0 ... length - 1 reflected back into it."""
    index = np.arange(first, first + count) % max(2 * length - 2, 1)
    return np.minimum(index, 2 * length - 2 - index)


def _shrunk(pixels, mask, top, left, size, f) -> tuple[np.ndarray, np.ndarray]:
    """A window ``f`` times smaller: picture (size, size, C) with the mean in its holes, and holes (size, size)."""
    window = np.ix_(_mirror(top, size * f, mask.shape[0]), _mirror(left, size * f, mask.shape[1]))
    known = ~mask[window]
    light, share = (  # means over blocks of f x f pixels, with nothing in the hole
        cv2.resize(blocks.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
        for blocks in (pixels[window] * known[..., None], known)
    )
    # Where no block is known completely, among lone known pixels, blocks that are known in part are the best there is.
    hole = share < 1 - 0.5 / f**2
    hole = share == 0 if hole.all() else hole
    average = light / np.where(share == 0, 1, share)[..., None]
    return np.where(hole[..., None], light.sum((0, 1)) / share.sum(), average) / np.float32(255), hole


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
