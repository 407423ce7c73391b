"""How much memory the engine's values hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass

from torch import Tensor


def memory_bytes(*values: object) -> int:
    """The memory of all tensors in some values, bytes; shared storages count once."""
    storages: dict[int, int] = {}
    _count(values, storages)
    return sum(storages.values())


@dataclass(slots=True)
class CountedMemory:
    """The memory of values that never change, counted anew only where others have taken their place."""

    _counted: list[object] = field(default_factory=list)
    _nbytes: int = 0

    def nbytes(self, values: Sequence[object]) -> int:
        """The memory of all tensors in some values, bytes; see `memory_bytes`."""
        is_known = len(values) == len(self._counted)
        if not is_known or any(one is not other for one, other in zip(values, self._counted, strict=True)):
            self._counted, self._nbytes = list(values), memory_bytes(*values)
        return self._nbytes


def _count(value: object, storages: dict[int, int]) -> None:
    """Adds address and size of what holds each tensor in a value."""
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            _count(one, storages)
    elif is_dataclass(value):
        for name in value.__dataclass_fields__:
            _count(getattr(value, name), storages)
