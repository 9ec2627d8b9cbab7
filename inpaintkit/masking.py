"""Holes: every kind, drawn in batches; what to put in them; putting the known pixels back.

Masks are bool tensors ``(B, 1, H, W)`` (or ``(B, C, H, W)`` where channels lose different pixels), True = hole.
Images are float32 ``(B, C, H, W)`` in [0, 1]. Every random hole comes from a torch.Generator and is drawn on that
generator's device.
"""

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

KINDS = ("square", "squares", "pixels", "strokes", "text")
FILLS = ("black", "white", "grey", "mean", "noise")


# --- squares ----------------------------------------------------------------------------------------------------------


def side_of(ratio: float, size: int, ratio_of: str = "side") -> int:
    """Side in pixels of a square hole that takes ``ratio`` of an image's side, or of its area (ratio_of="area").

    The two are often mixed up: 20 % of the side of a 100x100 image is 20x20 = 4 % of its area; 20 % of its area is
    45x45.
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio must lie between 0 and 1, and {ratio} does not.")
    if ratio_of not in ("side", "area"):
        raise ValueError(f"ratio_of must be 'side' or 'area', and {ratio_of!r} is neither.")
    return max(1, round((ratio if ratio_of == "side" else math.sqrt(ratio)) * size))


def square(
    n: int,
    size: int | tuple[int, int],
    side: int,
    place: str | tuple[float, float] = "random",
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """One square hole in each of ``n`` images.

    ``size`` is the image's side, or (height, width); ``side`` the hole's, in pixels. ``place`` is "centre", "random"
    (every position equally likely) or the hole's centre as (row, column) fractions of the image: the Ariel authors'
    hole is at (68/128, 70/128). Returns (n, 1, H, W). Raises ValueError if no known pixel would be left or the hole
    sticks out.
    """
    height, width = _height_width(size)
    if not 1 <= side < min(height, width):
        raise ValueError(
            f"side must lie between 1 and {min(height, width) - 1} for a {height}x{width} image, and {side} does not."
        )
    device = generator.device if generator is not None else torch.device("cpu")
    if place == "random":
        if generator is None:
            raise ValueError('place="random" needs a generator: pass torch.Generator().manual_seed(seed).')
        top = torch.randint(0, height - side + 1, (n, 1), generator=generator, device=device)
        left = torch.randint(0, width - side + 1, (n, 1), generator=generator, device=device)
    else:
        row, column = (0.5, 0.5) if place == "centre" else _fractions(place)
        first_row, first_column = round(row * height) - side // 2, round(column * width) - side // 2
        if not (0 <= first_row <= height - side and 0 <= first_column <= width - side):
            raise ValueError(
                f"a {side}x{side} hole centred at {place} sticks out of a {height}x{width} image; make side smaller."
            )
        top = torch.full((n, 1), first_row, device=device)
        left = torch.full((n, 1), first_column, device=device)
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    in_rows = (y >= top) & (y < top + side)  # (n, H)
    in_columns = (x >= left) & (x < left + side)  # (n, W)
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def _fractions(place) -> tuple[float, float]:
    if isinstance(place, str) or len(place) != 2:
        raise ValueError(
            f"place must be 'centre', 'random' or a pair of fractions (row, column), and {place!r} is not."
        )
    return place


def squares(n: int, size: int | tuple[int, int], side: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """``count`` square holes in each image, each placed at random; they may overlap, so read `coverage`.

    Returns (n, 1, H, W).
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, and {count} is not.")
    return torch.stack([square(n, size, side, "random", generator) for _ in range(count)]).any(0)


# --- other kinds ------------------------------------------------------------------------------------------------------


def pixels(
    n: int, size: int | tuple[int, int], rate: float | torch.Tensor, generator: torch.Generator, channels: int = 1
) -> torch.Tensor:
    """Each pixel is missing with probability ``rate``, independently: (n, channels, H, W).

    ``rate`` is one number, or one for each image (n,). ``channels=1``: a pixel loses all its channels at once;
    ``channels=3``: each channel loses pixels of its own.
    """
    rates = torch.as_tensor(rate)
    if not (rates.min() > 0 and rates.max() < 1) or rates.numel() not in (1, n):
        raise ValueError(f"rate must lie between 0 and 1, one number for all or each of {n} images; {rate} does not.")
    if isinstance(rate, torch.Tensor):
        rate = rate.reshape(-1, 1, 1, 1)
    return torch.rand((n, channels, *_height_width(size)), generator=generator, device=generator.device) < rate


def strokes(
    n: int, size: int | tuple[int, int], generator: torch.Generator, count: int = 3, bends: int = 5, width: float = 0.06
) -> torch.Tensor:
    """Free-form holes: ``count`` brush strokes with ``bends`` turns each, ``width`` of the shorter side thick.

    A stroke is a random walk drawn with a round brush, after the idea of Yu et al. 2019, "Free-Form Image Inpainting
    with Gated Convolution", section 3.4; the lengths and angles are ours. Returns (n, 1, H, W).
    """
    height, image_width = _height_width(size)
    device, short = generator.device, min(height, image_width)
    radius = max(width * short / 2, 0.75)  # never so thin that a stroke passes between all pixels

    def uniform(*shape):
        return torch.rand(shape, generator=generator, device=device)

    start = uniform(n, count, 1, 2) * torch.tensor([height - 1, image_width - 1], device=device)
    turn = (uniform(n, count, bends, 1) - 0.5) * math.pi  # each bend turns by at most a quarter circle either way
    angle = uniform(n, count, 1, 1) * 2 * math.pi + turn.cumsum(2)
    step = (0.1 + 0.2 * uniform(n, count, bends, 1)) * short * torch.cat([angle.sin(), angle.cos()], 3)
    points = torch.cat([start, start + step.cumsum(2)], 2)  # (n, count, bends + 1, 2): row, column
    y = torch.arange(height, device=device).view(1, -1, 1)
    x = torch.arange(image_width, device=device).view(1, 1, -1)
    mask = torch.zeros((n, height, image_width), dtype=torch.bool, device=device)
    for a, b in zip(points[:, :, :-1].flatten(1, 2).unbind(1), points[:, :, 1:].flatten(1, 2).unbind(1), strict=True):
        (ay, ax), (dy, dx) = (a[:, :, None, None].unbind(1), (b - a)[:, :, None, None].unbind(1))
        along = (((y - ay) * dy + (x - ax) * dx) / (dy**2 + dx**2)).clamp(0, 1)  # nearest point of the segment
        distance2 = (y - ay - along * dy) ** 2 + (x - ax - along * dx) ** 2
        mask |= distance2 <= radius**2
    return mask[:, None]


def text(
    n: int,
    size: int | tuple[int, int],
    generator: torch.Generator,
    words: str = "text that covers a photograph",
    height: float = 0.15,
) -> torch.Tensor:
    """Overlaid text, as on a stamped preview: ``words`` repeated in lines, shifted at random in each image.

    ``height`` is the height of a line as a share of the image's. Returns (n, 1, H, W).
    """
    rows, columns = _height_width(size)
    line = max(6, round(height * rows))
    sheet = Image.new("1", (2 * columns, 2 * rows))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=0.85 * line)
    for i, y in enumerate(range(0, 2 * rows, line)):
        pen.text((-(3 * i * line) % columns - columns, y), f"{words} " * (1 + 6 * columns // line), fill=1, font=font)
    sheet = torch.from_numpy(np.array(sheet)).to(generator.device)
    top = torch.randint(0, rows, (n,), generator=generator, device=generator.device).tolist()
    left = torch.randint(0, columns, (n,), generator=generator, device=generator.device).tolist()
    return torch.stack([sheet[t : t + rows, c : c + columns] for t, c in zip(top, left, strict=True)])[:, None]


def draw(
    kind: str, n: int, size: int | tuple[int, int], generator: torch.Generator, amount: float = 0.25
) -> torch.Tensor:
    """Holes of a kind by name, ``amount`` of the image large, for explorers and sweeps. (n, 1, H, W).

    ``amount`` is the side of a square as a share of the image's (two smaller ones for "squares"), the rate of missing
    pixels, the number of strokes in tens, or the line height of the text.
    """
    short = min(_height_width(size))
    if not 0 < amount < 1:
        raise ValueError(f"amount must lie between 0 and 1, and {amount} does not.")
    if kind == "square":
        return square(n, size, side_of(amount, short), "random", generator)
    if kind == "squares":
        return squares(n, size, side_of(amount / 2, short), 2, generator)
    if kind == "pixels":
        return pixels(n, size, amount, generator)
    if kind == "strokes":
        return strokes(n, size, generator, count=max(1, round(10 * amount)))
    if kind == "text":
        return text(n, size, generator, height=amount)
    raise ValueError(f"kind must be one of {', '.join(KINDS)}, and {kind!r} is not.")


# --- using masks ------------------------------------------------------------------------------------------------------


def coverage(mask: torch.Tensor) -> torch.Tensor:
    """Share of missing values in each image, exact: (B,)."""
    return mask.double().mean((1, 2, 3))


def bounding_box(mask: torch.Tensor) -> torch.Tensor:
    """Smallest rectangle around each image's hole: (B, 4) as top, left, bottom, right; bottom and right exclusive."""
    rows, columns = mask.any(1).any(2).int(), mask.any(1).any(1).int()  # (B, H), (B, W)
    height, width = mask.shape[2:]
    return torch.stack(
        [rows.argmax(1), columns.argmax(1), height - rows.flip(1).argmax(1), width - columns.flip(1).argmax(1)], 1
    )


def apply(
    image: torch.Tensor, mask: torch.Tensor, fill: str = "black", generator: torch.Generator | None = None
) -> torch.Tensor:
    """The image with its hole filled by ``fill``: black 0, white 1, grey 0.5, the mean of the known pixels, or noise.

    The value matters to a network that is not told where the hole is. Returns (B, C, H, W).
    """
    if fill == "mean":
        known = (~mask).expand_as(image)
        filling = (image * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)
    elif fill == "noise":
        filling = torch.rand(image.shape, generator=generator, device=image.device)
    elif fill in ("black", "white", "grey"):
        filling = {"black": 0.0, "white": 1.0, "grey": 0.5}[fill]
    else:
        raise ValueError(f"fill must be one of {', '.join(FILLS)}, and {fill!r} is not.")
    return torch.where(mask, filling, image)


def composite(image: torch.Tensor, pred: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The prediction in the hole, the known pixels of ``image`` everywhere else, bit for bit. (B, C, H, W)."""
    return torch.where(mask, pred, image)


def check(image: torch.Tensor, mask: torch.Tensor) -> None:
    """Raises ValueError or TypeError with one sentence unless image and mask can be filled and scored together."""
    if image.dtype != torch.float32 or mask.dtype != torch.bool:
        raise TypeError(
            f"images must be float32 in [0, 1] and masks bool, and these are {image.dtype} and {mask.dtype}: "
            "divide uint8 images by 255, compare float masks with > 0.5."
        )
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        raise ValueError(f"images must have the shape (B, 1 or 3, H, W), and {tuple(image.shape)} has not.")
    wanted = (len(image), mask.shape[1] if mask.ndim == 4 else 1, *image.shape[2:])
    if tuple(mask.shape) != wanted or mask.shape[1] not in (1, image.shape[1]):
        raise ValueError(
            f"the mask's shape {tuple(mask.shape)} does not fit the image's {tuple(image.shape)}: "
            "draw it with the same size."
        )
    if not torch.isfinite(image).all():
        raise ValueError("the image holds NaN or infinity: clean it before masking.")
    if image.min() < 0 or image.max() > 1:
        raise ValueError(f"images must lie in [0, 1], and this one reaches {image.min():.3g}..{image.max():.3g}.")
    empty = ~mask.flatten(1).any(1)
    full = mask.flatten(2).all(2).any(1)  # one channel without a known pixel is enough
    if empty.any():
        raise ValueError(f"{int(empty.sum())} of {len(mask)} masks have no hole: there is nothing to fill or to score.")
    if full.any():
        raise ValueError(f"{int(full.sum())} of {len(mask)} masks are nothing but hole: no known pixel is left.")


def _height_width(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
