"""Explorers: play with a hole and see what the fills make of it. They run with ipywidgets 7 (Colab) and 8."""

import base64
import html
import io

import ipywidgets
import torch
from PIL import Image

from inpaintkit import data, evaluate, fills, masking, runtime, viz

SCORES = ("hole_mse", "hole_psnr", "image_psnr", "image_ssim", "image_ssim_global")
SHOWN = ("nothing", "ring", "harmonic", "biharmonic", "telea", "patch")


def compare_fills(image: torch.Tensor, mask: torch.Tensor) -> tuple[dict[str, torch.Tensor], viz.Table]:
    """What each fill makes of one image (1, C, H, W) and its hole: the pictures by name, and the table of scores."""
    fillers = fills.fills(*SHOWN)
    rows = evaluate.score(fillers, image, mask, SCORES)
    masked = masking.apply(image, mask)
    pictures = {"truth": image} | {
        fill.label: fill(masked, mask) for fill, row in zip(fillers, rows, strict=True) if not row.note
    }
    caption = f"hole: {masking.coverage(mask).item():.2%} of the image. Bold: best of the column."
    return pictures, viz.Table(evaluate.frame(rows, time=False), caption, best=True)


def explore(size: int = 128) -> ipywidgets.Widget:
    """Kind, size and place of the hole; the fills' pictures and scores follow. Your own photograph can be uploaded."""
    names = list(dict.fromkeys(row["photograph"] for row in data.regions()))
    photograph = ipywidgets.Dropdown(options=names, value="chelsea", description="photograph")
    upload = ipywidgets.FileUpload(accept="image/*", multiple=False, description="your own")
    kind = ipywidgets.Dropdown(options=masking.KINDS, value="square", description="hole")

    def slider(description, value, low=0.0, high=1.0):
        return ipywidgets.FloatSlider(
            value=value, min=low, max=high, step=0.05, description=description, continuous_update=False
        )

    amount, row, column = slider("size", 0.25, 0.05, 0.95), slider("row", 0.5), slider("column", 0.5)
    view = ipywidgets.HTML()

    def update(_=None):
        try:
            image = _own_photograph(upload.value, size)
            image = _window(photograph.value, size) if image is None else image
            mask = place_hole(kind.value, size, amount.value, row.value, column.value)
            pictures, table = compare_fills(image, mask)
            view.value = _tiles(pictures) + table._repr_html_()
        except ValueError as error:  # an unreadable upload, say: the explorer stays usable
            view.value = f"<b>{html.escape(str(error))}</b>"

    for control in (photograph, upload, kind, amount, row, column):
        control.observe(update, names="value")
    update()
    controls = [ipywidgets.HBox([photograph, upload]), ipywidgets.HBox([kind, amount]), ipywidgets.HBox([row, column])]
    return ipywidgets.VBox([*controls, view])


def place_hole(kind: str, size: int, amount: float, row: float, column: float) -> torch.Tensor:
    """A hole of a kind around (row, column), as shares of the image; kinds without a place use them as a seed."""
    if kind == "square":
        side = min(masking.side_of(amount, size), size - 1)
        first, last = side // 2, size - side + side // 2  # centres that leave the hole inside
        y, x = (min(max(round(place * size), first), last) for place in (row, column))
        return masking.square(1, size, side, (y / size, x / size))
    return masking.draw(kind, 1, size, runtime.generator(round(1000 * row + column * 20)), amount)


def _window(name: str, size: int) -> torch.Tensor:
    """The middle of a photograph at twice the scale: (1, 3, size, size)."""
    whole = data.photograph(name)
    side = min(2 * size, *whole.shape[1:])
    y, x = ((length - side) // 2 for length in whole.shape[1:])
    window = whole[None, :, y : y + side, x : x + side].float() / 255
    return torch.nn.functional.interpolate(window, size, mode="area")


def _own_photograph(value, size: int) -> torch.Tensor | None:
    files = list(value.values() if isinstance(value, dict) else value)  # ipywidgets 7 gives a dict, 8 a tuple
    if not files:
        return None
    return torch.from_numpy(data.decode(io.BytesIO(bytes(files[-1]["content"])), size))[None].float() / 255


def _tiles(pictures: dict[str, torch.Tensor]) -> str:
    tiles = []
    for name, picture in pictures.items():
        array = (picture[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        png = io.BytesIO()
        Image.fromarray(array).save(png, "PNG")
        source = base64.b64encode(png.getvalue()).decode()
        tiles.append(
            f'<figure style="display:inline-block;margin:4px;text-align:center">'
            f'<img width="140" style="image-rendering:pixelated" src="data:image/png;base64,{source}">'
            f"<figcaption>{html.escape(name)}</figcaption></figure>"
        )
    return "".join(tiles)
