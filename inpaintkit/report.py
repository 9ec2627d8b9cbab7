"""Reported beside reproduced: what the papers print, what was measured here, and whether the two may be compared."""

import csv
import json

from inpaintkit import runtime


def reported(work: str) -> list[dict[str, str]]:
    """The numbers that a work reports, each with its setting, metric, data and source (results/reported.csv)."""
    table = (runtime.results_dir() / "reported.csv").read_text(encoding="utf8")
    return [row for row in csv.DictReader(table.splitlines()) if row["work"] == work]


def paper_runs(work: str) -> list[dict]:
    """The recorded runs at the paper's scale: every results/WORK-paper-*.json (see tools/record_run.py)."""
    files = sorted(runtime.results_dir().glob(f"{work}-paper-*.json"))
    return [json.loads(path.read_text(encoding="utf8")) for path in files]


def why_not(row: dict[str, str], run: dict) -> str:
    """Whether a run may be compared with a reported number: "yes", or "no" and what differs.

    The same pictures means: for "AFHQ wild 3341/1400" the set "afhq-wild" or a folder "wild", and 3341 of them for
    training.
    """
    parameters, name = run["parameters"], run["data"]["name"]
    *words, numbers = row["data"].split()
    differing = []
    if name not in ("-".join(words).lower(), f"folder {words[-1]}"):
        differing.append(f"other pictures ({name})")
    elif run["data"]["counts"]["train"] != int(numbers.split("/")[0]):
        differing.append(f"{run['data']['counts']['train']} training pictures instead of {numbers.split('/')[0]}")
    for name in ("size", "side", "epochs"):
        if row[name] and int(row[name]) != parameters[name]:
            differing.append(f"{name} {parameters[name]} instead of {row[name]}")
    return "yes" if not differing else "no: " + ", ".join(differing)


def comparison(work: str, ours: str) -> list[dict]:
    """One line per reported number and recorded run: reported, reproduced, do nothing, the best classic fill,
    comparable?

    ``ours`` names the filler of the work among the run's scores. A number without a run says "not run".
    """
    lines = []
    for row in reported(work):
        if not row["side"]:
            continue  # the pixel models are compared in the notebook itself
        runs = [run for run in paper_runs(work) if str(run["parameters"]["side"]) == row["side"]]
        for run in runs or [None]:
            line = {"setting": row["setting"], "reported": float(row["value"]), "on": row["data"]}
            if run is None:
                lines.append(line | {"reproduced": None, "comparable?": "not run"})
                continue
            scores = {s["filler"]: s["hole MSE"]["mean"] for s in run["scores"]["test"] if "hole MSE" in s}
            classics = {name: value for name, value in scores.items() if name not in (ours, "do nothing")}
            best = min(classics, key=classics.get)
            lines.append(
                line
                | {
                    "reading": run["parameters"]["reading"],
                    "reproduced": scores[ours],
                    "do nothing": scores["do nothing"],
                }
                | {"best classic": classics[best], "which": best, "comparable?": why_not(row, run)}
                | {"minutes": run["history"]["seconds"] / 60, "on machine": run["device"]}
            )
    return lines
