"""`make course`: what is run again. (That notebooks run at all: test_papermill.py; what is shown: test_pages.py.)"""

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


def test_without_the_notebooks_there_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(runtime, "checkout", lambda: None)
    assert __main__.main(["course"]) == 1
    assert capsys.readouterr().out.count("\n") == 1
