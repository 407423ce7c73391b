"""Stands for the launcher of Slicer's Python (CTKAppLauncher): it starts the real one, forwards no signal to it and ends as it does."""

import os
import sys


def make_script(path, text):
    """A shell script that can be run; returns its path."""
    path.write_bytes(os.fsencode(f"#!/bin/sh\n{text}\n"))  # it names files
    path.chmod(0o755)
    return str(path)


def make_launcher(path, program=sys.executable):
    """A program in front of another one; returns its path."""
    return make_script(path, f'"{program}" "$@"\nexit $?')
