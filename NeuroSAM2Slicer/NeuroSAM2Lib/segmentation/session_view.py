"""The view of a session for its panel. Read only."""

from dataclasses import replace

import slicer

from NeuroSAM2Lib.scene.segments.segment_display import SegmentDisplay
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.objects.scene_objects import ObjectRecord
from NeuroSAM2Lib.segmentation.undo import MANUAL_EDIT
from NeuroSAM2Lib.view_state import NO_SESSION, Activity, ObjectView, QualitySlice, SegmentView, SessionView


def session_view(session: SessionController) -> SessionView:
    """What the segmentation panel shows now."""
    document, engine_sync = session.document, session.engine_sync
    if session.ended:
        return replace(NO_SESSION, notice=session.notice)
    record, history = document.active_record, document.undo_stack.history
    is_running, background = engine_sync.propagation.request is not None, session.background
    progress = background.progress if background.is_running else None
    return SessionView(
        activity=_activity(session),
        notice=session.notice,
        progress=engine_sync.propagation.progress if is_running else progress,
        objects=tuple(_object_view(session, number) for number in document.objects.segments),
        others=_others(session),
        quality_strip=_quality_strip(record),
        is_held=engine_sync.is_held,
        num_waiting=sum(map(len, engine_sync.unanswered.values())) if engine_sync.is_held else 0,
        can_prompt=True,
        can_propagate=bool(record.prompts.indices) and not is_running,
        can_extend=bool(record.ends()) and not is_running,
        can_stop=not engine_sync.propagation.is_stopping
        if is_running
        else background.is_running and not background.is_writing,
        can_continue=session.can_continue,
        can_clear=document.active is not None,
        can_undo=history.can_undo(),
        undo_name=(document.undo_stack.current_name() or MANUAL_EDIT) if history.can_undo() else "",
        can_redo=history.can_redo(),
        can_retry=session.link.has_failed,
    )


def _activity(session: SessionController) -> Activity:
    engine_sync = session.engine_sync
    if engine_sync.is_starting and (engine_sync.is_waiting or engine_sync.propagation.request is not None):
        return Activity.STARTING
    if engine_sync.propagation.request is not None:
        return Activity.STOPPING if engine_sync.propagation.is_stopping else Activity.PROPAGATING
    if session.background.is_running:
        return session.background.activity
    return Activity.ANSWERING if engine_sync.is_waiting else Activity.READY


def _object_view(session: SessionController, number: int) -> ObjectView:
    document = session.document
    segment_id = document.objects.segment_id(number)
    prompts = document.objects.record(number).prompts
    quality = document.objects.record(number).quality
    return ObjectView(
        object_id=number,
        segment_id=segment_id,
        name=document.objects.name(number),
        colour=_colour(document.segmentation_node, segment_id),
        num_prompts=prompts.count,
        num_prompted=len(set(prompts.prompted_slices)),
        num_confirmed=len(prompts.kept),
        num_done=sum(not one.is_stale for one in quality.values()),
        is_active=number == document.active,
        is_locked=document.objects.is_locked(number),
        is_shown=SegmentDisplay(document.segmentation_node).is_shown(segment_id),
    )


def _others(session: SessionController) -> tuple[SegmentView, ...]:
    node, objects = session.document.segmentation_node, session.document.objects.segments.values()
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


def _quality_strip(record: ObjectRecord) -> tuple[QualitySlice, ...]:
    axis, prompts = record.prompts.axis, record.prompts
    settled = set(prompts.planes)
    doubtful = record.doubtful(axis)
    planes = sorted((plane for plane in record.quality if plane.axis == axis), key=lambda plane: plane.index)
    return tuple(
        QualitySlice(
            plane=plane,
            quality=record.quality[plane],
            is_confirmed=plane in settled and plane.index in prompts.kept,
            is_prompted=plane in settled and plane.index not in prompts.kept,
            is_doubtful=plane in doubtful,
        )
        for plane in planes
    )
