"""The command line: what is wrong is one sentence and exit code 2, and nothing is run that was not asked for."""

import signal
import subprocess
import sys
import time

import pytest

from inpaintkit import __main__
from inpaintkit.experiments import grid


@pytest.fixture
def executed(monkeypatch):
    """Plans that would have been run, in place of Snakemake."""
    plans = []
    monkeypatch.setattr(grid, "execute", lambda jobs, out, **options: plans.append((jobs, options)) or list(jobs[:1]))
    monkeypatch.setattr(grid, "finish", lambda jobs: ["recorded"])
    return plans


def test_grid_plans_and_runs_only_when_told_so(executed, tmp_path, capsys):
    words = ["grid", "--paper", "vae", "--profile", "paper", "--out", str(tmp_path / "out")]
    assert __main__.main(words) == 0
    assert "18 runs, 0 done" in capsys.readouterr().out
    assert not executed
    assert not (tmp_path / "out").exists()
    assert __main__.main([*words, "--dry-run", "--slurm"]) == 1
    assert executed[-1][1] == {"at_once": 2, "slurm": True, "dry": True}
    assert __main__.main([*words, "epochs=3", "--run", "--at-once", "4", "--seeds", "7"]) == 1
    jobs, options = executed[-1]
    assert (len(jobs), options["at_once"], options["dry"]) == (6, 4, False)
    assert {(job.cfg.epochs, job.cfg.seed, job.cfg.profile) for job in jobs} == {(3, 7, "paper")}
    assert f"not finished: {jobs[0].folder}: it was not started" in capsys.readouterr().out


def test_effects_runs_and_records_and_says_why_a_run_is_missing(executed, tmp_path, capsys):
    words = ["effects", "--paper", "vae", "--question", "slips", "--seeds", "0", "--out", str(tmp_path)]
    for job in grid.plan("vae", "slips", seeds=[0], out=tmp_path)[:1]:
        job.folder.mkdir(parents=True)
        (job.folder / "run.log").write_text("training: 10 %\ninpaintkit: the disk is full\n\n")
    assert __main__.main(words) == 1
    assert len(executed[0][0]) == 7
    said = capsys.readouterr().out
    assert "inpaintkit: the disk is full (all of it: run.log there)\nrecorded\n" in said


PLANS = ("--paper nosuch", "--question nosuch", "--profile nosuch", "--seeds -3", "epoch=3", "epochs=many", "epochs")
RUNS = ("nosuch", "vae epoch=3", "vae epochs=many", "vae size=50", "vae epochs")
WRONG = [*(f"grid {one}" for one in PLANS), *(f"effects {one}" for one in PLANS), *(f"run {one}" for one in RUNS)]


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_one_sentence_that_names_it(executed, tmp_path, capsys, words):
    assert __main__.main([*words.split(), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("inpaintkit: ")
    assert words.split()[-1].partition("=")[0] in said.err
    assert not executed
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_ctrl_c_ends_a_run_with_one_sentence_and_the_run_goes_on_later(tmp_path):
    command = [sys.executable, "-m", "inpaintkit", "run", "vae", "profile=smoke", "epochs=2000", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not (tmp_path / "run.lock").exists() and process.poll() is None:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert said.endswith("\ninpaintkit: stopped; run the same command to continue.\n")
    assert "Traceback" not in said


def test_a_command_whose_packages_are_missing_says_what_to_install(monkeypatch, capsys):
    """An install without the extra `notebooks` has no nbformat."""
    monkeypatch.delitem(sys.modules, "inpaintkit.apps.course", raising=False)
    monkeypatch.setitem(sys.modules, "nbformat", None)
    assert __main__.main(["course"]) == 2
    assert "nbformat" in (said := capsys.readouterr().err)
    assert "inpaintkit[notebooks]" in said
