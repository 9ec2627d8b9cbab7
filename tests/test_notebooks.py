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

ROOT = Path(__file__).parent.parent
NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
COMMON = ["What you will learn", "Set-up", "1 The problem", "2 The idea"]
TRAINING = ["3 The network", "4 The loss and the step", "5 Training", "6 Results", "7 What differs from the paper"]
VOCABULARY = ["3 SSIM, term by term", "4 Which window?", "5 Which average, which range, which pixels?", "6 Results"]
VOCABULARY += ["7 What differs from the papers"]
END = ["8 Exercises", "9 Summary", "References"]
ANYTHING = {
    "parameters": {"profile", "dataset", "data_dir", "seed", "out_dir"},
    "training": {"reading", "epochs", "experiments"},
}

every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def code_cells(name):
    return [cell for cell in NOTEBOOKS[name].cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def prose(name):
    return "\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")


def trains(name):
    return not name.startswith("00")


def test_there_are_notebooks_to_check():
    assert {"00_masks_and_metrics", "01_autoencoder", "02_vae", "03_context_encoder_gan", "04_ssrgan"} <= set(NOTEBOOKS)


@every_notebook
def test_headings_follow_the_template(name):
    headings = re.findall(r"^## (.+)$", prose(name), flags=re.MULTILINE)
    assert headings == COMMON + (TRAINING if trains(name) else VOCABULARY) + END


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
    lengths = [len(cell.source.splitlines()) for cell in code_cells(name)]
    assert max(lengths) <= 25
    assert median(lengths) <= 8
    assert sum(length > 15 for length in lengths) <= len(lengths) / 5


@every_notebook
def test_one_parameters_cell_of_literals_with_a_comment_each(name):
    tagged = [cell for cell in code_cells(name) if "parameters" in tags(cell)]
    assert len(tagged) == 1
    source = tagged[0].source
    assert source.splitlines()[0].startswith("# Defaults")
    names = set()
    for node, line in zip(ast.parse(source).body, source.splitlines()[1:], strict=True):
        assert isinstance(node, ast.AnnAssign), line
        ast.literal_eval(node.value)
        assert "  # " in line, f"no comment: {line}"
        names.add(node.target.id)
    wanted = ANYTHING["parameters"] | (ANYTHING["training"] if trains(name) else set())
    assert wanted <= names
    assert NOTEBOOKS[name].cells.index(tagged[0]) < 8


@every_notebook
def test_papermill_sees_every_parameter(name):
    papermill = pytest.importorskip("papermill")
    seen = papermill.inspect_notebook(str(ROOT / "notebooks" / f"{name}.ipynb"))
    cell = next(cell for cell in code_cells(name) if "parameters" in tags(cell))
    assert list(seen) == [node.target.id for node in ast.parse(cell.source).body]
    assert all(parameter["help"] for parameter in seen.values())


@every_notebook
def test_compared_cells_hold_counts_and_outputs(name):
    """nbval compares nothing in a cell without a count: a stripped notebook would pass whatever it says."""
    compared = [cell for cell in code_cells(name) if "nbval-ignore-output" not in tags(cell)]
    assert all(cell.execution_count for cell in code_cells(name))
    shows = [cell for cell in compared if "print(" in cell.source or cell.source.rstrip().splitlines()[-1] == "cfg"]
    assert len(shows) >= 8
    assert all(cell.outputs for cell in shows)
    assert not any(output.output_type == "error" for cell in code_cells(name) for output in cell.outputs)


@every_notebook
def test_notebooks_are_small_and_clean(name):
    path = ROOT / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size <= 400_000
    raw = json.loads(path.read_text(encoding="utf8"))
    nbformat.validate(raw)
    assert raw["metadata"].keys() == {"kernelspec", "language_info"}
    for cell in raw["cells"]:
        assert cell["metadata"].keys() <= {"tags"}, "no run times, no papermill leftovers"
    text = path.read_text(encoding="utf8")
    assert str(ROOT) not in text
    assert not re.search(r"/(home|root|Users|tmp)/", text), "no path of a machine"
    assert "image/png" in text or "image/jpeg" in text


@every_notebook
def test_no_loop_of_its_own_and_no_helper_twice(name):
    """A notebook calls open, fit, evaluate, viz; functions it defines are the ones it teaches, each in one notebook."""
    source = "\n".join(
        cell.source for cell in code_cells(name) if not cell.source.lstrip().startswith(("%", "import sys"))
    )
    assert ".backward()\n" not in source.replace(
        "layer.sum().backward()\n", ""
    )  # the demonstration of a lost convolution
    defined = set(re.findall(r"^def (\w+)", source, flags=re.MULTILINE))
    others = "\n".join(cell.source for other in NOTEBOOKS if other != name for cell in code_cells(other))
    assert not {d for d in defined if re.search(rf"^def {d}\b", others, flags=re.MULTILINE)}


def test_a_notebook_that_is_wrong_fails():
    """The canary: three cells whose stored outputs are false in different ways; nbval must let none pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    result = subprocess.run(
        [*command, str(Path(__file__).parent / "canary.ipynb")],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert result.returncode == 1, result.stdout
    assert "3 failed, 1 passed" in result.stdout
