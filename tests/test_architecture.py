"""The rules to hold in the head: imports point downwards only, no file or function becomes a heap."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "inpaintkit"
LAYERS = [  # from the bottom; a name stands for a file or a folder
    {"contracts", "runtime", "shipped", "parameters", "masking", "metrics", "patches", "results"},
    {"data", "training", "fills", "evaluate", "viz"},
    {"papers"},
    {"experiments"},
    {"apps", "__main__"},
]
SIDEWAYS = {
    ("contracts", "masking"),
    ("contracts", "runtime"),
    ("patches", "masking"),
    ("parameters", "shipped"),
    ("shipped", "runtime"),
    ("viz", "evaluate"),
}  # otherwise rooms of a layer are apart
LONGEST = 60  # lines of a function


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports_of_ours(source: str) -> set[str]:
    """What a source imports from the package, as "metrics.mse" or "papers.vae"."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {
        name.removeprefix("inpaintkit.")
        for name in found
        if name.startswith("inpaintkit.") and "__version__" not in name
    }


def layer(module: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if module.split(".")[0] in names)


def forbidden(module: str, imported: str) -> bool:
    """Whether the arrow from ``module`` to ``imported`` points upwards or, between rooms, sideways."""
    room, other = module.split(".")[0], imported.split(".")[0]
    if room == other:  # files of one folder; a cycle among them is found below
        return False
    if layer(module) == layer(imported):
        return (room, other) not in SIDEWAYS and module != "__main__"
    return layer(module) < layer(imported)


MODULES = {module_name(path): path.read_text(encoding="utf8") for path in PACKAGE.rglob("*.py")}
NAMED = sorted(set(MODULES) - {""})


@pytest.mark.parametrize("module", NAMED)
def test_imports_point_downwards(module):
    wrong = [imported for imported in imports_of_ours(MODULES[module]) if forbidden(module, imported)]
    assert not wrong, f"{module} must not import {wrong}"


def test_the_rule_can_fail():
    upwards = [("metrics", "data.open"), ("training", "papers.vae"), ("papers.vae", "experiments.run")]
    sideways = [("masking", "runtime.fingerprint"), ("training", "evaluate.score"), ("data.pictures", "fills")]
    assert all(forbidden(*arrow) for arrow in upwards + sideways)
    for arrow in (("patches", "masking"), ("papers.vae", "fills"), ("papers.vae", "contracts"), ("__main__", "apps")):
        assert not forbidden(*arrow)
    assert imports_of_ours("from inpaintkit.papers import vae\nimport inpaintkit.data, torch") == {"papers.vae", "data"}


def test_no_import_runs_in_a_circle():
    graph = {}
    for module in NAMED:
        found = {name if name in MODULES else name.rpartition(".")[0] for name in imports_of_ours(MODULES[module])}
        graph[module] = found - {"", module}
    TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_no_two_files_share_a_name():
    names = Counter(path.name for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    assert not [name for name, n in names.items() if n > 1]


def test_functions_are_short_enough_to_read():
    long = {}
    for module in NAMED:
        for node in ast.walk(ast.parse(MODULES[module])):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                long |= {f"{module}.{node.name}": lines} if lines > LONGEST else {}
    assert not long, f"longer than {LONGEST} lines: {long}"
