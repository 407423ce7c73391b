"""The line at the top of the panel: what is the matter, and the one button that goes on from there. Pure."""

from dataclasses import dataclass
from enum import Enum

from NeuroSAM2MRML.engine.installation import InstallPlan
from NeuroSAM2MRML.engine.link import GIVEN_UP, WHAT_THEN
from NeuroSAM2MRML.i18n import tr as _
from NeuroSAM2MRML.view_state import Activity, SessionView, as_sentence


class Fix(Enum):
    """What the button does."""

    NOTHING = "nothing"
    INSTALL = "install"
    SAMPLE = "sample"
    SEGMENTATION = "segmentation"
    RETRY = "retry"
    RECOVER = "recover"


@dataclass(frozen=True, slots=True)
class StateLine:
    """The line."""

    sentence: str
    fix: Fix = Fix.NOTHING
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


def state_line(
    *,
    plan: InstallPlan,
    has_volume: bool,
    has_segmentation: bool,
    problem: str,
    session: SessionView,
    has_unsaved: bool = False,
    has_readings: bool = False,
) -> StateLine:
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
        return StateLine(plan.sentence, Fix.INSTALL, plan.button, is_problem=True)
    if not has_volume:
        return StateLine(
            _("Choose a volume. To try it out, load a sample."), Fix.SAMPLE, _("Load sample"), is_problem=True
        )
    if not has_segmentation:
        return StateLine(
            _("Choose a segmentation to draw into."), Fix.SEGMENTATION, _("New segmentation"), is_problem=True
        )
    if problem:
        return StateLine(as_sentence(problem), is_problem=True)
    if session.can_retry:
        return StateLine(as_sentence(f"{GIVEN_UP} ({WHAT_THEN})"), Fix.RETRY, _("Try again"), is_problem=True)
    if session.activity is Activity.ENDED:
        return StateLine(as_sentence(session.notice), is_problem=True)
    if has_unsaved and not session.objects and session.activity is Activity.READY:
        return StateLine(f"{as_sentence(session.notice)} {UNSAVED}".strip(), Fix.RECOVER, _("Bring it back"))
    said = ACTIVITY.get(session.activity, "") or as_sentence(session.notice)
    if has_readings:
        return StateLine(said or OPEN)
    return StateLine(said or (THEN if session.can_propagate else FIRST))
