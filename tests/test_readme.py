"""The README and the reports are held to what is in the repository: numbers, links, commands."""

import re
from pathlib import Path

import pytest

from inpaintkit import papers
from inpaintkit.experiments import report

ROOT = Path(__file__).parent.parent
TEXTS = ["README.md", "CONTRIBUTING.md", "grid/README.md", "data/README.md"]


def test_the_generated_parts_are_up_to_date():
    text = (ROOT / "README.md").read_text(encoding="utf8")
    assert report.readme(text) == text, "run: make readme"
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"(notebooks/{path.name})" in text
        assert f"blob/main/notebooks/{path.name}" in text


@pytest.mark.parametrize("paper", papers.PAPERS.values(), ids=lambda paper: paper.id)
def test_the_report_is_what_the_records_say(paper, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "folder", lambda: tmp_path)
    fresh = report.write(paper).read_text(encoding="utf8")
    assert fresh == (ROOT / "docs" / "reports" / f"{paper.notebook}.md").read_text(encoding="utf8")
    for figure in (tmp_path / "figures").glob("*.svg"):
        assert (ROOT / "docs" / "reports" / "figures" / figure.name).exists()


@pytest.mark.parametrize("name", TEXTS)
def test_links_and_make_targets_exist(name):
    text = (ROOT / name).read_text(encoding="utf8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / name).parent / target).exists(), target
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    for target in re.findall(r"^make (\w+)|`make (\w+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "grid/README.md"])
def test_commands_name_the_interpreter_that_has_the_kit(name):
    text = (ROOT / name).read_text(encoding="utf8")
    assert not re.findall(r".*(?<!\.venv/bin/)(?:python -m inpaintkit|papermill \S+\.ipynb).*", text)
