"""What is asked of each work, as data: questions and claims stand in ``papers/NAME.toml``, runs follow from them."""

import inspect
import itertools
from functools import cache
from pathlib import Path
from typing import Any

from inpaintkit import runtime
from inpaintkit.contracts import Paper, Question
from inpaintkit.parameters import SHIPPED, Training, nearest

KEYS = {"text", "given", "variants", "over", "seeds", "profile", "scores"}


@cache
def table(paper: Paper) -> dict[str, Any]:
    """The whole TOML file of a work: questions, claims, cost. Empty if there is none."""
    path = Path(inspect.getfile(type(paper))).with_suffix(".toml")
    return runtime.read_toml(path) if path.exists() else {}


def questions(paper: Paper) -> dict[str, Question]:
    """The questions of a work, by name: ``variants``, each of them at all values of ``over``, and what is ``given`` in
    all runs. Raises ValueError for an entry that is none.
    """
    found = {}
    for name, entry in table(paper).get("questions", {}).items():
        if not {"text"} <= entry.keys() <= KEYS or not entry.keys() & {"variants", "over"}:
            raise ValueError(f"question {name!r} of {paper.id} needs text, and variants or over.")
        over, variants = entry.get("over", {}), {}
        for label, own in entry.get("variants", {"": {}}).items():
            for values in itertools.product(*over.values()):
                changes = dict(zip(over, values, strict=True))
                variants[_label(label, changes)] = entry.get("given", {}) | own | changes
        optional = {key: entry[key] for key in ("profile",) if key in entry}
        optional |= {key: tuple(entry[key]) for key in ("seeds", "scores") if key in entry}
        found[name] = Question(name, entry["text"], variants, **optional)
    return found


def _label(label: str, changes: dict[str, Any]) -> str:
    return ", ".join([label] * bool(label) + [f"{name} {value}" for name, value in changes.items()])


def series(paper: Paper, question: str) -> dict[str, dict[float, str]]:
    """A question that has variants ``over`` the values of one parameter, as lines of a figure: {variant: {value: label
    of the run}}. Empty for any other question.
    """
    entry = table(paper).get("questions", {}).get(question, {})
    if "variants" not in entry or len(entry.get("over", {})) != 1:
        return {}
    ((name, values),) = entry["over"].items()
    return {label: {value: _label(label, {name: value}) for value in values} for label in entry["variants"]}


def fetched(question: Question) -> bool:
    """Does a variant name a data set that does not come with the kit?"""
    named = (changes.get("dataset", SHIPPED[0]) for changes in question.variants.values())
    return any(dataset.partition(":")[0] not in SHIPPED for dataset in named)


def select(paper: Paper, names: str, profile: str = "demo") -> list[Question]:
    """The questions that ``names`` chooses: "none", "all", or names separated by commas.

    All are those of the profile; of the demo, those whose data come with the kit.
    Raises ValueError for an unknown one, with the nearest name.
    """
    known = questions(paper)
    if names in ("", "none"):
        return []
    if names == "all":
        if profile == "paper":
            return [q for q in known.values() if q.profile == "paper"]
        return [q for q in known.values() if q.profile != "paper" and not fetched(q)]
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in known:
            raise ValueError(f"unknown question {name!r} of {paper.id} (experiments): {nearest(name, known)}")
    return [known[name] for name in chosen]


def configuration(
    paper: Paper, question: Question, label: str, seed: int, profile: str | None = None, given: dict | None = None
) -> Training:
    """The parameters of one run that a question asks for; ``given`` are changed in all of them."""
    base = {"profile": profile or question.profile, "seed": seed}
    return paper.Parameters.resolve(base | (given or {}) | question.variants[label])


def configurations(
    paper: Paper,
    names: str = "all",
    profile: str | None = None,
    seeds: tuple[int, ...] | None = None,
    given: dict | None = None,
) -> list[Training]:
    """The runs that questions ask for, each once: the first seed of all of them, then the next.

    ``profile`` and ``seeds`` None are the questions' own; ``given`` are parameters that change in all runs.
    Raises ValueError for a question, a variant or a parameter that cannot be.
    """
    wanted: dict[str, Training] = {}
    chosen = select(paper, names, profile or "demo")
    for seed in sorted({s for q in chosen for s in (seeds or q.seeds)}):
        for question in chosen:
            for label in question.variants if seed in (seeds or question.seeds) else ():
                cfg = configuration(paper, question, label, seed, profile, given)
                wanted.setdefault(repr(sorted(cfg.identifying().items())), cfg)
    return list(wanted.values())
