"""The process that draws surfaces, as the app sees it: what has changed in the scene goes there, pictures come back."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.observer import SceneObserver
from NeuroSAM2Lib.scene.segments.layers import Layer

DEFAULT_SMOOTHING = 0.5
"""As Slicer's."""
PAUSE_S = 0.3
"""Between two masks of one object at least, while slices stream in."""


@dataclass(frozen=True, slots=True)
class SurfaceStyle:
    """How the surface of an object is shown."""

    colour: tuple[float, float, float]
    opacity: float
    """0 for one that is hidden."""


def crop_mask(layer: Layer) -> tuple[NDArray[np.uint8], Matrix]:
    """The mask of a segment, (K, J, I), as far as it reaches, and where it is."""
    voxels, label, grid = layer.voxels, layer.label, layer.grid
    slices = [n for n, one in enumerate(voxels) if (one == label).any()]
    if not slices:
        return np.zeros((0, 0, 0), np.uint8), grid.ijk_to_ras
    first = np.array([grid.extent[4] + slices[0], grid.extent[2], grid.extent[0]])
    mask = voxels[slices[0] : slices[-1] + 1] == label
    for axis in (1, 2):
        found = np.flatnonzero(mask.any(axis=(0, 3 - axis)))
        first[axis] += found[0]
        mask = mask.take(range(found[0], found[-1] + 1), axis)
    to_ras = grid.ijk_to_ras.copy()
    to_ras[:3, 3] += to_ras[:3, :3] @ first[::-1]
    return mask.astype(np.uint8), to_ras


class SurfaceProcess:
    """Draws the segments of one segmentation at a time; starts with the first picture."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._watch = SceneObserver()
        self._images: dict[str, tuple[int, str]] = {}
        """By segment, its label and labelmap when it was sent last."""
        self._changed: set[str] = set()
        """Segments that have changed within their labelmap since."""
        self._styles: dict[str, SurfaceStyle] = {}
        self._due_s = 0.0
        self._is_drawing = asyncio.Lock()
        self._smoothing = DEFAULT_SMOOTHING

    @property
    def is_running(self) -> bool:
        """There is a process."""
        return self._process is not None and self._process.returncode is None

    def update(self, node: slicer.vtkMRMLSegmentationNode | None) -> bool:
        """Sends what has changed since, one mask at most; true if the picture is out of date."""
        if not self.is_running:
            return False
        if node is not self._node:
            self._forget_all()
            self._node = node
        if node is None:
            return False
        segmentation = node.GetSegmentation()
        self._watch.on(segmentation, segmentation.RepresentationModified, self._note, about_text=True)
        names = list(segmentation.GetSegmentIDs())
        gone = [name for name in self._images if name not in names]
        for name in gone:
            self._send({"kind": "remove", "name": name})
            del self._images[name]
            self._styles.pop(name, None)
        has_sent = time.monotonic() >= self._due_s and any(map(self._send_mask, names))
        if has_sent:
            self._due_s = time.monotonic() + (PAUSE_S if len(self._images) == len(names) else 0.0)
        return self._send_styles() or has_sent or bool(gone)

    @property
    def is_behind(self) -> bool:
        """Masks have changed that were not sent yet."""
        return self.is_running and bool(self._changed)

    async def draw(self, width: int, height: int) -> bytes | None:
        """Red, green and blue of every pixel, the lowest row first; None where there is no process any more."""
        async with self._is_drawing:
            if not self.is_running:
                await self._start()
            assert self._process is not None
            assert self._process.stdout is not None
            self._send({"kind": "draw", "width": width, "height": height})
            try:
                return await self._process.stdout.readexactly(3 * width * height)
            except asyncio.IncompleteReadError:
                await self.close()
                return None

    def turn(self, right_deg: float, up_deg: float, zoom: float) -> None:
        """Moves the camera around the objects."""
        self._send({"kind": "turn", "right_deg": right_deg, "up_deg": up_deg, "zoom": zoom})

    def frame(self) -> None:
        """Shows all objects, from the front."""
        self._send({"kind": "frame"})

    def smooth(self, smoothing: float) -> None:
        """All surfaces have this smoothing factor, 0 to 1, from now on."""
        self._smoothing = smoothing
        self._send({"kind": "smoothing", "smoothing": smoothing})

    async def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
        self._images.clear()
        self._styles.clear()

    async def _start(self) -> None:
        self._images.clear()
        self._styles.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "NeuroSAM2Lib.headless.surface_renderer",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        self.smooth(self._smoothing)

    def _forget_all(self) -> None:
        self._watch.off()
        for name in self._images:
            self._send({"kind": "remove", "name": name})
        self._images.clear()
        self._styles.clear()

    def _send_mask(self, name: str) -> bool:
        """Sends the mask of a segment if it has changed."""
        assert self._node is not None
        try:
            layer = Layer(self._node, name)
        except NeuroSAM2Error:
            return False
        state = layer.label, layer.image.GetAddressAsString("")
        if self._images.get(name) == state and name not in self._changed:
            return False
        self._images[name] = state
        self._changed.discard(name)
        mask, to_ras = (np.zeros((0, 0, 0), np.uint8), np.eye(4)) if layer.is_empty else crop_mask(layer)
        message = {"kind": "mask", "name": name, "shape": mask.shape, "ijk_to_ras": to_ras.ravel().tolist()}
        self._send(message, mask.tobytes())
        self._styles.pop(name, None)
        return True

    def _send_styles(self) -> bool:
        assert self._node is not None
        has_sent = False
        for name in self._images:
            style = style_of(self._node, name)
            if self._styles.get(name) != style:
                self._styles[name] = style
                self._send({"kind": "style", "name": name, "colour": style.colour, "opacity": style.opacity})
                has_sent = True
        return has_sent

    def _note(self, _segmentation: vtk.vtkObject, segment_id: str | None) -> None:
        self._changed.update(self._images if segment_id is None else [segment_id])

    def _send(self, message: Mapping[str, object], data: bytes = b"") -> None:
        if self._process is not None and self._process.stdin is not None and self.is_running:
            self._process.stdin.write(json.dumps(message).encode() + b"\n" + data)


def style_of(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> SurfaceStyle:
    """How the surface of a segment is to be shown."""
    display, colour = node.GetDisplayNode(), node.GetSegmentation().GetSegment(segment_id).GetColor()
    if display is None:
        return SurfaceStyle(colour, 1.0)
    is_shown = display.GetVisibility() and display.GetVisibility3D() and display.GetSegmentVisibility(segment_id)
    opacity = display.GetOpacity() * display.GetOpacity3D() * display.GetSegmentOpacity3D(segment_id)
    return SurfaceStyle(colour, opacity if is_shown else 0.0)
