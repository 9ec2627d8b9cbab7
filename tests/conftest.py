"""Shared by all tests: one thread a process, caches and runs in temporary folders, pictures to work on.

torch is imported where it is used: the process that only hands out tests to workers starts without it.
"""

import os
import tempfile

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # on networks as small as these a second thread costs more than it brings
_scratch = tempfile.TemporaryDirectory(prefix="inpaintkit-tests-")
os.environ["INPAINTKIT_CACHE"] = os.path.join(_scratch.name, "cache")
os.environ["INPAINTKIT_RUNS"] = os.path.join(_scratch.name, "runs")


@pytest.fixture
def generator():
    import torch

    return torch.Generator().manual_seed(0)


def smooth(n: int, channels: int, size: int):
    """Smooth random pictures (n, channels, size, size) in [0, 1]."""
    import torch

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
        seen = []
        hook = lambda module, args, out: seen.append(tuple(out.shape[1:]))  # noqa: E731
        hooks = [layer.register_forward_hook(hook) for layer in layers]
        call()
        for hook in hooks:
            hook.remove()
        return seen

    return watch
