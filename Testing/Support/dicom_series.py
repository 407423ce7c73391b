"""A DICOM series as a scanner leaves it: one file for each slice, written with pydicom."""

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

STUDY = generate_uid(entropy_srcs=["study"])
FRAME = generate_uid(entropy_srcs=["frame"])


def write_dicom_series(folder, voxels, *, description, spacing_mm=(2.0, 1.0, 1.0)):
    """Writes axial slices and returns the UID of the series; all series lie in one study and in one frame of reference.

    Args:
        folder: For the files.
        voxels: (K, J, I), whole numbers from 0 on.
        description: Of the series.
        spacing_mm: Between slices, rows, columns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid(entropy_srcs=[description])
    for number, pixels in enumerate(np.asarray(voxels).astype(np.uint16)):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[description, str(number)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{description}_{number:03d}"
        one = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = STUDY, series, FRAME
        one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = "Test^Ball", "ball", "", "O"
        one.StudyID, one.AccessionNumber, one.ReferringPhysicianName = "1", "", ""
        one.StudyDate, one.StudyTime, one.SeriesNumber = "20260102", "101112", 1
        one.Modality, one.Manufacturer, one.SeriesDescription = "MR", "", description
        one.InstanceNumber = number + 1
        one.ImagePositionPatient = [-20, -25, 7 + spacing_mm[0] * number]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.SliceThickness, one.PixelSpacing = spacing_mm[0], list(spacing_mm[1:])
        one.Rows, one.Columns = pixels.shape
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
        one.PixelData = pixels.tobytes()
        one.save_as(path, enforce_file_format=True)
    return series
