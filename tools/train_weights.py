"""Trains the weights that ship with the kit, into results/weights/: `python tools/train_weights.py [NAME ...]`

What each is trained with stands in papers/WORK.toml: the table `weights` is that of the work's name, `more_weights` has
others by their names. A training that was stopped continues.
Only data that may be passed on can be used: the portraits, which are in the public domain.
"""

import argparse
import hashlib
import json

import torch

from inpaintkit import papers, runtime, shipped, training
from inpaintkit.experiments import questions, run

LICENCE = "weights: MIT, as the kit; trained on public-domain portraits (data/README.md)"


def train(paper, name: str, given: dict) -> None:
    cfg = paper.Parameters.resolve(given)
    if cfg.dataset != "portraits":
        raise ValueError(f"dataset must be portraits, whose weights may be passed on, and {cfg.dataset!r} is not.")
    folder = runtime.runs_dir("weights/" + name)
    record = run.run(paper, cfg, folder)
    header = training.weights_header(folder / "weights.safetensors")
    modules = paper.build(cfg)
    training.load_weights(folder / "weights.safetensors", modules, paper.kept)
    own = {"part": "test", "holes": record["holes"], "filler": paper.network, "score": paper.scores[0]}
    (row,) = (row for row in record["scores"] if own.items() <= row.items())
    header = {key: value for key, value in header.items() if key != "sha256"} | {
        "licence": LICENCE,
        "reading": cfg.reading,
        "score": json.dumps({key: row[key] for key in ("score", "mean", "n", "holes", "mask", "pictures")}),
        "history": json.dumps(record["history"]),
        "made with": json.dumps({key: record[key] for key in ("device", "threads", "seconds", "revision")}),
    }
    target = runtime.results_dir() / "weights"
    target.mkdir(exist_ok=True)
    path = training.save_weights(target / f"{name}.safetensors", modules, paper.kept, header)
    print(f"{path.name}: {row['score']} {row['mean']:.4f}, {record['seconds']:.0f} s, {path.stat().st_size:,} bytes")
    sums = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in sorted(target.glob("*.safetensors"))]
    with runtime.atomic_write(target / shipped.SUMS) as part:
        part.write_text("".join(sums), encoding="utf8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    known = {}
    for one in papers.PAPERS.values():
        table = questions.table(one)
        named = {one.id: table["weights"]} | table.get("more_weights", {})
        known |= {name: (one, name, given) for name, given in named.items()}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    names = parser.parse_args().names
    if unknown := ", ".join(name for name in names if name not in known):
        parser.error(f"no weights are named {unknown}: choose from {', '.join(known)}")
    for name in names or known:
        train(*known[name])
