"""What the rig's user can mend."""

from __future__ import annotations

from edgebms.errors import EdgebmsError


class RigError(EdgebmsError):
    """The rig cannot run a scenario here."""
