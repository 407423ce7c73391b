"""The view models of the panels: panels copy these values into widgets.

Speed and remaining time of a propagation or a run. Pure: time is passed in.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.remote import REVIEW_IOU_THRESHOLD
from NeuroSAM2Core.verdict import Verdict
from NeuroSAM2Core.volume import SliceMask, SlicePlane
from NeuroSAM2Lib.i18n import tr as _

SETTLED_S = 0.5
"""Before this no time left is shown."""


@dataclass(frozen=True, slots=True)
class ProgressRate:
    """The progress rate of something that began at a known time."""

    began_s: float
    """Seconds of any clock that only goes forward."""
    unit: str = _("slices")

    def sentence(self, progress: tuple[int, int], now_s: float) -> str:
        """Such as `12 of 40 slices, 8.3 per second, 4 s left`.

        Args:
            progress: How many are done, and how many there are at most.
            now_s: Of the same clock.
        """
        done, total = progress
        if total == 0:
            return _("getting ready")
        return _("{done} of {total} {unit}{speed}").format(
            done=done, total=total, unit=self.unit, speed=self.speed(progress, now_s)
        )

    def speed(self, progress: tuple[int, int], now_s: float) -> str:
        """Such as `, 8.3 per second, 4 s left`; empty while too little is done to say. Arguments as of `sentence`."""
        done, total = progress
        elapsed = now_s - self.began_s
        if done == 0 or elapsed < SETTLED_S:
            return ""
        rate = done / elapsed
        how_fast = (
            _("{rate:.1f} per second").format(rate=rate)
            if rate >= 1
            else _("{seconds:.1f} s each").format(seconds=1 / rate)
        )
        return f", {how_fast}, {time_left((total - done) / rate)}"


def time_left(seconds: float) -> str:
    """In a person's words."""
    return _("{time} left").format(time=duration(seconds))


def duration(seconds: float) -> str:
    """In a person's words, rounded."""
    if seconds < 60:
        return _("{seconds:.0f} s").format(seconds=seconds)
    if seconds < 3600:
        return _("{minutes:.0f} min").format(minutes=seconds / 60)
    return _("{hours:.1f} h").format(hours=seconds / 3600)


ENDING_MESSAGES = {
    "object score": _("the model does not see it any more"),
    "expected IoU": _("the model expects a poor mask"),
    "area": _("its area became too small beside the largest slice"),
    "overlap": _("it does not lie on the outline of the slice before any more"),
    "regrowth": _("it grows again after it had become small: it has run into a neighbour"),
    "certainty": _("its outline is no longer sure"),
}
"""Why an object ends on a slice, by what `SliceMask.ending` says; in the order in which scenes number them."""
OTHER_REASON = "unknown"
"""An ending that this version does not know."""


def ending_message(ending: str) -> str:
    """Why an object ends, for people."""
    return ENDING_MESSAGES.get(ending, _("the engine has ended it"))


class Activity(Enum):
    """The activity of a session."""

    READY = "ready"
    STARTING = "starting the engine"
    ANSWERING = "answering"
    PROPAGATING = "propagating"
    STOPPING = "stopping"
    REPAIRING = "repairing"
    EXPORTING = "exporting"
    ENDED = "ended"

    @property
    def is_quiet(self) -> bool:
        """Nothing is under way."""
        return self in (Activity.READY, Activity.ENDED)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectView:
    """A row of the object list."""

    object_id: int
    segment_id: str
    name: str
    colour: tuple[float, float, float]
    num_prompts: int
    num_prompted: int
    """Slices with a click, a box or another prompt."""
    num_confirmed: int
    """Slices that were accepted as they are or edited by hand."""
    num_done: int
    """Slices with a mask that is up to date."""
    is_active: bool
    is_shown: bool = True
    is_locked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentView:
    """A segment of the person's own, which is no object until it is chosen."""

    segment_id: str
    name: str
    colour: tuple[float, float, float]


CONFIDENT_OBJECT_SCORES = (0.2, 0.8)
FOUND = 0.5
"""From this object score on the object counts as being in the slice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceQuality:
    """The model's confidence on a slice, and a digest of its mask: kept for each slice, and shown in the quality strip."""

    predicted_iou: float
    """The overlap with the truth that the model expects, 0 to 1."""
    object_score: float
    """Probability that the object is in the slice, 0 to 1."""
    review_iou_threshold: float = REVIEW_IOU_THRESHOLD
    """From this expected overlap on the model that answered needs no second look."""
    digest: int = 0
    """Of the mask as it was written; another one there now means that it was edited by hand."""
    is_stale: bool = False
    """A correction nearby has made it out of date; the next propagation does it again."""
    num_readings: int = 1
    """How many masks the click on it can mean; 1 where it means one."""
    ending: str = ""
    """Why the object ends on it, as `SliceMask` says; empty where it is there."""

    @property
    def is_present(self) -> bool:
        """The object is on it."""
        return self.object_score >= FOUND

    @property
    def is_doubtful(self) -> bool:
        """A person should look at it: the model is not sure that the object is there, or that its mask is good."""
        low, high = CONFIDENT_OBJECT_SCORES
        return low < self.object_score < high or (
            self.object_score >= high and self.predicted_iou < self.review_iou_threshold
        )

    @classmethod
    def of(cls, mask: SliceMask, digest: int) -> "SliceQuality":
        """That of an answer.

        Args:
            mask: The answer.
            digest: Of the mask as it was written.
        """
        return cls(
            predicted_iou=mask.predicted_iou,
            object_score=mask.object_score,
            digest=digest,
            num_readings=mask.num_readings,
            ending=mask.ending,
        )

    def as_answer(self, object_id: int, plane: SlicePlane, mask: NDArray[np.bool_]) -> SliceMask:
        """The answer that a mask (H, W) of this quality would be."""
        return SliceMask(
            object_id=object_id,
            plane=plane,
            mask=mask,
            predicted_iou=self.predicted_iou,
            object_score=self.object_score,
            num_readings=self.num_readings,
            ending=self.ending,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class QualitySlice:
    """One mark along the slice slider."""

    plane: SlicePlane
    quality: SliceQuality
    is_confirmed: bool
    """It was accepted as it is, or edited by hand."""
    is_prompted: bool
    """It has a click, a box or another prompt, whose answer stays."""
    is_doubtful: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionView:
    """The segmentation panel."""

    activity: Activity
    notice: str
    """A sentence for the person; empty where there is nothing to say."""
    progress: tuple[int, int] | None
    """Slices done and slices at most, while propagating or repairing; zeros before the first."""
    objects: tuple[ObjectView, ...]
    others: tuple[SegmentView, ...]
    """Segments that are no objects."""
    quality_strip: tuple[QualitySlice, ...]
    """Of the active object, in the order of its slices."""
    is_held: bool
    """Prompts wait until the person says that they are complete."""
    num_waiting: int
    """Slices whose prompts wait for that."""
    can_prompt: bool
    can_propagate: bool
    can_extend: bool
    """The active object has ended somewhere, and may go on for one more slice."""
    can_stop: bool
    can_continue: bool
    """A propagation was stopped, or a correction has made slices out of date."""
    can_clear: bool
    can_undo: bool
    undo_name: str
    """Of the step that Undo takes back; empty where there is none."""
    can_redo: bool
    can_retry: bool
    """The engine was given up on."""


NO_SESSION = SessionView(
    activity=Activity.ENDED,
    notice="",
    progress=None,
    objects=(),
    others=(),
    quality_strip=(),
    is_held=False,
    num_waiting=0,
    can_prompt=False,
    can_propagate=False,
    can_extend=False,
    can_stop=False,
    can_continue=False,
    can_clear=False,
    can_undo=False,
    undo_name="",
    can_redo=False,
    can_retry=False,
)
"""Without a session nothing can be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRow:
    """A row of the model list."""

    name: str
    description: str
    licence: str
    is_installed: bool
    is_in_use: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelView:
    """The model chooser."""

    rows: tuple[ModelRow, ...]
    path: str
    """Of the model in use where it is a file of the person's own."""
    download: tuple[int, int | None] | None
    """Bytes done and bytes in all, while one is downloaded."""
    notice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseRow:
    """A row of the training panel's case list."""

    name: str
    role: str
    """training, validation or test."""
    is_there: bool
    """Its files are where they were exported to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonRow:
    """A line of the before-and-after table."""

    what: str
    before: str
    """The mean; "> 5" where no object got there with the corrections that were tried."""
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainView:
    """The training panel."""

    cases: tuple[CaseRow, ...]
    is_running: bool
    step: int
    num_steps: int
    losses: tuple[tuple[int, float], ...]
    """Step and loss, for the plot."""
    dices: tuple[tuple[int, float], ...]
    """Step and mean Dice on the validation cases."""
    comparison: tuple[ComparisonRow, ...]
    verdict: Verdict | None
    """Of the comparison; None where the last run's model has not been compared."""
    verdict_picture: Path | None
    """Of Dice before and after, case by case; None where none was drawn."""
    warnings: tuple[str, ...]
    """What is missing for a proof, and what goes wrong in the run; a sentence each."""
    pictures: tuple[Path, ...]
    """Of clips with their prompts, as training will see them."""
    report: str
    """What was found out about the cases; empty where they were not looked at."""
    can_validate: bool
    """The cases can be looked at."""
    can_start: bool
    can_stop: bool
    can_continue: bool
    can_compare: bool
    can_promote: bool
    can_roll_back: bool
    notice: str


def capitalized(text: str) -> str:
    """A notice or an error with a capital and a full stop, for people; a file's name at its beginning stays as it is."""
    text = text.strip()
    if not text:
        return ""
    is_name = any(mark in text.split()[0][:-1] for mark in "./\\_")
    return (text if is_name else text[0].upper() + text[1:]) + ("" if text.endswith((".", "!", "?")) else ".")
