"""Checks of the exercises: each takes the student's function and says what is right, or what is wrong and where to
look.

They return a text instead of raising, so that a notebook with unanswered exercises still runs from top to bottom.
"""

from collections.abc import Callable

OPEN = "not answered yet: replace the ... and run this cell again."


def check(number: int, function: Callable, arguments: tuple, judge: Callable) -> str:
    """Calls the student's function and judges its answer: ``judge(answer)`` returns None or what is wrong with it."""
    try:
        answer = function(*arguments)
        problem = OPEN if answer is None or answer is ... else judge(answer)
    except Exception as error:  # whatever a student's code raises is what they want to read
        problem = f"stopped with {type(error).__name__}: {error}"
    return f"exercise {number}: {problem or 'correct'}"
