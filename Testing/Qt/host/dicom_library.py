"""Slicer's DICOMLib as far as the scenarios use it: a temporary database, a folder that is imported, a series that is loaded."""

import types
from contextlib import contextmanager
from pathlib import Path

import slicer
from NeuroSAM2Lib.scene.volume_nodes import add_volume
from pydicom import dcmread

from NeuroSAM2Core.volume import Volume
from NeuroSAM2Core.volume.dicom import find_series, read_found


class Database:
    """ctkDICOMDatabase."""

    def __init__(self):
        self.series = {}
        """By UID."""
        self._files = {}

    def add(self, series):
        self.series[series.uid] = series
        self._files |= {str(dcmread(file, stop_before_pixels=True).SOPInstanceUID): file for file in series.files}

    def fileForInstance(self, uid):
        return self._files.get(uid, "")


class DICOMUtils:
    """The functions of the file of that name."""

    @staticmethod
    @contextmanager
    def TemporaryDICOMDatabase():
        slicer.dicomDatabase = Database()
        yield slicer.dicomDatabase
        del slicer.dicomDatabase

    @staticmethod
    def importDicom(dicomDataDir, dicomDatabase):
        for series in find_series(Path(dicomDataDir)):
            dicomDatabase.add(series)

    @staticmethod
    def loadSeriesByUID(seriesUIDs):
        """As DICOMScalarVolumePlugin: the volume remembers its instances, in the order of its slices."""
        nodes = []
        for uid in seriesUIDs:
            series = slicer.dicomDatabase.series[uid]
            node = add_volume(slicer.mrmlScene, Volume.of(read_found(series, series.description)), series.description)
            instances = [str(dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in series.files]
            node.SetAttribute("DICOM.instanceUIDs", " ".join(instances))
            nodes.append(node.GetID())
        return nodes


MODULE = types.ModuleType("DICOMLib")
MODULE.DICOMUtils = DICOMUtils
