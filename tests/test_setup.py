"""Setting up .venv, with the installer replaced: what is refused, what is repeated, what is not."""

import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

LISTS = ("requirements.txt", "requirements.lock", "pyproject.toml")
PYTHON = Path(".venv/bin/python")


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """Runs tools/setup_env.py in a checkout of its own and returns the installer's commands; those named end badly."""
    (tmp_path / "tools").mkdir()
    for name in (*LISTS, "tools/setup_env.py"):
        shutil.copy(Path(__file__).parent.parent / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda _: "uv")
    pinned = runpy.run_path("tools/setup_env.py")["UV"]

    def run(*stage, torch="", free=100e9, version=sys.version_info, uv=pinned, fails=" no ", killed=" no "):
        def call(command, **_):
            commands.append(" ".join(command))
            if " venv " in commands[-1]:
                Path(".venv/lib/python{}.{}/site-packages".format(*version)).mkdir(parents=True)
                PYTHON.parent.mkdir()
                PYTHON.touch()
            if killed in commands[-1]:
                raise KeyboardInterrupt
            return fails in commands[-1]

        commands = []
        monkeypatch.setattr("subprocess.call", call)
        monkeypatch.setattr("subprocess.getoutput", lambda _: f"uv {uv} (here)")
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
        monkeypatch.setattr("sys.argv", ["setup_env.py", *stage])
        monkeypatch.setattr("sys.version_info", version)
        monkeypatch.setenv("TORCH", torch)
        runpy.run_path("tools/setup_env.py", run_name="__main__")
        return commands

    return run


def test_the_second_time_nothing_is_done_and_tools_for_tests_come_and_stay(setup, capsys):
    assert [" venv " in command for command in setup()] == [True, False]
    assert "GB to download" in capsys.readouterr().out
    assert setup() == []
    assert ["--group dev" in command for command in setup("dev")] == [True], "into the same environment"
    assert setup() == []
    for name in LISTS:
        Path(name).write_text("changed")
        assert ["--group dev" in command for command in setup()] == [True]


def test_what_was_interrupted_is_made_anew_and_what_only_failed_leaves_what_was_there(setup):
    setup()
    with pytest.raises(SystemExit):
        setup("dev", fails="--group dev")
    assert setup() == [], "the course goes on without a network"
    with pytest.raises(SystemExit):
        setup("dev", killed="--group dev")
    assert len(setup()) == 2
    PYTHON.unlink()  # as after the system's Python was replaced
    assert len(setup()) == 2


def test_the_small_build_is_kept_until_another_is_named_or_it_cannot_be_had(setup):
    assert "--torch-backend cpu" in setup(torch="cpu")[1]
    assert setup() == []
    assert "--torch-backend" not in setup(torch="default")[1]
    with pytest.raises(SystemExit):
        setup(torch="cpu", fails="--torch-backend")
    assert "--torch-backend" not in setup()[1]


@pytest.mark.parametrize("bad", [{"version": (3, 9)}, {"version": (3, 14)}, {"torch": "rocm"}, {"free": 1}, {"uv": 1}])
def test_what_cannot_work_is_said_in_one_sentence_and_touches_nothing(setup, bad):
    with pytest.raises(SystemExit, match=r"^inpaintkit: .*$"):
        setup(**bad, fails="pip install")  # for want of pip, where uv is another one
    assert not Path(".venv").exists()
    Path(".venv").mkdir()  # by somebody else
    with pytest.raises(SystemExit, match=r"^inpaintkit: .*$"):
        setup()
    assert list(Path().glob(".venv*")) == [Path(".venv")]
