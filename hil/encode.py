"""The encoder of our own protocol, for rig and replays: ``edgebms/telemetry/encode.py``, where ``edgebms bench`` needs it too."""

from edgebms.telemetry.encode import Encoder

__all__ = ["Encoder"]
