"""From a scanner's numbers to 0..1: the one normalisation of this project, shared by the engine and the trainer.

A window is chosen once for a volume and applied to slices as they are needed; the volume itself is never touched.
"""

import difflib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import ConfigError

SAMPLE_SIZE = 1 << 18
PADDING_SHARE = 0.05
"""Share of equal lowest values from which on they are taken for padding."""
CT_WINDOWS = {
    "brain": (40.0, 80.0),
    "subdural": (75.0, 215.0),
    "stroke": (40.0, 40.0),
    "soft tissue": (40.0, 400.0),
    "bone": (600.0, 2800.0),
    "lung": (-600.0, 1500.0),
}
"""Usual windows for CT by name: level and width in Hounsfield units."""


@dataclass(frozen=True, slots=True)
class IntensityWindow:
    """The intensities that become black and white."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ConfigError(f"an intensity window needs low < high; got {self.low:g} to {self.high:g}")

    def normalise(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values as 0 (at `low` and below, and where they are not a number) to 1 (at `high` and above)."""
        scaled = (values.astype(np.float32) - np.float32(self.low)) * np.float32(1.0 / (self.high - self.low))
        return np.nan_to_num(np.clip(scaled, 0.0, 1.0, out=scaled), copy=False, nan=0.0)


def percentile_window(voxels: NDArray[Any], lower: float = 0.5, upper: float = 99.5) -> IntensityWindow:
    """The window between two percentiles of the finite voxels.

    Exact for small arrays; for larger ones taken from an even sample of about 260 000 voxels.

    Args:
        voxels: Intensities of any shape.
        lower: Percentile that becomes 0.
        upper: Percentile that becomes 1.
    """
    if not 0 <= lower < upper <= 100:
        raise ConfigError(f"percentiles must satisfy 0 <= lower < upper <= 100; got {lower:g} and {upper:g}")
    sample = _even_sample(voxels)
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if not sample.size:
        return IntensityWindow(0.0, 1.0)
    low, high = (float(v) for v in np.percentile(sample, (lower, upper)))
    if low == high:  # nearly constant: use all there is
        low, high = float(sample.min()), float(sample.max())
    return IntensityWindow(low, high if high > low else low + 1.0)


def crop_window(values: NDArray[Any], lower: float = 1.0, upper: float = 99.0) -> IntensityWindow | None:
    """The window between two percentiles of a part of a slice; padding does not count. None where the part is nearly constant.

    Args:
        values: The part, of any shape.
        lower: Percentile that becomes 0.
        upper: Percentile that becomes 1.
    """
    seen = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    seen = without_padding(seen)
    if not seen.size:
        return None
    low, high = (float(v) for v in np.percentile(seen, (lower, upper)))
    return IntensityWindow(low, high) if low < high else None


def without_padding(values: NDArray[Any]) -> NDArray[Any]:
    """The values without those at the lowest one, where these are so many that they are padding or a removed background."""
    rest = values[values > values.min()] if values.size else values
    return rest if rest.size and values.size - rest.size > PADDING_SHARE * values.size else values


def ct_window(name: str) -> IntensityWindow:
    """A usual CT window by name.

    Raises:
        ConfigError: There is no such name.
    """
    if name not in CT_WINDOWS:
        near = difflib.get_close_matches(name, CT_WINDOWS, n=1)
        raise ConfigError(
            f"there is no CT window {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            hint=f"known: {', '.join(CT_WINDOWS)}",
        )
    level, width = CT_WINDOWS[name]
    return IntensityWindow(level - width / 2, level + width / 2)


def _even_sample(voxels: NDArray[Any]) -> NDArray[Any]:
    """About `SAMPLE_SIZE` voxels: whole runs along the last stored axis, evenly spread over the others."""
    if voxels.size <= SAMPLE_SIZE:
        return voxels.ravel()
    step = max(1, round((voxels.size / SAMPLE_SIZE) ** 0.5))
    thinned = voxels[::step, ::step]
    return thinned.ravel()
