"""Prometheus metrics at http://LISTEN/metrics (docs/outlets.md has the names).

A pack's values come from its newest decision while that has not expired; afterwards they are absent, not stale:
``edgebms_decision_age_seconds`` and ``edgebms_decision_valid`` go on. The number of series is bounded: alerts are counted by
hazard, level and rule, not by cell.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from edgebms import __version__
from edgebms.config import MetricsOutlet
from edgebms.decision.types import Alert, Decision, Number
from edgebms.gateway_fault import GatewayFault
from edgebms.outlet.outlet import Gateway
from edgebms.outlet.web import Request, Web, answer, document, names_of
from edgebms.vocabulary import Contactor

LEVELS = ("watch", "warning", "critical")
BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.05, 0.1)
"""The deadline is 10 ms."""
LOST_KINDS = ("bad_lines", "truncated", "overflow", "kernel_dropped", "controller_overflow")
OUTLET_COUNTS = ("dropped", "lost_changes", "failed")

Value = Callable[[Decision], Number]

VALUES: tuple[tuple[str, str, Value], ...] = (
    ("pack_voltage_volts", "Pack voltage as measured", lambda d: d.measured.voltage_v),
    ("pack_current_amperes", "Pack current as measured, positive while charging", lambda d: d.measured.current_a),
    ("cell_voltage_min_volts", "Lowest cell voltage", lambda d: d.measured.cell_voltage_v.min),
    ("cell_voltage_max_volts", "Highest cell voltage", lambda d: d.measured.cell_voltage_v.max),
    ("temperature_min_celsius", "Lowest temperature", lambda d: d.measured.temperature_c.min),
    ("temperature_max_celsius", "Highest temperature", lambda d: d.measured.temperature_c.max),
    ("insulation_ohms", "Insulation resistance", lambda d: d.measured.insulation_ohm),
    ("reported_soc_ratio", "State of charge as the pack's own BMS reports it", lambda d: d.measured.reported_soc),
    ("soc_ratio", "State of charge of the pack", lambda d: d.soc.pack),
    ("soc_min_ratio", "State of charge of the lowest cell", lambda d: d.soc.min),
    ("soc_max_ratio", "State of charge of the highest cell", lambda d: d.soc.max),
    ("soc_sigma_ratio", "Standard deviation of the state of charge", lambda d: d.soc.sigma),
    ("current_offset_amperes", "What the current sensor is believed to be off by", lambda d: d.soc.current_offset_a),
    ("soh_capacity_ratio", "Capacity of the weakest cell over the card's", lambda d: d.soh.capacity),
    ("soh_resistance_ratio", "Resistance of the worst cell over the card's", lambda d: d.soh.resistance),
    ("soh_sigma_ratio", "Standard deviation of the weakest cell's capacity", lambda d: d.soh.sigma),
    ("limit_charge_amperes", "Charge current limit", lambda d: d.command.limits.charge_a),
    ("limit_discharge_amperes", "Discharge current limit, a magnitude", lambda d: d.command.limits.discharge_a),
    ("limit_charge_volts", "Charge voltage limit", lambda d: d.command.limits.charge_v),
    ("limit_discharge_volts", "Discharge voltage limit", lambda d: d.command.limits.discharge_v),
    ("cooling_asked", "1 while cooling is asked for", lambda d: float(d.command.cool)),
    ("cells", "Cells of the pack", lambda d: d.quality.cells),
    ("cells_valid", "Cells whose voltage is known", lambda d: d.quality.valid_cells),
    ("probes", "Temperature probes of the pack", lambda d: d.quality.probes),
    ("probes_valid", "Temperature probes that are known", lambda d: d.quality.valid_probes),
    ("oldest_value_seconds", "Age of the oldest measured value", lambda d: seconds(d.quality.oldest_ms)),
    ("runaway_view_seconds", "How late the runaway rule sees at worst", lambda d: d.quality.runaway_view.worst_s),
    ("runaway_view_uncovered_cells", "Cells that the runaway rule cannot see", lambda d: d.quality.runaway_view.uncovered_cells),
)
"""Name without its prefix, what it is, and where it stands in a decision; unknown = absent."""


class Metrics(Collector):
    """The service of ``served.py``. packs: their names; one that has not decided yet is not valid."""

    def __init__(
        self, settings: MetricsOutlet, packs: tuple[str, ...], gateway: Gateway, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.where = f"http://{settings.listen}/metrics"
        self.failed = 0
        self._gateway, self._now_ns = gateway, now_ns
        self._packs = {pack: _Pack() for pack in packs}
        names = names_of(settings.listen)
        # beyond loopback a scraper may call us what it likes: whoever can reach the port may read it anyway
        self._web = Web(
            settings.listen,
            {"/metrics": self._answer, "/": document(b"edgebms: metrics are at /metrics\n", "text/plain; charset=utf-8")},
            names if names == names_of("127.0.0.1:0") else frozenset(),
        )
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    async def open(self) -> asyncio.Server:
        return await self._web.open()

    def stands(self) -> bool:
        return True

    def take(self, decision: Decision, line: bytes) -> None:
        del line
        self._packs.setdefault(decision.pack, _Pack()).take(decision, self._now_ns())

    def tick(self) -> None:
        pass

    def shut(self) -> None:
        self._web.shut()

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        del now_ns
        return ()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, self.text(), CONTENT_TYPE_LATEST, head=request.method == "HEAD"))

    def text(self) -> bytes:
        """The exposition (text format 0.0.4)."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("edgebms_build_info", "The running version", labels=["version"])
        info.add_metric([__version__], 1.0)
        yield info
        yield from self._always()
        yield from self._while_valid()
        yield from self._buses()
        yield from self._outlets()

    def _always(self) -> Iterator[Metric]:
        now_ns = self._now_ns()
        age = GaugeMetricFamily("edgebms_decision_age_seconds", "Time since the newest decision", labels=["pack"])
        valid = GaugeMetricFamily("edgebms_decision_valid", "1 while the newest decision has not expired", labels=["pack"])
        count = CounterMetricFamily("edgebms_decisions", "Decisions made", labels=["pack"])
        raised = CounterMetricFamily("edgebms_alerts_raised", "Alerts that began, or rose to this level", labels=["pack", "level"])
        took = HistogramMetricFamily("edgebms_decision_latency_seconds", "From a sweep's last frame to the decision", labels=["pack"])
        for name, pack in self._packs.items():
            if pack.newest is not None:
                age.add_metric([name], (now_ns - pack.at_ns) / 1e9)
            valid.add_metric([name], float(pack.valid(now_ns) is not None))
            count.add_metric([name], pack.decisions)
            for level in LEVELS:
                raised.add_metric([name, level], pack.raised[level])
            took.add_metric([name], pack.buckets(), pack.latency_s)
        yield from (age, valid, count, raised, took)

    def _while_valid(self) -> Iterator[Metric]:
        now_ns = self._now_ns()
        current = [(name, decision) for name, pack in self._packs.items() if (decision := pack.valid(now_ns)) is not None]
        for name, what, read in VALUES:
            family = GaugeMetricFamily(f"edgebms_{name}", what, labels=["pack"])
            for pack, decision in current:
                value = read(decision)
                if value is not None:
                    family.add_metric([pack], value)
            yield family
        alert = GaugeMetricFamily(
            "edgebms_alert", "Alerts that stand, by what raised them", labels=["pack", "hazard", "level", "rule", "latched"]
        )
        alerts = GaugeMetricFamily("edgebms_alerts", "Alerts that stand", labels=["pack", "level"])
        action = GaugeMetricFamily("edgebms_action", "1 for the action that goes out", labels=["pack", "action", "mode"])
        contactors = GaugeMetricFamily("edgebms_contactors", "1 for what the bus says of the contactors", labels=["pack", "state"])
        unknown = GaugeMetricFamily("edgebms_unknown", "Signals that are not known, and why", labels=["pack", "signal", "reason"])
        for pack, decision in current:
            for (hazard, level, rule, latched), standing in Counter(map(kind, decision.alerts)).items():
                alert.add_metric([pack, hazard, level, rule, latched], standing)
            levels: Counter[str] = Counter(entry.level for entry in decision.alerts)
            for level in LEVELS:
                alerts.add_metric([pack, level], levels[level])
            action.add_metric([pack, decision.command.action.value, decision.command.mode.value], 1.0)
            for state in Contactor:
                contactors.add_metric([pack, state.value], float(decision.measured.contactors is state))
            missing: Counter[tuple[str, str]] = Counter()
            for warning in decision.quality.warnings:
                missing[warning.signal, warning.reason] += warning.count
            for (signal, reason), number in missing.items():
                unknown.add_metric([pack, signal, reason], number)
        yield from (alert, alerts, action, contactors, unknown)

    def _buses(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("edgebms_bus_up", "1 while the link is open", labels=["bus"])
        frames = CounterMetricFamily("edgebms_bus_frames", "Frames received whole", labels=["bus"])
        lost = CounterMetricFamily("edgebms_bus_frames_lost", "Frames lost, by where", labels=["bus", "kind"])
        errors = CounterMetricFamily("edgebms_bus_error_frames", "Error frames", labels=["bus"])
        off = CounterMetricFamily("edgebms_bus_off", "Times that the controller went off the bus", labels=["bus"])
        downs = CounterMetricFamily("edgebms_bus_downs", "Times that the link broke", labels=["bus"])
        reconnects = CounterMetricFamily("edgebms_bus_reconnects", "Times that the link was opened again", labels=["bus"])
        for name, bus in dict(self._gateway.buses()).items():
            counts = bus.counts
            up.add_metric([name], float(bus.up))
            frames.add_metric([name], counts.frames)
            for where in LOST_KINDS:
                lost.add_metric([name, where], getattr(counts, where))
            errors.add_metric([name], counts.error_frames)
            off.add_metric([name], counts.bus_off)
            downs.add_metric([name], counts.downs)
            reconnects.add_metric([name], counts.reconnects)
        yield from (up, frames, lost, errors, off, downs, reconnects)

    def _outlets(self) -> Iterator[Metric]:
        troubles = CounterMetricFamily(
            "edgebms_outlet_troubles", "Decisions that an outlet dropped or failed at", labels=["outlet", "kind"]
        )
        advice = CounterMetricFamily(
            "edgebms_mcu_advice", "Advice to a microcontroller, by what became of it", labels=["outlet", "verdict"]
        )
        for name, outlet in dict(self._gateway.outlets()).items():
            for what in OUTLET_COUNTS:
                troubles.add_metric([name, what], getattr(outlet, what))
            for what, count in getattr(outlet, "advice_counts", {}).items():
                advice.add_metric([name, what], count)
        yield from (troubles, advice)


class _Pack:
    """What is kept of one pack."""

    def __init__(self) -> None:
        self.newest: Decision | None = None
        self.at_ns = 0
        self.decisions = 0
        self.latency_s = 0.0
        self.raised: Counter[str] = Counter()
        self._standing: set[tuple[str, str]] = set()
        self._in_bucket = [0] * (len(BUCKETS_S) + 1)

    def take(self, decision: Decision, now_ns: int) -> None:
        self.newest, self.at_ns = decision, now_ns
        self.decisions += 1
        latency_s = decision.provenance.latency_us / 1e6
        self.latency_s += latency_s
        self._in_bucket[bisect_left(BUCKETS_S, latency_s)] += 1
        standing: set[tuple[str, str]] = {(alert.id, alert.level) for alert in decision.alerts}
        for _, level in standing - self._standing:
            self.raised[level] += 1
        self._standing = standing

    def valid(self, now_ns: int) -> Decision | None:
        decision = self.newest
        return decision if decision is not None and now_ns - self.at_ns <= decision.expires_ms * 1_000_000 else None

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many took at most that)."""
        total, out = 0, []
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self._in_bucket, strict=True):
            total += count
            out.append((bound, float(total)))
        return out


def kind(alert: Alert) -> tuple[str, str, str, str]:
    """(hazard, level, gravest rule, latched)"""
    return alert.hazard.value, alert.level, alert.evidence[0].rule if alert.evidence else "", str(alert.latched).lower()


def seconds(milliseconds: int | None) -> Number:
    """None stays.

    >>> seconds(110), seconds(None)
    (0.11, None)
    """
    return None if milliseconds is None else milliseconds / 1000
