"""The words that a reasoning student reads and writes, generated from the vocabulary.

A trace: ``<begin>`` with what the pack is, then questions, each with the answer that the runtime read, then the verdict's five words.
A question and its answer share one position: the student's input there is the sum of its word's embedding and of the bins'
embeddings by their weights, ``mix @ embedding`` with ``mix`` (len(TOKENS),).
"""

from __future__ import annotations

import hashlib
import json
import math

from edgebms.evidence.queries import NUMBERS, OUTLIERS, QUERIES
from edgebms.vocabulary import Cause, Chemistry, Level

BINS = 16
CAP = 8
"""Questions of a trace, at most."""
POSITIONS = 1 + CAP + 5
"""Of a whole trace; the last word is never read."""

CAUSES = (
    Cause.HEALTHY,
    Cause.UNKNOWN,
    Cause.INTERNAL_SHORT,
    Cause.MICRO_SHORT,
    Cause.EXTERNAL_SHORT,
    Cause.VOLTAGE_SENSOR,
    Cause.TEMPERATURE_SENSOR,
    Cause.CURRENT_OFFSET,
    Cause.LOOSE_JOINT,
    Cause.OVERCHARGE,
    Cause.OVER_DISCHARGE,
    Cause.COOLING_FAILURE,
    Cause.LITHIUM_PLATING,
    Cause.IMBALANCE,
    Cause.VENTING,
    Cause.THERMAL_RUNAWAY,
    Cause.OVER_TEMPERATURE,
    Cause.OVER_CURRENT,
    Cause.INSULATION,
)
"""What a verdict may name."""

OF_PACK = frozenset(
    {
        Cause.HEALTHY,
        Cause.UNKNOWN,
        Cause.CURRENT_OFFSET,
        Cause.OVER_CURRENT,
        Cause.INSULATION,
    }
)
"""Causes that have no cell."""
LOCAL = frozenset(
    {
        Cause.INTERNAL_SHORT,
        Cause.MICRO_SHORT,
        Cause.VOLTAGE_SENSOR,
        Cause.TEMPERATURE_SENSOR,
        Cause.LOOSE_JOINT,
        Cause.LITHIUM_PLATING,
        Cause.IMBALANCE,
        Cause.VENTING,
        Cause.THERMAL_RUNAWAY,
        Cause.OVER_TEMPERATURE,
    }
)
"""Causes that begin at one cell or probe: a verdict names one that an answer named, where any did. The others may be the whole pack's."""

CRITICAL_IN = ((60.0, 30.0), (300.0, 150.0), (900.0, 600.0), (3600.0, 1800.0), (math.inf, math.inf))
"""Bins of the time to critical: (upper edge, what stands for it), s."""
CONFIDENCES = 10

SIZES = (24, 64, 128)
LONGEST = ("minutes", "hour", "day")
"""As ``reach.LONGEST_S``."""
SEVERITIES = tuple(Level)


def _tokens() -> tuple[str, ...]:
    return (
        "<pad>",
        "<begin>",
        *(f"chemistry:{chemistry.value}" for chemistry in Chemistry),
        *(f"cells:{name}" for name in ("few", "some", "many", "most")),
        *(f"past:{name}" for name in LONGEST),
        *(f"weeks:{name}" for name in ("unknown", "known")),
        *(f"ask:{query.word}" for query in QUERIES),
        *(f"n{number}:{place}" for number in range(NUMBERS) for place in (*range(BINS), "unknown")),
        *(f"cause:{cause.value}" for cause in CAUSES),
        "where:pack",
        *(f"where:{QUERIES[place].word}" for place in OUTLIERS),
        *(f"severity:{level.word}" for level in SEVERITIES),
        *(f"critical_in:{'never' if math.isinf(edge) else f'{edge:.0f}s'}" for edge, _ in CRITICAL_IN),
        *(f"confidence:{place}" for place in range(CONFIDENCES)),
    )


TOKENS = _tokens()
ID = {token: place for place, token in enumerate(TOKENS)}

BEGIN = ID["<begin>"]
FIRST_QUERY = ID[f"ask:{QUERIES[0].word}"]
FIRST_BIN = ID["n0:0"]
FIRST_CAUSE = ID[f"cause:{CAUSES[0].value}"]
WHERE_PACK = ID["where:pack"]
FIRST_SEVERITY = ID[f"severity:{SEVERITIES[0].word}"]
FIRST_CRITICAL = ID["critical_in:60s"]
FIRST_CONFIDENCE = ID["confidence:0"]
WHERE = {place: WHERE_PACK + 1 + rank for rank, place in enumerate(OUTLIERS)}
"""Token of "the cell that this outlier question named", by the question's place in QUERIES."""
OUTLIER_OF = {token: place for place, token in WHERE.items()}

VOCABULARY_HASH = hashlib.sha256("\n".join(TOKENS).encode()).hexdigest()
"""Stands in each model's card; a model with another one is refused."""


def bin_token(number: int, place: int) -> int:
    """Token of a bundle's number in bin ``place``; BINS = unknown."""
    return FIRST_BIN + number * (BINS + 1) + place


def size_token(cells: int) -> int:
    """Token of how many cells a pack has.

    >>> TOKENS[size_token(16)], TOKENS[size_token(96)], TOKENS[size_token(400)]
    ('cells:few', 'cells:many', 'cells:most')
    """
    return ID["cells:few"] + sum(cells > edge for edge in SIZES)


def reach_tokens(longest: int, weeks: bool) -> tuple[int, int]:
    """Tokens of how far back a pack is known (see ``evidence.reach``).

    >>> [TOKENS[token] for token in reach_tokens(2, False)]
    ['past:day', 'weeks:unknown']
    """
    return ID["past:minutes"] + longest, ID["weeks:unknown"] + weeks


def critical_bin(seconds: float) -> int:
    """Bin of a time to critical.

    >>> [critical_bin(s) for s in (10.0, 60.0, 1e4, math.inf)]
    [0, 0, 4, 4]
    """
    return next(place for place, (edge, _) in enumerate(CRITICAL_IN) if seconds <= edge)


def tokenizer_json() -> str:
    """A Hugging Face ``tokenizer.json``: one word a token, split at blanks; what is no word is refused when it is encoded."""
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": place,
                    "content": token,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": True,
                }
                for place, token in enumerate(TOKENS[:2])
            ],
            "normalizer": None,
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": None,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": ID, "unk_token": "<pad>"},
        },
        indent=1,
    )
