"""What a person does to the views, and reads in them: window and level, the second image, the crosshair, measurements."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import slicer

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.volume import SlicePlane, Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.views.image_display import ImageOverlay, WindowLevel
from NeuroSAM2Lib.scene.views.readout import Readout, ellipse_mask, read_at, region_values, voxel_at
from NeuroSAM2Lib.scene.views.rulers import RulerKind, RulerRow, Rulers
from NeuroSAM2Lib.scene.views.slice_views import box_between, jump_to_slice, nearest_slice, shown_slice, slice_nodes


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewSettings:
    """What the view panel shows."""

    window: float = 1.0
    level: float = 0.0
    is_inverted: bool = False
    overlay: str = ""
    """The id of the second image; empty if there is none."""
    opacity: float = 0.0
    """Of it, 0 to 1."""
    has_crosshair: bool = False
    rulers: tuple[RulerRow, ...] = ()


class ViewPresenter:
    """The views of the scene in which a presenter works.

    Args:
        presenter: Has the image; its session says what went wrong.
    """

    def __init__(self, presenter: SegmentPresenter) -> None:
        self._presenter = presenter
        self.overlay = ImageOverlay(self.scene)
        self.rulers = Rulers(self.scene)

    @property
    def scene(self) -> slicer.vtkMRMLScene:
        """Whose views they are."""
        return self._presenter.host.scene

    @property
    def settings(self) -> ViewSettings:
        """What is shown now."""
        node, overlay = self._presenter.chosen[0], self.overlay.node
        window_level = None if node is None else WindowLevel(node)
        window, level = (1.0, 0.0) if window_level is None else window_level.values
        return ViewSettings(
            window=window,
            level=level,
            is_inverted=window_level is not None and window_level.is_inverted,
            overlay="" if overlay is None else overlay.GetID(),
            opacity=self.overlay.opacity,
            has_crosshair=self._crosshair.GetCrosshairMode() != slicer.vtkMRMLCrosshairNode.NoCrosshair,
            rulers=tuple(self.rulers.rows()),
        )

    def change_window(self, change: Callable[[WindowLevel], None]) -> None:
        """Changes window and level of the chosen image; a mistake becomes the session's notice."""
        node = self._presenter.chosen[0]
        if node is not None:
            self._presenter.act(lambda _session: change(WindowLevel(node)))

    def show_overlay(self, node: slicer.vtkMRMLScalarVolumeNode | None, opacity: float) -> None:
        """Shows a second image over the first one; None for none."""
        self.overlay.show(node, opacity)

    def readout(self, ras: Matrix) -> Readout | None:
        """What is at a world position; None without an image."""
        volume = self._volume
        return None if volume is None else read_at(self.scene, volume, ras, self._presenter.chosen[1])

    def go_there(self, ras: Matrix, view: slicer.vtkMRMLSliceNode) -> None:
        """Puts the crosshair to a world position and shows the slices through it in all other views."""
        volume = self._volume
        if volume is None or voxel_at(volume, ras) is None:
            return
        self._crosshair.SetCrosshairRAS(*map(float, ras))
        self.show_crosshair(is_shown=True)
        here = shown_slice(volume, view).plane.axis
        for node in slice_nodes(self.scene):
            plane = nearest_slice(
                volume, np.array([node.GetSliceToRAS().GetElement(n, 2) for n in range(3)]), ras
            ).plane
            if plane.axis != here:
                jump_to_slice(self.scene, volume, plane)

    def show_crosshair(self, *, is_shown: bool) -> None:
        """Shows or hides the crosshair."""
        kind = slicer.vtkMRMLCrosshairNode
        self._crosshair.SetCrosshairMode(kind.ShowBasic if is_shown else kind.NoCrosshair)

    def place_ruler(self, kind: RulerKind, ras: Matrix) -> bool:
        """One more point of a distance or an angle; true if that was its last."""
        return self.rulers.place(kind, ras)

    def measure_region(self, start: Matrix, end: Matrix, view: slicer.vtkMRMLSliceNode) -> None:
        """The intensities of the chosen image in the ellipse between two world positions on the slice of a view."""

        def measure() -> None:
            volume = self._volume
            if volume is None:
                return
            plane = shown_slice(volume, view).plane
            box = box_between(volume, plane, start, end)
            values = region_values(volume, plane, ellipse_mask(plane.of(volume.voxels).shape, box))
            middle = np.add(start, end) / 2
            corner = _position(volume, plane, (box.row0 + box.row1) / 2, box.col1)
            below = _position(volume, plane, box.row1, (box.col0 + box.col1) / 2)
            centre = _position(volume, plane, (box.row0 + box.row1) / 2, (box.col0 + box.col1) / 2)
            self.rulers.add_region(middle, corner - centre, below - centre, values.sentence)

        self._presenter.act(lambda _session: measure())

    def object_values(self) -> None:
        """Says the intensities within the active object on the slice that is looked at."""

        def measure() -> None:
            session, plane = self._presenter.session, self._presenter.visible_plane()
            if session is None or plane is None:
                return
            number = session.document.active
            if number is None:
                raise PromptError(_("there is no object yet"), hint=_("place a point or a box first"))
            values = region_values(session.document.volume, plane, session.document.slice_io.read(number, plane))
            name = session.document.objects.name(number)
            session.notice = _("{name} on slice {index}: {values}").format(
                name=name, index=plane.index, values=values.sentence
            )

        self._presenter.act(lambda _session: measure())

    @property
    def _crosshair(self) -> slicer.vtkMRMLCrosshairNode:
        return self.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")

    @property
    def _volume(self) -> Volume | None:
        session = self._presenter.session
        return None if session is None or session.ended else session.document.volume


def _position(volume: Volume, plane: SlicePlane, row: float, col: float) -> Matrix:
    return np.asarray(volume.to_ras(np.array(plane.to_ijk(row, col), dtype=float)))
