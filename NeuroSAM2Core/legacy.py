"""Names in files of earlier versions, and what they are called now.

Model files, engine settings, run folders, journals and scenes are read through these functions; nothing is written in old names.
"""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

CURRENT: Mapping[str, str] = {
    "learns_appearance": "use_appearance_model",
    "paints_prompts": "rasterize_prompts",
    "samples_prompts": "sample_point_features",
    "sure_iou": "review_iou_threshold",
    "min_area_share": "min_area_ratio",
    "presence": "object_score",
    "entropy": "bce",
    "taught": "supervised",
    "supervises_all_ious": "supervise_all_iou",
    "supervises_absent_iou": "supervise_absent_iou",
    "kind_from_shape": "auto_prompt_type",
    "loose_box": "jitter_box_prob",
    "rough_neighbours": "perturb_prev_mask_prob",
    "foreign_starts": "swap_object_prob",
    "carried_box": "prev_box_prob",
    "max_taught": "max_supervised",
    "smallest_share": "min_factor",
    "final_rate": "final_lr_factor",
    "least_crop_mm": "min_crop_mm",
    "least_others": "min_others",
}
"""Name of a setting or field in files of version 0.1 -> its name now."""
CURRENT_VALUES: Mapping[tuple[str, object], object] = {("supervised", "chosen"): "predicted_best"}
"""The same of values: (name now, value then) -> value now."""
FORMER: Mapping[str, str] = {new: old for old, new in CURRENT.items()}


def current_name(name: str) -> str:
    """The name of a setting today."""
    return CURRENT.get(name, name)


def former_name(name: str) -> str:
    """The name that a setting had in version 0.1."""
    return FORMER.get(name, name)


def current_names(values: Mapping[str, T]) -> dict[str, T]:
    """The same settings under today's names, tables in tables included.

    Where a table has a setting under both names, the old one stays, so that the reader refuses it as unknown.
    """
    result: dict[str, T] = {}
    for key, value in values.items():
        name = key if current_name(key) in values else current_name(key)
        new: object = current_names(value) if isinstance(value, Mapping) else value
        if not isinstance(new, dict | list):
            new = CURRENT_VALUES.get((name, new), new)
        result[name] = new  # type: ignore[assignment]  # a table stays a table, and a value a value of its kind
    return result
