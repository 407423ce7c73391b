"""The runtime of every command: signals, broken pipes, full disks and user errors end in a message and an exit code.

This module imports nothing heavy: Ctrl-C may come while the commands are imported.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

from NeuroSAM2Core.errors import Cancelled, NeuroSAM2Error, is_out_of_memory
from NeuroSAM2Core.startup import allow_any_character

logger = logging.getLogger(__name__)

MISTAKE, INTERRUPTED = 2, 130
OUT_OF_MEMORY_HINT = (
    "choose a smaller model, image or batch size, end other programs that use the device, or use --device cpu"
)
BROKEN_PIPE = 141
"""As if SIGPIPE had ended it: nobody reads on, as after `| head`."""
ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _CheckedStream:
    """The standard output, which records its write error: argparse hides it, and others do not name the stream."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lost: OSError | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with self._recording_failure():
            return self.stream.write(text)

    def flush(self) -> None:
        with self._recording_failure():
            self.stream.flush()

    @contextmanager
    def _recording_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost = error
            raise

    def let_go(self) -> None:
        """What is still to be written goes nowhere, so that the end of Python does not complain again."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


def run_guarded(command: Callable[[], int]) -> int:
    """Runs a command and returns its exit code: its own, 2 for a mistake or 128 and the number of the signal that ended it."""
    allow_any_character()
    try:
        with _checked_output() as output, signals_reported():
            try:
                code = _report_errors(command)
            except BaseException:
                if output is None or output.lost is None:
                    raise
            if output is None or output.lost is None:
                return code
            output.let_go()
            if isinstance(output.lost, BrokenPipeError):
                return BROKEN_PIPE
            _tell(f"neurosam2: cannot write to the standard output: {output.lost.strerror or output.lost}")
            return MISTAKE
    except Ended as end:
        return int(end.code)


class Ended(SystemExit):
    """A signal ended it, and the message was printed."""

    code: int


@contextmanager
def signals_reported() -> Iterator[None]:
    """A signal that comes while the body runs is reported in one word.

    Raises:
        Ended: It came. Left alone, it ends the process with the right code.
    """
    with _signals() as seen:
        try:
            yield
        except BaseException as error:
            if not seen and not isinstance(error, KeyboardInterrupt):
                raise
            number = seen[0] if seen else signal.SIGINT  # libraries may have made another error of it
            _tell(f"neurosam2: {'interrupted' if number == signal.SIGINT else 'terminated'}")
            raise Ended(128 + number) from None


def _report_errors(command: Callable[[], int]) -> int:
    try:
        return command()
    except NeuroSAM2Error as error:
        _tell(f"neurosam2: {error.message}", *([f"           {error.hint}"] if error.hint else []))
        return MISTAKE
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        logger.info("the allocator says: %s", error)
        _tell("neurosam2: the device is out of memory", f"           {OUT_OF_MEMORY_HINT}")
        return MISTAKE
    except Cancelled as stop:
        _tell(f"neurosam2: {str(stop) or 'interrupted'}")
        return INTERRUPTED
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


@contextmanager
def _checked_output() -> Iterator[_CheckedStream | None]:
    """The standard output, watched while the body runs; None where there is none."""
    if sys.stdout is None:
        yield None
        return
    stream = sys.stdout
    sys.stdout = watched = _CheckedStream(stream)
    try:
        yield watched
    finally:
        sys.stdout = stream


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Signals that end the process become exceptions while the body runs, so that partial files are removed; those that came are listed."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def end(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    wanted = [one for one in (signal.SIGINT, *ENDINGS) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, end) for one in wanted}
    hook, sys.unraisablehook = sys.unraisablehook, lambda lost: _again(lost, hook)
    try:
        yield seen
    finally:
        sys.unraisablehook = hook
        for one, handler in before.items():
            signal.signal(one, handler)


def _again(lost: "sys.UnraisableHookArgs", hook: object) -> None:
    """Repeats a Ctrl-C that came where Python cannot raise, as in a destructor."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
    elif callable(hook):
        hook(lost)


def _tell(*lines: str) -> None:
    with suppress(OSError, ValueError):
        for line in lines:
            print(line, file=sys.stderr, flush=True)
