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


def smooth(n: int, channels: int, size: int) -> torch.Tensor:
    """Smooth random pictures (n, channels, size, size) in [0, 1]."""
    coarse = torch.rand(n, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear").clamp(0, 1)


@pytest.fixture
def images():
    """Eight smooth random RGB pictures (8, 3, 64, 64) in [0, 1]."""
    return smooth(8, 3, 64)


@pytest.fixture
def count():
    """The number of parameters of some modules."""
    return lambda *modules: sum(p.numel() for module in modules for p in module.parameters())


@pytest.fixture
def shapes():
    """The shapes (without the batch) that some layers return while ``call`` runs."""

    def watch(layers, call):
        seen, hooks = [], []
        for layer in layers:
            hooks.append(layer.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape[1:]))))
        call()
        for hook in hooks:
            hook.remove()
        return seen

    return watch
