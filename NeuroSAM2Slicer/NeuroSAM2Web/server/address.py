"""Where the app listens, and the page opened there.

The port to listen on: the one that was asked for, or the usual one where it is free.
The page opened in the person's browser, without the token on any command line, which all users of a computer can read.
"""

import html
import json
import os
import socket
import webbrowser
from pathlib import Path

from NeuroSAM2Core.errors import WorkerError

HOST = "127.0.0.1"


def choose_port(asked: int | None, usual: int) -> int:
    """A port that is free now.

    Args:
        asked: What the person asked for; 0 for any, None for the usual one.
        usual: Taken where nothing was asked for; any other where it is in use.

    Raises:
        WorkerError: The one that was asked for cannot be had.
    """
    if asked is None:
        return usual if _problem(usual) is None else 0
    if problem := _problem(asked):
        raise WorkerError(f"cannot listen on port {asked}: {problem}", hint="choose another --port, or leave it out")
    return asked


def _problem(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            return getattr(error, "strerror", None) or str(error)
    return None


NAME = "open.html"


def open_page(address: str, folder: Path) -> None:
    """Opens an address with a token in it, by way of a file that only its owner can read.

    Args:
        address: Of the page.
        folder: For the file.
    """
    webbrowser.open(forwarding_file(address, folder).as_uri())


def forwarding_file(address: str, folder: Path) -> Path:
    """A page in a folder that leads to an address."""
    path = folder / NAME
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(
            '<!DOCTYPE html><meta charset="utf-8"><title>NeuroSAM2</title>'
            f'<meta http-equiv="refresh" content="1;url={html.escape(address)}">'
            f"<script>location.replace({json.dumps(address)})</script>"
            f'<a href="{html.escape(address)}">NeuroSAM2</a>'
        )
    return path
