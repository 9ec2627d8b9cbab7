"""Keeps a finished sweep for notebook 04: all its results.json in results/04_ssrgan-sweep.json, without this machine's
paths and without what no table shows.

python tools/record_sweep.py runs/sweep
"""

import sys
from pathlib import Path

from inpaintkit import runtime, sweep

KEPT = (
    "dataset",
    "parameters",
    "data",
    "scores",
    "history",
    "weights",
    "seconds",
    "date",
    "device",
    "threads",
    "versions",
)
SHOWN = ("mean", "sd", "n", "undefined")


def shortened(run: dict) -> dict:
    run = {name: run[name] for name in KEPT}
    folder = run["parameters"]["data_dir"]
    run["parameters"] |= {"data_dir": Path(folder).name if folder else None}
    run["history"] |= {"losses": {name: values[-1:] for name, values in run["history"]["losses"].items()}}
    run["history"] |= {"steps": run["history"]["steps"][-1:]}
    for rows in run["scores"].values():
        for row in rows:
            for name, summary in row.items():
                if isinstance(summary, dict):
                    row[name] = {key: round(summary[key], 6) for key in SHOWN if key in summary}
    return run


def main(folder: str) -> None:
    runs = sorted(
        sweep.read(folder), key=lambda run: (run["dataset"], run["parameters"]["p"], run["parameters"]["seed"])
    )
    target = runtime.results_dir() / "04_ssrgan-sweep.json"
    runtime.write_json(target, {"runs": [shortened(run) for run in runs]})
    print(f"{target}: {len(runs)} runs")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
