"""The file that holds a serving worker's token: made where there is none, and refused where others could read it."""

import os
import secrets
import stat
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError

SHORTEST = 32
"""Characters; a token cannot be guessed."""


def token_in(path: Path) -> str:
    """The token in a file; a new one is made, for the owner's eyes only, where there is no file.

    Raises:
        DataError: The file cannot be read or made.
        ConfigError: It holds no token, a short one, or is open to others.
    """
    try:
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(secrets.token_hex(32) + "\n")
        mode, token = path.stat().st_mode, disk.read_text(path).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DataError(f"cannot read or make the token file {path}: {reason}") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"the token file {path} is open to other users", hint=f"chmod 600 {path}")
    if len(token) < SHORTEST or any(one.isspace() for one in token):
        raise ConfigError(
            f"the token file {path} must hold one word of at least {SHORTEST} characters",
            hint="delete it, and a good one is made",
        )
    return token
