"""What is wrong with the gateway itself leaves the house as an alert and as a line in the warnings, and asks for service at most."""

import json
import math

import jsonschema
from lines import config, frames, pack

from edgebms.assembly import build_lines
from edgebms.clock import LogClock
from edgebms.decision.explain import explain
from edgebms.decision.types import encode, schema
from edgebms.gateway_fault import GatewayFault
from edgebms.loop import Loop, replay
from edgebms.vocabulary import Action, Level
from edgebms.worker import ask_inline

DOWN = GatewayFault("link_down.can1", Level.WARNING, 3.2, 1.0, "s", 100_000_000_000, frozenset({"rack-1"}), 7)
REFUSED = GatewayFault("config_refused", Level.WATCH, math.nan, math.nan, "", 101_000_000_000)
QUIET = GatewayFault("silent.can0", Level.NONE, 12.0, 10.0, "s", 100_000_000_000)


def run(*faults, settings=None):
    out, clock = [], LogClock()
    lines = build_lines(settings or config(), ask_inline)
    told = lambda name: tuple(fault for fault in faults if fault.concerns(name))  # noqa: E731
    replay(frames(seconds=2.0), Loop(lines.values(), clock, out.append, lambda: 0, told), clock)
    return out


def test_faults_of_one_gateway_are_one_alert_with_an_evidence_each():
    decision = run(DOWN, REFUSED)[-1]
    jsonschema.Draft202012Validator(schema()).validate(json.loads(encode(decision)))
    (alert,) = decision.alerts
    assert (alert.hazard, alert.level, alert.raised_by) == ("gateway_fault", "warning", ("gateway",))
    assert [(entry.rule, entry.value, entry.limit, entry.unit) for entry in alert.evidence] == [
        ("link_down.can1", 3.2, 1.0, "s"),
        ("config_refused", None, None, ""),
    ]
    told = [(entry.signal, entry.reason, entry.count) for entry in decision.quality.warnings if entry.signal.startswith("gateway")]
    assert told == [("gateway.can1", "link_down", 7), ("gateway", "config_refused", 0)]


def test_it_asks_for_service_and_changes_no_limit():
    plain, faulty = run()[-1], run(DOWN)[-1]
    assert faulty.command.action is Action.SERVICE
    assert faulty.command.limits == plain.command.limits
    assert faulty.measured == plain.measured and faulty.soc == plain.soc
    (asked,) = faulty.command.asked
    assert (asked.by, asked.given) == ("gateway", Action.SERVICE)


def test_what_is_no_alert_stands_in_the_warnings_alone():
    decision = run(QUIET)[-1]
    assert decision.alerts == ()
    assert any((entry.signal, entry.reason) == ("gateway.can0", "silent") for entry in decision.quality.warnings)


def test_another_packs_fault_does_not_concern_this_one():
    decision = run(DOWN, settings=config(pack("rack-2")))[-1]
    assert decision.alerts == () and not any(entry.signal.startswith("gateway") for entry in decision.quality.warnings)


def test_it_is_explained():
    text = explain(run(DOWN)[-1])
    assert "gateway fault" in text and "raised by gateway" in text and "can1" in text
