"""SSIM of a batch: ours (two matrix products per window) against scikit-image's loop over images, in one run."""

import time
from statistics import median

import torch
from skimage.metrics import structural_similarity

from inpaintkit import metrics

SKIMAGE = {"gauss11": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}, "uniform7": {}}


def seconds(function, repeats=9):
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return median(times)


def main():
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    print(f"{'images':>16} {'type':>8} {'window':>9} {'ours':>9} {'skimage':>9} {'ratio':>6} {'difference':>11}")
    for shape in ((64, 1, 100, 100), (64, 3, 64, 64), (64, 3, 128, 128)):
        image = torch.rand(shape, generator=generator)
        pred = (image + 0.1 * torch.randn(shape, generator=generator)).clamp(0, 1)
        for dtype in (torch.float32, torch.float64):
            x, y = image.to(dtype), pred.to(dtype)
            pairs = list(zip(x.numpy(), y.numpy(), strict=True))
            for kind, options in SKIMAGE.items():

                def loop(pairs=pairs, options=options):
                    return [structural_similarity(a, b, channel_axis=0, data_range=1.0, **options) for a, b in pairs]

                ours, theirs = seconds(lambda x=x, y=y, kind=kind: metrics.ssim(y, x, kind=kind)), seconds(loop)
                difference = (metrics.ssim(y, x, kind=kind) - torch.tensor(loop())).abs().max().item()
                size, name = "x".join(map(str, shape)), str(dtype).removeprefix("torch.")
                times = f"{1e3 * ours:7.1f}ms {1e3 * theirs:7.1f}ms {theirs / ours:6.2f}"
                print(f"{size:>16} {name:>8} {kind:>9} {times} {difference:11.1e}")


if __name__ == "__main__":
    main()
