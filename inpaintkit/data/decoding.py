"""One file -> one small square of uint8, or the reason why not."""

import errno
import re
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

FILTERS = ("bicubic", "bilinear", "nearest")
ASPECTS = ("squash", "crop")


@dataclass(frozen=True)
class Decoding:
    """How files become pixels: part of the cache's key. ``enlarge`` takes pictures smaller than ``size``, too."""

    size: int
    colour: bool = True
    resize: str = "bicubic"
    aspect: str = "squash"
    enlarge: bool = False


class TooSmall(ValueError):
    """A picture smaller than the size asked for."""


def decode(
    path, size: int, colour: bool = True, resize: str = "bicubic", aspect: str = "squash", enlarge: bool = False
) -> np.ndarray:
    """One picture (a path or an open file) as uint8 (C, size, size), turned as its camera says; see `open` for
    ``resize`` and ``aspect``. Transparent parts become white.

    Raises ValueError with the reason for anything that is not a usable picture: not readable, animated, more than 8
    bits per channel, more pixels than Pillow takes for safe, or (without ``enlarge``) smaller than ``size``. Raises
    OSError where the disk or the permissions are at fault.
    """
    try:
        with Image.open(path) as picture:
            return _convert(picture, size, colour, resize, aspect, enlarge)
    except Image.DecompressionBombError as error:
        raise ValueError(_too_many()) from error
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno not in _NOT_THERE:
            raise  # the disk, the network drive or the permissions: it may be there tomorrow
        raise ValueError(f"not a readable picture ({type(error).__name__}: {error})") from error


_NOT_THERE = (None, errno.ENOENT, errno.ELOOP)  # links to nowhere; None: Pillow's own errors
# What Pillow raises for broken files, depending on their kind (found by cutting and changing files of 16 kinds).
_BROKEN = (OSError, SyntaxError, TypeError, RuntimeError, IndexError, EOFError, struct.error)


def deep(picture: Image.Image) -> bool:
    """Has an opened picture more than 8 bits per channel? To be asked before its pixels are read.

    Pillow reads colour with 16 bits as if it had 8: only the arguments of its decoders, or a TIFF's header, tell.
    """
    if picture.mode.startswith(("I", "F")) or any(bits > 8 for bits in getattr(picture, "tag_v2", {}).get(_BITS, ())):
        return True
    return any(
        re.search(r";16[BLN]", str(arguments)) or (decoder.startswith("ppm") and arguments[1:] > (255,))
        for decoder, _, _, arguments in picture.tile
        if arguments != "1;I"  # a plain PBM
    )


_BITS = 258  # TIFF's tag BitsPerSample


def _too_many() -> str:
    return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels; shrink it first"


def _convert(picture, size, colour, resize, aspect, enlarge) -> np.ndarray:
    frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)  # MPO: a camera's JPEG with extras
    if frames > 1:
        raise ValueError(f"{frames} frames or pages; save the one that you want as a file of its own")
    limit = Image.MAX_IMAGE_PIXELS  # None for those who have lifted it
    if limit and picture.width * picture.height > limit:  # Pillow itself only warns below twice as many
        raise ValueError(_too_many())
    if deep(picture):
        raise ValueError("more than 8 bits per channel; convert it to 8 bits")
    if resize == "bicubic":  # the other filters look at single pixels of the full picture
        picture.draft("RGB", (2 * size, 2 * size))  # lets JPEG decode at a fraction of a large size
    ImageOps.exif_transpose(picture, in_place=True)
    if min(picture.size) < size and not enlarge:
        raise TooSmall(f"{picture.width}x{picture.height} is smaller than size={size}")
    if "A" in picture.mode or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if picture.mode != ("RGB" if colour else "L"):
        picture = picture.convert("RGB" if colour else "L")
    if aspect == "crop":
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    if resize == "bilinear":  # sampled at pixel centres, as TensorFlow does; Pillow's `resize` would average
        matrix = (picture.width / size, 0, 0, 0, picture.height / size, 0)
        picture = picture.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    else:
        picture = picture.resize((size, size), Image.Resampling[resize.upper()])
    array = np.asarray(picture)
    return array[None].copy() if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))
