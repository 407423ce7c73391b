"""Label maps as DICOM Segmentation objects, through highdicom, which is optional. Only for images that came from DICOM."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.labels.codes import Code, code_of
from NeuroSAM2Core.labels.table import LabelEntry, LabelTable
from NeuroSAM2Core.outputs import writing
from NeuroSAM2Core.version import __version__

INSTALL = "install it with `pip install highdicom`"
MAX_LABEL_LENGTH = 64
"""Letters of a segment's name in DICOM."""
SERIES_NUMBER = 900


@dataclass(frozen=True, slots=True, eq=False)
class SourceImages:
    """The headers of the DICOM slices that an image was read from, in the order of its slices."""

    headers: tuple[Any, ...]

    @classmethod
    def read(cls, files: Sequence[str | Path]) -> "SourceImages":
        """The headers of files; their voxels are not read.

        Raises:
            ConfigError: highdicom is not installed.
            DataError: One cannot be read.
        """
        _highdicom()
        import pydicom

        try:
            return cls(tuple(pydicom.dcmread(disk.extended(Path(one)), stop_before_pixels=True) for one in files))
        except (OSError, ValueError, pydicom.errors.InvalidDicomError) as error:
            raise DataError(f"the DICOM files cannot be read: {error}", hint="open the series again") from error


def write_dicom_seg(
    path: Path, labels: NDArray[Any], table: LabelTable, source: SourceImages, *, overwrite: bool = False
) -> None:
    """Writes a label map as a DICOM Segmentation that refers to the slices of its image.

    Args:
        path: Of the file.
        labels: (K, J, I), on the grid of the image.
        table: Names and colours; structures that are known by name get their SNOMED code.
        source: Of the image.
        overwrite: A file that is there may be replaced.

    Raises:
        ConfigError: highdicom is not installed.
        DataError: It cannot be written, or the labels are not on the grid of the slices.
    """
    hd = _highdicom()
    values = [value for value in np.unique(labels).tolist() if value > 0]
    if not values:
        raise DataError("there is nothing to write: no voxel is labelled", hint="outline something first")
    headers = source.headers
    if len(headers) != len(labels) or any((one.Rows, one.Columns) != labels.shape[1:] for one in headers):
        raise DataError(
            "the labels are not on the grid of the DICOM slices",
            hint="open the DICOM series, and outline on that image",
        )
    numbers = np.where(labels > 0, np.searchsorted(values, labels) + 1, 0).astype(np.min_scalar_type(len(values)))
    entries = table.restricted(values).entries
    try:
        made = hd.seg.Segmentation(
            source_images=_with_thickness(headers),
            pixel_array=numbers,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_description(hd, number, one) for number, one in enumerate(entries, start=1)],
            series_instance_uid=hd.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="NeuroSAM2",
            manufacturer_model_name="NeuroSAM2",
            software_versions=__version__,
            device_serial_number="0",
            content_label="SEGMENTATION",
            series_description="NeuroSAM2 segmentation",
        )
        _add_sides(made, entries)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise DataError(
            f"a DICOM segmentation of these slices cannot be made: {error}", hint="save it as .nii.gz or .seg.nrrd"
        ) from error
    with writing(path), disk.replaced_atomically(path, overwrite=overwrite) as partial:
        made.save_as(partial)


def _highdicom() -> ModuleType:
    try:
        import highdicom
    except ImportError as error:
        raise ConfigError("DICOM segmentations need highdicom to be written", hint=INSTALL) from error
    return highdicom


def _with_thickness(headers: Sequence[Any]) -> list[Any]:
    """Headers of slices that all name their thickness, which scanners may leave out."""
    first, last = (np.array(one.ImagePositionPatient, float) for one in (headers[0], headers[-1]))
    between = float(np.linalg.norm(last - first)) / (len(headers) - 1) if len(headers) > 1 else 1.0
    complete = []
    for header in headers:
        if header.get("SliceThickness") is None:
            header = copy.copy(header)
            header.SliceThickness = round(between, 6)
        complete.append(header)
    return complete


def _description(hd: ModuleType, number: int, entry: LabelEntry) -> Any:  # noqa: ANN401  (highdicom is optional)
    code = code_of(entry.name)
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=entry.name[:MAX_LABEL_LENGTH],
        segmented_property_category=_concept(hd, code.category),
        segmented_property_type=_concept(hd, code.kind),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="NeuroSAM2", version=__version__, family=hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
        ),
        tracking_uid=hd.UID(),
        tracking_id=entry.name[:MAX_LABEL_LENGTH],
        display_color=hd.color.CIELabColor.from_rgb(*entry.colour),
    )


def _add_sides(made: Any, entries: Sequence[LabelEntry]) -> None:  # noqa: ANN401  (highdicom is optional)
    """Left and right, as modifiers of what a structure is."""
    import pydicom

    for segment, entry in zip(made.SegmentSequence, entries, strict=True):
        side = code_of(entry.name).side
        if side is not None:
            item = pydicom.Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = side.value, "SCT", side.meaning
            segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [item]


def _concept(hd: ModuleType, code: Code) -> Any:  # noqa: ANN401  (highdicom is optional)
    return hd.sr.CodedConcept(value=code.value, scheme_designator="SCT", meaning=code.meaning)
