"""The works, one file each, and the register of them: every module here that ends in ``PAPER = ...`` is a work."""

import importlib
import pkgutil
from functools import cache

from inpaintkit.contracts import Paper


@cache
def _papers() -> dict[str, Paper]:
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    papers = sorted((m.PAPER for m in modules if hasattr(m, "PAPER")), key=lambda paper: paper.notebook)
    return {paper.id: paper for paper in papers}


def __getattr__(name: str):
    if name == "PAPERS":  # read when it is first asked for: the papers themselves import from this package
        return _papers()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get(id: str) -> Paper:
    """The work with this id or notebook ("vae", "02_vae"). Raises ValueError for an unknown one."""
    for paper in _papers().values():
        if id in (paper.id, paper.notebook):
            return paper
    raise ValueError(f"paper must be one of {', '.join(_papers())}, and {id!r} is not.")
