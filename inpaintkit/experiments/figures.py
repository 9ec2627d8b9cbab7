"""Figures of the reports, from the records: dots of a question; lines over a parameter or over the epochs.

Each is written as an SVG file, the same each time, with text as text.
"""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from inpaintkit import evaluate, fills, runtime
from inpaintkit.contracts import Question
from inpaintkit.experiments import answers, questions
from inpaintkit.experiments.records import Records

# A legend.
BESIDE: dict[str, Any] = {"fontsize": 8, "loc": "center left", "bbox_to_anchor": (1.01, 0.5), "frameon": False}


def dots(recorded: Records, question: Question, path: Path) -> None:
    """A row for each variant, a dot for each seed, and marks for the bar and the best fill on the same pictures."""
    paper, found = recorded.paper, [a for a in answers.variants(recorded, question) if a.runs]
    figure = Figure(figsize=(7, 0.8 + 0.4 * len(found)), layout="constrained")
    axes = figure.subplots()
    for row, answer in enumerate(found):
        values = [recorded.score(run, "test", answer.holes, paper.network) for run in answer.runs.values()]
        axes.plot(values, [row] * len(values), "o", color="C0", alpha=0.7, label=None if row else "network")
        best, _ = answers.best_fill(recorded, next(iter(answer.runs.values())), "test", answer.holes)
        bar, value = (answers.mean(recorded, answer, "test", filler) for filler in (paper.bar, best))
        axes.plot([bar], [row], "|", color="C1", markersize=18, label=None if row else fills.label(paper.bar))
        if best:
            axes.plot([value], [row], "|", color="C2", markersize=18, label=None if row else "best classic fill")
    axes.set_yticks(range(len(found)), [answer.label for answer in found])
    axes.invert_yaxis()
    axes.margins(y=0.2)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(f"{evaluate.SCORES[paper.scores[0]].label}, test")
    axes.grid(alpha=0.3, axis="x")
    axes.legend(**BESIDE)
    _save(figure, path)


def lines(recorded: Records, entry: dict, path: Path) -> str:
    """The main score over the values of a question, a line for each variant and for the best classic fill on the same
    pictures, and the ratio of the two. Returns what it shows, in words; "" if nothing was run.
    """
    paper, found = recorded.paper, {line: of_it for line, of_it in _run(recorded, entry).items() if of_it}
    if not found:
        return ""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    score, ratio = figure.subplots(1, 2)
    names = set()
    for number, (line, by_value) in enumerate(found.items()):
        colour, values, means, limits = f"C{number}", list(by_value), [], []
        for value, answer in by_value.items():
            runs = answer.runs.values()
            best, _ = answers.best_fill(recorded, next(iter(runs)), "test", answer.holes)
            names.add(fills.label(best))
            network, fill = (
                np.array([recorded.score(run, "test", answer.holes, filler) for run in runs])
                for filler in (paper.network, best)
            )
            means.append(network.mean())
            limits.append(fill.mean())
            dot = {"marker": "o", "linestyle": "", "color": colour, "alpha": 0.5, "markersize": 4}
            score.plot([value] * len(runs), network, **dot)
            ratio.plot([value] * len(runs), network / fill, **dot)
        score.plot(values, means, color=colour, label=line)
        score.plot(values, limits, "--", color=colour, label=f"{line}, {' or '.join(sorted(names))}")
        ratio.plot(values, np.divide(means, limits), color=colour)
    ratio.axhline(1, color="black", linewidth=0.8)
    label = evaluate.SCORES[paper.scores[0]].label
    score.set_ylim(bottom=0)
    for axes, words in ((score, label), (ratio, f"{label}: network / best fill")):
        axes.set(xlabel=paper.Parameters.model_fields[_over(recorded, entry)].description, ylabel=words)
        axes.grid(alpha=0.3)
    figure.legend(*score.get_legend_handles_labels(), fontsize=8, loc="outside right center", frameon=False)
    _save(figure, path)
    return (
        f"Left: {label} on test. Right: as a multiple of the best classic fill's. A dot for each seed, lines for means."
    )


def epochs(recorded: Records, entry: dict, path: Path) -> str:
    """The main score after each epoch, a line for each value of one variant of a question, the mean over its seeds.
    Returns what it shows, in words; "" if nothing was run.
    """
    paper, by_value = recorded.paper, _run(recorded, entry)[entry["epochs"]]
    if not by_value:
        return ""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes, curves = figure.subplots(), recorded.curves[recorded.curves["score"] == paper.scores[0]]
    for value, answer in by_value.items():
        mean = curves[curves["run"].isin(answer.runs.values())].groupby("epoch")["value"].mean()
        axes.plot(mean.index, mean, marker="o", markersize=3, label=f"{_over(recorded, entry)} {value}")
    label = evaluate.SCORES[paper.scores[0]].label
    axes.set(xlabel="epoch", ylabel=label, ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(**BESIDE)
    _save(figure, path)
    return f"{entry['epochs']}: {label} of up to 64 test pictures after each epoch, mean over seeds."


def _over(recorded: Records, entry: dict) -> str:
    """The parameter over which a question is asked."""
    return next(iter(questions.table(recorded.paper)["questions"][entry["question"]]["over"]))


def _run(recorded: Records, entry: dict) -> dict[str, dict[float, answers.Variant]]:
    """What was run of the lines of a question."""
    lines = answers.lines(recorded, entry["question"]).items()
    return {line: {value: one for value, one in by_value.items() if one.runs} for line, by_value in lines}


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    style = {"svg.hashsalt": "inpaintkit", "svg.fonttype": "none"}  # the same file each time, with text as text
    with matplotlib.rc_context(style), runtime.atomic_write(path) as part:
        figure.savefig(part, format="svg", metadata={"Date": None})
