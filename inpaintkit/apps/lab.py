"""`make lab`: JupyterLab on copies of the notebooks, because Jupyter saves by itself what a student types and runs."""

import os
import sys
from pathlib import Path

from inpaintkit import runtime

FOLDER = "my_notebooks"  # beside notebooks/, so that relative links lead to the same places; git ignores it
RECORD = ".originals.json"  # in FOLDER: {name: hash of the original when it was copied}
LARGEST = 100 * 2**20  # of a message, in bytes: an uploaded photograph is one, and Jupyter's limit is 10 MB


def copy_notebooks(checkout: Path) -> list[str]:
    """Copies the notebooks that are not in `FOLDER` yet; a copy is never written again.

    Returns sentences for the student: where the copies are, and which originals are newer than their copies.
    """
    originals, copies = checkout / "notebooks", checkout / FOLDER
    copied = runtime.read_json(copies / RECORD) if (copies / RECORD).exists() else {}
    newer = []
    for original in sorted(originals.rglob("*.ipynb")):
        name, now = original.relative_to(originals).as_posix(), runtime.files_hash(original)
        if not (copies / name).exists():
            with runtime.atomic_write(copies / name) as part:
                part.write_bytes(original.read_bytes())
            copied[name] = now
        elif copied.setdefault(name, now) != now:
            newer.append(name)
    runtime.write_json(copies / RECORD, copied)
    said = [f"your notebooks are in {FOLDER}/; to begin one anew, rename or delete it there and call this again."]
    return said + ([f"there are newer originals of {', '.join(newer)}; your copies stay as they are."] if newer else [])


def options(checkout: Path) -> list[str]:
    """JupyterLab's options. It serves the whole checkout, because the notebooks link to the reports."""
    return [
        "--ip=127.0.0.1",
        f"--ServerApp.root_dir={checkout}",
        f"--LabApp.default_url=/lab/tree/{FOLDER}",
        f"--ServerApp.tornado_settings={{'websocket_max_message_size': {LARGEST}}}",
        "--KernelManager.transport_encryption=auto",  # else newer kernels warn
    ]


def main() -> int:
    """Copies the notebooks, then becomes JupyterLab."""
    checkout = runtime.checkout()
    if checkout is None:
        print("inpaintkit: the notebooks are not here; clone the repository and run `make lab` in it.")
        return 1
    for sentence in copy_notebooks(checkout):
        print(f"inpaintkit: {sentence}", flush=True)
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *options(checkout)])
