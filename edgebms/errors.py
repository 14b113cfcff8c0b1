"""One small tree of errors. Each message says what is wrong, where, and how to mend it.

EdgebmsError
├── ConfigError      a gateway.toml, limits or recipe file           (exit code 3)
├── ProfileError     a profile or its DBC                            (exit code 4)
├── CardError        a cell card                                     (exit code 5)
├── LogError         a log file, candump to parquet                  (exit code 6)
├── ModelError       an ONNX model, its card or its manifest         (exit code 7)
├── MissingExtra     a feature whose optional package is not there   (exit code 8)
├── StateError       a checkpoint or a black box's state file        (exit code 9)
└── GatewayError     a daemon that does not run, or refuses          (exit code 10)

>>> print(ConfigError("cells must be at least 1, got 0", where="gateway.toml: pack[0].cells", mend="state the cells in series"))
gateway.toml: pack[0].cells: cells must be at least 1, got 0 - state the cells in series
"""

from __future__ import annotations


class EdgebmsError(Exception):
    """Root of the tree. ``exit_code`` is what the command line ends with."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__((f"{where}: " if where else "") + what + (f" - {mend}" if mend else ""))


class ConfigError(EdgebmsError, ValueError):
    exit_code = 3


class ProfileError(EdgebmsError, ValueError):
    exit_code = 4


class CardError(EdgebmsError, ValueError):
    exit_code = 5


class LogError(EdgebmsError, ValueError):
    exit_code = 6


class ModelError(EdgebmsError, RuntimeError):
    exit_code = 7


class MissingExtra(EdgebmsError, ImportError):
    exit_code = 8


class StateError(EdgebmsError, ValueError):
    exit_code = 9


class GatewayError(EdgebmsError, ConnectionError):
    exit_code = 10
