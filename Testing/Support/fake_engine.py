"""An engine that answers at once with masks that follow from the prompts in a simple way, and that can be made to wait or to die.

It keeps the promises of the real one that sessions rely on: whole statements, one final event per request, confirmed slices never tracked,
corrections that make what lies around them out of date, work that stops between slices.
"""

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.remote import (
    AUTOMATIC,
    Cancel,
    CleanObject,
    Disconnected,
    EngineSwitches,
    Failed,
    Finished,
    LoadModel,
    ModelLoaded,
    OpenVolume,
    Precompute,
    PredictSlice,
    PreviewSlice,
    Progress,
    Propagate,
    RemoveObject,
    RestoreSlice,
    SliceAnswered,
    SliceCleaned,
    SlicePreviewed,
    SliceTracked,
    VolumeOpened,
)
from NeuroSAM2Core.remote.upload import volume_id, wire_matrix, wire_voxels
from NeuroSAM2Core.volume import Direction, SliceMask, SlicePlane

RADIUS = 3.0


@dataclass
class Track:
    """What this engine knows of an object."""

    prompts: dict[SlicePlane, PromptSet] = field(default_factory=dict)
    confirmed: dict[SlicePlane, np.ndarray] = field(default_factory=dict)
    tracked: dict[SlicePlane, np.ndarray] = field(default_factory=dict)


class FakeEngine:
    """Has the interface of `EngineClient` that sessions use."""

    review_iou_threshold = 0.8
    sha256 = ""
    num_readings = 1
    """Of a single click on a slice without a mask."""
    reach = None
    """Slices from a confirmed one that an object is on at most; None: all."""

    def __init__(self, *, is_patient: bool = False) -> None:
        self.is_patient = is_patient
        """Work is done by `work` only, not by `poll`."""
        self.requests: list[object] = []
        self.is_dead = False
        self.is_closed = False
        self.fail_next = ""
        self._number = 0
        self._queue: list[tuple[int, object]] = []
        self._events: list[object] = []
        self._shapes: dict[str, tuple[int, int, int]] = {}
        self._switches: dict[str, EngineSwitches] = {}
        self._ids: dict[int, str] = {}
        self.tracks: dict[tuple[str, int], Track] = {}
        self._extended: set[tuple[int, int, SlicePlane]] = set()
        self._plans: dict[int, dict[int, deque[SlicePlane]]] = {}
        """By propagation and object; made anew after every other request."""

    def submit(self, request):
        self._number += 1
        self.requests.append(request)
        if isinstance(request, Cancel):
            self._cancel(request)
        else:
            self._queue.append((self._number, request))
        return self._number

    def open_volume(self, volume, *, switches=AUTOMATIC):
        voxels, matrix = wire_voxels(volume), wire_matrix(volume)
        request = OpenVolume(
            volume_id=volume_id(voxels, matrix),
            shape=volume.shape,
            dtype=voxels.dtype.name,
            ijk_to_ras=matrix,
            switches=switches,
        )
        number = self.submit(request)
        self._ids[number] = request.volume_id
        return number

    def volume_id(self, number):
        return self._ids[number]

    def kill(self):
        """It ends without a word; what it had not delivered is lost."""
        self.is_dead = True

    def close(self):
        self.is_closed = True

    def poll(self):
        if self.is_dead:
            self.is_closed = True
            return [Disconnected(reason="the worker ended by signal 9")]
        if not self.is_patient:
            self.work()
        events, self._events = self._events, []
        return events

    def work(self, steps=None):
        """Does so many steps, a request or one slice of a propagation each; all there are if None."""
        while self._queue and steps != 0:
            steps = None if steps is None else steps - 1
            number, request = self._queue[0]
            if isinstance(request, Propagate):
                clicks = [one for one in self._queue if not isinstance(one[1], Propagate | Precompute)]
                if clicks:  # clicks are answered in between
                    self._queue.remove(clicks[0])
                    self._do(*clicks[0])
                    continue
                if self._track_one(number, request):
                    continue
                self._events.append(Finished(request_id=number))
                self._queue.pop(0)
            else:
                self._queue.pop(0)
                self._do(number, request)

    def _cancel(self, request):
        for one in self._queue:
            if one[0] == request.target:
                self._queue.remove(one)
                self._events.append(Finished(request_id=request.target, was_cancelled=True))
                break
        self._events.append(Finished(request_id=self._number))

    def _do(self, number, request):
        self._plans.clear()
        if self.fail_next and isinstance(request, PredictSlice):
            self._events.append(Failed(request_id=number, kind="WorkerError", message=self.fail_next))
            self.fail_next = ""
            return
        match request:
            case LoadModel():
                event = ModelLoaded(
                    request_id=number,
                    model=request.model,
                    device="cpu",
                    image_size=64,
                    num_weights=1,
                    has_kernels=False,
                    review_iou_threshold=self.review_iou_threshold,
                    sha256=self.sha256,
                )
            case OpenVolume():
                is_new = self._switches.get(request.volume_id) != request.switches
                if is_new:
                    for other in [one for one in self._queue if isinstance(one[1], Propagate) and one[0] < number]:
                        self._queue.remove(other)
                        self._events.append(Finished(request_id=other[0], was_cancelled=True))
                    self.tracks = {
                        place: track for place, track in self.tracks.items() if place[0] != request.volume_id
                    }
                self._shapes[request.volume_id] = request.shape
                self._switches[request.volume_id] = request.switches
                event = VolumeOpened(request_id=number, volume_id=request.volume_id, is_new=is_new)
            case PredictSlice():
                event = self._answer(number, request)
            case PreviewSlice(prompts=prompts):
                count = self._num_readings(self._track(request.volume_id, prompts.object_id), prompts)
                mask = answer_to(prompts, self._slice_shape(request.volume_id, prompts.plane), count)
                shown = as_mask(prompts.object_id, prompts.plane, mask, prompts.revision, count)
                event = SlicePreviewed(request_id=number, volume_id=request.volume_id, mask=shown)
            case CleanObject(object_id=object_id):
                for plane, mask in self._track(request.volume_id, object_id).tracked.items():
                    if mask.any() and not mask.all():
                        cleaned = as_mask(object_id, plane, cleaned_from(mask), 0)
                        self._events.append(SliceCleaned(request_id=number, volume_id=request.volume_id, mask=cleaned))
                event = Finished(request_id=number)
            case RestoreSlice():
                track = self._track(request.volume_id, request.mask.object_id)
                plane = request.mask.plane
                if request.prompts is None:
                    track.tracked[plane] = request.mask.mask
                else:
                    track.prompts[plane], track.confirmed[plane] = request.prompts, request.mask.mask
                    track.tracked.pop(plane, None)
                event = Finished(request_id=number)
            case RemoveObject():
                self.tracks.pop((request.volume_id, request.object_id), None)
                event = Finished(request_id=number)
            case _:
                event = Finished(request_id=number)
        self._events.append(event)

    def _answer(self, number, request):
        prompts = request.prompts
        plane, track = prompts.plane, self._track(request.volume_id, prompts.object_id)
        shape = self._slice_shape(request.volume_id, plane)
        count = self._num_readings(track, prompts)
        others = [p.index for p in track.confirmed if p != plane and p.axis == plane.axis]
        low = max((n for n in others if n < plane.index), default=-1) + 1
        high = min((n for n in others if n > plane.index), default=10**6) - 1
        track.tracked = {p: m for p, m in track.tracked.items() if not low <= p.index <= high}
        if prompts.is_empty:
            track.prompts.pop(plane, None)
            track.confirmed.pop(plane, None)
            mask = np.zeros(shape, bool)
        else:
            mask = answer_to(prompts, shape, count)
            track.prompts[plane], track.confirmed[plane] = prompts, mask
        answer = as_mask(prompts.object_id, plane, mask, prompts.revision, count)
        return SliceAnswered(
            request_id=number, volume_id=request.volume_id, mask=answer, stale_first=low, stale_last=high
        )

    def _num_readings(self, track, prompts):
        is_open = len(prompts.points) == 1 and prompts.box is None and prompts.plane not in track.tracked
        return self.num_readings if is_open else 1

    def _track_one(self, number, request):
        if number not in self._plans:
            self._plans[number] = {one: self._plan(number, request, one) for one in request.object_ids}
        for object_id, todo in self._plans[number].items():
            if not todo:
                continue
            plane, track = todo.popleft(), self._track(request.volume_id, object_id)
            near = min(track.confirmed, key=lambda p: (abs(p.index - plane.index), p.index))
            distance = plane.index - near.index
            mask = tracked_from(track.confirmed[near], distance)
            has_ended = self.reach is not None and abs(distance) > self.reach and not request.beyond
            answer = as_mask(object_id, plane, np.zeros_like(mask) if has_ended else mask, 0)
            answer = replace(answer, ending="area" if has_ended else "")
            track.tracked[plane] = answer.mask
            self._extended.add((number, object_id, plane))
            self._events.append(SliceTracked(request_id=number, volume_id=request.volume_id, mask=answer))
            self._events.append(
                Progress(request_id=number, done=len(track.tracked), total=len(track.tracked) + len(todo))
            )
            return True
        return False

    def _plan(self, number, request, object_id):
        """The slices of an object that are still to be tracked, in order."""
        track = self._track(request.volume_id, object_id)
        if not request.beyond:
            return deque(self._todo(request, track))
        axis = next(iter(track.confirmed)).axis
        planes = [SlicePlane(axis, index) for index in request.beyond]
        return deque(plane for plane in planes if (number, object_id, plane) not in self._extended)

    def _todo(self, request, track):
        if not track.confirmed:
            return []
        axis = next(iter(track.confirmed)).axis
        count = self._shapes[request.volume_id][axis.array_axis]
        first = 0 if request.first is None else request.first
        last = count - 1 if request.last is None else request.last
        starts = [p.index for p in track.confirmed]
        todo = []
        for index in range(first, last + 1):
            plane = SlicePlane(axis, index)
            is_up = index > min(starts)
            is_wanted = (
                request.direction is Direction.BOTH
                or (request.direction is Direction.UP and is_up)
                or (request.direction is Direction.DOWN and index < max(starts))
            )
            if plane not in track.confirmed and plane not in track.tracked and is_wanted:
                todo.append(plane)
        return sorted(todo, key=lambda p: (min(abs(p.index - s) for s in starts), p.index))

    def _track(self, volume, object_id):
        return self.tracks.setdefault((volume, object_id), Track())

    def _slice_shape(self, volume, plane):
        return tuple(n for a, n in enumerate(self._shapes[volume]) if a != plane.axis.array_axis)


def answer_to(prompts, shape, num_readings=1):
    """Discs around positive points and the box, without discs around negative points; or the mask that was given.

    The first disc is larger by a pixel for each further reading.
    """
    if prompts.mask is not None:
        return prompts.mask.mask.copy()
    row, col = np.mgrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, bool)
    if prompts.box is not None:
        box = prompts.box
        mask |= (row >= box.row0) & (row <= box.row1) & (col >= box.col0) & (col <= box.col1)
    for number, point in enumerate(prompts.points):
        radius = RADIUS + (prompts.reading % num_readings if number == 0 else 0)
        disc = (row - point.row) ** 2 + (col - point.col) ** 2 <= radius**2
        mask = mask | disc if point.positive else mask & ~disc
    return mask


def tracked_from(mask, distance):
    """The mask of a prompted slice, a little shifted."""
    return np.roll(mask, distance % 3, axis=1)


def cleaned_from(mask):
    """The mask without its last row of pixels."""
    cleaned = mask.copy()
    cleaned[np.flatnonzero(mask.any(axis=1))[-1]] = False
    return cleaned


def as_mask(object_id, plane, mask, revision, num_readings=1):
    iou = 0.9 if plane.index % 4 else 0.5
    return SliceMask(
        object_id=object_id,
        plane=plane,
        mask=mask,
        predicted_iou=iou,
        object_score=0.95 if mask.any() else 0.02,
        revision=revision,
        num_readings=num_readings,
    )
