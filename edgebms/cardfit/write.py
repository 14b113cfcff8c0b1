"""A card as TOML text, for people to read and to edit."""

from __future__ import annotations

import msgspec

from edgebms.cellcard import CellCard, Table

PER_LINE = 12


def number(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    return text if any(mark in text for mark in ".en") else text + ".0"


def quote(text: str) -> str:
    return msgspec.json.encode(text).decode()


def array(values: tuple[float, ...], digits: int) -> str:
    words = [number(value, digits) for value in values]
    if len(words) <= PER_LINE:
        return "[" + ", ".join(words) + "]"
    lines = [", ".join(words[i : i + PER_LINE]) for i in range(0, len(words), PER_LINE)]
    return "[\n  " + ",\n  ".join(lines) + ",\n]"


def table(name: str, what: Table, digits: int) -> list[str]:
    lines = [f"[{name}]", f"source = {quote(what.source)}", f"method = {quote(what.method)}"]
    lines += [f"valid_soc = {array(what.valid_soc, 4)}", f"valid_temperature_c = {array(what.valid_temperature_c, 4)}"]
    lines += [f"soc = {array(what.soc, 5)}", f"temperature_c = {array(what.temperature_c, 4)}", "value = ["]
    lines += [f"{array(row, digits)}," for row in what.value]
    return [*lines, "]", ""]


def card_toml(card: CellCard, note: str = "") -> str:
    """``card`` as TOML; parse_card gives it back (numbers rounded). ``note``: comment at the top."""
    lines = [f"# {line}" for line in note.splitlines()]
    lines += [f"name = {quote(card.name)}", f"cell = {quote(card.cell)}", f"chemistry = {quote(card.chemistry.value)}"]
    lines += [f"quality = {quote(card.quality)}", f"capacity_ah = {number(card.capacity_ah, 6)}", "", "[limits]"]
    for field in card.limits.__struct_fields__:
        value = getattr(card.limits, field)
        lines.append(f"{field} = {quote(value) if isinstance(value, str) else number(value, 6)}")
    ocv = card.ocv
    lines += ["", "[ocv]", f"hysteresis_swing = {number(ocv.hysteresis_swing, 4)}"]
    lines += [f"entropic_v_per_k = {array(ocv.entropic_v_per_k, 3)}", f"hysteresis_v = {array(ocv.hysteresis_v, 3)}", ""]
    lines += table("ocv.voltage", ocv.voltage, 5)
    lines += table("resistance_ohm", card.resistance_ohm, 4)
    lines += table("exchange_a", card.exchange_a, 4)
    for pair in card.relaxation:
        lines += ["[[relaxation]]", f"tau_s = {array(pair.tau_s, 4)}", ""]
        lines += table("relaxation.resistance_ohm", pair.resistance_ohm, 4)
    accuracy = card.accuracy
    lines += ["[accuracy]", f"resistance = {number(accuracy.resistance, 3)}", f"capacity = {number(accuracy.capacity, 3)}"]
    lines += [f"sensor_v = {number(accuracy.sensor_v, 3)}", ""]
    lines += table("accuracy.voltage_v", accuracy.voltage_v, 3)
    return "\n".join(lines)
