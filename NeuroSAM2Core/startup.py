"""What our programs set up when they start: console, cores, how the threads of torch wait for others, garbage collection.

OpenMP's threads spin at the end of every parallel part until the last one arrives. Alone on the machine that saves microseconds; where
another program holds the core that one of them needs, the others burn theirs for milliseconds, many times per slice. A short spin keeps
most of the gain without that (benchmarks/README.md, *Threads*). Without torch; OpenMP reads its variables once, when it is loaded.
"""

import gc
import io
import os
import sys


def allow_any_character() -> None:
    """Lets this process print any character; what the console's encoding lacks is written as an escape.

    Files and pipes get UTF-8, whatever the locale: our own programs read them.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


SPIN_COUNT = "2000"
"""Turns that a thread of GNU's OpenMP spins before it sleeps: half of them make an idle machine slower, and a busy one no faster."""
DECISIONS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
"""Variables by which a person may have decided on it."""


def num_cores() -> int:
    """The cores that this process may use: a cluster may have given it a part of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shorten_spinning() -> None:
    """Makes waiting threads sleep early, in this process and those that it starts, unless the environment says how to wait."""
    if not any(name in os.environ for name in DECISIONS):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def keep_from_collector() -> None:
    """Leaves all objects that there are out of garbage collections from now on.

    Modules stay until the process ends; to look through those of torch and VTK again takes a tenth of a second, in the middle of a click.
    """
    gc.collect()
    gc.freeze()
