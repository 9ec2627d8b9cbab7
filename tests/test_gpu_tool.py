"""tools/gpu.py, on the smallest sizes and whatever device there is."""

import importlib.util
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def gpu():
    spec = importlib.util.spec_from_file_location("gpu", Path(__file__).parent.parent / "tools" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_slice_that_is_over_says_so_and_the_next_one_ends_the_run(gpu, tmp_path):
    asked = ["--smallest", "--only", "gan-cats", "--out", str(tmp_path)]
    assert gpu.main([*asked, "--minutes", "0.002"]) == gpu.MORE
    assert not (tmp_path / "gan-cats.json").exists()
    assert gpu.main([*asked, "--minutes", "30"]) == 0
    record = json.loads((tmp_path / "gan-cats.json").read_text())
    assert record["steps"] > 0
    assert {"device", "versions", "seconds per step", "data"} <= record.keys()
    assert gpu.main(asked) == 0  # nothing is left to do


def test_every_run_is_one_that_its_work_takes(gpu):
    for paper, values in gpu.RUNS.values():
        cfg = gpu.papers.get(paper).Parameters.resolve({"profile": "paper"} | values)
        assert cfg.dataset != "portraits"
