"""Parameters: layers, the sentences about what cannot be, and the guard of a notebook's parameters cell."""

from typing import ClassVar, Literal

import pytest
from pydantic import Field

from inpaintkit import papers, parameters


class Toy(parameters.Training):
    lr: float = Field(1e-3, ge=1e-7, le=1.0)
    n_train: int | None = Field(100, ge=10)
    side: Literal[16, 32] = Field(16)
    hole: Literal["centre", "random"] = Field("centre")
    mirror: bool = Field(False)
    profiles: ClassVar[dict] = {
        "smoke": {"n_train": 20, "n_test": 10, "epochs": 1},
        "paper": {"dataset": "flowers102", "n_train": None, "epochs": 50, "side": 32},
    }
    readings: ClassVar[dict] = {"as_run": {"side": 32, "epochs": 7, "mirror": True}}


def sources(cfg):
    return {name: (value, source) for name, value, source, _ in cfg.rows()}


# --- layers -----------------------------------------------------------------------------------------------------------


def test_what_is_given_beats_the_reading_beats_the_profile_beats_the_default():
    cfg = Toy.resolve({"profile": "smoke", "reading": "as_run", "mirror": False})
    assert (cfg.lr, cfg.n_train, cfg.epochs, cfg.side, cfg.mirror) == (1e-3, 20, 7, 32, False)
    told = sources(cfg)
    assert [told[name][1] for name in ("lr", "n_train", "mirror")] == ["default", "profile smoke", "given"]
    assert told["epochs"] == ("7", "reading as_run")
    assert Toy.resolve({"epochs": None, "profile": None, "n_train": None, "side": 32}) == Toy.resolve({"side": 32})


def test_a_configuration_is_frozen_and_changed_ones_are_checked():
    cfg = Toy.resolve({})
    with pytest.raises(ValueError, match="frozen"):
        cfg.lr = 0.5
    assert (cfg.changed(lr=0.5).lr, cfg.lr) == (0.5, 1e-3)
    for wrong in ({"lr": 7.0}, {"lrr": 0.5}):
        with pytest.raises(ValueError, match="lr"):
            cfg.changed(**wrong)


def test_what_determines_a_result():
    cfg = Toy.resolve({})
    free = cfg.changed(out_dir="a", experiments="all", data_dir="b")
    assert free.identifying() == cfg.identifying()
    assert "profile" not in cfg.identifying()
    assert cfg.changed(seed=1).identifying() != cfg.identifying()
    assert {"epochs", "dataset", "lr", "precision"} <= cfg.identifying().keys()


@pytest.mark.parametrize("dataset", ["folder", "caltech101:objects"])
def test_counts_that_were_not_given_follow_another_data_set_and_the_table_says_so(tmp_path, dataset):
    """A student's 100 pictures must not fail at the 100 of the profile, which nobody gave."""
    cfg = Toy.resolve({"profile": "smoke", "dataset": dataset, "data_dir": str(tmp_path)})
    assert (cfg.n_train, cfg.n_test) == (None, None)
    assert "all there are" in sources(cfg)["n_train"][1]
    assert "all there are" in repr(cfg)
    given = Toy.resolve({"profile": "smoke", "dataset": dataset, "n_train": 12})
    assert (given.n_train, given.n_test) == (12, None)
    for usual in ({"dataset": "photographs:brick"}, {"profile": "smoke"}):
        assert Toy.resolve({"profile": "smoke"} | usual).n_train == 20
    assert Toy.resolve({"profile": "paper", "dataset": "flowers102:genus"}).n_train is None


def test_the_table_shows_what_the_papers_profile_has_instead():
    lines = {line.split()[0]: line for line in repr(Toy.resolve({"lr": 0.5})).splitlines()}
    assert lines["side"].split() == ["side", "16", "default", "32"]
    assert lines["epochs"].endswith("50")
    assert lines["lr"].split() == ["lr", "0.5", "given"], "given in both"
    assert not any(Toy.resolve({"profile": "paper"}).rows()[i][3] for i in range(5))
    for cfg in (paper.Parameters.resolve({}) for paper in papers.PAPERS.values()):
        assert "128" in repr(cfg) or "100" in repr(cfg), "the paper's size"
        assert "<details>" in cfg._repr_html_()


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epochz": 3}, ["'epochz'", "'epochs'"]),
        ({"qqq": 3}, ["'qqq'", "dataset", "mirror"]),
        ({"epochs": "abc"}, ["epochs", "whole number", "'abc'"]),
        ({"epochs": 2.5}, ["epochs", "whole number"]),
        ({"epochs": True}, ["epochs", "whole number"]),
        ({"epochs": 0}, ["epochs", "at least 1"]),
        ({"epochs": 10**6}, ["epochs", "at most 100000"]),
        ({"lr": "1e-3"}, ["lr", "'1e-3'", "YAML", "1.0e-03"]),
        ({"lr": float("nan")}, ["lr", "nan"]),
        ({"profile": "papre"}, ["profile", "'paper'", "'papre'"]),
        ({"side": 20}, ["side", "16", "32"]),
        ({"hole": 7}, ["hole", "'centre'"]),
        ({"mirror": 1}, ["mirror", "True or False"]),
        ({"dataset": ""}, ["dataset", "empty"]),
        ({"data_dir": "", "dataset": "folder"}, ["data_dir", "empty"]),
        ({"out_dir": ""}, ["out_dir", "empty"]),
        ({"data_dir": "pictures"}, ["data_dir", "dataset='folder'"]),
    ],
)
def test_bad_values_end_with_one_sentence_that_names_the_parameter(given, words):
    with pytest.raises(ValueError, match=words[0]) as caught:
        Toy.resolve(given)
    assert type(caught.value) is ValueError
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


# --- the guard of notebooks -------------------------------------------------------------------------------------------

DECLARED = f"""{parameters.MARK}: papermill puts its own cell below this one
profile: str = "smoke"
epochs: int | None = None
lr: float = 1e-3
side: int = None
"""


def notebook(injected=None, before=(), after=()):
    """The globals of a notebook in which the parameters cell, then papermill's cell, have run."""
    cells = ["", *before, DECLARED, *([f"{parameters.INJECTED}\n{injected}"] if injected else []), *after]
    namespace = {}
    exec("\n".join(cells), namespace)
    return namespace | {"In": cells}


def read(*arguments, **keywords):
    return parameters.read(notebook(*arguments, **keywords), Toy)


def test_the_cell_is_read_and_what_papermill_injects_below_it():
    assert read() == Toy.resolve({"profile": "smoke", "lr": 1e-3})
    cfg = read('profile = "paper"\nepochs = 9\nlr = 1\nside = 32\n')
    assert (cfg.profile, cfg.epochs, cfg.lr, cfg.side) == ("paper", 9, 1.0, 32)


def test_parameters_that_the_cell_does_not_show_may_be_injected_if_there_are_such():
    assert read("mirror = True\nseed = 4\n").mirror is True
    for injected, words in (("epochz = 3", "'epochs'"), ('lr = "1e-3"', "YAML"), ("side = 17", "side")):
        with pytest.raises(ValueError, match=words):
            read(injected)


def test_what_was_injected_before_the_cell_ran_again_and_variables_of_later_cells_are_no_parameters():
    assert read(before=[f"{parameters.INJECTED}\nepochz = 3\nmirror = True\n"]) == read()
    assert read(after=["mirror = True\nresult: int = 5\n"]) == read()


@pytest.mark.parametrize("history", [{}, {"In": [""]}])
def test_a_runner_without_history_gets_values_and_checks_too(history):
    """nbval runs cells without storing them: IPython's history then holds one empty text."""
    namespace = {name: value for name, value in notebook().items() if name != "In"} | history
    assert parameters.read(namespace, Toy) == read()
    with pytest.raises(ValueError, match="side"):
        parameters.read(namespace | {"side": 17}, Toy)


@pytest.mark.parametrize("namespace", [{}, {"In": ["", "x = 1"]}, {"In": ["", "x: int = 1"], "x": 1}])
def test_a_parameters_cell_that_was_not_run_is_named(namespace):
    with pytest.raises(ValueError, match=parameters.MARK):
        parameters.read(namespace, Toy)


# --- the command line -------------------------------------------------------------------------------------------------


def test_assignments_of_a_command_line():
    parsed = parameters.parse(["a=1", "b=x", "c=1e-3", "d=True", "e=[1, 2]", "f=a=b", "g="])
    assert parsed == {"a": 1, "b": "x", "c": 1e-3, "d": True, "e": [1, 2], "f": "a=b", "g": ""}
    for wrong in ("a", "=1"):
        with pytest.raises(ValueError, match="name=value"):
            parameters.parse([wrong])
