"""Console output in every encoding."""

import io
import sys


def allow_any_character() -> None:
    """Lets this process print any character; what the console's encoding lacks is written as an escape.

    Files and pipes get UTF-8, whatever the locale: our own programs read them.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
