"""`make course` runs notebooks: one that fails or hangs keeps no other from running."""

import nbformat
import pytest

from inpaintkit.apps import course

pytestmark = pytest.mark.slow


def write_notebook(path, source):
    parameters = nbformat.v4.new_code_cell(
        '# @title Defaults\nprofile: str = "demo"  # p\nout_dir: str = None  # o', metadata={"tags": ["parameters"]}
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
    for line in ("00_good: done", "01_bad: failed", "02_last: done"):
        assert line in first
    page = (folder / "index.html").read_text()
    assert page.count("<h2>A title</h2>") == 3
    assert "0.2500" in page
    assert 'class="failed"' in page
    assert (folder / "00_good.html").exists()
    assert "encryption" not in (folder / "00_good.log").read_text(), "the kernel has nothing to warn of"
    assert course.main(folder, [good]) == 0
    assert "00_good: up to date" in capsys.readouterr().out


@pytest.mark.parametrize(("cell", "notebook", "said"), [(240, 12, "12 s"), (2, 420, "2 s in one cell")])
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
