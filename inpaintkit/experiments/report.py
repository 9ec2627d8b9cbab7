"""A page per paper, docs/reports/NOTEBOOK.md, from the records alone: set-up, claims, questions, earlier runs."""

import csv
import json
import math
import runpy
from pathlib import Path

import pandas as pd

from inpaintkit import evaluate, fills, papers, runtime, shipped
from inpaintkit.contracts import Paper, Question
from inpaintkit.experiments import answers, figures, questions, records
from inpaintkit.experiments.records import Records
from inpaintkit.parameters import READINGS, SHIPPED

EARLIER = """Made before today's form of records, on parts of the real data sets: with a package that had uncommitted
changes, and without values of single pictures, so that no interval can be given and no claim rests on them. Readings
mean what they meant then: networks, learning rates and schedules have changed since."""


def root() -> Path:
    """The folder of the checkout. Raises RuntimeError where there is none."""
    checkout = runtime.checkout()
    if checkout is None:
        raise RuntimeError("reports are written into a checkout of the repository: clone it.")
    return checkout


def folder() -> Path:
    """The folder of the pages."""
    return root() / "docs" / "reports"


def write(paper: Paper, recorded: Records | None = None) -> Path:
    """Writes the page of a work and its figures; returns the page's path."""
    recorded = recorded or records.load(paper)
    path = folder() / f"{paper.notebook}.md"
    parts = [
        f"# {paper.title}: what the runs say",
        f"*Written by `make report` from `results/{paper.id}/`: do not edit.* "
        f"Notebook: [{paper.notebook}](../../notebooks/{paper.notebook}.ipynb). Records: {answers.origin(recorded)}.",
        "## Set-up: the paper beside the demo",
        markdown(_setup(paper)),
        *_section("Reported numbers", reported(paper)),
        *_section("Claims", _claims(recorded)),
        *_figures(recorded),
        "## Questions",
        "Main score: mean ± standard deviation over seeds. Differences: mean over the same pictures, with a 95 % "
        "interval (bootstrap); *lower* and *higher* are said if the interval excludes 0 and all seeds, at least two, "
        "agree. "
        f"Repeat them with `make effects PAPER={paper.id}`.",
    ]
    for question in questions.questions(paper).values():
        parts += _question(recorded, question)
    parts += _surveys(paper)
    earlier = runtime.results_dir() / paper.id / "earlier.csv"
    if earlier.exists():
        table = pd.read_csv(earlier, dtype=str, keep_default_na=False)
        table = table.loc[:, (table != "").any()]
        parts += ["## Earlier runs on real data", EARLIER.replace("\n", " "), markdown(table)]
    with runtime.atomic_write(path) as part:
        part.write_text("\n\n".join(parts) + "\n", encoding="utf8")
    return path


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown. Missing values are a dash."""

    def cell(value):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "–"
        return f"{value:.4f}" if isinstance(value, float) else str(value).replace("|", "\\|")

    lines = [list(table.columns), ["---"] * len(table.columns), *table.values.tolist()]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


def reported(paper: Paper) -> pd.DataFrame:
    """The numbers that a work prints, each with its setting, metric, data and source (results/reported.csv)."""
    with (runtime.results_dir() / "reported.csv").open(encoding="utf8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.pop("work") == paper.notebook]
    table = pd.DataFrame(rows)
    return table.loc[:, (table != "").any()] if len(table) else table


def _section(title: str, table: pd.DataFrame) -> list[str]:
    return [f"## {title}", markdown(table)] if len(table) else []


def _setup(paper: Paper) -> pd.DataFrame:
    """Every parameter in which the paper's scale, the readings and the demo differ."""
    columns = {"demo": paper.Parameters.resolve({})}
    readings = dict.fromkeys((*READINGS, *paper.Parameters.readings))
    columns |= {f"paper, {r}": paper.Parameters.resolve({"profile": "paper", "reading": r}) for r in readings}
    rows = []
    for name, field in paper.Parameters.model_fields.items():
        values = {title: repr(getattr(cfg, name)) for title, cfg in columns.items()}
        if name not in ("profile", "reading") and len(set(values.values())) > 1:
            rows.append({"parameter": f"`{name}`", "meaning": field.description, **values})
    return pd.DataFrame(rows)


def _claims(recorded: Records) -> pd.DataFrame:
    return pd.DataFrame(
        {"claim": c.text, "expected": c.expected, "verdict": f"**{c.verdict}**", "numbers": c.why}
        for c in answers.claims(recorded)
    )


def _question(recorded: Records, question: Question) -> list[str]:
    paper, heading = recorded.paper, f"### {question.text}"
    table, command = answers.table(recorded, question), _command(paper, question)
    here = table["seeds"] != answers.NOT_RUN
    if not here.any():
        return [heading, f"Not run: {command}."]
    parts, runs = (
        [heading, markdown(table)],
        [run for a in answers.variants(recorded, question) for run in a.runs.values()],
    )
    rows = recorded.runs[recorded.runs["run"].isin(runs)]
    fetched = rows[~rows["data"].str.partition(":")[0].isin(SHIPPED)]
    if len(fetched):
        counts = dict.fromkeys(fetched["data"] + ": " + fetched["counts"])
        drawn = (fetched.groupby("data")["training pictures"].nunique() > 1).any()
        own = " Each seed draws its own training and test pictures, which adds to the spread over seeds." * bool(drawn)
        parts.append(f"Pictures: {'; '.join(counts)}.{own}")
    if not here.all():
        parts.append(f"The rest: {command}.")
    if here.sum() > 1 and not questions.series(paper, question.id):  # those have figures of their own
        figure = folder() / "figures" / f"{paper.id}-{question.id}.svg"
        figures.dots(recorded, question, figure)
        parts.append(f"![{question.text} A dot for each seed.](figures/{figure.name})")
    return parts


def _command(paper: Paper, question: Question) -> str:
    """What runs a question; what needs other data than the kit's is planned first."""
    target = "grid" if question.profile == "paper" or questions.fetched(question) else "effects"
    return f"`make {target} PAPER={paper.id} QUESTION={question.id}`"


def _figures(recorded: Records) -> list[str]:
    """The figures of a work as its [[figures]] describe them: drawn from the records, or why they are not."""
    parts, paper = [], recorded.paper
    for number, entry in enumerate(questions.table(paper).get("figures", []), 1):
        parts.append(f"### {entry['text']}")
        if "missing" in entry:
            parts.append(f"Not shown: {entry['missing']}.")
            continue
        path = folder() / "figures" / f"{paper.id}-paper-{number}.svg"
        words = (figures.epochs if "epochs" in entry else figures.lines)(recorded, entry, path)
        if words:
            parts += [f"![{entry['text']}. {words}](figures/{path.name})", f"*{words}*"]
        else:
            parts.append(f"Not run: {_command(paper, questions.questions(paper)[entry['question']])}.")
    return ["## The paper's figures, drawn from our runs", *parts] if parts else []


def _surveys(paper: Paper) -> list[str]:
    """What was measured on real pictures without training (tools/survey_*.py): SSIM, floors of a loss, filters."""
    parts, ssim, floors, filters = [], [], [], []
    for path in sorted(runtime.results_dir().glob(f"{paper.notebook}-survey-*.json")):
        name, survey = path.stem.split("-survey-")[1], runtime.read_json(path)
        floors.append({"data": name, "pictures": survey["pictures"], "mean of (1 - x)²": survey["floor"]}
                      | {"standard error": survey["floor, standard error"]})  # fmt: skip
        for holes, by_fill in survey["holes"].items():
            for fill, kinds in by_fill.items():
                row = {"data": name, "pictures": survey["pictures"], "holes": holes, "fill": fill}
                ssim.append(row | {k: f"{v['mean']:.4f} ± {v['sd']:.4f}" for k, v in kinds.items()})
    for path in sorted(runtime.results_dir().glob(f"{paper.notebook}-resize-*.json")):
        for name, run in runtime.read_json(path)["filters"].items():
            row = {"data": run["data"]["name"], "filter": name}
            filters.append(row | {s["filler"]: s["hole MSE"]["mean"] for s in run["scores"] if "hole MSE" in s})
    if ssim:
        parts += ["## Untouched and mean-filled pictures of the real data sets",
                  "SSIM of whole pictures by kind of window, mean ± standard deviation over pictures.",
                  markdown(pd.DataFrame(ssim)),
                  "The authors' target has a second channel of ones. It adds this constant to their training loss:",
                  markdown(pd.DataFrame(floors))]  # fmt: skip
    if filters:
        parts += ["## What the resize filter is worth", "Hole MSE of the fills, 500 test pictures, one 20x20 hole.",
                  markdown(pd.DataFrame(filters))]  # fmt: skip
    return parts


# --- the README's numbers ---------------------------------------------------------------------------------------------

BEGIN, END = "<!-- {}: written by make readme -->", "<!-- end of {} -->"
BADGE = "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com"
BADGE += "/github/{}/blob/main/notebooks/{}.ipynb)"


def repository() -> str:
    """Owner and name of the repository on GitHub, as pyproject.toml says: the one place for both."""
    project = runtime.tomllib.loads((root() / "pyproject.toml").read_text(encoding="utf8"))["project"]
    return project["urls"]["Repository"].removeprefix("https://github.com/")


def badge(notebook: str) -> str:
    """The link to a notebook on Colab."""
    return BADGE.format(repository(), notebook)


def overview() -> str:
    """The map: a row for each notebook."""
    first = {"notebook": "[00 · Masks and metrics](notebooks/00_masks_and_metrics.ipynb)"}
    rows = [first | {"Colab": badge("00_masks_and_metrics"), "demo": "holes, fills and scores; no network"}]
    for paper in papers.PAPERS.values():
        if not (root() / "notebooks" / f"{paper.notebook}.ipynb").exists():
            continue
        number, cfg = paper.notebook.partition("_")[0], paper.Parameters.resolve({})
        row = {"notebook": f"[{number} · {paper.title}](notebooks/{paper.notebook}.ipynb)"}
        holes = next(iter(paper.test_holes(cfg, 1)))
        row |= {"Colab": badge(paper.notebook), "demo": f"faces of {cfg.size}x{cfg.size}, hole {holes}"}
        rows.append(row | {"all runs": f"[report](docs/reports/{paper.notebook}.md)"})
    return markdown(pd.DataFrame(rows).fillna(""))


def results() -> str:
    """The demos' scores, a table for each metric: test and unseen, beside doing nothing and the best fill."""
    tables: dict[str, list[dict]] = {}
    for paper in papers.PAPERS.values():
        tables.setdefault(evaluate.SCORES[paper.scores[0]].label, []).append(_demo(records.load(paper)))
    return "\n\n".join(f"**{label}**\n\n{markdown(pd.DataFrame(rows).fillna(''))}" for label, rows in tables.items())


def _demo(recorded: Records) -> dict[str, str]:
    (demo,) = answers.variants(recorded, Question("demo", "", {"demo": {}}))
    paper = recorded.paper
    row = {"demo": paper.notebook.partition("_")[0]}
    if not demo.runs:
        return row | {"do nothing": answers.NOT_RUN}
    run, parts = next(iter(demo.runs.values())), {}
    for part in ("test", "unseen"):
        values = [recorded.score(r, part, demo.holes, paper.network) for r in demo.runs.values()]
        best, value = answers.best_fill(recorded, run, part, demo.holes)
        parts[part] = {
            f"{part}: best classic fill": f"{value:.4f} ({fills.label(best)})",
            f"{part}: network": f"{records.per_seed(values)} ({len(values)} seeds)",
        }
    seconds = recorded.runs[recorded.runs["run"].isin(demo.runs.values())]
    threads = ", ".join(map(str, sorted(seconds["threads"].unique())))
    row |= {"do nothing": f"{recorded.score(run, 'test', demo.holes, 'nothing'):.4f}"} | parts["test"]
    row |= {"test: shipped weights": _shipped(paper, demo.holes)} | parts["unseen"]
    return row | {"training": f"{seconds['seconds'].median():.0f} s, {threads} thread(s)"}


def _shipped(paper: Paper, holes: str) -> str:
    """The score of the weights that ship, on the demo's test holes, and how long they were trained; "–" without any."""
    try:
        header = shipped.header(paper.id)
    except FileNotFoundError:
        return "–"
    said = json.loads(header["score"])
    return f"{said['mean']:.4f} ({shipped.parameters(paper.id)['epochs']} epochs)" if said["holes"] == holes else "–"


def sizes() -> str:
    """What the installation takes, as tools/setup_env.py knows it."""
    linux, small = (runpy.run_path(str(root() / "tools" / "setup_env.py"))["SIZES"][kind] for kind in ("cuda", "small"))
    return (
        f"The first call installs into `.venv`: on Linux about {linux['download']} GB to download and "
        f"{linux['installed']} GB on disk, on macOS about {small['download']} and {small['installed']}."
    )


def readme(text: str) -> str:
    """The README with its generated parts written anew, each between two marks. Raises ValueError without a mark."""
    for name, content in {"sizes": sizes(), "map": overview(), "results": results()}.items():
        begin, end = BEGIN.format(name), END.format(name)
        if begin not in text or end not in text:
            raise ValueError(f"the README has no place for the {name}: put {begin} and {end} into it.")
        text = f"{text.partition(begin)[0]}{begin}\n\n{content}\n\n{end}{text.partition(end)[2]}"
    return text


def write_readme() -> Path:
    """Writes the README's generated parts anew."""
    path = root() / "README.md"
    text = readme(path.read_text(encoding="utf8"))
    with runtime.atomic_write(path) as part:
        part.write_text(text, encoding="utf8")
    return path
