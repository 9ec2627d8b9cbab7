"""Setting up .venv, with the installer replaced: what is refused, what is repeated, what is not."""

import importlib.util
import os
import sys
from collections import namedtuple
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "tools" / "setup_env.py"


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """tools/setup_env.py for a checkout in tmp_path; ``calls`` collects the commands, ``fails`` names one to fail."""
    spec = importlib.util.spec_from_file_location("setup_env", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "tools").mkdir()
    for name in ("requirements.txt", "requirements.lock", "pyproject.toml", "tools/setup_env.py"):
        (tmp_path / name).write_text(name)
    venv = tmp_path / ".venv"
    places = {"ROOT": tmp_path, "VENV": venv, "OLD": tmp_path / ".venv.old", "PYTHON": venv / "bin" / "python"}
    places |= {"STAMP": venv / "inpaintkit.stamp", "BEGUN": venv / "inpaintkit.begun"}
    for name, path in places.items():
        monkeypatch.setattr(module, name, str(path))
    module.calls, module.fails = [], None

    def call(command, cwd):
        module.calls.append(" ".join(map(str, command)))
        if "-m venv" in module.calls[-1]:
            os.makedirs(venv / "bin")
            (venv / "bin" / "python").write_text("")
        return 1 if module.fails and module.fails in module.calls[-1] else 0

    monkeypatch.setattr(module.subprocess, "call", call)
    monkeypatch.delenv("TORCH", raising=False)
    return module


@pytest.fixture(autouse=True)
def plenty_of_room(monkeypatch):
    free_space(monkeypatch, 100e9)


def free_space(monkeypatch, free):
    monkeypatch.setattr("shutil.disk_usage", lambda path: namedtuple("usage", "total used free")(200e9, 0, free))


def test_first_run_installs_and_the_second_does_nothing(setup, capsys):
    setup.main()
    assert len(setup.calls) == 4, "environment, uv, packages, the package itself"
    assert "-r requirements.txt -c requirements.lock" in setup.calls[2]
    assert "GB to download" in capsys.readouterr().out
    setup.main()
    assert len(setup.calls) == 4
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_list_is_installed_into_the_same_environment(setup, name):
    setup.main()
    Path(setup.ROOT, name).write_text("changed")
    setup.main()
    assert len(setup.calls) == 4 + 3, "the environment is kept"


def test_an_interrupted_installation_is_not_taken_for_a_finished_one(setup, capsys):
    setup.fails = "requirements.lock"
    with pytest.raises(SystemExit, match="is there a network"):
        setup.main()
    setup.fails = None
    setup.main()
    assert "interrupted installation" in capsys.readouterr().out
    assert len(setup.calls) == 3 + 4
    os.remove(setup.PYTHON)  # as after the system's Python was replaced
    setup.main()
    assert len(setup.calls) == 3 + 4 + 4


def test_the_small_build_is_kept_when_torch_is_not_named_again(setup, monkeypatch):
    monkeypatch.setenv("TORCH", "cpu")
    setup.main()
    assert "--torch-backend cpu" in setup.calls[2]
    monkeypatch.setenv("TORCH", "")
    setup.main()
    assert len(setup.calls) == 4
    monkeypatch.setenv("TORCH", "rocm")
    with pytest.raises(SystemExit, match="TORCH=rocm is not known"):
        setup.main()


@pytest.mark.parametrize("version", [(2, 7), (3, 9), (3, 14)])
def test_another_python_gets_one_sentence(setup, monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", (*version, 0))
    with pytest.raises(
        SystemExit, match=r"Python 3.10 to 3.13 is needed and this is {}\.{}; name one".format(*version)
    ):
        setup.main()
    assert setup.calls == []


def test_a_missing_venv_module_names_the_package(setup, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit, match=r"sudo apt install python3\.\d+-venv"):
        setup.main()
    assert not Path(setup.VENV).exists()


def test_a_full_disk_and_a_strange_folder_are_left_alone(setup, monkeypatch):
    free_space(monkeypatch, 1e9)
    with pytest.raises(SystemExit, match=r"1\.0 GB are free here and"):
        setup.main()
    os.makedirs(setup.VENV)
    with pytest.raises(SystemExit, match="was not made by this command"):
        setup.main()
    assert Path(setup.VENV).exists()
    assert setup.calls == []
