"""Numbers of objects in label maps: their size, surface and intensities, and how alike two maps are. No PyTorch."""

from NeuroSAM2Core.measures.agreement import SurfaceAgreement, dice, iou, surface_agreement
from NeuroSAM2Core.measures.differences import LabelDifference, comparing, label_difference
from NeuroSAM2Core.measures.intensities import PERCENTILES, Intensities, measuring_intensities
from NeuroSAM2Core.measures.object_mask import ObjectMask
from NeuroSAM2Core.measures.objects import ObjectMeasures, ObjectSize, measure_object, measuring_size
from NeuroSAM2Core.measures.prompted_slices import SliceCounts, counts_of, read_model, read_slice_counts
from NeuroSAM2Core.measures.steps import Steps, finished
from NeuroSAM2Core.measures.table import MeasuredObject, cells, columns, number_text, shown_cells, table_text

__all__ = [
    "PERCENTILES",
    "Intensities",
    "LabelDifference",
    "MeasuredObject",
    "ObjectMask",
    "ObjectMeasures",
    "ObjectSize",
    "SliceCounts",
    "Steps",
    "SurfaceAgreement",
    "cells",
    "columns",
    "comparing",
    "counts_of",
    "dice",
    "finished",
    "iou",
    "label_difference",
    "measure_object",
    "measuring_intensities",
    "measuring_size",
    "number_text",
    "read_model",
    "read_slice_counts",
    "shown_cells",
    "surface_agreement",
    "table_text",
]
