"""The fills that need no training, from do nothing to patch-based: what every network must beat.

Each is a `contracts.Filler`: ``pred = fill(masked, mask)``, float32 (B, C, H, W) in [0, 1]. All but `Nothing` change
only the hole, except where a docstring says so. The library ones work image by image on the CPU; OpenCV's work on 8
bits, which costs up to 1/510 per value.
"""

from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu
from skimage.restoration import inpaint_biharmonic
from torch.nn import functional as F

from inpaintkit import masking, runtime
from inpaintkit.contracts import Filler


class Nothing(Filler):
    """The masked image as it is: the score that doing nothing gets."""

    id, label = "nothing", "do nothing"

    def __call__(self, masked, mask):
        return masked


class MeanFill(Filler):
    """The mean of all known pixels of the image, per channel."""

    id, label = "mean", "mean of known pixels"

    def __call__(self, masked, mask):
        return masking.apply(masked, mask, "mean")


class _PerImage(Filler):
    """A fill that works on one (H, W, C) NumPy image and one (H, W) mask at a time, several images at once."""

    slow_from = float("inf")  # missing pixels of one picture from which on it takes more than 10 s (one core, 2026)

    def accepts(self, shape, mask):
        if mask.shape[1] != 1:
            return "needs one mask for all channels"
        return None

    def __call__(self, masked, mask):
        images, masks = masked.permute(0, 2, 3, 1).cpu().numpy(), mask[:, 0].cpu().numpy()
        # most of the work is done by libraries that let other threads run
        with ThreadPoolExecutor(1 if self.uses_all_cores else runtime.cores()) as pool:
            filled = np.stack(list(pool.map(self.fill, images, masks)))
        pred = torch.from_numpy(filled).to(masked.dtype).permute(0, 3, 1, 2).to(masked.device)
        return torch.where(mask, pred, masked)

    @abstractmethod
    def fill(self, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """The filled image, (H, W, C) in [0, 1]."""


class RingMean(_PerImage):
    """The mean of the ring of known pixels, ``width`` wide, around each separate hole.

    What the Ariel report calls "the mean value of their surroundings" (section 1).
    """

    id = "ring"

    def __init__(self, width: int = 2):
        self.width, self.label = width, f"mean of a {width}-pixel ring"

    def fill(self, image, hole):
        filled = image.copy()
        labels, _ = ndimage.label(hole, np.ones((3, 3)))
        for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            window = (
                slice(max(rows.start - self.width, 0), rows.stop + self.width),
                slice(max(columns.start - self.width, 0), columns.stop + self.width),
            )
            this = labels[window] == label
            ring = ndimage.binary_dilation(this, np.ones((3, 3)), self.width) & ~hole[window]
            filled[window][this] = image[window][ring].mean(0)
        return filled


class Box(Filler):
    """Normalised box: the mean of the known pixels in the ``width`` x ``width`` window, from the rim inwards.

    Pixels without a known pixel in reach wait for the next round, when their neighbours have been filled.
    """

    id, slow_from = "box", 400_000

    def __init__(self, width: int = 5):
        self.width, self.label = width, f"normalised {width}x{width} box"

    def __call__(self, masked, mask):
        known = (~mask).expand_as(masked).to(masked.dtype)
        pred = masked * known
        while not known.all():
            total = F.avg_pool2d(pred, self.width, 1, self.width // 2)
            weight = F.avg_pool2d(known, self.width, 1, self.width // 2)
            new = (known == 0) & (weight > 0.5 / self.width**2)  # at least one known pixel in the window
            if not new.any():
                raise ValueError("an image without a single known pixel cannot be filled from them.")
            pred = torch.where(new, total / weight, pred)
            known = known.masked_fill(new, 1.0)
        return pred


class Harmonic(_PerImage):
    """The surface of the Laplace equation: each missing pixel is the mean of its four neighbours.

    At the image border the missing neighbours are left out of the mean. Solved exactly, as one sparse linear system.
    """

    id, label, slow_from = "harmonic", "harmonic", 900_000

    def fill(self, image, hole):
        index = np.full(hole.shape, -1)
        index[hole] = np.arange(hole.sum())
        rows, columns = np.nonzero(hole)
        degree, knowns = np.zeros(len(rows)), np.zeros((len(rows), image.shape[2]))
        entries = []
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            y, x = rows + dy, columns + dx
            inside = (y >= 0) & (y < hole.shape[0]) & (x >= 0) & (x < hole.shape[1])
            degree += inside
            here, y, x = np.nonzero(inside)[0], y[inside], x[inside]
            known = ~hole[y, x]
            np.add.at(knowns, here[known], image[y[known], x[known]])
            entries.append((here[~known], index[y[~known], x[~known]]))
        i, j = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        laplace = sparse.diags(degree) - sparse.coo_matrix((np.ones(len(i)), (i, j)), (len(rows), len(rows)))
        filled = image.copy()
        filled[hole] = splu(laplace.tocsc()).solve(knowns)
        return filled


class Biharmonic(_PerImage):
    """The surface with the smoothest slopes (biharmonic equation), scikit-image's: Damelin and Hoang 2018."""

    id, label, slow_from = "biharmonic", "biharmonic", 300_000

    def fill(self, image, hole):
        return inpaint_biharmonic(image, hole, channel_axis=2)


class OpenCV(_PerImage):
    """``cv2.inpaint`` with a radius of 3 pixels: "telea" (Telea 2004) or "navier-stokes" (Bertalmio et al. 2001).

    Both look at some hidden pixels when the hole touches the image's border: they find the mean of the known ones
    there.
    """

    def __init__(self, method: str):
        self.id = method
        self.flag = {"telea": cv2.INPAINT_TELEA, "navier-stokes": cv2.INPAINT_NS}[method]
        self.label = {"telea": "Telea", "navier-stokes": "Navier-Stokes"}[method]

    def fill(self, image, hole):
        start = np.where(hole[..., None], image[~hole].mean(0), image)
        filled = cv2.inpaint(_to_uint8(start), _to_uint8(hole), 3, self.flag)
        return filled.reshape(image.shape) / np.float32(255)


class Exemplar(_PerImage):
    """Patch-based: the rim of the hole is completed, patch by patch, with the best-matching patch of the known image.

    After Criminisi, Perez and Toyama 2004, "Region Filling and Object Removal by Exemplar-Based Image Inpainting",
    with their confidence term and without their data term. (OpenCV's contrib modules have a patch-based method too,
    shift map, but in version 5.0 it copies pixels of the hole itself when images are as small as ours.)
    """

    id, slow_from, uses_all_cores = "patch", 10_000, True  # its matrix products use them

    def __init__(self, width: int = 7):
        self.width, self.label = width, f"patch-based, {width}x{width}"

    def accepts(self, shape, mask):
        if super().accepts(shape, mask):
            return super().accepts(shape, mask)
        whole = -F.max_pool2d(-(~mask).float(), self.width, 1)  # 1 where a patch is known completely
        if not whole.any(-1).any(-1).all():
            return f"needs a {self.width}x{self.width} patch without a hole in every image"
        return None

    def fill(self, image, hole):
        radius = self.width // 2
        windows = np.lib.stride_tricks.sliding_window_view
        whole = ~windows(hole, (self.width, self.width)).any((2, 3))
        sources = windows(image, (self.width, self.width), (0, 1))[whole].transpose(0, 2, 3, 1)  # (N, w, w, C)
        flat = sources.reshape(len(sources), -1)
        squared = flat**2
        # A border of unknown pixels, so that every pixel is the centre of a patch.
        filled = np.pad(np.where(hole[..., None], 0, image), ((radius, radius), (radius, radius), (0, 0)))
        missing = np.pad(hole, radius)
        confidence = np.pad((~hole).astype(np.float64), radius)
        while missing.any():
            inside = windows(confidence, (self.width, self.width)).mean((2, 3))
            rim = missing & ndimage.binary_dilation(~np.pad(missing, 1, constant_values=True))[1:-1, 1:-1]
            y, x = np.unravel_index(np.where(rim[radius:-radius, radius:-radius], inside, -1).argmax(), inside.shape)
            patch = (slice(y, y + self.width), slice(x, x + self.width))
            known = confidence[patch] > 0
            weights = np.repeat(known.reshape(-1), image.shape[2]).astype(flat.dtype)
            target = filled[patch].reshape(-1) * weights
            distance = squared @ weights - 2 * (flat @ target)  # + |target|^2, the same for all
            best = sources[distance.argmin()]
            filled[patch][missing[patch]] = best[missing[patch]]
            confidence[patch][missing[patch]] = inside[y, x]
            missing[patch] = False
        return filled[radius:-radius, radius:-radius]


class FrequencySelective(_PerImage):
    """Extrapolates frequencies selectively (Genser et al. 2018): ``cv2.xphoto.inpaint`` with OpenCV's fast setting."""

    id, label, slow_from = "frequency", "frequency-selective", 150_000

    def accepts(self, shape, mask):
        if not hasattr(cv2, "xphoto"):
            return "needs OpenCV's contrib modules: pip install opencv-contrib-python-headless"
        return super().accepts(shape, mask)

    def fill(self, image, hole):
        height, width = hole.shape  # OpenCV leaves what lies beyond the last whole block of 16 pixels black
        image = np.pad(image, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="symmetric")
        hole = np.pad(hole, ((0, -height % 16), (0, -width % 16)), mode="symmetric")
        source = _to_uint8(np.repeat(image, 3, 2) if image.shape[2] == 1 else image)
        filled = np.zeros_like(source)
        cv2.xphoto.inpaint(source, _to_uint8(~hole), filled, cv2.xphoto.INPAINT_FSR_FAST)  # here 0 marks the hole
        return filled[:height, :width, : image.shape[2]] / np.float32(255)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray((values * np.float32(255)).round().astype(np.uint8))


FILLS = {
    "nothing": Nothing,
    "mean": MeanFill,
    "ring": RingMean,
    "box": Box,
    "harmonic": Harmonic,
    "biharmonic": Biharmonic,
    "telea": lambda: OpenCV("telea"),
    "navier-stokes": lambda: OpenCV("navier-stokes"),
    "patch": Exemplar,
    "frequency": FrequencySelective,
}


def fills(*ids: str) -> list[Filler]:
    """The fills of these ids, or all, in the order in which tables show them. Raises ValueError for an unknown id."""
    unknown = [one for one in ids if one not in FILLS]
    if unknown:
        raise ValueError(f"there is no fill {unknown[0]!r}; there are {', '.join(FILLS)}.")
    return [FILLS[one]() for one in (ids or FILLS)]


def label(id: str) -> str:
    """The words for people of a fill's id."""
    return FILLS[id]().label
