"""Colab, from its published list of packages (colab.txt): the kit moves none of them, and needs no other."""

import ast
import sys
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from test_architecture import MODULES, imports_of_ours

from inpaintkit import runtime

ROOT = Path(__file__).parent.parent
PYTHON = "3.13"


def requirements(path):
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf8").splitlines())
    return [Requirement(line) for line in lines if line]


COLAB = {one.name: next(iter(one.specifier)).version for one in requirements(ROOT / "tests/colab.txt")}
HEADLESS = "opencv-contrib-python-headless"  # the same modules, without windows
COLAB[HEADLESS] = COLAB["opencv-contrib-python"]
WANTED = {one.name: one for one in requirements(ROOT / "requirements.txt")}


@pytest.mark.parametrize("name", WANTED)
def test_what_colab_has_is_new_enough_and_stays(name):
    """A torch that is moved breaks the kernel that runs."""
    wanted = WANTED[name]
    assert {one.operator for one in wanted.specifier} == {">="}, "a lower bound, and no other"
    if wanted.marker is None or wanted.marker.evaluate({"python_version": PYTHON}):
        assert name in COLAB, "Colab has to install it"
        assert wanted.specifier.contains(COLAB[name])


def test_colabs_python_is_admitted():
    project = runtime.tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    assert SpecifierSet(project["requires-python"]).contains(f"{PYTHON}.0")


def test_first_cells_install_the_kit_alone_and_only_on_colab():
    """Without --no-deps pip would put another OpenCV over that of Colab, which has it under another name."""
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        first = next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
        lines = [line for line in first.splitlines() if "pip" in line]
        assert [line.startswith("    %pip install --quiet --no-deps git+") for line in lines] == [True], path.name
        assert 'if "google.colab" in sys.modules:' in first


def modules_of_others(source):
    """The top-level modules that a source imports, anywhere in it, besides Python's own and ours."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"inpaintkit"}


def sources():
    """{name: source} of all cells of all notebooks, and of the files of the package that they lead to."""
    found = {}
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        found[f"{path.parent.name}/{path.name}"] = "\n".join(cells).replace("%pip", "pass  # ")
    waiting = list(found.values())
    while waiting:
        for name in imports_of_ours(waiting.pop()):
            module = name if name in MODULES else name.rpartition(".")[0]
            if module not in found:
                found[module] = MODULES[module]
                waiting.append(MODULES[module])
    return found


def test_notebooks_import_nothing_that_colab_lacks():
    owners = metadata.packages_distributions()
    tried = sources()
    assert {"fills", "papers.vae", "apps.photos"} < tried.keys()
    for name, source in tried.items():
        for module in modules_of_others(source) - {"google", "tomli"}:  # Colab's own; for Python 3.10 only
            assert COLAB.keys() & map(canonicalize_name, owners.get(module, [])), f"{name} imports {module}"


def test_alt_texts_travel_as_metadata():
    """`Image(alt=...)` is newer than IPython 7.34: one such picture in the first cell ended every notebook on Colab."""
    for name, source in sources().items():
        for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
            if ast.unparse(call.func).endswith("Image"):
                assert "alt" not in {keyword.arg for keyword in call.keywords}, f"{name}: {ast.unparse(call)}"
