"""The papers' own networks on a GPU, in slices: `python tools/gpu.py --minutes 9 --data-dir afhq-cat=FOLDER ...`

Each call trains for some minutes, saves a checkpoint and stops; the next call goes on. It ends with 0 when all is
done, and with 3 while something is left. Every finished run is written to OUT/NAME.json with device, data, steps,
seconds and versions. --smallest runs the same path in seconds, on a CPU too, to see that it works.
"""

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path

from inpaintkit import papers, runtime
from inpaintkit.experiments import run

MORE = 3  # exit status: something is left to do
PICTURES = 4_600  # of the cats and of Caltech-101, so that both get the same number of steps
RUNS = {  # in this order; what is not named is the paper's profile
    "vae-cats": ("vae", {"dataset": "afhq-cat", "n_train": PICTURES, "epochs": 40}),
    "vae-objects": ("vae", {"dataset": "caltech101", "n_train": PICTURES, "epochs": 40}),
    "gan-cats": ("context_encoder", {"dataset": "afhq-cat", "epochs": 10}),
    "ssrgan-80": ("ssrgan", {"dataset": "caltech101", "p": 0.8, "reading": "as_written", "epochs": 10}),
}
SMALLEST = {"profile": "smoke", "dataset": "portraits", "n_train": 64, "n_test": 12, "epochs": 2}


def slice_of(name: str, out: Path, folders: dict[str, str], smallest: bool) -> dict:
    """Trains one run until it is finished: its record. Raises KeyboardInterrupt when the slice is over."""
    paper, values = RUNS[name]
    values = {"profile": "paper", "reading": "fixed"} | values
    if smallest:
        values |= SMALLEST
    elif values["dataset"] in folders:
        values["data_dir"] = folders[values["dataset"]]
    record = run.run(papers.get(paper), values, out / name)
    seconds = record["seconds"] / record["steps"]
    more = {"seconds for an epoch of 25,000 pictures": round(seconds * 25_000 / record["parameters"]["batch_size"], 1)}
    kept = {key: value for key, value in record.items() if key != "history"}
    runtime.write_json(out / f"{name}.json", kept | {"seconds per step": round(seconds, 4)} | more)
    return record


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9, help="how long to train at most (default: 9)")
    parser.add_argument("--out", type=Path, help="where runs are kept (default: runs/gpu)")
    parser.add_argument("--data-dir", nargs="*", default=[], metavar="NAME=FOLDER", help="where data sets are")
    parser.add_argument("--smallest", action="store_true", help="the smallest networks and data that ship")
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=list(RUNS), help="some of the runs")
    given = parser.parse_args(arguments)
    out, end = given.out or runtime.runs_dir("gpu"), time.monotonic() + 60 * given.minutes
    folders = dict(pair.split("=", 1) for pair in given.data_dir)
    timer = threading.Timer(60 * given.minutes, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()  # `fit` finishes its step, saves and raises KeyboardInterrupt
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # outside of a training, too
    try:
        for name in given.only:
            if not (out / f"{name}.json").exists():
                record = slice_of(name, out, folders, given.smallest)
                print(f"{name}: {record['steps']} steps in {record['seconds']:.0f} s", flush=True)
    except KeyboardInterrupt:
        if time.monotonic() < end:
            raise  # somebody stopped it
        print("the time is over: call again to go on")
        return MORE
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
