"""Work on several objects that is done together where they are alike."""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_groups(items: Sequence[T], key: Callable[[T], Hashable], do: Callable[[list[T]], Sequence[R]]) -> list[R]:
    """The result for each item, in their order.

    Args:
        items: What is worked on.
        key: Items with the same key are worked on together.
        do: Gives one result for each of some items.
    """
    rows: dict[Hashable, list[int]] = {}
    for row, item in enumerate(items):
        rows.setdefault(key(item), []).append(row)
    results = {
        row: result
        for group in rows.values()
        for row, result in zip(group, do([items[row] for row in group]), strict=True)
    }
    return [results[row] for row in range(len(items))]
