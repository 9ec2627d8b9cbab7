"""Tables, figures and explorers: what they show, and how large they are."""

import io
import re

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import LineCollection
from nbclient import NotebookClient
from PIL import Image

from inpaintkit import fills, masking, viz
from inpaintkit.papers import PAPERS, autoencoder

ROWS = [
    {"filler": "<a>", "hole MSE": 0.25, "test: hole PSNR, dB": 9.123, "seeds": 3, "spread": 0.5},
    {"filler": "b", "hole MSE": 0.5, "test: hole PSNR, dB": np.float32(20), "seeds": 12345, "spread": np.nan},
    {"filler": "c", "note": "why & how"},
]


def bold(table):
    return re.findall("<b>(.*?)</b>", table._repr_html_())


def test_a_table_marks_the_best_of_every_score_alone():
    assert bold(viz.Table(ROWS, best=True)) == ["0.2500", "20.0"]
    assert bold(viz.Table(pd.DataFrame(ROWS, index=[1, 1, 2]), best=True)) == ["0.2500", "20.0"]
    assert bold(viz.Table(ROWS)) == []
    assert bold(viz.Table([{"hole MSE": None}, {"hole MSE": float("nan")}], best=True)) == []
    assert bold(viz.Table([{"hole MSE": "0.1 [0.0, 0.2]"}], best=True)) == []


def test_a_table_rounds_counts_and_tells_what_is_missing():
    lines = repr(viz.Table(ROWS, "the caption", digits=2)).splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["<a>", "0.2500", "9.1", "3", "0.50"],
        ["b", "0.5000", "20.0", "12,345", "–"],
        ["c", "(1)", "–", "–", "–", "–"],
    ]
    assert lines[4:] == ["the caption", "(1) why & how"]


def test_a_table_is_html_without_markup_of_its_contents_addresses_or_waste():
    table = viz.Table([{"<column>": "<a>", "note": "<n>"}], "<caption>")
    for words in ("column", "a", "n", "caption"):
        assert f"&lt;{words}&gt;" in table._repr_html_()
        assert f"<{words}>" not in table._repr_html_()
    for page in (table._repr_html_, table.__repr__, viz.Table([])._repr_html_):
        assert page() == page()
        assert "0x" not in page()
    rows = [{"filler": f"filler {i}"} | {f"score {j}": i / 7 + j for j in range(5)} for i in range(10)]
    assert len(viz.Table(rows, best=True)._repr_html_()) < 6000


def test_words_stand_left_and_numbers_right_also_where_style_sheets_are_removed():
    page = viz.Table([{"a": "word", "b": 1}])._repr_html_()
    assert re.findall(r'<t[hd] style="text-align: (\w+)" *>(\w+)<', page) == [
        ("left", "a"),
        ("right", "b"),
        ("left", "word"),
        ("right", "1"),
    ]


def test_figures_are_written_and_closed(images, tmp_path):
    rows = {"$a^": images, "mask": masking.square(8, 64, 9, "centre")}
    titles = ["cost$", "$x_$", r"a\$b", *"abcde"]  # names of files, no formulas
    viz.grid(rows, titles, save=tmp_path / "new" / "grid.png", notes={"mask": ["0.1 $"] * 8})
    series, levels, bands = {"x": ([1, 2], [3, 4], [1, 1])}, {"level": 2.0}, {"hole": (1, 2)}
    viz.curves(series, "x", "y", levels, log="xy", save=tmp_path / "curves.png", bands=bands)
    formats = {path.name: Image.open(path).format for path in tmp_path.rglob("*.*")}
    assert formats == {"grid.png": "PNG", "curves.png": "PNG"}
    assert plt.get_fignums() == []


def test_shown_source_is_the_shipped_source():
    assert "def hole_loss" in viz.show_source(autoencoder.hole_loss).data


CURVES = {"truth", "training", "PCA of the known pixels", "test", "hole MSE, test"}
CURVES |= {"content", "fooling D", "D", "Flowers-102", "Oxford-IIIT Pet", "Caltech-101", "faces", "unseen photographs"}
CURVES |= {"one window", "11x11 Gaussian", "7x7 uniform"}  # of SSIM
CURVES |= {"KL term", "prior", "posterior", "fixed", "ours, shipped weights, all levels"}


def test_every_colour_belongs_to_a_method_or_a_curve_of_today():
    methods = {fill.label for fill in fills.fills()}
    methods |= {paper.filler(paper.build(cfg), cfg).label for paper in PAPERS.values() for cfg in [paper.Parameters()]}
    assert {name.removesuffix(", shipped weights") for name in viz.COLOURS} - methods == CURVES


def test_a_level_has_the_colour_of_its_curve_and_pictures_have_notes(monkeypatch):
    figures = []
    monkeypatch.setattr(viz, "_show", lambda figure, *_: figures.append(figure))
    viz.curves({"fooling D": ([1, 2], [0, 1])}, "x", "y", {"fooling D: D knows all": 1, "nothing": 0})
    curve, level, other = (line.get_color() for line in figures[0].axes[0].lines)
    assert curve == level != other
    viz.grid({"a": torch.zeros(2, 1, 4, 4), "b": torch.zeros(2, 1, 4, 4)}, notes={"b": ["0.1", "0.2"]})
    assert [text.get_text() for text in figures[1].axes[0].texts] == ["0.1", "0.2"]


def test_a_hole_is_framed_where_it_is(monkeypatch):
    mask = masking.square(2, 8, 4, "centre")
    drawn = []
    monkeypatch.setattr(viz, "LineCollection", lambda segments, **_: drawn.append(segments) or LineCollection([]))
    viz.grid({"a": torch.rand(2, 3, 8, 8), "b": torch.rand(2, 3, 8, 8)}, holes=mask)
    first, second = drawn
    for left, column in ((3, 0), (13, 1)):  # in the padded row of pictures, 10 pixels each
        of_one = first[(first[..., 0].mean(1) // 10) == column]
        assert of_one[..., 0].min() == left - 0.5
        assert of_one[..., 0].max() == left + 3.5
        assert (of_one[..., 1].min(), of_one[..., 1].max()) == (2.5, 6.5)
        assert len(of_one) == 16  # the border of a 4x4 square
    assert (second - first == [0, 10]).all()


def test_a_comparison_shows_the_score_of_every_picture_and_what_is_around_its_hole(monkeypatch):
    seen = []
    monkeypatch.setattr(viz, "grid", lambda *arguments: seen.append(arguments))
    truth, mask = torch.rand(2, 3, 20, 20), torch.zeros(2, 1, 20, 20, dtype=torch.bool)
    mask[0, :, 8:12, 9:13] = mask[1, :, 0:4, 16:20] = True
    viz.compare({"black": torch.where(mask, 0, truth), "perfect": truth}, truth, mask, side=10)
    ((rows, titles, save, holes, notes),) = seen
    assert (titles, save) == (["black", "perfect", "truth"], None)
    assert torch.equal(rows["picture 0"][2], truth[0, :, 5:15, 6:16])
    assert torch.equal(rows["picture 1"][1], truth[1, :, :10, 10:])
    assert all(holes[row].sum() == 3 * 16 for row in rows)
    assert notes["picture 1"] == [f"{truth[1, :, 0:4, 16:20].square().mean():.4f}", "0.0000"]


# --- figures that explain ---------------------------------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch):
    seen = []
    monkeypatch.setattr(viz, "display", seen.append)
    return seen


def test_every_figure_says_in_words_what_it_shows(shown):
    picture, mask = torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)
    viz.equation(("truth", picture[0]), "×", ("known", mask[0]), "=", ("masked", picture[:1]))
    viz.strips({"harmonic": torch.tensor([0.25, 0.75]), "VAE, raw": torch.rand(5) + 0.1}, "hole MSE")
    viz.diagram({"input": (3, 8, 8), "code": (16,)}, {"code": 100}, ["code"], ("input", "code"))
    viz.equation(("channel 0", torch.tensor([[0, 1], [2, 3]])), "→", ("shuffled", torch.arange(16).view(4, 4)))
    viz.grid({"truth": picture}, notes={"truth": ["0.5", "worst"]})
    viz.curves({"test": ([1, 2], [3, 4])}, "epoch", "hole MSE", {"ring": 5.5})
    same = (0.001, 0.0005, 0.002, "higher", (0.001, 0.002))
    viz.intervals({"a": same, "b": (0.02, 0.01, 0.03, "higher", (0.02, 0.03)), "c": same}, "hole MSE")
    words = [
        "truth × known = masked",
        "harmonic 0.5; VAE, raw 0",
        r"code \(16,\)",
        "channel 0 → shuffled",
        "truth",
        "hole MSE against epoch: test, 4 at the end; ring, 5.5",
        "b .0.0200, a .0.0010",
    ]
    assert len(shown) == len(words)
    for figure, said in zip(shown, words, strict=True):
        assert re.search(said, figure.metadata["alt"])
        assert Image.open(io.BytesIO(figure.data)).width > 50


def test_a_recorded_picture_says_whose_it_is(shown):
    assert "01_autoencoder" in viz.recorded("01_autoencoder").metadata["alt"]


def test_an_animation_has_a_frame_for_every_caption_in_order(shown):
    frames = {f"round {i}": torch.full((2, 3, 8, 8), i / 3) for i in range(4)}
    viz.animation(frames)
    picture = Image.open(io.BytesIO(shown[0].data))
    assert picture.n_frames == 4

    def grey(frame):
        picture.seek(frame)
        return picture.convert("RGB").getpixel((picture.width // 4, picture.height // 2))[0]

    assert [round(grey(frame) / 85) for frame in range(4)] == [0, 1, 2, 3]


def test_a_trace_names_what_every_layer_returns():
    layers = {"conv": torch.nn.Conv2d(3, 4, 3, stride=2), "flat": torch.nn.Flatten()}
    assert viz.trace(layers, torch.zeros(2, 3, 9, 9)) == {"input": (3, 9, 9), "conv": (4, 4, 4), "flat": (64,)}


def test_a_flow_says_who_gives_what_to_whom(shown):
    boxes = {"G": (0, 0), "D": (1, 0), "true": (1, 1)}
    viz.flow(boxes, {("G", "D"): "squares"}, {("D", "G"): "gradients", ("true", "G"): "L1"}, highlight=["G"])
    assert shown[-1].metadata["alt"] == "Boxes and arrows: G to D squares, D to G gradients, true to G L1"


def test_a_teaser_is_a_row_of_large_pictures_with_framed_holes(tmp_path):
    hole = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    hole[..., 20:40, 10:30] = True
    viz.teaser(tmp_path / "row.png", {"masked": torch.full((3, 64, 64), 0.5), "truth": torch.ones(1, 64, 64)}, hole)
    row = np.asarray(Image.open(tmp_path / "row.png").convert("RGB")).astype(int)
    yellow = np.argwhere((row[..., 0] > 200) & (row[..., 1] > 150) & (row[..., 2] < 120))
    grey = np.abs(row - 128).max(-1) < 3
    ys, xs = np.nonzero(grey.sum(1) > 100)[0], np.nonzero(grey.sum(0) > 100)[0]  # letters have fewer grey pixels
    assert len(xs) == len(ys) == 3 * 64
    assert np.abs((yellow.min(0) - (ys[0], xs[0])) / 3 - (20, 10)).max() < 1
    assert np.abs((yellow.max(0) - (ys[0], xs[0])) / 3 - (40, 65 + 30)).max() < 1.5


def test_a_stored_picture_has_exact_pixels_and_nearly_its_own_colours(tmp_path):
    ramp = torch.stack(torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0.2, 0.9, 64), indexing="ij"))
    viz.teaser(tmp_path / "ramp.png", {"ramp": torch.cat([ramp, 1 - ramp[:1]])})
    stored = np.asarray(Image.open(tmp_path / "ramp.png").convert("RGB")).astype(int)
    assert (stored[0, 0] == 255).all()
    edge = (stored == 204).all(-1)  # the grey line around the pictures
    top, left = np.argwhere(edge.sum(1) > 150)[0, 0] + 3, np.argwhere(edge.sum(0) > 150)[0, 0] + 3
    blocks = stored[top : top + 192, left : left + 192].reshape(64, 3, 64, 3, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    wanted = torch.cat([ramp, 1 - ramp[:1]]).permute(1, 2, 0).numpy() * 255
    assert np.abs(blocks[:, 0, :, 0] - wanted).mean() < 6


@pytest.mark.slow
def test_what_answers_a_prediction_stands_behind_a_click_until_it_is_made():
    source = """import torch
from inpaintkit import viz
with viz.until(GUESS):
    print("1 < 2")
    viz.curves({"a": ([1, 2], [3, 4])}, "x", "y")"""
    cells = [nbformat.v4.new_code_cell(source.replace("GUESS", guess)) for guess in ("None", "{'a': 1, 'b': 2}")]
    page = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(page).execute()
    (covered,), (words, figure) = (cell.outputs for cell in page.cells)
    assert re.search("<details>.*1 &lt; 2.*<img alt=.y against x.*base64,", covered.data["text/html"], re.DOTALL)
    assert words.text == "1 < 2\n"
    assert "image/png" in figure.data


def test_holes_of_single_pixels_are_not_framed_if_not_wanted(shown):
    grey, mask = torch.full((1, 3, 32, 32), 0.5), masking.square(1, 32, 8, "centre")
    for frames in (True, False):
        viz.compare({"filled": grey}, grey, mask, frames=frames)
    yellow = [np.array(Image.open(io.BytesIO(figure.data)).convert("RGB")).astype(int) for figure in shown]
    assert [bool((x[..., 0] - x[..., 2] > 80).any()) for x in yellow] == [True, False]
