"""Profiles by name or path: read, and made ready for one pack."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from edgebms.config import PackConfig
from edgebms.errors import ProfileError
from edgebms.telemetry.compiler import Compiler
from edgebms.telemetry.layout import Profile
from edgebms.telemetry.profile_file import ProfileFile, parse_profile
from edgebms.telemetry.tables import load_dbc

__all__ = ["Profile", "dbc_path", "find", "load_profile", "read"]


def find(name: str) -> tuple[Path, str]:
    """(path, how errors call it) of a catalogue profile, or of a path that ends in .toml. Raises ProfileError."""
    if name.endswith(".toml"):
        return Path(name), name
    folder = Path(str(resources.files("edgebms"))) / "catalogue" / "profiles"
    path = folder / f"{name}.toml"
    if "/" in name or "\0" in name or not path.is_file():
        known = ", ".join(sorted(entry.stem for entry in folder.glob("*.toml")))
        raise ProfileError(
            f"no profile called {name!r} in the catalogue", where="profile", mend=f"known: {known}; or give a path that ends in .toml"
        )
    return path, f"catalogue/profiles/{name}.toml"


def read(name: str) -> tuple[ProfileFile, Path, str]:
    """(file, path, how errors call it). Raises ProfileError."""
    path, where = find(name)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ProfileError("is not UTF-8 text", where=where, mend="name a TOML file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ProfileError(f"cannot be read: {reason}", where=where, mend="name a readable TOML file") from None
    return parse_profile(text, where), path, where


def dbc_path(name: str) -> Path:
    """The DBC file of profile ``name``: beside the profile, else in the catalogue. Raises ProfileError."""
    file, path, where = read(name)
    return _dbc_beside(file.dbc, path, where)


def _dbc_beside(dbc: str, path: Path, where: str) -> Path:
    beside = path.parent / dbc
    catalogue = Path(str(resources.files("edgebms"))) / "catalogue" / "dbc" / dbc
    for candidate in (beside, catalogue):
        try:
            if candidate.is_file():
                return candidate
        except (OSError, ValueError):
            continue
    raise ProfileError(
        f"no DBC file {dbc!r}", where=f"{where}: dbc", mend="give its path relative to the profile, or its name in catalogue/dbc"
    )


def load_profile(name: str, pack: PackConfig) -> Profile:
    """Read, look up and compile profile ``name`` (catalogue name or path) for ``pack``. Raises ProfileError."""
    file, path, where = read(name)
    database = load_dbc(_dbc_beside(file.dbc, path, where), where)
    return Compiler(name, file, database, pack, where).compile()
