"""The filter's constants."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """One set for all cells, tuned on train (export/recipes/tune_kalman.py).

    bias: standard deviation of the voltage bias over the card's stated voltage error. bias_swing: change
    of SOC, bias_s: time over which the bias is forgotten. noise: standard deviation of what the model
    leaves unexplained from moment to moment over the card's error, drop: the same per volt of
    overpotential, noise_s: their correlation time. pair: error of the RC currents, relative.
    scale: prior of the resistance scale over the card's, scale_s: time in which it wanders by its prior.
    offset_c, offset_s: the same of the current offset (1/h). relaxed_share: mean of the RC currents at a
    start over the current of that moment, relaxed_most: its limit, relaxed_c: their standard deviation
    (1/h); slow_share, slow_c: the same of the slowest pair. scale_cold: the resistance scale's prior is so much
    wider for each 25 K below 25 degC. counting: error of counted charge per square root of the SOC moved. current_c: prior of an
    unmeasured current (1/h). clip: innovations beyond so many standard deviations count as that many.
    """

    bias: float = 1.35
    bias_swing: float = 0.5
    bias_s: float = 100000.0
    noise: float = 1.2
    drop: float = 0.31
    noise_s: float = 30.0
    pair: float = 0.2
    scale: float = 0.8
    scale_s: float = 6000.0
    offset_c: float = 0.037
    offset_s: float = 65000.0
    relaxed_c: float = 0.7
    relaxed_share: float = 0.27
    relaxed_most: float = 0.66
    slow_c: float = 0.24
    slow_share: float = 0.36
    scale_cold: float = 0.39
    counting: float = 0.024
    current_c: float = 0.5
    clip: float = 6.0


TUNED = Tuning()
