"""SNOMED CT codes of structures that are outlined in the brain, by their names. From the context groups of DICOM (CID 7140, 7150, 7159)."""

import re
from dataclasses import dataclass


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
