"""The notebooks as people run them: odd parameters come back in results.json, wrong ones end with a sentence, and
whoever changes a parameter and runs all again is not refused.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from inpaintkit import papers
from inpaintkit.apps import course

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
WORKS = {paper.notebook: paper for paper in papers.PAPERS.values()}
ODD = {  # values that neither a profile nor a default has; the pictures are a folder of one's own
    "01_autoencoder": {"reading": "as_written", "n_train": 20, "side": 32, "hole": "random", "dense": 512},
    "02_vae": {"reading": "as_run", "n_train": 32, "size": 60, "ratio": 0.3, "squares": 2, "pairs": "shuffled"},
    "03_context_encoder_gan": {"n_train": 20, "head": "full", "mask_train": "strokes", "fill": "noise", "bn_eps": 0.5},
    "04_ssrgan": {"n_train": 12, "size": 32, "p": 0.35, "levels": "all", "per_channel": True, "shuffles": 1},
}
WRONG = {
    "misspelt": (["-p", "epochz", "3"], "unknown parameter 'epochz': did you mean 'epochs'?"),
    "YAML": (["-y", "lr: 1e-3"], "lr must be a number, and '1e-3' is not; in YAML, numbers like 1e-3 need a point"),
}


def papermill(name, folder, options):
    command = [sys.executable, "-m", "papermill", str(NOTEBOOKS / f"{name}.ipynb"), str(folder / "out.ipynb")]
    command += ["--execution-timeout", "240", "--no-progress-bar", "--cwd", str(folder), "-p", "profile", "smoke"]
    command += ["-r", "out_dir", str(folder / "run"), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, env=environment)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All papermill runs of this file, two at a time: {case: (finished process, its folder)}."""
    photos, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(44):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8))
        coarse.resize((180, 120), Image.Resampling.BICUBIC).save(photos / f"{i}.jpg")
    (photos / "broken.jpg").write_text("no picture")
    cases = {"00_masks_and_metrics": ("00_masks_and_metrics", [])}
    for name, odd in ODD.items():
        given = odd | {"seed": 7, "epochs": 2, "n_test": 5, "batch_size": 4, "dataset": "folder"}
        options = [word for key, value in given.items() for word in ("-p", key, str(value))]
        cases[name] = (name, [*options, "-r", "data_dir", str(photos)])
    cases |= {case: ("01_autoencoder", options) for case, (options, _) in WRONG.items()}
    folders = {case: tmp_path_factory.mktemp("run") for case in cases}
    with ThreadPoolExecutor(2) as pool:
        started = {case: pool.submit(papermill, cases[case][0], folders[case], cases[case][1]) for case in cases}
    return {case: (run.result(), folders[case]) for case, run in started.items()}


@pytest.mark.parametrize("name", ODD)
def test_odd_values_are_echoed_and_used(runs, name):
    run, folder = runs[name]
    assert run.returncode == 0, run.stderr[-2000:]
    record = json.loads((folder / "run" / "results.json").read_text())
    assert {key: record["parameters"][key] for key in ODD[name]} == ODD[name]
    assert (record["paper"], record["seed"], record["profile"]) == (WORKS[name].id, 7, "smoke")
    assert record["data"]["counts"] == {"train": ODD[name]["n_train"], "test": 5}
    assert record["history"]["epochs"] == [1, 2]
    assert record["steps"] == record["history"]["steps"][-1]
    assert {"device", "threads", "versions", "revision", "date", "code", "weights"} <= record.keys()
    scored = {(row["part"], row["filler"]) for row in record["scores"] if row["holes"] == record["holes"]}
    assert {("test", "nothing"), ("test", WORKS[name].network)} <= scored
    assert "unseen" not in {part for part, _ in scored}, "what was not measured is absent"
    for file in [*record["pictures"], "weights.safetensors", "images.npz"]:
        assert (folder / "run" / file).stat().st_size > 500
    assert "1 of 45 files skipped: broken.jpg" in (folder / "out.ipynb").read_text()


def test_the_first_notebook_writes_its_scores(runs):
    run, folder = runs["00_masks_and_metrics"]
    assert run.returncode == 0, run.stderr[-2000:]
    assert json.loads((folder / "run" / "results.json").read_text())["scores"]


@pytest.mark.parametrize("case", WRONG)
def test_wrong_parameters_fail_under_bare_papermill(runs, case):
    run, folder = runs[case]
    assert run.returncode == 1
    assert WRONG[case][1] in run.stderr
    assert not (folder / "run" / "results.json").exists()


class Student:
    """One kernel: changes values of the parameters cell, and runs all cells up to the training (or before it) again."""

    def __init__(self, name, runs):
        self.notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        sources = [cell.source if cell.cell_type == "code" else "" for cell in self.notebook.cells]
        self.parameters = next(i for i, source in enumerate(sources) if source.startswith("# Defaults"))
        self.fit = next(i for i, source in enumerate(sources) if "training.fit(" in source)
        self.defaults = sources[self.parameters]
        self.client = NotebookClient(self.notebook, timeout=240, resources={"metadata": {"path": str(runs)}})

    def run(self, train=True, **changed):
        """What the last cell prints: the run's folder, its steps, and the step from which it continued."""
        lines = [f"{name}: object = {value!r}  # set" for name, value in changed.items()]
        cells = self.notebook.cells
        cells[self.parameters].source = "\n".join([self.defaults, *lines])
        last = "print(out, history.steps[-1], history.resumed_from)" if train else "print(out, 0, 0)"
        code = [i for i in range(self.fit + train) if cells[i].cell_type == "code"]
        for index in code:
            self.client.execute_cell(cells[index], index)
        cell = nbformat.v4.new_code_cell(last)
        cells.append(cell)
        self.client.execute_cell(cell, len(cells) - 1)
        return cell.outputs[0].text.split()


@pytest.mark.parametrize("name", WORKS)
def test_whoever_changes_a_parameter_and_runs_all_again_is_not_refused(name, tmp_path, monkeypatch):
    monkeypatch.setenv("INPAINTKIT_RUNS", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    student = Student(name, tmp_path)
    with student.client.setup_kernel():
        with pytest.raises(CellExecutionError, match="unknown question 'nonsense'"):
            student.run(experiments="nonsense", profile="smoke")
        assert not list(tmp_path.rglob("checkpoint.pt")), "refused before the training"
        smoke, steps, _ = student.run(profile="smoke")
        demo, *_ = student.run(train=False, seed=1)  # a demo's training takes a minute: it must only find no other run
        assert smoke != demo
        assert not (Path(demo) / "checkpoint.pt").exists()
        other, *_ = student.run(profile="smoke", seed=1)
        assert student.run(profile="smoke") == [smoke, steps, steps], "a finished run is continued at its end"
        assert smoke != other
        # in a folder that the student named, more epochs and questions continue a finished run
        own = str(tmp_path / "own")
        student.run(profile="smoke", out_dir=own)
        asked = next(iter(student_questions(name)))
        longer = student.run(profile="smoke", out_dir=own, epochs=2, experiments=asked)
        assert longer == [own, str(2 * int(steps)), steps]
        with pytest.raises(CellExecutionError, match="belongs to another run"):
            student.run(profile="smoke", out_dir=own, seed=3)


def student_questions(name):
    from inpaintkit.experiments import questions

    return questions.questions(WORKS[name])


# --- make course ------------------------------------------------------------------------------------------------------


def write_notebook(path, source):
    parameters = nbformat.v4.new_code_cell(
        '# Defaults\nprofile: str = "demo"  # p\nout_dir: str = None  # o', metadata={"tags": ["parameters"]}
    )
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    cells = [nbformat.v4.new_markdown_cell("# A title"), parameters, nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def test_course_runs_all_notebooks_though_one_fails_and_skips_good_ones_the_next_time(tmp_path, capsys):
    row = {"part": "test", "holes": "square", "filler": "nothing", "score": "hole_mse", "mean": 0.25}
    good = write_notebook(
        tmp_path / "00_good.ipynb",
        "import json, pathlib\nout = pathlib.Path(out_dir)\nout.mkdir(parents=True, exist_ok=True)\n"
        f'(out / "results.json").write_text(json.dumps({{"scores": [{row!r}]}}))',
    )
    bad = write_notebook(tmp_path / "01_bad.ipynb", "1 / 0")
    last = write_notebook(tmp_path / "02_last.ipynb", "print(profile)")
    folder = tmp_path / "course"
    assert course.main(folder, [good, bad, last]) == 1
    first = capsys.readouterr().out
    assert [f"{name}: {how}" in first for name, how in (("00_good", "done"), ("01_bad", "failed"), ("02_last", "done"))]
    page = (folder / "index.html").read_text()
    assert page.count("<h2>A title</h2>") == 3
    assert "0.2500" in page
    assert 'class="failed"' in page
    assert (folder / "00_good.html").exists()
    assert course.main(folder, [good, last]) == 0
    assert "00_good: up to date" in capsys.readouterr().out


@pytest.mark.parametrize(("cell", "notebook", "said"), [(240, 10, "10 s"), (5, 420, "5 s in one cell")])
def test_course_ends_a_notebook_that_hangs_and_runs_it_once_more(tmp_path, capsys, monkeypatch, cell, notebook, said):
    marker = tmp_path / "first_time"
    hangs_once = write_notebook(
        tmp_path / "00_hangs.ipynb",
        f"import pathlib, time\nmarker = pathlib.Path({str(marker)!r})\n"
        "if not marker.exists():\n    marker.write_text('')\n    time.sleep(600)",
    )
    monkeypatch.setattr(course, "CELL_SECONDS", cell)
    monkeypatch.setattr(course.run_notebook, "__defaults__", (notebook,))
    assert course.main(tmp_path / "course", [hangs_once]) == 0
    out = capsys.readouterr().out
    assert f"00_hangs: took longer than {said}; running it once more" in out
    assert "00_hangs: done" in out
