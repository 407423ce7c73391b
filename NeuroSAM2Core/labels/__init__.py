"""Label maps: which images are some, names and colours of their values, and bringing them onto the grid of an image. No PyTorch."""

from NeuroSAM2Core.labels.image import (
    SAME_POSITION_MM,
    ImageKind,
    Regridded,
    corners_apart_mm,
    kind_of_image,
    labels_on_grid,
    whole_numbers,
)
from NeuroSAM2Core.labels.table import (
    FREESURFER,
    LabelEntry,
    LabelTable,
    TableFormat,
    find_table,
    only_table,
    read_table,
    table_for,
    write_table,
)

__all__ = [
    "FREESURFER",
    "SAME_POSITION_MM",
    "ImageKind",
    "LabelEntry",
    "LabelTable",
    "Regridded",
    "TableFormat",
    "corners_apart_mm",
    "find_table",
    "kind_of_image",
    "labels_on_grid",
    "only_table",
    "read_table",
    "table_for",
    "whole_numbers",
    "write_table",
]
