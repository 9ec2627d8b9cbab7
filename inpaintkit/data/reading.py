"""One picture file -> pixels, by the same rules for photographs, masks and data sets."""

import errno
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps

FILTERS = ("bicubic", "bilinear", "nearest")
ASPECTS = ("squash", "crop")
EXACT = ("1", "L", "LA", "P", "RGB", "RGBA")  # colour modes that grey or RGB with 8 bits holds without loss


@dataclass(frozen=True)
class Decoding:
    """How files become pixels: see `open`. ``enlarge`` takes pictures that are smaller than ``size``, too."""

    size: int
    colour: bool = True
    resize: str = "bicubic"
    aspect: str = "squash"
    enlarge: bool = False

    def __post_init__(self):
        if self.size < 8:
            raise ValueError(f"size must be at least 8, and {self.size} is not.")
        for name, value, allowed in (("resize", self.resize, FILTERS), ("aspect", self.aspect, ASPECTS)):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, and {value!r} is not.")


def read(source: str | Path | IO[bytes], *, exact: bool = False, draft: int | None = None) -> Image.Image:
    """A picture, turned as its camera says, in the mode L, LA, RGB or RGBA.

    ``exact`` refuses colours that would change, such as CMYK, which become RGB else. ``draft`` lets JPEG decode at a
    fraction of its size that has so many pixels on a side.

    Raises ValueError with the reason for anything that is not a usable picture: not readable, several frames, more than
    8 bits per channel, more pixels than Pillow takes for safe. Raises OSError where the disk is at fault.
    """
    try:
        with Image.open(source) as picture:
            _check(picture, exact)
            if draft:
                picture.draft("RGB", (draft, draft))
            ImageOps.exif_transpose(picture, in_place=True)
            alpha = "transparency" in picture.info or picture.mode in ("LA", "PA", "La", "RGBA", "RGBa")
            grey = picture.mode in ("1", "L", "LA", "La")
            mode = ("LA" if grey else "RGBA") if alpha else "L" if grey else "RGB"
            picture.load()
            return picture if picture.mode == mode else picture.convert(mode)
    except Image.DecompressionBombError as error:
        raise ValueError(_too_many()) from error
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno not in _NOT_THERE:
            raise  # the disk, the network drive or the permissions: it may be there tomorrow
        raise ValueError(f"not a readable picture ({type(error).__name__}: {error})") from error


_NOT_THERE = (None, errno.ENOENT, errno.ELOOP)  # links to nowhere; None: Pillow's own errors
# What Pillow raises for broken files, depending on their kind (found by cutting and changing files of 16 kinds).
_BROKEN = (OSError, SyntaxError, TypeError, RuntimeError, IndexError, EOFError, struct.error)
_BITS = 258  # TIFF's tag BitsPerSample


def _too_many() -> str:
    return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels; shrink it first"


def _check(picture: Image.Image, exact: bool) -> None:
    frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)  # MPO: a camera's JPEG with extras
    if frames > 1:
        raise ValueError(f"{frames} frames or pages; save the one that you want as a file of its own")
    limit = Image.MAX_IMAGE_PIXELS  # None for those who have lifted it
    if limit and picture.width * picture.height > limit:  # Pillow itself only warns below twice as many
        raise ValueError(_too_many())
    if _deep(picture):
        raise ValueError("more than 8 bits per channel; convert it to 8 bits")
    if exact and picture.mode not in EXACT:
        raise ValueError(f"the colour mode {picture.mode}; save it as RGB or grey")


def _deep(picture: Image.Image) -> bool:
    """Has an opened picture more than 8 bits per channel? To be asked before its pixels are read.

    Pillow reads colour with 16 bits as if it had 8: only the arguments of its decoders, or a TIFF's header, tell.
    """
    if picture.mode.startswith(("I", "F")) or any(bits > 8 for bits in getattr(picture, "tag_v2", {}).get(_BITS, ())):
        return True
    return any(
        re.search(r";16[BLN]", str(arguments)) or (decoder.startswith("ppm") and arguments[1:] > (255,))
        for decoder, _, _, arguments in getattr(picture, "tile", ())
        if arguments != "1;I"  # a plain PBM
    )


def decode(source: str | Path | IO[bytes], size: int, **how) -> np.ndarray:
    """One picture (a path or an open file) as uint8 (3 or 1, size, size); ``how``: see `Decoding`.

    Transparent parts become white. Raises as `read`, and ValueError for a picture that is smaller (unless ``enlarge``).
    """
    return np.ascontiguousarray(to_square(source, Decoding(size, **how))[0])


def to_square(source: str | Path | IO[bytes], how: Decoding) -> tuple[np.ndarray, bool]:
    """The pixels, and whether the picture was enlarged. The other filters look at single pixels of the whole file."""
    picture = read(source, draft=2 * how.size if how.resize == "bicubic" else None)
    small = min(picture.size) < how.size
    if small and not how.enlarge:
        raise ValueError(f"{picture.width}x{picture.height} is smaller than size={how.size}")
    if picture.mode in ("LA", "RGBA"):
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    mode = "RGB" if how.colour else "L"
    picture = picture if picture.mode == mode else picture.convert(mode)
    if how.aspect == "crop":
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    square = (how.size, how.size)
    if how.resize == "bilinear":  # sampled at pixel centres, as TensorFlow does; Pillow's `resize` would average
        matrix = (picture.width / how.size, 0, 0, 0, picture.height / how.size, 0)
        picture = picture.transform(square, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    elif picture.size != square:
        picture = picture.resize(square, Image.Resampling[how.resize.upper()])
    pixels = np.asarray(picture).reshape(how.size, how.size, -1)
    return pixels.transpose(2, 0, 1), small
