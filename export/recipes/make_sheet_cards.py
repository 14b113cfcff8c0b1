"""Cards of cells that nobody characterised: ``python -m export.recipes.make_sheet_cards [--out DIR] [--left-out DIR]``.

Their own sheet (capacity, limits), and of the cells with a layered-oxide cathode that were characterised the mean curve, the
geometric mean of the resistances, and as the stated error 1.5 times what each of them departs from the mean of the
others: the next cell is none of these three. How far curves lie apart does not grow in the cold, and resistances have an
error of their own: the same error stands at every temperature. A full cell is known better: it was charged to its limit
and rested, that is what full means. For cells that were characterised, as if they had not been, the others stand in:
``export/left_out``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CardLimits, CellCard, Table, load_card
from edgebms.estimator.cell_model import CellModel
from edgebms.vocabulary import Chemistry
from export.recipes.make_cards import CAUTIOUS, GENERIC_V, OCV_SOC, curve, generic, limits, write

Floats = NDArray[np.float64]

KNOWN = ("lg_hg2", "panasonic_18650pf", "dmegc_inr18650")
BASE = {"lg_hg2": "dmegc_inr18650", "panasonic_18650pf": "lg_hg2", "dmegc_inr18650": "lg_hg2", "": "lg_hg2"}
"""Whose resistances over SOC and temperature are scaled to the mean."""
SHEET_AH = {"lg_hg2": 2.7782, "panasonic_18650pf": 2.9, "dmegc_inr18650": 2.75}
"""reference_capacity_ah of the data's cells.csv: what their SOC counts in."""
WIDER = 1.5
FULL_SOC, FULL_V = 0.98, 0.01
ERROR_SOC = np.append(np.arange(0.0, 0.951, 0.05), [FULL_SOC, 1.0])
MOST_V = 0.5


def resistance(card: CellCard) -> float:
    """Of half a minute at 1C, 25 degC and half full, ohm times ampere-hours."""
    ohm = CellModel(card, 1).resistance_ohm(np.full(1, 0.5), np.full(1, 25.0), -card.capacity_ah, 30.0)
    return float(ohm[0]) * card.capacity_ah


def departure_v(cards: list[CellCard]) -> Floats:
    """Root mean square of each one's curve less the mean of the others', V, over ERROR_SOC."""
    curves = np.array([curve(card, ERROR_SOC) for card in cards])
    others = (curves.sum(axis=0) - curves) / (len(cards) - 1)
    rms: Floats = np.sqrt(np.mean((curves - others) ** 2, axis=0))
    return rms


def sheet_card(name: str, cell: str, chemistry: Chemistry, left_out: str, capacity_ah: float, cell_limits: CardLimits) -> CellCard:
    known = {one: load_card(one) for one in KNOWN}
    others = [card for one, card in known.items() if one != left_out]
    base = known[BASE[left_out]]
    names = ", ".join(card.name for card in others)
    model = generic(
        name,
        chemistry,
        capacity_ah,
        base,
        np.mean([curve(card, OCV_SOC) for card in others], axis=0),
        np.array(base.ocv.hysteresis_v),
        f"generic: mean of {names}",
        cell_limits,
        GENERIC_V,
    )
    factor = float(np.exp(np.mean([np.log(resistance(card)) for card in others]))) / resistance(base)
    warm = np.minimum(np.where(ERROR_SOC >= FULL_SOC, FULL_V, WIDER * departure_v(list(known.values()))), MOST_V)
    error = msgspec.structs.replace(
        model.accuracy.voltage_v,
        source="1.5 times what each of lg_hg2, panasonic_18650pf and dmegc_inr18650 departs from the others' mean; 10 mV where full",
        soc=tuple(ERROR_SOC.tolist()),
        method="spread between cells of a chemistry, the same at every temperature",
        temperature_c=(25.0,),
        value=(tuple(warm.tolist()),),
    )

    def scaled(table: Table, by: float) -> Table:
        rows = tuple(tuple(x * by for x in row) for row in table.value)
        return msgspec.structs.replace(table, source=f"{table.source}, then to the mean of {names}", value=rows)

    return msgspec.structs.replace(
        model,
        name=name,
        cell=cell,
        quality="declared",
        resistance_ohm=scaled(model.resistance_ohm, factor),
        exchange_a=scaled(model.exchange_a, 1.0 / factor),
        relaxation=tuple(msgspec.structs.replace(pair, resistance_ohm=scaled(pair.resistance_ohm, factor)) for pair in model.relaxation),
        accuracy=msgspec.structs.replace(model.accuracy, voltage_v=error),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("edgebms/catalogue/cards"))
    parser.add_argument("--left-out", type=Path, default=Path("export/left_out"))
    args = parser.parse_args()
    make(args.out, args.left_out)


def make(out: Path, left_out: Path) -> None:
    note = "A cell without characterisation: other cells' curves under its own sheet (export/recipes/make_sheet_cards.py)."
    stated = "voltages as declared in the data's cells.csv; " + CAUTIOUS
    samsung = limits(2.5, 4.2, 4.05, 0.5, 2.0, stated)
    write(sheet_card("samsung_inr20r", "Samsung INR18650-20R", Chemistry.NMC, "", 2.0, samsung), out, note)
    for name in KNOWN:
        card = load_card(name)
        write(sheet_card(f"{name}_declared", card.cell, card.chemistry, name, SHEET_AH[name], card.limits), left_out, note)


if __name__ == "__main__":
    main()
