"""The numbers of all objects, comparisons of segmentations, and what is written for a paper: a table, a contact sheet, a page.

Everything is computed a little at each poll, so that the window answers meanwhile; nothing here starts a thread.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import slicer

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.outputs import is_there
from NeuroSAM2Core.volume import IntensityWindow, SlicePlane, Volume, percentile_window
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.segments.layers import LABELMAP
from NeuroSAM2Lib.scene.segments.segment_display import SegmentDisplay
from NeuroSAM2Lib.scene.views.slice_views import best_axis
from NeuroSAM2Lib.scene.volume_nodes import read_volume
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.host import Host
from NeuroSAM2Lib.segmentation.objects.session_node import HOW_IT_IS_COUNTED

if TYPE_CHECKING:
    from NeuroSAM2Core.measures import Intensities, MeasuredObject, ObjectMask, Steps
    from NeuroSAM2Core.summary import ContactSheet

BUDGET_S = 0.02
"""How long one poll may take, if no single step takes longer."""
NUM_SLICES, MAX_SLICES = 15, 100
"""Slices of a contact sheet: by default and at most."""
WHOLE, SEGMENT = "segmentation", "segment"
"""What a comparison is with."""
NOT_MEASURED = _("nothing is measured yet")
NEEDS = _("measuring needs SciPy, and pictures need Pillow")


class Product(Enum):
    """What is written, by the ending of its file."""

    TABLE = ".csv"
    SHEET = ".png"
    PAGE = ".html"


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that can be compared with."""

    key: str
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How an object differs from another one."""

    title: str
    dice: str
    hd95_mm: str
    """Empty where one of the two has no voxel."""
    planes: tuple[SlicePlane, ...]
    """The slices with the most differing voxels, the most first."""

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """As a row of a table."""
        return self.title, self.dice, self.hd95_mm, " ".join(str(plane.index) for plane in self.planes)


DIFFERENCE_TITLES = (_("Compared"), _("Dice"), _("HD95 mm"), _("Most different slices"))


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasurementsView:
    """What is shown."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """A row for each object, as texts."""
    differences: tuple[Difference, ...]
    choices: tuple[Choice, ...]
    """What the objects can be compared with."""
    sentence: str
    is_out_of_date: bool
    """Something has changed since it was measured."""
    can_measure: bool
    is_busy: bool


@dataclass(frozen=True, slots=True)
class _Table:
    """What was measured."""

    images: tuple[str, ...]
    rows: "tuple[MeasuredObject, ...]"
    stamp: object
    """Of the scene when it was."""


class Measurements:
    """The measurements of the session that there is.

    Args:
        host: Has the scene.
        session: The session now; None without one.
    """

    def __init__(self, host: Host, session: Callable[[], SessionController | None]) -> None:
        self._host, self._current = host, session
        self._session: SessionController | None = None
        self._work: Iterator[None] | None = None
        self._table: _Table | None = None
        self._differences: tuple[Difference, ...] = ()
        self._sentence = ""
        self.written: Path | None = None
        """The file that was written last."""

    @property
    def is_busy(self) -> bool:
        """There is more to do."""
        return self._work is not None

    def measure(self) -> None:
        """Measures all objects in all open images."""
        self._begin(self._measuring, _("measuring"))

    def compare(self, key: str) -> None:
        """Compares objects.

        Args:
            key: Of one of the choices: a segmentation, with whose segments the objects of the same names are compared; or a segment, with
                which the active object is.
        """
        self._begin(lambda session: self._comparing(session, key), _("comparing"))

    def write(self, product: Product, path: Path, *, num_slices: int = NUM_SLICES, overwrite: bool = False) -> None:
        """Writes a file, and measures anew for it where something has changed.

        Args:
            product: What.
            path: Where to.
            num_slices: On the contact sheet.
            overwrite: A file that is there may be replaced.
        """
        self.written = None
        self._begin(
            lambda session: self._writing(session, product, path, num_slices, overwrite=overwrite), _("drawing")
        )

    def cancel(self) -> None:
        """Gives up what is under way; what was measured before stays."""
        if self._work is not None:
            self._work, self._sentence = None, _("cancelled")

    def poll(self) -> None:
        """Goes on for a moment. Never waits."""
        session = self._current()
        if session is not self._session:
            self._session, self._work, self._table = session, None, None
            self._differences, self._sentence = (), ""
        end = time.monotonic() + BUDGET_S
        while self._work is not None and time.monotonic() < end:
            try:
                next(self._work)
            except StopIteration:
                self._work = None
            except NeuroSAM2Error as error:
                self._work, self._sentence = None, str(error)
            except ImportError:
                self._work, self._sentence = None, NEEDS

    def csv(self) -> str:
        """The table as CSV; empty before anything was measured."""
        return self._text(",")

    def clipboard_text(self) -> str:
        """The table with tabs, as spreadsheets paste it, then the comparisons."""
        text = self._text("\t")
        if self._differences:
            lines = ["\t".join(DIFFERENCE_TITLES), *("\t".join(one.cells) for one in self._differences)]
            text += ("\n" if text else "") + "\n".join(lines) + "\n"
        return text

    def default_name(self, product: Product) -> str:
        """A name for a file."""
        session = self._current()
        stem = "NeuroSAM2" if session is None or session.ended else str(session.document.volume_node.GetName())
        words = {Product.TABLE: "measurements", Product.SHEET: "slices", Product.PAGE: "report"}[product]
        return f"{disk.file_name(stem)} {words}{product.value}"

    def view(self) -> MeasurementsView:
        """What is shown now."""
        session, table = self._current(), self._table
        has_objects = session is not None and not session.ended and bool(session.document.objects.segments)
        titles: tuple[str, ...] = ()
        rows: tuple[tuple[str, ...], ...] = ()
        if table is not None:
            from NeuroSAM2Core.measures import columns, shown_cells

            titles = tuple(column.title for column in columns(table.images))
            rows = tuple(tuple(shown_cells(row)) for row in table.rows)
        return MeasurementsView(
            titles=titles,
            rows=rows,
            differences=self._differences,
            choices=tuple(self._choices(session)) if session is not None and has_objects else (),
            sentence=self._sentence,
            is_out_of_date=session is not None and table is not None and not self._is_up_to_date(session, table),
            can_measure=has_objects and not self.is_busy,
            is_busy=self.is_busy,
        )

    def _text(self, delimiter: str) -> str:
        if self._table is None:
            return ""
        from NeuroSAM2Core.measures import cells, columns, table_text

        head = [column.key for column in columns(self._table.images)]
        return table_text(head, [cells(row) for row in self._table.rows], delimiter=delimiter)

    def _begin(self, make: "Callable[[SessionController], Iterator[None]]", sentence: str) -> None:
        session = self._current()
        if session is None or session.ended or not session.document.objects.segments:
            self._sentence = _("there is no object to measure")
            return
        self._session, self._sentence = session, sentence
        self._work = make(session)

    def _measuring(self, session: SessionController) -> Iterator[None]:
        from NeuroSAM2Core.measures import MeasuredObject, measuring_intensities, measuring_size

        document, stamp = session.document, _stamp(session, self._host.scene)
        images = _open_images(self._host.scene, document.volume_node, document.volume)
        rows = []
        masks = yield from _reading_objects(session)
        for number, mask in masks.items():
            size = None if mask.is_empty else (yield from measuring_size(document.volume, mask))
            values: list[Intensities | None] = []
            for image in images:
                found = None if mask.is_empty else (yield from measuring_intensities(image, document.volume, mask))
                values.append(found)
            rows.append(
                MeasuredObject(
                    name=document.objects.name(number),
                    size=size,
                    intensities=tuple(values),
                    counts=document.slice_counts(number),
                )
            )
            yield
        self._table = _Table(tuple(image.name for image in images), tuple(rows), stamp)
        self._sentence = ""

    def _comparing(self, session: SessionController, key: str) -> Iterator[None]:
        from NeuroSAM2Core.measures import comparing, number_text

        document = session.document
        found = []
        for number, node, segment_id in self._pairs(session, key):
            one = yield from _reading(session, document.segmentation_node, document.objects.segment_id(number))
            other = yield from _reading(session, node, segment_id)
            axis = document.axis_of(number) or best_axis(document.volume)
            difference = yield from comparing(document.volume, one, other, axis)
            other_name = str(node.GetSegmentation().GetSegment(segment_id).GetName())
            place = "" if node is document.segmentation_node else f" ({node.GetName()})"
            found.append(
                Difference(
                    title=_("{one} and {other}").format(one=document.objects.name(number), other=other_name + place),
                    dice=f"{difference.dice:.3f}",
                    hd95_mm=number_text(difference.hd95_mm, digits=3),
                    planes=tuple(SlicePlane(axis, index) for index in difference.worst_slices),
                )
            )
            yield
        self._differences, self._sentence = tuple(found), ""

    def _pairs(self, session: SessionController, key: str) -> list[tuple[int, slicer.vtkMRMLSegmentationNode, str]]:
        """The objects with what each is compared with.

        Raises:
            DataError: There is nothing to compare, or it is gone.
        """
        document = session.document
        kind, node_id, segment_id = (*key.split(":", 2), "", "")[:3]
        node = self._host.scene.GetNodeByID(node_id)
        if node is None:
            raise DataError(_("what was to be compared with is gone"), hint=_("choose another"))
        if kind == SEGMENT:
            if node.GetSegmentation().GetSegment(segment_id) is None or document.active is None:
                raise DataError(_("what was to be compared with is gone"), hint=_("choose another"))
            return [(document.active, node, segment_id)]
        segmentation = node.GetSegmentation()
        by_name = {str(segmentation.GetSegment(one).GetName()): one for one in segmentation.GetSegmentIDs()}
        pairs = [
            (number, node, by_name[document.objects.name(number)])
            for number in document.objects.segments
            if document.objects.name(number) in by_name
        ]
        if not pairs:
            raise DataError(
                _("no object has the name of a segment of {other}").format(other=node.GetName()),
                hint=_("choose one of its segments instead"),
            )
        return pairs

    def _writing(
        self, session: SessionController, product: Product, path: Path, num_slices: int, *, overwrite: bool
    ) -> Iterator[None]:
        if product is not Product.SHEET and (self._table is None or not self._is_up_to_date(session, self._table)):
            yield from self._measuring(session)
        if product is Product.TABLE:
            content: bytes | str = self.csv()
        else:
            from NeuroSAM2Core.summary import drawing_sheet

            sheet = yield from self._sheet(session, num_slices)
            content = yield from drawing_sheet(sheet)
            if product is Product.PAGE:
                content = self._page(session, sheet, content)
        try:
            disk.write_atomically(path, content, overwrite=overwrite)
        except FileExistsError as error:
            raise is_there(path) from error
        except OSError as error:
            raise DataError(
                _("cannot write {path}: {reason}").format(path=path, reason=error.strerror or error),
                hint=_("choose another folder"),
            ) from error
        self.written, self._sentence = path, _("written: {path}").format(path=path.name)

    def _sheet(self, session: SessionController, num_slices: int) -> "Steps[ContactSheet]":
        """Of the objects that are shown."""
        from NeuroSAM2Core.summary import ContactSheet, ShownObject

        document = session.document
        axis = document.axis_of(document.active) or best_axis(document.volume)
        display, shown = SegmentDisplay(document.segmentation_node), []
        masks = yield from _reading_objects(session)
        for number, mask in masks.items():
            properties, segment_id = document.objects.display_properties(number), document.objects.segment_id(number)
            if display.is_shown(segment_id):
                red, green, blue = (round(255 * part) for part in properties.colour)
                prompts = document.objects.record(number).prompts
                slices = frozenset(prompts.indices) if prompts.axis == axis else frozenset()
                shown.append(ShownObject(properties.name, (red, green, blue), mask, slices))
        return ContactSheet(
            image=document.volume,
            window=_shown_window(document.volume_node, document.volume),
            axis=axis,
            objects=shown,
            num_slices=num_slices,
        )

    def _page(self, session: SessionController, sheet: "ContactSheet", png: bytes) -> str:
        from NeuroSAM2Core.summary import SummaryPage, page_html

        assert self._table is not None
        model = session.document.node.model
        return page_html(
            SummaryPage(
                title=str(session.document.volume_node.GetName()),
                images=self._table.images,
                rows=self._table.rows,
                sheet_png=png,
                sheet_about=sheet.about,
                model=model.name,
                model_sha256=model.sha256,
                how_time_is_counted=HOW_IT_IS_COUNTED,
            )
        )

    def _choices(self, session: SessionController) -> Iterator[Choice]:
        document = session.document
        for node in _nodes(self._host.scene, "vtkMRMLSegmentationNode"):
            segmentation, is_other = node.GetSegmentation(), node is not document.segmentation_node
            if is_other and segmentation.GetNumberOfSegments():
                yield Choice(f"{WHOLE}:{node.GetID()}:", _("{name}, all by name").format(name=node.GetName()))
            for segment_id in segmentation.GetSegmentIDs():
                name = str(segmentation.GetSegment(segment_id).GetName())
                if is_other:
                    yield Choice(f"{SEGMENT}:{node.GetID()}:{segment_id}", f"{name} ({node.GetName()})")
                elif segment_id != document.objects.segments.get(document.active or 0):
                    yield Choice(f"{SEGMENT}:{node.GetID()}:{segment_id}", name)

    def _is_up_to_date(self, session: SessionController, table: _Table) -> bool:
        return table.stamp == _stamp(session, self._host.scene)


def _reading(session: SessionController, node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> "Steps[ObjectMask]":
    from NeuroSAM2Lib.scene.segments.whole_masks import reading_mask

    return reading_mask(node, segment_id, session.document.volume)


def _reading_objects(session: SessionController) -> "Steps[dict[int, ObjectMask]]":
    """All objects, by number."""
    document, masks = session.document, {}
    for number, segment_id in list(document.objects.segments.items()):
        masks[number] = yield from _reading(session, document.segmentation_node, segment_id)
        yield
    return masks


def _open_images(scene: slicer.vtkMRMLScene, first: slicer.vtkMRMLVolumeNode, volume: Volume) -> list[Volume]:
    """The images in the scene that can be measured in, the session's own one first."""
    found = [volume]
    for node in _nodes(scene, "vtkMRMLScalarVolumeNode"):
        if node is first or node.GetHideFromEditors() or node.IsA("vtkMRMLLabelMapVolumeNode"):
            continue
        try:
            found.append(read_volume(node))
        except NeuroSAM2Error:
            continue  # no voxels, several components or a warp: there is nothing to measure in
    return found


def _shown_window(node: slicer.vtkMRMLScalarVolumeNode, volume: Volume) -> IntensityWindow:
    """As the views show the image."""
    display = node.GetScalarVolumeDisplayNode()
    if display is None or not display.GetWindow() > 0:
        return percentile_window(volume.voxels)
    half = display.GetWindow() / 2
    return IntensityWindow(display.GetLevel() - half, display.GetLevel() + half)


def _stamp(session: SessionController, scene: slicer.vtkMRMLScene) -> object:
    """Changes with all that is measured."""
    document, segmentation = session.document, session.document.segmentation_node.GetSegmentation()
    objects = []
    for number, segment_id in document.objects.segments.items():
        image = segmentation.GetSegment(segment_id).GetRepresentation(LABELMAP)
        objects.append(
            (
                number,
                document.objects.name(number),
                0 if image is None else image.GetMTime(),
                document.objects.record(number).prompts,
            )
        )
    images = [
        (node.GetName(), node.GetImageDataMTime() if hasattr(node, "GetImageDataMTime") else 0)
        for node in _nodes(scene, "vtkMRMLScalarVolumeNode")
        if not node.GetHideFromEditors()
    ]
    return tuple(objects), tuple(images)


def _nodes(scene: slicer.vtkMRMLScene, kind: str) -> Sequence[slicer.vtkMRMLNode]:
    found = scene.GetNodesByClass(kind)
    return [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]
