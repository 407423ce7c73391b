"""What the page calls beside pictures and prompts: the read-out, the crosshair, measurements, and the 3D view."""

from collections.abc import Callable

import slicer
from NeuroSAM2Lib.headless.surface_process import DEFAULT_SMOOTHING, SurfaceProcess
from NeuroSAM2Lib.presenters.view_presenter import ViewPresenter
from NeuroSAM2Lib.scene.views.rulers import RulerKind
from trame_server import Server

from NeuroSAM2Web.views import MAX_PX, SliceViews, encode

NUMBER_3D = "picture_3D"
"""The state variable that grows with every change of the 3D view."""
ZOOM_STEP = 1.1


class ViewTools:
    """The tools of one page.

    Args:
        views: The slice views.
        presenter: Of what they show.
        server: Serves the page.
        wake: Called after each action.
    """

    def __init__(self, views: SliceViews, presenter: ViewPresenter, server: Server, wake: Callable[[], None]) -> None:
        self.presenter, self.surfaces = presenter, SurfaceProcess()
        self._views, self._state, self._wake = views, server.state, wake
        self._state.update({NUMBER_3D: 0, "smoothing": round(100 * DEFAULT_SMOOTHING)})
        for name, action in (
            ("readout", self.readout),
            ("there", self.go_there),
            ("ruler", self.place_ruler),
            ("region", self.measure_region),
            ("fit", self.fit),
            ("picture3d", self.picture_3d),
            ("turn3d", self.turn),
        ):
            server.trigger(name)(action)

    def readout(self, name: str, x: float, y: float, width: int, height: int) -> list[str]:
        """What is under the pointer, a line each."""
        found = self.presenter.readout(self._views.to_ras(name, x, y, width, height))
        return [] if found is None else list(found.lines)

    def go_there(self, name: str, x: float, y: float, width: int, height: int) -> None:
        """The other views show the slices through the pointer."""
        ras = self._views.to_ras(name, x, y, width, height)
        self.presenter.go_there(ras, self._views.view(name).node)
        self._wake()

    def place_ruler(self, name: str, kind: str, x: float, y: float, width: int, height: int) -> None:
        """One more point of a distance or an angle; the tool is put down with its last."""
        if self.presenter.place_ruler(RulerKind(kind), self._views.to_ras(name, x, y, width, height)):
            self._state.tool = "look"
        self._wake()

    def measure_region(self, name: str, corners: list[float], width: int, height: int) -> None:
        """An ellipse between two opposite corners."""
        x0, y0, x1, y1 = corners
        start, end = (self._views.to_ras(name, x, y, width, height) for x, y in ((x0, y0), (x1, y1)))
        self.presenter.measure_region(start, end, self._views.view(name).node)
        self._wake()

    def fit(self) -> None:
        """All views show the whole image again."""
        for view in self._views.views.values():
            view.fit()
        self._wake()

    async def picture_3d(self, width: int, height: int) -> dict[str, object] | None:
        """The surfaces of the objects as they are now, with their number; None if they cannot be drawn."""
        number, size = self._state[NUMBER_3D], (min(max(width, 1), MAX_PX), min(max(height, 1), MAX_PX))
        is_new = not self.surfaces.is_running
        rows = await self.surfaces.draw(*size)
        if is_new:
            self._wake()
        return None if rows is None else {"number": number, "data": encode(rows, size)}

    def turn(self, right_deg: float, up_deg: float, zoom_steps: float) -> None:
        """Moves the camera."""
        self.surfaces.turn(right_deg, up_deg, ZOOM_STEP**zoom_steps)
        self._state[NUMBER_3D] += 1

    def frame(self) -> None:
        """Shows all objects in the 3D view, from the front."""
        self.surfaces.frame()
        self._state[NUMBER_3D] += 1

    def smooth(self, percent: float) -> None:
        """All surfaces are smoothed so much."""
        self.surfaces.smooth(percent / 100)
        self._state.smoothing = percent
        self._state[NUMBER_3D] += 1

    def follow(self, node: slicer.vtkMRMLSegmentationNode | None) -> bool:
        """The surfaces follow the masks; true if more is to come."""
        has_changed = self.surfaces.update(node)
        if has_changed:
            self._state[NUMBER_3D] += 1
        return has_changed or self.surfaces.is_behind
