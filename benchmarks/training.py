"""One training step of each network: as it is set up here against the plain way, side by side in one run.

Each way runs in a process of its own, because glibc's memory setting cannot be taken back.
"""

import subprocess
import sys
import time
from statistics import median

import torch

from inpaintkit import runtime
from inpaintkit.models import autoencoder, context_encoder, ssrgan, vae

CASES = {  # name: (pictures in a batch, steps to time, pictures in an epoch of the paper)
    "autoencoder 64": (10, 40, None),
    "autoencoder 128": (10, 20, 3341),
    "VAE 52": (32, 20, None),
    "VAE 100": (32, 6, 25_000),
    "GAN 64": (8, 60, None),
    "GAN-without-D 64": (8, 60, None),
    "GAN 128": (8, 20, 14_900),
    "GAN-without-D 128": (8, 20, 14_900),
    "SSRGAN 64": (8, 60, None),
    "SSRGAN-as-written 64": (8, 40, None),
    "SSRGAN 128": (4, 4, 1020),
    "SSRGAN-as-written 128": (4, 4, 1020),
}


def build(case: str):
    """The recipe and a batch of random pictures: notebook 01's network; 02's (52: demo, 100: the article's); 03's (64:
    demo, 128: the author's), also without its discriminator; 04's (64: demo, 128: the paper's, in small batches).
    """
    name, size = case.split()
    n, size = CASES[case][0], int(size)
    if name == "autoencoder":
        return autoencoder.Recipe(autoencoder.Autoencoder(size)), torch.rand(n, 3, size, size)
    given = {"profile": "paper" if size >= 100 else "demo", "reading": "fixed", "seed": 0}
    if name.startswith("GAN"):
        given["weight_adv"] = 0.0 if name.endswith("D") else 0.001
        cfg = runtime.configure(given, context_encoder.PROFILES, context_encoder.READINGS)
        recipe = context_encoder.Recipe(*context_encoder.from_config(cfg), cfg, steps_per_epoch=100)
        return recipe, torch.rand(n, 3, size, size)
    if name.startswith("SSRGAN"):
        given["reading"] = "as_written" if name.endswith("written") else "fixed"
        cfg = runtime.configure(given | {"epochs": 100}, ssrgan.PROFILES, ssrgan.READINGS)
        return ssrgan.Recipe(*ssrgan.from_config(cfg), cfg), torch.rand(n, 3, cfg.crop, cfg.crop)
    cfg = runtime.configure(given, vae.PROFILES, vae.READINGS)
    return vae.Recipe(vae.from_config(cfg), cfg), torch.rand(n, 1, size, size)


def measure(case: str, kept_memory: bool, fused_channels_last: bool) -> tuple[float, int]:
    """Median seconds of a step, and the number of parameters."""
    torch.set_num_threads(2)
    if kept_memory:
        runtime.keep_freed_memory()
    torch.manual_seed(0)
    recipe, image = build(case)
    if not fused_channels_last:
        recipe.modules.to(memory_format=torch.contiguous_format)
        for name, adam in recipe.optimisers.items():
            options = {key: adam.defaults[key] for key in ("lr", "eps", "betas")}
            recipe.optimisers[name] = torch.optim.Adam(adam.param_groups[0]["params"], **options)
    generator = runtime.generator(0)
    times = []
    for _ in range(CASES[case][1]):
        masked, mask = recipe.corrupt(image, generator)
        started = time.perf_counter()
        recipe.step((image, masked, mask), generator)
        times.append(time.perf_counter() - started)
    return median(times[len(times) // 4 :]), sum(p.numel() for p in recipe.modules.parameters())


def main():
    if len(sys.argv) > 1:
        case, kept_memory, fused = sys.argv[1:]
        print(*measure(case, kept_memory == "1", fused == "1"))
        return
    for case, (n, _, epoch) in CASES.items():
        plain = None
        for name, options in {
            "plain": ("0", "0"),
            "freed memory kept": ("1", "0"),
            "and fused Adam, channels last": ("1", "1"),
        }.items():
            command = [sys.executable, __file__, case, *options]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            seconds = float(out[0])
            if plain is None:
                print(f"{case}x{case.split()[1]}, batch {n}, {int(out[1]):,} parameters")
                plain = seconds
            minutes = f", {seconds * epoch / n / 60:.1f} minutes an epoch of {epoch:,}" if epoch else ""
            print(f"  {name:30} {1e3 * seconds:6.1f} ms a step, x{plain / seconds:.2f}{minutes}")


if __name__ == "__main__":
    main()
