"""Run in a process of its own: opens a saved scene, goes on with its session, and says what it found."""

import json
import sys
import zlib
from pathlib import Path

from NeuroSAM2Lib.headless.application import HeadlessApplication
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.objects.session_node import sessions_in
from NeuroSAM2Lib.segmentation.session_observer import SessionObserver

from NeuroSAM2Core.volume import Axis, SlicePlane, pack_mask
from Testing.Support.live import nano_link, wait_quiet
from Testing.Support.sessions import place_point


def main(scene: Path, folder: Path) -> None:
    app = HeadlessApplication(folder)
    app.load(scene)
    (remembered,) = sessions_in(app.scene)
    link = nano_link()
    session = SessionController(app, link, remembered.volume_node, remembered.segmentation_node)
    watch = SessionObserver(session)
    record = session.document.active_record
    count = session.document.volume.shape[0]
    found = {
        "points": [[p.index, p.point.row, p.point.col, p.point.positive] for p in record.prompts.points],
        "boxes": [[b.index, b.box.row0, b.box.col0, b.box.row1, b.box.col1] for b in record.prompts.boxes],
        "masks": masks(session, count),
        "quality": sorted(plane.index for plane in record.quality),
    }
    plane = SlicePlane(Axis.K, record.prompts.indices[0] + 2)
    before = session.document.slice_io.read(1, plane)
    place_point(session, plane, 24, 50)
    wait_quiet(session)
    found["correction_changes"] = int((session.document.slice_io.read(1, plane) != before).sum())
    found["others_stay"] = masks(session, count)[: plane.index] == found["masks"][: plane.index]
    session.propagate()
    wait_quiet(session)
    found["notice"] = session.notice
    watch.end("done")
    link.close()
    sys.stdout.write("FOUND" + json.dumps(found) + "\n")


def masks(session, count):
    """A number for the mask of every slice."""
    return [zlib.crc32(pack_mask(session.document.slice_io.read(1, SlicePlane(Axis.K, k)))) for k in range(count)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
