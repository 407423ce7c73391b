"""What a configuration promises: the name and shape of every weight, known before any memory is taken for it."""

import itertools
from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from NeuroSAM2Core.errors import CheckpointError
from NeuroSAM2Core.model import SAM2, SAM2Config

Shape = tuple[int, ...]


def unfilled_model(config: SAM2Config) -> SAM2:
    """A model whose weights have their shapes and no memory yet; all of them must be assigned before it is used."""
    with _WithoutMemory():
        return SAM2(config)


@lru_cache(maxsize=8)
def shapes_of(config: SAM2Config) -> Mapping[str, Shape]:
    """The shape of every weight, by name."""
    return {name: tuple(value.shape) for name, value in unfilled_model(config).state_dict().items()}


def check_fit(found: Mapping[str, Shape], config: SAM2Config, name: str) -> None:
    """Compares weights with what the configuration promises.

    Args:
        found: The shape of every weight there is.
        config: The architecture.
        name: Of the model or its file, for the sentence.

    Raises:
        CheckpointError: A weight is missing, unknown or of another shape.
    """
    expected = shapes_of(config)
    for key in itertools.chain(expected, found):
        if found.get(key) != expected.get(key):
            what = (
                f"{key} is missing"
                if key not in found
                else f"{key[:200]!r} is not one of its weights"
                if key not in expected
                else f"{key} has the shape {found[key]}, expected {expected[key]}"
            )
            raise CheckpointError(f"the weights of {name} do not fit its architecture: {what}")


def check_finite(state: Mapping[str, Tensor], name: str) -> None:
    """Finds weights that are no numbers: one of them makes every answer of the model none.

    Raises:
        CheckpointError: There is one; its tensor is named.
    """
    for key, value in state.items():
        # A sum is finite only if all its terms are, and takes no memory; terms whose sum is too large are looked at one by one.
        if value.is_floating_point() and not value.sum().isfinite() and not value.isfinite().all():
            raise CheckpointError(
                f"{name} has values in {key} that are not finite numbers",
                hint="it is damaged, or its training went wrong; use another file",
            )


class _WithoutMemory(TorchFunctionMode):
    """Modules are made without memory for their initial weights and without drawing them: they would be replaced at once.

    Building on the meta device does the same, but the first tensor there costs a new process two seconds of imports.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        name = getattr(func, "__name__", "")
        if name in ("empty", "zeros", "ones", "randn", "full"):
            shape = args[0] if isinstance(args[0], tuple | list) else args
            return torch.zeros(()).expand(shape)  # type: ignore[arg-type]
        if name.endswith("_") and not name.startswith("_"):  # changes a tensor in place
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
