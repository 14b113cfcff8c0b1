"""sweeps.py PORT: a healthy pack on multicast, until it is ended. Run inside the network of the system under test."""

import signal
import sys
from pathlib import Path

import can

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from adapter import Pack

with can.Bus(channel="239.74.163.2", interface="udp_multicast", port=int(sys.argv[1])) as bus:

    def send(frames):
        for frame in frames:
            bus.send(can.Message(arbitration_id=frame.arbitration_id, is_extended_id=frame.extended, data=frame.data))

    with Pack(send):
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
