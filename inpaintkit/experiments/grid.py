"""Many runs: planned from questions, run by Snakemake in an environment of its own (grid/Snakefile).

A run's folder carries its identity, so what is finished is never repeated, and no run meets another's files. Snakemake
lives apart from the kit (``uv tool run``): it needs Python 3.11, and other versions than the kit allows.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from inpaintkit import papers, runtime
from inpaintkit.contracts import Paper
from inpaintkit.experiments import answers, questions, records
from inpaintkit.experiments.run import name, run
from inpaintkit.parameters import Training

SNAKEMAKE = "snakemake==9.27.1"
SLURM = "snakemake-executor-plugin-slurm==2.9.0"
GFLOPS = 122.0  # of `doctor.speed` on the machine where the costs in papers/*.toml were measured


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
    def command(self) -> list[str]:
        """What `python -m inpaintkit` runs."""
        given = {n: getattr(self.cfg, n) for n, source in self.cfg._sources.items() if source == "given"}
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
    chosen = list(papers.PAPERS.values()) if paper == "all" else [papers.get(one) for one in paper.split(",")]
    out = out or runtime.runs_dir("effects")
    if question not in ("all", "") and len(chosen) > 1:  # of the works that have it
        chosen = [one for one in chosen if set(question.split(",")) & questions.questions(one).keys()] or chosen
    jobs = []
    for one in chosen:
        for cfg in questions.configurations(one, question, profile, tuple(seeds) if seeds else None, given):
            with torch.device("meta"):  # refuses what cannot be
                weights = sum(p.numel() for p in one.build(cfg).parameters())
            jobs.append(Job(one, cfg, out / name(one, cfg), weights))
    return jobs


def describe(jobs: Sequence[Job]) -> str:
    """A plan in words: runs, what is done, hours on one processor core pair, disk."""
    lines, hours, disk = [], 0.0, 0
    for paper in dict.fromkeys(job.paper for job in jobs):
        mine = [job for job in jobs if job.paper is paper]
        open_jobs = [job for job in mine if not job.done]
        own = sum(_seconds(job) for job in open_jobs) / 3600
        lines.append(f"{paper.id}: {len(mine)} runs, {len(mine) - len(open_jobs)} done, about {own:.1f} hours to go")
        hours += own
        disk += max((12 * job.weights for job in open_jobs), default=0)  # with Adam's two moments, float32
    total = f"{len(jobs)} runs, {sum(job.done for job in jobs)} done; about {hours:.1f} hours to go on two cores, one "
    total += f"run at a time, as measured at {GFLOPS:.0f} GFLOP/s; disk for checkpoints: {2 * disk / 1e9:.2f} GB"
    return "\n".join([*lines, total])


def _seconds(job: Job) -> float:
    """A rough time: the measured one of the profile."""
    cost = questions.table(job.paper).get("cost", {})
    if job.cfg.profile == "paper":
        return cost.get("step_seconds", 0) * cost.get("steps", 0)
    return cost.get("demo_seconds", 60) * (1.0 if job.cfg.profile == "demo" else 0.1)


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
    Snakemake cannot be started.
    """
    folder = Path(__file__).parent.parent.parent / "grid"
    if not (folder / "Snakefile").exists():
        raise RuntimeError("grid/Snakefile is not here: clone the repository, and run this command in it.")
    todo = [job for job in jobs if not job.done]
    if not todo:
        return []
    out.mkdir(parents=True, exist_ok=True)
    plan_file = out / "plan.json"
    entries = {str(job.folder.relative_to(out)): job.command for job in todo}
    runtime.write_json(plan_file, {"python": sys.executable, "jobs": entries})
    command = [*engine(), *(["--with", SLURM] if slurm else []), "snakemake"]
    command += ["--snakefile", str(folder / "Snakefile"), "--directory", str(out), "--config", f"plan={plan_file}"]
    command += ["--profile", str(folder / ("slurm" if slurm else "local"))]
    command += ["--dry-run"] if dry else [] if slurm else ["--cores", str(at_once)]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    code = subprocess.call(command, env=os.environ | threads)
    if code and not dry and all(not job.folder.exists() for job in todo):
        raise RuntimeError("Snakemake could not be started; its message is above.")
    return [] if dry else [job for job in todo if not job.done]


def finish(jobs: Sequence[Job]) -> list[str]:
    """Records what a plan has left in results/, and says which claims hold; sentences for the terminal."""
    said = []
    for paper in dict.fromkeys(job.paper for job in jobs):
        done = records.collect(paper, [job.folder for job in jobs if job.paper is paper])
        try:
            said.append(f"{paper.id}: recorded in {records.record(done)}")
            done = records.load(paper)
        except ValueError as error:
            said.append(f"{paper.id}: not recorded. {error}")
        for claim in answers.claims(done):
            mark = "" if claim.verdict in (claim.expected, "not tested") else f", BUT {claim.expected.upper()} IS SAID"
            said.append(f"  {claim.verdict}{mark}: {claim.text} ({claim.why})")
    return said
