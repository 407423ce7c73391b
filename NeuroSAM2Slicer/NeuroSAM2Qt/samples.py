"""Sample data to try the panels on, through Slicer's own Sample Data module."""

import slicer

BRAIN = "MRHead"


def load_sample() -> slicer.vtkMRMLScalarVolumeNode:
    """Downloads a head in MR, once, and loads it; the person has pressed a button that says so."""
    import SampleData

    return SampleData.SampleDataLogic().downloadSample(BRAIN)
