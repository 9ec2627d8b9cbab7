"""The user's own photographs: read as the camera meant them, written without loss."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from inpaintkit import runtime
from inpaintkit.data.reading import read

MADE = "inpaintkit"  # the name under which a PNG file says how it was made
LOSSLESS = {
    ".png": ("PNG", {"compress_level": 1}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".bmp": ("BMP", {}),
    ".webp": ("WEBP", {"lossless": True, "exact": True, "method": 0, "quality": 20}),  # quality: effort here
}

BLACK, WHITE = 64, 191  # a painted mask has few values between these, at the edges of its strokes
BETWEEN = 0.05  # with so many of them, as a share of all pixels, it is a photograph
MOST = 0.9  # with more hole than this, as a share of all pixels, black and white were exchanged


@dataclass(frozen=True)
class Photo:
    """A photograph as its camera says it is to be seen: uint8 (H, W) or (H, W, 3), with what has to be kept."""

    pixels: np.ndarray
    alpha: np.ndarray | None
    icc_profile: bytes | None


def open_photo(path: str | Path) -> Photo:
    """Reads a photograph, turned by its EXIF orientation. Raises ValueError or OSError with one sentence."""
    try:
        picture = _read(path, "photograph", exact=True)
    except ValueError as error:
        raise ValueError(f"{Path(path).name} cannot be repaired: {error}.") from error
    pixels, icc_profile = np.array(picture), picture.info.get("icc_profile")
    has_alpha = picture.mode in ("LA", "RGBA")
    return Photo(*((pixels[..., :-1], pixels[..., -1]) if has_alpha else (pixels, None)), icc_profile)


def open_mask(path: str | Path, photo: Photo, invert: bool = False) -> np.ndarray:
    """A hole painted by hand for a photograph: True where it is white, or black with ``invert``. bool (H, W).

    What is transparent was not painted, so it is known. Raises ValueError with one sentence for a file that is no mask:
    another size, no hole, nearly nothing but hole, or a photograph, from which the hole may have been erased; OSError
    for one that cannot be read.
    """
    name = Path(path).name
    try:
        painted = _read(path, "mask")
    except ValueError as error:
        raise ValueError(f"{name} cannot be used as a mask: {error}.") from error
    return painted_hole(painted, name, photo.pixels.shape[:2], invert)


def painted_hole(painted: Image.Image, name: str, size: tuple[int, int], invert: bool = False) -> np.ndarray:
    """As `open_mask`, for a picture that has been read and a photograph of ``size`` (H, W)."""
    height, width = size
    colour, other = ("black", "white") if invert else ("white", "black")
    painted = painted.convert("RGBA")
    if painted.size != (width, height):
        on_its_side = painted.size == (height, width)
        raise ValueError(
            f"{name} is {painted.width} wide and {painted.height} high, the photograph {width} wide and {height} high: "
            + ("turn the mask as the photograph is seen." if on_its_side else "save the mask in its size.")
        )
    shade = np.asarray(Image.alpha_composite(Image.new("RGBA", painted.size, other), painted).convert("L"))
    between = ((shade > BLACK) & (shade < WHITE)).mean()
    if between > BETWEEN:
        erased = ", and its hole was erased, not painted" if (np.asarray(painted)[..., 3] < 128).any() else ""
        why = f"{100 * between:.0f} % of {name} is neither black nor white{erased}"
        raise ValueError(f"{why}, so it is no mask: paint the hole {colour} on {other}.")
    missing = (shade >= 128) != invert
    if missing.all() or not missing.any():
        seen, part = (colour, "nothing but") if missing.all() else (other, "no")
        raise ValueError(f"{name} is all {seen}, so there is {part} hole: paint the hole {colour} on {other}.")
    if missing.mean() > MOST:
        remedy = "leave --invert out" if invert else "invert it, or add --invert"
        why = f"{100 * missing.mean():.0f} % of {name} is {colour}, and {colour} is what gets repaired"
        raise ValueError(f"{why}: {remedy}.")
    return missing


def _read(path: str | Path, what: str, exact: bool = False) -> Image.Image:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist or is no file: name the {what}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `read` refuses such a picture anyway
        return read(path, exact=exact)


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


def save(path: str | Path, pixels: np.ndarray, photo: Photo, made: str = "") -> None:
    """Writes ``pixels``, uint8 as ``photo.pixels``, with the photograph's transparency and colour profile.

    A PNG file keeps ``made``, for `made_from`.
    """
    kind, options = LOSSLESS[Path(path).suffix.lower()]
    if made and kind == "PNG":
        options = options | {"pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_text(MADE, made)
    pixels = pixels if photo.alpha is None else np.dstack([pixels, photo.alpha])
    with runtime.atomic_write(path) as part:  # the temporary name does not tell Pillow the format
        Image.fromarray(pixels).save(part, format=kind, icc_profile=photo.icc_profile, **options)


def made_from(path: str | Path) -> str | None:
    """What `save` was told of how a PNG file was made; None for a file of somebody else."""
    try:
        with Image.open(path) as picture:
            return picture.info.get(MADE)
    except OSError:
        return None


def pictures(folder: str | Path) -> list[Path]:
    """The files of a folder that are called as pictures are, hidden ones left out, by name. Raises OSError."""
    kinds = Image.registered_extensions()
    paths = (path for path in sorted(Path(folder).iterdir()) if not path.name.startswith("."))
    return [path for path in paths if kinds.get(path.suffix.lower()) in Image.OPEN]
