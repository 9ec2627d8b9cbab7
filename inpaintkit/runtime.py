"""What every run needs: seeds, device, parameters as used, provenance, and files that survive a crash."""

import ast
import contextlib
import ctypes
import difflib
import hashlib
import json
import os
import platform
import random
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

PROFILES = ("smoke", "demo", "paper")
READINGS = ("as_written", "as_run", "fixed")

# What every notebook takes. A tuple of two numbers is a range, a set holds the allowed values, None allows anything.
COMMON = {
    "profile": set(PROFILES),
    "dataset": None,  # `data.open` knows which there are
    "data_dir": None,
    "seed": (0, 2**31 - 1),
    "out_dir": None,
}
TRAINING = COMMON | {"reading": set(READINGS), "epochs": (1, 100_000), "experiments": None}

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # mallopt's names for its options

MARK = "# Defaults"  # first line of every notebook's parameters cell
INJECTED = "# Parameters"  # first line of the cell that papermill puts below it


# --- seeds and device -------------------------------------------------------------------------------------------------


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch (CPU and GPU). Holes and data order have their own: see `generator`."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (libraries that still use the global state)
    torch.manual_seed(seed)


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch.Generator on ``device``, seeded."""
    return torch.Generator(device=device).manual_seed(seed)


def pick_device() -> torch.device:
    """CUDA if there is one, else the CPU. Apple's GPU is left out: it has no float64, in which scores are computed."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_precision(device: torch.device) -> str:
    """Mixed precision ("bf16") on a GPU that has it (Ampere and later; a T4 has not), else "fp32"."""
    return "bf16" if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8 else "fp32"


def device_name(device: torch.device) -> str:
    """The device in words, for tables and titles: a GPU's name, or the processor's and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):  # Linux only; elsewhere the line above is all there is
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {torch.get_num_threads()} threads"


def keep_freed_memory() -> None:
    """Asks glibc to keep the memory that each training step frees, instead of returning it and asking for it again.

    On a Linux CPU that is up to half of a step's time; it changes no result. Elsewhere nothing is done.
    """
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        # From malloc.h: no separate mappings for large blocks, never trim, grow in steps of 256 MB.
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28)):
            libc.mallopt(option, value)


# --- parameters -------------------------------------------------------------------------------------------------------


def check_parameters(namespace: dict, allowed: dict) -> dict:
    """Checks a notebook's parameters by name, type and range; returns {name: value}.

    ``namespace`` is the notebook's globals(). The parameters cell (first line "# Defaults") declares names, types and
    defaults as ``name: type = literal``; papermill injects its own cell below that one, and by itself only logs a
    warning for a name that nobody declared and checks no type. Nothing is printed if all is well.

    Raises ValueError with one sentence: an unknown name (with the nearest known one), a wrong type, a value out of
    range.
    """
    cells = namespace.get("In", [])
    annotations = {name: kind for name, kind in namespace.get("__annotations__", {}).items() if name in allowed}
    if not annotations:
        raise ValueError(f'the parameters cell was not run: run the cell that starts with "{MARK}" first.')
    declared_at = max((i for i, cell in enumerate(cells) if cell.startswith(MARK)), default=None)
    if declared_at is None:  # a runner that keeps no history, as nbval; such a one injects nothing either
        cells, declared_at, declared = [], 0, {name: (kind.__name__, None) for name, kind in annotations.items()}
    else:
        declared = {
            node.target.id: (node.annotation.id, ast.literal_eval(node.value))
            for node in ast.parse(cells[declared_at]).body
            if isinstance(node, ast.AnnAssign)
        }
    # A cell that was injected before the parameters cell was rerun by hand no longer counts.
    injected = [cell for cell in cells[declared_at + 1 :] if cell.startswith(INJECTED)]
    for cell in injected:
        for name in (t.id for node in ast.parse(cell).body if isinstance(node, ast.Assign) for t in node.targets):
            if name not in declared:
                near = difflib.get_close_matches(name, declared, n=1)
                raise ValueError(
                    f"unknown parameter {name!r}: "
                    + (f"did you mean {near[0]!r}?" if near else f"this notebook takes {', '.join(declared)}.")
                )
    values = {}
    for name, (type_name, default) in declared.items():
        values[name] = namespace[name]
        if not (values[name] is None and default is None):
            check_type(name, values[name], type_name)
            check_range(name, values[name], allowed.get(name))
    return values


def check_type(name: str, value, type_name: str) -> None:
    """Raises ValueError unless ``value`` is of the type "int", "float" (which takes whole numbers), "str" or "bool"."""
    accepted = {"int": int, "float": (int, float), "str": str, "bool": bool}[type_name]
    if isinstance(value, bool) != (type_name == "bool") or not isinstance(value, accepted):
        words = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "True or False"}[type_name]
        hint = ""
        if isinstance(value, str) and type_name in ("int", "float"):
            with contextlib.suppress(ValueError):
                hint = f"; in YAML, numbers like 1e-3 need a point: {float(value):.1e}"
        raise ValueError(f"{name} must be {words}, and {value!r} is not{hint}.")


def check_range(name: str, value, allowed) -> None:
    """Raises ValueError unless ``value`` lies in ``allowed``: (low, high), a set of values, or None for anything."""
    if isinstance(allowed, tuple) and not allowed[0] <= value <= allowed[1]:
        raise ValueError(f"{name} must lie between {allowed[0]} and {allowed[1]}, and {value} does not.")
    if isinstance(allowed, set) and value not in allowed:
        options = ", ".join(map(str, sorted(allowed)))
        raise ValueError(f"{name} must be one of {options}, and {value!r} is not.")


class Config(SimpleNamespace):
    """The parameters as used, as attributes; printing it shows each value and where it comes from."""

    def values(self) -> dict:
        return {name: value for name, value in vars(self).items() if name != "sources"}

    def __repr__(self) -> str:
        width = max(map(len, self.values()))
        return "\n".join(
            f"{name:{width}} = {value!r:24} ({self.sources[name]})" for name, value in self.values().items()
        )


def configure(given: dict, profiles: dict, readings: dict | None = None) -> Config:
    """Merges the layers of parameters: profile < reading < the value given by the user; None means "not given".

    ``given`` comes from `check_parameters`; ``profiles`` and ``readings`` map a name to a dict of parameters.
    """
    layers = [(f"profile {given['profile']}", profiles[given["profile"]])]
    if readings is not None:
        layers.append((f"reading {given['reading']}", readings[given["reading"]]))
    layers.append(("given", {name: value for name, value in given.items() if value is not None}))
    config, sources = {name: None for name in given}, {name: "default" for name in given}
    for source, layer in layers:
        config |= layer
        sources |= {name: source for name in layer}
    return Config(**config, sources=sources)


# --- files ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic_write(path: str | Path):
    """Yields a temporary path beside ``path``, then renames it: a crash or a full disk leaves the old file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        raise OSError(
            f"{path.name} could not be written ({error.strerror or error}); the old file is untouched."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def write_json(path: str | Path, content: dict) -> None:
    """Writes ``content`` as readable JSON, atomically. NaN is refused: what was not measured must be absent."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf8")


def runs_dir(name: str, out_dir: str | None = None) -> Path:
    """Where a run keeps its checkpoints and results: ``out_dir``, or runs/NAME in the current folder.

    The environment variable INPAINTKIT_RUNS replaces "runs": tests use it so that they never continue a student's run.
    """
    return Path(out_dir) if out_dir else Path(os.environ.get("INPAINTKIT_RUNS", "runs")) / name


def results_dir() -> Path:
    """The folder of recorded runs: results/ in a checkout, inside the package when it was installed by pip."""
    package = Path(__file__).parent
    return package / "results" if (package / "results").is_dir() else package.parent / "results"


def sources_file() -> Path:
    """Where the papers' data sets come from: data/sources.toml in a checkout, inside the package otherwise."""
    package = Path(__file__).parent
    shipped = package / "sources" / "sources.toml"
    return shipped if shipped.exists() else package.parent / "data" / "sources.toml"


def fingerprint(*arrays) -> str:
    """First 12 hex digits of the SHA-256 of tensors or arrays (shape, dtype and bytes)."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array.cpu().numpy() if isinstance(array, torch.Tensor) else array)
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()[:12]


def package_hash() -> str:
    """First 12 hex digits of the SHA-256 of the package's sources, so that no run is taken for one of other code."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.csv")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


# --- provenance -------------------------------------------------------------------------------------------------------


def git_revision() -> str | None:
    """Revision of this package's checkout ("+" if it has uncommitted changes), or None if it is not run from one."""
    checkout = Path(__file__).resolve().parent.parent

    def git(*arguments):
        command = ["git", "-C", str(checkout), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != checkout:  # installed somewhere inside another repository
            return None
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "inpaintkit") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def provenance(device: torch.device) -> dict:
    """What a reader needs to repeat a run: date, machine, threads, versions, revision."""
    packages = ("inpaintkit", "torch", "torchvision", "numpy", "scipy", "scikit-image", "pillow")
    versions = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "git": git_revision(),
        "versions": versions,
    }


def save_results(out_dir: Path, cfg: Config, device: torch.device, **measured) -> Path:
    """Writes results.json: every parameter as used, what was measured, and the provenance.

    ``measured`` takes any JSON-able values; leave out what was not measured rather than writing a zero.
    """
    path = Path(out_dir) / "results.json"
    write_json(path, {"parameters": cfg.values(), **measured, **provenance(device)})
    return path
