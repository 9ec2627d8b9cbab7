"""The pages of `make course`: what they show, without a network, to those who see and to those who do not."""

import base64
import io
import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from inpaintkit import runtime
from inpaintkit.apps import pages


def rows(part, holes, **means):
    return [{"part": part, "holes": holes, "filler": f, "score": "hole_mse", "mean": m} for f, m in means.items()]


def picture(colour) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


def shows(data: dict, **metadata):
    """A cell with one output."""
    return new_code_cell(outputs=[new_output("display_data", data, metadata=metadata)])


@pytest.fixture
def write(tmp_path):
    """Writes the pages for notebooks with these cells and results.json; returns them by name."""

    def write(*cells, **records):
        states = []
        for name, record in records.items():
            notebook = new_notebook(cells=[new_markdown_cell(f"# About {name} & more"), *cells])
            nbformat.write(notebook, tmp_path / f"{name}.ipynb")
            if record is not None:
                runtime.write_json(tmp_path / name / "results.json", record)
            states.append({"name": name, "seconds": 3.0, "problem": None if record is not None else "took <too> long"})
        pages.write_page(states, tmp_path, "a machine")
        return {path.stem: BeautifulSoup(path.read_bytes(), "html.parser") for path in tmp_path.glob("*.html")}

    return write


def test_the_page_shows_titles_and_the_scores_on_the_own_holes(write):
    own, other = rows("test", "own", vae=0.25, ring=0.5), rows("test", "other", vae=0.125)
    scores = own + other + rows("unseen", "own", vae=0.0625)
    scores += [own[0] | {"score": name, "mean": mean} for name, mean in (("collapse", 7.5), ("hole_psnr", 31.0))]
    scores += [{"part": "test", "holes": "own", "filler": "frequency", "note": "needs & wants"}]
    shown = write(work={"paper": "vae", "holes": "own", "scores": scores}, bad=None)["index"]
    assert [cell.text for cell in shown("b")] == ["0.2500", "31.0", "0.0625"]
    for words in ("About work & more", "VAE", "mean of a 2-pixel ring", "needs & wants", "took <too> long"):
        assert words in shown.text, words
    assert not any(absent in shown.text for absent in ("0.1250", "7.5"))
    above = [table.find_previous("h3").text for table in shown("table")]
    assert [re.findall("test|unseen", heading) for heading in above] == [["test"], ["unseen"]]
    masks = [{"filler": "ring", "score": "hole_mse", "mean": 0.125, "n": 8}]  # as notebook 00 writes them
    assert "0.1250" in write(masks={"scores": masks})["index"].text


def test_a_record_with_little_in_it_does_no_harm(write):
    for record in ({}, {"scores": []}, {"scores": [{"filler": "ring"}]}, {"paper": "no", "pictures": ["lost.jpg"]}):
        assert write(small=record)["index"].find("a", href="small/results.json")


def test_every_picture_has_words_and_can_be_moved_where_the_screen_is_small(write, tmp_path):
    described, named, silent = ({"image/png": base64.b64encode(picture(c)).decode()} for c in ("red", "green", "blue"))
    cells = [
        new_markdown_cell("## 6 Results"),
        shows(described | {"text/plain": "<Figure>"}, **{"image/png": {"alt": 'Rows "a" & b', "width": 600}}),
        shows(named | {"text/plain": "a green square"}),
        shows(silent | {"text/plain": "<Figure>"}),
    ]
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "saved.png").write_bytes(picture("red"))
    shown = write(*cells, work={"pictures": ["saved.png"]})
    assert [image["alt"] for image in shown["work"]("img")] == ['Rows "a" & b', "a green square", "6 Results"]
    (image,) = shown["index"]("img")
    assert (image["src"], image["alt"], image["width"]) == ("work/saved.png", 'Rows "a" & b', "600")
    assert image.find_previous("h3").text == "Results"
    for page in shown.values():
        assert all(image.parent["class"] == ["box"] for image in page("img"))
        assert re.search(r"\.box \{[^}]*overflow-x: auto", str(page("style")))


def test_a_notebooks_page_needs_no_network_and_leads_on(write, tmp_path):
    text = (
        "[next](other.ipynb) [report](../docs/reports/02_vae.md) [lost](lost.ipynb) [paper](https://doi.org/1)"
        "[![Open In Colab](https://colab/badge.svg)](https://colab) $x_1$ and $\\frac{1$\n\n"
        "$$\\overline{x}=\\underbrace{y}_{\\text{sum}}\\tag{6}$$"
    )
    shown = write(new_markdown_cell(text), work={}, other={})["work"]
    assert shown.title.text == "About work & more"
    assert [svg["aria-label"][:3] for svg in shown("svg")] == ["x_1", r"\ov"]
    assert r"\frac{1" in shown.main.text, "what cannot be drawn is still there"
    assert not shown(["script", "link", "iframe"])
    assert not [image for image in shown("img") if "://" in image["src"]]
    links = {link.text: link["href"] for link in shown("a")}
    assert (links["next"], links["lost"], links["paper"]) == ("other.html", "lost.ipynb", "https://doi.org/1")
    assert links["Open In Colab"] == "https://colab"
    assert (tmp_path / links["report"]).resolve().samefile(runtime.checkout() / "docs/reports/02_vae.md")
    assert "index.html" in links.values()


def test_every_formula_of_the_notebooks_can_be_drawn(write):
    notebooks = (nbformat.read(path, 4) for path in runtime.checkout().glob("notebooks/**/*.ipynb"))
    texts = {cell.source for notebook in notebooks for cell in notebook.cells if cell.cell_type == "markdown"}
    formulas = re.findall(r"\$\$.+?\$\$|\$[^$]+?\$", "\n".join(texts), re.DOTALL)
    shown = write(*map(new_markdown_cell, texts), work={})["work"]
    assert len(shown("svg", role="img")) == len(formulas) > 80


def test_what_only_jupyter_shows_is_replaced_by_what_else_there_is(write):
    widget = {pages.WIDGET: {"model_id": "1"}}
    drawing = widget | {"image/png": base64.b64encode(picture("red")).decode(), "text/plain": "a brush"}
    bar = widget | {"text/plain": "training:   0%|          | 0/20 [00:00<?, ?step/s]"}
    control = widget | {"text/plain": "VBox(children=(Dropdown()))"}
    shown = write(*map(shows, (drawing, bar)), few={})["few"]
    assert [image["alt"] for image in shown("img")] == ["a brush"]
    assert not re.search("Jupyter|0%", shown.main.text)
    shown = write(shows(control), few={})["few"]
    assert "open it in Jupyter" in shown.main.text
    assert "VBox" not in shown.main.text


def test_a_closed_cell_is_closed_on_the_page(write):
    drawing = shows({"text/plain": "errors"}, a=1)
    drawing.source, drawing.metadata = "# @title Errors < 1\nplot()", {"jupyter": {"source_hidden": True}}
    shown = write(drawing, new_code_cell("x = 1"), few={})["few"]
    (closed,) = shown.select("details.closed")
    assert closed.summary.text == "Errors < 1"
    assert "plot()" in closed.text
    assert "errors" not in closed.text
