"""The operators `torch.ops.neurosam2.*`: schemas, fake kernels, and what runs where no compiled kernel does.

`cuda_ext/` registers CUDA kernels for the same schemas. Without them a tensor of any device takes the way over NumPy and SciPy here,
with the same result. Fake kernels make torch.compile and torch.export work. Nothing is differentiable: masks have no gradient.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.components import cpu
from NeuroSAM2Core.components.cpu import ComponentFilter, Connectivity

WIDE = 2**31 - 1
"""From this many voxels on labels are int64."""
COLUMNS = 8
"""Of a part's row: voxels, border contact, z0, y0, x0, z1, y1, x1."""

library = torch.library.Library("neurosam2", "FRAGMENT")
library.define("label(Tensor mask, int connectivity) -> Tensor")
library.define(
    "keep_parts(Tensor mask, int connectivity, int min_size, int max_size, bool is_enclosed, bool keeps_largest) -> Tensor"
)
library.define("fill(Tensor mask, int connectivity, int max_size, bool is_enclosed) -> Tensor")
library.define("tabulate(Tensor mask, int connectivity, int rows) -> (Tensor, Tensor, Tensor)")


def _label(mask: Tensor, connectivity: Connectivity) -> Int[Tensor, "..."]:
    return _by_image(mask, connectivity, lambda one: cpu.label_first_voxels(one, connectivity), _label_dtype(mask))


def _keep_parts(
    mask: Tensor, connectivity: Connectivity, min_size: int, max_size: int, is_enclosed: bool, keeps_largest: bool
) -> Bool[Tensor, "..."]:
    rule = ComponentFilter(min_size=min_size, max_size=max_size, is_enclosed=is_enclosed, keeps_largest=keeps_largest)
    return _by_image(mask, connectivity, lambda one: cpu.keep_parts(one, connectivity, rule), torch.bool)


def _fill(mask: Tensor, connectivity: Connectivity, max_size: int, is_enclosed: bool) -> Bool[Tensor, "..."]:
    def fill(one: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if is_enclosed:
            return cpu.fill_holes(one, max_area=max_size, connectivity=connectivity)
        return one | cpu.keep_parts(~one, connectivity, ComponentFilter(max_size=max_size))

    return _by_image(mask, connectivity, fill, torch.bool)


def _tabulate(mask: Tensor, connectivity: Connectivity, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    dims = cpu.dims_of(connectivity)
    images = _images(mask, dims)
    labels = np.empty(images.shape, dtype=np.int32 if _label_dtype(mask) is torch.int32 else np.int64)
    counts = np.empty(len(images), dtype=np.int64)
    table = np.zeros((len(images), rows, COLUMNS), dtype=np.int64)
    for n, image in enumerate(images):
        labels[n], parts = cpu.tabulate_parts(image, connectivity)
        counts[n] = len(parts.sizes)
        kept = min(rows, len(parts.sizes))
        table[n, :kept, 0] = parts.sizes[:kept]
        table[n, :kept, 1] = parts.touches_border[:kept]
        table[n, :kept, 5] = 1  # a plane is the first of one
        table[n, :kept, 5 - dims : 5] = parts.boxes[:kept, :, 0]
        table[n, :kept, 8 - dims : 8] = parts.boxes[:kept, :, 1]
    batch = mask.shape[:-dims]
    shaped = labels.reshape(mask.shape), counts.reshape(batch), table.reshape(*batch, rows, COLUMNS)
    on_device = tuple(torch.from_numpy(array).to(mask.device) for array in shaped)
    return on_device[0], on_device[1], on_device[2]


def _by_image(
    mask: Tensor, connectivity: Connectivity, act: Callable[[NDArray[np.bool_]], np.ndarray], dtype: torch.dtype
) -> Tensor:
    images = _images(mask, cpu.dims_of(connectivity))
    done = [torch.from_numpy(np.ascontiguousarray(act(image))) for image in images]
    if not done:
        return torch.empty(mask.shape, dtype=dtype, device=mask.device)
    return torch.stack(done).to(dtype).reshape(mask.shape).to(mask.device)


def _images(mask: Tensor, dims: int) -> NDArray[np.bool_]:
    """The images of a batch, (N, spatial ...)."""
    return mask.detach().cpu().bool().numpy().reshape(-1, *mask.shape[-dims:])


def _label_dtype(mask: Tensor) -> torch.dtype:
    return torch.int32 if mask.numel() < WIDE else torch.int64


def _fake_label(mask: Tensor, connectivity: Connectivity) -> Tensor:
    return mask.new_empty(mask.shape, dtype=_label_dtype(mask))


def _fake_keep_parts(
    mask: Tensor, connectivity: Connectivity, min_size: int, max_size: int, is_enclosed: bool, keeps_largest: bool
) -> Tensor:
    return mask.new_empty(mask.shape, dtype=torch.bool)


def _fake_fill(mask: Tensor, connectivity: Connectivity, max_size: int, is_enclosed: bool) -> Tensor:
    return mask.new_empty(mask.shape, dtype=torch.bool)


def _fake_tabulate(mask: Tensor, connectivity: Connectivity, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    batch = mask.shape[: -cpu.dims_of(connectivity)]
    return (
        mask.new_empty(mask.shape, dtype=_label_dtype(mask)),
        mask.new_empty(batch, dtype=torch.int64),
        mask.new_empty((*batch, rows, COLUMNS), dtype=torch.int64),
    )


for _name, _kernel, _fake in (
    ("label", _label, _fake_label),
    ("keep_parts", _keep_parts, _fake_keep_parts),
    ("fill", _fill, _fake_fill),
    ("tabulate", _tabulate, _fake_tabulate),
):
    library.impl(_name, _kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(f"neurosam2::{_name}", _fake, lib=library)
