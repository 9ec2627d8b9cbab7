"""`make lab`: students work on copies, and what they have written there is never lost."""

import re

import pytest
from jupyter_client import KernelManager
from jupyter_server.serverapp import ServerApp
from jupyterlab.labapp import LabApp

from inpaintkit import runtime
from inpaintkit.apps import lab


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    for name in ("01.ipynb", "solutions/01.ipynb"):
        (tmp_path / "notebooks" / name).write_text("original")
    return tmp_path


def test_a_copy_is_made_once_and_belongs_to_the_student(checkout):
    original, copy = checkout / "notebooks" / "01.ipynb", checkout / lab.FOLDER / "01.ipynb"
    assert lab.FOLDER in " ".join(lab.copy_notebooks(checkout))
    assert (copy.read_text(), (copy.parent / "solutions" / "01.ipynb").read_text()) == ("original", "original")
    copy.write_text("mine")
    assert len(lab.copy_notebooks(checkout)) == 1
    original.write_text("newer")
    assert "01.ipynb" in lab.copy_notebooks(checkout)[1]
    assert (copy.read_text(), original.read_text()) == ("mine", "newer")
    copy.unlink()
    assert len(lab.copy_notebooks(checkout)) == 1
    assert copy.read_text() == "newer"
    assert len(lab.copy_notebooks(checkout)) == 1


def test_a_copy_is_kept_though_its_making_was_interrupted(checkout):
    lab.copy_notebooks(checkout)
    (checkout / lab.FOLDER / lab.RECORD).unlink()
    (checkout / lab.FOLDER / "01.ipynb").write_text("mine")
    assert len(lab.copy_notebooks(checkout)) == 1
    assert (checkout / lab.FOLDER / "01.ipynb").read_text() == "mine"


def test_the_copies_are_ignored_by_git():
    assert f"/{lab.FOLDER}/" in (runtime.checkout() / ".gitignore").read_text().split()


def test_jupyterlab_knows_the_options_and_takes_photographs_of_30_mb(tmp_path):
    classes = {kind.__name__: kind for kind in (ServerApp, LabApp, KernelManager)}
    given = dict(re.findall(r"--(\w+\.\w+)=(.*)", "\n".join(lab.options(tmp_path))))
    for option in given:
        kind, trait = option.split(".")
        assert trait in classes[kind].class_trait_names(config=True), option
    settings = ServerApp.class_traits()["tornado_settings"].from_string(given["ServerApp.tornado_settings"])
    assert settings["websocket_max_message_size"] > 30e6
