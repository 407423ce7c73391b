"""Files into the scene and out of it in one call, as scripts and tests want it; the applications do the same in parts."""

import tempfile
from pathlib import Path

from NeuroSAM2Lib.scene.files.node_files import (
    checked_segmentation,
    load_segmentation,
    pack_segmentation,
    store_segmentation,
)
from NeuroSAM2Lib.scene.files.nrrd_image import NrrdImage
from NeuroSAM2Lib.scene.segments.segment_masks import SegmentationSnapshot
from NeuroSAM2Lib.scene.volume_nodes import add_volume

from NeuroSAM2Core.outputs import check_outputs


def read_nrrd(scene, path, name):
    return add_volume(scene, NrrdImage.read(path).volume(), name)


def read_segmentation(scene, path, name):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return load_segmentation(scene, checked_segmentation(path, Path(folder)), name, path.name)


def write_segmentation(node, path, *, overwrite=False):
    check_outputs([path], overwrite=overwrite)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        pack_segmentation(store_segmentation(node, Path(folder)), path, overwrite=overwrite)


def labels_on(segmentation_node, volume_node):
    """All segments on a volume's own grid."""
    return SegmentationSnapshot.take(segmentation_node, volume_node).labels()
