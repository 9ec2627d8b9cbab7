"""Parameters: one declaration each (type, range or choices, default, words), overlays, and the guard of notebooks.

A work's parameters are a class below `Training`. Its defaults are the profile "demo" in the reading "fixed"; `profiles`
(how much) and `readings` (whose: the text, the authors' code, the code repaired) list what differs from them. Layers:
default < profile < reading < given.
"""

import ast
import contextlib
import difflib
import html
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from inpaintkit import shipped

PROFILES = ("smoke", "demo", "paper")
READINGS = ("as_written", "as_run", "fixed")
CHOICES = ("profile", "reading", "dataset", "weights")  # what other parameters follow from
SHIPPED = ("portraits", "photographs")  # the data sets that come with this package or with others
PLAIN = {"mirror": False, "anneal": False}  # training as all four works do it: no mirror images, no such schedule
MARK = "# @title Defaults"  # begins the first line of every notebook's parameters cell
INJECTED = "# Parameters"  # first line of the cell that papermill puts below it


def current_name(dataset: str) -> str:
    """The name of a data set today: "embedded" became "photographs", which is said."""
    old, colon, variant = dataset.partition(":")
    if old != "embedded":
        return dataset
    print("dataset 'embedded' is now called 'photographs'.")
    return f"photographs{colon}{variant}"


class Common(BaseModel):
    """What every notebook takes. Printing an instance shows each value, where it comes from, and the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    profiles: ClassVar[dict[str, dict]] = {}
    readings: ClassVar[dict[str, dict]] = {}
    # These may change without making a run another one; whatever they set counts by itself.
    FREE: ClassVar[tuple[str, ...]] = ("profile", "reading", "out_dir", "data_dir", "experiments")
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    profile: Literal["smoke", "demo", "paper"] = Field("demo", description="how much data and training")
    dataset: str = Field(
        "photographs", min_length=1, description="photographs, portraits, folder, or a name that `fetch` lists"
    )
    data_dir: str | None = Field(None, min_length=1, description="the folder of pictures, looked into first")
    seed: int = Field(0, ge=0, lt=2**31, description="of everything random but the test holes")
    out_dir: str | None = Field(None, min_length=1, description="the folder of checkpoint and results")

    @classmethod
    def resolve(cls, given: dict[str, Any]) -> "Common":
        """The parameters as used: default < profile < reading < ``given``. None means "not given".

        With weights="ours" whatever was not given becomes what these weights were trained with.
        With a data set that is neither the profile's nor comes with the packages, numbers of pictures that were not
        given become "all there are".
        Raises ValueError with one sentence: an unknown name (with the nearest known one), a wrong type, a value out of
        range, a folder without a data set, a value that the shipped weights were not trained with.
        """
        given = {name: value for name, value in given.items() if value is not None}
        _known(cls, given)
        if isinstance(given.get("dataset"), str):
            given["dataset"] = current_name(given["dataset"])
        first = _validated(cls, {n: given[n] for n in CHOICES if n in given})
        profile, reading = first.profile, getattr(first, "reading", None)
        layers = [(f"profile {profile}", cls.profiles.get(profile, {}))]
        layers += [(f"reading {reading}", cls.readings.get(reading, {}))] if reading else []
        usual = cls.profiles.get(profile, {}).get("dataset", cls.model_fields["dataset"].default)
        kind = given.get("dataset", usual).partition(":")[0]
        if kind not in (*SHIPPED, usual.partition(":")[0]):
            counts = {name: None for name in ("n_train", "n_test") if name in cls.model_fields and name not in given}
            layers.append(("all there are: another data set", counts))
        if getattr(first, "weights", "none") == "ours":
            layers.append(("the weights", _trained_with(cls, given)))
        values, sources = {}, {}
        for source, layer in (*layers, ("given", given)):
            values |= layer
            sources |= dict.fromkeys(layer, source)
        cfg = _validated(cls, values)
        if cfg.data_dir and cfg.dataset.partition(":")[0] in SHIPPED:
            raise ValueError(
                f"data_dir is {cfg.data_dir!r} but dataset is {cfg.dataset!r}: add dataset='folder' for pictures of "
                "your own, or the name of a data set."
            )
        cfg._sources = sources
        return cfg

    def changed(self, **values) -> "Common":
        """The same parameters with some changed. Raises ValueError as `resolve` does."""
        _known(type(self), values)
        values |= {"dataset": current_name(values["dataset"])} if "dataset" in values else {}
        cfg = _validated(type(self), self.model_dump() | values)
        cfg._sources = self._sources | dict.fromkeys(values, "changed")
        return cfg

    def identifying(self) -> dict[str, Any]:
        """The parameters that determine a run's result."""
        return {name: value for name, value in self.model_dump().items() if name not in self.FREE}

    def changes(self) -> dict[str, Any]:
        """Those of them that differ from the class's defaults, the seed left out: the same for all seeds."""
        usual = {name: field.default for name, field in type(self).model_fields.items() if name != "seed"}
        return {name: value for name, value in self.identifying().items() if name in usual and value != usual[name]}

    def given(self) -> dict[str, Any]:
        """The parameters that were given or changed, with their values: what makes the same ones again."""
        return {n: getattr(self, n) for n, source in self._sources.items() if source in ("given", "changed")}

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(name, value, where it comes from, what the paper's profile has instead) of every parameter."""
        others = {}
        if self.profile != "paper" and "paper" in self.profiles:
            others = type(self).resolve(self.given() | {"profile": "paper"}).model_dump()
        return [
            (
                name,
                repr(value),
                self._sources.get(name, "default"),
                repr(others[name]) if name in others and others[name] != value and name != "profile" else "",
            )
            for name, value in self.model_dump().items()
        ]

    def __repr__(self) -> str:
        rows = [("parameter", "value", "from", "paper's profile"), *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join("  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """What was chosen, in a line; what differs from the paper's profile, and all of it, as tables on a click."""

        def table(words, rows):
            lines = [("parameter", "value", "from", "paper's profile"), *rows]
            cells = ["".join(f'<td style="text-align:left">{html.escape(c)}</td>' for c in line) for line in lines]
            page = f"<table>{''.join(f'<tr>{line}</tr>' for line in cells)}</table>"
            return f"<details><summary>{words}</summary>{page}</details>"

        rows, always = self.rows(), ("profile", "reading", "dataset", "seed")
        line = ", ".join(f"{html.escape(row[0])}: <b>{html.escape(row[1])}</b>" for row in rows if row[0] in always)
        told = [row for row in rows if (row[2] == "given" or row[3]) and row[0] not in always]
        told = table(f"{len(told)} were given or differ from the paper's profile", told) if told else ""
        return f"{line}{told}{table(f'all {len(rows)} parameters', rows)}"


class Training(Common):
    """What every notebook takes that trains a network."""

    FREE: ClassVar[tuple[str, ...]] = (*Common.FREE, "weights")

    dataset: str = Field(
        "portraits", min_length=1, description="portraits, photographs, folder, or a name that `fetch` lists"
    )
    reading: Literal["as_written", "as_run", "fixed"] = Field("fixed", description="the text, the code, or it repaired")
    epochs: int = Field(1, ge=1, le=100_000, description="passes over the training pictures")
    batch_size: int = Field(8, ge=1, le=4096, description="pictures per step")
    lr: float = Field(1e-3, ge=1e-7, le=1.0, description="Adam's learning rate")
    n_train: int | None = Field(None, ge=1, le=10**6, description="training pictures; None: all there are")
    n_test: int | None = Field(None, ge=1, le=10**6, description="test pictures; None: all there are")
    size: int = Field(64, ge=8, le=1024, description="side of the pictures, in pixels")
    resize: Literal["bicubic", "bilinear", "nearest"] = Field("bicubic", description="filter (crops are not resized)")
    mirror: bool = Field(False, description="mirror about half of each batch of training pictures")
    anneal: bool = Field(False, description="the learning rate rises for 5 % of the steps, then falls to 0")
    weights: Literal["none", "ours"] = Field("none", description="ours: load the kit's weights instead of training")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="auto: half precision on a GPU")
    experiments: str = Field("none", description="questions to train now: none, all, or names with commas")

    def identifying(self) -> dict[str, Any]:
        """As that of `Common`; a run with loaded weights is another one than that of their training."""
        return super().identifying() | ({} if self.weights == "none" else {"weights": self.weights})


def nearest(name: str, known: Iterable[str]) -> str:
    """For an unknown name: a question with the nearest known one, or all that there are."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."


def _trained_with(cls: type[Common], given: dict) -> dict:
    """The parameters of the work's shipped weights. Raises ValueError if others were given."""
    trained = shipped.parameters(cls.__module__.rpartition(".")[2])
    for name, value in given.items():
        if name in trained and trained[name] != value:
            raise ValueError(
                f"weights='ours' were trained with {name}={trained[name]!r}, and {value!r} was given: give the same, "
                "or leave weights out."
            )
    return trained


def _known(cls: type[Common], given: dict) -> None:
    for name in given:
        if name not in cls.model_fields:
            raise ValueError(f"unknown parameter {name!r}: {nearest(name, cls.model_fields)}")


def _validated(cls: type[Common], values: dict) -> Common:
    try:
        return cls(**values)
    except ValidationError as error:
        raise ValueError(_sentence(error.errors()[0])) from None


def _sentence(error: ErrorDetails) -> str:
    """One of pydantic's errors in words."""
    name, value, kind, limits = error["loc"][0], error["input"], error["type"], error.get("ctx", {})
    wanted = {"int": "a whole number", "float": "a number", "string": "a text", "bool": "True or False"}
    if kind.split("_")[0] in wanted and kind.endswith("_type"):
        hint = ""
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                hint = f"; in YAML, numbers like 1e-3 need a point: {float(value):.1e}"
        return f"{name} must be {wanted[kind.split('_')[0]]}, and {value!r} is not{hint}."
    if kind == "literal_error":
        return f"{name} must be {limits['expected']}, and {value!r} is not."
    if kind == "string_too_short":
        return f"{name} is empty: name one, or leave it out."
    limit = next((f"{words} {limits[k]:g}" for k, words in _LIMITS.items() if k in limits), error["msg"])
    return f"{name} must be {limit}, and {value!r} is not."


_LIMITS = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}


def read(namespace: dict, cls: type[Common]) -> Common:
    """A notebook's parameters as used. ``namespace`` is its globals(), ``cls`` a work's parameters.

    The parameters cell (it begins with `MARK`) gives names, types and defaults, as ``name: type = literal``. Papermill
    puts its own cell below it, and by itself only logs a warning for an unknown name and checks no type.
    Every parameter of the work may be injected, in the cell or not. Raises ValueError as `Common.resolve` does.
    """
    cells = namespace.get("In", [])  # none under a runner that keeps no history, as nbval; that one injects nothing
    declared_at = max((i for i, cell in enumerate(cells) if cell.startswith(MARK)), default=0)
    names = [name for name in namespace.get("__annotations__", {}) if name in namespace and name in cls.model_fields]
    if not names or (any(cells) and not cells[declared_at].startswith(MARK)):
        raise ValueError(f'the parameters cell was not run: run the cell that starts with "{MARK}" first.')
    for cell in cells[declared_at + 1 :]:  # one that was injected before the last run of the parameters cell is void
        if cell.startswith(INJECTED):
            targets = [t for node in ast.parse(cell).body if isinstance(node, ast.Assign) for t in node.targets]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return cls.resolve({name: namespace[name] for name in names})


def parse(assignments: list[str]) -> dict[str, Any]:
    """``name=value`` of a command line as parameters; a value that is no Python literal is a text.

    Raises ValueError for one without "=".
    """
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise ValueError(f"{assignment!r} is no parameter: write name=value.")
        values[name] = text
        with contextlib.suppress(ValueError, SyntaxError):
            values[name] = ast.literal_eval(text)
    return values
