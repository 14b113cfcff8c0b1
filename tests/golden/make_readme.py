"""Write the decision that README.md shows, and its explanation, again from the shipped demo: part of ``make golden``."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from edgebms import config
from edgebms.cli.replay import replay_files
from edgebms.decision.explain import explain
from edgebms.decision.types import Decision, decode, encode
from edgebms.vocabulary import Action

README = Path(__file__).resolve().parents[2] / "README.md"


def first_stop() -> Decision:
    """The demo's first decision that stops charging, without its cells, as a gateway would mostly send it."""
    found: list[Decision] = []

    def keep(decision: Decision) -> None:
        if not found and decision.command.action is Action.STOP_CHARGE:
            found.append(decode(encode(msgspec.structs.replace(decision, cells=None))))

    with resources.as_file(resources.files("edgebms") / "catalogue" / "demo") as folder:
        replay_files([folder / "demo.log.gz"], config.load(folder / "gateway.toml"), lambda line: None, on_decision=keep)
    return found[0]


def pretty(decision: Decision) -> str:
    """One line a part; alerts and the command's parts on lines of their own."""

    def one(name: str, value: Any) -> str:
        if name == "alerts":
            return '"alerts": [\n' + ",\n".join("    " + json.dumps(alert) for alert in value) + "]"
        if name == "command":
            return '"command": {\n' + ",\n".join(f'    "{key}": {json.dumps(part)}' for key, part in value.items()) + "}"
        return f'"{name}": {json.dumps(value)}'

    return "{" + ",\n ".join(one(name, value) for name, value in json.loads(encode(decision)).items()) + "}"


def main() -> None:
    decision = first_stop()
    text = README.read_text()
    for language, body in (("json", pretty(decision)), ("text", explain(decision).rstrip())):
        text = re.sub(rf"```{language}\n.*?```", lambda _, language=language, body=body: f"```{language}\n{body}\n```", text, flags=re.S)
    README.write_text(text)


if __name__ == "__main__":
    main()
