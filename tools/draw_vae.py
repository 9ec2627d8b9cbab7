"""Draws the pictures of notebook 02 that need more than its minute of training: `python tools/draw_vae.py`

results/02_teaser.jpg is one test face, restored with the shipped weights. results/02_vae-beta.jpg compares the demo,
seed 0, with the same training without the KL term. It says if a training ends with other weights than the recorded one.
"""

import torch

from inpaintkit import data, masking, runtime, training, viz
from inpaintkit.experiments import records, run
from inpaintkit.papers import vae

PAPER = vae.PAPER


def trained(beta: float) -> torch.nn.Module:
    """The network of the recorded run with this weight of the KL term, trained again."""
    cfg = vae.Parameters.resolve({"beta": beta})
    folder = runtime.runs_dir(f"beta/{beta}")
    with torch.enable_grad():
        record = run.run(PAPER, cfg, folder)
    recorded = records.load(PAPER)
    (row,) = recorded.runs[recorded.runs.run == recorded.seeds(cfg)[0]].to_dict("records")
    if record["weights"] != row["weights"]:
        print(f"beta={beta}: weights {record['weights']}, recorded {row['weights']}: another machine or version")
    modules = PAPER.build(cfg)
    training.load_weights(folder / "weights.safetensors", modules, PAPER.kept)
    return modules["net"].eval()


@torch.no_grad()
def main() -> None:
    cfg = vae.Parameters.resolve({})
    test = data.open_for(cfg).test.float() / 255
    mask = next(iter(PAPER.test_holes(cfg, len(test)).values()))
    masked = masking.apply(test, mask)
    few = torch.linspace(0.1, 0.99, 4).mul(len(test)).long()  # those of the notebook

    hole, face = mask[few[2:3]], masked[few[2:3]]
    drawn = run.shipped_filler(PAPER)(face, hole)
    tiles = torch.cat([face, drawn, masking.composite(test[few[2:3]], drawn, hole), test[few[2:3]]])
    titles = ["its input", "redrawn by a VAE", "known pixels put back", "truth"]
    large, frame = ((x.repeat_interleave(3, 2).repeat_interleave(3, 3)) for x in (tiles, hole.expand(4, -1, -1, -1)))
    viz.grid({"": large}, titles, runtime.results_dir() / "02_teaser.jpg", frame)

    rows, train = {}, data.open_for(cfg).train.float() / 255
    train = masking.apply(train, PAPER.holes(cfg, len(train), runtime.generator(0)))
    noise = torch.randn(4, vae.NETWORKS[cfg.network]["latent"], generator=runtime.generator(0))
    for beta in (0.0, cfg.beta):
        net = trained(beta)
        (a, b), _ = net.encode(masked[few[:2]])
        rows[f"β = {beta:g}\nbetween two faces"] = net.decode(torch.lerp(a, b, torch.linspace(0, 1, 4)[:, None]))
        rows[f"β = {beta:g}\nsampled from the prior"] = net.decode(noise)
        codes = torch.cat([net.encode(part)[0] for part in train.split(100)])
        print(f"beta={beta:g}: codes have a spread of {codes.std(0).mean():.2f} on average")
        rows[f"β = {beta:g}\nwith mean and spread\nof its own codes"] = net.decode(codes.mean(0) + codes.std(0) * noise)
    together = dict(sorted(rows.items(), key=lambda row: row[0].split("\n")[1:]))  # both beside each other
    viz.grid(together, save=runtime.results_dir() / "02_vae-beta.jpg")


if __name__ == "__main__":
    main()
