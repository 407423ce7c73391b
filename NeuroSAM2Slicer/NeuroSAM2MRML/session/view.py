"""A session as its panel shows it. A pure reading: nothing is changed."""

from dataclasses import replace

import slicer

from NeuroSAM2MRML.objects.record import ObjectRecord
from NeuroSAM2MRML.session.controller import SessionController
from NeuroSAM2MRML.session.undo import MANUAL_EDIT
from NeuroSAM2MRML.view_state import NO_SESSION, Activity, ObjectView, RibbonSlice, SegmentView, SessionView


def session_view(session: SessionController) -> SessionView:
    """What the segmentation panel shows now."""
    desk, talk = session.desk, session.talk
    if session.ended:
        return replace(NO_SESSION, notice=session.notice)
    record, history = desk.active_record, desk.steps.history
    is_running = talk.journey is not None
    return SessionView(
        activity=_activity(session),
        notice=session.notice,
        progress=talk.progress if is_running else None,
        objects=tuple(_object_view(session, number) for number in sorted(desk.objects.segments)),
        others=_others(session),
        ribbon=_ribbon(record),
        can_prompt=True,
        can_propagate=bool(record.prompts.indices) and not is_running,
        can_extend=bool(record.ends()) and not is_running,
        can_stop=is_running and not talk.is_stopping,
        can_continue=session.can_continue,
        can_clear=desk.active is not None,
        can_undo=history.can_undo(),
        undo_name=(desk.steps.current_name() or MANUAL_EDIT) if history.can_undo() else "",
        can_redo=history.can_redo(),
        can_retry=session.link.is_given_up,
    )


def _activity(session: SessionController) -> Activity:
    talk = session.talk
    if talk.is_starting and (talk.is_waiting or talk.journey is not None):
        return Activity.STARTING
    if talk.journey is not None:
        return Activity.STOPPING if talk.is_stopping else Activity.PROPAGATING
    return Activity.ANSWERING if talk.is_waiting else Activity.READY


def _object_view(session: SessionController, number: int) -> ObjectView:
    desk = session.desk
    segment_id = desk.objects.segment_id(number)
    prompts = desk.objects.record(number).prompts
    quality = desk.objects.record(number).quality
    return ObjectView(
        object_id=number,
        segment_id=segment_id,
        name=desk.objects.name(number),
        colour=_colour(desk.segmentation_node, segment_id),
        num_prompts=len(prompts.points) + len(prompts.boxes),
        num_confirmed=len(prompts.planes),
        num_done=sum(not one.is_stale for one in quality.values()),
        is_active=number == desk.active,
    )


def _others(session: SessionController) -> tuple[SegmentView, ...]:
    node, objects = session.desk.segmentation_node, session.desk.objects.segments.values()
    segmentation = node.GetSegmentation()
    return tuple(
        SegmentView(
            segment_id=segment_id,
            name=segmentation.GetSegment(segment_id).GetName(),
            colour=_colour(node, segment_id),
        )
        for segment_id in segmentation.GetSegmentIDs()
        if segment_id not in objects
    )


def _colour(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> tuple[float, float, float]:
    red, green, blue = node.GetSegmentation().GetSegment(segment_id).GetColor()
    return red, green, blue


def _ribbon(record: ObjectRecord) -> tuple[RibbonSlice, ...]:
    axis, confirmed = record.prompts.axis, set(record.prompts.planes)
    doubtful = record.doubtful(axis)
    planes = sorted((plane for plane in record.quality if plane.axis == axis), key=lambda plane: plane.index)
    return tuple(
        RibbonSlice(
            plane=plane,
            predicted_iou=record.quality[plane].predicted_iou,
            presence=record.quality[plane].presence,
            is_confirmed=plane in confirmed,
            is_doubtful=plane in doubtful,
            is_stale=record.quality[plane].is_stale,
            ending=record.quality[plane].ending,
        )
        for plane in planes
    )
