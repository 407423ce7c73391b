"""The page opened in the person's browser, without the token on any command line, which all users of a computer can read."""

import html
import json
import os
import webbrowser
from pathlib import Path

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
