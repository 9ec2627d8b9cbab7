"""The owner and name of the repository stand in pyproject.toml, and every link to it follows."""

import re
import runpy
import shutil
from pathlib import Path

import pytest

from inpaintkit.experiments import report

ROOT = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns(".*", "results", "runs", "cache", "build", "*.egg-info", "__pycache__")


def texts(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def fork(tmp_path, monkeypatch):
    """A copy of the repository."""
    shutil.copytree(ROOT, tmp_path / "fork", ignore=LEFT_OUT)
    monkeypatch.setattr(report, "root", lambda: tmp_path / "fork")
    link = f'{{"source": "%pip install git+https://github.com/{report.repository()}"}}\n'
    (tmp_path / "fork/notebooks/solutions/05_more.ipynb").write_text(link)
    return tmp_path / "fork"


@pytest.fixture
def rewrite():
    return runpy.run_path(str(ROOT / "tools/badges.py"))["rewrite"]


def test_a_fork_changes_every_link_to_the_repository_and_nothing_else(fork):
    rewrite, ours, theirs = (
        runpy.run_path(str(ROOT / "tools/badges.py"))["rewrite"],
        report.repository(),
        "me/my.fork-2",
    )
    before = texts(fork)
    changed = {path.relative_to(fork) for path in rewrite(theirs)}
    after = texts(fork)
    assert {path for path in before if before[path] != after[path]} == changed
    assert {Path("README.md"), Path("CITATION.cff"), Path("pyproject.toml")} < changed
    assert {path.suffix for path in changed} == {".md", ".cff", ".toml", ".ipynb"}
    for path in changed:
        for old, new in zip(before[path].splitlines(), after[path].splitlines(), strict=True):
            assert new == old or ours.encode() in old
            assert new.count(theirs.encode()) == old.count(ours.encode())
    assert not [path for path, text in after.items() if f"github.com/{ours}".encode() in text and path.suffix != ".py"]
    assert b"/my.fork-2 && cd my.fork-2\n" in after[Path("README.md")]
    readme = after[Path("README.md")].decode()
    assert report.readme(readme) == readme, "make readme would write the old ones"
    rewrite(ours)
    assert texts(fork) == before


@pytest.mark.parametrize("repository", ["", "inpaintkit", "https://github.com/me/fork", "me/my fork"])
def test_what_is_no_owner_and_name_is_refused_and_changes_nothing(fork, rewrite, repository):
    before = texts(fork)
    with pytest.raises(ValueError, match="REPO"):
        rewrite(repository)
    assert texts(fork) == before


def test_links_to_colab_and_installations_name_this_repository_and_files_that_are_there():
    places = [ROOT / "README.md", ROOT / "CITATION.cff", *(ROOT / "notebooks").rglob("*.ipynb")]
    for place in places:
        text = place.read_text(encoding="utf8")
        for repository, path in re.findall(r"/github/([\w.-]+/[\w.-]+)/blob/main/([\w./-]+)", text):
            assert repository == report.repository()
            assert (ROOT / path).exists()
        for repository in re.findall(r"git\+https://github\.com/([\w-]+/[\w.-]+)", text):
            assert repository == report.repository()
    assert f"repository-code: https://github.com/{report.repository()}\n" in (ROOT / "CITATION.cff").read_text()
