"""`make course`: what is run again, and what the page shows. (That notebooks run at all: test_papermill.py.)"""

import re

import nbformat
import pytest

from inpaintkit import __main__, runtime
from inpaintkit.apps import course


def test_a_notebook_is_run_again_when_anything_that_it_reads_has_changed(tmp_path, monkeypatch):
    results, package = tmp_path / "results" / "vae", tmp_path / "package"
    for path in (results / "runs.csv", package / "papers" / "vae.toml", package / "apps" / "doctor.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("first")
    (notebook := tmp_path / "01.ipynb").write_text("first")
    monkeypatch.setattr(runtime, "results_dir", lambda: results.parent)
    monkeypatch.setattr(course, "PACKAGE", package)
    seen = [course.inputs_hash(notebook)]
    assert seen[0] == course.inputs_hash(notebook)
    for path in [path for path in tmp_path.rglob("*.*") if path.is_file()]:
        path.write_text("changed")
        seen.append(course.inputs_hash(notebook))
    assert len(set(seen)) == 1 + 4


def rows(part, holes, **means):
    return [{"part": part, "holes": holes, "filler": f, "score": "hole_mse", "mean": m} for f, m in means.items()]


@pytest.fixture
def page(tmp_path):
    """The page for notebooks with these results.json."""

    def write(**records):
        states = []
        for name, record in records.items():
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# About {name} & more")])
            nbformat.write(notebook, tmp_path / f"{name}.ipynb")
            if record is not None:
                runtime.write_json(tmp_path / name / "results.json", record)
            states.append({"name": name, "seconds": 3.0, "problem": None if record is not None else "took <too> long"})
        return course.write_page(states, tmp_path).read_text(encoding="utf8")

    return write


def test_the_page_shows_titles_pictures_and_the_scores_on_the_own_holes(page):
    own, other = rows("test", "own", vae=0.25, ring=0.5), rows("test", "other", vae=0.125)
    scores = own + other + rows("unseen", "own", vae=0.0625)
    scores += [own[0] | {"score": name, "mean": mean} for name, mean in (("collapse", 7.5), ("hole_psnr", 31.0))]
    scores += [{"part": "test", "holes": "own", "filler": "frequency", "note": "needs & wants"}]
    shown = page(work={"paper": "vae", "holes": "own", "scores": scores, "pictures": ["a.jpg"]}, bad=None)
    assert shown.count("<table") == 2
    assert re.findall("<b>(.*?)</b>", shown) == ["0.2500", "31.0", "0.0625"]
    for words in ("About work &amp; more", 'src="work/a.jpg"', "VAE", "mean of a 2-pixel ring", "unseen (mean",
                  "needs &amp; wants", "took &lt;too&gt; long", 'href="work/results.json"'):  # fmt: skip
        assert words in shown, words
    assert not any(absent in shown for absent in ("0.1250", "7.5"))
    masks = [{"filler": "ring", "score": "hole_mse", "mean": 0.125, "n": 8}]  # as notebook 00 writes them
    assert "0.1250" in page(masks={"scores": masks})


def test_a_record_with_little_in_it_does_no_harm(page):
    for record in ({}, {"scores": []}, {"scores": [{"filler": "ring"}]}, {"paper": "no", "scores": []}):
        assert "results.json" in page(small=record)


def test_without_the_notebooks_there_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(runtime, "checkout", lambda: None)
    assert __main__.main(["course"]) == 1
    assert capsys.readouterr().out.count("\n") == 1
