"""A live panel for notebooks: a picture to paint a hole on, controls, and the pictures that answer.

`Panel` is an anywidget; panel.js and panel.css beside this file are its front, without a build step. It runs in
JupyterLab, Notebook, VS Code and Colab. Where nobody can play (a page, GitHub), its first answer is a picture.
"""

import base64
import io
import math
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import matplotlib.pyplot as plt
import numpy as np
import torch
import traitlets
from PIL import Image

from inpaintkit import viz
from inpaintkit.apps import photos
from inpaintkit.data.reading import read

TILE = 192  # pixels on the screen, about; small pictures are enlarged by a whole number


@dataclass(frozen=True)
class Tile:
    """One picture of an answer: its label, (C, H, W) in [0, 1] or the bytes of a PNG, and a note below it."""

    label: str
    picture: torch.Tensor | bytes
    note: str = ""
    best: bool = False  # framed


def choice(name: str, label: str, options: Iterable[str], value: str | None = None) -> dict[str, Any]:
    """A control: one of some texts."""
    options = list(options)
    return {"name": name, "label": label, "kind": "choice", "options": options, "value": value or options[0]}


def check(name: str, label: str, value: bool = False) -> dict[str, Any]:
    """A control: yes or no."""
    return {"name": name, "label": label, "kind": "check", "value": value}


def slider(name: str, label: str, value: float, low: float, high: float, step: float = 1, unit: str = "") -> dict:
    """A control: a number from ``low`` to ``high``; ``unit`` stands behind it."""
    numbers = {"value": value, "low": low, "high": high, "step": step, "unit": unit}
    return {"name": name, "label": label, "kind": "range"} | numbers


class Panel(anywidget.AnyWidget):
    """The base of the explorers in `inpaintkit.apps.play`; a subclass sets ``controls`` and writes `answer`.

    ``picture`` (1, C, H, W) and ``hole`` (1, 1, H, W) are what is painted on, and what is painted. A subclass that
    ``paints`` writes `choose`; one that ``opens`` photographs also writes `opened`. ``values`` are the controls'.
    """

    _esm = Path(__file__).with_name("panel.js")
    _css = Path(__file__).with_name("panel.css")
    controls = traitlets.List().tag(sync=True)
    extras = traitlets.List().tag(sync=True)  # labels of slow answers, computed on request
    paints, opens, saves = (traitlets.Bool(False).tag(sync=True) for _ in range(3))
    reply = traitlets.Dict().tag(sync=True)

    choosing: ClassVar[tuple[str, ...]] = ()  # controls that change the picture or the hole
    picture: torch.Tensor
    hole: torch.Tensor

    def __init__(self, controls: list[dict[str, Any]], **options):
        super().__init__(controls=controls, **options)
        self.values = {control["name"]: control["value"] for control in controls}
        self.on_msg(lambda _, content, buffers: self.heard(content, buffers))
        self._say("", self._begin)
        # an error here is one of the notebook's, not of somebody who plays: the cell must show it
        if self.reply["message"]:
            raise ValueError(self.reply["message"])

    # --- what subclasses write ---

    def choose(self, values: dict[str, Any], changed: tuple[str, ...]) -> None:
        """Sets ``picture`` and ``hole`` for controls of ``choosing`` that have changed."""

    def answer(self, values: dict[str, Any]) -> Iterator[Tile]:
        """The pictures for the present picture, hole and values."""
        raise NotImplementedError

    def extra(self, number: int, values: dict[str, Any]) -> Tile:
        """The answer of one slow method."""
        raise NotImplementedError

    def opened(self, pixels: np.ndarray, name: str) -> None:
        """Takes a photograph, uint8 (H, W, 3), as the new picture."""
        raise NotImplementedError

    def patch(self) -> dict[str, Any] | None:
        """For ``saves``: {"picture": PNG of a rectangle of the result, "top", "left"}."""
        return None

    # --- messages ---

    def heard(self, content: dict[str, Any], buffers: list) -> None:
        """Answers one message of the front. Whatever goes wrong becomes one sentence in the panel."""
        data = bytes(buffers[0]) if buffers else b""
        self._say(content["serial"], lambda: self._handle(content, data))

    def _say(self, serial: str, handle) -> None:
        reply = {"serial": serial, "message": "", "tiles": [], "values": {}, "picture": b"", "hole": b"", "patch": None}
        try:
            reply |= handle()
        except (ValueError, OSError) as error:
            reply["message"] = str(error)
        except Exception as error:
            self.log.exception("inpaintkit: a panel's answer failed")
            reply["message"] = f"{type(error).__name__}: {error}. Change something, or run the cell again."
        self.reply = reply

    def _begin(self) -> dict:
        self.choose(self.values, self.choosing)
        return self._shown() | self._answered()

    def _handle(self, content: dict[str, Any], data: bytes) -> dict:
        before, self.values = self.values, self.values | content["values"]
        event = content["event"]
        if event == "extra":
            number = content["extra"]
            return {"tiles": [_packed(self.extra(number, self.values))], "extra": number}
        if event == "photo":
            self.opened(np.array(_read(data, content["name"]).convert("RGB")), content["name"])
            return self._shown() | self._answered() | {"values": self.values}
        if event == "mask":
            painted = _read(data, content["name"])
            size = tuple(self.picture.shape[-2:])
            self.hole = torch.from_numpy(photos.painted_hole(painted, content["name"], size))[None, None]
            return self._shown() | self._answered()
        if self.paints:
            self.hole = torch.from_numpy(np.array(Image.open(io.BytesIO(data)).convert("L")) > 127)[None, None]
        changed = tuple(name for name in self.choosing if self.values[name] != before[name])
        if changed:
            self.choose(self.values, changed)
        return (self._shown() if changed else {}) | self._answered()

    def _shown(self) -> dict:
        return {"picture": png(self.picture[0]), "hole": png(self.hole[0].float())} if self.paints else {}

    def _answered(self) -> dict:
        if self.paints and not self.hole.any():
            return {"message": "Nothing is hidden: paint a hole on the picture."}
        if self.paints and self.hole.all():
            return {"message": "Everything is hidden, so nothing is known: erase a part."}
        return {"tiles": [_packed(tile) for tile in self.answer(self.values)], "patch": self.patch()}

    # --- where nobody can play ---

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        names = [control["label"] for control in self.controls] + ["a brush"] * self.paints
        words = f"A live panel ({', '.join(names)}): run this cell in Jupyter or Colab to play."
        content, form = self.still()
        data |= {"text/plain": words, f"image/{form}": base64.b64encode(content).decode()}
        return data, metadata | {f"image/{form}": {"alt": words}}

    def still(self) -> tuple[bytes, str]:
        """The first answer as one picture: its bytes, and "png" or "jpeg"."""
        tiles = [{"picture": self.hidden(), "label": "hole", "note": ""}] if self.paints else []
        tiles += self.reply["tiles"]
        pictures = [Image.open(io.BytesIO(tile["picture"])).convert("RGB") for tile in tiles]
        shapes = [picture.width / picture.height for picture in pictures]
        gap, wide, words = 0.1, 10, 0.6  # inches: between pictures, of the figure, and of the words above a picture
        high = min(3.6 if len(shapes) == 1 else 2.6, wide / sum(shapes) - gap)  # all in one row, or else in some rows
        full = wide
        if high < 1.7:
            high = 2.2
            whole = sum(high * shape + gap for shape in shapes)
            full = whole / math.ceil(whole / wide)
        rows: list[list] = [[]]
        for tile, picture, shape in zip(tiles, pictures, shapes, strict=True):
            width = high * shape
            if rows[-1] and sum(one[2] + gap for one in rows[-1]) + width / 2 > full:
                rows.append([])
            rows[-1].append((tile, picture, width))
        total = max(sum(one[2] + gap for one in row) for row in rows), len(rows) * (high + words)
        figure = plt.figure(figsize=total, dpi=80)
        for i, row in enumerate(rows):
            left, bottom = 0.0, total[1] - (i + 1) * (high + words)
            for tile, picture, width in row:
                place = figure.add_axes((left / total[0], bottom / total[1], width / total[0], high / total[1]))
                small = picture.width < 80 * width  # its pixels are seen; larger ones are made smaller
                place.imshow(picture, interpolation="nearest" if small else "antialiased", aspect="auto")
                place.set(xticks=[], yticks=[])
                place.spines[:].set_color("#cccccc")
                lines = [textwrap.fill(tile[part], max(12, int(11 * width))) for part in ("label", "note")]
                place.set_title("\n".join(filter(None, lines)), fontsize=9, pad=3)
                left += width + gap
        return viz.encode(figure, "pictures", 1.25)

    def hidden(self) -> bytes:
        """The picture with its hole in yellow, as the panel shows it: a PNG."""
        yellow = torch.tensor([1.0, 0.83, 0.0]).view(1, 3, 1, 1)
        return png(torch.where(self.hole, yellow, self.picture.expand(-1, 3, -1, -1))[0])


def png(picture: torch.Tensor) -> bytes:
    """A picture (C, H, W) in [0, 1], of one or three channels, as the bytes of a PNG."""
    array = (picture.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(buffer, "PNG")
    return buffer.getvalue()


def plot(figure) -> bytes:
    """A figure of matplotlib as the bytes of a PNG; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=2 * viz.DPI, bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


def _read(data: bytes, name: str) -> Image.Image:
    try:
        return read(io.BytesIO(data))
    except ValueError as error:
        raise ValueError(f"{name} is no picture that can be read: choose a JPEG or PNG.") from error


def _packed(tile: Tile) -> dict[str, Any]:
    picture = tile.picture if isinstance(tile.picture, bytes) else png(tile.picture)
    width, height = Image.open(io.BytesIO(picture)).size
    pixels = width <= TILE
    shown = TILE if pixels else min(width, 2 * TILE, 2 * TILE * width // height)
    shown = width * round(TILE / width) if width < TILE / 2 else shown
    words = {"label": tile.label, "note": tile.note, "best": bool(tile.best)}
    return words | {"picture": picture, "width": shown, "pixels": pixels}
