"""`make course`: every notebook at profile demo, then one page with their pictures and tables.

Each notebook runs in a process of its own, so that a kernel that hangs can be ended; one that exceeds its time is run
once more, and that is said. A notebook that fails does not keep the others from running. What has not changed since
its last good run is not run again. On a processor two run at a time, each on half of the cores: small networks get more
out of them so.
"""

import html
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
import pandas as pd
import torch
from nbconvert import HTMLExporter
from tqdm.auto import tqdm

from inpaintkit import __version__, evaluate, fills, papers, runtime, viz

PACKAGE = Path(runtime.__file__).parent
SHOWN = ("hole_mse", "hole_psnr", "image_ssim")  # the scores on the page
CELL_SECONDS = 240  # the slowest cell of a demo takes about 60 s on two cores
NOTEBOOK_SECONDS = 420
RUNNING: set[subprocess.Popen] = set()
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
img { max-width: 100% } table { border-collapse: collapse; margin: 0.5rem 0; font-size: 0.9rem }
td, th { padding: 0.15rem 0.7rem; border-bottom: 1px solid #ddd } section { margin: 3rem 0 } .failed { color: #b00020 }
"""


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
    command = [sys.executable, "-m", "papermill", str(notebook), str(folder / notebook.name), "--cwd", str(folder)]
    command += ["--execution-timeout", str(CELL_SECONDS), "--log-level", "ERROR"]
    command += ["-r", "out_dir", str(out_dir.resolve())]
    for name, value in parameters.items():
        command += ["-p", name, str(value)]
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


def write_page(states: list[dict], folder: Path) -> Path:
    """index.html: for each notebook its title, pictures, table and links."""
    sections = []
    for state in states:
        name = state["name"]
        executed = folder / f"{name}.ipynb"
        title, links, body = name, "", ""
        if executed.exists():
            notebook = nbformat.read(executed, as_version=4)
            titles = [c.source for c in notebook.cells if c.cell_type == "markdown" and c.source.startswith("# ")]
            title = titles[0].splitlines()[0].lstrip("# ") if titles else name
            page, _ = HTMLExporter().from_notebook_node(notebook)
            with runtime.atomic_write(folder / f"{name}.html") as part:
                # nbconvert leaves shown sources in the text font
                part.write_text(
                    page.replace("</head>", "<style>pre { font-family: monospace }</style></head>"), encoding="utf8"
                )
            links = f'<a href="{name}.html">read the executed notebook</a> · <a href="{name}.ipynb">as .ipynb</a>'
        results = folder / name / "results.json"
        if state["problem"]:
            body = f'<p class="failed">{html.escape(state["problem"])}</p>'
        elif results.exists():
            measured = json.loads(results.read_text(encoding="utf8"))
            body = "".join(
                f'<p><img src="{name}/{picture}" alt="{picture}"></p>' for picture in measured.get("pictures", [])
            )
            body += _tables(measured)
            links += f' · <a href="{name}/results.json">results.json</a>'
        sections.append(
            f"<section><h2>{html.escape(title)}</h2><p>{links} · {state['seconds']:.0f} s</p>{body}</section>"
        )
    name = runtime.device_name(runtime.pick_device()).partition(",")[0]  # the threads here are not the notebooks'
    machine = html.escape(f"{name}, {_at_once()} notebook(s) at a time")
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>inpaintkit</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>inpaintkit</h1><p>version {__version__}, profile demo, {machine}. Every number on this page was produced "
        f"by the runs that it links to.</p>{''.join(sections)}</html>"
    )
    with runtime.atomic_write(folder / "index.html") as part:
        part.write_text(page, encoding="utf8")
    return folder / "index.html"


def _tables(measured: dict) -> str:
    """A table for each part: the mean scores of the network and of the fills beside it, on the record's own holes."""
    columns = ["part", "holes", "filler", "score", "mean", "note"]
    rows = pd.DataFrame(measured.get("scores") or [], columns=columns)
    if "holes" in measured:
        rows = rows[rows["holes"] == measured["holes"]]
    labels, tables = _labels(measured.get("paper")), []
    for part, here in rows.groupby("part", sort=False, dropna=False):
        table = []
        for filler, of_one in here.groupby("filler", sort=False):
            means = dict(zip(of_one["score"], of_one["mean"], strict=True))
            line = {evaluate.SCORES[score].label: means[score] for score in SHOWN if score in means}
            notes = of_one["note"].dropna().tolist()
            table.append({"filler": labels.get(filler, filler)} | line | ({"note": notes[0]} if notes else {}))
        of = f"{part} " if isinstance(part, str) else ""
        tables.append(viz.Table(table, f"{of}(mean over pictures; bold: best)", best=True)._repr_html_())
    return "".join(tables)


def _labels(paper: str | None) -> dict[str, str]:
    """The words for people of all ids of fillers that a record of a work may hold."""
    labels = {id: fills.label(id) for id in fills.FILLS}
    if paper in papers.PAPERS:
        work = papers.get(paper)
        cfg = work.Parameters()
        with torch.device("meta"):
            modules = work.build(cfg)
        labels |= {filler.id: filler.label for filler in (work.filler(modules, cfg), *work.other_fillers(modules, cfg))}
    return labels


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
                done = [_cells_done(folder / f"{n.stem}.log") if not runs[n].done() else cells[n] for n in notebooks]
                bar.update(sum(done) - bar.n)
        except BaseException:  # Ctrl-C reaches this process only
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(RUNNING):
                stop(process)
            raise
        bar.update(bar.total - bar.n)
    states = [runs[notebook].result() for notebook in notebooks]
    page = write_page(states, folder)
    failed = [state["name"] for state in states if state["problem"]]
    seconds = time.perf_counter() - started
    print(f"\n{len(states) - len(failed)} of {len(states)} notebooks in {seconds:.0f} s. Open {page}")
    return 1 if failed else 0
