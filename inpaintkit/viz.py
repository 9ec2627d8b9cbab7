"""Pictures, curves and tables, all of one style; and the source of the package, shown where it is taught."""

import html
import inspect
import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import torch
from IPython import get_ipython
from IPython.display import Image, Markdown, display

from inpaintkit import runtime

DPI = 80  # with JPEG for photographs, keeps a notebook with ten figures below 400 KB


def grid(rows: dict[str, torch.Tensor], titles: list[str] | None = None, save: str | Path | None = None):
    """Pictures in a grid, one row per entry: {label: images (B, C, H, W) in [0, 1] or bool}, all of one size.

    Shown pixel for pixel; those below 60 pixels are enlarged. ``titles`` stand above the columns; ``save`` also writes
    the figure to a file.
    """
    shown = []
    for images in rows.values():
        array = images.detach().float().cpu().clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
        shown.append(np.pad(array, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1.0))
    n, height, width = shown[0].shape[:3]
    zoom = 80 / height if height < 60 else 1
    figure = plt.figure(figsize=(zoom * n * width / DPI, zoom * len(rows) * height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))  # the pictures fill the figure; labels stand outside
    axes.imshow(np.concatenate([np.concatenate(list(row), 1) for row in shown]), interpolation="antialiased")
    axes.set_yticks([(i + 0.5) * height for i in range(len(rows))], rows.keys())
    axes.set_xticks([(i + 0.5) * width for i in range(n)] if titles else [], titles or [])
    axes.tick_params(length=0, labelsize=9, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    _show(figure, "jpeg", save)


def lines(
    series: dict[str, tuple],
    xlabel: str,
    ylabel: str,
    levels: dict[str, float] | None = None,
    log: str = "",
    save: str | Path | None = None,
):
    """Curves: {label: (x, y)} or, with a band of ± spread, {label: (x, y, spread)}; horizontal dashed ``levels``
    {label: y} to compare with; ``log`` "x", "y" or "xy".
    """
    figure, axes = plt.subplots(figsize=(6, 3), dpi=DPI)
    for label, (x, y, *spread) in series.items():
        axes.plot(x, y, label=label, marker="o" if len(x) < 20 else None, markersize=3)
        if spread:
            low, high = ([a + sign * b for a, b in zip(y, spread[0], strict=True)] for sign in (-1, 1))
            axes.fill_between(x, low, high, alpha=0.25, linewidth=0)
    for i, (label, y) in enumerate((levels or {}).items()):
        axes.axhline(y, linestyle="--", linewidth=1, color=f"C{len(series) + i}", label=label)
    scales = {f"{axis}scale": "log" if axis in log else "linear" for axis in "xy"}
    axes.set(xlabel=xlabel, ylabel=ylabel, **scales)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    _show(figure, "png", save)


def bars(groups: dict[str, dict[str, float]], ylabel: str, save: str | Path | None = None):
    """Bars side by side: {group: {label: value}}, the same labels in every group."""
    figure, axes = plt.subplots(figsize=(6, 3), dpi=DPI)
    labels = list(next(iter(groups.values())))
    width = 0.8 / len(labels)
    for i, label in enumerate(labels):
        x = np.arange(len(groups)) + (i - (len(labels) - 1) / 2) * width
        axes.bar(x, [group[label] for group in groups.values()], width, label=label)
    axes.set_xticks(range(len(groups)), groups.keys())
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3, axis="y")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    _show(figure, "png", save)


def _show(figure, kind: str, save: str | Path | None) -> None:
    """Shows a figure, photographs as JPEG and curves as PNG with few colours (small files), and writes it if asked."""
    drawn, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight", dpi=DPI)
    plt.close(figure)
    picture = PIL.Image.open(drawn).convert("RGB")
    if kind == "jpeg":
        picture.save(buffer, "JPEG", quality=55, optimize=True)
    else:
        picture.quantize(128, method=PIL.Image.Quantize.MAXCOVERAGE, dither=PIL.Image.Dither.NONE).save(
            buffer, "PNG", optimize=True
        )
    if save is None or get_ipython() is not None:  # in a terminal a saved figure is enough
        display(Image(buffer.getvalue(), format=kind))
    if save is not None:
        Path(save).parent.mkdir(parents=True, exist_ok=True)
        Path(save).write_bytes(buffer.getvalue())


class Table:
    """Lines of {column: value} as a table, in a notebook (HTML) and in a terminal. Missing values are a dash.

    ``best`` names the columns whose best value stands in bold, with min or max. A line's "note" becomes a footnote.
    """

    def __init__(self, lines: list[dict], caption: str = "", best: dict | None = None, digits: int = 4):
        self.lines, self.caption, self.digits = lines, caption, digits
        self.columns = list(dict.fromkeys(name for line in lines for name in line if name != "note"))
        self.notes = list(dict.fromkeys(line["note"] for line in lines if line.get("note")))
        self.best = {}
        for column, choose in (best or {}).items():
            values = [line[column] for line in lines if line.get(column) is not None]
            if values:
                self.best[column] = choose(values)

    def _cell(self, line: dict, column: str) -> str:
        value = line.get(column)
        if value is None:
            mark = f" ({self.notes.index(line['note']) + 1})" if line.get("note") else ""
            return "–" + mark
        if isinstance(value, float):
            coarse = "PSNR" in column or column.startswith("ms ") or abs(value) >= 10
            digits = 2 if "%" in column else 1 if coarse else self.digits
            return f"{value:.{digits}f}" if abs(value) < 1e5 else f"{value:.2g}"
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

    def _repr_html_(self) -> str:
        words = {name for name in self.columns if any(isinstance(line.get(name), str) for line in self.lines)}
        style = ["left" if name in words else "right" for name in self.columns]

        def row(tag, cells):
            inside = "".join(f'<{tag} style="text-align:{s}">{c}</{tag}>' for s, c in zip(style, cells, strict=True))
            return f"<tr>{inside}</tr>"

        body = []
        for line in self.lines:
            cells = []
            for column in self.columns:
                cell = html.escape(self._cell(line, column))
                winner = column in self.best and line.get(column) == self.best[column]
                cells.append(f"<b>{cell}</b>" if winner else cell)
            body.append(row("td", cells))
        notes = "".join(f"<br><small>({i}) {html.escape(note)}</small>" for i, note in enumerate(self.notes, 1))
        head = row("th", [html.escape(column) for column in self.columns])
        table = f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"
        return f"{table}<small>{html.escape(self.caption)}</small>{notes}"

    def __repr__(self) -> str:
        cells = [self.columns] + [[self._cell(line, column) for column in self.columns] for line in self.lines]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        text = [
            "  ".join(f"{c:<{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in cells
        ]
        return "\n".join([*text, self.caption, *(f"({i}) {note}" for i, note in enumerate(self.notes, 1))]).rstrip()


def recorded(name: str) -> Image | Markdown:
    """The picture of a recorded run (results/NAME.jpg), to be shown before anything is trained."""
    path = runtime.results_dir() / f"{name}.jpg"
    return Image(filename=str(path)) if path.exists() else Markdown(f"*{name}: no picture recorded yet*")


def show_source(thing) -> Markdown:
    """The shipped source of a function or class, so that what is read is what runs."""
    return Markdown(f"```python\n{inspect.getsource(thing).rstrip()}\n```")
