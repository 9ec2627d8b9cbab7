"""The exercises of the notebooks: the given code fails, the solution passes, typical slips get a hint."""

import importlib
import inspect
import re
from pathlib import Path

import nbformat
import pytest
import torch

from inpaintkit import metrics
from inpaintkit.apps.exercises import notebook_00, notebook_01, notebook_02, notebook_03, notebook_04

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def exercises_of(path):
    """{check: (module of the checks, the student's name for the answer, source)} of one notebook."""
    found = {}
    for cell in nbformat.read(path, as_version=4).cells:
        call = re.search(r"^print\(exercises\.(\w+)\((\w+)\)\)$", cell.source, flags=re.MULTILINE)
        if call and cell.cell_type == "code":
            found[call.group(1)] = (call.group(2), cell.source.replace(call.group(0), ""), cell)
    return found


def module_of(path):
    source = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    return importlib.import_module(
        "inpaintkit.apps.exercises." + re.search(r"from inpaintkit.apps.exercises import (\w+) as", source).group(1)
    )


ALL = [(path, check) for path in sorted(NOTEBOOKS.glob("*.ipynb")) for check in exercises_of(path)]


@pytest.mark.parametrize(("path", "check"), ALL, ids=[f"{path.stem[:2]}-{check}" for path, check in ALL])
def test_given_code_fails_and_the_solution_passes(path, check):
    judge, namespace = getattr(module_of(path), check), {"torch": torch, "nn": torch.nn}
    name, given, _ = exercises_of(path)[check]
    solved = path.parent / "solutions" / path.name
    assert module_of(solved) is module_of(path)
    _, solution, cell = exercises_of(solved)[check]
    exec(given, namespace)
    assert re.search("not answered yet|still there", judge(namespace[name]))
    exec(solution, namespace)
    verdict = judge(namespace[name])
    assert re.fullmatch(r"exercise \d: correct", verdict)
    assert cell.outputs[0].text.strip() == verdict, "what the solved notebook shows"


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_check_is_used_once_and_no_two_exercises_share_a_number(path):
    module = module_of(path)
    checks = {
        name for name, thing in vars(module).items()
        if getattr(thing, "__module__", "") == module.__name__ and "number" in inspect.signature(thing).parameters
    }  # fmt: skip
    assert exercises_of(path).keys() == exercises_of(path.parent / "solutions" / path.name).keys() == checks
    numbers = [inspect.signature(getattr(module, check)).parameters["number"].default for check in checks]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        (notebook_00.mean_psnr, lambda pred, image: undefined, "NameError"),  # noqa: F821
        (notebook_00.mean_psnr, lambda pred, image: torch.tensor(3.0), "40 dB"),
        (notebook_00.mean_psnr, lambda pred, image: metrics.psnr(pred, image), "a value for each image"),
        (notebook_00.coverage, {"side": 0.2, "area": 0.04}, "the other way round"),
        (notebook_00.coverage, {"side": 4, "area": 20}, "between 0 and 1"),
        (notebook_00.ring_mean, lambda x, hole: x * 0.5, "known pixels have changed"),
        (notebook_00.ring_mean, lambda x, hole: x[0], "whole picture"),
        (
            notebook_00.ring_mean,
            lambda x, hole: torch.where(hole, x[:, ~hole].mean(1)[:, None, None], x),
            "mean of all known pixels",
        ),
        (notebook_00.harmonic, lambda x, hole, rounds: torch.where(hole, 0.5, x), "is there a loop"),
        (notebook_00.harmonic, lambda x, hole, rounds: x / rounds, "known pixels have changed"),
        (notebook_00.stripes, {"grey": 0.5, "shifted": 1}, "the square of that"),
        (notebook_00.stripes, {"grey": 0.25, "shifted": 0}, "meets a white one"),
        (notebook_00.structure, lambda x, y, c3: 1.0, "and yours is 1.0000"),
        (notebook_00.hole_psnr, lambda p, x, m: metrics.psnr(p, x, m).clamp(max=50), "and you say"),
        (notebook_00.hole_psnr, lambda p, x, m: -10 * metrics.mse(p, x, m).log10(), "infinite"),
        (notebook_00.hole_mse, lambda p, x, m: ((p - x) ** 2 * m).sum((1, 2, 3)) / 48, "grey ones"),
        (notebook_01.stable_rate, lambda x: 2 / torch.linalg.eigvalsh(x.T @ x / len(x))[-1], "factor 2"),
        (notebook_01.stable_rate, lambda x: 1 / torch.linalg.eigvalsh(x.T @ x)[-1], "number of patches"),
        (notebook_01.stable_rate, lambda x: 1.0, "times the right value"),
        (notebook_01.encoder, lambda: torch.nn.Conv2d(3, 4, 3), "three poolings"),
        (notebook_02.merged_layers, lambda w, b, v, c: (w.T @ v.T, c), "(3, 5)"),
        (notebook_02.merged_layers, lambda w, b, v, c: (v @ w + 1, c), "not the product"),
        (notebook_02.merged_layers, lambda w, b, v, c: (v @ w, c), "the first layer's bias"),
        (notebook_02.merged_layers, lambda w, b, v, c: (v @ w, v @ b), "the bias is not"),
        (notebook_02.luminance_loss, lambda p, t: (p - t[:, :1]).square().mean(), "different ranges"),
        (notebook_02.luminance_loss, lambda p, t: (2 * p - 1 - t[:, :1]).square().mean(), "factor of 4"),
        (notebook_02.luminance_loss, lambda p, t: (p - t[:, 1:]).square().mean(), "and yours"),
        (notebook_03.receptive_field, lambda kernels, strides: 1 + sum(k - 1 for k in kernels), "multiplied"),
        (notebook_03.receptive_field, lambda kernels, strides: 3, "see 5 pixels"),
        (notebook_03.centre_mask, lambda picture: picture + 1, "nothing else"),
        (notebook_03.centre_mask, lambda picture: picture[0], "(1, 3, 128, 128)"),
        (notebook_04.unshuffle, lambda x, r: x.reshape(2, 8, 3, 5), "not in their places"),
        (notebook_04.unshuffle, lambda x, r: torch.zeros(2, 8, 3, 5), "lost or doubled"),
        (notebook_04.mean_nmse, lambda preds, images: 0.5, "the mean over these 85"),
    ],
)
def test_wrong_answers_get_a_hint(check, answer, hint):
    assert hint in check(answer)
