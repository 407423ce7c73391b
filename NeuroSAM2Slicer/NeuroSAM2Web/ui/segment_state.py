"""The view model as plain values for the page's state. Pure."""

from NeuroSAM2Lib.presenters.quality_strip import Mark
from NeuroSAM2Lib.presenters.segment_view_model import SegmentViewModel
from NeuroSAM2Lib.presenters.status_bar import StatusAction
from NeuroSAM2Lib.view_state import ObjectView

State = dict[str, object]


def segment_state(view: SegmentViewModel) -> State:
    """The state variables of the segmentation panel."""
    session = view.session
    has_outline = session.can_prompt and bool(session.objects)
    done, total = session.progress or (0, 0)
    return {
        "line": view.state.sentence,
        "line_is_problem": view.state.is_problem,
        "line_button": view.state.button if view.state.fix is not StatusAction.NOTHING else "",
        "activity": session.activity.name.lower(),
        "can_prompt": session.can_prompt,
        "is_held": session.is_held,
        "can_read": view.reading is not None,
        "reading_title": view.reading_title,
        "can_propagate": session.can_propagate,
        "can_extend": session.can_extend,
        "can_stop": session.can_stop,
        "can_continue": session.can_continue,
        "can_clear": session.can_clear,
        "can_undo": session.can_undo,
        "can_redo": session.can_redo,
        "can_outline": has_outline,
        "undo_tip": f"Take back: {session.undo_name}" if session.undo_name else "Nothing to take back",
        "objects": [_row(row, view) for row in session.objects],
        "others": [{"id": one.segment_id, "name": one.name, "colour": _rgb(one.colour)} for one in session.others],
        "opacity": round(100 * view.style.opacity),
        "fill": view.style.fill.value,
        "is_hidden": view.style.is_hidden,
        "is_under_way": session.progress is not None,
        "percent": 100 * done / total if total else 0,
        "pace": view.progress_rate,
        "quality_strip": [[cell.mark.name, cell.sentence] for cell in view.cells] if session.objects else [],
        "quality_strip_axis": "" if view.axis is None else str(view.axis),
        "num_slices": len(view.cells),
    }


def quality_strip_style() -> str:
    """The colours of the quality strip's marks as CSS."""
    return "".join(f".ns-{mark.name}{{background:{_css(mark.value)}}}" for mark in Mark)


def _row(row: ObjectView, view: SegmentViewModel) -> State:
    millilitres = view.volumes_ml.get(row.segment_id)
    return {
        "id": row.segment_id,
        "name": row.name,
        "colour": "#" + bytes(_channels(row.colour)).hex(),
        "is_active": row.is_active,
        "is_shown": row.is_shown,
        "is_locked": row.is_locked,
        "done": row.num_done,
        "prompted": row.num_prompted,
        "confirmed": row.num_confirmed,
        "prompts": row.num_prompts,
        "ml": None if millilitres is None else round(millilitres, 2),
    }


def _rgb(colour: tuple[float, float, float]) -> str:
    return _css(_channels(colour))


def _channels(colour: tuple[float, float, float]) -> tuple[int, ...]:
    """Red, green and blue, 0 to 255, of a colour from 0 to 1."""
    return tuple(min(255, max(0, round(255 * part))) for part in colour)


def _css(colour: tuple[int, ...]) -> str:
    return f"rgb({', '.join(map(str, colour))})"
