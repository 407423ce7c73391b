"""Connected components, holes and islands of tensors, on the device where they are. For NumPy masks see `components.cpu`."""

from NeuroSAM2Core.components.device.extension import is_extension_active, why_inactive
from NeuroSAM2Core.components.device.masks import (
    Components,
    fill_holes,
    fill_holes_as_reference,
    for_each_object,
    label_components,
    largest_component,
    remove_islands,
    tabulate_components,
)
from NeuroSAM2Core.components.device.memory import release_cached_memory

__all__ = [
    "Components",
    "fill_holes",
    "fill_holes_as_reference",
    "for_each_object",
    "is_extension_active",
    "label_components",
    "largest_component",
    "release_cached_memory",
    "remove_islands",
    "tabulate_components",
    "why_inactive",
]
