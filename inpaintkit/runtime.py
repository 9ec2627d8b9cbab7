"""What every run needs: seeds, device, files that survive a crash, provenance."""

import contextlib
import ctypes
import hashlib
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tokenize
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}  # of forward passes; None: no autocast
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # mallopt's names for its options


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


def pick_precision(device: torch.device, asked: str = "auto") -> str:
    """``asked``, or for "auto" mixed precision on a GPU ("bf16" from Ampere on, "fp16" before) and "fp32" on a CPU.

    Raises ValueError with one sentence for what a CPU cannot do, or only many times slower.
    """
    if device.type == "cuda":
        best = "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
        return best if asked == "auto" else asked
    if asked == "fp16":
        raise ValueError("precision='fp16' needs a GPU, and there is none: use 'auto' or 'fp32'.")
    if asked == "bf16" and not cpu_has_bf16():
        raise ValueError("precision='bf16' needs a GPU or a processor with AVX-512 BF16 or AMX: use 'auto' or 'fp32'.")
    return "fp32" if asked == "auto" else asked


def cpu_has_bf16() -> bool:
    """Does this processor multiply bfloat16, and does torch use that? Elsewhere bf16 is many times slower than fp32."""
    with contextlib.suppress(OSError):  # Linux only
        flags = set(Path("/proc/cpuinfo").read_text().split())
        return "AVX512" in torch.backends.cpu.get_cpu_capability() and bool({"avx512_bf16", "amx_bf16"} & flags)
    return False


def device_name(device: torch.device) -> str:
    """The device in words, for tables and titles: a GPU's name, or the processor's and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):  # Linux only; elsewhere the line above is all there is
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def cores() -> int:
    """The processors that this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Asks glibc to keep the memory that each training step frees, instead of returning it and asking for it again.

    On a Linux CPU that is up to half of a step's time; it changes no result. Elsewhere nothing is done.
    """
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        # From malloc.h: no separate mappings for large blocks, never trim, grow in steps of 256 MB.
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28)):
            libc.mallopt(option, value)


def command(*words: str) -> str:
    """How this user calls the kit, for hints: ``.venv/bin/python -m inpaintkit`` and ``words``.

    The interpreter is the one that has the kit: plain ``python`` if that is the one on PATH; else relative to the
    checkout inside of it, as in the README, or to the current folder; else the whole path.
    """
    here, on_path, root = Path(sys.executable), shutil.which("python"), checkout()
    near = root if root and Path.cwd().is_relative_to(root) else Path.cwd()
    if on_path and Path(on_path).parent == here.parent and os.path.samefile(on_path, here):
        python = "python"
    else:
        python = str(here.relative_to(near) if here.is_relative_to(near) else here)
    return " ".join(f'"{word}"' if " " in word else word for word in (python, "-m", "inpaintkit", *words))


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


def write_arrays(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays by name as a compressed .npz file, atomically."""
    with atomic_write(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyrefly: ignore[bad-argument-type]  (a name may be allow_pickle)


def checkout() -> Path | None:
    """The folder of the repository, or None where the package was installed without one."""
    above = Path(__file__).resolve().parent.parent
    return above if (above / "pyproject.toml").exists() and (above / "notebooks").is_dir() else None


def runs_dir(name: str = "", out_dir: str | Path | None = None) -> Path:
    """Where runs keep checkpoints and results, made if it is not there: ``out_dir``, or runs/NAME of the checkout
    (of the current folder where there is no checkout), whatever folder a notebook is run from.

    The environment variable INPAINTKIT_RUNS replaces "runs": tests use it so that they never continue a student's run.
    Raises OSError with one sentence for a folder that cannot be made or written to.
    """
    runs = os.environ.get("INPAINTKIT_RUNS") or (checkout() or Path()) / "runs"
    folder = Path(out_dir).expanduser() if out_dir else Path(runs) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"out_dir {folder} cannot be written to ({error.strerror}): name another folder.") from error
    return folder


def results_dir() -> Path:
    """The folder of recorded runs: results/ in a checkout, inside the package when it was installed by pip."""
    package = Path(__file__).parent
    return package / "results" if (package / "results").is_dir() else package.parent / "results"


def fingerprint(*arrays) -> str:
    """First 12 hex digits of the SHA-256 of tensors or arrays (shape, dtype and bytes)."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array.cpu().numpy() if isinstance(array, torch.Tensor) else array)
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()[:12]


def read_json(path: str | Path) -> dict:
    """What `write_json` wrote. Raises ValueError with one sentence for a damaged file."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no record")
    except ValueError as error:  # undecodable text and broken JSON
        raise ValueError(f"{path} is damaged ({error}): delete it, and run again.") from error
    return content


def read_toml(path: str | Path) -> dict:
    """A TOML file. Raises ValueError with one sentence for a damaged one, FileNotFoundError."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf8"))
    except ValueError as error:  # undecodable text and broken TOML
        raise ValueError(f"{Path(path).name} cannot be read ({error}).") from error


def files_hash(*files: Path) -> str:
    """First 12 hex digits of the SHA-256 of files, the same on Windows."""
    return _hash((path, path.read_bytes().replace(b"\r\n", b"\n")) for path in files)


def code_hash(*files: Path) -> str:
    """As `files_hash`, with Python files taken for what they do: comments, docstrings and empty lines do not count."""
    return _hash((path, _program(path) if path.suffix == ".py" else path.read_bytes()) for path in files)


def _hash(contents) -> str:
    digest = hashlib.sha256()
    for path, content in sorted(contents):
        digest.update(path.name.encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def _program(path: Path) -> bytes:
    """What a source file does, the same under every version of Python: its tokens without comments and docstrings."""
    with tokenize.open(path) as file:
        tokens = [t for t in tokenize.generate_tokens(file.readline) if t.type not in (tokenize.COMMENT, tokenize.NL)]
    marks = {tokenize.NEWLINE: "\n", tokenize.INDENT: "\x01", tokenize.DEDENT: "\x02"}
    text, first = "", True  # of a line
    for token in tokens:
        if first and token.type in (tokenize.STRING, tokenize.NEWLINE):  # a text that begins a line is a docstring
            continue
        text += marks.get(token.type, token.string)
        first = token.type in marks
    # From Python 3.12 on the inside of an f-string is tokens, too, without spaces and with single braces.
    return text.replace(" ", "").replace("{{", "{").replace("}}", "}").encode()


# --- provenance -------------------------------------------------------------------------------------------------------


def git_revision() -> str | None:
    """Revision of the checkout, "+" if the package has uncommitted changes; None if there is no checkout."""
    folder = checkout()

    def git(*arguments):
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if folder is None or Path(git("rev-parse", "--show-toplevel")).resolve() != folder:  # inside another repository
            return None
        return git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain", "inpaintkit") else "")
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
        "revision": git_revision(),
        "versions": versions,
    }
