"""What an annotated case is for."""

from typing import Literal

from NeuroSAM2Lib.i18n import tr as _

Role = Literal["training", "validation", "test"]
"""`validation` and `test` cases are held out."""
ROLES: tuple[Role, ...] = ("training", "validation", "test")
ROLE_TITLES: dict[str, str] = dict(zip(ROLES, (_("training"), _("checked while training"), _("held out")), strict=True))
"""For lists."""
