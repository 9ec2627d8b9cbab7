"""Records of many runs: kept and read again, refused where they cannot be compared, asked with intervals."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
import toy

from inpaintkit import fills, metrics, papers, runtime
from inpaintkit.contracts import Question
from inpaintkit.experiments import answers, figures, questions, records, run

PLACE = {"part": "test", "holes": "random", "pictures": "p0", "mask": "m0"}
CLEAN = {"revision": "0123456789", "threads": 1, "device": "a processor, 1 thread"}


def made_up(folder, scores, cfg=None, pictures="p0", **changes):
    """A finished run of the toy in ``folder``, with these scores of each picture: {filler: values}."""
    cfg = cfg or toy.Parameters.resolve({})
    name = folder / f"{run.identity(toy.PAPER, cfg)}-{pictures}"
    place = PLACE | {"pictures": pictures}
    rows = [
        place | {"filler": filler, "score": "hole_mse"} | metrics.summarise(torch.tensor(values, dtype=torch.float64))
        for filler, values in scores.items()
    ]
    rows.append(place | {"filler": "frequency", "note": "is not installed"})
    changed = {k: v for k, v in cfg.identifying().items() if v != type(cfg).model_fields[k].default and k != "seed"}
    data = {"name": "photographs", "counts": {"train": 32, "test": 4}, "fingerprint": {"train": "t0"}}
    record = {
        "schema": run.SCHEMA, "paper": "toy", "run": run.identity(toy.PAPER, cfg), "profile": cfg.profile,
        "reading": cfg.reading, "changes": changed, "seed": cfg.seed, "parameters": cfg.identifying(),
        "holes": "random", "steps": 4, "seconds": 0.1, "precision": "fp32", "code": run.code(toy.PAPER, cfg),
        "weights": "w0", "data": data, "date": "2026-01-01", "versions": {"torch": "2"}, "scores": rows,
        "history": {"epochs": [1], "scores": {"hole_mse": [0.5]}},
    }  # fmt: skip
    runtime.write_json(name / "results.json", record | CLEAN | changes)
    np.savez(name / "images.npz", **{f"test|random|{f}": np.asarray(v, dtype="f4") for f, v in scores.items()})
    return name


def study(folder, base, wide, **fills):
    """Two variants, ``base`` and ``wide``, each {seed: values of pictures}; recorded and read again."""
    folders = [
        made_up(folder / "runs", {"toy": values} | fills, toy.Parameters.resolve(changes | {"seed": seed}))
        for changes, runs in (({}, base), ({"width": 16}, wide))
        for seed, values in runs.items()
    ]
    records.record(records.collect(toy.PAPER, folders), folder / "toy")
    return records.load(toy.PAPER, folder / "toy")


WIDTH = Question("width", "", {"8": {}, "16": {"width": 16}}, seeds=(0, 1))


# --- kept and read again ----------------------------------------------------------------------------------------------


def test_what_was_recorded_is_read_again(tmp_path):
    folders = [
        made_up(tmp_path / "runs", {"toy": values, "mean": [0.2, 0.2]}, toy.Parameters.resolve({"seed": seed}))
        for seed, values in enumerate(([0.1, 0.3], [0.2, 0.2]))
    ]
    collected = records.collect(toy.PAPER, [*folders, tmp_path / "not finished"])
    records.record(collected, tmp_path / "toy")
    loaded = records.load(toy.PAPER, tmp_path / "toy")
    seeds = loaded.seeds(toy.Parameters.resolve({}))
    first = seeds[0]
    assert loaded.score(first, "test", "random", "toy", what="median") == pytest.approx(0.2)
    assert loaded.per_image(first, "test", "random", "toy").tolist() == pytest.approx([0.1, 0.3])
    for one in (first, seeds[1]):
        assert loaded.score(one, "test", "random", "mean") == pytest.approx(0.2)
        assert loaded.per_image(one, "test", "random", "mean").tolist() == pytest.approx([0.2, 0.2])
    assert (loaded.scores["filler"] == "mean").sum() == 1, "a fill is kept once for the same pictures and holes"
    assert math.isnan(loaded.score(first, "test", "random", "frequency")), "it declined"
    assert loaded.curves["value"].tolist() == [0.5, 0.5]
    assert "threads: 1" in answers.origin(loaded)
    before = {path.name: path.read_bytes() for path in (tmp_path / "toy").iterdir()}
    records.record(loaded, tmp_path / "toy")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "toy").iterdir()}


def test_a_run_that_is_recorded_again_takes_the_place_of_the_earlier_one(tmp_path):
    for code, value in (("old", 0.4), ("new", 0.3)):
        folder = made_up(tmp_path / code, {"toy": [value, value]}, run=code, code=code)
        records.record(records.collect(toy.PAPER, [folder]), tmp_path / "toy")
    loaded = records.load(toy.PAPER, tmp_path / "toy")
    assert loaded.runs["code"].tolist() == ["new"]
    assert loaded.scores["mean"].tolist() == [0.3]
    assert {key[0] for key in loaded.images} == {"new"}
    assert loaded.stale("new", toy.Parameters.resolve({}))


def test_a_fill_on_other_pictures_is_another_row(tmp_path):
    cfgs = [toy.Parameters.resolve({"seed": seed}) for seed in (0, 1)]
    values = {"p0": [0.1, 0.1], "p1": [0.5, 0.5]}
    folders = [made_up(tmp_path, {"toy": v, "mean": v}, c, p) for c, (p, v) in zip(cfgs, values.items(), strict=True)]
    collected = records.collect(toy.PAPER, folders)
    for cfg, expected in zip(cfgs, (0.1, 0.5), strict=True):
        one = run.identity(toy.PAPER, cfg), "test", "random", "mean"
        assert collected.score(*one) == collected.per_image(*one)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"revision": "0123456789+"}, "uncommitted changes"),
        ({"revision": None}, "no checkout"),
        ({"threads": 2}, r"different threads \(1, 2\)"),
        ({"device": "a GPU"}, "different device"),
    ],
)
def test_runs_that_cannot_stand_beside_others_are_refused_and_nothing_is_lost(tmp_path, changes, message):
    study(tmp_path, {0: [0.1, 0.2]}, {})
    before = (tmp_path / "toy" / "runs.csv").read_bytes()
    odd = made_up(tmp_path, {"toy": [0.1, 0.2]}, toy.Parameters.resolve({"seed": 1}), **changes)
    with pytest.raises(ValueError, match=message):
        records.record(records.collect(toy.PAPER, [odd]), tmp_path / "toy")
    assert (tmp_path / "toy" / "runs.csv").read_bytes() == before
    with pytest.raises(ValueError, match="no finished run"):
        records.record(records.Records(toy.PAPER), tmp_path / "toy")


def test_damaged_records_are_one_sentence(tmp_path):
    study(tmp_path, {0: [0.1, 0.2]}, {})
    runs, images = (tmp_path / "toy" / name for name in ("runs.csv", "images.npz"))
    whole = runs.read_bytes()
    other_schema = pd.read_csv(runs).assign(schema=run.SCHEMA + 1).to_csv(index=False).encode()
    tables = (b"", b"\xff\xfe", whole.replace(b"threads", b"cores"), other_schema)
    for path, damaged in (*((runs, table) for table in tables), (images, images.read_bytes()[:-30])):
        runs.write_bytes(whole)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="toy cannot be read"):
            records.load(toy.PAPER, tmp_path / "toy")
    for content in ('{"schema": 1, "pa', json.dumps({"schema": run.SCHEMA - 1, "paper": "toy"})):
        folder = made_up(tmp_path, {"toy": [0.1, 0.2]})
        (folder / "results.json").write_text(content)
        with pytest.raises(ValueError, match="delete it"):
            records.collect(toy.PAPER, [folder])


# --- intervals and answers --------------------------------------------------------------------------------------------


def test_an_interval_is_that_of_the_textbook():
    values = np.random.default_rng(0).normal(5, 2, 400)
    error = 1.96 * values.std(ddof=1) / 20
    found = records.interval(values)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.1 * error)
    assert records.interval([*values, math.nan]) == found
    assert math.isnan(records.interval([1.0]).low)
    assert records.interval([1.0, 1.0]).low == 1


def test_a_paired_interval_is_as_narrow_as_the_differences_and_needs_the_same_pictures():
    hard = np.random.default_rng(0).normal(5, 2, 100)  # pictures differ much more than methods do
    found = records.paired([hard + 0.1, hard + 0.3], [hard])
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.2, 0.2))
    assert records.paired([hard], [hard[:50]]) is None
    assert records.paired([], [hard]) is None


def test_the_difference_of_other_pictures_has_the_sign_of_their_means():
    low, high = np.array([1.0, 2.0, 3.0]), np.array([5.0, 6.0, 7.0, 6.0])
    found = records.unpaired(low, high)
    assert (found.mean, found.n) == (-4, 7)
    assert found.low < -4 < found.high < 0


@pytest.mark.parametrize(
    ("base", "wide", "expected"),
    [
        ({0: [0.3, 0.4, 0.5], 1: [0.4, 0.5, 0.6]}, {0: [0.1, 0.2, 0.3], 1: [0.2, 0.3, 0.4]}, "lower"),
        ({0: [0.1, 0.2], 1: [0.1, 0.2]}, {0: [0.3, 0.4], 1: [0.4, 0.5]}, "higher"),
        ({0: [0.1, 0.2, 0.3, 0.4]}, {0: [0.3, 0.4, 0.5, 0.6]}, "one seed only"),  # however clear over the pictures
        ({0: [0.1, 0.9, 0.2, 0.8], 1: [0.1, 0.9, 0.2, 0.8]}, {0: [0.9, 0.1, 0.7, 0.2], 1: [0.9, 0.1, 0.7, 0.2]},
         "not told apart"),  # the interval holds 0
        ({0: [0.5, 0.5, 0.5, 0.5], 1: [0.5, 0.5, 0.5, 0.6]}, {0: [0.1, 0.2, 0.1, 0.2], 1: [0.6, 0.6, 0.6, 0.7]},
         "not told apart"),  # the interval does not, but the seeds disagree
        ({0: [0.5, 0.6]}, {}, "not run"),
        ({0: [0.5, 0.6]}, {1: [0.5, 0.6]}, "not comparable"),  # no seed in common
    ],
)  # fmt: skip
def test_a_direction_is_said_only_if_pictures_and_seeds_agree(tmp_path, base, wide, expected):
    recorded = study(tmp_path, base, wide, nothing=[0.9] * len(base[0]), mean=[0.4] * len(base[0]))
    first, second = answers.variants(recorded, WIDTH)
    assert answers.direction(recorded, second, first) == expected
    table = answers.table(recorded, WIDTH)
    assert table["seeds"].tolist() == [len(base), len(wide) or "not run"]
    if expected in ("lower", "higher"):
        assert table["difference on test"].tolist()[1].endswith(expected)
        assert str(answers.worth(recorded, {"width": 16})).endswith(expected)
    assert table["test: best fill"].tolist()[0].startswith("0.4000")


def test_only_runs_on_the_same_pictures_and_with_the_same_seeds_are_compared(tmp_path):
    cfgs = {"base": toy.Parameters.resolve({}), "wide": toy.Parameters.resolve({"width": 16})}
    runs = [made_up(tmp_path / p, {"toy": [0.1, 0.2]}, cfgs[n], p) for n, p in (("base", "p0"), ("wide", "p1"))]
    base, wide = answers.variants(records.collect(toy.PAPER, runs), WIDTH)
    elsewhere = records.collect(toy.PAPER, runs)
    assert answers.compare(elsewhere, wide, base) is None
    assert answers.direction(elsewhere, wide, base) == "not comparable"
    assert answers.worth(elsewhere, {"width": 16}).verdict == "not comparable, other pictures"
    base, wide = {0: [0.5, 0.5], 1: [0.6, 0.6], 2: [0.9, 0.9]}, {0: [0.3, 0.3], 1: [0.4, 0.4]}
    said = str(answers.worth(study(tmp_path / "seeds", base, wide), {"width": 16}))
    assert said.startswith("0.5500 ± 0.0707 → 0.3500 ± 0.0707; -0.2000"), "the third seed has no partner"


CLAIMS = [
    {"text": "below nothing", "below": "nothing", "verdict": "holds"},
    {"text": "below the mean", "below": "mean", "verdict": "does not hold"},
    {"text": "above the mean", "above": "mean", "verdict": "does not hold"},
    {"text": "above what was not scored", "above": "ring", "verdict": "holds"},
    {"text": "below what was not scored", "below": "ring", "verdict": "holds"},
    {"text": "wide is lower", "changed": {"width": 16}, "is": "lower", "verdict": "holds"},
    {"text": "wide is higher", "changed": {"width": 16}, "is": "higher", "verdict": "holds"},
    {"text": "wide is different", "changed": {"width": 16}, "is": "different", "verdict": "holds"},
    {"text": "faster is lower", "changed": {"lr": 0.5}, "is": "lower", "verdict": "holds"},
    {"text": "wide is below the mean", "changed": {"width": 16}, "below": "mean", "verdict": "holds"},
]


def test_claims_hold_or_not_or_are_not_tested(tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "table", lambda paper: {"claims": CLAIMS})
    base, wide = {0: [0.5, 0.6, 0.7], 1: [0.4, 0.5, 0.6]}, {0: [0.2, 0.3, 0.4], 1: [0.1, 0.2, 0.3]}
    fills = {"nothing": [0.9, 0.9, 1.0], "mean": [0.55, 0.55, 0.55]}
    verdicts = [claim.verdict for claim in answers.claims(study(tmp_path, base, wide, **fills))]
    no, untested = "does not hold", "not tested"
    assert verdicts == ["holds", no, no, untested, untested, "holds", no, "holds", untested, "holds"]
    assert {claim.verdict for claim in answers.claims(records.Records(toy.PAPER))} == {untested}
    one_seed = study(tmp_path / "one", {0: base[0]}, {0: wide[0]}, **fills)
    assert {claim.verdict for claim in answers.claims(one_seed)} == {untested}, "one seed is no test of a claim"
    for wrong in ({"text": "no verdict", "below": "mean"}, {"text": "nothing said", "verdict": "holds"}):
        monkeypatch.setattr(questions, "table", lambda paper, wrong=wrong: {"claims": [wrong]})
        with pytest.raises(ValueError, match="a claim of toy needs"):
            answers.claims(records.Records(toy.PAPER))


LINES = {
    "questions": {
        "lines": {
            "text": "", "variants": {"low": {}, "high": {"width": 16}}, "over": {"epochs": [1, 2]}, "seeds": [0, 1],
        }
    },
    "claims": [
        {"rises": "low", "verdict": "holds"},
        {"rises": "high", "verdict": "does not hold"},
        {"highest": "high", "verdict": "holds"},
        {"highest": "low", "verdict": "does not hold"},
        {"highest": "high", "filler": "mean", "verdict": "not shown"},
        {"of": "low, epochs 2", "than": "low, epochs 1", "is": "higher", "verdict": "holds"},
        {"of": "high, epochs 1", "above": "mean", "verdict": "holds"},
        {"of": "low, epochs 1", "first": 10, "verdict": "holds"},
        {"of": "high, epochs 1", "first": 10, "verdict": "not shown"},
        {"untested": "no weights", "verdict": "not tested"},
    ],
}  # fmt: skip


def test_questions_over_a_parameter_have_claims_and_figures_where_each_seed_has_its_own_pictures(tmp_path, monkeypatch):
    """As data sets have whose split is drawn. ``high`` has other pictures than ``low``, and falls with the epochs."""
    claims = [claim | {"question": "lines", "text": str(claim)} for claim in LINES["claims"]]
    monkeypatch.setattr(questions, "table", lambda paper: LINES | {"claims": claims})
    rising, mixed, folders = np.linspace(0, 0.1, 20), np.resize([0.0, 0.1], 20), []
    for seed in (0, 1):
        for width, epochs, values in ((8, 1, rising), (8, 2, rising + 0.1), (16, 1, mixed + 0.5), (16, 2, mixed + 0.3)):
            cfg = toy.Parameters.resolve({"seed": seed, "width": width, "epochs": epochs})
            scores = {"toy": values + 0.01 * seed, "mean": np.resize([0.1, 0.2], 20)}
            folders.append(made_up(tmp_path, scores, cfg, f"width {width}, seed {seed}"))
    recorded, empty = records.collect(toy.PAPER, folders), records.Records(toy.PAPER)
    assert [(c.text, c.verdict) for c in answers.claims(recorded)] == [(c["text"], c["verdict"]) for c in claims]
    assert {claim.verdict for claim in answers.claims(empty)} == {"not tested"}
    assert answers.claims(recorded, "lines") == answers.claims(recorded)
    assert answers.claims(recorded, "another") == []
    asked = questions.questions(toy.PAPER)["lines"]
    one = answers.variants(recorded, asked)[0]
    assert answers.compare(recorded, one, one, fillers=("", "mean")).n == 40, "both seeds' own pictures"
    assert answers.table(recorded, asked)["difference from best fill"].tolist()[0].startswith("-0.0950")
    over, means, spreads = answers.over_values(recorded, "lines", "mean")["low"]
    assert (over, means[0], spreads[0]) == ([1, 2], pytest.approx(0.055 / 0.15), pytest.approx(0.01 / 0.15 / 2**0.5))
    assert answers.over_values(recorded, "lines")["low"][1][0] == pytest.approx(0.055), "no fill: the score itself"
    assert answers.over_values(empty, "lines", "mean") == {}
    said = answers.beside_fill(recorded, "lines", "mean", {one.label: "the first"}).splitlines()
    assert said[0].startswith("the first: hole MSE 0.0550, mean of known pixels 0.1500; difference -0.0950 [")
    assert said[0].endswith("(lower)")
    assert {line.partition(": ")[2] for line in answers.beside_fill(empty, "lines", "mean").splitlines()} == {"not run"}
    named = {"low": {"width": 8, "epochs": 1}, "missing": {"width": 32}}
    low, missing, *fill = answers.beside(recorded, named, "random", "mean")
    assert (low["hole MSE"], low["verdict"]) == ("0.05500 (0.05000 to 0.06000)", "lower")
    assert missing == {"method": "missing", "verdict": "not run"}
    assert fill[-1] == {"method": fills.label("mean"), "hole MSE": "0.15000"}
    for draw, entry in ((figures.lines, {}), (figures.epochs, {"epochs": "high"})):
        path = tmp_path / "figure.svg"
        assert draw(recorded, {"question": "lines"} | entry, path)
        assert "hole MSE" in path.read_text()
        assert not draw(empty, {"question": "lines"} | entry, path), "nothing was run"


@pytest.mark.parametrize("paper", papers.PAPERS.values(), ids=lambda paper: paper.id)
def test_every_claim_of_the_prose_is_what_the_records_say(paper):
    found = answers.claims(records.load(paper))
    wrong = [dataclasses.astuple(claim) for claim in found if claim.verdict != claim.expected]
    assert not wrong, "the prose says something else than the recorded runs"


def test_a_claim_over_different_pictures_is_not_tested(tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "table", lambda paper: {"claims": CLAIMS[:1]})
    uneven = study(tmp_path, {0: [0.5, 0.6, 0.7], 1: [0.4, 0.5]}, {}, nothing=[0.9, 0.9, 1.0])
    assert [claim.verdict for claim in answers.claims(uneven)] == ["not tested"]
