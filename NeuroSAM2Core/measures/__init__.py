"""Numbers of objects in label maps: their size, surface and intensities, and how alike two maps are. No PyTorch."""

from NeuroSAM2Core.measures.agreement import SurfaceAgreement, dice, iou, surface_agreement
from NeuroSAM2Core.measures.differences import LabelDifference, label_difference
from NeuroSAM2Core.measures.objects import PERCENTILES, ObjectMeasures, measure_object
from NeuroSAM2Core.measures.prompted_slices import SliceCounts, read_slice_counts

__all__ = [
    "PERCENTILES",
    "LabelDifference",
    "ObjectMeasures",
    "SliceCounts",
    "SurfaceAgreement",
    "dice",
    "iou",
    "label_difference",
    "measure_object",
    "read_slice_counts",
    "surface_agreement",
]
