"""How much memory the engine's values hold."""

import dataclasses
from collections.abc import Iterator, Mapping

from torch import Tensor


def memory_bytes(*values: object) -> int:
    """The memory of all tensors in some values, bytes; shared storages count once."""
    return sum(dict(_storages(values)).values())


def _storages(value: object) -> Iterator[tuple[int, int]]:
    """Address and size of what holds each tensor in a value."""
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        yield storage.data_ptr(), storage.nbytes()
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _storages(getattr(value, field.name))
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _storages(one)
