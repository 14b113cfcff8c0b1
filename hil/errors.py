"""What the rig's user can mend."""

from __future__ import annotations

from edgebms.errors import EdgebmsError


class RigError(EdgebmsError):
    """The rig cannot run a scenario here."""


class Missing(RigError):
    """The machine lacks something that the scenario needs: skipped; in CI a failure, where it could be installed."""

    def __init__(self, what: str, *, where: str, mend: str, installable: bool = False) -> None:
        super().__init__(what, where=where, mend=mend)
        self.installable = installable
