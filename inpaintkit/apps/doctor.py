"""A page about this machine: versions, memory, data sets, and what each notebook can run here and roughly how long.

It is plain text, to be pasted into a question.
"""

import os
import platform
import shutil
import time
from importlib import metadata
from pathlib import Path
from statistics import median

import psutil
import torch
from packaging.requirements import Requirement
from torch import nn

import inpaintkit
from inpaintkit import data, papers, runtime
from inpaintkit.data import sets
from inpaintkit.experiments import questions
from inpaintkit.experiments.grid import GFLOPS, duration

MASKS = "00_masks_and_metrics"  # the one notebook that is of no work
MASKS_SECONDS = 28
BUSY = 0.3  # processors; less is what any machine does on its own


def page(data_dir: str | Path | None = None) -> str:
    """The whole page. ``data_dir`` is looked into for every data set, as the notebooks do."""
    device, used = runtime.pick_device(), load()
    (rate, now), found = speed(), find_all(data_dir)
    revision = runtime.git_revision() or "not from a checkout"
    parts = {
        f"inpaintkit {inpaintkit.__version__}": [f"revision {revision}, in {Path(inpaintkit.__file__).parent}"],
        "machine": _machine(device, rate, now, used),
        "packages": _packages(),
        f"data sets (looked for in {data_dir or 'the cache only'})": data_sets(found),
        "notebooks": _notebooks(device, rate, found),
    }
    return "\n\n".join(f"{title}\n" + "\n".join(f"  {line}" for line in lines) for title, lines in parts.items())


def load(seconds: float = 0.5) -> float:
    """How many of this process's processors other programs keep busy, while this one sleeps."""
    percent = psutil.cpu_percent(seconds, percpu=True)
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(percent))
    return sum(percent[number] for number in mine if number < len(percent)) / 100


def speed(seconds: float = 2.0) -> tuple[float, float]:
    """GFLOP/s of a 3x3 convolution with its gradients on the CPU, a yardstick for the times below: (idle, now).

    ``idle`` counts the time that the processors really worked for it, in the best of many short steps, so that other
    programs hardly matter; ``now`` counts the time that passed.
    """
    conv, threads = nn.Conv2d(64, 64, 3, padding=1), torch.get_num_threads()
    image, passed, worked = torch.rand(8, 64, 64, 64), [], []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        step, work = time.perf_counter(), time.process_time()
        conv(image).sum().backward()
        passed.append(time.perf_counter() - step)
        worked.append((time.process_time() - work) / threads)
    sums = 2 * 2 * image.numel() * 64 * 9 / 1e9  # forward, and the gradients of the weights
    return sums / min(worked), sums / median(passed)


def _machine(device: torch.device, rate: float, now: float, used: float) -> list[str]:
    slower = f": the times below are those of an idle machine; now they are about {rate / now:.1f} times as long"
    slower = slower if used >= BUSY else ""
    memory, cache = psutil.virtual_memory(), data.cache_dir()
    above = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    lines = [
        f"{platform.platform()}, Python {platform.python_version()}",
        f"processor: {runtime.device_name(torch.device('cpu'))}, {rate:.0f} GFLOP/s",
        f"other programs use {used:.1f} of {runtime.cores()} processors{slower}",
        f"memory: {memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} GB free",
        f"disk of the cache ({cache}): {shutil.disk_usage(above).free / 1e9:.1f} GB free",
    ]
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        lines.append(
            f"GPU: {runtime.device_name(device)}, {total / 1e9:.1f} GB, {free / 1e9:.1f} GB free, "
            f"{runtime.pick_precision(device)}"
        )
    else:
        lines.append("GPU: none that torch can use")
    return lines


def _packages() -> list[str]:
    lines = []
    try:
        wanted = metadata.requires("inpaintkit")
    except metadata.PackageNotFoundError:
        return ["unknown: inpaintkit itself is not installed here (pip install -e .)"]
    for requirement in map(Requirement, wanted or ()):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = "missing"
        fits = version != "missing" and requirement.specifier.contains(version, prereleases=True)
        lines.append(
            f"{requirement.name:32} {version:16} {'' if fits else f'wanted: {requirement.specifier}'}".rstrip()
        )
    return lines


def find_all(data_dir: str | Path | None) -> dict[str, tuple[Path, list] | None]:
    """Every data set as `sets.find` finds it in ``data_dir`` or the cache."""
    folder = sets.existing_folder(data_dir) if data_dir else None
    return {name: (sets.find(name, folder) if folder else None) or sets.cached(name) for name in sets.known()}


def data_sets(found: dict[str, tuple[Path, list] | None]) -> list[str]:
    """A line for every data set: where it is and whether it is whole, or how to get it."""
    lines = ["portraits, photographs: always here"]
    for name, table in sets.known().items():
        if here := found[name]:
            there, whole = len(here[1]), table["pictures"]
            state = "complete" if there >= whole else "INCOMPLETE"
            lines.append(f"{name}: {state}, {there:,} of {whole:,} pictures in {here[0]}")
        elif table.get("sources"):
            size = f"{table['bytes'] / 1e9:.2f} GB"
            lines.append(f"{name}: not here; `{runtime.command('fetch', name)}` fetches {size}")
        else:
            lines.append(f"{name}: not here, and by hand only: {table['by_hand']}")
    return lines


def _notebooks(device: torch.device, rate: float, found: dict) -> list[str]:
    factor, memory = GFLOPS / rate, psutil.virtual_memory().total / 1e9
    lines = [
        f"(processor times: measured at {GFLOPS:.0f} GFLOP/s, scaled to this machine's {rate:.0f}; times on a GPU "
        "were not measured yet)",
        f"{MASKS}: {_demo(MASKS_SECONDS * factor)}",
    ]
    for paper in papers.PAPERS.values():
        cost = questions.table(paper).get("cost", {})
        time = _demo(cost["demo_seconds"] * factor) if "demo_seconds" in cost else "what it costs was not measured"
        lines.append(f"{paper.notebook}: {time}")
        if "step_seconds" not in cost:
            continue
        states = [f"{one} ({'here' if found.get(one) else 'not here'})" for one in cost["data"]]
        what = f"{cost['what'].strip()} " if "what" in cost else ""
        line = f"  paper: {', '.join(states)}; {what}about "
        line += f"{duration(cost['step_seconds'] * cost['steps'] * factor)} on the processor"
        if device.type == "cuda":
            line += f", less on the {runtime.device_name(device)}"
        if memory < cost["gigabytes"]:
            line += f"; needs about {cost['gigabytes']} GB of memory, more than there are"
        lines.append(line)
    return lines


def _demo(seconds: float) -> str:
    return f"demo about {seconds / 60:.1f} minutes on the processor"
