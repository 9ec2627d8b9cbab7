"""One training step of the autoencoder: as it is set up here against the plain way, side by side in one run.

Each way runs in a process of its own, because glibc's memory setting cannot be taken back.
"""

import subprocess
import sys
import time
from statistics import median

import torch

from inpaintkit import runtime
from inpaintkit.models import autoencoder


def step_seconds(kept_memory: bool, fused_channels_last: bool, size: int) -> float:
    torch.set_num_threads(2)
    if kept_memory:
        runtime.keep_freed_memory()
    torch.manual_seed(0)
    net = autoencoder.Autoencoder(size)
    recipe = autoencoder.Recipe(net)
    if not fused_channels_last:
        net.to(memory_format=torch.contiguous_format)
        recipe.optimisers["adam"] = torch.optim.Adam(net.parameters(), lr=1e-3, eps=1e-7)
    image = torch.rand(10, 3, size, size)
    masked, mask = recipe.corrupt(image, None)
    times = []
    for _ in range(40 if size == 64 else 20):
        started = time.perf_counter()
        recipe.step((image, masked, mask), None)
        times.append(time.perf_counter() - started)
    return median(times[5:])


def main():
    if len(sys.argv) > 1:
        kept_memory, fused, size = (int(word) for word in sys.argv[1:])
        print(step_seconds(bool(kept_memory), bool(fused), size))
        return
    for size in (64, 128):
        weights = sum(p.numel() for p in autoencoder.Autoencoder(size).parameters())
        print(f"{size}x{size}, batch 10, {weights:,} parameters")
        plain = None
        for name, options in {
            "plain": "0 0",
            "freed memory kept": "1 0",
            "and fused Adam, channels last": "1 1",
        }.items():
            command = [sys.executable, __file__, *options.split(), str(size)]
            seconds = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            plain = plain or seconds
            print(f"  {name:30} {1e3 * seconds:6.1f} ms a step, x{plain / seconds:.2f}")


if __name__ == "__main__":
    main()
