"""3x3 patches of a photograph and the regression on them: views and the closed form against the plain loops, in one
run.
"""

import time

import numpy as np
import torch

from inpaintkit import data
from inpaintkit.papers import baselines


def timed(function):
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def loop(channel):
    array, rows = channel.numpy(), []
    for y in range(array.shape[0] - 2):
        for x in range(array.shape[1] - 2):
            rows.append(np.delete(array[y : y + 3, x : x + 3].reshape(-1), 4))
    return np.stack(rows)


def main():
    torch.set_num_threads(2)
    channel = data.photograph("astronaut")[0].double()
    by_loop, slow = timed(lambda: loop(channel))
    by_views, (x, y) = min(
        (timed(lambda: baselines.neighbours_and_centre(baselines.patches(channel, 3))) for _ in range(5)),
        key=lambda t: t[0],
    )
    assert np.array_equal(slow, x.numpy())
    solve = min(timed(lambda: baselines.closed_form(x, y))[0] for _ in range(5))
    descend = timed(lambda: baselines.gradient_descent(x, y, lr=1e-6))[0]
    print(f"{len(x):,} patches 3x3: loop {by_loop:.3f} s, views {by_views:.4f} s, ratio {by_loop / by_views:.0f}")
    print(
        f"regression: closed form {solve:.4f} s, 10,000 steps of gradient descent (on the Gram matrix) {descend:.3f} s"
    )


if __name__ == "__main__":
    main()
