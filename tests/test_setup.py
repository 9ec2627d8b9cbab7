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
    for name in ("VENV", "OLD", "PYTHON", "STAMP", "BEGUN"):  # all below ROOT
        place = os.path.relpath(getattr(module, name), module.ROOT)
        monkeypatch.setattr(module, name, str(tmp_path / place))
    monkeypatch.setattr(module, "ROOT", str(tmp_path))
    module.calls, module.fails = [], None

    def call(command, cwd):
        module.calls.append(" ".join(map(str, command)))
        if "-m venv" in module.calls[-1]:
            Path(module.PYTHON).parent.mkdir(parents=True)
            Path(module.PYTHON).touch()
        return 1 if module.fails and module.fails in module.calls[-1] else 0

    monkeypatch.setattr(module.subprocess, "call", call)
    monkeypatch.delenv("TORCH", raising=False)
    free_space(monkeypatch, 100e9)
    return module


def free_space(monkeypatch, free):
    monkeypatch.setattr("shutil.disk_usage", lambda path: namedtuple("usage", "total used free")(200e9, 0, free))


def refused(setup, words):
    with pytest.raises(SystemExit, match=words) as said:
        setup.main()
    assert "\n" not in str(said.value)


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
    refused(setup, "network")
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
    refused(setup, "TORCH=rocm")


@pytest.mark.parametrize("version", [(2, 7), (3, 9), (3, 14)])
def test_another_python_gets_one_sentence(setup, monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", (*version, 0))
    refused(setup, r"3\.10 to 3\.13 .* {}\.{}".format(*version))
    assert setup.calls == []


def test_a_missing_venv_module_names_the_package(setup, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    refused(setup, r"apt install python3\.\d+-venv")
    assert not Path(setup.VENV).exists()


def test_a_full_disk_and_a_strange_folder_are_left_alone(setup, monkeypatch):
    free_space(monkeypatch, 1e9)
    refused(setup, r"1\.0 GB are free")
    os.makedirs(setup.VENV)
    refused(setup, "was not made by this command")
    assert Path(setup.VENV).exists()
    assert setup.calls == []
