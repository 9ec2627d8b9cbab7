"""What the records say: the table of a question, the worth of a difference, the verdict of a claim."""

import math
from dataclasses import dataclass
from typing import Any

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


def compare(recorded: Records, a: Variant, b: Variant, part: str = "test") -> Interval | None:
    """The main score of ``a`` minus that of ``b``, paired over the same pictures, over the seeds that both have.

    None if they were not scored on the same pictures and holes, or one was not run.
    """
    seeds, network = sorted(a.runs.keys() & b.runs.keys()), recorded.paper.network
    if len({recorded.place(x.runs[s], part, x.holes) for x in (a, b) for s in seeds}) != 1:
        return None
    return records.paired(*([recorded.per_image(x.runs[s], part, x.holes, network) for s in seeds] for x in (a, b)))


def direction(recorded: Records, a: Variant, b: Variant, part: str = "test") -> str:
    """Lower or higher, if the interval over pictures excludes 0 *and* all seeds, two at least, agree; or why not."""
    difference = compare(recorded, a, b, part)
    if difference is None:
        return "not comparable" if a.runs and b.runs else NOT_RUN
    network, signs, seeds = recorded.paper.network, set(), a.runs.keys() & b.runs.keys()
    if len(seeds) == 1:
        return ONE_SEED
    for seed in seeds:
        one, other = (recorded.score(x.runs[seed], part, x.holes, network) for x in (a, b))
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


def table(recorded: Records, question: Question, parts: tuple[str, ...] = ("test", "unseen")) -> pd.DataFrame:
    """A question as a table, a row for each variant: the main score on each part (mean ± spread over seeds), the bar
    and the best fill on the same pictures, the difference from the first variant with its interval.
    """
    paper, found = recorded.paper, variants(recorded, question)
    rows = []
    for answer in found:
        row: dict[str, Any] = {"trained": answer.label + answer.mark, "holes": answer.holes}
        row |= {"seeds": len(answer.runs) or NOT_RUN}
        for part in parts if answer.runs else ():
            values = [recorded.score(run, part, answer.holes, paper.network) for run in answer.runs.values()]
            if any(math.isnan(v) for v in values):
                continue
            row[part] = records.per_seed(values)
            run = next(iter(answer.runs.values()))
            row[f"{part}: {fills.label(paper.bar)}"] = recorded.score(run, part, answer.holes, paper.bar)
            best, value = best_fill(recorded, run, part, answer.holes)
            row[f"{part}: best fill"] = f"{value:.4f} ({fills.label(best)})" if best else "–"
        if answer is not found[0] and answer.runs and found[0].runs:
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
    base, other = variants(recorded, Question("worth", "", {"demo": {}, "changed": changed}))
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


# --- claims -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """A claim of the prose, what is expected of it, and what the records say."""

    text: str
    expected: str
    verdict: str  # "holds", "does not hold", "not shown" (the interval holds 0, or seeds disagree), "not tested"
    why: str


def claims(recorded: Records) -> list[Verdict]:
    """Every claim of a work, tested. Raises ValueError for an entry that is no claim."""
    found = []
    for entry in questions.table(recorded.paper).get("claims", []):
        if not {"text", "verdict"} <= entry.keys() or not {"below", "above", "changed"} & entry.keys():
            raise ValueError(
                f"a claim of {recorded.paper.id} needs text, verdict, and below, above or changed: {entry}."
            )
        verdict, why = (_beside if {"below", "above"} & entry.keys() else _changed)(recorded, entry)
        found.append(Verdict(entry["text"], entry["verdict"], verdict, why))
    return found


def _beside(recorded: Records, entry: dict) -> tuple[str, str]:
    """Is the main score of the demo (or a change of it) below or above a fill's, with every seed and the interval?"""
    (demo,) = variants(recorded, Question("claim", "", {"demo": entry.get("changed", {})}))
    if len(demo.runs) < 2:
        return "not tested", ONE_SEED if demo.runs else NOT_RUN
    paper, part, below = recorded.paper, entry.get("part", "test"), "below" in entry
    fill = entry["below" if below else "above"]
    scores = {s: recorded.score(run, part, demo.holes, paper.network) for s, run in demo.runs.items()}
    run = next(iter(demo.runs.values()))
    limit = recorded.score(run, part, demo.holes, fill)
    network = [recorded.per_image(r, part, demo.holes, paper.network) for r in demo.runs.values()]
    difference = records.paired(network, [recorded.per_image(run, part, demo.holes, fill)])
    if difference is None:
        return "not tested", f"{fill} was not scored on the same pictures"
    if below:
        holds = all(score < limit for score in scores.values()) and difference.high < 0
    else:
        holds = all(score > limit for score in scores.values()) and difference.low > 0
    numbers = ", ".join(f"{score:.4f}" for score in scores.values())
    return ("holds" if holds else "does not hold"), f"{numbers} against {limit:.4f}; {_signed(difference)}{demo.mark}"


def _changed(recorded: Records, entry: dict) -> tuple[str, str]:
    """Does a change of parameters move the main score in the direction that the claim says?"""
    base, other = variants(recorded, Question("claim", "", {"demo": {}, "changed": entry["changed"]}))
    said = direction(recorded, other, base)
    if said in (NOT_RUN, ONE_SEED):
        return "not tested", said
    moved = said in ("lower", "higher")
    holds = said == entry["is"] or (entry["is"] == "different" and moved)
    return "holds" if holds else "does not hold" if moved else "not shown", str(worth(recorded, entry["changed"]))


def stamp(recorded: Records) -> str:
    """Where recorded numbers come from, for a caption: from the rows themselves."""
    runs = recorded.runs
    if runs.empty:
        return "not run: make effects"

    def all_of(column):
        return ", ".join(str(value) for value in sorted(runs[column].dropna().unique())) or "unknown"

    return (
        f"{len(runs)} runs, seeds {all_of('seed')}, {runs['seconds'].sum() / 60:.0f} minutes of training; "
        f"{all_of('device')}; threads: {all_of('threads')}; revision {all_of('revision')}"
    )
