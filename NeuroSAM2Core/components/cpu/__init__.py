"""Connected components, holes and islands of NumPy masks. For tensors see `components.device`."""

from NeuroSAM2Core.components.cpu.components import (
    ONLY_LARGEST,
    ComponentFilter,
    bounding_box,
    fill_holes,
    keep_parts,
    largest_component,
    remove_islands,
)
from NeuroSAM2Core.components.cpu.labelling import (
    Connectivity,
    PartTable,
    corners,
    dims_of,
    faces,
    label_first_voxels,
    label_parts,
    tabulate_parts,
)
from NeuroSAM2Core.components.cpu.objects import for_each_object

__all__ = [
    "ONLY_LARGEST",
    "ComponentFilter",
    "Connectivity",
    "PartTable",
    "bounding_box",
    "corners",
    "dims_of",
    "faces",
    "fill_holes",
    "for_each_object",
    "keep_parts",
    "label_first_voxels",
    "label_parts",
    "largest_component",
    "remove_islands",
    "tabulate_parts",
]
