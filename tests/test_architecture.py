"""The rule to hold in the head: three layers, and imports only downwards (see inpaintkit/__init__.py)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "inpaintkit"
LEAVES = {"runtime", "masking"}
PARTS = {"data", "metrics", "photos", "training", "viz", "models"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports_of_ours(source: str) -> set[str]:
    """Modules of inpaintkit that a source imports, as "metrics" or "models.classical"."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("inpaintkit")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            if (node.module or "").startswith("inpaintkit"):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("inpaintkit.") for name in found if name != "inpaintkit.__version__"}


def layer(module: str) -> str:
    first = module.split(".")[0]
    return "leaf" if first in LEAVES else "part" if first in PARTS else "top"


def forbidden(module: str, imported: str) -> bool:
    """Whether the arrow from ``module`` to ``imported`` breaks the rule."""
    if layer(imported) == "leaf":
        return layer(module) == "leaf"
    if layer(imported) == "part":
        shares_blocks = module.startswith("models.") and imported.startswith("models.blocks")
        both_of_data = module.split(".")[0] == imported.split(".")[0] == "data"  # one part in five files
        return layer(module) != "top" and not shares_blocks and not both_of_data
    return layer(module) != "top"


MODULES = {module_name(path): path.read_text() for path in PACKAGE.rglob("*.py")}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {""}))
def test_arrows_point_downwards(module):
    wrong = [imported for imported in imports_of_ours(MODULES[module]) if forbidden(module, imported)]
    assert not wrong, f"{module} ({layer(module)}) must not import {wrong}"


def test_the_rule_can_fail():
    assert forbidden("metrics", "data.open")
    assert forbidden("masking", "runtime.fingerprint")
    assert forbidden("training", "evaluate.score")
    assert forbidden("models.autoencoder", "models.classical")
    assert forbidden("models.autoencoder", "metrics")
    assert forbidden("data.pictures", "metrics")
    assert not forbidden("data.sources", "data.pictures")
    assert not forbidden("models.vae", "models.blocks")
    assert not forbidden("evaluate", "metrics")
    assert imports_of_ours("from inpaintkit.models import vae\nimport inpaintkit.data") == {"models.vae", "data"}


def test_files_stay_short_enough_to_read():
    long = {name: n for name, source in MODULES.items() if (n := len(source.splitlines())) > 330}
    assert not long, f"a file beyond 330 lines wants to be two: {long}"
