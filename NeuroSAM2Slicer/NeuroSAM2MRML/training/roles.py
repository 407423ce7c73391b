"""What an annotated case is for."""

from typing import Literal

Role = Literal["training", "validation", "test"]
"""`validation` and `test` cases are held out."""
ROLES: tuple[Role, ...] = ("training", "validation", "test")
ROLE_TITLES: dict[str, str] = dict(zip(ROLES, ("training", "checked while training", "held out"), strict=True))
"""For lists."""
