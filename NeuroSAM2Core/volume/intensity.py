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
PADDING_RATIO = 0.05
"""Share of equal lowest values from which on they are taken for padding."""
FAR_BELOW_ZERO, FAR_BELOW = 0.25, 1.0
"""How far below the rest a spike at the lowest value lies that marks padding, in widths of the rest's window: where it is below 0, and
where it is not, as the background of a magnitude image may be."""
MIN_SPIKE = 0.002
"""Share of voxels that are more than a few outliers; a percentile of 0.5 must not lie among them."""
MIN_REST = 0.01
"""Share of voxels that are more than a spike."""
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
        with np.errstate(over="ignore"):  # of marks at the end of the type's range
            scaled = (values.astype(np.float32) - np.float32(self.low)) * np.float32(1.0 / (self.high - self.low))
        return np.nan_to_num(np.clip(scaled, 0.0, 1.0, out=scaled), copy=False, nan=0.0)


def percentile_window(voxels: NDArray[Any], lower: float = 0.5, upper: float = 99.5) -> IntensityWindow:
    """The window between two percentiles of the finite voxels; a spike at the lowest value that marks padding does not count.

    Exact for small arrays; for larger ones taken from an even sample of about 260 000 voxels.

    Args:
        voxels: Intensities of any shape.
        lower: Percentile that becomes 0.
        upper: Percentile that becomes 1.
    """
    if not 0 <= lower < upper <= 100:
        raise ConfigError(f"percentiles must satisfy 0 <= lower < upper <= 100; got {lower:g} and {upper:g}")
    sample = _finite(_even_sample(voxels))
    if not sample.size:
        return IntensityWindow(0.0, 1.0)
    low, high = (float(v) for v in np.percentile(_without_mark(sample), (lower, upper)))
    if low == high:  # nearly constant: use all there is
        finite = _finite(voxels)
        low, high = float(finite.min()), float(finite.max())
    return IntensityWindow(low, high if high > low else low + 1.0)


def padding_mark(voxels: NDArray[Any]) -> float | None:
    """The lowest value, where so many voxels have it so far below the rest that it marks padding: it is left out of windows."""
    sample = _finite(_even_sample(voxels))
    return float(sample.min()) if sample.size and _without_mark(sample).size < sample.size else None


def is_constant(voxels: NDArray[Any]) -> bool:
    """All voxels that are numbers have one value, or there are none; padding does not count."""
    return _is_same(_finite(_even_sample(voxels))) and _is_same(_finite(voxels))


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
    return rest if rest.size and values.size - rest.size > PADDING_RATIO * values.size else values


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


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()


def _is_same(values: NDArray[Any]) -> bool:
    if not values.size:
        return True
    low, high = values.min(), values.max()
    if low < 0 and low < high:
        rest = values[values > low]
        if rest.size < (1 - PADDING_RATIO) * values.size:  # the lowest value is padding
            low = rest.min()
    return bool(low == high)


def _without_mark(sample: NDArray[Any]) -> NDArray[Any]:
    """Finite values without a spike at the lowest one that lies far below all others; there may be several such spikes."""
    sample = sample.astype(np.float64)
    while True:
        lowest = sample.min()
        rest = sample[sample > lowest]
        fraction = rest.size / sample.size
        if fraction < MIN_REST or fraction > 1 - MIN_SPIKE:
            return sample
        low, high = np.percentile(rest, (0.5, 99.5))
        far = (FAR_BELOW_ZERO if lowest < 0 else FAR_BELOW) * (high - low)
        if low == high or low - lowest <= far:
            return sample
        sample = rest


def _even_sample(voxels: NDArray[Any]) -> NDArray[Any]:
    """About `SAMPLE_SIZE` voxels: whole runs along the last stored axis, evenly spread over the others."""
    if voxels.size <= SAMPLE_SIZE:
        return voxels.ravel()
    step = max(1, round((voxels.size / SAMPLE_SIZE) ** 0.5))
    thinned = voxels[::step, ::step]
    return thinned.ravel()
