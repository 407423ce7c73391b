"""A session as a panel shows it: what is going on, what can be done now, and how sure the model is of each slice."""

from NeuroSAM2MRML.object_record import ObjectRecord
from NeuroSAM2MRML.session_controller import SessionController
from NeuroSAM2MRML.view_state import Activity, ObjectView, RibbonSlice, SessionView

NOTHING = SessionView(
    activity=Activity.ENDED,
    notice="",
    progress=None,
    objects=(),
    ribbon=(),
    can_prompt=False,
    can_propagate=False,
    can_stop=False,
    can_continue=False,
    can_clear=False,
    can_undo=False,
    undo_name="",
    can_redo=False,
    can_retry=False,
)
"""Without a session."""


def session_view(session: SessionController | None) -> SessionView:
    """What is shown of a session; nothing can be done without one."""
    if session is None:
        return NOTHING
    desk, talk = session.desk, session.talk
    lives = not session.ended
    is_under_way = talk.journey is not None
    can_undo = lives and desk.steps.history.can_undo()
    return SessionView(
        activity=_activity(session),
        notice=session.notice,
        progress=talk.progress if is_under_way else None,
        objects=_objects(session) if lives else (),
        ribbon=_ribbon(desk.active_record) if lives else (),
        can_prompt=lives and not session.link.is_given_up,
        can_propagate=lives and not is_under_way and bool(desk.active_record.prompts.indices),
        can_stop=lives and is_under_way and not talk.is_stopping,
        can_continue=lives and session.can_continue,
        can_clear=lives and not is_under_way and desk.active is not None,
        can_undo=can_undo,
        undo_name=desk.steps.current_name() if can_undo else "",
        can_redo=lives and desk.steps.history.can_redo(),
        can_retry=lives and session.link.is_given_up,
    )


def _activity(session: SessionController) -> Activity:
    talk = session.talk
    if session.ended:
        return Activity.ENDED
    if talk.journey is not None:
        return Activity.STOPPING if talk.is_stopping else Activity.PROPAGATING
    if talk.is_starting:
        return Activity.STARTING
    return Activity.ANSWERING if talk.is_waiting else Activity.READY


def _objects(session: SessionController) -> tuple[ObjectView, ...]:
    desk = session.desk
    segmentation = desk.segmentation_node.GetSegmentation()
    rows = []
    for number, segment_id in sorted(desk.objects.segments.items()):
        record, segment = desk.objects.record(number), segmentation.GetSegment(segment_id)
        red, green, blue = segment.GetColor()
        rows.append(
            ObjectView(
                object_id=number,
                segment_id=segment_id,
                name=segment.GetName(),
                colour=(red, green, blue),
                num_prompts=len(record.prompts.points) + len(record.prompts.boxes),
                num_confirmed=len(record.prompts.indices),
                num_done=sum(not quality.is_stale for quality in record.quality.values()),
                is_active=number == desk.active,
            )
        )
    return tuple(rows)


def _ribbon(record: ObjectRecord) -> tuple[RibbonSlice, ...]:
    confirmed = set(record.prompts.planes)
    marks = []
    for plane in sorted(record.quality, key=lambda one: one.index):
        quality = record.quality[plane]
        if plane.axis == record.prompts.axis:
            marks.append(
                RibbonSlice(
                    plane=plane,
                    predicted_iou=quality.predicted_iou,
                    presence=quality.presence,
                    is_confirmed=plane in confirmed,
                    is_doubtful=quality.is_doubtful and plane not in confirmed,
                    is_stale=quality.is_stale,
                )
            )
    return tuple(marks)
