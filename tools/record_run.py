"""Keeps a finished run for the tables: copies its results.json to results/NAME.json, without this machine's paths.

python tools/record_run.py runs/mine 01_autoencoder-paper-16-cats
"""

import json
import sys
from pathlib import Path

from inpaintkit import runtime


def main(out_dir: str, name: str) -> None:
    run = json.loads((Path(out_dir) / "results.json").read_text(encoding="utf8"))
    for parameter in ("data_dir", "out_dir"):
        if run["parameters"].get(parameter):
            run["parameters"][parameter] = Path(run["parameters"][parameter]).name
    target = runtime.results_dir() / f"{name}.json"
    runtime.write_json(target, run)
    print(target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
