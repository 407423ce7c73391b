"""Connected components, holes and islands of NumPy masks. For tensors see `device_ops`."""

from NeuroSAM2Core.ops.components import (
    ONLY_LARGEST,
    Rule,
    bounding_box,
    fill_holes,
    keep_parts,
    largest_component,
    remove_islands,
)
from NeuroSAM2Core.ops.labelling import (
    Connectivity,
    PartTable,
    corners,
    dims_of,
    faces,
    label_first_voxels,
    label_parts,
    tabulate_parts,
)
from NeuroSAM2Core.ops.objects import for_each_object

__all__ = [
    "ONLY_LARGEST",
    "Connectivity",
    "PartTable",
    "Rule",
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
