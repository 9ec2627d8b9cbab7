"""Checks of the exercises: each takes the student's function and says what is right, or what is wrong and where to
look.

They return a text instead of raising, so that a notebook with unanswered exercises still runs from top to bottom.
"""

from collections.abc import Callable

import torch

from inpaintkit.contracts import Filler, Recipe
from inpaintkit.experiments.answers import Worth

OPEN = "not answered yet: replace the ... or the None, and run this cell again."


def check(number: int, function: Callable, arguments: tuple, judge: Callable) -> str:
    """Calls the student's function and judges its answer: ``judge(answer)`` returns None or what is wrong with it."""
    try:
        answer = function(*arguments)
        problem = OPEN if _open(answer) else judge(answer)
    except Exception as error:  # whatever a student's code raises is what they want to read
        problem = f"stopped with {type(error).__name__}: {error}"
    return f"exercise {number}: {problem or 'correct'}"


def _open(answer) -> bool:
    """Whether an answer, or a part of it, is still what was given: None or ``...``."""
    parts = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, tuple | list) else ()
    return answer is None or answer is ... or any(_open(part) for part in parts)


def guessed(guess: float | str | None, measured: float | str, factor: float = 1.25) -> str:
    """What became of a prediction, in words: "your guess 0.5, measured 0.59: close". A number is close within
    ``factor`` of the measured one; a text is right or not. Without a guess, nothing is given away."""
    if guess is None:
        return "no guess yet: write one, and run again"
    if isinstance(measured, str) or isinstance(guess, str):
        return f"your guess {guess}, measured {measured}: {'right' if guess == measured else 'not this one'}"
    close = measured / factor <= guess <= measured * factor
    right = f"close (within {100 * (factor - 1):.0f} %)" if factor > 1 else "right"
    verdict = right if close else "too high" if guess > measured else "too low"
    return f"your guess {guess:g}, measured {measured:.3g}: {verdict}"


def costliest(guess: str | None, effects: dict[str, Worth]) -> str:
    """Which change raises the error most? What not every seed tells apart from the largest is right, too."""
    top = max(effects, key=lambda name: effects[name].row[0])
    pairs = {name: zip(effects[top].seeds, effect.seeds, strict=False) for name, effect in effects.items()}
    level = [name for name, both in pairs.items() if not all(a > b for a, b in both)]
    return guessed(guess, guess if guess in level else top)


def solved(verdict: str) -> bool:
    """Whether a text of `check` says that an exercise is solved."""
    return verdict.endswith(": correct")


class Own(Filler):
    """A student's function as a filler: ``function(masked (B, C, H, W), mask (B, 1, H, W))``."""

    def __init__(self, label: str, function: Callable, border: bool = True):
        self.id = self.label = label
        self.function, self.border = function, border  # may the hole touch the border?

    def accepts(self, shape, mask):
        inside = mask[..., 1:-1, 1:-1].sum() == mask.sum()
        return None if self.border or inside else "takes no hole that touches the border"

    def __call__(self, masked, mask):
        return self.function(masked, mask)


def train_with(recipe: Recipe, verdict: str, call: Callable[..., dict], fits: bool = True) -> Recipe:
    """The recipe, trained with the student's step if the ``verdict`` of its check is good, and else with its own.

    ``call(image, masked, mask, generator)`` takes the student's step and returns its losses by name. ``fits``: whether
    that step does all that the parameters ask for; otherwise they would be recorded for another training.
    """
    if not solved(verdict) or not fits:
        print(
            "training with the kit's step:",
            "these parameters need it" if solved(verdict) else "yours is not solved yet",
        )
        return recipe
    recipe.step = lambda batch, generator: {
        name: torch.as_tensor(loss).detach() for name, loss in call(*batch, generator).items()
    }
    print("training with your step")
    return recipe
