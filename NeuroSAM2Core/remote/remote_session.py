"""For scripts that may wait: the engine's `Session` with a worker behind it, and a worker that dies is replaced.

Programs with a window or an event loop use `EngineClient` instead.

The session state on the client's side: prompts and masks, for scripts that have no scene to keep them in.
"""

import select
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.remote.client import EngineClient
from NeuroSAM2Core.remote.messages import (
    AUTOMATIC,
    UNSOLICITED,
    Cancel,
    Disconnected,
    EngineSwitches,
    Event,
    Failed,
    FinalEvent,
    LoadModel,
    Propagate,
    RemoveObject,
    SliceAnswered,
    SliceTracked,
    VolumeClosed,
)
from NeuroSAM2Core.remote.state_sync import SliceSnapshot, StateSync
from NeuroSAM2Core.volume import Direction, IntensityWindow, SliceMask, SlicePlane, Volume, resolve_axis

Place = tuple[int, SlicePlane]
"""An object on a slice."""


class SessionState:
    """Prompts and masks of one volume; a `StateSource`."""

    def __init__(self) -> None:
        self._slices: dict[Place, SliceSnapshot] = {}

    @property
    def masks(self) -> list[SliceMask]:
        """All current masks."""
        return [one.mask for one in self._slices.values() if one.mask is not None]

    @property
    def object_ids(self) -> list[int]:
        """The objects with prompts or masks."""
        return sorted({object_id for object_id, _ in self._slices})

    @property
    def unanswered(self) -> dict[int, list[SlicePlane]]:
        """See `StateSource`."""
        waiting: dict[int, list[SlicePlane]] = {}
        for (object_id, plane), one in self._slices.items():
            if one.unanswered is not None:
                waiting.setdefault(object_id, []).append(plane)
        return waiting

    def snapshots(self, object_id: int) -> list[SliceSnapshot]:
        """See `StateSource`; slices with prompts come in the order in which they were first prompted."""
        return [one for place, one in self._slices.items() if place[0] == object_id]

    def prompt_set(self, object_id: int, plane: SlicePlane) -> PromptSet:
        """The latest prompts of an object on a slice, answered or not; an empty set where there are none."""
        one = self._slices.get((object_id, plane), SliceSnapshot())
        return one.unanswered or one.prompts or PromptSet(object_id=object_id, plane=plane)

    def set_prompts(self, prompts: PromptSet) -> None:
        """Sets the prompts of an object on a slice; they have no answer yet."""
        place = prompts.object_id, prompts.plane
        self._slices[place] = replace(self._slices.get(place, SliceSnapshot()), unanswered=prompts)

    def remove(self, object_id: int) -> None:
        """Forgets an object."""
        for place in [place for place in self._slices if place[0] == object_id]:
            del self._slices[place]

    def put(self, mask: SliceMask) -> None:
        """Keeps a mask that was tracked."""
        place = mask.object_id, mask.plane
        self._slices[place] = replace(self._slices.get(place, SliceSnapshot()), mask=mask)

    def answer(self, prompts: PromptSet, event: SliceAnswered) -> None:
        """Keeps the answer to the latest prompts of a slice; tracked masks that it has made stale are gone."""
        place = prompts.object_id, prompts.plane
        if prompts.is_empty:
            del self._slices[place]
        else:
            self._slices[place] = SliceSnapshot(mask=event.mask, prompts=prompts)
        for other, one in list(self._slices.items()):
            is_between = event.stale_first <= other[1].index <= event.stale_last
            if other[0] == prompts.object_id and is_between and one.prompts is None:
                self._keep(other, replace(one, mask=None))

    def refuse(self, prompts: PromptSet) -> None:
        """The latest prompts of a slice cannot be answered: what was there before counts again."""
        place = prompts.object_id, prompts.plane
        self._keep(place, replace(self._slices[place], unanswered=None))

    def _keep(self, place: Place, one: SliceSnapshot) -> None:
        """Stores a slice's snapshot, or removes an empty one."""
        if one == SliceSnapshot():
            self._slices.pop(place, None)
        else:
            self._slices[place] = one


POLL_S = 0.5
"""A client must look at its clock now and then, whatever comes."""
STARTING_S = 0.02
"""Between two looks at a worker that starts."""
MAX_RESTARTS = 3
"""Workers that may die one after another before an answer comes."""


def wait(client: EngineClient, timeout_s: float = POLL_S) -> list[Event]:
    """Waits until something may have happened, or for so long, and returns what has."""
    if client.welcome is None:  # there may be nothing to watch yet
        time.sleep(min(timeout_s, STARTING_S))
    else:
        select.select([client], [client] if client.wants_write else [], [], timeout_s)
    return client.poll()


class RemoteSession:
    """One volume on a worker, asked like the engine's `Session`.

    Prompts and masks are kept here, so that a worker that dies is replaced without a loss.

    Args:
        make_client: Makes a connection, again whenever one is lost.
        volume: The image.
        model: Catalog name, or a model file on the worker's machine.
        device: auto, cpu, cuda or mps.
        window: The intensities that become black and white; the 0.5 to 99.5 percentiles by default.
        switches: What the engine does for this volume.

    Raises:
        NeuroSAM2Error: The worker cannot be had, or does not take the model or the volume.
    """

    def __init__(
        self,
        make_client: Callable[[], EngineClient],
        volume: Volume,
        *,
        model: str = "nano",
        device: str = "auto",
        window: IntensityWindow | None = None,
        switches: EngineSwitches = AUTOMATIC,
    ) -> None:
        self.volume = volume
        self._make_client = make_client
        self._model, self._window, self._switches = LoadModel(model=model, device=device), window, switches
        self._has_ended = False
        self._session_state = SessionState()
        self._begin()

    @classmethod
    def launch(
        cls,
        volume: Volume,
        *,
        model: str = "nano",
        device: str = "auto",
        window: IntensityWindow | None = None,
        switches: EngineSwitches = AUTOMATIC,
        interpreter: str | None = None,
    ) -> "RemoteSession":
        """A session with a worker of its own on this machine; see `EngineClient.launch` and the class."""
        return cls(
            lambda: EngineClient.launch(interpreter),
            volume,
            model=model,
            device=device,
            window=window,
            switches=switches,
        )

    @classmethod
    def connect(
        cls,
        host: str,
        port: int,
        token: str,
        volume: Volume,
        *,
        model: str = "nano",
        device: str = "auto",
        window: IntensityWindow | None = None,
        switches: EngineSwitches = AUTOMATIC,
    ) -> "RemoteSession":
        """A session with a worker that listens somewhere; see `EngineClient.connect` and the class."""
        return cls(
            lambda: EngineClient.connect(host, port, token),
            volume,
            model=model,
            device=device,
            window=window,
            switches=switches,
        )

    def __enter__(self) -> "RemoteSession":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def object_ids(self) -> list[int]:
        """The objects so far."""
        return self._session_state.object_ids

    def add_point(
        self, object_id: int, axis: str, index: int, point: Sequence[float], *, positive: bool = True
    ) -> SliceMask:
        """One click; see `Session.add_point`."""
        row, col = point
        return self.set_prompts(self._prompts(object_id, axis, index).with_point(PointPrompt(row, col, positive)))

    def add_box(self, object_id: int, axis: str, index: int, box: Sequence[float]) -> SliceMask:
        """A box in place of the one before; see `Session.add_box`."""
        return self.set_prompts(self._prompts(object_id, axis, index).with_box(BoxPrompt(*box)))

    def add_mask(self, object_id: int, axis: str, index: int, mask: NDArray[np.bool_]) -> SliceMask:
        """A mask in place of all other prompts of the slice; see `Session.add_mask`."""
        return self.set_prompts(self._prompts(object_id, axis, index).with_mask(MaskPrompt(np.array(mask))))

    def choose_reading(self, object_id: int, axis: str, index: int, reading: int) -> SliceMask:
        """Answers the click on a slice with another of its readings; see `Session.choose_reading`."""
        return self.set_prompts(self._prompts(object_id, axis, index).with_reading(reading))

    def set_prompts(self, prompts: PromptSet) -> SliceMask:
        """All prompts of an object on a slice; see `Session.set_prompts`.

        Raises:
            NeuroSAM2Error: They cannot be answered; nothing has changed then.
        """

        def send() -> int:
            number = self._sync.predict(prompts)
            self._session_state.set_prompts(prompts)
            return number

        event = self._ask(send)
        assert isinstance(event, SliceAnswered)
        return event.mask

    def propagate(
        self,
        object_id: int | None = None,
        *,
        first: int | None = None,
        last: int | None = None,
        direction: Direction = Direction.BOTH,
    ) -> Iterator[SliceMask]:
        """Propagates objects through the slices and yields each when it comes; see `Session.propagate`."""
        object_ids = tuple(self.object_ids) if object_id is None else (object_id,)
        yield from self._track(
            lambda: Propagate(
                volume_id=self._sync.volume_id, object_ids=object_ids, first=first, last=last, direction=direction
            )
        )

    def extend(self, object_id: int, index: int) -> SliceMask:
        """One slice beyond the end of an object; see `Session.extend`.

        Args:
            object_id: The object.
            index: The slice along the axis that the object is segmented along.
        """
        (mask,) = self._track(
            lambda: Propagate(volume_id=self._sync.volume_id, object_ids=(object_id,), beyond=(index,))
        )
        return mask

    def remove(self, object_id: int) -> None:
        """Forgets an object."""

        def send() -> int:
            number = self._client.submit(RemoveObject(volume_id=self._sync.volume_id, object_id=object_id))
            self._session_state.remove(object_id)
            self._sync.forget(object_id)
            return number

        self._ask(send)

    def mask(self, object_id: int) -> NDArray[np.bool_]:
        """The current mask of the object, (K, J, I)."""
        voxels = np.zeros(self.volume.shape, dtype=bool)
        for one in self._session_state.masks:
            if one.object_id == object_id:
                one.plane.of(voxels)[...] = one.mask
        return voxels

    def close(self) -> None:
        """Ends the connection, and the worker if it is this session's own."""
        self._has_ended = True
        self._client.close()

    def _prompts(self, object_id: int, axis: str, index: int) -> PromptSet:
        return self._session_state.prompt_set(object_id, SlicePlane(resolve_axis(self.volume, axis), index))

    def _track(self, request: Callable[[], Propagate]) -> Iterator[SliceMask]:
        """The slices that a request tracks."""
        for event in self._stream(lambda: self._client.submit(request())):
            if isinstance(event, SliceTracked):
                yield event.mask

    def _ask(self, send: Callable[[], int]) -> Event:
        """The final event of a request."""
        *_, final = self._stream(send)
        return final

    def _stream(self, send: Callable[[], int]) -> Iterator[Event]:
        """All events of a request; sent again to the next worker if one dies.

        Args:
            send: Sends it and returns its number.

        Raises:
            NeuroSAM2Error: It cannot be done, or no worker lives long enough; nothing is lost, and the next request tries again.
        """
        if self._client.is_closed and not self._has_ended:  # the last request gave up
            self._begin()
        num_losses, number = 0, send()
        try:
            while True:
                events = wait(self._client)
                for event in events:  # all of them, before whoever asked can lose interest
                    self._note(event)
                loss = next((event for event in events if _is_worker_loss(event)), None)
                ours = [event for event in events if getattr(event, "request_id", UNSOLICITED) == number]
                if loss is not None:  # then it is why others failed
                    ours = [event for event in ours if not isinstance(event, Failed)]
                for event in ours:
                    if isinstance(event, Failed):
                        raise event.to_error()
                    yield event
                if any(isinstance(event, FinalEvent) for event in ours):
                    return
                if loss is not None:
                    num_losses = 0 if ours else num_losses + 1
                    self._restart(loss, is_hopeless=num_losses > MAX_RESTARTS)
                    number = send()
        finally:
            if number in self._client.unanswered and not self._client.is_closed:  # whoever asked lost interest
                self._client.submit(Cancel(target=number))

    def _note(self, event: Event) -> None:
        """Keeps what an event says of prompts and masks."""
        prompts = self._sync.settle(event)
        match event:
            case SliceAnswered() if prompts is not None:
                self._session_state.answer(prompts, event)
            case Failed() if prompts is not None:
                self._session_state.refuse(prompts)
            case SliceTracked():
                self._session_state.put(event.mask)
            case _:
                pass

    def _restart(self, loss: Event, *, is_hopeless: bool) -> None:
        """The worker has died or closed the volume: restores the session on another one, or the same."""
        self._client.close()
        if is_hopeless and isinstance(loss, Disconnected):
            raise WorkerError(loss.reason, hint=loss.hint)
        self._begin()

    def _begin(self) -> None:
        """Restores the session on a new worker; on the next one if it dies meanwhile."""
        for _ in range(MAX_RESTARTS):
            try:
                return self._restore()
            except _WorkerLostError:
                continue
        return self._restore()

    def _restore(self) -> None:
        self._client = self._make_client()
        model = self._client.submit(self._model)
        volume = self._client.open_volume(self.volume, window=self._window, switches=self._switches)
        self._sync = StateSync(self._client.submit)
        self._sync.begin(self._client.volume_id(volume))
        numbers = {model, volume}
        for object_id in self.object_ids:
            numbers.update(self._sync.restore(self._session_state, object_id))
        while not self._client.unanswered.keys().isdisjoint(numbers):
            for event in wait(self._client):
                self._note(event)
                if isinstance(event, Failed):
                    self._client.close()
                    raise event.to_error()
                if isinstance(event, Disconnected):
                    self._client.close()
                    raise _WorkerLostError(event.reason, hint=event.hint)


class _WorkerLostError(WorkerError):
    """A worker that died while the session was restored."""


def _is_worker_loss(event: Event) -> bool:
    return isinstance(event, Disconnected) or (isinstance(event, VolumeClosed) and event.request_id == UNSOLICITED)
