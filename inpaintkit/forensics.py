"""What can be found out about the VAE article without training: scores of untouched pictures, the loss's floor, the
affine decoder; and its numbers beside ours.
"""

import copy
import json
from statistics import mean

import torch
from torch import nn

from inpaintkit import masking, metrics, report, runtime
from inpaintkit.models import classical, vae

SETS = {"FFHQ": "ffhq", "Animals-10": "animals10"}  # the article's data, and the names of their surveys in results/


def survey(image: torch.Tensor, draws: int = 3) -> dict:
    """What pictures score that nobody, or mean fill, has repaired: image (B, 1, 100, 100) in [0, 1].

    Returns {holes: {fill: {kind of SSIM: {"mean", "sd"}}}}, mean and spread over pictures, averaged over ``draws`` of
    the holes, with the draws' own means; and "floor", the mean of (1 - image)^2 with its standard error, which the
    target with alpha adds to the authors' loss.
    """
    size, table = image.shape[-1], {}
    for holes, (side, count) in {
        "1 x 20 %": (size // 5, 1),
        "2 x 20 %": (size // 5, 2),
        "1 x 40 %": (2 * size // 5, 1),
        "20 % of the area": (masking.side_of(0.2, size, "area"), 1),
    }.items():
        drawn = [masking.squares(len(image), size, side, count, runtime.generator(seed)) for seed in range(draws)]
        for fill in (classical.Nothing(), classical.MeanFill()):
            for kind in metrics.SSIM_KINDS:
                values = [metrics.ssim(fill(masking.apply(image, mask), mask), image, kind=kind) for mask in drawn]
                table.setdefault(holes, {}).setdefault(fill.name, {})[kind] = {
                    "mean": round(mean(v.mean().item() for v in values), 4),
                    "sd": round(mean(v.std().item() for v in values), 4),
                    "draws": [round(v.mean().item(), 4) for v in values],
                }
    floor = (1 - image).square().mean((1, 2, 3)).double()  # per picture
    error = floor.std().item() / len(floor) ** 0.5
    floors = {"floor": round(floor.mean().item(), 4), "floor, standard error": round(error, 4)}
    return {"pictures": len(image), **floors, "holes": table}


class Collapsed(nn.Module):
    """A `VAE` with ``leaky_slope=1`` in eval mode with z = mu, with its affine layers multiplied out (ours).

    From the feature map to the picture before its sigmoid, everything is affine; what remains of eleven layers is two
    matrices with the code between them. ``Collapsed(net)`` computes them in float64.
    """

    def __init__(self, net: vae.VAE):
        super().__init__()
        exact = copy.deepcopy(net).double().eval()
        self.encoder, self.shape = copy.deepcopy(net.encoder).eval(), (net.channels, net.size, net.size)
        self.down = nn.Linear(net.fc1.in_features, net.latent, device=net.fc1.weight.device)
        self.up = nn.Linear(net.latent, net.channels * net.size**2, device=net.fc1.weight.device)
        if net.fc1.weight.device.type == "meta":
            return  # only the shapes are wanted
        with torch.no_grad():
            self.down.weight.copy_(exact.mean.weight @ exact.fc1.weight)
            self.down.bias.copy_(exact.mean(exact.fc1.bias))
            codes = torch.eye(net.latent, dtype=torch.float64, device=net.fc1.weight.device)
            origin = exact.logits(torch.zeros_like(codes[:1]))
            self.up.weight.copy_((exact.logits(codes) - origin).flatten(1).T)
            self.up.bias.copy_(origin.flatten())

    def logits(self, masked: torch.Tensor) -> torch.Tensor:
        """Picture (B, C, H, W) in [0, 1] -> restored picture before its sigmoid."""
        return self.up(self.down(self.encoder(2 * masked - 1).flatten(1))).view(-1, *self.shape)

    def forward(self, masked: torch.Tensor) -> torch.Tensor:
        return self.logits(masked).sigmoid()


def collapse_difference(net: vae.VAE, masked: torch.Tensor) -> float:
    """Largest difference between the pictures (before the sigmoid) of a VAE and its `Collapsed` form, over the
    largest value.
    """
    net.eval()
    with torch.no_grad():
        full, small = net.logits(net.encode(masked)[0]), Collapsed(net).logits(masked)
    return ((full - small).abs().max() / full.abs().max()).item()


def surveys() -> dict[str, dict]:
    """The recorded surveys of real data, by name (results/02_vae-survey-*.json, made by tools/survey_ssim.py)."""
    files = sorted(runtime.results_dir().glob("02_vae-survey-*.json"))
    return {path.stem.removeprefix("02_vae-survey-"): json.loads(path.read_text(encoding="utf8")) for path in files}


def reported_lines() -> list[dict]:
    """The article's SSIM beside what the same kind of pictures score that nobody has repaired, mean ± spread."""
    recorded, lines = surveys(), []
    for row in report.reported("02_vae"):
        if not row["metric"].startswith("SSIM"):
            continue
        part, holes = row["setting"].split(": ")
        line = {"data": row["data"], "part": part, "holes": holes, "reported": f"{row['value']} ± {row['sd']}"}
        survey_of = recorded.get(SETS[row["data"]])
        if survey_of is None:
            lines.append(line | {"untouched, global": "not run"})
            continue
        fills = survey_of["holes"][holes]
        for title, fill, kind in (
            ("untouched, global", "do nothing", "global"),
            ("untouched, 11x11", "do nothing", "gauss11"),
            ("mean fill, global", "mean of known pixels", "global"),
        ):
            line[title] = f"{fills[fill][kind]['mean']:.4f} ± {fills[fill][kind]['sd']:.4f}"
        lines.append(line | {"ours on": f"{survey_of['pictures']:,} pictures"})
    return lines


def floor_lines() -> list[dict]:
    """The authors' final training loss, less the constant that the alpha channel adds on our part of the same data."""
    recorded, lines = surveys(), []
    for row in report.reported("02_vae"):
        survey_of = recorded.get(SETS[row["data"]])
        if row["metric"].startswith("training loss") and survey_of:
            floor, error = survey_of["floor"], survey_of["floor, standard error"]
            lines.append(
                {"data": row["data"], "loss at epoch 350": row["value"], "floor": f"{floor:.4f} ± {error:.4f}"}
                | {"left for the error": f"{float(row['value']) - floor:.4f} ± {error:.4f}"}
                | {"floor measured on": f"{survey_of['pictures']:,} pictures"}
            )
    return lines


def pack_lines() -> list[dict]:
    """The recorded trainings on parts of real data sets (results/02_vae-pack-*.json), in the form of the article's
    table: SSIM of whole raw pictures, one window, mean ± spread over pictures.
    """
    lines = []
    for path in sorted(runtime.results_dir().glob("02_vae-pack-*.json")):
        run = json.loads(path.read_text(encoding="utf8"))
        p, counts = run["parameters"], run["data"]["counts"]
        scores = {part: {row["filler"]: row for row in rows} for part, rows in run["scores"].items()}
        line = {
            "data": run["data"]["name"].removeprefix("folder "),
            "train/test": f"{counts['train']:,}/{counts['test']:,}",
        }
        line |= {"epochs": p["epochs"], "rate": f"{p['lr']:g}", "minutes": f"{run['history']['seconds'] / 60:.1f}"}
        for part in ("train", "test"):
            ssim = scores[part]["VAE"]["raw SSIM, global"]
            line[f"VAE, {part}"] = f"{ssim['mean']:.3f} ± {ssim['sd']:.3f}"
        test = scores["test"]
        line["untouched, test"] = test["do nothing"]["image SSIM, global"]["mean"]
        line["VAE composited, test"] = test["VAE"]["image SSIM, global"]["mean"]
        line["mean fill, test"] = test["mean of known pixels"]["image SSIM, global"]["mean"]
        for filler, short in {
            "VAE": "VAE",
            "mean of known pixels": "mean fill",
            "mean of a 2-pixel ring": "ring",
        }.items():
            line[f"hole MSE: {short}"] = test[filler]["hole MSE"]["mean"]
        line["hole MSE: biharmonic"] = test["biharmonic"]["hole MSE"]["mean"]
        lines.append(line)
    return lines
