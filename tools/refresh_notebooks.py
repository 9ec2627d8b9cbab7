"""Runs the notebooks and stores their outputs, the way tests compare them: `make notebooks`, or with names to run some.

Outputs that differ from run to run without saying anything (progress bars, widget views, run times) are left out; the
pictures that README and notebooks show first are copied to results/.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
CLOSED = {"jupyter": {"source_hidden": True}, "cellView": "form"}  # in Jupyter and on Colab
TITLE = "# @title"  # begins a cell that is closed: settings, and code that only draws
WIDGET = "application/vnd.jupyter.widget-view+json"


def clean(notebook) -> None:
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"] = f"cell-{number:02}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = ({"tags": tags} if tags else {}) | (CLOSED if cell.source.startswith(TITLE) else {})
        if cell.cell_type == "code":
            kept = []
            for output in cell.outputs:
                live = output.get("data", {}).pop(WIDGET, None)  # a panel leaves its picture; a progress bar leaves
                if output.get("name") == "stderr" or (live and not any("image" in kind for kind in output.data)):
                    continue
                if kept and output.output_type == kept[-1].output_type == "stream":  # printed in several messages
                    kept[-1].text += output.text
                else:
                    kept.append(output)
            cell.outputs = kept
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def refresh(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as runs:
        os.environ |= {"INPAINTKIT_RUNS": runs, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
        client = NotebookClient(
            notebook,
            timeout=1200,  # on a busy machine a training of one minute takes many
            record_timing=False,
            store_widget_state=False,
            resources={"metadata": {"path": path.parent}},
        )
        client.execute()
        for kind, name in {"pictures": path.stem, "teaser": f"{path.stem[:2]}_teaser"}.items():
            for pictures in Path(runs).glob(f"{path.stem}/**/{kind}.png"):  # of its one run
                shutil.copy(pictures, ROOT / "results" / f"{name}.png")
    clean(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    print(f"{path.name}: {path.stat().st_size // 1000} KB")


if __name__ == "__main__":
    chosen = sys.argv[1:]
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        if not chosen or path.stem in chosen:
            refresh(path)
