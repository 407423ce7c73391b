"""Observers on MRML nodes that do not keep their owner alive, never raise into VTK, and can all be taken off at once."""

import logging
import weakref
from collections.abc import Callable
from typing import Any

import vtk

logger = logging.getLogger(__name__)

FIRST = 10.0
"""Priority of whoever must observe the mouse before a view's own tools (0) and the Segment Editor's effects (1)."""

Handler = Callable[[vtk.vtkObject, vtk.vtkObject | None], None]
"""Called with the object that spoke and the object it spoke of, if there is one."""
TextHandler = Callable[[vtk.vtkObject, str | None], None]
"""Called with the object that spoke and the name of what it spoke of."""


Watched = dict[tuple[str, int], tuple[weakref.ref[vtk.vtkObject], int, Callable[..., None]]]
"""By address and event: the object, the tag of the observer, and the function that VTK calls."""


class SceneObserver:
    """The observers of one owner; they are taken off with it, or when Python ends, after which VTK would call functions without a body."""

    def __init__(self) -> None:
        self._watched: Watched = {}
        weakref.finalize(self, _take_off, self._watched)

    def on(
        self,
        subject: vtk.vtkObject,
        event: int,
        handler: Handler | TextHandler,
        *,
        about_object: bool = False,
        about_text: bool = False,
        priority: float = 0.0,
    ) -> None:
        """Calls a bound method whenever the event happens; a second time for the same changes nothing.

        Args:
            subject: Speaks.
            event: Of what.
            handler: A bound method; it does not keep its owner alive.
            about_object: The event carries an object, such as the node that was added.
            about_text: The event carries a text, such as the id of a segment.
            priority: Observers of a higher one are called first, and may keep it from the others.
        """
        key = subject.GetAddressAsString(""), event
        known = self._watched.get(key)
        if known is not None and known[0]() is subject:
            return
        method = weakref.WeakMethod(handler)

        def call(caller: vtk.vtkObject, _event: str, data: Any = None) -> None:  # noqa: ANN401
            act = method()
            if act is None:
                return
            try:
                act(caller, data)
            except Exception:  # VTK would print and swallow it
                logger.exception("an observer of the scene failed")

        if about_object or about_text:
            call.CallDataType = vtk.VTK_OBJECT if about_object else vtk.VTK_STRING  # type: ignore[attr-defined]
        self._watched[key] = weakref.ref(subject), subject.AddObserver(event, call, priority), call

    def keep(self, subject: vtk.vtkObject, event: int) -> None:
        """Keeps an event, while it is being handled, from the observers that would be called later."""
        subject.GetCommand(self._watched[subject.GetAddressAsString(""), event][1]).SetAbortFlag(1)

    def off(self) -> None:
        """Takes all observers off."""
        _take_off(self._watched)


def _take_off(watched: Watched) -> None:
    for subject, tag, _ in watched.values():
        there = subject()
        if there is not None:
            there.RemoveObserver(tag)
    watched.clear()
