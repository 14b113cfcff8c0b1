"""Say when the gravest alert or the command changes: edgebms replay LOG -c gateway.toml | python examples/watch.py

Standard library only: a decision is plain JSON (see docs/decision.md).
"""

import json
import sys

RANK = {"none": 0, "watch": 1, "warning": 2, "critical": 3}


def main() -> int:
    told = {}
    for line in sys.stdin:
        decision = json.loads(line)
        gravest = max(decision["alerts"], key=lambda alert: RANK[alert["level"]], default=None)
        state = "no alert"
        if gravest is not None:
            where = f" at cell {gravest['cell']}" if gravest["cell"] else f" at probe {gravest['probe']}" if gravest["probe"] else ""
            state = f"{gravest['level']} {gravest['hazard']}{where}"
        command = decision["command"]
        now = (state, command["action"], command["mode"])
        if told.get(decision["pack"]) != now:
            told[decision["pack"]] = now
            print(
                f"{decision['time']}  {decision['pack']}: {state}; {command['mode']}: {command['action']}, charge up to {command['limits']['charge_a']:.1f} A"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
