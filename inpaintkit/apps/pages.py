"""The pages of `make course`: one for each executed notebook, and one that leads to them all.

They need neither a network nor a server: formulas are drawings, pictures are inside, and links lead to the other pages.
"""

import base64
import html
import json
import os
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import jinja2
import nbformat
import pandas as pd
import torch
import ziamath
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from inpaintkit import __version__, evaluate, fills, papers, runtime, viz

SHOWN = ("hole_mse", "hole_psnr", "image_ssim", "image_nmse")  # the scores on the page
PARTS = {"train": "training pictures", "test": "test pictures", "unseen": "unseen pictures, of another kind"}
WIDGET = "application/vnd.jupyter.widget-view+json"
LIVE = "*Here the notebook has a live control: open it in Jupyter.*"
ziamath.config.svg2 = False  # each formula holds its own letters

# On a small screen a wide picture, table or formula moves inside its box: made narrower, its letters could not be read.
# Pictures bring a white ground, in the dark theme, too.
BOXES = """
.box { overflow-x: auto } .box:focus-visible { outline: 2px solid }
.box img { display: block; height: auto; max-width: max(100%, 44rem); background: white }
"""
INDEX_STYLE = """
:root { color-scheme: light dark; --ink: #222; --ground: #fff; --line: #ccc; --link: #0a58a6; --wrong: #b00020 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --ground: #16181b; --line: #444; --link: #8ab8ff; --wrong: #ffb4ab } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--ground) }
a { color: var(--link) } section { margin: 3.5rem 0; border-top: 1px solid var(--line) }
h3 { margin: 2rem 0 0.25rem } figure { margin: 0 0 1.5rem }
figcaption, .caption { font-size: 0.9rem; margin: 0 0 0.5rem }
table { border-collapse: collapse; font-size: 0.85rem } .failed { color: var(--wrong) }
td, th { padding: 0.15rem 0.4rem; border-bottom: 1px solid var(--line) } td { white-space: nowrap }
@media (min-width: 40rem) { td, th { padding: 0.15rem 0.8rem } }
"""
INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>inpaintkit: the course</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{{ style }}</style></head>
<body><main><h1>inpaintkit</h1><p>Version {{ version }}, profile demo, {{ machine }}.
Every number on this page was produced by the runs that it links to.</p>
<nav><ul>{% for one in sections %}<li><a href="#{{ one.name }}">{{ one.title }}</a></li>{% endfor %}</ul></nav>
{% for one in sections %}<section id="{{ one.name }}"><h2>{{ one.title }}</h2>
<p>{% for address, words in one.links %}<a href="{{ address }}">{{ words }}</a> · {% endfor %}{{ one.time }}</p>
{% if one.problem %}<p class="failed"><strong>Not finished:</strong> {{ one.problem }}</p>{% endif %}
{% for picture in one.pictures %}{% if loop.changed(picture.heading) %}<h3>{{ picture.heading }}</h3>{% endif %}
<figure><figcaption>{{ picture.alt }}</figcaption>{{ picture.image | safe }}</figure>{% endfor %}
{% for table in one.tables %}<h3>{{ table.heading }}</h3><p class="caption">{{ table.caption }}</p>
<div class="box" tabindex="0">{{ table.table | safe }}</div>{% endfor %}
</section>{% endfor %}</main></body></html>
"""
# What nbconvert would load from a network is left out; its dark theme is for browsers that ask for one.
NOTEBOOK = """{% extends "index.html.j2" %}
{% block html_head_js %}{% endblock %}{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_css %}
{{ resources.include_css("static/theme-dark.css") | replace("<style", '<style media="(prefers-color-scheme: dark)"') }}
<style>BOXES
nav { margin: 1rem } nav a { color: var(--jp-content-link-color); text-decoration: underline }
.formula { text-align: center }
.jp-Cell .jp-InputArea-editor, .jp-Cell .jp-OutputArea-output { overflow-x: auto }
@media (max-width: 760px) {
  .jp-Cell .jp-InputArea-editor, .jp-Cell .jp-OutputArea-output { display: block; width: auto } }
.closed { margin: 0.5rem 1rem; color: var(--jp-ui-font-color2) }
</style>{% endblock %}
{% block input_group %}{% if cell.metadata.get("jupyter", {}).get("source_hidden") %}
<details class="closed"><summary>{{ cell.source.split("\n")[0].removeprefix("# @title ") | escape }}</summary>
{{ super() }}</details>
{% else %}{{ super() }}{% endif %}{% endblock %}
{% set back %}<nav><a href="index.html">All notebooks of this run</a></nav>{% endset %}
{% block body_header %}{{ super() }}{{ back }}{% endblock %}
{% block body_footer %}{{ back }}{{ super() }}{% endblock %}
""".replace("BOXES", BOXES)


def write_page(states: list[dict], folder: Path, machine: str) -> Path:
    """Writes NAME.html for each executed notebook, and index.html with their pictures and tables; returns the latter.

    Args:
        states: a line for each notebook, as `course.run_or_skip` returns them.
        folder: the folder of the executed notebooks NAME.ipynb, and of their results in NAME/.
        machine: what they ran on, in words.
    """
    executed = {one["name"] for one in states if (folder / f"{one['name']}.ipynb").exists()}
    sections = []
    for state in states:
        name = title = state["name"]
        pictures: dict[bytes, dict] = {}
        if name in executed:
            notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
            title, pictures = _title(notebook) or name, _replace_pictures(notebook)
            _write(folder / f"{name}.html", _notebook_page(notebook, title, folder, executed))
        sections.append(_section(state, title, pictures, folder))
    words = {"style": BOXES + INDEX_STYLE, "version": __version__, "machine": machine, "sections": sections}
    return _write(folder / "index.html", jinja2.Environment(autoescape=True).from_string(INDEX).render(words))


def _write(path: Path, page: str) -> Path:
    with runtime.atomic_write(path) as part:
        part.write_text(page, encoding="utf8")
    return path


def _image(address: str, alt: str, width: int | None = None) -> str:
    size = f' width="{width}"' if width else ""
    return f'<div class="box" tabindex="0"><img src="{address}" alt="{html.escape(alt)}"{size}></div>'


# --- an executed notebook ---------------------------------------------------------------------------------------------


class _Markdown(IPythonRenderer):
    """Markdown of a notebook in notebooks/, as HTML for ``folder``, which has the pages of the notebooks ``pages``."""

    def __init__(self, folder: Path, pages: Collection[str]):
        super().__init__(escape=False)
        self.folder, self.pages = folder.resolve(), pages

    def link(self, text: str, url: str, title: str | None = None) -> str:
        here, original = Path(url), (runtime.checkout() or Path()) / "notebooks" / url
        if here.suffix == ".ipynb" and str(here.with_suffix("")) in self.pages:
            url = f"{here.stem}.html"
        elif "://" not in url and original.exists():
            url = quote(Path(os.path.relpath(original, self.folder)).as_posix())
        return super().link(text, url, title)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return text if "://" in url else super().image(text, url, title)  # a badge is on the network

    def inline_math(self, body: str) -> str:
        return _formula(body, inline=True)

    def block_math(self, body: str) -> str:
        return f'<div class="box formula" tabindex="0">{_formula(body, inline=False)}</div>'


def _formula(tex: str, inline: bool) -> str:
    """A formula as a drawing, with its TeX for screen readers; as TeX, if it cannot be drawn."""
    try:
        drawn = ziamath.Latex(tex.strip(), inline=inline, size=15, color="currentColor")
    except Exception:  # of many kinds; a slip in one formula must not cost the page
        return f"<code>{html.escape(tex)}</code>"
    svg = drawn.svgxml()
    style = f"vertical-align: {drawn.getyofst():.1f}px" if inline else ""
    svg.attrib |= {"role": "img", "aria-label": tex.strip(), "style": style}
    return ElementTree.tostring(svg, encoding="unicode")


def _title(notebook: nbformat.NotebookNode) -> str | None:
    return next((found[0] for cell in notebook.cells if (found := _headings(cell))), None)


def _headings(cell: nbformat.NotebookNode) -> list[str]:
    return re.findall(r"^#+ +(.+)", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []


def _replace_pictures(notebook: nbformat.NotebookNode) -> dict[bytes, dict]:
    """Puts HTML with words in the place of pictures and of what only Jupyter can show.

    The words are the picture's own alternative text, else the output's text, else the section's heading. Returns
    {"heading", "alt", "width"} of each picture, by its bytes.
    """
    heading, found = "", {}
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        heading = (_headings(cell) or [heading])[-1]
        for output in cell.get("outputs", []):
            data, text = output.get("data", {}), output.get("data", {}).get("text/plain", "<")
            if data.pop(WIDGET, None) and set(data) <= {"text/plain"}:
                # a progress bar has nothing to show any more
                output["data"] = {"text/plain": ""} if "%|" in text else {"text/markdown": LIVE}
            for kind in {"image/png", "image/jpeg"} & set(data) if "text/html" not in data else ():
                own = output.metadata.get(kind, {})
                alt = own.get("alt") or (heading if text.startswith("<") else text)
                data["text/html"] = _image(f"data:{kind};base64,{data[kind].strip()}", alt, own.get("width"))
                found[base64.b64decode(data[kind])] = {"heading": heading, "alt": alt, "width": own.get("width")}
    return found


def _notebook_page(notebook: nbformat.NotebookNode, title: str, folder: Path, pages: Collection[str]) -> str:
    notebook.metadata["title"] = title

    def markdown(source: str) -> str:
        return MarkdownWithMath(renderer=_Markdown(folder, pages)).render(source)

    page, _ = HTMLExporter(raw_template=NOTEBOOK, filters={"markdown2html": markdown}).from_notebook_node(notebook)
    return page


# --- the page of all --------------------------------------------------------------------------------------------------


def _section(state: dict, title: str, pictures: dict[bytes, dict], folder: Path) -> dict:
    """What `INDEX` shows of one notebook; ``pictures`` are the ones that the notebook shows."""
    name = state["name"]
    section = {"name": name, "title": title, "time": f"{state['seconds']:.0f} s", "problem": state["problem"]}
    section["links"] = [(f"{name}.html", "read the executed notebook"), (f"{name}.ipynb", "as .ipynb")]
    section["links"] = [link for link in section["links"] if (folder / link[0]).exists()]
    results = folder / name / "results.json"
    if state["problem"] or not results.exists():
        return section
    measured = json.loads(results.read_text(encoding="utf8"))
    section["links"].append((f"{name}/results.json", "results.json"))
    section["tables"], section["pictures"] = _tables(measured), []
    for file in (folder / name / picture for picture in measured.get("pictures", [])):
        about = pictures.get(file.read_bytes() if file.exists() else b"") or {"heading": "Pictures", "alt": file.name}
        image = _image(f"{name}/{quote(file.name)}", about["alt"], about.get("width"))
        section["pictures"].append(about | {"image": image, "heading": re.sub(r"^\d+ ", "", about["heading"])})
    return section


def _tables(measured: dict) -> list[dict]:
    """A table for each part: the mean scores of the network and of the fills beside it, on the record's own holes."""
    columns = ["part", "holes", "filler", "score", "mean", "n", "note"]
    rows = pd.DataFrame(measured.get("scores") or [], columns=columns)
    if "holes" in measured:
        rows = rows[rows["holes"] == measured["holes"]]
    labels, tables = _labels(measured.get("paper")), []
    for part, here in rows.groupby("part", sort=False, dropna=False):
        table = []
        for filler, of_one in here.groupby("filler", sort=False):
            means = dict(zip(of_one["score"], of_one["mean"], strict=True))
            line = {evaluate.SCORES[score].label: means[score] for score in SHOWN if score in means}
            notes = of_one["note"].dropna().tolist()
            table.append({"filler": labels.get(filler, filler)} | line | ({"note": notes[0]} if notes else {}))
        count = f" of {here['n'].max():.0f} pictures" if here["n"].notna().any() else ""
        tables.append(
            {
                "heading": f"Scores: {PARTS.get(part, part) if isinstance(part, str) else 'test pictures'}",
                "caption": f"Means{count}. Bold: the best of the column.",
                "table": viz.Table(table, best=True)._repr_html_(),
            }
        )
    return tables


def _labels(paper: str | None) -> dict[str, str]:
    """The words for people of all ids of fillers that a record of a work may hold."""
    labels = {id: fills.label(id) for id in fills.FILLS}
    if paper in papers.PAPERS:
        work = papers.get(paper)
        cfg = work.Parameters()
        with torch.device("meta"):
            modules = work.build(cfg)
        labels |= {filler.id: filler.label for filler in (work.filler(modules, cfg), *work.other_fillers(modules, cfg))}
    return labels
