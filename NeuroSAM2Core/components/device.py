"""Connected components, holes and islands of tensors, on the device where they are. For NumPy masks see `components.cpu`.

The operators are `torch.ops.neurosam2.*`. `cuda_ext/` registers CUDA kernels for their schemas, which are looked for once. Without them
a tensor of any device takes the way over NumPy and SciPy here, with the same result. Fake kernels make torch.compile and torch.export
work. Nothing is differentiable: masks have no gradient.

Objects connect through corners and background through faces, as in `components.cpu`. The last two or three dimensions are an image,
those before them a batch. Nothing waits for the device.
"""

import importlib
import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.components import cpu
from NeuroSAM2Core.components.cpu import NO_LIMIT, ONLY_LARGEST, ComponentFilter, Connectivity, corners, dims_of, faces
from NeuroSAM2Core.errors import ConfigError, DataError

logger = logging.getLogger(__name__)


def release_cached_memory() -> None:
    """Gives what is kept and not used back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


MODULE = "neurosam2_cuda"
IN_PLACE = Path(__file__).resolve().parents[2] / "cuda_ext"


def is_extension_active() -> bool:
    """Whether masks on a CUDA device are cleaned there, by the compiled kernels."""
    return why_inactive() == ""


@cache
def why_inactive() -> str:
    """Why the compiled kernels are not used, in a sentence; empty where they are.

    The first call looks for them: installed, or built in place in a checkout. It tells once where a GPU goes without them.
    """
    if not torch.cuda.is_available():
        return "PyTorch has no CUDA device here"
    try:
        _load()
    except (ImportError, OSError) as error:
        reason = f"the CUDA kernels are not used ({error}); masks are cleaned on the CPU, see cuda_ext/README.md"
        logger.info("%s", reason)
        return reason
    return ""


def _load() -> None:
    try:
        importlib.import_module(MODULE)
    except ModuleNotFoundError:
        if not (IN_PLACE / MODULE).is_dir():
            raise
        sys.path.append(str(IN_PLACE))
        try:
            importlib.import_module(MODULE)
        finally:
            sys.path.remove(str(IN_PLACE))


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


Dims = Literal[2, 3]
Mask = Bool[Tensor, "..."]

REFERENCE_LOGIT = 0.1


def fill_holes(mask: Mask, *, dims: Dims, max_area: int | None = None) -> Mask:
    """The mask with its enclosed background filled in.

    Args:
        mask: (..., H, W) or (..., D, H, W).
        dims: Of an image.
        max_area: Fill only holes of up to this many voxels; None for all.

    Raises:
        DataError: The tensor is no mask, or has too few dimensions.
    """
    _check(mask, dims)
    limit = NO_LIMIT if max_area is None else max_area
    return torch.ops.neurosam2.fill(mask, faces(dims), limit, True)


def remove_islands(mask: Mask, *, dims: Dims, min_size: int) -> Mask:
    """The mask without parts of fewer voxels; the largest part of every image always stays. See `fill_holes`."""
    return _keep(mask, corners(dims), ComponentFilter(min_size=min_size, keeps_largest=True))


def largest_component(mask: Mask, *, dims: Dims) -> Mask:
    """The largest part of every image, the first of several equal ones. See `fill_holes`."""
    return _keep(mask, corners(dims), ONLY_LARGEST)


def label_components(mask: Mask, connectivity: Connectivity) -> Int[Tensor, "..."]:
    """One more than the raster index, in its image, of the first voxel of a voxel's part; 0 for the background.

    Args:
        mask: (..., H, W) for 4 and 8, (..., D, H, W) for 6, 18 and 26.
        connectivity: How many neighbours a voxel has.

    Returns:
        int32; int64 from 2**31 - 1 voxels on.

    Raises:
        ConfigError: There is no such connectivity.
        DataError: As of `fill_holes`.
    """
    _check(mask, dims_of(connectivity))
    return torch.ops.neurosam2.label(mask, connectivity)


@dataclass(frozen=True, slots=True)
class Components:
    """Numbered parts and their statistics; rows that no part has are 0."""

    labels: Int[Tensor, "..."]
    """1, 2, ... in the order of first voxels, in every image."""
    counts: Int[Tensor, "*batch"]
    """Parts of every image; there may be more than rows."""
    sizes: Int[Tensor, "*batch rows"]
    """Voxels."""
    touches_border: Bool[Tensor, "*batch rows"]
    """Some voxel lies on the border of the image."""
    boxes: Int[Tensor, "*batch rows dims 2"]
    """First voxel and one past the last, along every axis."""


def tabulate_components(mask: Mask, connectivity: Connectivity, *, max_parts: int) -> Components:
    """Labels and statistics of the parts of every image.

    Args:
        mask: As of `label_components`.
        connectivity: How many neighbours a voxel has.
        max_parts: Rows of the tables. How many parts there are only the device knows.

    Raises:
        ConfigError: There is no such connectivity, or a negative number of rows.
        DataError: As of `fill_holes`, or an image has no voxel.
    """
    dims = dims_of(connectivity)
    _check(mask, dims)
    if max_parts < 0:
        raise ConfigError(f"max_parts must be at least 0; got {max_parts}")
    if mask.numel() == 0:
        raise DataError(f"a mask of shape {tuple(mask.shape)} has no voxels to tabulate")
    labels, counts, table = torch.ops.neurosam2.tabulate(mask, connectivity, max_parts)
    boxes = torch.stack((table[..., 5 - dims : 5], table[..., 8 - dims : 8]), dim=-1)
    return Components(labels, counts, table[..., 0], table[..., 1] > 0, boxes)


def fill_holes_as_reference(logits: Float[Tensor, "b 1 h w"], *, max_area: int = 8) -> Float[Tensor, "b 1 h w"]:
    """What SAM 2 does to the logits of its video predictor where its own extension is built.

    Background of up to `max_area` pixels, 8-connected and wherever it lies, gets a logit of 0.1: specks and corners of background count
    as holes. Ours is `fill_holes`.
    """
    mask = logits > 0
    _check(mask, 2)
    filled = torch.ops.neurosam2.fill(mask, 8, max_area, False)
    return torch.where(filled & ~mask, REFERENCE_LOGIT, logits)


def for_each_object(
    labels: Int[Tensor, "..."], act: Callable[[Mask], Mask], *, ids: Iterable[int]
) -> Int[Tensor, "..."]:
    """Does something to every object of a label image as if it were alone; see `components.cpu.for_each_object`. `ids` are the objects."""
    result = labels.clone()
    for one in ids:
        before = labels == one
        after = act(before)
        result.masked_fill_(before & ~after, 0)
        result.masked_fill_(after & (labels == 0) & (result == 0), one)
    return result


def _keep(mask: Mask, connectivity: Connectivity, rule: ComponentFilter) -> Mask:
    _check(mask, dims_of(connectivity))
    return torch.ops.neurosam2.keep_parts(
        mask, connectivity, rule.min_size, rule.max_size, rule.is_enclosed, rule.keeps_largest
    )


def _check(mask: Tensor, dims: int) -> None:
    if mask.dtype is not torch.bool:
        raise DataError(f"a mask is a bool tensor; got {mask.dtype}", hint="compare logits with 0 first")
    if mask.ndim < dims:
        raise DataError(f"a {dims}-D mask needs {dims} dimensions or more; got shape {tuple(mask.shape)}")
    if mask.device.type == "cuda" and not torch.compiler.is_compiling():
        why_inactive()  # loads the kernels, or tells once
