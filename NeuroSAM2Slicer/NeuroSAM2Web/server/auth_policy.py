"""Who may use the app: whoever holds this start's token, from a page of this very app, through a loopback name. Pure."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN_BYTES = 32
WRONG_TOKEN = "Open the address that neurosam2 app has printed: it carries the key of this start."
WRONG_HOST = "The app answers only under 127.0.0.1 or localhost; from another computer, come through an SSH tunnel."
WRONG_ORIGIN = "This request comes from another page than the app's own."


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class AuthPolicy:
    """The rules of one start of the app."""

    token: str = field(default_factory=new_token, repr=False)

    @property
    def cookie(self) -> str:
        """The name under which the browser keeps the token: another for each start, since ports share their cookies."""
        return f"neurosam2_{hashlib.sha256(self.token.encode()).hexdigest()[:12]}"

    def refusal(self, *, host: str, origin: str | None, shown: Iterable[str]) -> str:
        """Why a request is refused; empty where it may pass.

        Args:
            host: Its Host header; a foreign name there is how another page would reach us through DNS.
            origin: Its Origin header; None where the browser sends none.
            shown: The tokens that it carries.
        """
        if _name_in(host) not in LOOPBACK:
            return WRONG_HOST
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            return WRONG_ORIGIN
        if not any(hmac.compare_digest(one.encode(errors="replace"), self.token.encode()) for one in shown):
            return WRONG_TOKEN
        return ""


def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
