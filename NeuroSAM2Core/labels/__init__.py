"""Label maps: which images are some, names and colours of their values, and bringing them onto the grid of an image. No PyTorch."""

from NeuroSAM2Core.labels.freesurfer import FREESURFER
from NeuroSAM2Core.labels.kind import ImageKind, kind_of_image
from NeuroSAM2Core.labels.regrid import SAME_POSITION_MM, Regridded, corners_apart_mm, labels_on_grid, whole_numbers
from NeuroSAM2Core.labels.table import LabelEntry, LabelTable, table_for
from NeuroSAM2Core.labels.table_files import TableFormat, find_table, only_table, read_table, write_table

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
