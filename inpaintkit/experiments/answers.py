"""What the records say: the table of a question, the worth of a difference, the verdict of a claim."""

import itertools
import math
import statistics
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from inpaintkit import evaluate, fills
from inpaintkit.contracts import Question
from inpaintkit.experiments import questions, records
from inpaintkit.experiments.records import Interval, Records

NOT_RUN = "not run"
ONE_SEED = "one seed only"  # which says nothing of other seeds, however narrow its interval over pictures is


@dataclass(frozen=True)
class Variant:
    """The recorded runs of one variant of a question: {seed: run}, and the test holes that it was trained for.

    ``stale``: some of them were made with other code than today's.
    """

    label: str
    runs: dict[int, str]
    holes: str
    stale: bool = False

    @property
    def mark(self) -> str:
        """What must stand beside its numbers."""
        return " (older code)" if self.stale else ""


def variants(recorded: Records, question: Question) -> list[Variant]:
    """The recorded runs of every variant."""
    found = []
    for label in question.variants:
        cfg = questions.configuration(recorded.paper, question, label, question.seeds[0])
        runs = {seed: run for seed, run in recorded.seeds(cfg).items() if seed in question.seeds}
        holes = next(iter(recorded.paper.test_holes(cfg, 1)))
        found.append(Variant(label, runs, holes, any(recorded.stale(run, cfg) for run in runs.values())))
    return found


def compare(
    recorded: Records,
    a: Variant,
    b: Variant,
    part: str = "test",
    fillers: tuple[str, str] = ("", ""),
    apart: bool = False,
) -> Interval | None:
    """The main score of ``a`` minus that of ``b``, paired over the same pictures, over the seeds that both have.

    Args:
        fillers: classic fills that are compared instead of the networks.
        apart: compare what has other holes, too, and what has other pictures, which cannot be paired.

    A split that is drawn gives each seed test pictures of its own: those of all seeds are then put together. None if
    the two were not scored on the same pictures and holes, or one was not run.
    """
    seeds, places, values = sorted(a.runs.keys() & b.runs.keys()), [], []
    for seed in seeds:
        two = [(x.runs[seed], part, x.holes) for x in (a, b)]
        places.append([recorded.place(*one) for one in two])
        values.append(
            [recorded.per_image(*one, f or recorded.paper.network) for one, f in zip(two, fillers, strict=True)]
        )
    if not seeds or any(x is None for both in values for x in both):
        return None
    same = all((one[0] == other[0]) if apart else (one == other) for one, other in places)
    if not same and not apart:
        return None
    ours, others = zip(*values, strict=True)
    if len({pictures for both in places for pictures, _ in both}) > 1:
        ours, others = [np.concatenate(ours)], [np.concatenate(others)]
    return records.paired(ours, others) if same else records.unpaired(ours[0], others[0])


def direction(
    recorded: Records,
    a: Variant,
    b: Variant,
    part: str = "test",
    fillers: tuple[str, str] = ("", ""),
    apart: bool = False,
) -> str:
    """Lower or higher, if the interval over pictures excludes 0 *and* all seeds, two at least, agree; or why not.

    The arguments are those of `compare`.
    """
    difference = compare(recorded, a, b, part, fillers, apart)
    if difference is None:
        return "not comparable" if a.runs and b.runs else NOT_RUN
    signs, seeds = set(), a.runs.keys() & b.runs.keys()
    if len(seeds) == 1:
        return ONE_SEED
    for seed in seeds:
        one, other = (
            recorded.score(x.runs[seed], part, x.holes, filler or recorded.paper.network)
            for x, filler in zip((a, b), fillers, strict=True)
        )
        signs.add(math.copysign(1, one - other) if one != other else 0)
    if len(signs) > 1 or math.isnan(difference.low) or difference.low <= 0 <= difference.high:
        return "not told apart"
    return "lower" if difference.high < 0 else "higher"


def best_fill(recorded: Records, run: str, part: str, holes: str) -> tuple[str, float]:
    """The classic fill with the best mean of the main score: (id, mean); ("", nan) if none was scored."""
    higher = evaluate.SCORES[recorded.paper.scores[0]].higher_is_better
    means = {f: recorded.score(run, part, holes, f) for f in recorded.paper.fills if f != "nothing"}
    means = {f: v for f, v in means.items() if not math.isnan(v)}
    if not means:
        return "", math.nan
    best = (max if higher else min)(means, key=means.__getitem__)
    return best, means[best]


def mean(recorded: Records, answer: Variant, part: str, filler: str) -> float:
    """The main score of a filler beside each run of ``answer``, the mean over seeds: they may have other pictures."""
    return statistics.mean(recorded.score(run, part, answer.holes, filler) for run in answer.runs.values())


def table(recorded: Records, question: Question, parts: tuple[str, ...] = ("test", "unseen")) -> pd.DataFrame:
    """A question as a table, a row for each variant: the main score on each part (mean ± spread over seeds), the bar
    and the best fill on the same pictures, the difference from the first variant with its interval. Where variants
    have other holes or pictures (`questions.series`), the difference from the best fill instead.
    """
    paper, found = recorded.paper, variants(recorded, question)
    apart = bool(questions.series(paper, question.id))
    rows = []
    for answer in found:
        row: dict[str, Any] = {"trained": answer.label + answer.mark, "holes": answer.holes}
        row |= {"seeds": len(answer.runs) or NOT_RUN}
        for part in parts if answer.runs else ():
            values = [recorded.score(run, part, answer.holes, paper.network) for run in answer.runs.values()]
            if any(math.isnan(v) for v in values):
                continue
            row[part] = records.per_seed(values)
            row[f"{part}: {fills.label(paper.bar)}"] = mean(recorded, answer, part, paper.bar)
            best, _ = best_fill(recorded, next(iter(answer.runs.values())), part, answer.holes)
            value = mean(recorded, answer, part, best)
            row[f"{part}: best fill"] = f"{value:.4f} ({fills.label(best)})" if best else "–"
        if apart and answer.runs:
            best, _ = best_fill(recorded, next(iter(answer.runs.values())), "test", answer.holes)
            how = {"part": "test", "fillers": ("", best)}
            difference = compare(recorded, answer, answer, **how)
            said = direction(recorded, answer, answer, **how)
            row["difference from best fill"] = said if difference is None else f"{_signed(difference)}: {said}"
        elif answer is not found[0] and answer.runs and found[0].runs:
            difference = compare(recorded, answer, found[0])
            verdict = direction(recorded, answer, found[0])
            row["difference on test"] = verdict if difference is None else f"{_signed(difference)}: {verdict}"
        for score in question.scores if answer.runs else ():
            values = [recorded.score(run, "test", answer.holes, paper.network, score) for run in answer.runs.values()]
            if not any(math.isnan(v) for v in values):
                title = evaluate.SCORES[score].label if score in evaluate.SCORES else score
                row[title] = records.per_seed(values)
        rows.append(row)
    return pd.DataFrame(rows)


def _signed(difference: Interval) -> str:
    return f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


@dataclass(frozen=True)
class Worth:
    """What changed parameters are worth: the main score before and after (mean ± spread over seeds), the difference."""

    before: str
    after: str
    difference: Interval | None  # None: not run, or on other pictures or holes
    verdict: str  # as `direction` says it, or "not comparable, ..."
    seeds: tuple[float, ...] = ()  # the difference of each seed

    def __str__(self) -> str:
        if not self.after:
            return self.verdict
        return (
            f"{self.before} → {self.after}; "
            + (f"{_signed(self.difference)}: " if self.difference else "")
            + self.verdict
        )

    @property
    def row(self) -> tuple[float, float, float, str, tuple[float, ...]]:
        """(mean, low, high, verdict, of each seed), for `viz.intervals`; nan where there is no difference."""
        d = self.difference or Interval(math.nan, math.nan, math.nan, 0)
        return d.mean, d.low, d.high, self.verdict, self.seeds


def worth(recorded: Records, changed: dict) -> Worth:
    """What some changed parameters of the demo are worth on test."""
    return _worth(recorded, *variants(recorded, Question("worth", "", {"demo": {}, "changed": changed})))


def _worth(recorded: Records, base: Variant, other: Variant) -> Worth:
    network, seeds = recorded.paper.network, sorted(base.runs.keys() & other.runs.keys())
    if not seeds:
        return Worth("", "", None, NOT_RUN)
    before, after = ([recorded.score(x.runs[seed], "test", x.holes, network) for seed in seeds] for x in (base, other))
    said = records.per_seed(before), records.per_seed(after)
    difference, mark = compare(recorded, other, base), base.mark or other.mark
    if difference is None:
        why = f"hole {other.holes}" if other.holes != base.holes else "other pictures"
        return Worth(*said, None, f"not comparable, {why}{mark}")
    of_seeds = tuple(b - a for a, b in zip(before, after, strict=True))
    return Worth(*said, difference, direction(recorded, other, base) + mark, of_seeds)


def beside(recorded: Records, networks: dict[str, dict], hole: str, fill: str) -> list[dict]:
    """Networks at one test hole, {label: changed parameters of the demo}, a row for each: the mean of the main score
    over seeds (lowest to highest), and its difference from a fill. Do nothing, the bar of the work and the fill follow,
    on the pictures of the first network.
    """
    lines, score = [], evaluate.SCORES[recorded.paper.scores[0]].label
    for label, changed in networks.items():
        (own,) = variants(recorded, Question("beside", "", {label: changed}))
        values = [recorded.score(run, "test", hole, recorded.paper.network) for run in own.runs.values()]
        line = {"method": label + own.mark}
        if values:
            line[score] = f"{np.mean(values):.5f} ({min(values):.5f} to {max(values):.5f})"
        own = replace(own, holes=hole)
        difference = compare(recorded, own, own, fillers=("", fill))
        if difference is not None:
            low, mean_, high = difference.low, difference.mean, difference.high
            line[f"minus {fills.label(fill)}"] = f"{mean_:+.5f} [{low:+.5f}, {high:+.5f}]"
        lines.append(line | {"verdict": direction(recorded, own, own, fillers=("", fill))})
    scored = list(recorded.seeds(recorded.paper.Parameters.resolve(next(iter(networks.values())))).values())
    for name in dict.fromkeys(("nothing", recorded.paper.bar, fill)) if scored else ():
        value = recorded.score(scored[0], "test", hole, name)
        lines.append({"method": fills.label(name), score: f"{value:.5f}"})
    return lines


def lines(recorded: Records, question: str) -> dict[str, dict[float, Variant]]:
    """A question over one parameter (`questions.series`) as lines: {variant: {value: its runs}}."""
    found = {one.label: one for one in variants(recorded, questions.questions(recorded.paper)[question])}
    series = questions.series(recorded.paper, question).items()
    return {line: {value: found[label] for value, label in labels.items()} for line, labels in series}


def over_values(recorded: Records, question: str, fill: str = "", part: str = "test") -> dict[str, tuple[list, ...]]:
    """The `lines` of a question: the main score of the network, divided by that of a ``fill`` on the same pictures if
    one is named, as (values of the parameter, means over seeds, spreads), for `viz.curves`. A question without ``over``
    is one line, named by its id. What was not run is left out.
    """
    found = lines(recorded, question)
    if not found:
        asked = questions.questions(recorded.paper)[question]
        changes = {label: next(iter(changed.values())) for label, changed in asked.variants.items() if changed}
        own = {changes[one.label]: one for one in variants(recorded, asked) if one.label in changes}
        found = {question: own}
    series = {}
    for name, by_value in found.items():
        points = []
        for value, one in by_value.items():
            if one.runs:
                ours, others = (
                    np.array([recorded.score(run, part, one.holes, filler) for run in one.runs.values()])
                    for filler in (recorded.paper.network, fill or recorded.paper.network)
                )
                shown = ours / others if fill else ours
                points.append((value, np.mean(shown), np.std(shown, ddof=1) if len(shown) > 1 else 0.0))
        if points:
            series[name] = tuple(map(list, zip(*points, strict=True)))
    return series


def beside_fill(recorded: Records, question: str, fill: str, words: dict[str, str] | None = None) -> str:
    """What was recorded for a question, a line for each variant: the main score on test, that of a ``fill``, and their
    difference. ``words`` {label: text} tell the variants in other words."""
    score, lines = evaluate.SCORES[recorded.paper.scores[0]].label, []
    for one in variants(recorded, questions.questions(recorded.paper)[question]):
        name, how = (words or {}).get(one.label, one.label), {"part": "test", "fillers": ("", fill)}
        difference = compare(recorded, one, one, **how)
        if difference is None:
            lines.append(f"{name}: {NOT_RUN}")
            continue
        ours, theirs = (mean(recorded, one, "test", x) for x in (recorded.paper.network, fill))
        said = f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
        said = f"{score} {ours:.4f}, {fills.label(fill)} {theirs:.4f}; difference {said}"
        lines.append(f"{name}: {said} ({direction(recorded, one, one, **how)}){one.mark}")
    return "\n".join(lines)


# --- claims -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """A claim of the prose, what is expected of it, and what the records say."""

    text: str
    expected: str
    verdict: str  # "holds", "does not hold", "not shown" (the interval holds 0, or seeds disagree), "not tested"
    why: str


def claims(recorded: Records, question: str = "") -> list[Verdict]:
    """Every claim of a work, or those about a ``question``, tested. Raises ValueError for an entry that is no claim."""
    found = []
    for entry in questions.table(recorded.paper).get("claims", []):
        if question and entry.get("question") != question:
            continue
        kind = next((key for key in TESTS if key in entry), None)
        if kind is None or not {"text", "verdict"} <= entry.keys():
            raise ValueError(f"a claim of {recorded.paper.id} needs text, verdict, and {' or '.join(TESTS)}: {entry}.")
        verdict, why = TESTS[kind](recorded, entry)
        found.append(Verdict(entry["text"], entry["verdict"], verdict, why))
    return found


def _asked(recorded: Records, entry: dict) -> dict[str, Variant]:
    """What a claim is about: the variants of its ``question``, or the demo and what it has ``changed``."""
    question = Question("claim", "", {"demo": {}, "changed": entry.get("changed", {})})
    if "question" in entry:
        question = questions.questions(recorded.paper)[entry["question"]]
    return {one.label: one for one in variants(recorded, question)}


def _beside(recorded: Records, entry: dict) -> tuple[str, str]:
    """Is the main score of a network below or above a fill's, with every seed and the interval?"""
    one, part = _asked(recorded, entry)[entry.get("of", "changed")], entry.get("part", "test")
    if not one.runs:
        return "not tested", NOT_RUN
    fill, sign = (entry["below"], -1) if "below" in entry else (entry["above"], 1)
    difference = compare(recorded, one, one, part, ("", fill))
    if difference is None:
        return "not tested", f"{fill} was not scored on the same pictures"
    scores, limits = (
        [recorded.score(run, part, one.holes, filler) for run in one.runs.values()]
        for filler in (recorded.paper.network, fill)
    )
    numbers, limit = ([f"{x:.4f}" for x in values] for values in (scores, limits))
    why = f"{', '.join(numbers)} against {', '.join(dict.fromkeys(limit))}; {_signed(difference)}{one.mark}"
    if len(one.runs) < 2:
        return "not tested", f"{ONE_SEED}: {why}"
    every = all(sign * (score - limit) > 0 for score, limit in zip(scores, limits, strict=True))
    return ("holds" if every and min(sign * difference.low, sign * difference.high) > 0 else "does not hold"), why


def _moved(recorded: Records, entry: dict) -> tuple[str, str]:
    """Does a change of parameters move the main score in the direction that the claim says?"""
    asked = _asked(recorded, entry)
    base, other = asked[entry.get("than", "demo")], asked[entry.get("of", "changed")]
    said, why = direction(recorded, other, base), str(_worth(recorded, base, other))
    if said not in ("lower", "higher", "not told apart"):
        return "not tested", why
    moved = said in ("lower", "higher")
    holds = said == entry["is"] or (entry["is"] == "different" and moved)
    return "holds" if holds else "does not hold" if moved else "not shown", why


def _highest(recorded: Records, entry: dict) -> tuple[str, str]:
    """Is one line of a question above all others, at each of its values? The ``filler`` is the network, or a fill."""
    others = lines(recorded, entry["question"])
    ours = others.pop(entry["highest"]).values()
    pairs = [pair for other in others.values() for pair in zip(ours, other.values(), strict=True)]
    return _all_higher(recorded, pairs, entry)


def _rises(recorded: Records, entry: dict) -> tuple[str, str]:
    """Does one line of a question rise from each of its values to the next?"""
    line = lines(recorded, entry["question"])[entry["rises"]].values()
    return _all_higher(recorded, [(after, before) for before, after in itertools.pairwise(line)], entry)


def _all_higher(recorded: Records, pairs: list[tuple[Variant, Variant]], entry: dict) -> tuple[str, str]:
    fillers = (entry.get("filler", ""),) * 2
    found = [direction(recorded, a, b, "test", fillers, apart=True) for a, b in pairs]
    for untested in (NOT_RUN, ONE_SEED, "not comparable"):
        if untested in found:
            return "not tested", untested
    (a, b), counts = pairs[-1], ", ".join(f"{found.count(one)} {one}" for one in dict.fromkeys(found))
    last = compare(recorded, a, b, "test", fillers, apart=True)
    why = (
        f"of {len(found)} differences: {counts}; {a.label}, minus {b.label}: {last and _signed(last)}{a.mark or b.mark}"
    )
    return "holds" if set(found) == {"higher"} else "does not hold" if "lower" in found else "not shown", why


def _first(recorded: Records, entry: dict) -> tuple[str, str]:
    """Is the mean of the first test pictures another one than that of the others?"""
    one, n = _asked(recorded, entry)[entry["of"]], entry["first"]
    values = [recorded.per_image(run, "test", one.holes, recorded.paper.network) for run in one.runs.values()]
    if len(values) < 2:
        return "not tested", ONE_SEED if values else NOT_RUN
    parts = zip(*(np.split(x, [n]) for x in values if x is not None), strict=True)
    few, others = (np.concatenate(part) for part in parts)
    difference = records.unpaired(few, others)
    shown = difference.low > 0 or difference.high < 0
    return "holds" if shown else "not shown", f"{few.mean():.4f} against {others.mean():.4f}; {_signed(difference)}"


TESTS = {  # what a claim must have one of, and what tests it
    "below": _beside,
    "above": _beside,
    "is": _moved,
    "highest": _highest,
    "rises": _rises,
    "first": _first,
    "untested": lambda recorded, entry: ("not tested", entry["untested"]),
}


def stamp(recorded: Records) -> str:
    """How many recorded runs there are, for a caption; `origin` says more."""
    runs = recorded.runs
    return f"{len(runs)} recorded runs, seeds {_all_of(recorded, 'seed')}" if len(runs) else "not run"


def origin(recorded: Records) -> str:
    """Where recorded numbers come from, from the rows themselves."""
    words = f"{recorded.runs['seconds'].sum() / 60:.0f} minutes of training; {_all_of(recorded, 'device')}"
    numbers = f"threads: {_all_of(recorded, 'threads')}; revision {_all_of(recorded, 'revision')}"
    return stamp(recorded) if recorded.runs.empty else f"{stamp(recorded)}, {words}; {numbers}"


def _all_of(recorded: Records, column: str) -> str:
    return ", ".join(str(value) for value in sorted(recorded.runs[column].dropna().unique())) or "unknown"
