"""The status line at the top of the panel, and the button for its action. Pure."""

from dataclasses import dataclass
from enum import Enum

from NeuroSAM2Lib.engine.installation import InstallPlan
from NeuroSAM2Lib.engine.link import FAILED_MESSAGE, RETRY_HINT
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.view_state import Activity, SessionView, capitalized


class StatusAction(Enum):
    """The action of the status button."""

    NOTHING = "nothing"
    INSTALL = "install"
    SAMPLE = "sample"
    SEGMENTATION = "segmentation"
    RETRY = "retry"
    RECOVER = "recover"


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """The line."""

    sentence: str
    fix: StatusAction = StatusAction.NOTHING
    button: str = ""
    is_problem: bool = False
    """Something keeps the person from going on."""


ACTIVITY = {
    Activity.STARTING: _("Starting the engine. Your prompts wait for it."),
    Activity.ANSWERING: _("Outlining this slice."),
    Activity.PROPAGATING: _("Propagating. You can go on looking and clicking."),
    Activity.STOPPING: _("Stopping after this slice."),
}
FIRST = _("Ready. Press X and drag a box around something in a slice view, or press P and click in it.")
UNSAVED = _("This volume was worked on, and the work was not saved. Bring it back, or begin anew.")
OPEN = _("Ready. Press E for another outline that your click can mean, correct this one with P and N, or propagate.")
THEN = _("Ready. Propagate through the other slices, or correct this one with P and N.")


def status_message(
    *,
    plan: InstallPlan,
    has_volume: bool,
    has_segmentation: bool,
    problem: str,
    session: SessionView,
    has_unsaved: bool = False,
    has_readings: bool = False,
) -> StatusMessage:
    """The most pressing thing, first things first.

    Args:
        plan: What is to be installed.
        has_volume: One is chosen.
        has_segmentation: One is chosen.
        problem: Why there is no session although both are chosen; empty where there is one.
        session: The session.
        has_unsaved: It was worked on before, and that work was not saved.
        has_readings: The click on the slice that is looked at can mean several outlines.
    """
    if plan.sentence:
        return StatusMessage(plan.sentence, StatusAction.INSTALL, plan.button, is_problem=True)
    if not has_volume:
        return StatusMessage(
            _("Choose a volume. To try it out, load a sample."), StatusAction.SAMPLE, _("Load sample"), is_problem=True
        )
    if not has_segmentation:
        return StatusMessage(
            _("Choose a segmentation to draw into."), StatusAction.SEGMENTATION, _("New segmentation"), is_problem=True
        )
    if problem:
        return StatusMessage(capitalized(problem), is_problem=True)
    if session.can_retry:
        return StatusMessage(
            capitalized(f"{FAILED_MESSAGE} ({RETRY_HINT})"), StatusAction.RETRY, _("Try again"), is_problem=True
        )
    if session.activity is Activity.ENDED:
        return StatusMessage(capitalized(session.notice), is_problem=True)
    if has_unsaved and not session.objects and session.activity is Activity.READY:
        return StatusMessage(
            f"{capitalized(session.notice)} {UNSAVED}".strip(), StatusAction.RECOVER, _("Bring it back")
        )
    message = ACTIVITY.get(session.activity, "") or capitalized(session.notice)
    if has_readings:
        return StatusMessage(message or OPEN)
    return StatusMessage(message or (THEN if session.can_propagate else FIRST))
