"""Many runs: planned from questions, run by Snakemake in an environment of its own (grid/Snakefile).

A run's folder carries its identity, so what is finished is never repeated, and no run meets another's files. Snakemake
lives apart from the kit (``uv tool run``): it needs Python 3.11, and other versions than the kit allows.
"""

import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from inpaintkit import papers, runtime
from inpaintkit.contracts import Paper
from inpaintkit.data import sets
from inpaintkit.experiments import answers, questions, records
from inpaintkit.experiments.run import name, run
from inpaintkit.parameters import Training, nearest

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SNAKEMAKE = "snakemake==9.27.1"
SLURM = "snakemake-executor-plugin-slurm==2.8.0"
# What `doctor.speed` gave where the [cost] of papers/*.toml was measured: two cores of an AMD EPYC (2026), alone on the
# machine; seconds of the demo's whole notebook (`make course`), and of a training step at the paper's size
# (benchmarks/training.py) with the steps of the paper's schedule.
GFLOPS = 122.0
GRACE = 60  # seconds in which runs save after a signal
START_SECONDS = 8  # of a run: imports, pictures, fills


@dataclass(frozen=True)
class Job:
    """One run of a plan, and the folder below ``out`` that it leaves."""

    paper: Paper
    cfg: Training
    folder: Path
    weights: int  # of all networks

    @property
    def done(self) -> bool:
        """Is there a finished record?"""
        return (self.folder / "results.json").exists()

    @property
    def why(self) -> str:
        """Why it is not finished: the last line of its log."""
        log = self.folder / "run.log"
        if self.folder.is_file():
            return "a file stands in its place: move it away"
        lines = log.read_text(encoding="utf8", errors="replace").split("\n") if log.exists() else []
        said = [line.strip() for line in lines if line.strip()]
        return f"{said[-1]} (all of it: {log.name} there)" if said else "it was not started"

    @property
    def command(self) -> list[str]:
        """The words of the command line that runs it, in whatever folder."""
        given = self.cfg.given()
        if "data_dir" in given:
            given["data_dir"] = str(Path(given["data_dir"]).expanduser().absolute())
        return ["run", self.paper.id, *(f"{n}={v!r}" for n, v in given.items()), "--out", str(self.folder), "--slim"]


def plan(
    paper: str = "all",
    question: str = "all",
    profile: str | None = None,
    seeds: Sequence[int] | None = None,
    given: dict | None = None,
    out: Path | None = None,
) -> list[Job]:
    """The runs that questions ask for, each once, in ``out`` (default: runs/effects).

    Raises ValueError for an unknown paper, question or parameter, before anything is run.
    """
    names = papers.PAPERS if paper == "all" else dict.fromkeys(paper.replace(" ", "").split(","))
    out = out or runtime.runs_dir("effects")
    jobs, sizes = [], {}
    for one, asked in _asked([papers.get(n) for n in names], question).items():
        for cfg in questions.configurations(one, asked, profile, tuple(seeds) if seeds else None, given):
            network = repr((one.id, cfg.identifying() | {"seed": 0}))
            if network not in sizes:
                with torch.device("meta"):  # refuses what cannot be
                    sizes[network] = sum(p.numel() for p in one.build(cfg).parameters())
            jobs.append(Job(one, cfg, out / name(one, cfg), sizes[network]))
    return jobs


def _asked(chosen: list[Paper], question: str) -> dict[Paper, str]:
    """The questions of each work; of several works, those that have them. Raises ValueError for one that none has."""
    if question in ("all", "", "none") or len(chosen) == 1:
        return dict.fromkeys(chosen, question)
    wanted = [asked.strip() for asked in question.split(",")]
    known = {one: questions.questions(one) for one in chosen}
    everywhere = {asked for of_one in known.values() for asked in of_one}
    for unknown in [asked for asked in wanted if asked not in everywhere]:
        raise ValueError(f"unknown question {unknown!r}: {nearest(unknown, sorted(everywhere))}")
    own = {one: ",".join(asked for asked in wanted if asked in of_one) for one, of_one in known.items()}
    return {one: asked for one, asked in own.items() if asked}


def describe(jobs: Sequence[Job], at_once: int = 2) -> str:
    """A plan in words: runs, what is done, time on two cores, disk, data sets that are not here."""
    lines, total = [], 0.0
    for paper in dict.fromkeys(job.paper for job in jobs):
        mine = [job for job in jobs if job.paper is paper]
        own = sum(_seconds(job) for job in mine if not job.done)
        lines.append(f"{paper.id}: {len(mine)} runs, {sum(job.done for job in mine)} done, about {duration(own)} to go")
        total += own
    todo = [job for job in jobs if not job.done]
    disk = sum(sorted(job.weights for job in todo)[-at_once:]) * 12 * 2  # Adam's two moments; the old file beside
    missing = {job.cfg.dataset.partition(":")[0] for job in todo if not job.cfg.data_dir} & set(sets.known())
    lines.append(
        f"{len(jobs)} runs, {len(jobs) - len(todo)} done, about {duration(total)} to go on two cores of {GFLOPS:.0f} "
        f"GFLOP/s (`{runtime.command('doctor')}` measures yours); disk while they run: up to {disk / 1e6:,.0f} MB"
    )
    for dataset in sorted(one for one in missing if not sets.cached(one)):
        lines.append(f"the data set {dataset} is not here: {runtime.command('fetch', dataset)}")
    return "\n".join(lines)


def _seconds(job: Job) -> float:
    """A rough time: that of the work's demo or paper profile, by pictures and epochs."""
    cost, cfg = questions.table(job.paper).get("cost", {}), job.cfg
    usual = job.paper.Parameters.resolve({"profile": "paper" if cfg.profile == "paper" else "demo"})
    share = cfg.epochs / usual.epochs
    if cfg.n_train and usual.n_train:
        share *= cfg.n_train / usual.n_train
    paper, demo = cost.get("step_seconds", 0) * cost.get("steps", 0), cost.get("demo_seconds", 60)
    return START_SECONDS + share * (paper if cfg.profile == "paper" else demo)


def duration(seconds: float) -> str:
    """A time in words: minutes, hours or days."""
    if seconds < 5400:
        minutes = math.ceil(seconds / 60)
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def loop(paper: Paper, names: str, seeds: Sequence[int] | None = None) -> records.Records:
    """The runs of some questions one after the other, as a notebook's ``experiments`` does: their records.

    Raises ValueError for an unknown question, before anything is run.
    """
    jobs = plan(paper.id, names, seeds=seeds)
    for number, job in enumerate(jobs, 1):
        print(f"run {number} of {len(jobs)}: {job.folder.name}" + (" (done)" if job.done else ""))
        run(paper, job.cfg, job.folder, slim=True)
    return records.collect(paper, [job.folder for job in jobs])


def check(paper: Paper, names: str) -> str:
    """``names`` itself, if it chooses questions of this work; raises ValueError otherwise."""
    questions.select(paper, names)
    return names


# --- the engine -------------------------------------------------------------------------------------------------------


def engine() -> list[str]:
    """The command that starts Snakemake. Raises RuntimeError with one sentence where it cannot be."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise RuntimeError("uv is needed to run many runs, and is not here: pip install uv.")
    python = sys.executable
    if sys.version_info < (3, 11):
        found = subprocess.run([uv, "python", "find", ">=3.11"], capture_output=True, text=True)
        if found.returncode:
            raise RuntimeError("Python 3.11 or newer is needed for Snakemake, and none was found: install one.")
        python = found.stdout.strip()
    return [uv, "tool", "run", "--python", python, "--from", SNAKEMAKE]


def execute(jobs: Sequence[Job], out: Path, *, at_once: int = 2, slurm: bool = False, dry: bool = False) -> list[Job]:
    """Runs a plan, ``at_once`` runs at a time with one thread each; returns the jobs that are not finished afterwards.

    What is done is not repeated; one that fails does not stop the others. Raises RuntimeError with one sentence where
    Snakemake cannot be started, and KeyboardInterrupt when it was stopped.
    """
    folder = Path(__file__).parent.parent.parent / "grid"
    if not (folder / "Snakefile").exists():
        raise RuntimeError("grid/Snakefile is not here: clone the repository, and run this command in it.")
    todo = [job for job in jobs if not job.done]
    possible = [job for job in todo if not job.folder.is_file()]
    if not possible:
        return todo
    command = [*engine(), *(["--with", SLURM] if slurm else []), "snakemake"]
    command += ["--snakefile", str(folder / "Snakefile"), "--directory", str(out)]
    command += ["--profile", str(folder / ("slurm" if slurm else "local"))]
    command += [] if slurm else ["--cores", str(at_once)]
    command += ["--dry-run"] if dry else []
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out) as lock:
        entries = {job.folder.relative_to(out).as_posix(): job.command for job in possible}
        runtime.write_json(out / "plan.json", {"python": sys.executable, "jobs": entries})
        (out / "started").unlink(missing_ok=True)
        code = _call(command, lock)
        started = (out / "started").exists()
    if code and not started:
        raise RuntimeError("Snakemake could not run the plan; its message is above.")
    return [] if dry else [job for job in todo if not job.done]


@contextlib.contextmanager
def _alone(out: Path):
    """Yields a locked file. Snakemake inherits it: the lock ends with it, even if this process is killed before."""
    if fcntl is None:
        raise RuntimeError("many runs at once need Linux or macOS; on Windows, use WSL.")
    with (out / "plan.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RuntimeError(f"{out} is in use: its runs go on in another process, wait for it or end it.") from error
        yield file


def _call(command: list[str], lock) -> int:
    """The exit code of Snakemake. It and its runs are a process group, to which Ctrl-C and SIGTERM are passed on: runs
    save and stop. Raises KeyboardInterrupt then. What has not ended `GRACE` seconds later is killed: a signal at the
    wrong moment leaves Snakemake 9.27 waiting for itself."""
    came, threads = [], {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=os.environ | threads, start_new_session=True, pass_fds=[lock.fileno()])

    def stop(number, _):
        came.append(time.monotonic())
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # SIGINT is ignored below nohup

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    code = None
    try:
        while code is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(1)
            if code is None and came and time.monotonic() > came[-1] + GRACE:
                os.killpg(process.pid, signal.SIGKILL)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
    return code


def finish(jobs: Sequence[Job]) -> list[str]:
    """Records what a plan has left in results/, and says which claims hold; sentences for the terminal."""
    said = []
    for paper in dict.fromkeys(job.paper for job in jobs):
        done = records.Records(paper)
        try:
            done = records.collect(paper, [job.folder for job in jobs if job.paper is paper])
            said.append(f"{paper.id}: recorded in {records.record(done)}")
            done = records.load(paper)
        except ValueError as error:
            said.append(f"not recorded: {error}")
        for claim in answers.claims(done):
            mark = "" if claim.verdict in (claim.expected, "not tested") else f", BUT {claim.expected.upper()} IS SAID"
            said.append(f"  {claim.verdict}{mark}: {claim.text} ({claim.why})")
    return said
