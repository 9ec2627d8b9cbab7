"""Shared by all tests: as many threads as a worker has cores, and caches and runs in temporary folders."""

import os
import tempfile

import pytest
import torch

torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)  # `make test` runs two workers
_scratch = tempfile.TemporaryDirectory(prefix="inpaintkit-tests-")
os.environ["INPAINTKIT_CACHE"] = os.path.join(_scratch.name, "cache")
os.environ["INPAINTKIT_RUNS"] = os.path.join(_scratch.name, "runs")


@pytest.fixture(scope="module")
def one_thread():
    """On networks as small as these a second thread costs more than it brings, most of all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images(generator):
    """Eight smooth random RGB pictures (8, 3, 64, 64) in [0, 1]."""
    coarse = torch.rand(8, 3, 8, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, 64, mode="bilinear").clamp(0, 1)
