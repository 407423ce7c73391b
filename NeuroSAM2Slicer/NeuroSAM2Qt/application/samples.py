"""Something to try the panels on, at once and without a network; registered with Slicer's Sample Data module, too."""

import slicer
from NeuroSAM2Lib.scene.practice_volume import NAME, add_practice_volume

CATEGORY = "NeuroSAM2"


def load_sample() -> slicer.vtkMRMLScalarVolumeNode:
    """A head made on the spot, shown in the slice views."""
    node = add_practice_volume(slicer.mrmlScene)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


def register_sample(thumbnail: str) -> None:
    """Lists it among Slicer's sample data.

    Args:
        thumbnail: Path of a picture.
    """
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        thumbnailFileName=thumbnail,
        uris="",
        fileNames="",
        nodeNames=NAME,
        customDownloader=lambda source: load_sample(),
    )
