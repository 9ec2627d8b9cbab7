"""Records of many runs as tidy tables: kept in results/, read by notebooks and reports, with intervals.

``results/PAPER/`` holds runs.csv (a row per run), scores.csv (a row per run x part x holes x filler x score; the
classic fills, equal for all runs on the same pictures and holes, once, as the run "fills"), curves.csv (a row per run
x epoch x score) and images.npz (the main score of every picture).
"""

import json
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from inpaintkit import runtime
from inpaintkit.contracts import Paper
from inpaintkit.experiments.run import SCHEMA, code
from inpaintkit.parameters import Training

FILLS = "fills"  # stands for the run of a classic fill
RUNS = [
    "run", "schema", "profile", "reading", "changes", "seed", "holes", "steps", "seconds", "precision", "threads",
    "device", "revision", "code", "weights", "data", "counts", "training pictures", "date", "versions",
]  # fmt: skip
SCORES = ["run", "part", "holes", "pictures", "mask", "filler", "score", "mean", "median", "sd", "n", "undefined"]
CURVES = ["run", "epoch", "score", "value"]
WORDS: dict[Hashable, type] = dict.fromkeys(("run", "changes", "revision", "code", "weights", "pictures", "mask"), str)


@dataclass
class Records:
    """The runs of one work as tables. ``images`` maps (run, part, holes, filler) to the main score of each picture."""

    paper: Paper
    runs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=RUNS))
    scores: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=SCORES))
    curves: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=CURVES))
    images: dict[tuple[str, str, str, str], np.ndarray] = field(default_factory=dict)

    def seeds(self, cfg: Training) -> dict[int, str]:
        """The runs of these parameters: {seed: run}, whatever code made them (see `stale`)."""
        changes = json.dumps(cfg.changes(), sort_keys=True)
        found = self.runs[self.runs["changes"] == changes] if len(self.runs) else self.runs
        return {int(row["seed"]): row["run"] for _, row in found.sort_values("seed").iterrows()}

    def stale(self, run: str, cfg: Training) -> bool:
        """Was a run made with other code than today's?"""
        return self.runs.loc[self.runs["run"] == run, "code"].iloc[0] != code(self.paper, cfg)

    def score(
        self, run: str, part: str, holes: str, filler: str, score: str | None = None, what: str = "mean"
    ) -> float:
        """One number. NaN if there is none."""
        table, score = self.scores, score or self.paper.scores[0]
        rows = table[(table["part"] == part) & (table["holes"] == holes) & (table["score"] == score)]
        own = rows[(rows["run"] == run) & (rows["filler"] == filler)]
        if own.empty and run != FILLS:  # a classic fill on the same pictures and holes
            place = self.place(run, part, holes)
            own = rows[(rows["run"] == FILLS) & (rows["filler"] == filler)]
            own = own[(own["pictures"] == place[0]) & (own["mask"] == place[1])]
        return float(own.iloc[0][what]) if len(own) else math.nan

    def place(self, run: str, part: str, holes: str) -> tuple[str, str]:
        """The fingerprints of pictures and masks that a run was scored on."""
        table = self.scores
        rows = table[(table["run"] == run) & (table["part"] == part) & (table["holes"] == holes)]
        return (rows.iloc[0]["pictures"], rows.iloc[0]["mask"]) if len(rows) else ("", "")

    def per_image(self, run: str, part: str, holes: str, filler: str) -> np.ndarray | None:
        """The main score of each picture (n,), of a run's network or of a classic fill on the same pictures."""
        own = self.images.get((run, part, holes, filler))
        if own is not None:
            return own
        return self.images.get((f"{FILLS} {' '.join(self.place(run, part, holes))}", part, holes, filler))


# --- intervals --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval over pictures (bootstrap)."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.mean:.4f}"
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


def interval(values: ArrayLike, resamples: int = 2000) -> Interval:
    """Mean of values of pictures, and the percentile bootstrap interval (scipy, seeded). NaN values are left out."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    mean = float(known.mean()) if len(known) else math.nan
    if len(known) < 2:
        return Interval(mean, math.nan, math.nan, len(known))
    if np.ptp(known) == 0:
        return Interval(mean, mean, mean, len(known))
    return Interval(mean, *_bootstrap((known,), np.mean, resamples), len(known))


def _bootstrap(samples: tuple[np.ndarray, ...], statistic: Callable, resamples: int = 2000) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    found = stats.bootstrap(samples, statistic, n_resamples=resamples, method="percentile", rng=rng, batch=200)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired(a: Sequence[np.ndarray | None], b: Sequence[np.ndarray | None]) -> Interval | None:
    """The difference a - b over the same pictures; both are means over seeds, given as one array (n,) for each seed.

    None if the pictures are not the same, or if one was not scored.
    """
    ours, others = ([x for x in values if x is not None] for values in (a, b))
    complete = len(a) == len(ours) > 0 and len(b) == len(others) > 0
    if not complete or len({len(x) for x in (*ours, *others)}) != 1:
        return None
    return interval(np.mean(ours, 0, dtype=float) - np.mean(others, 0, dtype=float))


def unpaired(a: np.ndarray, b: np.ndarray) -> Interval:
    """The difference of two means, a - b, over different pictures (n,) and (m,), at least two of each."""
    low, high = _bootstrap((a, b), lambda x, y, axis: x.mean(axis) - y.mean(axis))
    return Interval(float(a.mean() - b.mean()), low, high, len(a) + len(b))


def per_seed(values: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds, which is another spread than that over pictures."""
    if not len(values):
        return "not run"
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


# --- reading and writing ----------------------------------------------------------------------------------------------


def load(paper: Paper, folder: Path | None = None) -> Records:
    """The recorded runs of a work (results/PAPER); empty records if nothing was recorded.

    Raises ValueError with one sentence for tables that are damaged or of another schema.
    """
    folder = folder or runtime.results_dir() / paper.id
    if not (folder / "runs.csv").exists():
        return Records(paper)
    try:
        tables = {}
        for name, columns in (("runs", RUNS), ("scores", SCORES), ("curves", CURVES)):
            tables[name] = table = pd.read_csv(folder / f"{name}.csv", dtype=WORDS)
            if list(table.columns) != columns or ("schema" in columns and (table["schema"] != SCHEMA).any()):
                raise ValueError("its columns are those of another version")
        with np.load(folder / "images.npz") as arrays:
            images = {tuple(key.split("|")): arrays[key] for key in arrays}
    except Exception as error:  # damaged tables fail in many ways, all of which mean the same
        raise ValueError(f"{folder} cannot be read ({error}): restore it from git, or record anew.") from error
    return Records(paper, **tables, images=images)


def collect(paper: Paper, folders: Sequence[Path]) -> Records:
    """The records of finished runs from their folders; a folder without results.json is left out.

    Raises ValueError with one sentence for a damaged record or one of another schema.
    """
    runs, scores, curves, images = [], [], [], {}
    for folder in folders:
        if not (folder / "results.json").exists():
            continue
        record = runtime.read_json(folder / "results.json")
        if record.get("schema") != SCHEMA or record.get("paper") != paper.id:
            raise ValueError(f"{folder} holds a record of another version or work: delete it, and run again.")
        runs.append(_run_row(record))
        for row in record["scores"]:
            if "note" in row:
                continue
            classic = row["filler"] in paper.fills
            scores.append({column: row.get(column) for column in SCORES} | {"run": FILLS if classic else record["run"]})
        history = record["history"]
        for score, values in history["scores"].items():
            rows = zip(history["epochs"], values, strict=True)
            curves += [{"run": record["run"], "epoch": e, "score": score, "value": round(v, 6)} for e, v in rows]
        images |= _arrays(folder, record, paper)
    runs_table = pd.DataFrame(runs, columns=RUNS).drop_duplicates("run").sort_values(["changes", "seed"])
    scores_table = pd.DataFrame(scores, columns=SCORES).drop_duplicates(SCORES[:7])
    scores_table[["mean", "median", "sd"]] = scores_table[["mean", "median", "sd"]].astype(float).round(6)
    for column in ("n", "undefined"):
        scores_table[column] = scores_table[column].astype("Int64")
    return Records(
        paper, runs_table.reset_index(drop=True), scores_table.reset_index(drop=True),
        pd.DataFrame(curves, columns=CURVES), images,
    )  # fmt: skip


def _run_row(record: dict) -> dict:
    data = record["data"]
    return {column: record.get(column) for column in RUNS} | {
        "changes": json.dumps(record["changes"], sort_keys=True),
        "data": data["name"],
        "counts": " + ".join(f"{n} {part}" for part, n in data["counts"].items()),
        "training pictures": data["fingerprint"]["train"],
        "versions": " ".join(f"{package} {version}" for package, version in record["versions"].items()),
    }


def _arrays(folder: Path, record: dict, paper: Paper) -> dict:
    places = {(row["part"], row["holes"]): (row["pictures"], row["mask"]) for row in record["scores"]}
    images = {}
    with np.load(folder / "images.npz") as arrays:
        for key in arrays:
            part, holes, filler = key.split("|")
            classic = filler in paper.fills
            run = f"{FILLS} {' '.join(places[part, holes])}" if classic else record["run"]
            images[run, part, holes, filler] = arrays[key]
    return images


def record(records: Records, folder: Path | None = None) -> Path:
    """Puts records into results/PAPER, in the place of earlier ones of the same parameters and seeds.

    Raises ValueError with one sentence for runs of a dirty or unknown tree, or of another number of threads or device
    than their siblings'.
    """
    folder = folder or runtime.results_dir() / records.paper.id
    if records.runs.empty:
        raise ValueError(f"{records.paper.id}: there is no finished run to record.")
    old = load(records.paper, folder)
    keys = ["changes", "seed", "profile"]
    merged = pd.concat([t for t in (old.runs, records.runs) if len(t)]).drop_duplicates(keys, keep="last")
    dirty = merged[merged["revision"].isna() | merged["revision"].astype(str).str.endswith("+")]
    if len(dirty):
        raise ValueError(
            f"{records.paper.id}: {len(dirty)} runs come from a package with uncommitted changes or from no checkout: "
            "commit, and run them again."
        )
    for (profile, data), siblings in merged.groupby(["profile", "data"]):
        for column in ("threads", "device"):
            if siblings[column].nunique() > 1:
                values = ", ".join(map(str, sorted(siblings[column].unique())))
                raise ValueError(
                    f"{records.paper.id}: runs of profile {profile} on {data} have different {column} ({values}): run "
                    "all in the same way."
                )
    kept = set(merged["run"]) | {FILLS}
    scores = pd.concat([t for t in (records.scores, old.scores) if len(t)]).drop_duplicates(SCORES[:7])
    curves = pd.concat([t for t in (records.curves, old.curves) if len(t)]).drop_duplicates(CURVES[:3])
    images = {k: v for k, v in (old.images | records.images).items() if k[0] in kept or k[0].startswith(FILLS)}
    scores = scores[scores["run"].isin(kept)].sort_values(SCORES[:7], kind="stable")
    curves = curves[curves["run"].isin(kept)].sort_values(CURVES[:3])
    for name, table in (("runs", merged.sort_values(keys)), ("scores", scores), ("curves", curves)):
        with runtime.atomic_write(folder / f"{name}.csv") as part:
            table.to_csv(part, index=False, lineterminator="\n")
    runtime.write_arrays(folder / "images.npz", {"|".join(key): images[key] for key in sorted(images)})
    return folder
