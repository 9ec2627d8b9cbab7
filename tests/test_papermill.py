"""The notebooks as people run them: odd parameters come back in results.json, a wrong one ends with a sentence, and
whoever changes a parameter and runs all again is not refused. (Which parameters are wrong: test_parameters.py.)
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from inpaintkit import papers, parameters, shipped
from inpaintkit.experiments import questions

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
NAMES = [path.stem for path in NOTEBOOKS.glob("*.ipynb")]
WORKS = {paper.notebook: paper for paper in papers.PAPERS.values()}
ODD = {  # values that neither a profile nor a default has; the pictures are a folder of one's own
    "01_autoencoder": {"reading": "as_written", "n_train": 20, "side": 32, "hole": "random", "dense": 512},
    "02_vae": {"reading": "as_run", "n_train": 32, "size": 60, "ratio": 0.3, "squares": 2, "pairs": "shuffled"},
    "03_context_encoder_gan": {"n_train": 20, "head": "full", "mask_train": "strokes", "fill": "noise", "bn_eps": 0.5},
    "04_ssrgan": {"n_train": 12, "size": 32, "p": 0.35, "levels": "all", "per_channel": True, "shuffles": 1},
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where the package lies as pip installs its wheel, away from its repository: on Colab a notebook has no more."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("inpaintkit", "results"):
        shutil.copytree(NOTEBOOKS.parent / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(NOTEBOOKS.parent / name, source)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, str(site), str(source)], check=True, timeout=120)
    return site


def test_the_package_alone_has_portraits_and_recorded_runs(installed, tmp_path):
    code = """
import inpaintkit
from inpaintkit import data, papers, runtime
from inpaintkit.experiments import records
print(inpaintkit.__file__, runtime.checkout())
print(data.open("portraits", size=64), [len(records.load(paper).runs) for paper in papers.PAPERS.values()])
"""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.stdout.startswith(f"{installed}/inpaintkit/__init__.py None\n"), said.stderr
    assert "780 train, 95 test" in said.stdout
    assert ", 0" not in said.stdout


def papermill(installed, name, folder, options):
    """A notebook in an empty folder."""
    command = [sys.executable, "-m", "papermill", str(NOTEBOOKS / f"{name}.ipynb"), str(folder / "out.ipynb")]
    command += ["--execution-timeout", "240", "--no-progress-bar", "--cwd", str(folder), "-p", "profile", "smoke"]
    command += ["-r", "out_dir", str(folder / "run"), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(installed)}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=500, check=False, env=environment
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory, installed):
    """All papermill runs of this file, two at a time: {case: (finished process, its folder)}."""
    photos, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(44):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8))
        coarse.resize((180, 120), Image.Resampling.BICUBIC).save(photos / f"{i}.jpg")
    (photos / "broken.jpg").write_text("no picture")
    cases = {"00_masks_and_metrics": [], "misspelt": ["-p", "epochz", "3"]}
    for name, odd in ODD.items():
        given = odd | {"seed": 7, "epochs": 2, "n_test": 5, "batch_size": 4, "dataset": "folder"}
        options = [word for key, value in given.items() for word in ("-p", key, str(value))]
        cases[name] = [*options, "-r", "data_dir", str(photos)]
    folders = {case: tmp_path_factory.mktemp("run") for case in cases}
    names = [case if case in NAMES else "01_autoencoder" for case in cases]
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(partial(papermill, installed), names, folders.values(), cases.values())
    return {case: (run, folders[case]) for case, run in zip(cases, done, strict=True)}


@pytest.mark.parametrize("name", ODD)
def test_odd_values_are_echoed_and_used(runs, name):
    run, folder = runs[name]
    assert run.returncode == 0, run.stderr[-2000:]
    record = json.loads((folder / "run" / "results.json").read_text())
    used = record["parameters"] | {"reading": record["reading"]}
    assert {key: used[key] for key in ODD[name]} == ODD[name]
    assert (record["paper"], record["seed"], record["profile"]) == (WORKS[name].id, 7, "smoke")
    assert record["data"]["counts"] == {"train": ODD[name]["n_train"], "test": 5}
    assert record["history"]["epochs"] == [1, 2]
    assert record["steps"] == record["history"]["steps"][-1]
    assert {"device", "threads", "versions", "date", "code", "weights"} <= record.keys()
    assert record["revision"] is None, "the repository is nowhere near"
    scored = {(row["part"], row["filler"]) for row in record["scores"] if row["holes"] == record["holes"]}
    assert {("test", "nothing"), ("test", WORKS[name].network)} <= scored
    assert "unseen" not in {part for part, _ in scored}, "what was not measured is absent"
    for file in [*record["pictures"], "weights.safetensors", "images.npz"]:
        assert (folder / "run" / file).stat().st_size > 500
    assert "1 of 45 files skipped: broken.jpg" in (folder / "out.ipynb").read_text()


def test_the_first_notebook_writes_its_scores(runs):
    run, folder = runs["00_masks_and_metrics"]
    assert run.returncode == 0, run.stderr[-2000:]
    record = json.loads((folder / "run" / "results.json").read_text())
    assert record["scores"]
    assert record["revision"] is None


def test_a_misspelt_parameter_ends_a_notebook_under_bare_papermill(runs):
    run, folder = runs["misspelt"]
    assert run.returncode == 1
    assert "did you mean 'epochs'?" in run.stderr
    assert not (folder / "run" / "results.json").exists()


class Student:
    """One kernel: changes the parameters cell, and runs again all cells that lead to the training, and it."""

    def __init__(self, name, folder):
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self.fit = next(cell for cell in cells if "training.fit(" in cell.source)
        self.cells, needed = [], set()
        for cell in reversed(cells[: cells.index(self.fit) + 1]):  # only what the training needs
            nodes = list(ast.walk(ast.parse(cell.source.replace("%pip", "pass # "))))
            made = {getattr(node, "asname", None) or getattr(node, "name", None) for node in nodes}
            made |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
            if cell is self.fit or made & needed or cell.source.startswith(parameters.MARK):
                self.cells.insert(0, cell)
                needed = needed - made | {node.id for node in nodes if isinstance(node, ast.Name)} - made
        self.cells.append(nbformat.v4.new_code_cell("print(out, history.steps[-1], history.resumed_from)"))
        self.parameters = next(cell for cell in self.cells if cell.source.startswith(parameters.MARK))
        self.defaults = self.parameters.source
        notebook.cells = self.cells
        self.client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(folder)}})

    def run(self, **changed):
        """Folder and steps of the run, and the step from which it continued."""
        lines = [f"{name}: object = {value!r}  # changed" for name, value in changed.items()]
        self.parameters.source = "\n".join([self.defaults, *lines])
        for index, cell in enumerate(self.cells):
            self.client.execute_cell(cell, index)
        return "".join(output.text for output in self.cells[-1].outputs).split()  # one print may come in two messages


@pytest.mark.parametrize("name", WORKS)
def test_whoever_changes_a_parameter_and_runs_all_again_is_not_refused(name, tmp_path, monkeypatch):
    monkeypatch.setenv("INPAINTKIT_RUNS", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    student, question = Student(name, tmp_path), next(iter(questions.questions(WORKS[name])))
    small = {"profile": "smoke", "anneal": False}  # a learning rate that does not follow from the number of epochs
    with student.client.setup_kernel():
        with pytest.raises(CellExecutionError, match="unknown question 'nonsense'"):
            student.run(**small, experiments="nonsense")
        assert not list(tmp_path.rglob("checkpoint.pt")), "refused before the training"
        smoke, steps, _ = student.run(**small)
        assert student.run(**small) == [smoke, steps, steps], "a finished run is found again"
        # a folder that was named: more epochs and questions continue a finished run, another run is refused
        longer = student.run(**small, out_dir=smoke, epochs=2, experiments=question)
        assert longer == [smoke, str(2 * int(steps)), steps]
        with pytest.raises(CellExecutionError, match="belongs to another run"):
            student.run(**small, out_dir=smoke, seed=3)
        reading = shipped.parameters(WORKS[name].id)["reading"]
        loaded, steps, _ = student.run(weights="ours", reading=reading, anneal=True)
        assert not (Path(loaded) / "checkpoint.pt").exists()
        assert int(steps) > 1000
        # no folder named: another seed, or all defaults, get folders of their own, in which no training is begun here
        student.cells = student.cells[: 1 + next(i for i, c in enumerate(student.cells) if "out = " in c.source)]
        student.cells.append(nbformat.v4.new_code_cell("print(out, (out / 'checkpoint.pt').exists())"))
        for given in (small | {"seed": 1}, {}):
            other, met_another = student.run(**given)
            assert other != smoke
            assert met_another == "False"
