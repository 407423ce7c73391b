"""How widgets and timers call the panels: an error that nobody expected is shown and logged, and the panel goes on.

Qt would print it, and nobody would see it. What a person did wrong is no such error: the controllers say it in the panel.
"""

import inspect
from collections.abc import Callable

import qt
import slicer
from NeuroSAM2Lib.i18n import tr as _


def connect(widget: qt.QObject, signal: str, act: Callable[..., object]) -> None:
    """A widget calls `act`; each unexpected error of it is shown and logged.

    Args:
        widget: Or another object with signals.
        signal: Such as "clicked()".
        act: Takes as many of the signal's first arguments as it has a place for.
    """
    num_arguments = _num_arguments(act)

    def called(*arguments: object) -> None:
        with slicer.util.tryWithErrorDisplay(_message()):
            act(*arguments[:num_arguments])

    widget.connect(signal, called)


def guarded_poll(act: Callable[[], object]) -> Callable[[], None]:
    """`act` for a timer; an error that comes again and again is shown and logged the first time.

    Args:
        act: Called many times a second.
    """
    told: set[str] = set()

    def called() -> None:
        try:
            act()
        except Exception as error:  # whatever it is, it shall be seen
            if repr(error) in told:
                return
            told.add(repr(error))  # before it is shown: timers go on meanwhile
            with slicer.util.tryWithErrorDisplay(_message()):
                raise

    return called


def _message() -> str:
    return _("Something went wrong in NeuroSAM2. The error log has the details; prompts and masks stay in the scene.")


def _num_arguments(act: Callable[..., object]) -> int | None:
    """How many arguments it takes; None for any number."""
    try:
        parameters = inspect.signature(act).parameters.values()
    except (TypeError, ValueError):  # a slot of Qt's own
        return None
    if any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters):
        return None
    return sum(one.default is inspect.Parameter.empty for one in parameters)
