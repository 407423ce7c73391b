"""The inference options, each with SAM 2's own behaviour beside it (docs/adr/0002)."""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.model import SAM2Config

T = TypeVar("T")
MIN_AREA_RATIO = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """Options for prompts, memory and mask clean-up."""

    max_conditioning: int | None = 8
    """Memory attention looks at no more than this many prompted slices, the closest. Reference: all."""
    memory_stride: int = 1
    """Distance between the recent slices that are remembered, beyond the last one."""
    binarize_prompted: bool = True
    """Remember prompted slices as thresholded masks. As the reference's video predictor."""
    stability_fallback: bool = True
    """Replace an uncertain single mask by the best of three. As the reference's video predictor."""
    enforce_clicks: bool = True
    """Make a clicked pixel what the click says where the model does not. Reference: the model has the last word."""
    select_correction_mask: bool | None = None
    """Answer a correction with the one of the four masks that agrees with the clicks and changes little else (docs/adr/0012); None: for
    our own small models. Reference: the single mask."""
    use_appearance_model: bool | None = None
    """Keep propagated masks to what looks like the object on its prompted slices (docs/adr/0010); None: where
    the model says so. Reference: no."""
    crops: bool | None = None
    """Show the model a crop around a small object, under the crop's own intensity window, and move it along with the object; None: where
    the model says so. Reference: the whole slice under the volume's window."""
    crop_scale: float = 2.0
    """Side of a crop as a multiple of the longer side of the box or mask in it."""
    click_fields_mm: tuple[float, ...] = (36.0, 64.0, 110.0)
    """A first click is read in crops of these sizes and on the whole slice; only where `crops` is on."""
    carries_boxes: bool | None = None
    """Give the tight box of the mask before as a prompt on the next slice, and choose the candidate that keeps most of that mask; None:
    where the model says so. Reference: memory alone."""
    box_margin_px: float = 6.0
    """How much wider than the mask before a carried box is, pixels of the model's input."""
    overlap_weight: float = 0.5
    """What keeping all of the mask before is worth beside an expected IoU of 1, when a candidate is chosen."""
    refines_boxes: bool | None = None
    """Where a crop is seen, let the mask refiner outline the object in the first box on a slice (docs/adr/0018); None: where the model says
    so. Reference: no."""
    refines_masks: bool | None = None
    """Where a crop is seen, refine propagated masks by the mask refiner (docs/adr/0018), and corrections by the mask before and by
    the object's intensities on confirmed slices (docs/adr/0013); None: where the model says so. Reference: no."""
    ends_by_shape: bool | None = None
    """End an object also where the mask refiner is no longer certain of its outline, or, on slices that it does not outline, where the
    expected IoU, the area or the overlap with the slice before becomes small; None: where the model says so. Reference: by the object
    score alone."""
    min_iou: float = 0.38
    """Least expected IoU of a slice that still shows the object and is not outlined by the mask refiner; with `ends_by_shape`."""
    min_area_ratio: float | None = None
    """Least area of such a slice, as a share of the largest one of this pass; with `ends_by_shape`. None: the model's own, else 0.2."""
    area_ratio_slope: float = 0.5
    """Where a crop is seen, that share is at least so much for each diameter (of a disc of the largest area) from the prompted slice:
    what is as deep as wide has ended half a diameter away, unless it keeps a quarter of its area; with `ends_by_shape`."""
    min_overlap: float = 0.0
    """Least overlap (IoU) of such a slice with the one before; with `ends_by_shape`."""
    interpolates: bool | None = None
    """Between two confirmed slices, expect a shape between the slice before and the confirmed one ahead, and prompt with that; None:
    where the model says so. Reference: no."""
    clears_denied: bool | None = None
    """Take a negative click in the middle of a propagated mask for "the object is not on this slice"; None: where the model says so.
    Reference: no."""
    max_slice_prompts: int | None = 64
    """A correction is answered from the mask before it, the first prompt of the slice and its latest ones, so many together: one more click
    costs the same after a thousand others. Reference: all."""
    upsampling: Literal["bilinear", "bicubic"] | None = None
    """How logits are brought to the size of the slice; None: bicubic where the model says `adaptive_crops`. Reference: bilinear."""
    half_memory: bool = True
    """Keep memories as bfloat16. As the reference."""
    aligns_pixel_centres: bool = True
    """Map the centre of a pixel to the centre of its place in the model's input. Reference: corner to corner, half a pixel off."""
    is_exact: bool = False
    """Compute in float32 even where the device is faster in bfloat16. Reference: left to its caller."""
    bidirectional_sweep: bool = False
    """One pass up from the lowest prompted slice and one down, each seeing what the other left, as the reference does; instead of
    passes outwards from every prompted slice that see nothing but their own slices and the prompted ones."""
    stop_after_absent: int | None = 3
    """End a pass after this many slices in a row without the object; None: at the end of the range. Reference: None."""
    max_hole_area: int | None = 64
    """Fill holes of up to this many pixels of a slice; 0 none, None all. Reference: 8 pixels of the quarter-size mask, on CUDA only."""
    min_island_area: int = 16
    """Drop islands of fewer pixels unless nothing else is left. Reference: kept."""
    max_hole_volume: int | None = 0
    """Fill holes of up to this many voxels of the whole object, once its slices are put together; 0 none, None all. Reference: none."""
    min_island_volume: int = 0
    """Drop islands of fewer voxels from the whole object; its largest part stays. Reference: kept."""
    only_largest_part: bool = False
    """Keep nothing but the largest part of the whole object. Reference: all parts."""
    feature_cache_bytes: int = 2 << 30
    """Features of slices kept, along all axes together, bytes. Reference: one slice."""

    @property
    def cleans_volume(self) -> bool:
        """True if the volume is cleaned after its slices are assembled."""
        return self.max_hole_volume != 0 or self.min_island_volume > 1 or self.only_largest_part

    @classmethod
    def as_reference(cls) -> "EngineOptions":
        """What the reference does as its configuration files say, without its compiled extension; the parity tests run on this.

        Its builder of video predictors adds `binarize_prompted` and `stability_fallback`.
        """
        return cls(
            max_conditioning=None,
            binarize_prompted=False,
            stability_fallback=False,
            enforce_clicks=False,
            select_correction_mask=False,
            use_appearance_model=False,
            interpolates=False,
            clears_denied=False,
            max_slice_prompts=None,
            crops=False,
            carries_boxes=False,
            refines_boxes=False,
            refines_masks=False,
            ends_by_shape=False,
            upsampling="bilinear",
            aligns_pixel_centres=False,
            is_exact=True,
            bidirectional_sweep=True,
            stop_after_absent=None,
            max_hole_area=0,
            min_island_area=0,
        )

    def resolved(self, config: SAM2Config) -> "EngineOptions":
        """These options with every open choice (None) made as suits a model: as was measured for it, else by its flags."""
        measured = config.engine

        def chosen(*choices: T | None, default: T) -> T:
            return next((choice for choice in choices if choice is not None), default)

        return replace(
            self,
            select_correction_mask=chosen(self.select_correction_mask, default=config.rasterize_prompts),
            use_appearance_model=chosen(
                self.use_appearance_model, measured.use_appearance_model, default=config.use_appearance_model
            ),
            crops=chosen(self.crops, measured.crops, default=config.adaptive_crops),
            carries_boxes=chosen(self.carries_boxes, measured.carries_boxes, default=config.adaptive_crops),
            refines_boxes=chosen(self.refines_boxes, measured.refines_boxes, default=config.adaptive_crops),
            refines_masks=chosen(self.refines_masks, measured.refines_masks, default=config.adaptive_crops),
            interpolates=chosen(self.interpolates, measured.interpolates, default=config.adaptive_crops),
            clears_denied=chosen(self.clears_denied, measured.clears_denied, default=config.adaptive_crops),
            ends_by_shape=chosen(self.ends_by_shape, measured.ends_by_shape, default=config.adaptive_crops),
            upsampling=self.upsampling or measured.upsampling or ("bicubic" if config.adaptive_crops else "bilinear"),
            min_area_ratio=chosen(self.min_area_ratio, measured.min_area_ratio, default=MIN_AREA_RATIO),
        )

    def __post_init__(self) -> None:
        if self.max_conditioning is not None and self.max_conditioning < 2:
            raise ConfigError(f"max_conditioning must be at least 2; got {self.max_conditioning}")
        if self.memory_stride < 1:
            raise ConfigError(f"memory_stride must be at least 1; got {self.memory_stride}")
        if self.max_hole_volume is not None and self.max_hole_volume < 0:
            raise ConfigError(
                f"max_hole_volume must be at least 0; got {self.max_hole_volume}", hint="None fills all holes"
            )
        if self.min_island_volume < 0:
            raise ConfigError(f"min_island_volume must be at least 0; got {self.min_island_volume}")
        if self.stop_after_absent is not None and self.stop_after_absent < 1:
            raise ConfigError(f"stop_after_absent must be at least 1; got {self.stop_after_absent}")
