"""Pictures, curves and tables, all of one style; and the source of the package, shown where it is taught."""

import contextlib
import html
import inspect
import io
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import torch
from IPython import get_ipython
from IPython.display import Code, Image, Markdown, display
from IPython.utils.capture import capture_output
from matplotlib import font_manager
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from pandas.io.formats.style import Styler
from scipy.spatial import cKDTree

from inpaintkit import evaluate, masking, metrics, runtime

DPI, WIDEST = 80, 820  # figures are laid out on a page of so many pixels, 80 to an inch
ZOOM = {"chart": 1.2, "pictures": 1.5}  # and shown larger
FRAME = "#ffd400"  # of a hole: seen on faces as on photographs
COLOURS = {  # one for each method, in every figure; the networks share theirs, darker with shipped weights
    "do nothing": "#c7c7c7",
    "mean of known pixels": "#bcbd22",
    "mean of a 2-pixel ring": "#a6a6a6",
    "normalised 5x5 box": "#8c564b",
    "harmonic": "#1f77b4",
    "biharmonic": "#2ca02c",
    "Telea": "#4a148c",
    "Navier-Stokes": "#17becf",
    "patch-based, 7x7": "#e377c2",
    "frequency-selective": "#ff7f0e",
    "PCA of the known pixels": "#e6ab02",
    "truth": "black",
    "training": "#9e9e9e",
    "Flowers-102": "#c51b8a",
    "Oxford-IIIT Pet": "#fdae61",
    "Caltech-101": "#2b3990",
    "faces": "#d62728",
    "unseen photographs": "#636363",
    "KL term": "#756bb1",
    "prior": "#7f7f7f",
    "posterior": "#d62728",
}
COLOURS |= {"content": "#444444", "fooling D": "#e7298a", "D": "#01665e"}  # losses
COLOURS |= {"one window": "#08306b", "11x11 Gaussian": "#c51b7d", "7x7 uniform": "#01665e"}  # of SSIM
COLOURS |= dict.fromkeys(("test", "hole MSE, test"), "#d62728")
COLOURS |= {"fixed": "#d62728", "ours, shipped weights, all levels": "#7b1113"}  # readings of SSRGAN
for _name in ("autoencoder", "VAE", "context encoder", "SSRGAN"):
    COLOURS |= {_name: "#d62728", f"{_name}, shipped weights": "#7b1113"}


def grid(
    rows: dict[str, torch.Tensor],
    titles: list[str] | None = None,
    save: str | Path | None = None,
    holes: torch.Tensor | dict[str, torch.Tensor] | None = None,
    notes: dict[str, Iterable[str]] | None = None,
):
    """Pictures in a grid, one row per entry: {label: images (B, C, H, W) in [0, 1] or bool}, all of one size.

    Small pictures are enlarged, every pixel as a square. ``titles`` stand above the columns; ``holes`` (B, 1, H, W),
    bool, are framed in every row, or {label: holes} in its row; ``notes`` {label: a text per picture} stand in the
    pictures' corners; ``save`` also writes the figure to a file. Without rows there is no figure.
    """
    if not rows:
        return
    figure, zoom = _sheet(rows, titles, holes, notes)
    told = f"Rows of pictures, from the top: {'; '.join(rows)}" if any(rows) else "A row of pictures"
    _show(figure, told + (f"; columns: {', '.join(titles)}" if titles else ""), save, "pictures", zoom)


def _sheet(rows, titles, holes, notes):
    """The figure of `grid`, and how much it is enlarged on the page."""
    shown = []
    for images in rows.values():
        array = images.detach().float().cpu().clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
        shown.append(np.pad(array, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=0.8))
    n, height, width = shown[0].shape[:3]
    zoom = max(1, min(2, WIDEST // (n * width)))  # a whole number, so that all pixels are equally large
    figure = plt.figure(figsize=(zoom * n * width / DPI, zoom * len(rows) * height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))  # the pictures fill the figure; labels stand outside
    axes.imshow(np.concatenate([np.concatenate(list(row), 1) for row in shown]), interpolation="nearest")
    if holes is not None:
        for i, label in enumerate(rows):
            of_row = holes[label] if isinstance(holes, dict) else holes
            edges = _edges(np.pad(of_row[:, 0].cpu().numpy(), ((0, 0), (1, 1), (1, 1))))
            axes.add_collection(LineCollection(edges + np.array([0, i * height]), colors=FRAME, linewidths=0.9))
    for i, label in enumerate(rows):
        for j, words in enumerate((notes or {}).get(label, ())):
            box = {"facecolor": "black", "alpha": 0.55, "linewidth": 0, "pad": 1}
            place = (j * width + 2, (i + 1) * height - 2)
            axes.text(*place, *_plain([words]), color="white", fontsize=8.5, ha="left", va="bottom", bbox=box)
    axes.set_yticks([(i + 0.5) * height for i in range(len(rows))], _plain(rows))
    letters = max(8, int(zoom * width / 7))  # that fit above a picture
    above = [textwrap.fill(title, letters) for title in _plain(titles or [])]
    axes.set_xticks([(i + 0.5) * width for i in range(n)] if titles else [], above)
    axes.tick_params(length=0, labelsize=10, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    return figure, ZOOM["pictures"] if zoom > 1 else 1


def compare(
    filled: dict[str, torch.Tensor],
    truth: torch.Tensor,
    mask: torch.Tensor,
    side: int | None = None,
    score: Callable = metrics.mse,
    digits: int = 4,
    labels: Iterable[str] | None = None,
    save: str | Path | None = None,
    frames: bool = True,
):
    """What methods make of the same pictures: a row per picture, a column per method, and the truth.

    Args:
        filled: {label: pictures (B, C, H, W)}.
        truth, mask: (B, C, H, W) and (B, 1, H, W).
        side: show the side x side pixels around each hole only.
        score: ``score(pictures, truth, mask)`` returns a number per picture, which is written on it.
        labels: of the rows.
        save: also write the figure to this file.
        frames: around the holes.
    """
    side = side or max(truth.shape[-2:])
    shown = [around(pictures, mask, side) for pictures in (*filled.values(), truth)]
    near, scores = around(mask, mask, side), [score(pictures, truth, mask) for pictures in filled.values()]
    rows, holes, notes = {}, {}, {}
    for i, label in enumerate(labels or [f"picture {i}" for i in range(len(truth))]):
        rows[label] = torch.stack([pictures[i] for pictures in shown])
        holes[label] = near[i].expand(len(shown), -1, -1, -1)
        notes[label] = [f"{float(values[i]):.{digits}f}" for values in scores]
    grid(rows, [*filled, "truth"], save, holes if frames else None, notes)


def around(pictures: torch.Tensor, mask: torch.Tensor, side: int) -> torch.Tensor:
    """The side x side pixels around the hole of each picture (B, C, H, W); at the border the window moves inwards."""
    size = torch.tensor(pictures.shape[-2:])
    side_of = size.clamp(max=side)
    top, left, bottom, right = masking.bounding_box(mask).T.cpu()
    corners = (torch.stack([top + bottom, left + right], 1) - side_of) // 2
    corners = corners.clamp(min=0).minimum(size - side_of).tolist()
    height, width = side_of.tolist()
    return torch.stack([x[:, y : y + height, c : c + width] for x, (y, c) in zip(pictures, corners, strict=True)])


def equation(*terms: str | tuple[str, torch.Tensor]):
    """An equation of pictures: signs, and pairs of a label and one picture (C, H, W) or (1, C, H, W).

    Whole numbers (H, W) are written into their pixels; those that stand together in the first term share a colour.
    """
    pictures = [term for term in terms if not isinstance(term, str)]
    widths = [0.35 if isinstance(term, str) else 1 for term in terms]
    unit = WIDEST / DPI / max(sum(widths), 4)
    figure, row = plt.subplots(
        1, len(terms), figsize=(unit * sum(widths), 1.2 * unit), dpi=DPI, width_ratios=widths, layout="tight"
    )
    for axes, term in zip(row, terms, strict=True):
        if isinstance(term, str):
            axes.axis("off")
            axes.text(0.5, 0.5, term, ha="center", va="center", fontsize=20, transform=axes.transAxes)
            continue
        axes.set(xticks=[], yticks=[])
        axes.set_title(term[0], fontsize=10)
        if not (term[1].is_floating_point() or term[1].dtype == torch.bool):
            axes.imshow((term[1] // pictures[0][1].numel()).numpy(), cmap="Pastel1", vmin=0, vmax=8)
            for (y, x), number in np.ndenumerate(term[1].numpy()):
                axes.text(x, y, number, ha="center", va="center", fontsize=10)
            continue
        picture = term[1].detach().float().cpu().clamp(0, 1)
        array = picture.reshape(-1, *picture.shape[-2:]).expand(3, -1, -1).permute(1, 2, 0).numpy()
        axes.imshow(array, interpolation="nearest")
    words = " ".join(term if isinstance(term, str) else term[0] for term in terms)
    _show(figure, f"{len(pictures)} pictures as an equation: {words}", kind="pictures")


def trace(layers: dict[str, Callable], x: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """What a chain of layers makes of a batch ``x``, as shapes without the batch: {"input": ..., label: ...}.

    A layer that returns a tuple of tensors of one shape gives (how many, *shape), as if they were stacked.
    """
    shapes = {"input": tuple(x.shape[1:])}
    for label, layer in layers.items():
        x = layer(x)
        shapes[label] = (len(x), *x[0].shape[1:]) if isinstance(x, tuple) else tuple(x.shape[1:])
    return shapes


def diagram(
    shapes: dict[str, tuple[int, ...]],
    weights: dict[str, str] | None = None,
    highlight: Iterable[str] = (),
    skip: tuple[str, str] | None = None,
    side: int | None = None,
):
    """A network as boxes, one per tensor: {label: (C, H, W), (numbers,) or (how many, numbers)}, as `trace` returns.

    A box is as high as its picture; its width grows with its channels, ten times as many for one step. Vectors are
    narrow bars of one height.
    ``weights`` {label: how many} stand below the layers that have them; ``highlight`` colours the bottleneck, say; a
    ``skip`` connection goes over the boxes from one label to another, to which it is added. Diagrams with one ``side``,
    that of the largest picture, have the same scale.
    """
    longest = max(len("x".join(map(str, size))) for size in shapes.values())
    each = max(70, 9 * longest)  # pixels, so that letters of one size do not touch
    figure, axes = plt.subplots(figsize=(each * max(6, len(shapes)) / DPI, 3), dpi=DPI)
    top = 8.0  # of the highest picture
    scale = top / (side or max(size[1] for size in shapes.values() if len(size) == 3))
    x, behind, letters = 0.0, {}, 8.5
    for label, size in shapes.items():
        width, height = (0.12 + 0.33 * np.log10(size[0]), size[1] * scale) if len(size) == 3 else (0.12, top / 3)
        stacked, colour = size[0] if len(size) == 2 else 1, "#f4a582" if label in highlight else "#92c5de"
        for i in range(stacked):  # one bar above the other
            bottom = (i - stacked / 2) * (height + 0.5) + 0.25
            axes.add_patch(plt.Rectangle((x, bottom), width, height, facecolor=colour, edgecolor="#333333"))
        middle, words = x + width / 2, "x".join(map(str, size))
        behind[label] = x + width + 0.37  # the middle of its arrow
        axes.text(middle, top / 2 + 0.5, textwrap.fill(label, 10), ha="center", va="bottom", fontsize=letters)
        axes.text(middle, -top / 2 - 0.5, words, ha="center", va="top", fontsize=letters)
        if weights and label in weights:
            axes.text(middle, -top / 2 - 2, weights[label], ha="center", va="top", fontsize=letters, color="#b2182b")
        x += width + 0.75
        axes.annotate("", (x - 0.1, 0), (x - 0.65, 0), arrowprops={"arrowstyle": "->", "color": "#333333"})
    axes.texts[-1].remove()  # no arrow after the last box
    if skip:  # from behind the one box to behind the other, above the words
        start, end = (behind[label] for label in skip)
        over = top / 2 + 0.8 + 1.1 * max(textwrap.fill(label, 10).count("\n") + 1 for label in shapes)
        axes.plot([start, start, end], [0, over, over], color="#b2182b")
        axes.annotate("", (end, 0), (end, over), arrowprops={"arrowstyle": "->", "color": "#b2182b"})
        axes.text((start + end) / 2, over + 0.2, "added (skip)", ha="center", va="bottom", fontsize=9, color="#b2182b")
    vectors = "; thin bar: a vector" if any(len(size) < 3 for size in shapes.values()) else ""
    words = f"height: side of the picture; width: channels, on a logarithmic scale{vectors}"
    lowest = -top / 2 - (3.4 if weights else 2.2)
    axes.text(-0.4, lowest, words, va="top", fontsize=9, color="#666666")
    axes.set(xlim=(-0.5, x - 0.3), ylim=(lowest - 1.2, top / 2 + (4 if skip else 2)))
    axes.axis("off")
    words = ", ".join(f"{label} {shape}" for label, shape in shapes.items())
    _show(figure, f"A network as boxes: {words}", zoom=1.4)


def flow(
    boxes: dict[str, tuple[float, float]],
    arrows: dict[tuple[str, str], str],
    back: dict[tuple[str, str], str] | None = None,
    highlight: Iterable[str] = (),
):
    """Boxes with words, {label: (column, row)}, and arrows between them, {(from, to): words}; ``back`` are dashed and
    bent, for gradients, say; ``highlight`` colours some boxes.
    """
    columns, rows = zip(*boxes.values(), strict=True)
    top, bottom = min(rows) - (1.5 if back else 0.6), max(rows) + 0.6
    figure = plt.figure(figsize=(WIDEST / DPI, 0.8 * (bottom - top)), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(min(columns) - 0.5, max(columns) + 0.5), ylim=(bottom, top))
    axes.axis("off")
    drawn = {}
    for label, place in boxes.items():
        box = {"boxstyle": "round,pad=0.5", "edgecolor": "#333333"}
        box["facecolor"] = "#f4a582" if label in highlight else "#d1e5f0"
        drawn[label] = axes.text(*place, label, ha="center", va="center", fontsize=10, bbox=box, zorder=3)
    figure.canvas.draw()  # the boxes get their sizes
    for kind, colour, bent in ((arrows, "#333333", 0.0), (back or {}, "#b2182b", 0.4)):
        for (a, b), words in kind.items():
            bend = -bent if boxes[a][1] > boxes[b][1] else bent  # away from what is between
            style = {"arrowstyle": "->", "color": colour, "connectionstyle": f"arc3,rad={bend}"}
            style |= {"patchA": drawn[a].get_bbox_patch(), "patchB": drawn[b].get_bbox_patch()}
            style |= {"linestyle": "--"} if bend else {}
            axes.annotate("", boxes[b], boxes[a], arrowprops=style)
            (x0, y0), (x1, y1) = axes.transData.transform([boxes[a], boxes[b]])
            middle = (
                (x0 + x1) / 2 + bend * (y1 - y0) / 2,
                (y0 + y1) / 2 - bend * (x1 - x0) / 2 + (4 if bend >= 0 else -14),
            )
            place = axes.transData.inverted().transform(middle)  # a tight figure has other pixels, and the same data
            axes.text(*place, words, ha="center", va="bottom" if bend >= 0 else "top", fontsize=9, color=colour)
    told = [f"{a} to {b} {words}".strip() for kind in (arrows, back or {}) for (a, b), words in kind.items()]
    _show(figure, "Boxes and arrows: " + ", ".join(told).replace("\n", " "))


def intervals(rows: dict[str, tuple], xlabel: str):
    """Differences with their 95 % intervals, the largest first: {label: (mean, low, high, verdict, of each seed)}.

    Red is higher than 0, blue lower, grey anything else. The interval is one over pictures, for the mean of the seeds:
    trainings spread more widely.
    """
    order = sorted(rows.items(), key=lambda row: np.nan_to_num(row[1][0], nan=-np.inf), reverse=True)
    figure, axes = plt.subplots(figsize=(7.5, 0.9 + 0.36 * len(rows)), dpi=DPI)
    for i, (_, (mean, low, high, verdict, seeds)) in enumerate(order):
        colour = {"higher": "#b2182b", "lower": "#2166ac"}.get(verdict, "#555555")
        axes.barh(i, mean, height=0.55, color=colour, alpha=0.3)
        axes.errorbar(mean, i, xerr=[[mean - low], [high - mean]], fmt="o", color=colour, markersize=5, capsize=4)
        axes.plot(seeds, [i] * len(seeds), "x", color="black", markersize=5, zorder=3)
        words = verdict if np.isnan(mean) else f"{round(mean, 4) + 0.0:+.4f} {verdict}"
        axes.annotate(words, (1.02, i), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=colour)
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), _plain(label for label, _ in order))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(_plain_number)
    axes.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    axes.grid(alpha=0.3, axis="x")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    grey, black = {"color": "#555555", "markersize": 5}, {"color": "black", "markersize": 5, "linestyle": ""}
    key = [axes.plot([], [], "o-", **grey, label="mean, and its 95 % interval over test pictures")[0]]
    key += [axes.plot([], [], "x", **black, label="each training (seed)")[0]]
    axes.legend(handles=key, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncol=2, frameon=False)
    _show(figure, f"{xlabel}, with intervals: " + ", ".join(f"{label} {row[0]:+.4f}" for label, row in order))


def strips(values: dict[str, torch.Tensor], xlabel: str, log: bool = True):
    """A dot for every picture, a row for every method: {label: a value per picture}; a bar marks the mean.

    On a logarithmic axis, dots below a thousandth of the median stand at its left end, as arrows.
    """
    figure, axes = plt.subplots(figsize=(7, 0.7 + 0.42 * len(values)), dpi=DPI)
    arrays = {label: np.asarray(torch.as_tensor(one).cpu(), dtype=float) for label, one in values.items()}
    least = np.median(np.concatenate(list(arrays.values()))) / 1000 if log else -np.inf
    for row, (label, array) in enumerate(arrays.items()):
        spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(array))  # apart, so that dots can be counted
        style = {"alpha": 0.6, "color": COLOURS.get(label, f"C{row}"), "linewidths": 0}
        seen = array >= least
        axes.scatter(array[seen], (row + spread)[seen], s=14, **style)
        axes.scatter(np.full((~seen).sum(), least), (row + spread)[~seen], s=30, marker="<", **style)
        axes.plot([array.mean()] * 2, [row - 0.38, row + 0.38], color="black", linewidth=1.5)
    axes.set_yticks(range(len(values)), _plain(values))
    axes.set(xlabel=xlabel + " (logarithmic axis)" * log, xscale="log" if log else "linear")
    if log:
        decimal(axes.xaxis)
    else:
        axes.axvline(0, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.grid(alpha=0.3, axis="x")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    means = [f"{label} {array.mean():.4g}" for label, array in arrays.items()]
    _show(figure, f"{xlabel} of every picture, with means: {'; '.join(means)}")


def animation(frames: dict[str, torch.Tensor], seconds: float = 0.7, holes: torch.Tensor | None = None):
    """Pictures that change: {caption: images (B, C, H, W)}, one frame each, all of one size; repeated for ever.
    ``holes`` (B, 1, H, W), bool, are framed.

    It is an animated PNG; its last frame stays longest. Viewers that do not animate show the first one.
    """
    sheets, font, high = [], _font(17), 24
    for caption, images in frames.items():
        row = images.detach().float().cpu().clamp(0, 1).expand(-1, 3, -1, -1)
        if holes is not None:
            rim = torch.max_pool2d(holes.float(), 3, stride=1, padding=1).bool() & ~holes
            row = torch.where(rim.cpu(), torch.tensor(to_rgb(FRAME)).view(3, 1, 1), row)
        row = torch.nn.functional.pad(row, (1, 1, 1, 1), value=1.0).permute(2, 0, 3, 1).flatten(1, 2)
        zoom = max(1, 600 // row.shape[1])
        row = row.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
        sheet = PIL.Image.new("RGB", (row.shape[1], row.shape[0] + high), "white")
        sheet.paste(PIL.Image.fromarray((row * 255).round().byte().numpy()), (0, high))
        PIL.ImageDraw.Draw(sheet).text((2, 1), caption, fill="black", font=font)
        sheets.append(sheet)
    every = _with_colours(PIL.Image.fromarray(np.concatenate([np.asarray(sheet) for sheet in sheets])), 128)
    high = sheets[0].height  # colours are chosen for all together: what does not change has the same numbers
    drawn = [every.crop((0, i * high, every.width, (i + 1) * high)) for i in range(len(sheets))]
    buffer, pause = io.BytesIO(), [round(1000 * seconds)] * (len(frames) - 1) + [2500]
    drawn[0].save(buffer, "PNG", save_all=True, append_images=drawn[1:], duration=pause, loop=0, optimize=True)
    alt = f"An animation: {', '.join(frames)}"
    display(Image(buffer.getvalue(), format="png", metadata={"alt": alt}))


def _font(size: int):
    """The letters of matplotlib's figures, for pictures that are drawn without it."""
    return PIL.ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


def _edges(holes: np.ndarray) -> np.ndarray:
    """The borders of holes (B, H, W), side by side, as line segments (N, 2, 2) in pixels of the row of pictures."""
    row = np.pad(np.concatenate(list(holes), 1), 1)
    y, x = np.nonzero(row[1:] != row[:-1])
    flat = np.stack([np.stack([x - 1.5, y - 0.5], 1), np.stack([x - 0.5, y - 0.5], 1)], 1)
    y, x = np.nonzero(row[:, 1:] != row[:, :-1])
    upright = np.stack([np.stack([x - 0.5, y - 1.5], 1), np.stack([x - 0.5, y - 0.5], 1)], 1)
    return np.concatenate([flat, upright])


@FuncFormatter
def _plain_number(x, _):
    return np.format_float_positional(x, precision=8, trim="-")


def decimal(axis):
    """Numbers on a logarithmic axis as 0.02, not as powers of ten: at most six."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    steps = (
        (1, 1.5, 2, 3, 4, 6, 8) if decades < 0.8 else (1, 2, 5) if decades < 1.6 else (1, 3) if decades < 2.5 else (1,)
    )
    axis.set_major_locator(LogLocator(subs=steps, numticks=8))
    axis.set_major_formatter(_plain_number)
    axis.set_minor_formatter(NullFormatter())


def _plain(texts: Iterable[str]) -> list[str]:
    """Texts as they are to be read: a "$" in a file's name begins no formula."""
    return [text.replace("$", r"\$") for text in texts]


def curves(
    series: dict[str, tuple],
    xlabel: str,
    ylabel: str,
    levels: dict[str, float] | None = None,
    log: str = "",
    save: str | Path | None = None,
    bands: dict[str, tuple[float, float]] | None = None,
):
    """Curves: {label: (x, y)} or, with a band of ± spread, {label: (x, y, spread)}; horizontal dashed ``levels``
    {label: y} to compare with; ``log`` "x", "y" or "xy"; yellow ``bands`` {label: (from x, to x)}. A level
    "label: words" has the colour of the curve of that label. Without series there is no figure.
    """
    if not series:
        return
    figure, axes = plt.subplots(figsize=(7.4, 3.4), dpi=DPI)
    drawn = {}
    for label, (x, y, *spread) in series.items():
        marker = "o" if len(x) < 20 else None
        (line,) = axes.plot(x, y, label=label, color=COLOURS.get(label), marker=marker, markersize=3)
        drawn[label] = line.get_color()
        if spread:
            low, high = ([a + sign * b for a, b in zip(y, spread[0], strict=True)] for sign in (-1, 1))
            axes.fill_between(x, low, high, color=line.get_color(), alpha=0.25, linewidth=0)
    for i, (label, y) in enumerate((levels or {}).items()):
        axes.axhline(
            y,
            linestyle=("--", ":", "-.")[i % 3],
            linewidth=1.2,
            color=COLOURS.get(label) or drawn.get(label.split(":")[0], f"C{len(series) + i}"),
            label=label,
        )
    for label, ends in (bands or {}).items():
        axes.axvspan(*ends, color=FRAME, alpha=0.25, linewidth=0, label=label)
    scales = {f"{axis}scale": "log" if axis in log else "linear" for axis in "xy"}
    named = {
        f"{axis}label": words + "\n(logarithmic axis)" * (axis in log)
        for axis, words in zip("xy", (xlabel, ylabel), strict=True)
    }
    axes.set(**named, **scales)
    for axis in log:
        decimal(getattr(axes, f"{axis}axis"))
    if "x" not in log and all(float(value).is_integer() for x, *_ in series.values() for value in x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no epoch 2.5
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=10, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    ends = [f"{label}, {[*y][-1]:.3g} at the end" if len(y) else label for label, (_, y, *_) in series.items()]
    ends += [f"{label}, {y:.3g} throughout" for label, y in (levels or {}).items()]
    _show(figure, f"{ylabel} against {xlabel}: {'; '.join(ends)}", save)


@contextlib.contextmanager
def until(guess):
    """What is shown inside stands behind a click as long as the ``guess`` is None, or one in a dict of guesses: so a
    stored notebook does not give the answer away. Where nobody clicks (in a terminal), all is shown.
    """
    made = guess.values() if isinstance(guess, dict) else [guess]
    if get_ipython() is None or all(one is not None for one in made):
        yield
        return
    with capture_output() as caught:
        yield
    pages, words = [f"<pre>{html.escape(caught.stdout)}</pre>"] if caught.stdout else [], [caught.stdout]
    for output in caught.outputs:
        kind = next((kind for kind in output.data if kind.startswith("image/")), None)
        if kind:
            size = output.metadata.get(kind, {})
            alt, data = html.escape(size.get("alt", ""), quote=True), output.data[kind].replace("\n", "")
            pages.append(f'<img alt="{alt}" width="{size.get("width", "")}" src="data:{kind};base64,{data}">')
        else:
            pages.append(output.data.get("text/html") or f"<pre>{html.escape(output.data['text/plain'])}</pre>")
            words.append(output.data["text/plain"] + "\n")
    page = f"<details><summary>The answer (first write your guess, then click)</summary>{''.join(pages)}</details>"
    display({"text/html": page, "text/plain": "".join(words).rstrip()}, raw=True)


def encode(figure, kind: str, zoom: float | None = None, form: str = "") -> tuple[bytes, str]:
    """A figure of matplotlib as a file with few bytes: its content, and its ``form``, "png" or "jpeg". ``kind`` is
    "chart" or "pictures"; the figure is closed.

    It has as many pixels as the page shows. A PNG of few colours keeps the edges of enlarged pixels and of letters, and
    is as small as a JPEG. Photographs with many pixels become a JPEG, if no ``form`` is asked for.
    """
    drawn, files = io.BytesIO(), {"png": io.BytesIO(), "jpeg": io.BytesIO()}
    figure.savefig(drawn, format="png", bbox_inches="tight", dpi=DPI * (zoom or ZOOM[kind]))
    plt.close(figure)
    picture = PIL.Image.open(drawn).convert("RGB")
    _with_colours(picture, 128 if kind == "pictures" else 48).save(files["png"], "PNG", optimize=True)
    if kind == "pictures":
        picture.save(files["jpeg"], "JPEG", quality=50, optimize=True, progressive=True)
    sizes = {name: file.tell() for name, file in files.items()}
    form = form or ("jpeg" if 0 < sizes["jpeg"] < 0.7 * sizes["png"] else "png")
    return files[form].getvalue(), form


def _with_colours(picture: PIL.Image.Image, colours: int) -> PIL.Image.Image:
    """A picture in the colours that fit it best; black, white and the colour of frames stay exact."""
    if np.ptp(np.asarray(picture), -1).mean() < 2:
        colours //= 2  # greys
    exact = [(0, 0, 0), (255, 255, 255), tuple(round(255 * part) for part in to_rgb(FRAME))]
    found = picture.quantize(colours - len(exact), kmeans=1).getpalette()
    palette = np.array([*exact, *np.reshape(found, (-1, 3))], dtype=np.uint8)
    packed = np.asarray(picture) @ np.array([65536, 256, 1])
    seen, places = np.unique(packed, return_inverse=True)
    nearest = cKDTree(palette).query(np.stack([seen >> 16, seen >> 8 & 255, seen & 255], 1))[1]  # Pillow's is not exact
    few = PIL.Image.fromarray(nearest.astype(np.uint8)[places].reshape(packed.shape))
    few.putpalette(palette.ravel().tolist())
    return few


def _show(figure, alt: str, save: str | Path | None = None, kind: str = "chart", zoom: float | None = None) -> None:
    """Shows a figure, and writes it as a PNG if asked."""
    content, form = encode(figure, kind, zoom, "png" if save else "")
    if save is None or get_ipython() is not None:  # in a terminal a saved figure is enough
        display(Image(content, format=form, metadata={"alt": alt}))
    if save is not None:
        Path(save).parent.mkdir(parents=True, exist_ok=True)
        Path(save).write_bytes(content)


class Table:
    """A pandas table for notebooks (by its Styler) and terminals: rows of {column: value}, or a DataFrame.

    A column "note" becomes footnotes. ``best`` sets the best value of every score in bold. Missing values are a dash.
    """

    def __init__(self, rows, caption: str = "", best: bool = False, digits: int = 4):
        frame = rows.reset_index(drop=True) if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, dtype=object)
        frame = frame.infer_objects() if len(frame) else frame
        notes = [None if pd.isna(note) else note for note in frame.pop("note")] if "note" in frame else []
        self.notes = list(dict.fromkeys(note for note in notes if note))
        self.caption, self.words = caption, [not pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]
        known = {score.label: score for score in evaluate.SCORES.values()}
        self.cells, self.bold = pd.DataFrame(index=frame.index), pd.DataFrame(False, frame.index, frame.columns)
        for column, values in frame.items():
            name = str(column)
            score = known.get(name, known.get(name.split(": ")[-1]))  # "test: hole MSE"
            places = score.digits if score else 1 if name.startswith("ms ") else digits
            counts = not score and pd.api.types.is_float_dtype(values) and values.isna().any()
            if counts and (values.dropna() % 1 == 0).all():  # pandas keeps whole numbers with gaps as floats
                values = values.astype("Int64")
            self.cells[column] = [_cell(value, places) for value in values]
            if best and score and pd.api.types.is_numeric_dtype(values):
                self.bold[column] = values == (values.max() if score.higher_is_better else values.min())
        if self.notes:
            marks = [f" ({self.notes.index(note) + 1})" if note else "" for note in notes]
            self.cells.iloc[:, 0] += marks

    def _repr_html_(self) -> str:
        # Bold by tags, and a style in every cell: GitHub removes styles, and Jupyter those of a notebook of others.
        cells = self.cells.map(html.escape)
        cells = cells.where(~self.bold, "<b>" + cells + "</b>")
        sides = ["left" if words else "right" for words in self.words]
        page = Styler(cells, cell_ids=False).hide(axis="index").format_index(escape="html", axis=1).to_html()
        page = re.sub(r' id="T_\w+"', "", page)  # new at every call
        page = re.sub(r'class="[^"]* col(\d+)"', lambda cell: f'style="text-align: {sides[int(cell[1])]}"', page)
        notes = "".join(f"<br><small>({i}) {html.escape(note)}</small>" for i, note in enumerate(self.notes, 1))
        return f"{page}<small>{html.escape(self.caption)}</small>{notes}"

    def __repr__(self) -> str:
        text = self.cells.to_string(index=False, line_width=10_000)
        return "\n".join([text, self.caption, *(f"({i}) {note}" for i, note in enumerate(self.notes, 1))]).rstrip()


def _cell(value, digits: int) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, int | np.integer) or (isinstance(value, float) and value.is_integer() and abs(value) >= 1000):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        return f"{value:.{1 if abs(value) >= 10 else digits}f}" if abs(value) < 1e5 else f"{value:.2g}"
    return str(value)


def teaser(path: str | Path, pictures: dict[str, torch.Tensor], hole: torch.Tensor | None = None) -> None:
    """Writes a few large pictures {label: (C, H, W)} side by side to a PNG, to be shown by `recorded`; a ``hole``
    (1, 1, H, W) is framed in all of them."""
    row = torch.stack([picture.expand(3, -1, -1) for picture in pictures.values()])
    holes = None if hole is None else hole.expand(len(row), -1, -1, -1)
    figure, zoom = _sheet({"": row}, list(pictures), holes, None)
    with runtime.atomic_write(path) as part:
        part.write_bytes(encode(figure, "pictures", zoom, "png")[0])


def recorded(name: str) -> Image | Markdown:
    """The picture of a recorded run (results/NAME.png), to be shown before anything is trained."""
    path = runtime.results_dir() / f"{name}.png"
    if not path.exists():
        return Markdown(f"*{name}: no picture recorded yet*")
    alt = {"alt": f"Recorded pictures of {name}"}  # `Image(alt=...)` is newer than the IPython of Colab
    return Image(filename=str(path), metadata=alt)


def show_source(thing) -> Code:
    """The shipped source of a function or class, so that what is read is what runs."""
    return Code(inspect.getsource(thing).rstrip(), language="python")
