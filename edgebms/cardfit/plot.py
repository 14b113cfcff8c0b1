"""A picture of a fit against its data, to look at before the card is used. matplotlib is imported inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgebms.cardfit.card import Fitted
from edgebms.cardfit.joint import OHM_SOC
from edgebms.errors import MissingExtra


def plot(fitted: Fitted, path: Path) -> None:
    """Write a figure (.png, .svg, .pdf) to ``path``. Raises MissingExtra, OSError, CardError for an unknown type."""
    try:
        import matplotlib
    except ImportError:
        raise MissingExtra("plotting needs matplotlib", where=str(path), mend="pip install 'edgebms[fit]', or leave --plot out") from None
    matplotlib.use("Agg")
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    from edgebms.errors import CardError

    card, rows = fitted.card, fitted.rows
    figure = Figure(figsize=(13, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    temperatures = card.ocv.voltage.temperature_c
    nearest = np.argmin(np.abs(rows.temperature_c[:, None] - np.array(temperatures)), axis=1)
    colours = colormaps["coolwarm"](np.linspace(0, 1, max(len(temperatures), 2)))
    for t, temperature in enumerate(temperatures):
        mine = nearest == t
        colour, label = colours[t], f"{temperature:g} degC"
        axes[0, 0].plot(rows.soc[mine], rows.voltage_v[mine], ".", ms=1, alpha=0.3, color=colour)
        axes[0, 0].plot(card.ocv.voltage.soc, card.ocv.voltage.value[t], color=colour, label=label)
        axes[0, 1].plot(rows.soc[mine], 1e3 * fitted.residual_v[mine], ".", ms=1, alpha=0.4, color=colour, label=label)
    for t, temperature in enumerate(card.resistance_ohm.temperature_c):
        axes[1, 0].semilogy(card.resistance_ohm.soc, 1e3 * np.array(card.resistance_ohm.value[t]), color="k", alpha=0.3 + 0.1 * t)
        for pair, style in zip(card.relaxation, ("-", "--", ":"), strict=False):
            table = pair.resistance_ohm
            axes[1, 0].semilogy(table.soc, 1e3 * np.array(table.value[t]), style, color=colormaps["coolwarm"](t / len(table.temperature_c)))
        axes[1, 1].semilogy(card.exchange_a.soc, card.exchange_a.value[t], label=f"{temperature:g} degC")
    titles = (
        "open-circuit voltage (lines), data (dots), V",
        "residual, mV",
        "R0 (black), RC pairs fast - to slow :, mOhm",
        "exchange current, A",
    )
    for axis, title in zip(axes.flat, titles, strict=True):
        axis.set_title(title)
        axis.set_xlabel("SOC")
        axis.grid(alpha=0.3)
    axes[0, 1].set_ylim(-100, 100)
    axes[0, 1].set_xlim(float(OHM_SOC[0]), 1.0)
    axes[0, 0].legend()
    axes[1, 1].legend()
    figure.suptitle(f"{card.name}: {card.cell}, {card.chemistry.value}, {card.capacity_ah:g} Ah")
    try:
        figure.savefig(path, dpi=110)
    except ValueError as error:
        raise CardError(f"cannot be written: {error}", where=str(path), mend="end the name in .png, .svg or .pdf") from None
