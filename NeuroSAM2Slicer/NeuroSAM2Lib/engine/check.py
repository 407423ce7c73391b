"""The Test button: runs the chosen engine on a small volume and reports its speed or its error.

It never waits: whoever runs it calls `poll` when the engine has something to say, or now and then.
"""

import time
from dataclasses import dataclass

import numpy as np

from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.prompts import BoxPrompt, PromptSet
from NeuroSAM2Core.remote import Disconnected, Event, Failed, LoadModel, ModelLoaded, PredictSlice, SliceAnswered
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.engine.link import Engine
from NeuroSAM2Lib.i18n import tr as _

SHAPE = (3, 128, 128)
LIMIT_S = 120.0
NUM_TIMED = 2
"""Clicks on a slice whose features are known; the last one is timed."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a test."""

    is_good: bool
    sentence: str


class EngineCheck:
    """One test.

    Args:
        engine: A client of its own; closed when the test ends.
        model: What it is to load.
    """

    def __init__(self, engine: Engine, model: LoadModel) -> None:
        self.engine = engine
        self.result: CheckResult | None = None
        self._began = self._asked = time.monotonic()
        self._loaded: ModelLoaded | None = None
        self._ready_s = 0.0
        self._times: list[float] = []
        volume = _ball()
        engine.submit(model)
        self._volume_id = engine.volume_id(engine.open_volume(volume))
        self._ask()

    def poll(self) -> CheckResult | None:
        """The result, once there is one."""
        if self.result is None:
            for event in self.engine.poll():
                self._take(event)
        if self.result is None and time.monotonic() - self._began > LIMIT_S:
            self._end(
                is_good=False, sentence=_("The engine did not answer within {limit_s:.0f} s.").format(limit_s=LIMIT_S)
            )
        return self.result

    def cancel(self) -> None:
        """The person does not want to know any more."""
        if self.result is None:
            self._end(is_good=False, sentence=_("The test was cancelled."))

    def _take(self, event: Event) -> None:
        if self.result is not None:
            return
        match event:
            case ModelLoaded():
                self._loaded = event
            case SliceAnswered():
                self._ready_s = self._ready_s or time.monotonic() - self._began
                self._times.append(time.monotonic() - self._asked)
                if len(self._times) <= NUM_TIMED:
                    self._ask()
                else:
                    self._end(is_good=True, sentence=self._success_message())
            case Failed():
                self._end(is_good=False, sentence=str(event.to_error()))
            case Disconnected():
                self._end(is_good=False, sentence=str(WorkerError(event.reason, hint=event.hint)))
            case _:
                pass

    def _ask(self) -> None:
        self._asked = time.monotonic()
        prompts = PromptSet(
            object_id=1,
            plane=SlicePlane(Axis.K, 1),
            box=BoxPrompt(40.0, 40.0, 88.0, 88.0),
            revision=len(self._times) + 1,
        )
        self.engine.submit(PredictSlice(volume_id=self._volume_id, prompts=prompts))

    def _success_message(self) -> str:
        assert self._loaded is not None
        return _(
            "It works: {model} on {device}, first mask after {ready_s:.1f} s, then {answer_ms:.0f} ms from click to mask."
        ).format(
            model=self._loaded.model,
            device=self._loaded.device,
            ready_s=self._ready_s,
            answer_ms=self._times[-1] * 1000,
        )

    def _end(self, *, is_good: bool, sentence: str) -> None:
        self.result = CheckResult(is_good, sentence)
        self.engine.close()


def _ball() -> Volume:
    """A bright disc on every slice."""
    rows, cols = np.mgrid[: SHAPE[1], : SHAPE[2]]
    disc = ((rows - 64) ** 2 + (cols - 64) ** 2 < 20**2).astype(np.int16) * 100
    return Volume(np.ascontiguousarray(np.broadcast_to(disc, SHAPE)), np.eye(4), name="test")
