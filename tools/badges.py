"""Writes a fork's owner and name into pyproject.toml and every link to the repository: make badges REPO=owner/name.

Badges and first cells of notebooks, README and CITATION.cff follow. The branch is called main everywhere.
"""

import re
import sys
from pathlib import Path

from inpaintkit import runtime
from inpaintkit.experiments import report


def rewrite(repository: str) -> list[Path]:
    """Returns the files that were changed. Raises ValueError for what is no owner/name."""
    if not re.fullmatch(r"[\w-]+/[\w.-]+", repository):
        raise ValueError(f"REPO must be owner/name, as in make badges REPO=me/my-fork, and {repository!r} is not.")
    root, old = report.root(), report.repository()
    link = re.compile(rf"(github(?:\.com)?/){re.escape(old)}(?![\w-])")
    clone = re.compile(rf"(git clone \S+ && cd ){re.escape(old.partition('/')[2])}\b")
    notebooks, changed = sorted((root / "notebooks").rglob("*.ipynb")), []
    # pyproject.toml comes last, since it says what stands in the others: whoever is interrupted can begin anew.
    for path in [root / "README.md", root / "CITATION.cff", *notebooks, root / "pyproject.toml"]:
        before = path.read_text(encoding="utf8")
        text = link.sub(rf"\g<1>{repository}", before)
        text = clone.sub(rf"\g<1>{repository.partition('/')[2]}", text)
        if text != before:
            changed.append(path)
            with runtime.atomic_write(path) as part:
                part.write_text(text, encoding="utf8")
    return changed


if __name__ == "__main__":
    try:
        files = rewrite("".join(sys.argv[1:]))
    except (ValueError, OSError) as error:
        sys.exit(f"inpaintkit: {error}")
    print(f"{report.repository()} stands in {len(files)} files that did not name it before")
