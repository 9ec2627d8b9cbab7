"""Checks of the exercises of notebook 00, and what its cells call: fills in words, holes, stripes, SSIM, its record."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from skimage.metrics import structural_similarity
from torch.nn import functional as F

from inpaintkit import fills, masking, metrics, runtime
from inpaintkit.apps.exercises import Own, check, solved
from inpaintkit.contracts import Filler
from inpaintkit.data import Images
from inpaintkit.evaluate import Scored
from inpaintkit.parameters import Common

FILLS = {  # what the notebook says about each
    "mean": "with the mean colour of all known pixels",
    "ring": "with the mean colour of the ring (exercise 3)",
    "box": "with the mean of the known pixels in a 5x5 box, from the rim inwards (normalised: only known ones count)",
    "harmonic": "with means of four neighbours (exercise 4)",
    "biharmonic": "like a thin metal plate, bent so that it continues the values and the slopes at the rim",
    "telea": "from the rim inwards, with the colours and slopes of known pixels nearby",
    "navier-stokes": "from the rim inwards: lines of equal brightness go on in their direction",
    "patch": "with copies of the known squares of 7x7 pixels that fit best",
    "frequency": "with waves (light and dark stripes), added so that they fit the known pixels",
    "nothing": "not at all: it stays black, and the picture is unrepaired",
}


def composite(function: Callable, number: int = 1) -> str:
    """Write: the hidden pixels of a prediction, and the known pixels of a picture, exactly."""
    generator = torch.Generator().manual_seed(0)
    image, pred = torch.rand(2, 2, 3, 8, 8, generator=generator)
    mask = masking.square(2, 8, 4, "random", generator)
    wanted = masking.composite(image, pred, mask)

    def judge(answer):
        if not torch.is_tensor(answer) or answer.shape != wanted.shape:
            return f"return whole pictures, {tuple(wanted.shape)}; yours are {tuple(getattr(answer, 'shape', ()))}."
        if torch.equal(answer, wanted):
            return None
        if torch.equal(answer, masking.composite(image, pred, ~mask)):
            return "the other way round: the mask is 1 (True) where a pixel is hidden."
        kept = torch.equal(answer[~mask.expand_as(image)], image[~mask.expand_as(image)])
        return f"the {'hidden' if kept else 'known'} pixels are not those of the {'prediction' if kept else 'picture'}."

    return check(number, function, (image.clone(), pred.clone(), mask), judge)


def coverage(guess: dict, number: int = 2) -> str:
    """Calculate, in 100x100 pixels: the share that a square of 20 % of the side hides; the side that hides 20 %."""

    def judge(answer):
        share, side = answer["share"], answer["side"]
        if share > 1:
            return "give the share as a number between 0 and 1, not in per cent or in pixels."
        if math.isclose(share, 0.2):
            return "20 % of the side are 20 pixels: which share of 10,000 pixels is a square of 20 x 20?"
        if not math.isclose(share, 0.04, abs_tol=1e-4):
            return f"20 % of the side are 20 pixels, so 400 of 10,000 pixels are hidden, and you say {share}."
        if not 44 <= side <= 45:
            return f"2,000 of 10,000 pixels are wanted, and a side of {side} pixels hides {side**2:,.0f}."
        return None

    return check(number, lambda: guess, (), judge)


def _example() -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth picture (3, 24, 24) with noise, and a square hole (24, 24)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 4, 4, generator=generator)
    picture = F.interpolate(coarse, 24, mode="bilinear")[0] * 0.9 + 0.1 * torch.rand(3, 24, 24, generator=generator)
    return picture, masking.square(1, 24, 8, (0.5, 0.4))[0, 0]


def _filled(answer, picture, hole) -> str | None:
    """What is wrong with a filled picture, whatever stands in its hole."""
    if not torch.is_tensor(answer) or answer.shape != picture.shape:
        return f"return the whole picture, {tuple(picture.shape)}; yours is {tuple(getattr(answer, 'shape', ()))}."
    if not torch.equal(answer[:, ~hole], picture[:, ~hole]):
        return "known pixels have changed: write into the hole only, and into a copy (picture.clone())."
    return None


def ring_mean(function: Callable, number: int = 3) -> str:
    """Write: fill a hole with the mean of the ring of known pixels around it, two pixels wide, per channel."""
    truth, hole = _example()
    picture = truth.masked_fill(hole, 0)
    wanted = fills.RingMean()(picture[None], hole[None, None])[0][:, hole]

    def judge(answer):
        if problem := _filled(answer, picture, hole):
            return problem
        inside = answer[:, hole]
        if torch.allclose(inside, wanted, atol=1e-5):
            return None
        if torch.allclose(inside, picture[:, ~hole].mean(1, keepdim=True).expand_as(inside), atol=1e-5):
            return "this is the mean of all known pixels: which of them are at most two pixels from the hole?"
        grown = F.max_pool2d(hole[None].float(), 5, 1, 2)[0] > 0
        if torch.allclose(inside, picture[:, grown].mean(1, keepdim=True).expand_as(inside), atol=1e-5):
            return "the black pixels of the hole are in your mean: the ring is the grown hole without the hole."
        if torch.allclose(inside, wanted.mean().expand_as(inside), atol=1e-5):
            return "one number for all channels: take the mean over the pixels only."
        return f"the first channel of the hole should be {wanted[0, 0]:.4f}, and yours is {inside[0, 0]:.4f}."

    return check(number, function, (picture, hole), judge)


def relax(pictures: torch.Tensor, holes: torch.Tensor, rounds: int) -> torch.Tensor:
    """Rounds of the harmonic fill: each hidden pixel becomes the mean of its four neighbours. (B, C, H, W)."""
    filled = pictures
    for _ in range(rounds):
        padded = F.pad(filled, (1, 1, 1, 1), mode="replicate")
        up, down, left, right = (
            padded[..., :-2, 1:-1], padded[..., 2:, 1:-1], padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
        )  # fmt: skip
        filled = torch.where(holes, (up + down + left + right) / 4, pictures)
    return filled


def harmonic(function: Callable, number: int = 4) -> str:
    """Write: each hidden pixel becomes the mean of its four neighbours, again and again."""
    truth, hole = _example()
    picture = truth.masked_fill(hole, 0)
    once, wanted = (relax(picture[None], hole[None, None], rounds)[0] for rounds in (1, 400))

    def judge(answers):
        for answer in answers:
            if problem := _filled(answer, picture, hole):
                return problem
        if torch.allclose(answers[0], answers[1]):
            return "one round and 400 rounds give the same: is there a loop over range(rounds)?"
        if torch.allclose(answers[0], once, atol=1e-5) and torch.allclose(answers[1], wanted, atol=1e-4):
            return None
        if torch.allclose(answers[1], wanted, atol=1e-3):
            return "the end is right, one round is not: compute all means from the old picture, then replace."
        return (
            f"after 400 rounds the largest error is {(answers[1] - wanted).abs().max():.3f}: are there four neighbours?"
        )

    return check(number, lambda: [function(picture.clone(), hole, rounds) for rounds in (1, 400)], (), judge)


def each(function: Callable) -> Callable:
    """A function of one picture (C, H, W), its hole (H, W) and more, for a batch of them."""
    return lambda pictures, holes, *more: torch.stack(
        [function(x, hole[0], *more) for x, hole in zip(pictures, holes, strict=True)]
    )


def your_fills(own_ring: Callable, own_harmonic: Callable) -> list[Filler]:
    """The student's fills of exercises 2 and 3, those that are correct."""
    own = [Own("your ring mean", each(own_ring))] if solved(ring_mean(own_ring)) else []
    rounds = 1000
    if solved(harmonic(own_harmonic)):
        mine = each(own_harmonic)
        fill = Own(f"your harmonic, {rounds} rounds", lambda x, hole: mine(x, hole, rounds), border=False)
        own.append(fill)
    return own


def your_rounds(own_harmonic: Callable) -> Callable:
    """``relax``, or the student's function in its place if it is correct: for holes that do not touch the border."""
    if not solved(harmonic(own_harmonic)):
        return relax
    mine = each(own_harmonic)

    def rounds_of(pictures, holes, rounds):
        inside = Own("", mine, border=False).accepts(tuple(pictures.shape), holes) is None
        return (mine if inside else relax)(pictures, holes, rounds)

    return rounds_of


def spreading(own_harmonic: Callable, pictures: torch.Tensor, holes: torch.Tensor, rounds: Sequence[int]) -> dict:
    """Pictures after so many rounds of the student's function, or of ``relax``: {caption: pictures}."""
    rounds_of = your_rounds(own_harmonic)
    whose = "our function" if rounds_of is relax else "your function"
    return {f"round {n} ({whose})": rounds_of(pictures, holes, n) for n in rounds}


YELLOW = torch.tensor([1.0, 0.83, 0.0]).view(3, 1, 1)


def kinds(picture: torch.Tensor, amounts: dict[str, float], seed: int) -> tuple[dict, list[str]]:
    """A picture (C, H, W) with a yellow hole of each kind, {kind: amount}, and their titles: for `viz.grid`."""
    generator, size = runtime.generator(seed), picture.shape[-1]
    holes = [masking.draw(kind, 1, size, generator, amount)[0] for kind, amount in amounts.items()]
    painted = torch.stack([torch.where(hole, YELLOW, picture) for hole in holes])
    return {"": painted}, [f"{kind}, {amount:g}" for kind, amount in amounts.items()]


def through(pictures: dict[str, torch.Tensor], hole: torch.Tensor, margin: int = 10) -> tuple[int, dict, tuple]:
    """The row of pixels through the middle of a hole (1, H, W), for `viz.curves`.

    Returns the row, its brightness in each picture (C, H, W), the mean of the channels, as {label: (columns, values)},
    and the hole's columns.
    """
    top, left, bottom, right = masking.bounding_box(hole[None])[0].tolist()
    row, columns = (top + bottom) // 2, list(range(max(left - margin, 0), min(right + margin, hole.shape[-1])))
    values = {name: (columns, x[:, row, columns].mean(0).tolist()) for name, x in pictures.items()}
    return row, values, (left - 0.5, right - 0.5)


def line(pictures: torch.Tensor, row: int) -> torch.Tensor:
    """Pictures (B, C, H, W) with one row in yellow."""
    marked = pictures.expand(-1, 3, -1, -1).clone()
    marked[:, :, row] = YELLOW[:, 0]
    return marked


def striped(side: int = 16, zoom: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """What exercise 5 is about, enlarged: stripes, and their hole filled with grey and with stripes one pixel to the
    right, (3, 1, H, W), with light margins; and the hole, (3, 1, H, W)."""
    truth = (torch.arange(side) % 2).float().expand(1, side, side)
    hole = masking.square(1, side, side // 2, "centre")[0]
    pictures = torch.stack([truth, torch.where(hole, 0.5, truth), torch.where(hole, truth.roll(1, -1), truth)])
    large = [x.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2) for x in (pictures, hole.expand(3, 1, -1, -1))]
    return F.pad(large[0], (3, 3, 3, 3), value=0.8), F.pad(large[1], (3, 3, 3, 3))


def stripes(guess: dict, number: int = 5) -> str:
    """Calculate: the MSE of a flat grey, and of the right stripes shifted by one pixel, against stripes of 0 and 1."""

    def judge(answer):
        if not math.isclose(answer["grey"], 0.25, abs_tol=1e-3):
            return "grey is 0.5 away from every pixel, black or white: what is the square of that?"
        if not math.isclose(answer["shifted"], 1, abs_tol=1e-3):
            return "shifted by one pixel, every black stripe meets a white one: the difference is 1 everywhere."
        return None

    return check(number, lambda: guess, (), judge)


def _terms(x: torch.Tensor, y: torch.Tensor, c1: float = 0.01**2, c2: float = 0.03**2) -> dict[str, float]:
    """The three factors of SSIM with one window, Wang et al. 2004, equations 6, 9 and 10."""
    (a, s), (b, t) = ((z.mean().item(), z.std(correction=0).item()) for z in (x, y))
    covariance = ((x - a) * (y - b)).mean().item()
    luminance, contrast = (2 * a * b + c1) / (a**2 + b**2 + c1), (2 * s * t + c2) / (s**2 + t**2 + c2)
    return {"luminance": luminance, "contrast": contrast, "structure": (covariance + c2 / 2) / (s * t + c2 / 2)}


def changed(picture: torch.Tensor) -> tuple[dict[str, torch.Tensor], list[str]]:
    """A grey picture (1, H, W), and three changes of which each lowers one factor of SSIM; and their SSIM as products.

    It is paler than the given one, so that all values stay between 0 and 1.
    """
    x = 0.25 + 0.5 * picture.double()
    shown = {"picture 0, paler": x, "darker": x - 0.25, "less contrast": x.mean() + 0.3 * (x - x.mean())}
    shown["upside down"] = x.flip(1)
    products = []
    for y in shown.values():
        parts = [*_terms(x, y).values()]
        product, *factors = (f"{round(part, 2) + 0.0:.2f}" for part in (math.prod(parts), *parts))
        products.append(f"{' × '.join(factors)} = {product}")
    return shown, products


def similarity(function: Callable, number: int = 6) -> str:
    """Write: SSIM with one window."""
    x = _example()[0][0].double()
    cases = {"the same picture": x, "its mirror image": x.flip(1), "a brighter one": 0.2 + x, "half of it": x / 2}
    c1, c2 = 0.01**2, 0.03**2

    def judge(answers):
        for (case, y), answer in zip(cases.items(), answers, strict=True):
            parts, answer = _terms(x, y, c1, c2), float(answer)
            wanted = math.prod(parts.values())
            if abs(answer - wanted) < 1e-6:
                continue
            for left_out, part in parts.items():
                if abs(answer - wanted / part) < 1e-6:
                    return f"for {case} the factor {left_out} is missing: {wanted:.4f} is wanted."
            if abs(answer - wanted) < 0.01:
                return f"close: for {case} {wanted:.6f} is wanted. Is each constant above and below, and correction=0?"
            said = ", ".join(f"{name} {part:.4f}" for name, part in parts.items())
            return f"for {case} SSIM is {wanted:.4f} ({said}), and yours is {answer:.4f}."
        return None

    return check(number, lambda: [function(x, y, c1, c2) for y in cases.values()], (), judge)


def mean_psnr(function: Callable, number: int = 7) -> str:
    """The mean PSNR of a batch must be the mean of the images' PSNRs."""
    image = torch.full((2, 1, 4, 4), 0.5)
    pred = image + torch.tensor([0.1, 0.001]).view(2, 1, 1, 1)
    wanted, of_the_mean = metrics.psnr(pred, image).mean().item(), -10 * math.log10(metrics.mse(pred, image).mean())

    def judge(answer):
        if torch.is_tensor(answer) and answer.numel() > 1:
            return "one number is wanted, the mean over the batch; yours has a value for each image."
        answer = float(answer)
        if math.isclose(answer, of_the_mean, abs_tol=0.01):
            return (
                f"not answered yet: this is the PSNR of the mean MSE. Two pictures of 20 and 60 dB have a mean of 40 "
                f"dB, and you give {answer:.0f}."
            )
        if not math.isclose(answer, wanted, abs_tol=0.01):
            return f"two images of 20 and 60 dB have a mean of 40 dB, and you give {answer:.1f}."
        return None

    return check(number, function, (pred, image), judge)


def hole_mse(function: Callable, number: int = 8) -> str:
    """Find the bug: the sum over three channels is divided by the hidden pixels of a mask with one channel."""
    generator = torch.Generator().manual_seed(0)
    image, pred = torch.rand(2, 4, 3, 8, 8, generator=generator)
    mask = masking.square(4, 8, 4, "random", generator)
    wanted = metrics.mse(pred, image, mask)

    def judge(answer):
        if not torch.is_tensor(answer) or answer.shape != wanted.shape:
            return f"one value per picture is wanted, shape (4,), and yours is {tuple(getattr(answer, 'shape', ()))}."
        answer = answer.double()
        if torch.allclose(answer, 3 * wanted, rtol=1e-3):
            return "still there: your numbers are too high. Follow the sums for one hidden pixel on paper."
        if torch.allclose(answer, wanted, rtol=1e-3):
            grey = function(pred[:, :1], image[:, :1], mask).double()
            if torch.allclose(grey, metrics.mse(pred[:, :1], image[:, :1], mask), rtol=1e-3):
                return None
            return "right for colour pictures, and now wrong for grey ones: how many channels has the picture?"
        return f"the first picture has {wanted[0]:.4f}, and you say {answer[0]:.4f}."

    return check(number, function, (pred, image, mask), judge)


def crossing(truth: torch.Tensor, lower: torch.Tensor, higher: torch.Tensor) -> float:
    """The smallest window, as in the panel, in which ``higher`` has a higher SSIM than ``lower``, all (C, H, W)."""
    x, *others = (one.double().numpy() for one in (truth, lower, higher))
    for side in range(3, x.shape[-1], 2):
        low, high = (structural_similarity(y, x, win_size=side, channel_axis=0, data_range=1) for y in others)
        if high > low:
            return side
    return math.inf


def trial(score: Callable, image: torch.Tensor, mask: torch.Tensor) -> tuple[list[dict], str]:
    """A student's score of plausible fills: a row for each fill, for noise and the truth, from best to worst; and
    whether noise is last, the truth first or second, copied squares before a flat colour, and ``image`` not needed."""
    masked = masking.apply(image, mask)
    tested = {
        fill.label: masking.composite(image, fill(masked, mask), mask)
        for fill in fills.fills("ring", "harmonic", "biharmonic", "patch", "frequency")
    }
    tested |= {"noise": masking.apply(image, mask, "noise", runtime.generator(0)), "truth": image}

    def of(truth):
        means = {
            name: torch.as_tensor(score(full, truth, mask)).double().mean().item() for name, full in tested.items()
        }
        return dict(sorted(means.items(), key=lambda one: one[1]))

    try:
        means = of(image)
    except Exception as error:  # what a student's code raises is what they want to read
        return [], f"exercise 9: stopped with {type(error).__name__}: {error}"
    errors = {name: metrics.mse(full, image, mask).mean().item() for name, full in tested.items()}
    rows = [{"fill": name, "your score": mean, "hole MSE": errors[name]} for name, mean in means.items()]
    order = list(means)
    try:
        blind = of(torch.full_like(image, torch.nan)) == means
    except Exception:
        blind = False
    faults = [] if order[-1] == "noise" else ["noise is not last"]
    faults += [] if "truth" in order[:2] else ["the truth is neither first nor second"]
    patch, ring = fills.label("patch"), fills.label("ring")
    faults += [] if order.index(patch) < order.index(ring) else [f"{patch} is not before the {ring}"]
    faults += [] if blind else ["it needs the truth (image)"]
    return rows, f"exercise 9: {'not yet: ' + '; '.join(faults) if faults else 'passed'}"


def _lead(better: Scored, than: Scored, score: str) -> torch.Tensor:
    """How much better a fill is than another, a value per picture: its PSNR is higher, or its MSE lower."""
    sign = -1 if score == "MSE" else 1
    return sign * (better.scores[f"hole_{score.lower()}"] - than.scores[f"hole_{score.lower()}"])


def lead_in_words(better: Scored, than: Scored) -> str:
    """The mean of a fill's lead over another, and its standard deviation over the pictures."""
    said = []
    for score, digits in {"MSE": 4, "PSNR": 1}.items():
        lead = _lead(better, than, score)
        said.append(f"hole {score} {lead.mean():.{digits}f} ± {lead.std():.{digits}f}")
    return f"lead of the winner over {than.label}, mean ± standard deviation of the crops: {', '.join(said)} dB"


def resampled(values: torch.Tensor, groups: Sequence[str], draws: int = 500) -> torch.Tensor:
    """Means of ``values`` in bootstrap draws of their ``groups``, a name per value: a group is drawn as a whole."""
    number = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    drawn = torch.randint(len(number), (draws, len(number)), generator=runtime.generator(0))
    times = F.one_hot(drawn, len(number)).sum(1)[:, [number[name] for name in groups]].double()
    return (times * values.cpu()).sum(1) / times.sum(1)


def leads(better: Scored, than: Scored, names: Sequence[str]) -> tuple[list[dict], dict[str, str], dict]:
    """Whether a fill is better than another, by drawing crops (``names``: photograph@place) and whole photographs.

    Returns rows for a table; {question: "contains 0" or "does not"}; and the mean leads in PSNR, {drawn: (500,)}.
    """
    photographs = [name.split("@")[0] for name in names]
    rows, zero, means = [], {}, {}
    for score, digits in {"MSE": 4, "PSNR": 1}.items():
        lead = _lead(better, than, score)
        of_each = [
            lead[[i for i, one in enumerate(photographs) if one == name]].mean() for name in dict.fromkeys(photographs)
        ]
        row = {"lead in": score, "mean": f"{lead.mean():.{digits}f}"}
        for what, groups in {"crops": names, "photographs": photographs}.items():
            means[f"{what} drawn"] = drawn = resampled(lead, groups)
            low, high = drawn.quantile(torch.tensor([0.025, 0.975]).double()).tolist()
            question = score if what == "crops" else f"{score}, {what} drawn"
            zero[question] = "contains 0" if low <= 0 <= high else "does not"
            row[f"interval, {what} drawn"] = f"{low:.{digits}f} to {high:.{digits}f}"
        row["better on crops"] = f"{(lead > 0).sum()} of {len(names)}"
        rows.append(row | {"better on photographs": f"{sum(x > 0 for x in of_each)} of {len(of_each)}"})
    return rows, zero, means


def write_record(folder: Path, cfg: Common, images: Images, mask: torch.Tensor, scored: Sequence[Scored]) -> None:
    """Writes results.json: parameters, data and holes, and the scores of every fill."""
    rows: list[dict] = [{"filler": row.filler, "note": row.note} for row in scored if row.note]
    for row in scored:
        rows += [{"filler": row.filler, "score": k} | metrics.summarise(v) for k, v in row.scores.items()]
    record = {"notebook": "00_masks_and_metrics", "parameters": cfg.identifying(), "data": images.describe()}
    record |= runtime.provenance(runtime.pick_device())
    record |= {"mask": runtime.fingerprint(mask), "scores": rows, "pictures": ["pictures.png"]}
    runtime.write_json(folder / "results.json", record)
