"""Checks of the exercises of notebook 02, and what its cells call: PCA, figures, rows of tables."""

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from statistics import mean

import matplotlib.pyplot as plt
import torch
from torch import nn

from inpaintkit import fills, masking, runtime, viz
from inpaintkit.apps.exercises import check, train_with
from inpaintkit.contracts import Filler, Question, Recipe
from inpaintkit.experiments import answers, run
from inpaintkit.experiments.records import Records
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
            return "still there: the samples are right, but no gradient reaches mu."
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
            return "for the third answer 0.5 or 2, the deviation that costs more."
        if answer["costs more"] != 2:
            return "sigma = 0.5 costs 0.318; put sigma = 2 into the formula, with log sigma^2 = 2 log sigma."
        return None

    return check(number, lambda: guess, (), judge)


def kl_term(function: Callable, number: int = 3) -> str:
    """Write: the KL divergence of each picture's posterior from the prior."""
    mu, logvar = torch.randn(2, 6, 20, generator=torch.Generator().manual_seed(0))
    wanted = vae.kl(mu, logvar)

    def judge(answer):
        if not torch.is_tensor(answer):
            return "return a tensor: one value per picture, shape (6,)."
        if answer.numel() == 1:
            return "one value per picture, shape (6,): sum over the latent numbers (dimension 1) only."
        if answer.shape != wanted.shape:
            return f"one value per picture, shape (6,); yours is {tuple(answer.shape)}: sum over dimension 1."
        for factor, problem in (
            (1, None),
            (-1, "the sign is wrong: a KL divergence is never negative."),
            (1 / 20, "20 times too small: the KL is a sum over the latent numbers, not a mean."),
            (2, "twice too large: there is a factor of one half."),
        ):
            if torch.allclose(answer, factor * wanted, rtol=1e-4):
                return problem
        if torch.allclose(answer, -0.5 * (1 + logvar - mu**2 - logvar.exp() ** 2).sum(1), rtol=1e-4):
            return "exp(logvar) is sigma squared already: do not square it again."
        if torch.allclose(answer, -0.5 * (1 + logvar - mu**2 - (logvar / 2).exp()).sum(1), rtol=1e-4):
            return "the last term is sigma squared, exp(logvar), and not sigma."
        return f"the first picture has {wanted[0]:.3f}, and yours is {answer[0]:.3f}."

    return check(number, function, (mu, logvar), judge)


def weight_counts(guess: dict, number: int = 4) -> str:
    """Predict: the weights of a 3x3 convolution 256 -> 256, and of a dense layer 256x8x8 -> 8000."""
    convolution, dense = 9 * 256 * 256, 256 * 8 * 8 * 8000

    def judge(answer):
        if answer["convolution"] == 256 * 256:
            return "every pair of channels has a kernel of 3 x 3 weights, and you count one."
        if answer["convolution"] in (9 * 256, 9 * 256 + 256):
            return "each of the 256 output channels looks at all 256 input channels."
        if answer["convolution"] not in (convolution, convolution + 256):
            return f"3 x 3 weights for each pair of channels are {convolution:,}; the picture's size does not matter."
        if answer["dense"] == 256 * 8000:
            return "the dense layer sees 256 channels of 8 x 8 numbers each."
        if answer["dense"] not in (dense, dense + 8000):
            return f"dense: inputs x outputs, so 16,384 x 8,000 weights; you say {answer['dense']:,}."
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
            return "still there: the decoder gets the mean, nothing is sampled."
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


def luminance_loss(function: Callable, number: int = 7) -> str:
    """Modify: the loss against a target of luminance and alpha in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    pred, truth = torch.rand(2, 4, 1, 8, 8, generator=generator)
    target = torch.cat([2 * truth - 1, torch.ones_like(truth)], 1)
    wanted = (pred - truth).square().mean().item()

    def judge(answer):
        answer = float(answer)
        if math.isclose(answer, wanted, rel_tol=1e-5):
            return None
        if math.isclose(answer, (pred - target).square().mean().item(), rel_tol=1e-5):
            return f"still there: a perfect prediction would lose {(1 - truth).square().mean():.3f}, not 0."
        if math.isclose(answer, (pred - target[:, :1]).square().mean().item(), rel_tol=1e-5):
            return "alpha is gone; now prediction and target lie in different ranges."
        if math.isclose(answer, 4 * wanted, rel_tol=1e-5):
            return "right up to a factor of 4: bring the target to [0, 1], the range of the prediction."
        return f"the loss of this prediction is {wanted:.4f}, and yours says {answer:.4f}."

    return check(number, function, (pred, target), judge)


def training_pair(function: Callable, number: int = 8) -> str:
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
            return "still there: look at the target, and not at the input. What does it show in the hole?"
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
    cfg = recipe.cfg

    def call(image, masked, mask, generator):
        return {"loss": step(recipe.net, recipe.optimisers["adam"], masked, image, cfg.beta)}

    fits = cfg.pairs == "matched" and not cfg.la_bug and cfg.beta > 0
    return train_with(recipe, vae_step(step), call, fits)


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
        "with sampling:\na face is a small cloud": (centres, 0.38),
        "VAE: all clouds are\npulled to the prior": (0.36 * centres, 0.6),
    }
    figure, row = plt.subplots(1, 3, figsize=(10.2, 3.8), dpi=viz.DPI, layout="tight")
    for axes, (title, (means, sigma)) in zip(row, panels.items(), strict=True):
        for i, (colour, mu) in enumerate(zip(("#d62728", "#1f77b4", "#2ca02c"), means, strict=True)):
            cloud = mu + sigma * noise[i]
            axes.scatter(*cloud.T, s=9, color=colour, alpha=0.4, linewidths=0)
            axes.scatter(*mu, s=45, color=colour, edgecolors="black", zorder=3)
            place = mu + torch.tensor([0.28, 0.28])
            axes.text(*place, f"face {i + 1}", fontsize=10, zorder=4)
        if sigma < 0.5:
            axes.text(0, 0, "?", fontsize=22, color="#777777", ha="center", va="center")
        else:
            axes.add_patch(plt.Circle((0, 0), 2, fill=False, linestyle="--", color="#555555"))
            axes.text(1.5, -1.75, "prior", fontsize=10, color="#555555")
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


def fit_settings(modules, cfg, images, out, device, masked: torch.Tensor, mask: torch.Tensor) -> dict:
    """How long and with which seed `training.fit` trains, what its checkpoint must fit to, and which pictures
    (B, C, H, W) it keeps for the animation.
    """
    return {
        "epochs": cfg.epochs,
        "batch_size": cfg.batch_size,
        "seed": cfg.seed,
        "out_dir": out,
        "device": device,
        "identity": run.checkpoint_identity(vae.PAPER, cfg, images),
        "precision": runtime.pick_precision(device, cfg.precision),
        "previews": 5,
        "preview": lambda: vae.PAPER.preview(modules, cfg, masked, mask),
    }


def show_training(history, masked: torch.Tensor, truth: torch.Tensor, cfg, per_epoch: int, level: float) -> None:
    """Some faces (B, C, H, W) as they learn, one below the other: input, output, truth; and the curves of the training.

    The curves are the test error in the holes, beside the ``level`` of the harmonic fill, and both terms of the loss.
    """
    shown = {}
    for epoch, drawn in zip(history.preview_epochs, history.previews, strict=True):
        stacked = torch.cat([masked.cpu(), drawn[: len(masked)].float() / 255, truth.cpu()], 2)
        shown[f"epoch {epoch}"] = nn.functional.interpolate(stacked, scale_factor=2)
    if shown:  # weights that were loaded have none
        viz.animation(shown)
    steps, terms = torch.tensor(history.steps) / per_epoch, list(history.losses.values())
    curves = {"hole MSE, test": (history.epochs, history.scores["hole_mse"])}
    curves["training"] = steps, terms[0]
    if "KL" in history.losses:
        curves["KL term"] = steps, 2 * cfg.beta / truth[0].numel() * torch.tensor(terms[1])
    viz.curves(curves, "epoch", "hole MSE, or a term of the loss", {"harmonic": level}, "y")


def experiments(recorded: Records) -> list[dict]:
    """Rows of a table, the article's two experiments: a trained VAE beside the best classic fill.

    All numbers are means over test pictures and recorded seeds; "lower" and "higher" are said as `answers.direction`
    does.
    """
    rows = []
    for kind, learned, tested, changed in (
        ("faces", "1 x 21x21", "1 x 21x21", {}),
        ("photographs", "1 x 21x21", "1 x 21x21", {"dataset": "photographs", "n_train": 780}),
        ("faces", "1 x 21x21", "2 x 10x10", {}),
        ("faces", "2 x 10x10", "2 x 10x10", {"ratio": 0.2, "squares": 2}),
    ):
        (own,) = answers.variants(recorded, Question("experiment", "", {kind: changed}))
        own, names = replace(own, holes=tested), list(own.runs.values())
        row = {"learned from": kind, "with": learned, "tested with": tested, "the VAE is": answers.NOT_RUN}
        if names:
            fill, limit = answers.best_fill(recorded, names[0], "test", tested)
            row["VAE"] = f"{mean(recorded.score(name, 'test', tested, 'vae') for name in names):.4f}"
            row["best classic fill"] = f"{limit:.4f} ({fills.label(fill)})"
            row["the VAE is"] = answers.direction(recorded, own, own, fillers=("", fill))
        rows.append(row | {"the VAE is": row.pop("the VAE is")})  # the last column
    return rows


def harder(recorded: Records, method: str, first: str = "1 x 21x21", second: str = "2 x 10x10") -> str:
    """Those of two test holes at which a method has the higher hole MSE, beside the demo's runs."""
    runs = recorded.seeds(vae.Parameters.resolve({})).values()
    return max((first, second), key=lambda holes: mean(recorded.score(r, "test", holes, method) for r in runs))


def one_and_two_squares(cfg, test: torch.Tensor, faces: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Some test faces, each twice, and their holes: one square, then two that do not overlap."""
    (_, one), *_, (_, two) = vae.PAPER.test_holes(cfg, len(test)).items()
    area = two.sum((1, 2, 3))
    apart = area.eq(area.max()).nonzero()[:faces, 0]
    holes = torch.stack([one[apart], two[apart]], 1).flatten(0, 1)
    return test[apart].repeat_interleave(2, 0), holes.to(test.device)


REPORTED = {("ffhq", "1 x 20 %"): 0.9012, ("ffhq", "1 x 40 %"): 0.8692, ("animals10", "1 x 20 %"): 0.6869}


def surveyed(name: str) -> dict:
    """The recorded survey of a data set of the article: SSIM of pictures that no network has touched."""
    return json.loads((runtime.results_dir() / f"02_vae-survey-{name}.json").read_text())


def survey_rows(of: str = "mean") -> list[dict]:
    """Rows of a table: SSIM of unrepaired and of grey-filled pictures of the article's data, beside its VAE's."""
    rows = []
    for (name, holes), reported in REPORTED.items():
        pictures = {"ffhq": "faces", "animals10": "animals"}[name] + ", " + holes.removeprefix("1 x ")
        for fill, kinds in surveyed(name)["holes"][holes].items():
            own = {"SSIM 11x11": f"{kinds['gauss11'][of]:.3f}", "SSIM global": f"{kinds['global'][of]:.3f}"}
            rows.append({"pictures, hole": pictures, "fill": fill} | own | {"article's VAE": f"{reported:.3f}"})
    return rows


def ways_of_testing(recorded: Records) -> tuple[list[dict], str]:
    """What the demo scores if it is tested with or without `eval()`, and with inputs as in training or as the authors'
    test has them: rows of a table, and whether the hole MSE rises or falls if only `eval()` is repaired.
    """
    runs = recorded.seeds(vae.Parameters.resolve({})).values()
    said = {way: [recorded.score(r, "test", "1 x 21x21", f"vae, {way}") for r in runs] for way in vae.WAYS}
    rows = [
        {"input at test": label, "with eval()": f"{mean(said[one]):.4f}", "without": f"{mean(said[other]):.4f}"}
        for label, one, other in (
            ("[-1, 1], as in training", "mean", "batch1"),
            ("[0, 1]", "unnormalised", "batch1-unnormalised"),
        )
    ]
    ours, theirs = said["unnormalised"], said["batch1-unnormalised"]
    verdict = "rises" if min(ours) > max(theirs) else "falls" if max(ours) < min(theirs) else "not told apart"
    return rows, verdict


def code_moves(net: vae.VAE, faces: torch.Tensor, side: int = 21) -> dict[str, float]:
    """How far a black square at three places moves the codes of faces, as a share of their length, on average."""
    moves = {}
    with torch.no_grad():
        code = net.encode(faces)[0]
        for place, (row, column) in {"eyes": (10, 15), "mouth": (28, 15), "corner": (0, 0)}.items():
            covered = faces.clone()
            covered[..., row : row + side, column : column + side] = 0
            moved = (net.encode(covered)[0] - code).norm(dim=1) / code.norm(dim=1)
            moves[place] = moved.mean().item()
    return moves
