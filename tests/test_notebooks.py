"""The rules of the notebooks, read from the files; nbval (see the Makefile) and test_papermill run them."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import nbformat
import pytest

from inpaintkit import papers, parameters
from inpaintkit.parameters import Common

ROOT = Path(__file__).parent.parent
NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
WORKS = {paper.notebook: paper for paper in papers.PAPERS.values()}
COMMON = ["What you will learn", "Set-up", "1 The problem", "2 The idea"]
TRAINING = ["3 The network", "4 The loss and the step", "5 Training", "6 Results", "7 What differs from the paper"]
END = ["8 Play", "9 Exercises", "10 Summary", "References"]
VOCABULARY = ["3 Scores of pixels", "4 SSIM", "5 What differs from the papers", "6 Play", "7 Exercises", "8 Summary"]
IGNORED = "nbval-ignore-output"  # nbval runs such a cell, and compares nothing
ASKS = re.compile(r"^my_|= None\b|= \.\.\.|return \.\.\.|change it", re.MULTILINE)  # of a student
RECORDS = re.compile(r"\b(answers|records|recorded)\.|grid\.loop")
# What another machine or another hour makes differ: trained weights, seconds, the device, a widget, the last digits of
# sums of many floats.
DIFFERS = re.compile(r"training\.fit|perf_counter|device|play\.|evaluate\.|baselines\.|structural_similarity")

every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def code_cells(name):
    return [cell for cell in NOTEBOOKS[name].cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def parameters_cell(name):
    (cell,) = (cell for cell in code_cells(name) if "parameters" in tags(cell))
    return cell


def without_magics(source):
    return "\n".join(line.replace("%pip", "pass  # ") if "%" in line[:6] else line for line in source.splitlines())


def names_of(source):
    """Names that a cell assigns, and names that it reads."""
    nodes = [node for node in ast.walk(ast.parse(without_magics(source))) if isinstance(node, ast.Name)]
    stored = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
    return stored, {node.id for node in nodes if isinstance(node.ctx, ast.Load)}


def test_there_is_a_notebook_for_every_work_and_one_of_vocabulary():
    assert set(NOTEBOOKS) == {"00_masks_and_metrics", *WORKS}


@every_notebook
def test_headings_follow_the_template(name):
    prose = "\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")
    headings = re.findall(r"^## (.+)$", prose, flags=re.MULTILINE)
    assert headings == COMMON + (TRAINING + END if name in WORKS else [*VOCABULARY, "References"])


@every_notebook
def test_a_notebook_fits_into_an_hour_and_its_sentences_into_a_breath(name):
    prose = "\n\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")
    text = re.sub(r"\$\$.*?\$\$|^\|.*$", "", prose.split("## References")[0], flags=re.DOTALL | re.MULTILINE)
    sentences = re.split(r"(?<=[.!?:])\s+|\n\s*\n|\n- ", text)
    assert [sentence for sentence in sentences if len(sentence.split()) > 30] == []
    assert len(prose.split()) <= 2200
    assert len(NOTEBOOKS[name].cells) <= 50
    assert sum("viz.Table" in cell.source for cell in code_cells(name)) <= 6


@every_notebook
def test_title_card_says_time_machine_licence_and_has_the_badge_of_this_repository(name):
    card = NOTEBOOKS[name].cells[0].source
    assert card.startswith(f"# {name[:2]} · ")
    for word in ("**time**", "cores", "T4:", "**licence**", "**data**"):
        assert word in card
    url = re.search(r'^Repository = "(.+?)"', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE).group(1)
    owner = url.removeprefix("https://github.com/")
    assert f"https://colab.research.google.com/github/{owner}/blob/main/notebooks/{name}.ipynb" in card
    assert f"git+{url}" in code_cells(name)[0].source


@every_notebook
def test_code_cells_are_short(name):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(name) if "parameters" not in tags(cell)]
    assert max(lengths) <= 25
    assert median(lengths) <= 8
    assert sum(length > 15 for length in lengths) <= len(lengths) / 5


@every_notebook
def test_parameters_cell_holds_parameters_of_the_work_with_a_comment_each(name):
    """`parameters.read` leaves out a name that is no parameter: a student's choice would be ignored without a word."""
    cell, cls = parameters_cell(name), WORKS[name].Parameters if name in WORKS else Common
    assert cell.source.startswith("# @title Defaults")
    defaults, told = {}, set(re.findall(r"`(\w+)`: ", "".join(re.findall("^# @markdown.*", cell.source, re.MULTILINE))))
    lines = [line for line in cell.source.splitlines() if not line.startswith("#")]
    for node, line in zip(ast.parse(cell.source).body, lines, strict=True):
        assert isinstance(node, ast.AnnAssign), line
        field = node.target.id
        assert "  # " in line, f"no comment: {line}"
        assert field in told or "  # @param " not in line, f"a field of Colab's form, and no word: {line}"
        for choice in json.loads((re.findall(r"@param (\[.*\])", line) or ["[]"])[0]):
            assert getattr(cls.resolve({field: choice}), field) == choice
        defaults[field] = ast.literal_eval(node.value)
    assert {"profile", "seed"} <= told
    assert defaults.keys() <= cls.model_fields.keys()
    assert {"profile", "dataset", "data_dir", "seed", "out_dir"} <= defaults.keys()
    assert name not in WORKS or {"reading", "epochs", "experiments"} <= defaults.keys()
    assert cls.resolve(defaults).model_dump() == cls.resolve({}).model_dump()  # what the cell says are the defaults
    assert NOTEBOOKS[name].cells.index(cell) < 8
    papermill = pytest.importorskip("papermill")
    assert list(papermill.inspect_notebook(str(ROOT / "notebooks" / f"{name}.ipynb"))) == list(defaults)


@every_notebook
def test_compared_cells_hold_counts_and_outputs(name):
    """nbval compares nothing in a cell without a count: a stripped notebook would pass whatever it says."""
    compared = [cell for cell in code_cells(name) if IGNORED not in tags(cell)]
    assert all(cell.execution_count for cell in code_cells(name))
    shows = [cell for cell in compared if re.search(r"print\(|^(cfg|viz).*\s*\Z", cell.source, flags=re.MULTILINE)]
    assert len(shows) >= 8
    assert all(cell.outputs for cell in shows)
    assert not any(output.output_type == "error" for cell in code_cells(name) for output in cell.outputs)


@every_notebook
def test_only_what_can_differ_is_not_compared(name):
    """A stored table of facts or of recorded results must not be free to say anything."""
    differing = set()  # names whose values may differ: what was measured or trained, and all that came from it
    for cell in code_cells(name):
        stored, read = names_of(cell.source)
        can_differ = bool(DIFFERS.search(cell.source) or read & differing)
        if can_differ:
            differing |= stored - {"cfg", "out"}
        if "training.fit" in cell.source:
            differing |= {"modules", "recipe", "filler", "net", "generator", "discriminator"} & read | {"filler"}
        if IGNORED in tags(cell):
            assert not RECORDS.search(cell.source), f"recorded results are compared:\n{cell.source}"
            assert can_differ, f"nothing here can differ:\n{cell.source}"


@every_notebook
def test_notebooks_are_small_and_clean(name):
    path = ROOT / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size <= 500_000
    text = path.read_text(encoding="utf8")
    raw = json.loads(text)
    nbformat.validate(raw)
    assert raw["metadata"].keys() == {"kernelspec", "language_info"}
    for cell in raw["cells"]:
        source, closed = "".join(cell["source"]), {"jupyter": {"source_hidden": True}, "cellView": "form"}
        wanted = closed if source.startswith("# @title") else {}  # in Jupyter and on Colab
        settings = "parameters" in cell["metadata"].get("tags", [])
        assert source.startswith(parameters.MARK) == settings
        assert settings or not (wanted and ASKS.search(source)), f"a student must see this cell:\n{source}"
        assert {k: v for k, v in cell["metadata"].items() if k != "tags"} == wanted, "no run times, no leftovers"
    assert str(ROOT) not in text
    assert not re.search(r"/(home|root|Users|tmp)/", text), "no path of a machine"
    assert "image/png" in text or "image/jpeg" in text


@every_notebook
def test_no_loop_of_its_own_and_no_helper_twice(name):
    """A notebook calls open, fit, evaluate, viz; functions it defines are the ones it teaches, each in one notebook."""

    def functions(name):
        nodes = [node for cell in code_cells(name) for node in ast.walk(ast.parse(without_magics(cell.source)))]
        return {node.name for node in nodes if isinstance(node, ast.FunctionDef)} - {"__init__", "forward"}

    source = "\n".join(cell.source for cell in code_cells(name))
    shown = "layer.sum().backward()\n"  # the demonstration of a lost convolution
    assert ".backward()\n" not in source.replace(shown, "")
    assert not functions(name) & set().union(*(functions(other) for other in NOTEBOOKS if other != name))


@pytest.mark.slow
def test_a_notebook_that_is_wrong_fails():
    """The canary: four cells whose stored outputs are false in different ways; nbval must let none pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    canary = str(Path(__file__).parent / "canary.ipynb")
    result = subprocess.run([*command, canary], capture_output=True, text=True, env=os.environ, check=False)
    assert result.returncode == 1, result.stdout
    assert "4 failed, 1 passed" in result.stdout
