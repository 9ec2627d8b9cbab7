"""The exercises of the notebooks: the given code fails, the solution passes, typical slips get a hint."""

import itertools
import re
from pathlib import Path

import nbformat
import pytest
import torch

from inpaintkit import metrics
from inpaintkit.apps import exercises

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def in_notebooks():
    """(check, the student's name for the function, source in the notebook, solution) of every exercise."""
    found = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell, after in itertools.pairwise(nbformat.read(path, as_version=4).cells):
            call = re.search(r"^print\(exercises\.(\w+)\((\w+)\)\)$", cell.source, flags=re.MULTILINE)
            if call:
                solution = re.search(r"<details>.*?```python\n(.*?)```", after.source, flags=re.DOTALL).group(1)
                found.append((*call.groups(), cell.source.replace(call.group(0), ""), solution))
    return found


@pytest.mark.parametrize(("check", "name", "given", "solution"), in_notebooks(), ids=lambda text: text.split("\n")[0])
def test_given_code_fails_and_the_solution_passes(check, name, given, solution):
    namespace, check = {"torch": torch, "nn": torch.nn}, getattr(exercises, check)
    exec(given, namespace)
    assert re.search("not answered yet|still there", check(namespace[name]))
    exec(solution, namespace)
    assert re.fullmatch(r"exercise \d: correct", check(namespace[name]))


def test_every_check_is_used_once_and_every_notebook_has_two_exercises():
    checks = {name for name, thing in vars(exercises).items() if getattr(thing, "__module__", "") == exercises.__name__}
    assert sorted(check for check, *_ in in_notebooks()) == sorted(checks - {"_check"})
    assert len(in_notebooks()) == 2 * len(list(NOTEBOOKS.glob("*.ipynb")))


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        (exercises.image_mse, lambda mse, share: mse, "which share"),
        (exercises.image_mse, lambda mse, share: mse * (1 - share), "the known part"),
        (exercises.image_mse, lambda mse, share: (mse * share).mean(), "one value per image"),
        (exercises.image_mse, lambda mse, share: mse / 0, "inf"),
        (exercises.image_mse, lambda mse, share: undefined, "NameError"),  # noqa: F821
        (exercises.image_mse, lambda mse, share: (mse * share).float(), "correct"),
        (exercises.mean_psnr, lambda pred, image: torch.tensor(3.0), "40 dB"),
        (exercises.mean_psnr, lambda pred, image: metrics.psnr(pred, image), "a value for each image"),
        (exercises.stable_rate, lambda x: 2 / torch.linalg.eigvalsh(x.T @ x / len(x))[-1], "factor 2"),
        (exercises.stable_rate, lambda x: 1 / torch.linalg.eigvalsh(x.T @ x)[-1], "number of patches"),
        (exercises.stable_rate, lambda x: 1.0, "times the right value"),
        (exercises.encoder, lambda: torch.nn.Conv2d(3, 4, 3), "three poolings"),
        (exercises.merged_layers, lambda w, b, v, c: (w.T @ v.T, c), "(3, 5)"),
        (exercises.merged_layers, lambda w, b, v, c: (v @ w + 1, c), "not the product"),
        (exercises.merged_layers, lambda w, b, v, c: (v @ w, c), "the first layer's bias"),
        (exercises.merged_layers, lambda w, b, v, c: (v @ w, v @ b), "the bias is not"),
        (exercises.luminance_loss, lambda p, t: (p - t[:, :1]).square().mean(), "different ranges"),
        (exercises.luminance_loss, lambda p, t: (2 * p - 1 - t[:, :1]).square().mean(), "factor of 4"),
        (exercises.luminance_loss, lambda p, t: (p - t[:, 1:]).square().mean(), "and yours"),
        (exercises.receptive_field, lambda kernels, strides: 1 + sum(k - 1 for k in kernels), "multiplied"),
        (exercises.receptive_field, lambda kernels, strides: 3, "see 5 pixels"),
        (exercises.centre_mask, lambda picture: picture + 1, "nothing else"),
        (exercises.centre_mask, lambda picture: picture[0], "(1, 3, 128, 128)"),
        (exercises.unshuffle, lambda x, r: x.reshape(2, 8, 3, 5), "not in their places"),
        (exercises.unshuffle, lambda x, r: torch.zeros(2, 8, 3, 5), "lost or doubled"),
        (exercises.mean_nmse, lambda preds, images: 0.5, "the mean over these 85"),
    ],
)
def test_wrong_answers_get_a_hint(check, answer, hint):
    assert hint in check(answer)
