"""All cards of the catalogue from train data: ``python -m export.recipes.make_cards [--data ../shared/data] [--out DIR]``.

Fitted cards come from characterisation logs through the code behind ``edgebms fit``; generic cards are
put together from them; declared cards are generic curves with the cell's own sheet. No seed: nothing is
drawn. Order matters: a card falls back on those before it.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebms.cardfit.card import ERROR_SOC, fit_card
from edgebms.cardfit.joint import OCV_SOC
from edgebms.cardfit.log import read_log
from edgebms.cardfit.write import card_toml
from edgebms.cellcard import Accuracy, CardLimits, CellCard, Ocv, Table, load_card, parse_card
from edgebms.estimator.cell_model import CellModel
from edgebms.vocabulary import Chemistry

Floats = NDArray[np.float64]

CAUTIOUS = "cautious defaults, no data sheet at hand; check against the maker's before use"
GENERIC_V = 0.06
"""Model error of a chemistry's generic curve: LG HG2 and DMEGC, both NMC, differ by 83 mV root mean square over
SOC 0.1 to 0.95, so each lies some 40 mV from their mean, and the next cell is neither."""


def limits(
    low: float, high: float, float_v: float, charge: float, discharge: float, source: str = CAUTIOUS, runaway_c: float = 80.0
) -> CardLimits:
    return CardLimits(low, high, float_v, charge, discharge, 0.0, 45.0, -20.0, 60.0, runaway_c, source)


def write(card: CellCard, out: Path, note: str) -> CellCard:
    """Write the card and give it back as the file says it (rounded)."""
    text = card_toml(card, "Made by export/recipes/make_cards.py; make it again rather than edit.\n" + note)
    path = out / f"{card.name}.toml"
    path.write_text(text + "\n" if not text.endswith("\n") else text, encoding="utf-8")
    print(f"{card.name}: {card.cell}, {card.quality}, {card.capacity_ah:g} Ah")
    return parse_card(text, str(path))


def fitted(
    name: str,
    cell: str,
    chemistry: Chemistry,
    nominal: float,
    reference: float | None,
    cell_limits: CardLimits,
    logs: list[Path],
    fallback: CellCard,
    out: Path,
    note: str,
    drives: tuple[Path, ...] = (),
) -> CellCard:
    used = tuple(read_log(path, nominal) for path in drives)
    result = fit_card([read_log(path, nominal) for path in logs], name, cell, chemistry, nominal, reference, cell_limits, fallback, used)
    for line in (*result.missing, *result.errors()):
        print("   ", line)
    return write(result.card, out, note)


def curve(card: CellCard, soc: Floats) -> Floats:
    """Open-circuit voltage at 25 degC."""
    return CellModel(card, soc.size).ocv_v(soc, np.full(soc.size, 25.0))


def generic(
    name: str,
    chemistry: Chemistry,
    capacity_ah: float,
    base: CellCard,
    ocv_v: Floats,
    hysteresis_v: Floats,
    source: str,
    cell_limits: CardLimits,
    error_v: float,
) -> CellCard:
    """``base``'s resistances scaled by capacity, the open-circuit voltage at 25 degC as given, wide errors."""
    scale = base.capacity_ah / capacity_ah

    def scaled(table: Table, by: float) -> Table:
        rows = tuple(tuple(float(x) * by for x in row) for row in table.value)
        return msgspec.structs.replace(table, source=f"generic: {base.name}'s scaled by capacity", method=f"x {by:.3g}", value=rows)

    ocv = Table(
        source,
        "mean of the branches at 25 degC",
        (0.0, 1.0),
        (10.0, 45.0),
        tuple(OCV_SOC.tolist()),
        (25.0,),
        (tuple(np.maximum.accumulate(ocv_v).tolist()),),
    )
    # The curve is the less known the steeper it is at the low end, and resistances add in the cold.
    warm = error_v * np.interp(ERROR_SOC, [0.0, 0.1, 0.2], [4.0, 2.0, 1.0])
    error = Table(
        source,
        "spread between cells of a chemistry; grows with the resistances in the cold",
        (0.0, 1.0),
        (10.0, 45.0),
        tuple(ERROR_SOC.tolist()),
        (-20.0, 0.0, 25.0),
        tuple(tuple((warm * f).tolist()) for f in (2.0, 1.3, 1.0)),
    )
    return CellCard(
        name=name,
        cell=f"generic {chemistry.value}/graphite cell",
        chemistry=chemistry,
        quality="generic",
        capacity_ah=capacity_ah,
        limits=cell_limits,
        ocv=Ocv(ocv, tuple(0.0 for _ in OCV_SOC), tuple(np.round(hysteresis_v, 5).tolist()), base.ocv.hysteresis_swing),
        resistance_ohm=scaled(base.resistance_ohm, scale),
        exchange_a=scaled(base.exchange_a, 1 / scale),
        relaxation=tuple(msgspec.structs.replace(pair, resistance_ohm=scaled(pair.resistance_ohm, scale)) for pair in base.relaxation),
        accuracy=Accuracy(error, 0.5, 0.05, 0.002),
    )


def declared(name: str, cell: str, base: CellCard, capacity_ah: float, cell_limits: CardLimits) -> CellCard:
    """A generic card under a cell's own name, capacity and voltage limits."""
    model = generic(
        name,
        base.chemistry,
        capacity_ah,
        base,
        curve(base, OCV_SOC),
        np.array(base.ocv.hysteresis_v),
        f"generic: {base.name}",
        cell_limits,
        GENERIC_V,
    )
    return msgspec.structs.replace(model, name=name, cell=cell, quality="declared")


def lco_curve(path: Path) -> Floats:
    """Open-circuit voltage of LCO/graphite from whole early cycles (0.5 C charge, 1 C discharge): at each SOC
    the two voltages give the resistance between them and so the voltage at no current."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    time_s, voltage_v, current_a, cycle = (
        table[n].to_numpy().astype(float) for n in ("test_time_second", "voltage_volt", "current_ampere", "cycle_count")
    )
    curves = []
    for number in range(2, 12):
        mine = cycle == number
        t, v, i = time_s[mine], voltage_v[mine], current_a[mine]
        ah = np.cumsum(i * np.diff(t, prepend=t[0])) / 3600.0
        down, up = i < -1.0, i > 0.5
        if np.count_nonzero(down) < 50 or np.count_nonzero(up) < 50:
            continue
        capacity = np.ptp(ah[down])
        empty = ah[down].min()
        s_down, s_up = (ah[down] - empty) / capacity, ah[up] / capacity
        discharge = np.interp(OCV_SOC, s_down[::-1], v[down][::-1])
        charge = np.interp(OCV_SOC, s_up, v[up])
        both = (OCV_SOC > 0.1) & (s_up.max() - 0.02 > OCV_SOC)
        ohm = np.median((charge - discharge)[both]) / 1.65
        curves.append(discharge + 1.1 * ohm)
    return np.maximum.accumulate(np.mean(curves, axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("edgebms/catalogue/cards"))
    parser.add_argument("--left-out", type=Path, default=Path("export/left_out"), help="folder for the cards of the never-seen rows")
    args = parser.parse_args()
    soc, out = args.data / "soc" / "train", args.out
    start = load_card("generic_nmc")  # only names a fallback; LG HG2's logs leave nothing to it
    wanted = ("C20DisCh", "Dis_", "HPPC", "Cap_1C")
    # Two capacity tests began at another temperature than their name says (data README, note 1).
    bad = ("10degC__571_Cap_1C", "40degC__557_Cap_1C")
    logs = [
        p for p in sorted((soc / "lg_hg2/characterisation").glob("*.parquet")) if any(w in p.stem for w in wanted) and p.stem not in bad
    ]
    sheet = "voltages as tested; 4 A charge, 20 A discharge and 75 degC from the maker's data sheet as remembered: check before use; temperatures cautious"
    source = "Data: Kollmeyer et al., McMaster University, doi 10.17632/cp3473x7xv.3, CC BY 4.0."
    sheet_limits = limits(2.8, 4.2, 4.05, 1.3, 6.5, sheet, 75.0)
    lg_of = partial(fitted, "lg_hg2", "LG 18650HG2", Chemistry.NMC, 3.0, 2.7782, sheet_limits, logs, start)
    # What it looks like to one who never drove it: for the never-seen rows, and what the other cards lean on.
    lg = lg_of(args.left_out, source)
    lg_of(out, source, tuple(sorted((soc / "lg_hg2").glob("*.parquet"))))
    panasonic = fitted(
        "panasonic_18650pf",
        "Panasonic NCR18650PF",
        Chemistry.NCA,
        2.9,
        2.9,
        limits(2.5, 4.2, 4.05, 0.5, 2.0),
        sorted((soc / "panasonic_18650pf/characterisation").glob("*.parquet")),
        lg,
        out,
        "Data: Kollmeyer, Mendeley Data wykht8y7tg, CC BY 4.0.",
    )
    dmegc = fitted(
        "dmegc_inr18650",
        "DMEGC INR18650 2.6 Ah",
        Chemistry.NMC,
        2.6,
        None,
        limits(2.5, 4.2, 4.05, 0.5, 2.0),
        [p for p in sorted((soc / "dmegc_randomwalk").glob("R[123]__*.parquet")) if "__rw_" not in p.stem],
        lg,
        out,
        "Data: cells R1 to R3 of the DMEGC electro-thermal data set (CTA-MTL), MIT.",
    )
    mean = 0.5 * (curve(lg, OCV_SOC) + curve(dmegc, OCV_SOC))
    write(
        generic(
            "generic_nmc",
            Chemistry.NMC,
            2.5,
            lg,
            mean,
            np.array(lg.ocv.hysteresis_v),
            "derived: mean of the shipped cards lg_hg2 and dmegc_inr18650",
            limits(2.8, 4.2, 4.05, 0.5, 1.0),
            GENERIC_V,
        ),
        out,
        "No cell of its own.",
    )
    write(
        generic(
            "generic_nca",
            Chemistry.NCA,
            2.9,
            panasonic,
            curve(panasonic, OCV_SOC),
            np.array(panasonic.ocv.hysteresis_v),
            "derived: the shipped card panasonic_18650pf",
            limits(2.7, 4.2, 4.05, 0.5, 1.0),
            GENERIC_V,
        ),
        out,
        "No cell of its own.",
    )
    lco_v = lco_curve(args.data / "soh/train/calce_cs2/CS2_35.parquet")
    lco = write(
        generic(
            "generic_lco",
            Chemistry.LCO,
            1.1,
            lg,
            lco_v,
            np.full(OCV_SOC.size, 0.005),
            "derived: cycles 2 to 11 of CALCE CS2_35 (1.1 Ah prismatic), charge and discharge at the same SOC",
            limits(2.7, 4.2, 4.05, 0.5, 1.0),
            GENERIC_V,
        ),
        out,
        "No cell of its own. Open-circuit voltage from CALCE, University of Maryland.",
    )
    write(lfp(soc / "a123_lfp", lg, out), out, "No cell of its own. Open-circuit voltage from the shipped card a123_lfp.")
    note = "Generic curves under the cell's own sheet: a cell without characterisation."
    stated = "voltages as declared in the data's cells.csv; " + CAUTIOUS
    write(
        declared("lipo_5450", "LiPo pouch 5450 mAh", lco, 5.45, limits(3.0, 4.1, 4.0, 0.5, 4.0, stated)),
        out,
        note + " Its chemistry is not stated: LCO, usual for LiPo pouches, is assumed.",
    )
    print("then: python -m export.recipes.make_sheet_cards")


def lfp(folder: Path, lg: CellCard, out: Path) -> CellCard:
    """The A123 card (OCV fitted, dynamics not: no pulses in its logs), and the generic LFP card from it."""
    flat = np.interp(OCV_SOC, [0.0, 0.05, 0.2, 0.95, 1.0], [2.6, 3.1, 3.25, 3.35, 3.45])
    dynamics = generic(
        "lfp_dynamics", Chemistry.LFP, 2.5, lg, flat, np.full(OCV_SOC.size, 0.02), "typical values", limits(2.5, 3.6, 3.35, 0.5, 1.0), 0.01
    )
    a123 = fitted(
        "a123_lfp",
        "A123 18650 1.1 Ah",
        Chemistry.LFP,
        1.1,
        1.06,
        limits(2.0, 3.6, 3.35, 1.0, 5.0),
        sorted(folder.glob("*.parquet")),
        dynamics,
        out,
        "Open-circuit voltage fitted; resistances are LG HG2's by capacity. Data: CALCE, University of Maryland (provenance unverified).",
    )
    return generic(
        "generic_lfp",
        Chemistry.LFP,
        2.5,
        lg,
        curve(a123, OCV_SOC),
        np.array(a123.ocv.hysteresis_v),
        "derived: the shipped card a123_lfp",
        limits(2.5, 3.6, 3.35, 0.5, 1.0),
        0.01,
    )


if __name__ == "__main__":
    main()
