"""`make course`: every notebook at profile demo, then one page with their pictures and tables.

Each notebook runs in a process of its own, so that a kernel that hangs can be ended; one that exceeds its time is run
once more, and that is said. A notebook that fails does not keep the others from running. What has not changed since
its last good run is not run again. On a processor two run at a time, each on half of the cores: small networks get more
out of them so.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import nbformat
from tqdm.auto import tqdm

from inpaintkit import runtime
from inpaintkit.apps import pages

PACKAGE = Path(runtime.__file__).parent
CELL_SECONDS = 240  # the slowest cell of a demo takes about 60 s on two cores
NOTEBOOK_SECONDS = 420
RUNNING: set[subprocess.Popen] = set()


def shipped_notebooks() -> list[Path]:
    """The course's notebooks; none where the package was installed without them."""
    checkout = runtime.checkout()
    return sorted((checkout / "notebooks").glob("*.ipynb")) if checkout else []


def inputs_hash(notebook: Path) -> str:
    """Changes when a run could end differently: notebook, package, recorded runs, installed versions."""
    package = [path for kind in ("py", "toml", "csv") for path in PACKAGE.rglob(f"*.{kind}")]
    others = [notebook, *runtime.results_dir().rglob("*.*")]
    lock = (runtime.checkout() or Path()) / "requirements.lock"
    return runtime.files_hash(*package, *others, *([lock] if lock.exists() else []))


def _at_once() -> int:
    """How many notebooks run at a time."""
    return min(2, runtime.cores()) if runtime.pick_device().type == "cpu" else 1


def run_notebook(notebook: Path, folder: Path, parameters: dict, seconds: float = NOTEBOOK_SECONDS) -> str | None:
    """Runs one notebook; papermill's messages and progress go to NAME.log. Returns None, or what went wrong."""
    out_dir, log = folder / notebook.stem, folder / f"{notebook.stem}.log"
    arguments = {"input_path": str(notebook), "output_path": str(folder / notebook.name), "cwd": str(folder)}
    arguments |= {"execution_timeout": CELL_SECONDS, "parameters": {"out_dir": str(out_dir.resolve())} | parameters}
    command = [sys.executable, "-m", "inpaintkit.apps.execute", json.dumps(arguments)]
    env = {"OMP_NUM_THREADS": str(runtime.cores() // _at_once())} | os.environ
    with log.open("w") as messages:
        process = subprocess.Popen(command, stdout=messages, stderr=messages, env=env, start_new_session=True)
        RUNNING.add(process)
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"took longer than {seconds:.0f} s"
        finally:
            stop(process)
            RUNNING.discard(process)
    if code == 0:
        return None
    if _interrupted(folder / notebook.name):
        return f"took longer than {CELL_SECONDS} s in one cell"
    return f"failed: {_last_line(log)} (all of it: {log}; the cells up to there: the executed notebook)"


def stop(process: subprocess.Popen) -> None:
    """Ends papermill, if it still runs; the kernel sees that and ends itself."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def _cells_done(log: Path) -> int:
    """How many cells papermill's progress bar says are done."""
    counts = re.findall(r"(\d+)/\d+ \[", log.read_text(errors="replace")) if log.exists() else []
    return int(counts[-1]) if counts else 0


def _interrupted(executed: Path) -> bool:
    """Whether a cell was stopped from outside, which is what papermill does to one that exceeds its time."""
    if not executed.exists():
        return False
    cells = nbformat.read(executed, as_version=4).cells
    return any(output.get("ename") == "KeyboardInterrupt" for cell in cells for output in cell.get("outputs", []))


def run_or_skip(notebook: Path, folder: Path, parameters: dict) -> dict:
    """Runs a notebook unless its last good run had the same inputs; returns its line for the page."""
    state_file = folder / notebook.stem / "course.json"
    wanted = inputs_hash(notebook) + json.dumps(parameters)
    if state_file.exists() and (state := json.loads(state_file.read_text(encoding="utf8")))["inputs"] == wanted:
        tqdm.write(f"{notebook.stem}: up to date, {state['seconds']:.0f} s when it ran")
        return state
    state_file.unlink(missing_ok=True)
    started = time.perf_counter()
    problem = run_notebook(notebook, folder, parameters)
    if problem and problem.startswith("took longer"):
        tqdm.write(f"{notebook.stem}: {problem}; running it once more (its training continues from the checkpoint)")
        problem = run_notebook(notebook, folder, parameters)
    state = {"name": notebook.stem, "inputs": wanted, "seconds": time.perf_counter() - started, "problem": problem}
    if problem is None:
        (folder / notebook.stem / "checkpoint.pt").unlink(missing_ok=True)  # the next run is to train again
        runtime.write_json(state_file, state)
    tqdm.write(f"{notebook.stem}: {problem or 'done'} ({state['seconds']:.0f} s)")
    return state


def main(folder: Path | None = None, notebooks: list[Path] | None = None, parameters: dict | None = None) -> int:
    """Runs all notebooks and writes the page, by default to runs/course; 0 if every notebook ran to its end."""
    notebooks = notebooks or shipped_notebooks()
    if not notebooks:
        print("inpaintkit: the notebooks are not here; clone the repository and run `make course` in it.")
        return 1
    folder = runtime.runs_dir("course", folder)
    if shutil.disk_usage(folder).free < 1e9:
        print("inpaintkit: less than 1 GB is free here, and the notebooks need that for their checkpoints; make room.")
        return 1
    started = time.perf_counter()
    cells = {notebook: len(nbformat.read(notebook, as_version=4).cells) for notebook in notebooks}
    with ThreadPoolExecutor(_at_once()) as pool, tqdm(total=sum(cells.values()), unit="cell") as bar:
        # the last ones take longest
        runs = {n: pool.submit(run_or_skip, n, folder, parameters or {"profile": "demo"}) for n in reversed(notebooks)}
        try:
            while wait(runs.values(), timeout=1).not_done:
                done = [cells[n] if runs[n].done() else _cells_done(folder / f"{n.stem}.log") for n in notebooks]
                bar.update(min(sum(done), bar.total) - bar.n)  # papermill adds a cell to each notebook
        except BaseException:  # Ctrl-C reaches this process only
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(RUNNING):
                stop(process)
            raise
        bar.update(bar.total - bar.n)
    states = [runs[notebook].result() for notebook in notebooks]
    machine = runtime.device_name(runtime.pick_device()).partition(",")[0]  # the threads here are not the notebooks'
    page = pages.write_page(states, folder, f"{machine}, {_at_once()} notebook(s) at a time")
    failed = [state["name"] for state in states if state["problem"]]
    seconds = time.perf_counter() - started
    print(f"\n{len(states) - len(failed)} of {len(states)} notebooks in {seconds:.0f} s. Open {page}")
    return 1 if failed else 0
