"""Explorers: paint a hole, move a slider, and see at once what fills and trained networks make of it."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython import get_ipython
from IPython.display import Image, display
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from skimage.metrics import structural_similarity

from inpaintkit import data, evaluate, fills, masking, metrics, runtime, viz
from inpaintkit.apps import photos
from inpaintkit.apps.panel import Panel, Tile, check, choice, plot, png, slider
from inpaintkit.apps.repair import repair
from inpaintkit.contracts import Filler

QUICK = ("ring", "harmonic", "biharmonic", "telea")
SLOW = ("patch", "frequency")
OWN = "your own photograph"
SHAPES = {"paint it": None, "square": 0.3, "strokes": 0.3, "text": 0.15, "lost pixels": 0.5}
PREVIEW = 1024  # pixels of the longer side of a photograph, as it is shown


def square_side(filler: Filler) -> int | None:
    """The side of the one square that a network draws; None for what takes any hole."""
    net = getattr(filler, "net", None)
    whole = getattr(net, "whole", True)  # the autoencoder's: does it draw the whole picture?
    return getattr(filler, "side", None if whole else net.side)


class Around(Filler):
    """A network that draws one square, for any hole that fits into it: the whole square is hidden from the network.

    The square lies in the middle, where such networks are trained, or as near to it as the hole allows.
    """

    def __init__(self, filler: Filler):
        self.filler, self.id, self.label, self.side = filler, filler.id, filler.label, square_side(filler)

    def square(self, mask: torch.Tensor) -> torch.Tensor:
        """The square that is hidden for a hole (1, 1, H, W). Raises ValueError if the hole does not fit."""
        height, width = mask.shape[-2:]
        top, left, bottom, right = masking.bounding_box(mask)[0].tolist()
        if bottom - top > self.side or right - left > self.side:
            raise ValueError(
                f"takes holes within {self.side}x{self.side} pixels; yours needs {bottom - top}x{right - left}"
            )
        first = [
            min(max((length - self.side) // 2, end - self.side, 0), start, length - self.side)
            for start, end, length in ((top, bottom, height), (left, right, width))
        ]
        square = torch.zeros_like(mask)
        square[..., first[0] : first[0] + self.side, first[1] : first[1] + self.side] = True
        return square

    def accepts(self, shape, mask):
        try:
            return self.filler.accepts(shape, self.square(mask))
        except ValueError as error:
            return str(error)

    def __call__(self, masked, mask):
        square = self.square(mask)
        return self.filler(masking.apply(masked, square), square)


def any_hole(filler: Filler) -> Filler:
    """The filler for pictures on the CPU and for any hole, as far as it can take one."""
    filler = on_cpu(filler)
    return Around(filler) if square_side(filler) else filler


def on_cpu(filler: Filler) -> Filler:
    """The same filler with its network on the CPU, where the pictures of the panels are."""
    if hasattr(filler, "net"):
        filler = copy.copy(filler)
        filler.net = copy.deepcopy(filler.net).cpu()
    return filler


def own_square(pixels: np.ndarray, size: int) -> torch.Tensor:
    """The middle square of a photograph (H, W, 3), uint8, as a picture (1, 3, size, size) in [0, 1]."""
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    square = torch.from_numpy(pixels[top : top + side, left : left + side]).permute(2, 0, 1)[None].float() / 255
    return torch.nn.functional.interpolate(square, size, mode="area" if side > size else "nearest")


def ranked(answers: Iterable[tuple[str, torch.Tensor, float | None, str]], lowest: bool = True) -> Iterator[Tile]:
    """Tiles of (label, picture (C, H, W), score, note), the best score framed; None for what has no score."""
    answers = list(answers)
    scores = [score for _, _, score, _ in answers if score is not None]
    best = (min if lowest else max)(scores, default=None)
    for label, picture, score, note in answers:
        yield Tile(label, picture, note, best=score is not None and score == best)


class Cover(Panel):
    """Paint a hole on a picture; every filler answers with its picture and its hole MSE.

    Args:
        pictures: {name: (C, H, W) in [0, 1]}, all to choose from.
        fillers: what answers at once; networks that draw one square take any hole that fits into it.
        slow: what answers on request.
        hole: the first hole, (1, 1, H, W); None: a square in the middle.
        scan: also draw a row of pixels through the hole.
    """

    choosing = ("picture", "shape")

    def __init__(
        self,
        pictures: dict[str, torch.Tensor],
        fillers: Sequence[Filler],
        slow: Sequence[Filler] = (),
        hole: torch.Tensor | None = None,
        scan: bool = False,
    ):
        self.pictures, self.slow, self.scan = {n: x[None].cpu() for n, x in pictures.items()}, slow, scan
        self.fillers = [any_hole(one) for one in fillers]
        size = next(iter(pictures.values())).shape[-1]
        self.hole = masking.square(1, size, size // 3, (0.5, 0.5)) if hole is None else hole.cpu()
        controls = [choice("picture", "picture", pictures), choice("shape", "hole", SHAPES)]
        controls += [check("error", "show the error, x 3")]
        controls += [slider("row", "row of the curve", size // 2, 0, size - 1)] if scan else []
        super().__init__(controls, extras=[one.label for one in slow], paints=True, opens=True)

    def choose(self, values, changed):
        if "picture" in changed:
            self.picture = self.pictures[values["picture"]]
        amount = SHAPES[values["shape"]]
        if "shape" in changed and amount:
            kind = "pixels" if values["shape"] == "lost pixels" else values["shape"]
            size = self.picture.shape[-1]
            self.hole = masking.draw(kind, 1, size, runtime.generator(len(kind)), amount)

    def opened(self, pixels, name):
        self.picture = own_square(pixels, self.picture.shape[-1])
        if self.pictures[next(iter(self.pictures))].shape[1] == 1:
            self.picture = self.picture.mean(1, keepdim=True)

    def answer(self, values):
        self.filled = {}
        yield from ranked(self._filled(filler, values["error"]) for filler in self.fillers)
        if self.scan:
            yield self._scan(int(values["row"]))

    def extra(self, number, values):
        label, picture, _, note = self._filled(self.slow[number], values["error"])
        return Tile(label, picture, note)

    def _filled(self, filler: Filler, show_error: bool) -> tuple[str, torch.Tensor, float | None, str]:
        masked = masking.apply(self.picture, self.hole)
        if problem := filler.accepts(tuple(self.picture.shape), self.hole):
            return filler.label, masked[0], None, problem
        full = masking.composite(self.picture, filler(masked, self.hole), self.hole)
        self.filled[filler.label] = full
        error = metrics.mse(full, self.picture, self.hole).item()
        shown = (3 * (full - self.picture).abs()).clamp(max=1) if show_error else full
        return filler.label, shown[0], error, f"hole MSE {error:.4f}"

    def _scan(self, row: int) -> Tile:
        figure, axes = plt.subplots(figsize=(4, 2.4))
        hidden = self.hole[0, 0, row]
        axes.fill_between(range(len(hidden)), 0, 1, where=hidden, color=viz.FRAME, alpha=0.4, step="mid", linewidth=0)
        for label, picture in (self.filled | {"truth": self.picture}).items():
            style = {"color": viz.COLOURS.get(label), "linestyle": "-" if label in viz.COLOURS else "--"}
            axes.plot(picture[0, picture.shape[1] // 2, row], label=label, linewidth=1.8, **style)
        axes.set(xlabel=f"column, in row {row}", ylabel="value, green", ylim=(0, 1))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        return Tile("one row of pixels", plot(figure), "yellow: hidden")


def holes(pictures: dict[str, torch.Tensor] | None = None, size: int = 128, own: Sequence[Filler] = ()) -> Panel:
    """Notebook 00: paint a hole on a photograph; classic fills and a student's ``own`` answer, with a curve through
    the hole."""
    return Cover(pictures or photographs(size), [*fills.fills(*QUICK), *own], fills.fills(*SLOW), scan=True)


def cover(images: torch.Tensor, fillers: Iterable[Filler], hole: torch.Tensor | None = None) -> Panel:
    """Notebooks 01 and 03: cover any part of a face (B, C, H, W); classic fills and networks answer."""
    return Cover(_numbered(images), [*fills.fills("harmonic", "biharmonic"), *fillers], fills.fills(*SLOW), hole)


def photographs(size: int) -> dict[str, torch.Tensor]:
    """The middle of every photograph that ships with other packages, at twice the scale: {name: (3, size, size)}."""
    windows = {}
    for name in dict.fromkeys(row["photograph"] for row in data.regions()):
        whole = data.photograph(name)
        side = min(2 * size, *whole.shape[1:])
        y, x = ((length - side) // 2 for length in whole.shape[1:])
        window = whole[None, :, y : y + side, x : x + side].float() / 255
        windows[name] = torch.nn.functional.interpolate(window, size, mode="area")[0]
    return dict(sorted(windows.items(), key=lambda item: item[0] != "chelsea"))  # the cat first


def _numbered(images: torch.Tensor) -> dict[str, torch.Tensor]:
    return {f"picture {i}": image for i, image in enumerate(images)}


class Stamps(Panel):
    """Notebook 01: a transposed convolution of stride 2 as stamps, with a kernel of any weights.

    ``stamp`` takes values (H, W) and a kernel (3, 3) and returns (2H, 2W); ``picture`` (C, H, W) is another input.
    """

    def __init__(self, stamp: Callable, picture: torch.Tensor):
        small = torch.nn.functional.interpolate(picture[None].cpu().mean(1, keepdim=True), 16, mode="area")[0]
        self.stamp, self.inputs = stamp, {"all ones": torch.ones(1, 4, 4), "a face": small}
        controls = [choice("input", "input", self.inputs)]
        first = {"edge": 0.3, "corner": 0.6}
        controls += [slider(name, f"weight at the {name}s", w, 0, 1, 0.05) for name, w in first.items()]
        super().__init__(controls)

    def answer(self, values):
        edge, corner = values["edge"], values["corner"]
        kernel = torch.tensor([[corner, edge, corner], [edge, 1, edge], [corner, edge, corner]]).float()
        given = self.inputs[values["input"]]
        stamped = self.stamp(given[0], kernel)[None]
        inner = stamped[:, :-1, :-1]  # the last row and column get fewer stamps
        white = max(1, stamped.max().item())  # one scale for all three
        size = f"{given.shape[1]}x{given.shape[2]}"
        yield Tile("input", given / white, f"{size}, all 1" if values["input"] == "all ones" else size)
        yield Tile("kernel: its middle is 1", kernel[None] / white, f"edges {edge:g}, corners {corner:g}")
        yield Tile("stamped", stamped / white, f"inside: {inner.min():.2f} to {inner.max():.2f}")


class Shift(Panel):
    """Notebook 01: the square hole of a network moves over a face, and fills answer beside the network."""

    def __init__(self, images: torch.Tensor, fillers: Sequence[Filler], side: int):
        self.faces, self.fillers, self.side = _numbered(images.cpu()), [on_cpu(one) for one in fillers], side
        most = (images.shape[-1] - side) // 2
        controls = [choice("face", "face", self.faces), slider("down", "moved down", 12, -most, most, 1, " px")]
        super().__init__([*controls, slider("right", "moved right", 0, -most, most, 1, " px")])

    def answer(self, values):
        face = self.faces[values["face"]][None]
        size = face.shape[-1]
        hole = masking.square(1, size, self.side, tuple(0.5 + values[way] / size for way in ("down", "right")))
        masked = masking.apply(face, hole, "black")
        yield Tile("masked", masked[0])
        filled = [(one.label, one(masked, hole)) for one in self.fillers]
        errors = [metrics.mse(full, face, hole).item() for _, full in filled]
        yield from ranked(
            (label, full[0], error, f"hole MSE {error:.4f}")
            for (label, full), error in zip(filled, errors, strict=True)
        )
        yield Tile("truth", face[0])


class Window(Panel):
    """Notebook 00: SSIM of an unrepaired picture and of a soft repair, with a window of any size.

    ``pictures``: {name: {label: (C, H, W)}}, the first label the truth.
    """

    def __init__(self, pictures: dict[str, dict[str, torch.Tensor]]):
        self.pictures = pictures
        size = next(iter(next(iter(pictures.values())).values())).shape[-1]
        controls = [
            choice("picture", "picture", pictures),
            slider("window", "side of the window", 11, 3, size // 2 * 2 - 1, 2),
        ]
        super().__init__(controls)

    def answer(self, values):
        (label, truth), *others = self.pictures[values["picture"]].items()
        side = int(values["window"])
        yield Tile(label, truth)
        pairs, maps = [], []
        for name, picture in others:
            score, everywhere = structural_similarity(
                picture.double().numpy(), truth.double().numpy(), win_size=side, channel_axis=0,
                data_range=1, full=True,
            )  # fmt: skip
            pairs.append((name, picture, score, f"SSIM {score:.3f}"))
            mean = torch.from_numpy(everywhere).float().mean(0, keepdim=True)
            maps.append(Tile(f"{name}: map", mean, "black: 0 or less"))
        for pair in zip(ranked(pairs, lowest=False), maps, strict=True):
            yield from pair


def window(truth: torch.Tensor, candidates: dict[str, torch.Tensor]) -> Panel:
    """A slider for SSIM's window: ``truth`` and each of the ``candidates`` (B, C, H, W)."""
    return Window(
        {f"picture {i}": {"truth": x} | {name: c[i] for name, c in candidates.items()} for i, x in enumerate(truth)}
    )


class Walk(Panel):
    """Notebook 02: from the code of one face to that of another, along the directions in which codes differ most, and
    from a code that is sampled from the prior.

    ``decode`` takes a code (1, latent), ``codes`` (N, latent) are those of the ``images`` (N, C, H, W); the directions
    are the principal components of ``codes``.
    """

    def __init__(self, decode: Callable, codes: torch.Tensor, images: torch.Tensor, directions: int = 4):
        self.decode, self.images = decode, _numbered(images.cpu())
        self.codes = dict(zip(self.images, codes, strict=True))
        _, spread, axes = torch.linalg.svd(codes - codes.mean(0), full_matrices=False)
        self.axes = axes[:directions] * spread[:directions, None] / len(codes) ** 0.5  # one standard deviation each
        controls = [choice("a", "from", self.images), choice("b", "to", self.images, list(self.images)[1])]
        controls += [slider("t", "share of the way", 0.5, 0, 1, 0.05)]
        controls += [slider(f"d{i}", f"direction {i + 1}", 0, -3, 3, 0.25, " sd") for i in range(directions)]
        super().__init__([*controls, slider("seed", "samples of the prior", 0, 0, 50)])

    @torch.no_grad()
    def answer(self, values):
        a, b = values["a"], values["b"]
        t, code = values["t"], torch.lerp(self.codes[a], self.codes[b], values["t"])
        for i, axis in enumerate(self.axes):
            code = code + values[f"d{i}"] * axis
        yield Tile("from", self.images[a])
        yield Tile("decoded", self.decode(code[None])[0].cpu(), f"{100 * t:.0f} % of the way")
        yield Tile("to", self.images[b])
        yield Tile("pixels mixed", torch.lerp(self.images[a], self.images[b], t), "no network")
        noise = torch.randn(3, len(code), generator=runtime.generator(int(values["seed"]))).to(code)
        for i, drawn in enumerate(self.decode(noise).cpu(), 1):
            yield Tile(f"sample {i} of the prior", drawn)


class Move(Panel):
    """Notebook 02: a hole moves over a face, and the code and the restored face follow.

    ``encode`` takes masked pictures (1, C, H, W) and returns codes, ``decode`` the reverse.
    """

    def __init__(self, encode: Callable, decode: Callable, images: torch.Tensor, side: int):
        self.encode = lambda masked: encode(masked.to(images.device)).cpu()
        self.decode, self.faces = lambda code: decode(code.to(images.device)).cpu(), _numbered(images.cpu())
        self.side, last = side, images.shape[-1] - side
        controls = [choice("face", "face", self.faces), slider("row", "row of the hole", last // 2, 0, last)]
        super().__init__([*controls, slider("column", "column", last // 2, 0, last)])

    @torch.no_grad()
    def answer(self, values):
        face = self.faces[values["face"]][None]
        row, column = int(values["row"]), int(values["column"])
        hole = torch.zeros_like(face[:, :1], dtype=torch.bool)
        hole[..., row : row + self.side, column : column + self.side] = True
        masked = masking.apply(face, hole, "black")
        code, whole = self.encode(masked)[0], self.encode(face)[0]
        drawn = self.decode(code[None])
        full = masking.composite(face, drawn, hole)
        yield Tile("masked", masked[0])
        yield Tile("decoded", drawn[0], "the whole picture, redrawn")
        yield Tile("composite", full[0], f"hole MSE {metrics.mse(full, face, hole).item():.4f}")
        yield Tile("truth", face[0])
        moved = ((code - whole).norm() / whole.norm()).item()
        figure, axes = plt.subplots(figsize=(2.8, 2.6), layout="constrained")
        axes.bar(range(len(code)), (code - whole).abs().sort(descending=True).values.tolist(), color=viz.COLOURS["VAE"])
        axes.set(xlabel="numbers of the code, sorted", ylabel="how far each moves")
        yield Tile("the code", plot(figure), f"moved by {100 * moved:.0f} % of its length")


class NearestLevel(Filler):
    """Networks that were trained at one share of lost pixels each, {share: network}: the nearest one fills."""

    id = label = "fixed, of this level"

    def __init__(self, networks: dict[float, Filler]):
        self.networks = networks

    def __call__(self, masked, mask):
        share = mask.float().mean().item()
        return self.networks[min(self.networks, key=lambda level: abs(level - share))](masked, mask)


class Levels(Panel):
    """Notebook 04: a share of all pixels is lost; networks and fills answer with their NMSE.

    A photograph of one's own becomes a square of 128 pixels.
    """

    def __init__(self, images: torch.Tensor, fillers: Sequence[Filler], p: float = 0.8):
        self.pictures, self.fillers = _numbered(images.cpu()), [on_cpu(one) for one in fillers]
        controls = [choice("picture", "picture", [*self.pictures, OWN])]
        controls += [slider("p", "lost pixels", round(100 * p), 5, 95, 5, " %"), slider("seed", "seed", 0, 0, 20)]
        super().__init__(controls, opens=True)

    def opened(self, pixels, name):
        self.pictures[OWN] = own_square(pixels, 128)[0]
        self.values["picture"] = OWN

    def answer(self, values):
        if values["picture"] not in self.pictures:
            raise ValueError("Open a photograph of your own first.")
        image = self.pictures[values["picture"]][None]
        hole = masking.pixels(1, image.shape[-1], values["p"] / 100, runtime.generator(int(values["seed"])))
        masked = masking.apply(image, hole)
        yield Tile("what is left", masked[0])
        filled = [(one.label, masking.composite(image, one(masked, hole), hole)) for one in self.fillers]
        scores = [metrics.nmse(full, image).item() for _, full in filled]
        yield from ranked(
            (label, full[0], score, f"NMSE {score:.4f}") for (label, full), score in zip(filled, scores, strict=True)
        )
        yield Tile("truth", image[0])


class Game(Panel):
    """Notebook 03: two tiny networks play for numbers near -1.5 and 1.5; who starts, how long, and by which luck.

    ``game(head_start, seed, turns)`` trains them and returns the generator and the discriminator.
    """

    def __init__(self, game: Callable):
        self.game = game
        controls = [slider("head_start", "steps of D alone", 0, 0, 2000, 100)]
        super().__init__(
            [*controls, slider("turns", "steps of both", 600, 50, 1200, 50), slider("seed", "seed", 0, 0, 9)]
        )

    def answer(self, values):
        g, d = self.game(*(int(values[name]) for name in ("head_start", "seed", "turns")))
        device, x = next(g.parameters()).device, torch.linspace(-3, 3, 61)
        with torch.no_grad():
            made = g(torch.randn(4000, 1, device=device)).cpu()
            scores = d(x[:, None].to(device)).cpu()[:, 0]
        true = sum((-((x - middle) ** 2) / 0.18).exp() for middle in (-1.5, 1.5)) / (0.6 * (2 * np.pi) ** 0.5)
        figure, (axes, below) = plt.subplots(2, figsize=(8, 3.8), sharex=True, layout="constrained")
        axes.fill_between(x, true, color="#cccccc", label="true numbers", linewidth=0)
        look = {"histtype": "step", "color": "#d95f02", "label": "generated numbers"}
        axes.hist(made[:, 0].numpy(), 60, range=(-3, 3), density=True, **look)
        axes.set(ylabel="density")
        below.plot(x, scores, color="#2166ac", label="score of D")
        below.grid(alpha=0.3)
        below.set(xlabel="number", ylabel="score", ylim=(-0.3, 1.3), xlim=(-3, 3))
        for one in (axes, below):
            one.spines[["top", "right"]].set_visible(False)
            one.legend(fontsize=10, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        yield Tile("", plot(figure), f"{100 * (made < 0).float().mean():.0f} % of the generated numbers are below 0")


class Photograph(Panel):
    """A photograph at its own size: paint a hole, choose a method, save the result.

    Opened in the browser it has at most 1024 pixels on its longer side. With a ``path`` the full size is repaired, and
    the result is also written to ``save``. ``begin``: a picture (H, W, 3), uint8, a hole in it (H, W), bool, and the
    method to begin with.
    """

    def __init__(
        self,
        methods: dict[str, Filler],
        path: str | Path | None = None,
        save: str | Path | None = None,
        begin: tuple[np.ndarray, np.ndarray, str] | None = None,
    ):
        self.methods, self.save, self.photo = methods, save, None
        if path:
            self.photo = photos.open_photo(path)
            self._take(self.photo.pixels)
        elif begin:
            self._take(begin[0])
            self.hole = torch.from_numpy(begin[1])[None, None]
        else:
            self._take(data.photograph("chelsea").permute(1, 2, 0).numpy())
        first = begin[2] if begin and not path else None
        super().__init__([choice("method", "method", methods, first)], paints=True, opens=True, saves=True)

    def _take(self, pixels: np.ndarray) -> None:
        self.pixels = pixels.reshape(*pixels.shape[:2], -1)
        whole = torch.from_numpy(self.pixels).permute(2, 0, 1)[None].float() / 255
        scale = min(1, PREVIEW / max(whole.shape[-2:]))
        size = [max(1, round(length * scale)) for length in whole.shape[-2:]]
        self.picture = torch.nn.functional.interpolate(whole, size, mode="area")
        self.hole = torch.zeros(1, 1, *size, dtype=torch.bool)
        height, width = size
        self.hole[..., height // 2 : height // 2 + height // 8, width // 3 : width // 3 + width // 6] = True

    def opened(self, pixels, name):
        self.photo = None
        self._take(pixels)

    def answer(self, values):
        hole = torch.nn.functional.interpolate(self.hole.float(), self.pixels.shape[:2], mode="nearest")[0, 0] > 0
        self.result = repair(self.pixels, hole.numpy(), self.methods[values["method"]], progress=False)
        written = ""
        if self.photo is not None and self.save:
            photos.save(self.save, self.result.reshape(self.photo.pixels.shape), self.photo)
            written = f"written to {self.save}"
        result = torch.from_numpy(self.result).permute(2, 0, 1)[None].float() / 255
        self.shown = torch.nn.functional.interpolate(result, self.picture.shape[-2:], mode="area")
        yield Tile("before", png(self.picture[0]))
        yield Tile(f"after: {values['method']}", png(self.shown[0]), written)

    def patch(self):
        top, left, bottom, right = masking.bounding_box(self.hole)[0].tolist()
        return {"picture": png(self.shown[0, :, top:bottom, left:right]), "top": top, "left": left}


def photograph(
    *networks: Filler,
    path: str | Path | None = None,
    save: str | Path | None = None,
    begin: tuple[np.ndarray, np.ndarray, str] | None = None,
) -> Panel:
    """Notebooks 00, 03 and 04: repair a photograph of your own with a classic fill or a network."""
    methods = [*fills.fills("telea", "harmonic", "biharmonic", "navier-stokes"), *map(on_cpu, networks)]
    return Photograph({one.label: one for one in methods}, path, save, begin)


# --- while a network is trained ---------------------------------------------------------------------------------------


def live(
    monitor: Callable[[], dict[str, float]], preview: Callable[[], torch.Tensor]
) -> Callable[[], dict[str, float]]:
    """For ``fit(monitor=...)``: shows the scores so far as curves and the same pictures anew after every epoch.

    Without a notebook it prints the scores, a line each epoch.
    """
    scores: list[dict[str, float]] = []
    shown = None

    def after_epoch():
        nonlocal shown
        latest = {name: float(value) for name, value in monitor().items()}
        if not latest:  # the score is undefined for these pictures
            return latest
        scores.append(latest)
        if get_ipython() is None:
            print(f"epoch {len(scores)}:", ", ".join(f"{name} {value:.4f}" for name, value in scores[-1].items()))
            return scores[-1]
        content, form = viz.encode(_progress(scores, preview()), "pictures", 1.25)
        alt = {"alt": "The training so far: scores and pictures"}
        picture = Image(content, format=form, metadata=alt)
        shown = shown or display(picture, display_id=True)
        shown.update(picture)
        return scores[-1]

    return after_epoch


def _progress(scores: list[dict[str, float]], pictures: torch.Tensor) -> Figure:
    few = pictures[:4].detach().float().cpu().clamp(0, 1).expand(-1, 3, -1, -1)
    wide = 2.1 * len(few)  # inches
    figure, (curve, row) = plt.subplots(1, 2, figsize=(3 + wide, 2.5), width_ratios=(3, wide), layout="constrained")
    name = next(iter(scores[0]))
    label = evaluate.SCORES[name].label if name in evaluate.SCORES else name
    curve.plot(range(1, len(scores) + 1), [one[name] for one in scores], "o-", color="#d62728", markersize=3)
    curve.set(xlabel="epoch", title=f"{label} {scores[-1][name]:.4f}")
    curve.spines[["top", "right"]].set_visible(False)
    curve.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    row.imshow(torch.cat(list(few), 2).permute(1, 2, 0).numpy(), interpolation="nearest")
    row.set(xticks=[], yticks=[], title=f"epoch {len(scores)}")
    return figure
