"""Connected components, holes and islands of tensors, on the device where they are. For NumPy masks see `ops`."""

from NeuroSAM2Core.device_ops.extension import is_extension_active, why_inactive
from NeuroSAM2Core.device_ops.masks import (
    Components,
    fill_holes,
    fill_holes_as_reference,
    for_each_object,
    label_components,
    largest_component,
    remove_islands,
    tabulate_components,
)
from NeuroSAM2Core.device_ops.memory import give_back_memory

__all__ = [
    "Components",
    "fill_holes",
    "fill_holes_as_reference",
    "for_each_object",
    "give_back_memory",
    "is_extension_active",
    "label_components",
    "largest_component",
    "remove_islands",
    "tabulate_components",
    "why_inactive",
]
