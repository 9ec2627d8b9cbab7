"""The user's own photographs: read as the camera meant them, written without loss."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from inpaintkit import masking, runtime
from inpaintkit.data.decoding import deep

LOSSLESS = {
    ".png": ("PNG", {"compress_level": 1}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".bmp": ("BMP", {}),
    ".webp": ("WEBP", {"lossless": True, "exact": True, "method": 0, "quality": 20}),  # quality: effort here
}


@dataclass(frozen=True)
class Photo:
    """A photograph as its camera says it is to be seen: uint8 (H, W) or (H, W, 1 or 3), with what has to be kept."""

    pixels: np.ndarray
    alpha: np.ndarray | None
    icc_profile: bytes | None
    size_before_turning: tuple[int, int]  # width, height as stored


def open_photo(path: str | Path) -> Photo:
    """Reads a photograph, turned by its EXIF orientation. Raises ValueError or OSError with one sentence."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist or is no file: name the photograph.")
    try:
        with Image.open(path) as picture:
            size, mode = picture.size, picture.mode
            if getattr(picture, "is_animated", False) and picture.format != "MPO":  # MPO: a JPEG with previews
                raise ValueError(f"{path.name} holds several pictures: save one of them as a file of its own.")
            if deep(picture):
                raise ValueError(f"{path.name} has more than 8 bits per channel: save it with 8.")
            if mode not in ("L", "LA", "RGB", "RGBA", "P"):
                raise ValueError(f"{path.name} has the colour mode {mode}: save it as RGB or grey.")
            picture = ImageOps.exif_transpose(picture)
            if "transparency" in picture.info:  # one colour, or entries of the palette
                picture = picture.convert("LA" if mode == "L" else "RGBA")
            elif mode == "P":
                picture = picture.convert("RGB")
            pixels, icc_profile = np.array(picture), picture.info.get("icc_profile")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow raises SyntaxError for some files
        raise ValueError(f"{path.name} cannot be read as a picture ({error}).") from error
    has_alpha = picture.mode in ("LA", "RGBA")
    return Photo(*((pixels[..., :-1], pixels[..., -1]) if has_alpha else (pixels, None)), icc_profile, size)


def open_mask(path: str | Path, photo: Photo) -> np.ndarray:
    """The hole drawn for a photograph, bool (H, W): see `masking.from_picture`, whose errors it passes on."""
    path = Path(path)
    height, width = shape = photo.pixels.shape[:2]
    try:
        return masking.from_picture(path, shape)[0, 0].numpy()
    except ValueError:
        with contextlib.suppress(OSError, SyntaxError), Image.open(path) as mask:
            if mask.size == photo.size_before_turning != (width, height):
                raise ValueError(
                    f"{path.name} fits the photo only before it is turned as its EXIF orientation says: turn the mask "
                    f"too, to {width} wide and {height} high."
                ) from None
        raise


def check_target(path: str | Path, photo: Photo, *sources: str | Path) -> None:
    """Raises ValueError if ``photo`` cannot be written to ``path`` without loss, or would replace a source."""
    path = Path(path)
    if path.suffix.lower() not in LOSSLESS:
        raise ValueError(f"{path.name} must end in {', '.join(LOSSLESS)}: other formats change known pixels too.")
    for source in map(Path, sources):
        if source.exists() and path.exists() and source.samefile(path):
            raise ValueError(f"{path} would overwrite {source.name}: choose another name for the repaired picture.")
    if path.suffix.lower() == ".bmp" and (photo.alpha is not None or photo.icc_profile):
        raise ValueError(f"{path.name} could not hold the photo's transparency or colour profile: choose .png.")


def save(path: str | Path, pixels: np.ndarray, photo: Photo) -> None:
    """Writes ``pixels``, uint8 as ``photo.pixels``, with the photograph's transparency and colour profile."""
    kind, options = LOSSLESS[Path(path).suffix.lower()]
    pixels = pixels if photo.alpha is None else np.dstack([pixels, photo.alpha])
    with runtime.atomic_write(path) as part:  # the temporary name does not tell Pillow the format
        Image.fromarray(pixels).save(part, format=kind, icc_profile=photo.icc_profile, **options)
