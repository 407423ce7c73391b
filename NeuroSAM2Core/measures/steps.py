"""Long measurements in short steps, so that a window can show progress between them, answer, and give up."""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
"""A measurement that stops after every few hundredths of a second and returns its result at the end."""


def finished(steps: Steps[T]) -> T:
    """The result of a measurement, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
