"""Draws what notebooks 02 and 03 show without training it there: `python tools/recorded_pictures.py [FOLDER]`

Each has a teaser, a test face restored with the shipped weights, and demos that differ in one weight: that of the KL
term (02_vae-beta.png), and that of the adversarial loss (03_weights.png). Five demos are trained, seed 0, unless FOLDER
(default: runs/recorded_pictures) has them: some minutes.
"""

import sys
from pathlib import Path

import torch

from inpaintkit import data, masking, runtime, viz
from inpaintkit.contracts import Filler, Paper
from inpaintkit.experiments import records, run
from inpaintkit.papers import context_encoder, vae

RESULTS = runtime.results_dir()


def opened(paper: Paper) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The demo's test faces, their holes, and the four faces that the notebook shows."""
    cfg = paper.Parameters.resolve({})
    test = data.open_for(cfg).test[:].float() / 255
    return (
        test,
        next(iter(paper.test_holes(cfg, len(test)).values())),
        torch.linspace(0.1, 0.99, 4).mul(len(test)).long(),
    )


def trained(paper: Paper, changes: dict, folder: Path) -> Filler:
    """The network of a demo; says if it ended with other weights than the recorded run."""
    cfg = paper.Parameters.resolve(changes)
    folder = folder / f"{paper.id}-{'-'.join(map(str, changes.values()))}"
    with torch.enable_grad():
        record = run.run(paper, cfg, folder)
    recorded = records.load(paper)
    (row,) = recorded.runs[recorded.runs.run == recorded.seeds(cfg)[0]].to_dict("records")
    if record["weights"] != row["weights"]:
        print(f"{changes}: weights {record['weights']}, recorded {row['weights']}: another machine or version")
    return run.trained_filler(folder / "weights.safetensors")[1]


def of_the_vae(folder: Path) -> None:
    """02_teaser.png, and 02_vae-beta.png: the demo beside the same training without the KL term."""
    paper, cfg = vae.PAPER, vae.Parameters.resolve({})
    test, mask, few = opened(paper)
    masked = masking.apply(test, mask)
    one = few[2:3]
    drawn = run.shipped_filler(paper)(masked[one], mask[one])
    together = masking.composite(test[one], drawn, mask[one])
    shown = {"its input": masked[one], "redrawn by a VAE": drawn, "known pixels put back": together, "truth": test[one]}
    viz.teaser(RESULTS / "02_teaser.png", {label: picture[0] for label, picture in shown.items()}, mask[one])

    rows, train = {}, data.open_for(cfg).train[:].float() / 255
    train = masking.apply(train, paper.holes(cfg, len(train), runtime.generator(0)))
    noise = torch.randn(3, vae.NETWORKS[cfg.network]["latent"], generator=runtime.generator(0))
    for beta in (0.0, cfg.beta):
        net = trained(paper, {"beta": beta}, folder).net
        codes = torch.cat([net.encode(part)[0] for part in train.split(100)])
        print(f"beta={beta:g}: codes have a spread of {codes.std(0).mean():.2f} on average")
        rows[f"β = {beta:g}"] = net.decode(torch.cat([noise, codes.mean(0) + codes.std(0) * noise]))
    where = ["from the prior"] * 3 + ["like its own codes"] * 3
    viz.grid(rows, where, save=RESULTS / "02_vae-beta.png")


def of_the_context_encoder(folder: Path) -> None:
    """03_teaser.png, and 03_weights.png: the squares of three demos, rows A, B and C, with two known pixels around."""
    paper = context_encoder.PAPER
    test, mask, few = opened(paper)
    masked, one = masking.apply(test, mask, paper.Parameters().fill), slice(57, 58)
    restored = run.shipped_filler(paper)(masked[one], mask[one])
    shown = {"the hole": masked[one], "the network's answer": restored, "the truth": test[one]}
    viz.teaser(RESULTS / "03_teaser.png", {label: picture[0] for label, picture in shown.items()}, mask[one])

    top, left, bottom, right = masking.bounding_box(mask[:1])[0].tolist()
    near, rows = (..., slice(top - 2, bottom + 2), slice(left - 2, right + 2)), {}
    large = lambda x: x[near].repeat_interleave(2, 2).repeat_interleave(2, 3)  # noqa: E731
    for row, weight in {"A": 0.001, "B": 0.05, "C": 0.0}.items():
        rows[row] = large(trained(paper, {"weight_adv": weight}, folder)(masked[few], mask[few]))
    rows["truth"] = large(test[few])
    viz.grid(rows, [f"face {i + 1}" for i in range(len(few))], save=RESULTS / "03_weights.png", holes=large(mask[few]))


if __name__ == "__main__":
    out = runtime.runs_dir("recorded_pictures", sys.argv[1] if sys.argv[1:] else None)
    with torch.no_grad():
        of_the_vae(out)
        of_the_context_encoder(out)
