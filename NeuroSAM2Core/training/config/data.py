"""The configuration of training data and sampling.

How a model is measured, as data that a run's TOML file holds.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from NeuroSAM2Core.errors import ConfigError

LabelKind = Literal["semantic", "instances"]
SliceAxis = Literal["axial", "coronal", "sagittal", "i", "j", "k", "random"]
BadCase = Literal["skip", "stop"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentationConfig:
    """How often a clip is changed before it is shown; each change is drawn once for the whole clip. Probabilities, 0 to 1."""

    flip: float = 0.3
    """Mirror the slices left to right; and, drawn apart, top to bottom."""
    rotate: float = 0.3
    """Turn the slices by 90, 180 or 270 degrees."""
    contrast: float = 0.15
    """Raise intensities to a power between 0.5 and 2."""
    noise: float = 0.15
    """Add Gaussian noise with a deviation of up to 0.05 of the range."""
    smoothing: float = 0.1
    """Blur within the slices, deviation 0.25 to 1.5 pixels."""
    histogram_shift: float = 0.1
    """Bend the intensity scale at ten random places."""
    sharpening: float = 0.1
    """Sharpen within the slices."""
    elastic: float = 0.0
    """Deform the slices smoothly by a few pixels."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augmentation.{name} is a probability from 0 to 1; got {getattr(self, name):g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Which volumes, which objects in them, and what happens to them on the way to the model."""

    datasets: tuple[str, ...]
    """Paths of `dataset.json` files; their cases are used together."""
    intensity_range: tuple[float, float] = (0.0, 1.0)
    """What the 0.5 and 99.5 percentiles become before the model's own normalisation: (0, 1) as all SAM 2 models expect, or (-1, 1). It
    is a property of the trained model: the trainer writes it into the model's configuration, so that the engine does the same."""
    labels: LabelKind = "semantic"
    """`semantic`: all voxels of one label value are one object. `instances`: each of its 26-connected parts is."""
    classes: tuple[int, ...] = ()
    """The label values that hold objects; empty for all but 0."""
    min_voxels: int = 10
    """Objects of fewer voxels are not looked at."""
    axis: SliceAxis = "axial"
    """The axis that clips run along; i, j and k are those of the volume turned to RAS; `random` draws one of three for every clip."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """What is changed at random."""
    cache_mb: int = 1024
    """Prepared volumes kept in memory, MiB, all worker processes of one rank together; one volume per process is always kept."""
    cache_folder: str = ""
    """Prepared volumes are also kept here from run to run; empty for nowhere. It takes about eight bytes per voxel and may be deleted."""
    on_bad_case: BadCase = "skip"
    """A case that cannot be used: `skip` it with a warning that is counted, or `stop` the run."""

    def __post_init__(self) -> None:
        if not self.datasets:
            raise ConfigError("data.datasets is empty", hint="name at least one dataset.json")
        if self.intensity_range not in ((0.0, 1.0), (-1.0, 1.0)):
            raise ConfigError(f"data.intensity_range is (0, 1) or (-1, 1); got {self.intensity_range}")
        if any(value < 1 for value in self.classes) or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"data.classes are different label values from 1; got {self.classes}")
        if self.min_voxels < 1:
            raise ConfigError(f"data.min_voxels must be at least 1; got {self.min_voxels}")
        if self.cache_mb < 0:
            raise ConfigError(f"data.cache_mb must not be negative; got {self.cache_mb}")
        _check_choice("data.labels", self.labels, ("semantic", "instances"))
        _check_choice("data.axis", self.axis, ("axial", "coronal", "sagittal", "i", "j", "k", "random"))
        _check_choice("data.on_bad_case", self.on_bad_case, ("skip", "stop"))


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """The shape of a batch. Memory while training grows with `clips * slices * max_objects` and with nothing else."""

    clips: int = 1
    """Clips in a batch of one process; they never see each other."""
    slices: int = 8
    """Slices of a clip; a shorter volume is filled up by repeating its last slice."""
    max_objects: int = 3
    """At most this many objects of a clip, drawn from those that its first slice shows."""
    max_gap: int = 1
    """Largest distance between neighbouring slices of a clip, in slices of the volume; drawn for every clip."""
    reverse: float = 0.5
    """Probability that a clip goes downwards."""
    min_pixels: int = 12
    """A clip starts where an object has at least this many pixels, or where it is largest if it never has."""
    crop: float = 0.0
    """Probability that a clip shows a crop around its first object instead of whole slices, as the engine shows small objects."""
    crop_range: tuple[float, float] = (1.3, 4.0)
    """Side of a crop, as a multiple of the longer side of the object's box; drawn evenly over its logarithm."""

    def __post_init__(self) -> None:
        for name in ("clips", "slices", "max_objects", "max_gap", "min_pixels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"sampling.{name} must be at least 1; got {getattr(self, name)}")
        for name in ("reverse", "crop"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"sampling.{name} is a probability from 0 to 1; got {getattr(self, name):g}")
        if not 1 <= self.crop_range[0] <= self.crop_range[1]:
            raise ConfigError(
                f"sampling.crop_range needs 1 <= least <= most; got {self.crop_range[0]:g} and {self.crop_range[1]:g}"
            )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is one of {', '.join(choices)}; got {value!r}")


FirstPrompt = Literal["box", "click", "scribble", "lasso"]
FIRST_PROMPTS: tuple[FirstPrompt, ...] = get_args(FirstPrompt)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """What is prompted and what is measured."""

    kinds: tuple[FirstPrompt, ...] = ("box", "click")
    """First prompts, each measured apart, on the slice where the object is largest: its tight box, a click in its middle, a scribble
    along its middle, or a lasso around its largest part there."""
    num_clicks: int = 5
    """Correction clicks after the first prompt, at most."""
    axis: str = "axial"
    """The axis that is prompted and propagated along: axial, coronal, sagittal (the nearest stored one), i, j or k."""
    target_dice: float = 0.85
    """Corrections are counted until this Dice."""
    tolerance_mm: float = 2.0
    """Surfaces that are no farther apart count as the same."""
    max_objects: int = 0
    """At most this many objects of a case, the largest; 0 for all."""
    has_surfaces: bool = True
    """Measure distances of surfaces; they take about as long as a correction."""

    def __post_init__(self) -> None:
        if not self.kinds or any(kind not in FIRST_PROMPTS for kind in self.kinds):
            raise ConfigError(
                f"evaluation.kinds are some of {', '.join(FIRST_PROMPTS)}; got {', '.join(self.kinds) or 'none'}"
            )
        if self.num_clicks < 0:
            raise ConfigError(f"evaluation.num_clicks must not be negative; got {self.num_clicks}")
        if not 0 < self.target_dice <= 1:
            raise ConfigError(f"evaluation.target_dice is above 0 and at most 1; got {self.target_dice:g}")
        if self.tolerance_mm <= 0:
            raise ConfigError(f"evaluation.tolerance_mm must be above 0; got {self.tolerance_mm:g}")
        if self.max_objects < 0:
            raise ConfigError(f"evaluation.max_objects must not be negative; got {self.max_objects}")
