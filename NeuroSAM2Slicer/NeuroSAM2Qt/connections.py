"""How widgets, keys, timers and sockets call the panels.

An error that nobody expected is shown and logged, and the panel goes on: Qt would print it, and nobody would see it. What a person did
wrong is no such error: the controllers say it in the panel. A key that presses a button works exactly when the button is enabled. The
engine's socket wakes the panel, and a timer does where sockets cannot be watched. No thread: Slicer keeps the interpreter to itself
while it is idle, and threads would starve.
"""

import inspect
from collections.abc import Callable, Mapping

import qt
import slicer
from NeuroSAM2Lib.engine.link import NOTHING, Engine, descriptor_of
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


class Shortcuts:
    """Keys of a panel.

    Args:
        window: Where they are listened for, the main window; without one there are no keys.
        keys: What each key does.
    """

    def __init__(self, window: qt.QWidget | None, keys: Mapping[str, Callable[[], None]]) -> None:
        self._window, self._keys = window, keys
        self._shortcuts: list[qt.QShortcut] = []

    def install(self) -> None:
        """The module is shown."""
        self.uninstall()
        if self._window is None:
            return
        for key, act in self._keys.items():
            shortcut = qt.QShortcut(self._window)
            shortcut.setKey(qt.QKeySequence(key))
            connect(shortcut, "activated()", act)
            self._shortcuts.append(shortcut)

    def active(self) -> tuple[qt.QShortcut, ...]:
        """Those that are listened for now."""
        return tuple(self._shortcuts)

    def uninstall(self) -> None:
        """The module is left: the keys are free for others."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []


AT_ONCE_MS, BUSY_MS, IDLE_MS = 0, 30, 250


class WorkerBridge:
    """Drives one poll function.

    Args:
        poll: Takes in what there is, never waits, and says after how many milliseconds it is to be called again at the latest.
        engine: The engine that runs now; None without one.
    """

    def __init__(self, poll: Callable[[], int], engine: Callable[[], Engine | None]) -> None:
        self._poll, self._engine = poll, engine
        self._notifier: qt.QSocketNotifier | None = None
        self._watched, self._is_stopped = NOTHING, False
        self.timer = qt.QTimer()
        self.timer.setSingleShot(True)
        self._guarded_wake = guarded_poll(self.wake)
        self.timer.connect("timeout()", self._guarded_wake)

    def start(self) -> None:
        """Begins to listen."""
        self._is_stopped = False
        self.timer.start(0)

    def stop(self) -> None:
        """Listens no more, whoever calls `wake`."""
        self._is_stopped = True
        self.timer.stop()
        self._unwatch()

    def wake(self) -> None:
        """Something may have happened: the engine spoke, a button was pressed, time has passed."""
        if self._is_stopped:
            return
        after_ms = IDLE_MS
        try:
            after_ms = self._poll()
            self._watch()
        finally:  # whatever went wrong, it is tried again
            self.timer.start(after_ms)

    def _watch(self) -> None:
        """Follows the engine to where it speaks now; that changes once while it starts, and with every new engine."""
        descriptor = descriptor_of(self._engine())
        if descriptor == self._watched:
            return
        self._unwatch()
        self._watched = descriptor
        if descriptor != NOTHING:
            self._notifier = qt.QSocketNotifier(descriptor, qt.QSocketNotifier.Read)
            self._notifier.connect("activated(int)", self._guarded_wake)

    def _unwatch(self) -> None:
        if self._notifier is not None:
            self._notifier.setEnabled(False)
            self._notifier.disconnect("activated(int)", self._guarded_wake)
            self._notifier = None
        self._watched = NOTHING
