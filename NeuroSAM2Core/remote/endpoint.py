"""Where a worker listens."""

import ipaddress
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and the token that opens it."""

    host: str
    port: int
    token: str = field(repr=False)

    @property
    def is_loopback(self) -> bool:
        """The address never leaves this machine (though a tunnel may begin there)."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
