"""Label maps as DICOM Segmentation objects, through highdicom, which is optional. Only for images that came from DICOM.

SNOMED CT codes of structures that are outlined in the brain, by their names. From the context groups of DICOM (CID 7140, 7150, 7159).
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.labels.table import LabelEntry, LabelTable
from NeuroSAM2Core.outputs import writing
from NeuroSAM2Core.version import __version__


@dataclass(frozen=True, slots=True)
class Code:
    """A concept of SNOMED CT."""

    value: str
    meaning: str


@dataclass(frozen=True, slots=True)
class StructureCode:
    """What a structure is."""

    category: Code
    kind: Code
    side: Code | None = None


ANATOMY = Code("91723000", "Anatomical Structure")
ABNORMAL = Code("49755003", "Morphologically Abnormal Structure")
SUBSTANCE = Code("91720002", "Body Substance")
TISSUE = Code("85756007", "Tissue")
LEFT, RIGHT = Code("7771000", "Left"), Code("24028007", "Right")
UNKNOWN = StructureCode(TISSUE, TISSUE)
"""Of what has no code here."""
KNOWN = (
    (ANATOMY, "12738006", "Brain", "brain|whole brain"),
    (ANATOMY, "119238007", "Brain Stem", "brain stem|brainstem"),
    (ANATOMY, "68523003", "Cerebral White Matter", "cerebral white matter|white matter|wm"),
    (ANATOMY, "40146001", "Cerebral Gray Matter", "cerebral cortex|cortex|gray matter|grey matter|gm"),
    (ANATOMY, "113305005", "Cerebellum", "cerebellum"),
    (ANATOMY, "33060004", "Cerebellar White Matter", "cerebellum white matter|cerebellar white matter"),
    (ANATOMY, "25991003", "Cerebellar Cortex", "cerebellum cortex|cerebellar cortex"),
    (ANATOMY, "66720007", "Lateral Ventricle", "lateral ventricle"),
    (ANATOMY, "53118009", "Inferior Horn of Lateral Ventricle", "inf lat vent|inferior lateral ventricle"),
    (ANATOMY, "49841001", "Third ventricle", "3rd ventricle|third ventricle"),
    (ANATOMY, "35918002", "Fourth Ventricle", "4th ventricle|fourth ventricle"),
    (ANATOMY, "35764002", "Brain ventricle", "ventricle|ventricles"),
    (ANATOMY, "119406000", "Thalamus", "thalamus|thalamus proper"),
    (ANATOMY, "11000004", "Caudate Nucleus", "caudate|caudate nucleus"),
    (ANATOMY, "89278009", "Putamen", "putamen"),
    (ANATOMY, "14738005", "Globus Pallidus", "pallidum|globus pallidus"),
    (ANATOMY, "5366008", "Hippocampus", "hippocampus"),
    (ANATOMY, "4958002", "Amygdala", "amygdala"),
    (ANATOMY, "427667007", "Nucleus Accumbens", "accumbens|accumbens area|nucleus accumbens"),
    (ANATOMY, "80621003", "Choroid plexus", "choroid plexus"),
    (ANATOMY, "88442005", "Corpus callosum", "corpus callosum"),
    (ANATOMY, "244453006", "Optic chiasm", "optic chiasm"),
    (ANATOMY, "36169008", "Insula", "insula"),
    (ANATOMY, "61962009", "Midbrain", "midbrain"),
    (ANATOMY, "70007007", "Substantia nigra", "substantia nigra"),
    (ANATOMY, "2748008", "Spinal cord", "spinal cord"),
    (ANATOMY, "89546000", "Skull", "skull"),
    (SUBSTANCE, "65216001", "Cerebrospinal Fluid", "csf|cerebrospinal fluid"),
    (
        ABNORMAL,
        "108369006",
        "Neoplasm",
        "tumor|tumour|neoplasm|glioma|enhancing tumor|enhancing tumour|tumor core|tumour core",
    ),
    (ABNORMAL, "14799000", "Neoplasm, Secondary", "metastasis|metastases"),
    (ABNORMAL, "79654002", "Edema", "edema|oedema|peritumoral edema"),
    (ABNORMAL, "6574001", "Necrosis", "necrosis|necrotic core"),
    (ABNORMAL, "52988006", "Lesion", "lesion|lesions|wmh|white matter lesion|ms lesion|white matter hyperintensity"),
    (ABNORMAL, "50960005", "Hemorrhage", "hemorrhage|haemorrhage|bleeding|ich"),
    (ABNORMAL, "35566002", "Hematoma", "hematoma|haematoma"),
    (ABNORMAL, "367643001", "Cyst", "cyst"),
    (ABNORMAL, "4147007", "Mass", "mass"),
)
"""Category, code, meaning, and the names that people give."""
BY_NAME = {
    name: (category, Code(value, meaning)) for category, value, meaning, names in KNOWN for name in names.split("|")
}
SIDES = {"left": LEFT, "l": LEFT, "lh": LEFT, "right": RIGHT, "r": RIGHT, "rh": RIGHT}


def code_of(name: str) -> StructureCode:
    """What an object of that name is: `Left-Hippocampus`, `right lateral ventricle`, `tumor 2`; `UNKNOWN` where no code is known."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word and not (word.isdecimal())]
    side = next((SIDES[word] for word in words if word in SIDES), None)
    known = BY_NAME.get(" ".join(word for word in words if word not in SIDES))
    return UNKNOWN if known is None else StructureCode(*known, side)


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
