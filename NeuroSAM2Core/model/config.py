"""The whole architecture as data.

A `SAM2Config` travels inside every checkpoint of ours, so that a file rebuilds its own model. `PRESETS` names Meta's published sizes
(2.0 and 2.1), MedSAM2's 512-pixel tiny and our own small models. No parameter shape depends on `image_size`.

Source: Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024; Ryali et al., "Hiera", ICML 2023.
"""

import dataclasses
import difflib
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_type_hints

from NeuroSAM2Core.decoding import DecodingError, UnknownFieldError, decoded
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.legacy import current_names

T = TypeVar("T")


class UnknownSettingError(ConfigError):
    """A setting that this version does not know: a slip of the pen, or of a later version."""


TRUNK_BOUNDS: Mapping[str, tuple[int, int]] = {
    "width": (8, 1024),
    "num_heads": (1, 64),
    "stages": (1, 64),
    "global_blocks": (0, 255),
    "windows": (1, 128),
    "background_grid": (1, 128),
}
LARGEST_INTENSITY = 1e9
MODEL_BOUNDS: Mapping[str, tuple[int, int]] = {
    "image_size": (32, 8192),
    "width": (8, 4096),
    "memory_width": (4, 4096),
    "memory_layers": (1, 64),
    "memory_mlp_width": (1, 65536),
    "decoder_mlp_width": (1, 65536),
    "decoder_heads": (1, 64),
    "mask_prompt_width": (4, 1024),
    "num_mask_memories": (1, 256),
    "max_object_pointers": (0, 4096),
}
"""Far beyond every model there is: a file cannot make this program build something that fills the machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HieraConfig:
    """The image encoder's trunk: four stages, each halving the grid and doubling the width."""

    width: int
    """Channels of the first stage; doubled at each later stage."""
    num_heads: int
    """Attention heads of the first stage; doubled at each later stage."""
    stages: tuple[int, int, int, int]
    """Blocks per stage."""
    global_blocks: tuple[int, ...]
    """Indices of the blocks that attend over the whole grid."""
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    """Window side per stage, in tokens of that stage."""
    background_grid: tuple[int, int] = (7, 7)
    """Size of the coarse position embedding that is stretched over the image."""

    def __post_init__(self) -> None:
        _check_bounds(self, TRUNK_BOUNDS)
        if self.width % self.num_heads:
            raise ConfigError(f"width {self.width} must be a multiple of num_heads {self.num_heads}")
        if any(block >= self.depth for block in self.global_blocks):
            raise ConfigError(
                f"global_blocks must be below {self.depth}, the number of blocks; got {self.global_blocks}"
            )
        for stage, window in enumerate(self.windows[:3]):
            if window % 2 and sum(self.stages[: stage + 1]) not in self.global_blocks:
                raise ConfigError(
                    f"window {window} of stage {stage} is odd; its tokens are pooled 2 x 2 by the next stage"
                )

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return sum(self.stages)

    @property
    def stage_widths(self) -> tuple[int, int, int, int]:
        """Channels of each stage's output, finest first."""
        w = self.width
        return w, 2 * w, 4 * w, 8 * w


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineDefaults:
    """The engine's choices that were measured for one model, by `neurosam2 tune` or at the end of a fine-tuning run.

    They bear the names of `EngineOptions`; None leaves a choice to the flags of `SAM2Config`.
    """

    crops: bool | None = None
    carries_boxes: bool | None = None
    refines_boxes: bool | None = None
    refines_masks: bool | None = None
    ends_by_shape: bool | None = None
    use_appearance_model: bool | None = None
    interpolates: bool | None = None
    clears_denied: bool | None = None
    upsampling: Literal["bilinear", "bicubic"] | None = None
    min_area_ratio: float | None = None
    """0 to 1."""

    def __post_init__(self) -> None:
        if self.min_area_ratio is not None and not 0 <= self.min_area_ratio <= 1:
            raise ConfigError(f"min_area_ratio is a number from 0 to 1; got {self.min_area_ratio!r}")

    def chosen(self) -> dict[str, bool | float | str]:
        """The choices that are made, by name."""
        values = ((one.name, getattr(self, one.name)) for one in dataclasses.fields(self))
        return {name: value for name, value in values if value is not None}

    def updated(self, other: "EngineDefaults") -> "EngineDefaults":
        """These choices, where `other` makes none."""
        return _read(EngineDefaults, self.chosen() | other.chosen())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EngineDefaults":
        """The inverse of `chosen`.

        Raises:
            ConfigError: On a key this version does not know (names the nearest) or a value that is none of its kind.
        """
        return _read(cls, values)


@dataclass(frozen=True, kw_only=True, slots=True)
class SAM2Config:
    """Every choice that shapes a SAM 2 model."""

    trunk: HieraConfig
    image_size: int = 1024
    """Side of the square model input, pixels; a multiple of 32."""
    width: int = 256
    """Channels of image features, prompts and object pointers."""
    memory_width: int = 64
    """Channels of a memory; divides `width`."""
    memory_layers: int = 4
    """Layers of memory attention."""
    memory_mlp_width: int = 2048
    """Hidden width of the feed-forward part of memory attention."""
    memory_dropout: float = 0.1
    """Dropout inside memory attention while training, 0 to 1."""
    decoder_mlp_width: int = 2048
    """Hidden width of the feed-forward part of the mask decoder's transformer."""
    decoder_heads: int = 8
    """Attention heads of the mask decoder."""
    mask_prompt_width: int = 16
    """Channels before the last convolution of the mask-prompt path."""
    num_mask_memories: int = 7
    """Spatial memories with a temporal position: one for conditioning slices and the most recent ones."""
    max_object_pointers: int = 16
    """Object pointers that memory attention may read."""
    has_pointer_time: bool = True
    """2.1: object pointers carry their distance in slices. 2.0: False."""
    has_absence_embedding: bool = True
    """2.1: the memory of a slice without the object gets a learned embedding. 2.0: False."""

    intensity_range: tuple[float, float] = (0.0, 1.0)
    """What the black and white of a slice become before they are normalised: (0, 1) in all published models, (-1, 1) in ones
    fine-tuned that way."""
    rasterize_prompts: bool = False
    """Points, boxes and the neighbouring slice's mask are also rasterized into the mask prompt. Of our own models only: a small
    model learns what it is shown in place far sooner than what it must look up."""
    sample_point_features: bool = False
    """Point tokens also carry the fine features under the point. Of our own models only: at 256 pixels a coarse feature covers a whole
    gyrus, so that it cannot say what exactly was clicked."""
    use_appearance_model: bool = False
    """While it propagates, the engine learns from the prompted slices what the object looks like (docs/adr/0010). Of our own general
    models only: one that was fine-tuned for a structure knows it better."""
    adaptive_crops: bool = False
    """The engine shows this model crops around small objects, carries the box of each mask to the next slice, reads a click at several
    sizes and ends objects by their shape. Of models that were trained on such clips."""
    review_iou_threshold: float = 0.8
    """From this predicted overlap on a mask needs no second look. It changes no mask; `benchmarks/confidence.py` measures it."""
    engine: EngineDefaults = field(default_factory=EngineDefaults)
    """Choices of the engine that were measured for this very model; they win over `use_appearance_model` and `adaptive_crops`."""

    def __post_init__(self) -> None:
        if self.image_size < 32 or self.image_size % 32:
            raise ConfigError(f"image_size must be a positive multiple of 32; got {self.image_size}")
        _check_bounds(self, MODEL_BOUNDS)
        for name in ("memory_dropout", "review_iou_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a number from 0 to 1; got {getattr(self, name)}")
        low, high = self.intensity_range
        if not -LARGEST_INTENSITY <= low < high <= LARGEST_INTENSITY:
            raise ConfigError(f"intensity_range is two numbers, the smaller first; got {self.intensity_range}")
        if self.width % self.memory_width or self.width % 8:
            raise ConfigError(f"width {self.width} must be a multiple of 8 and of memory_width {self.memory_width}")
        if self.memory_width % 4 or self.mask_prompt_width % 4:
            raise ConfigError(
                f"memory_width and mask_prompt_width must be multiples of 4; got {self.memory_width}, {self.mask_prompt_width}"
            )
        if self.width // 2 % self.decoder_heads:
            raise ConfigError(f"half of width {self.width} must be a multiple of decoder_heads {self.decoder_heads}")
        if self.image_size // 4 % self.trunk.windows[0]:
            raise ConfigError(
                f"a quarter of image_size {self.image_size} must be a multiple of the first window, {self.trunk.windows[0]}"
            )

    @property
    def grid(self) -> int:
        """Side of the feature grid that memories and prompts live on, tokens."""
        return self.image_size // 16

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values that JSON or TOML can hold; without `engine` where no choice is made, as older versions expect."""
        values = dataclasses.asdict(self)
        del values["engine"]
        return values | ({"engine": chosen} if (chosen := self.engine.chosen()) else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SAM2Config":
        """The inverse of `to_dict`.

        Raises:
            ConfigError: On a key this version does not know, a missing one or a value out of range.
        """
        return _read(cls, values)


def _check_bounds(config: HieraConfig | SAM2Config, bounds: Mapping[str, tuple[int, int]]) -> None:
    """Every number, and every one of a list, is within its bounds."""
    for name, (low, high) in bounds.items():
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not low <= number <= high:
                raise ConfigError(f"{name} must be a whole number from {low} to {high}; got {number}")


def _read(kind: type[T], values: object) -> T:
    """Settings of a model, as `kind` has them."""
    try:
        return decoded(kind, current_names(values) if isinstance(values, Mapping) else values, "")
    except UnknownFieldError as error:
        near = difflib.get_close_matches(error.name, get_type_hints(error.owner), n=1)
        raise UnknownSettingError(
            f"unknown model setting {reprlib.repr(error.name)}" + (f"; did you mean {near[0]!r}?" if near else ""),
            hint="the file may come from a newer version of NeuroSAM2",
        ) from None
    except DecodingError as error:
        raise ConfigError(f"{error}", hint=error.hint) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trunks:
    tiny: HieraConfig = field(
        default_factory=lambda: HieraConfig(width=96, num_heads=1, stages=(1, 2, 7, 2), global_blocks=(5, 7, 9))
    )
    small: HieraConfig = field(
        default_factory=lambda: HieraConfig(width=96, num_heads=1, stages=(1, 2, 11, 2), global_blocks=(7, 10, 13))
    )
    base_plus: HieraConfig = field(
        default_factory=lambda: HieraConfig(
            width=112, num_heads=2, stages=(2, 3, 16, 3), global_blocks=(12, 16, 20), background_grid=(14, 14)
        )
    )
    large: HieraConfig = field(
        default_factory=lambda: HieraConfig(
            width=144, num_heads=2, stages=(2, 6, 36, 4), global_blocks=(23, 33, 43), windows=(8, 4, 16, 8)
        )
    )


def _meta(trunk: HieraConfig) -> dict[str, SAM2Config]:
    new = SAM2Config(trunk=trunk)
    return {"2.1": new, "2": replace(new, has_pointer_time=False, has_absence_embedding=False)}


def _presets() -> dict[str, SAM2Config]:
    trunks = _Trunks()
    sizes = {"t": trunks.tiny, "s": trunks.small, "b+": trunks.base_plus, "l": trunks.large}
    presets = {
        f"sam{version}_hiera_{size}": config
        for size, trunk in sizes.items()
        for version, config in _meta(trunk).items()
    }
    presets["sam2.1_hiera_t512"] = replace(presets["sam2.1_hiera_t"], image_size=512)
    presets["nano"] = SAM2Config(
        # Windows divide every grid at 128, 192 and 256 pixels; the two coarse stages are small enough to see everything.
        trunk=HieraConfig(
            width=32,
            num_heads=1,
            stages=(1, 2, 4, 1),
            global_blocks=(4, 5, 6, 7),
            windows=(8, 8, 8, 8),
            background_grid=(8, 8),
        ),
        image_size=256,
        width=128,
        memory_width=32,
        memory_layers=2,
        memory_mlp_width=512,
        decoder_mlp_width=512,
        # No more memory than its short training clips fill.
        num_mask_memories=3,
        max_object_pointers=4,
        rasterize_prompts=True,
        use_appearance_model=True,
        sample_point_features=True,
        adaptive_crops=True,
    )
    return presets


PRESETS: dict[str, SAM2Config] = _presets()
"""Known architectures by name: `sam2_hiera_*`, `sam2.1_hiera_*` with sizes t, s, b+ and l; `sam2.1_hiera_t512`; `nano`."""
