"""Many runs: the plan, the engine, and a fifth work (toy.py) in a checkout of its own, with no other file touched."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from inpaintkit import papers, parameters, runtime
from inpaintkit.contracts import Question
from inpaintkit.experiments import grid, questions

ROOT = Path(__file__).parent.parent


# --- the plan ---------------------------------------------------------------------------------------------------------


def finish_all(jobs):
    for job in jobs:
        job.folder.mkdir(parents=True)
        (job.folder / "results.json").touch()


def test_a_plan_has_every_run_once_of_the_works_that_have_the_question_and_knows_what_is_done(tmp_path):
    readings = {"question": "readings", "profile": "smoke", "seeds": [0, 1], "out": tmp_path}
    jobs = grid.plan(**readings)
    assert len({job.folder for job in jobs}) == len(jobs) == (4 * 3 + 1) * 2
    assert [job.cfg.seed for job in jobs if job.paper.id == "vae"] == [0, 0, 0, 1, 1, 1]
    assert {job.cfg.profile for job in jobs} == {"smoke"}
    assert {job.folder for job in grid.plan("vae", **readings)} < {job.folder for job in jobs}, "whatever the plan"
    twice = grid.plan("vae", "readings,slips,latent", seeds=[0], out=tmp_path)
    assert len(twice) == 3 + 6 + 3, "the demo is in all three questions"
    some = grid.plan(question="slips,levels", seeds=[0], out=tmp_path)
    assert {job.paper.id for job in some} == {"vae", "context_encoder", "ssrgan"}
    every = grid.plan("ssrgan", seeds=[0], out=tmp_path)
    assert {job.cfg.dataset for job in every} == {"portraits", "photographs"}, "nothing is fetched unless asked for"
    assert "26 runs, 0 done" in grid.describe(jobs)
    finish_all(jobs[:5])
    assert "26 runs, 5 done" in grid.describe(jobs)
    assert sum(job.done for job in grid.plan(**readings)) == 5


def test_a_thousand_runs_are_planned_as_done_in_a_minute(tmp_path):
    seeds = range(80)
    finish_all(grid.plan(question="readings", profile="smoke", seeds=seeds, out=tmp_path))
    started = time.process_time()
    jobs = grid.plan(question="readings", profile="smoke", seeds=seeds, out=tmp_path)
    assert "1040 runs, 1040 done, about 0 minutes to go" in grid.describe(jobs)
    assert grid.execute(jobs, tmp_path) == []
    assert time.process_time() - started < 60


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"paper": "nosuch"}, "paper .*vae"),
        ({"question": "slipz"}, "slipz.*slips"),
        ({"paper": "vae", "question": "slips,slipz"}, "slipz.*slips"),
        ({"paper": "vae", "given": {"size": 50}}, "size"),  # the work, not the class of its parameters, says so
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_name(tmp_path, given, name):
    """Before anything is run; test_cli.py has the parameters' own names and ranges."""
    with pytest.raises(ValueError, match=name):
        grid.plan(out=tmp_path, **given)


def test_what_a_plan_takes_in_words(tmp_path):
    text = grid.describe(grid.plan("vae", profile="paper", out=tmp_path))
    assert "18 runs, 0 done" in text
    assert f"about {18 * 2.49 * 273350 / 86400:.0f} days" in text
    assert "14,449 MB" in text, "two runs at once; 301 million weights, Adam's moments, the old file beside the new one"
    assert "fetch ffhq" in text
    demo = grid.describe(grid.plan("vae", "slips", seeds=[0], out=tmp_path))
    assert "minutes to go" in demo


def test_the_command_of_a_run_is_its_run_wherever_it_is_started(tmp_path):
    given = {"data_dir": "photos", "dataset": "folder", "lr": 1e-3}
    question = Question("one", "", {"strokes": {"hole": "strokes", "redraw": False}})
    cfg = questions.configuration(papers.get("vae"), question, "strokes", 3, "smoke", given)
    command = grid.Job(papers.get("vae"), cfg, tmp_path / "a", 0).command
    values = parameters.parse(command[2 : command.index("--out")])
    assert Path(values["data_dir"]) == Path("photos").absolute()
    assert papers.get("vae").Parameters.resolve(values).identifying() == cfg.identifying()


def test_what_the_engine_needs_is_said_in_one_sentence(tmp_path, monkeypatch):
    jobs = grid.plan("vae", "slips", seeds=[0], out=tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))  # without uv beside it
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match=r"^uv is needed.*pip install uv"):
        grid.execute(jobs, tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: "false")
    for version, words in (((3, 10), r"^Python 3\.11 or newer"), ((3, 12), "could not run the plan")):
        monkeypatch.setattr(sys, "version_info", version)
        with pytest.raises(RuntimeError, match=words):
            grid.execute(jobs, tmp_path)


def test_a_plan_that_goes_on_elsewhere_is_left_alone_and_an_old_lock_is_no_lock(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    jobs = grid.plan("vae", "slips", seeds=[0], out=tmp_path)
    monkeypatch.setattr(grid, "engine", lambda: ["true"])  # an engine that ends at once and has run nothing
    with (tmp_path / "plan.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match="in use"):
            grid.execute(jobs, tmp_path)
    (tmp_path / ".snakemake" / "locks").mkdir(parents=True)
    (tmp_path / ".snakemake" / "locks" / "0.output.lock").touch()
    assert grid.execute(jobs, tmp_path) == jobs


# --- the toy, in a checkout of its own --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A clone whose inpaintkit/papers has one work more, with nothing else but what the commands read and write."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("inpaintkit", "grid", "tests", "tools"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("toy.py", "toy.toml"):
        shutil.move(root / "tests" / name, root / "inpaintkit" / "papers" / name)
    for name in ("pyproject.toml", "README.md", ".gitignore"):
        shutil.copy(ROOT / name, root)
    (root / "notebooks").mkdir()
    (root / "results").mkdir()
    shutil.copy(ROOT / "results" / "reported.csv", root / "results")
    git = ["git", "-C", root, "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "toy"]):
        subprocess.run([*git, *words], check=True)
    return root


def start(root, *arguments):
    own = {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "INPAINTKIT_RUNS"} | own
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": root, "env": environment}
    return subprocess.Popen([sys.executable, *arguments], **options)


def kit(root, *commands):
    """Runs commands of the kit, one after the other in one process: (largest exit code, what is said)."""
    code = "import json, sys; from inpaintkit.__main__ import main; sys.exit(max(map(main, json.loads(sys.argv[1]))))"
    process = start(root, "-c", code, json.dumps([command.split() for command in commands]))
    said, _ = process.communicate(timeout=600)
    return process.returncode, said


@pytest.mark.slow
def test_a_fifth_work_is_trained_planned_reported_and_known_to_the_doctor(checkout):
    code, said = kit(checkout, "run toy epochs=1", "grid --paper toy", "report", "doctor")
    assert code == 0, said
    assert "toy                          hole_mse 0." in said
    assert len(list((checkout / "runs" / "05_toy").glob("*/results.json"))) == 1
    assert "toy: 4 runs, 0 done, about 1 minute to go" in said
    assert "05_toy: demo about 0." in said
    page = (checkout / "docs" / "reports" / "05_toy.md").read_text(encoding="utf8")
    assert "Is a wider network better?" in page
    assert "not tested" in page


@pytest.mark.slow
def test_a_fifth_work_passes_what_every_work_promises(checkout):
    process = start(checkout, "-m", "pytest", "-q", "tests/test_papers.py", "-k", "toy")
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said[-3000:]
    assert " passed" in said


@pytest.fixture(scope="module")
def snakemake():
    """Skips where Snakemake cannot be had."""
    try:
        found = subprocess.run([*grid.engine(), "snakemake", "--version"], capture_output=True, text=True, timeout=120)
    except RuntimeError as error:
        pytest.skip(str(error))
    if found.returncode:
        pytest.skip(f"uv cannot get {grid.SNAKEMAKE}: {found.stderr[-200:]}")


@pytest.mark.slow
def test_an_engine_that_does_not_end_is_killed(tmp_path, monkeypatch):
    """A signal at the wrong moment leaves Snakemake waiting for itself."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    monkeypatch.setattr(grid, "engine", lambda: [sys.executable, "-c", deaf])
    monkeypatch.setattr(grid, "GRACE", 0.5)
    jobs = grid.plan("ssrgan", "readings", "smoke", [0], {}, tmp_path)
    threading.Timer(2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        grid.execute(jobs, tmp_path)
    assert time.monotonic() - started < 30


@pytest.mark.grid
def test_the_engine_is_stopped_and_goes_on_and_a_failure_stops_nothing(checkout, snakemake):
    out = checkout / "runs" / "effects"

    def finished():
        return {path.parent: path.stat().st_mtime_ns for path in out.glob("05_toy/*/results.json")}

    process = start(checkout, "-m", "inpaintkit", "effects", "--paper", "toy")
    while not finished() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=600)
    assert process.returncode
    assert said.endswith("inpaintkit: stopped; run the same command to continue.\n")
    before = finished()
    assert 1 <= len(before) < 4
    jobs = runtime.read_json(out / "plan.json")["jobs"]
    planned = {out / folder for folder in jobs}
    first = next(out / folder for folder, command in jobs.items() if "width=16" in command)  # no claim needs it
    before.pop(first, None)
    shutil.rmtree(first, ignore_errors=True)
    first.touch()

    code, said = kit(checkout, "effects --paper toy", "report")
    assert (code, set(finished())) == (1, planned - {first}), said
    assert f"not finished: {first}: a file" in said
    assert before.items() <= finished().items(), "a finished run was repeated"
    assert {runtime.read_json(path / "results.json")["threads"] for path in finished()} == {1}
    assert "recorded in" in said
    assert "holds: The toy has a lower hole MSE" in said
    page = (checkout / "docs" / "reports" / "05_toy.md").read_text(encoding="utf8")
    assert "| **holds** |" in page
    assert "| 16 channels | random | " in page
