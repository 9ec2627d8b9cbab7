"""Checks of the exercises of notebook 02, and what its cells call: PCA, figures, rows of tables."""

import copy
import json
import math
from collections.abc import Callable
from statistics import mean

import matplotlib.pyplot as plt
import torch
from torch import nn

from inpaintkit import fills, masking, metrics, runtime, viz
from inpaintkit.apps.exercises import check, guessed, train_with
from inpaintkit.contracts import Filler, Question, Recipe
from inpaintkit.experiments import answers, run
from inpaintkit.experiments.records import Interval, Records, paired
from inpaintkit.papers import vae


def sampled_latent(function: Callable, number: int = 1) -> str:
    """Modify: a sample of N(mu, sigma) through which gradients pass, the reparameterisation."""
    sigma = torch.tensor([0.5, 2.0]).expand(4000, 2)

    def answer():
        mu, logvar = torch.full((4000, 2), 3.0).requires_grad_(), (2 * sigma.log()).requires_grad_()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            z = function(mu, logvar)
        return z if z is None or z is ... else (z, mu, logvar)

    def judge(answer):
        z, mu, logvar = answer
        if not torch.is_tensor(z) or z.shape != mu.shape:
            return f"mu is {tuple(mu.shape)}, so z is, too; yours is {tuple(getattr(z, 'shape', ()))}."
        mean, spread = z.detach().mean(0), z.detach().std(0)
        if (spread < 1e-3).all():
            return "nothing is sampled: every z is the same."
        if torch.allclose(spread, sigma[0] ** 2, rtol=0.1):
            return "the spread is sigma squared: exp(logvar) is the variance, and its root is the deviation."
        if not torch.allclose(mean, torch.tensor(3.0), atol=0.15) or not torch.allclose(spread, sigma[0], rtol=0.1):
            said = [round(value, 2) for value in (*mean.tolist(), *spread.tolist())]
            return f"wanted are means of 3 and 3, deviations of 0.5 and 2; yours are {said[:2]} and {said[2:]}."
        if torch.corrcoef(z.detach().T)[0, 1].abs() > 0.2:
            return "all numbers of a vector get the same noise: sample as many as mu has."
        by_mu, by_logvar = torch.autograd.grad(z.sum(), (mu, logvar), allow_unused=True)
        if by_mu is None or not by_mu.any():
            return "the break is still there: the samples are right, but no gradient reaches mu."
        if by_logvar is None or not by_logvar.any():
            return "mu gets its gradient, logvar gets none: which operation cuts it off?"
        return None

    return check(number, answer, (), judge)


def known_kl(guess: dict, number: int = 2) -> str:
    """Predict: the KL term of one latent number in three cases."""

    def judge(answer):
        if not math.isclose(answer["equal"], 0, abs_tol=1e-3):
            return "equal distributions have no distance: put mu = 0 and sigma = 1 (so log 1 = 0) into the formula."
        if not math.isclose(answer["mean is 2"], 2, abs_tol=1e-3):
            return f"with sigma = 1 only mu squared is left, times one half; you say {answer['mean is 2']}."
        if answer["costs more"] not in (0.5, 2):
            return "the third answer is a number, 0.5 or 2: the standard deviation that costs more."
        if answer["costs more"] != 2:
            return "sigma = 0.5 costs 0.318; put sigma = 2 into the formula, with log sigma^2 = 2 log sigma."
        return None

    return check(number, lambda: guess, (), judge)


def kl_by_sampling(function: Callable, number: int = 3) -> str:
    """Write: the KL divergence of each picture's posterior from the prior, as a mean over sampled points."""
    mu, logvar = 0.5 * torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    wanted = vae.kl(mu, logvar)
    backwards = 0.5 * ((1 + mu**2) / logvar.exp() - 1 + logvar).sum(1)  # of the prior from the posterior

    def sampled():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return function(mu, logvar)

    def judge(answer):
        if not torch.is_tensor(answer):
            return "return a tensor: one value per picture, shape (6,)."
        if answer.shape != wanted.shape:
            return f"one value per picture, shape (6,); yours is {tuple(answer.shape)}: which dimension is left?"
        off = {"": wanted, "sign": -wanted, "mean": wanted / 4, "prior": backwards, "prior, sign": -backwards}
        near = min(off, key=lambda name: (answer - off[name]).abs().mean())
        if (answer - off[near]).abs().mean() > 0.2 * off[near].abs().mean():
            said = f"the first picture has about {wanted[0]:.2f}, and yours is {answer[0]:.2f}"
            return f"{said}. Is it a mean of many points?"
        return {
            "": None,
            "sign": "the sign is wrong: a KL divergence is never negative.",
            "mean": "4 times too small: sum over the numbers of the code, and take the mean over the points.",
            "prior": "you sampled the prior; the points are those of the posterior.",
            "prior, sign": "you sampled the prior; the points are those of the posterior.",
        }[near]

    return check(number, sampled, (), judge)


def encoder_sizes(guess: dict, number: int = 4) -> str:
    """Calculate: the side of what each block of the encoder returns, and the weights of the first dense layer."""
    sides, numbers = {"block 1": 24, "block 2": 10, "block 3": 2}, 64 * 2 * 2

    def judge(answer):
        for name, side in sides.items():
            if answer[name] == 2 * side:
                return f"{name}: the convolutions are right; the max-pooling then halves the side."
            if answer[name] != side:
                return f"{name}: each 3x3 convolution takes 2 pixels off the side, and the pooling halves it."
        if answer["weights of fc1"] in (64 * 512, 2 * 2 * 512):
            return "fc1: the encoder returns 64 channels of 2 x 2 numbers, and fc1 sees all of them."
        if answer["weights of fc1"] not in (numbers * 512, numbers * 512 + 512):
            return f"fc1 has inputs x outputs weights: {numbers} x 512. Your answer is {answer['weights of fc1']:,}."
        return None

    return check(number, lambda: guess, (), judge)


def total_loss(function: Callable, number: int = 5) -> str:
    """Write: mean squared error + 2 beta KL / N, as a mean over the batch."""
    generator = torch.Generator().manual_seed(0)
    pred, picture = torch.rand(2, 3, 1, 8, 8, generator=generator)
    mu, logvar = torch.randn(2, 3, 5, generator=generator)
    beta, error, divergence = 0.5, (pred - picture).square().mean(), vae.kl(mu, logvar)
    term = 2 * beta * divergence.mean() / 64

    def judge(answer):
        answer = torch.as_tensor(answer)
        if answer.numel() != 1:
            return f"one number for the whole batch is wanted, and yours has shape {tuple(answer.shape)}."
        for wrong, problem in (
            (error + term, None),
            (error, "this is the reconstruction alone: where is the KL term?"),
            (error + term / 2, "the KL term is half of what it should be: there is a factor of 2."),
            (error + term / beta, "beta is missing in front of the KL term."),
            (error + 64 * term, "the KL term is too large: divide it by N, the number of values in a picture."),
            (error + term / 3, "N is the number of values in one picture, not in the batch: picture[0].numel()."),
            (error + 3 * term, "the KL is summed over the batch: take the mean over the pictures."),
            (64 * (error + term), "this is a sum over the values of a picture: take the mean."),
        ):
            if math.isclose(answer.item(), wrong.item(), rel_tol=1e-4):
                return problem
        return f"wanted is {error:.4f} + {term:.4f}, reconstruction and KL term; yours is {answer.item():.4f}."

    return check(number, function, (pred, picture, mu, logvar, beta), judge)


class _Tiny(nn.Module):
    """A VAE of two layers that remembers what went through it."""

    def __init__(self):
        super().__init__()
        self.down, self.up, self.seen = nn.Linear(16, 6), nn.Linear(3, 16), {}
        for tensor in self.parameters():
            nn.init.normal_(tensor, std=0.5, generator=torch.Generator().manual_seed(tensor.numel()))

    def encode(self, masked):
        mu, logvar = self.down(masked.flatten(1)).chunk(2, 1)
        self.seen |= {"mu": mu.detach(), "logvar": logvar.detach()}
        return mu, logvar

    def decode(self, z):
        self.seen["z"] = z.detach()
        return self.up(z).sigmoid().view(-1, 1, 4, 4)


def vae_step(function: Callable, number: int = 6) -> str:
    """Modify: the training step of an autoencoder becomes that of a VAE."""
    net, beta, rate = _Tiny(), 2.0, 0.1
    before = copy.deepcopy(net)
    masked, picture = torch.rand(2, 8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for tensor in net.parameters():
        tensor.grad = torch.ones_like(tensor)  # what an earlier step has left

    def step():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return function(net, torch.optim.SGD(net.parameters(), lr=rate), masked, picture, beta)

    def judge(answer):
        if "z" not in net.seen:
            return "nothing was decoded: call net.encode, sample, call net.decode."
        seen = net.seen
        if torch.allclose(seen["z"], seen["mu"]):
            return "the autoencoder is still there: the decoder gets the mean, nothing is sampled."
        mu, logvar = before.encode(masked)
        noise = (seen["z"] - seen["mu"]) / (0.5 * seen["logvar"]).exp()
        pred = before.decode(mu + (0.5 * logvar).exp() * noise)
        error, divergence = (pred - picture).square().mean(), vae.kl(mu, logvar).mean()
        loss = error + 2 * beta * divergence / 16
        answer = torch.as_tensor(answer).detach()
        if answer.numel() != 1:
            return f"return one number, the loss of the batch; yours has shape {tuple(answer.shape)}."
        if math.isclose(float(answer), error.item(), rel_tol=1e-4):
            return "a vector is sampled; now add the KL term to the loss."
        if not math.isclose(float(answer), loss.item(), rel_tol=1e-4):
            return f"the loss of this batch is {loss.item():.4f}, and yours is {float(answer):.4f}: see exercise 5."
        gradients = torch.autograd.grad(loss, list(before.parameters()))
        moved = [(old - new) / rate for old, new in zip(before.parameters(), net.parameters(), strict=True)]
        if all(not step.any() for step in moved):
            return "the loss is right, and no weight has changed: backward, then the optimiser's step."
        if not all(torch.allclose(step, wanted, atol=1e-3) for step, wanted in zip(moved, gradients, strict=True)):
            return "the loss is right, the weights moved elsewhere: zero_grad before backward, and nothing detached?"
        return None

    return check(number, step, (), judge)


def training_pair(function: Callable, number: int = 7) -> str:
    """Find the bug: the input is made black in place, so the target gets the hole, too."""
    generator = torch.Generator().manual_seed(0)
    truth = 0.2 + 0.8 * torch.rand(4, 1, 8, 8, generator=generator)
    holes, given = masking.square(4, 8, 3, "random", generator), truth.clone()
    wanted = truth.masked_fill(holes, 0)

    def judge(answer):
        masked, target = answer
        if masked.shape != truth.shape or target.shape != truth.shape:
            return f"input and target are pictures, {tuple(truth.shape)} each; yours are not."
        if torch.equal(target, wanted):
            return "the bug is still there: a network trained with these pairs would return its input."
        if not torch.equal(target, truth):
            return "the target is the complete picture, unchanged."
        if torch.equal(masked, truth):
            return "now the input has no hole."
        if not torch.equal(masked, wanted):
            return "the input is the picture with 0 in the hole, and unchanged outside."
        if not torch.equal(given, truth):
            return "right once; but the pictures you were given are changed, and the next epoch has no truth."
        return None

    return check(number, function, (given, holes), judge)


def own_step(recipe: Recipe, step: Callable) -> Recipe:
    """The recipe, trained with the student's step of exercise 6, which knows no slip and always samples."""
    cfg, net, last = recipe.cfg, recipe.net, {}
    for name in ("mean", "logvar"):  # of the batch, for the curve of the KL term
        getattr(net, name).register_forward_hook(lambda _, __, out, name=name: last.update({name: out.detach()}))

    def call(image, masked, mask, generator):
        loss = step(net, recipe.optimisers["adam"], masked, image, cfg.beta)
        return {"loss": loss, "KL": vae.kl(last["mean"], last["logvar"]).mean()}

    fits = cfg.pairs == "matched" and not cfg.la_bug and cfg.beta > 0
    return train_with(recipe, vae_step(step), call, fits)


def corrected(before: torch.Tensor, after: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor, last: bool) -> str:
    """Open question: the hole MSE of an output and of its correction, on the first or the last half of the faces, with
    the criterion: on the last half the interval of the difference lies below 0.
    """
    half = slice(len(truth) // 2, None) if last else slice(0, len(truth) // 2)
    ours, theirs = (metrics.mse(x[half], truth[half], mask[half]).cpu().numpy() for x in (after, before))
    change = paired([ours], [theirs])
    verdict = "better" if change.high < 0 else "worse" if change.low > 0 else "not told apart"
    said = f"{'last' if last else 'first'} half: hole MSE {ours.mean():.4f} instead of {theirs.mean():.4f}"
    said += f"; difference {change}: {verdict}"
    return f"exercise 8, {said}" + (", so the target is reached" if last and verdict == "better" else "")


# --- what the cells call ----------------------------------------------------------------------------------------------


class PCA(Filler):
    """Draws a face from the numbers that say how far it goes in each direction: average (n,), basis (directions, n)."""

    id = label = "PCA"

    def __init__(self, average: torch.Tensor, basis: torch.Tensor):
        self.average, self.basis = average, basis

    def encode(self, x: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """One face (n,), less the average: its numbers (directions,). The hole counts as if it were known."""
        return self.basis @ x

    def __call__(self, masked, mask):
        faces = masked.flatten(1) - self.average
        numbers = [self.encode(x, known) for x, known in zip(faces, ~mask.flatten(1), strict=True)]
        return (torch.stack(numbers) @ self.basis + self.average).view_as(masked).clamp(0, 1)


class KnownPCA(PCA):
    """Is told where the hole is: it takes the numbers that fit the known pixels best, by least squares."""

    id = label = "PCA of the known pixels"

    def encode(self, x, known):
        return torch.linalg.lstsq(self.basis[:, known].T, x[known][:, None]).solution[:, 0]


def latent_space() -> None:
    """A sketch of codes of two numbers: three faces as points, as clouds, and as clouds near the prior."""
    centres = torch.tensor([[-2.5, 1.7], [2.0, 2.2], [0.3, -2.6]])
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 130, 2, generator=generator)
    panels = {
        "autoencoder:\na face is a point": (centres, 0.0),
        "sampling only:\na face is a small cloud": (centres, 0.38),
        "VAE = sampling + KL term:\nall clouds are pulled to the prior": (0.36 * centres, 0.6),
    }
    figure, row = plt.subplots(1, 3, figsize=(10.2, 3.8), dpi=viz.DPI, layout="tight")
    for axes, (title, (means, sigma)) in zip(row, panels.items(), strict=True):
        for i, (colour, mu) in enumerate(zip(("#d62728", "#1f77b4", "#2ca02c"), means, strict=True)):
            cloud = mu + sigma * noise[i]
            axes.scatter(*cloud.T, s=6, color=colour, linewidths=0)
            axes.scatter(*mu, s=110, color=colour, edgecolors="white", linewidths=1.5, zorder=3)
            place = mu + torch.tensor([0.28, 0.28])
            around = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            axes.text(*place, f"face {i + 1}", fontsize=10, zorder=2, bbox=around)
        axes.text(0, 0, "?", fontsize=22, color="black", ha="center", va="center", zorder=4)
        if sigma >= 0.5:  # the circle of radius 2 has 1 - exp(-2 ** 2 / 2) of the prior's points
            axes.add_patch(plt.Circle((0, 0), 2, fill=False, linestyle="--", color="black"))
            axes.text(0, -3.6, "circle: 86 % of the prior", fontsize=10, ha="center")
        axes.set_title(title, fontsize=10)
        axes.set(xlim=(-4, 4), ylim=(-4, 4), xticks=[], yticks=[], aspect="equal", xlabel="first number of the code")
    row[0].set_ylabel("second number")
    viz._show(
        figure, "A sketch of three faces in a space of two latent numbers: " + "; ".join(panels).replace("\n", " ")
    )


def layers(net: vae.VAE) -> dict[str, Callable]:
    """The steps of a VAE by name, for `viz.trace`."""
    steps = {f"block {i}": step for i, step in enumerate(net.encoder, 1)}
    steps["fc1"] = nn.Sequential(nn.Flatten(), net.fc1)
    steps["μ and log σ²"] = lambda hidden: (net.mean(hidden), net.logvar(hidden))
    steps["z"] = lambda pair: pair[0] + (0.5 * pair[1]).exp() * torch.randn_like(pair[0])
    steps |= {"expand": net.expand, "fc4": nn.Sequential(net.fc4, nn.Unflatten(1, (-1, net.side, net.side)))}
    return steps | {"up 1-3": net.decoder[:3], "up 4-6": net.decoder[3:]}


def same_network(build: Callable, net: vae.VAE, picture: torch.Tensor) -> str:
    """Whether the network that the page shows, with the weights of the kit's, draws the same pictures."""
    with torch.random.fork_rng(devices=[]):
        own, kits = build(net.side).eval(), copy.deepcopy(net).cpu().eval()
    try:
        own.load_state_dict(kits.state_dict())
    except RuntimeError:
        return "these settings train a network of another size"
    with torch.no_grad():
        pictures = [one.decode(one.encode(picture.cpu())[0]) for one in (own, kits)]
    return str(torch.allclose(*pictures, atol=1e-5))


def fit_settings(cfg, images, out, device) -> dict:
    """How long and with which seed `training.fit` trains, and what its checkpoint must fit to."""
    return {
        "epochs": cfg.epochs,
        "batch_size": cfg.batch_size,
        "seed": cfg.seed,
        "out_dir": out,
        "device": device,
        "identity": run.checkpoint_identity(vae.PAPER, cfg, images),
        "precision": runtime.pick_precision(device, cfg.precision),
    }


def kl_term(history, cfg) -> tuple[dict, dict[str, float], str]:
    """The KL divergence in a training: a curve over epochs, its first point as a level for `viz.curves`, and whether it
    is "higher" or "lower" at the end than at first."""
    divergence = history.losses.get("KL", [])
    if len(divergence) < 2:
        return {}, {}, "not recorded"
    trend = "higher" if divergence[-1] > divergence[0] else "lower"
    epochs = [step * cfg.epochs / history.steps[-1] for step in history.steps]
    first = {f"mean of the first {history.steps[0]} steps": divergence[0]}
    return {f"mean of {history.steps[0]} steps": (epochs, divergence)}, first, trend


def loss_terms(net: vae.VAE, beta: float, masked: torch.Tensor, truth: torch.Tensor) -> str:
    """The two terms of the loss, in words, as means over pictures (with z = mu)."""
    with torch.no_grad():
        pred, mu, logvar = net.eval()(masked)
    error, term = (pred - truth).square().mean(), 2 * beta * vae.kl(mu, logvar).mean() / truth[0].numel()
    return f"reconstruction {error:.4f}, KL term {term:.4f}"


def judged(guesses: dict[str, str | None], measured: dict[str, str]) -> str:
    """What became of several predictions, a line each; one line for all as long as one is missing."""
    if None in guesses.values():
        return "no guess yet, or one is missing: write them, and run again"
    return "\n".join(f"{name}: {guessed(guess, measured[name])}" for name, guess in guesses.items())


def beside(scored: list, other: str) -> dict[str, tuple[str, Interval]]:
    """The hole MSE of each network minus that of a method with the label ``other``: {label: (verdict, difference)}."""
    per_image = {one.label: one.scores["hole_mse"].cpu().numpy() for one in scored if not one.note}
    found = {}
    for one in scored:
        if one.filler.startswith(vae.PAPER.network) and one.label in per_image:
            change = paired([per_image[one.label]], [per_image[other]])
            found[one.label] = (
                "lower" if change.high < 0 else "higher" if change.low > 0 else "not told apart",
                change,
            )
    return found


def kinds_of_pictures(recorded: Records) -> list[dict]:
    """Experiment 1: the VAE that was trained with faces and that of photographs, on test pictures of its own kind: rows
    of a table. Numbers are means over test pictures and recorded seeds; the verdict is that of `answers.direction`.
    """
    rows = []
    for kind, changed in {"faces": {}, "photographs": {"dataset": "photographs", "n_train": 780}}.items():
        (own,) = answers.variants(recorded, Question("experiment", "", {kind: changed}))
        row, names = {"trained and tested with": kind}, list(own.runs.values())
        if not names:
            rows.append(row | {"the VAE is": answers.NOT_RUN})
            continue
        fill, limit = answers.best_fill(recorded, names[0], "test", own.holes)
        row["VAE"] = f"{mean(recorded.score(name, 'test', own.holes, 'vae') for name in names):.4f}"
        row["best classic fill"] = f"{limit:.4f} ({fills.label(fill)})"
        row["VAE minus fill"] = str(answers.compare(recorded, own, own, fillers=("", fill)))
        rows.append(row | {"the VAE is": answers.direction(recorded, own, own, fillers=("", fill))})
    return rows


HOLES = {"one large square": "1 x 21x21", "two small squares": "2 x 10x10"}


def squares(recorded: Records) -> list[dict]:
    """Experiment 2: rows of a table, a hole in each column, and the difference on the same faces."""
    rows = []
    for label, changed, method in (
        ("VAE, trained with one large square", {}, "vae"),
        ("VAE, trained with two small squares", {"ratio": 0.2, "squares": 2}, "vae"),
        ("harmonic", {}, "harmonic"),
        ("biharmonic", {}, "biharmonic"),
    ):
        runs = list(recorded.seeds(vae.Parameters.resolve(changed)).values())
        values = {name: [recorded.score(r, "test", holes, method) for r in runs] for name, holes in HOLES.items()}
        row = {"method": label} | {name: f"{mean(v):.4f}" if v else answers.NOT_RUN for name, v in values.items()}
        of_faces = [[recorded.per_image(r, "test", holes, method) for r in runs] for holes in HOLES.values()]
        rows.append(row | {"large minus small": str(paired(*of_faces)) if runs else answers.NOT_RUN})
    return rows


def harder(recorded: Records, method: str) -> str:
    """That of two test holes at which a method has the higher hole MSE, beside the demo's runs."""
    runs = recorded.seeds(vae.Parameters.resolve({})).values()
    return max(HOLES, key=lambda name: mean(recorded.score(r, "test", HOLES[name], method) for r in runs))


WINDOWS = {"11x11 windows": ("gauss11", "ssim"), "one window": ("global", "ssim_global")}
REPORTED = {"1 x 20 %": 0.9012, "1 x 40 %": 0.8692}  # the article's test faces


def riddle(scored: list) -> list[dict]:
    """Rows of a table: SSIM in two windows, of unrepaired faces, of networks (raw and composite), of the article."""
    rows = []
    for one in scored:
        kinds = {"": "image"} if one.filler in fills.FILLS else {", raw": "raw", ", composite": "image"}
        for words, kind in kinds.items() if one.scores else ():
            row = {"picture": "unrepaired face" if one.filler == "nothing" else one.label + words}
            rows.append(row | {name: f"{one.mean(f'{kind}_{score}'):.3f}" for name, (_, score) in WINDOWS.items()})
    return [*rows, {"picture": "the article's VAE, raw (other faces)"} | dict.fromkeys(WINDOWS, "0.869 (?)")]


def higher(scored: list) -> dict[str, str]:
    """Which has the higher mean SSIM for each window: an "unrepaired" face or the raw output of the "VAE"."""
    nothing, own = ({one.filler: one for one in scored}[name] for name in ("nothing", "vae"))
    return {
        name: "unrepaired" if nothing.mean(f"raw_{score}") > own.mean(f"raw_{score}") else "VAE"
        for name, (_, score) in WINDOWS.items()
    }


def surveyed(name: str) -> dict:
    """The recorded survey of a data set of the article: SSIM of pictures that no network has touched."""
    return json.loads((runtime.results_dir() / f"02_vae-survey-{name}.json").read_text())


def survey_rows() -> list[dict]:
    """Rows of a table: SSIM of the article's faces, unrepaired and with one grey in the hole, and of its VAE's."""
    rows = []
    for holes, reported in REPORTED.items():
        side = {"side of the hole": holes.removeprefix("1 x ")}
        for fill, kinds in surveyed("ffhq")["holes"][holes].items():
            words = "unrepaired" if fill == "do nothing" else fill
            rows.append(
                side | {"picture": words} | {w: f"{kinds[kind]['mean']:.3f}" for w, (kind, _) in WINDOWS.items()}
            )
        rows.append(side | {"picture": "the article's VAE, raw"} | dict.fromkeys(WINDOWS, f"{reported:.3f} (?)"))
    return rows


def slips(recorded: Records) -> dict[str, tuple]:
    """What each slip of the authors' code is worth in the demo, for `viz.intervals`: two that are trained with, and two
    of the test, alone and together.
    """
    trained = {"1: no activation": {"leaky_slope": 1.0}, "2: alpha": {"la_bug": True}}
    rows = {name: answers.worth(recorded, changed).row for name, changed in trained.items()}
    (own,) = answers.variants(recorded, Question("slips", "", {"demo": {}}))
    ways = {"3: no eval()": "batch1", "4: wrong range": "unnormalised", "3 and 4": "batch1-unnormalised"}
    for name, way in ways.items():
        pair = (f"vae, {way}", "vae")
        difference = answers.compare(recorded, own, own, fillers=pair)
        if difference is None:
            continue
        ours, theirs = ([recorded.score(r, "test", own.holes, f) for r in own.runs.values()] for f in pair)
        seeds = tuple(a - b for a, b in zip(ours, theirs, strict=True))
        verdict = answers.direction(recorded, own, own, fillers=pair)
        rows[name] = (difference.mean, difference.low, difference.high, verdict, seeds)
    return rows


def code_moves(net: vae.VAE, faces: torch.Tensor, side: int = 21) -> dict[str, torch.Tensor]:
    """How far a black square at three places moves the code of each face, as a share of its length: (B,) a place."""
    moves = {}
    with torch.no_grad():
        code = net.encode(faces)[0]
        for place, (row, column) in {"eyes": (10, 15), "mouth": (28, 15), "corner": (0, 0)}.items():
            covered = faces.clone()
            covered[..., row : row + side, column : column + side] = 0
            moves[place] = ((net.encode(covered)[0] - code).norm(dim=1) / code.norm(dim=1)).cpu()
    return moves


def farthest(moves: dict[str, torch.Tensor]) -> tuple[str, Interval]:
    """The place with the largest mean, or "similar" if it is not told apart from the next one; and their difference."""
    first, second, *_ = sorted(moves, key=lambda place: moves[place].mean(), reverse=True)
    difference = paired([moves[first].numpy()], [moves[second].numpy()])
    return (first if difference.low > 0 else "similar"), difference
