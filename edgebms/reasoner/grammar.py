"""What may come next in a trace. Whatever a student's weights, what is decoded within this is a well-formed verdict."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.queries import ABOUT_SUSPECT, OUTLIERS, QUERIES
from edgebms.reasoner.language import (
    CAP,
    CAUSES,
    CONFIDENCES,
    CRITICAL_IN,
    FIRST_CAUSE,
    FIRST_CONFIDENCE,
    FIRST_CRITICAL,
    FIRST_QUERY,
    FIRST_SEVERITY,
    ID,
    LOCAL,
    OF_PACK,
    OUTLIER_OF,
    SEVERITIES,
    TOKENS,
    WHERE,
    WHERE_PACK,
)
from edgebms.vocabulary import Cause, Level

_NEEDS_SUSPECT = frozenset(ABOUT_SUSPECT)
_OUTLIERS = frozenset(OUTLIERS)
_NONE = np.zeros(len(QUERIES), dtype=bool)
_FREE = np.array([place not in _NEEDS_SUSPECT for place in range(len(QUERIES))])
CAUSE_TOKENS = tuple(range(FIRST_CAUSE, FIRST_CAUSE + len(CAUSES)))
CONFIDENCE_TOKENS = tuple(range(FIRST_CONFIDENCE, FIRST_CONFIDENCE + CONFIDENCES))


class Refused(ValueError):
    """A word that may not stand here."""


class Trace:
    """One trace as it grows. ``asked``: (place in QUERIES, cell that the answer is about). cap: questions at most.

    Words in order: any questions, then cause, where, severity, critical_in, confidence.
    """

    def __init__(self, cap: int = CAP) -> None:
        self.cap = min(cap, CAP)
        self.asked: list[tuple[int, int]] = []
        self.words: list[int] = []
        self.suspect = -1
        self._about: set[tuple[int, int]] = set()
        self._open = _FREE.copy()

    @property
    def done(self) -> bool:
        return len(self.words) == 5

    @property
    def open(self) -> NDArray[np.bool_]:
        """(queries,): what may be asked now: nothing twice of the same cell, nothing of a suspect before there is one."""
        return _NONE if self.words or len(self.asked) >= self.cap else self._open

    def may_ask(self) -> list[int]:
        """The same as places in QUERIES."""
        found: list[int] = np.flatnonzero(self.open).tolist()
        return found

    def allowed(self) -> list[int]:
        """Tokens that may come next, never none before the trace is done."""
        if not self.words:
            return [*(FIRST_QUERY + place for place in self.may_ask()), *CAUSE_TOKENS]
        stage, cause = len(self.words), self.cause
        if stage == 1:
            if cause in OF_PACK:
                return [WHERE_PACK]
            named = {WHERE[place] for place, cell in self.asked if place in _OUTLIERS and cell >= 0}
            return sorted(named) if named and cause in LOCAL else [WHERE_PACK, *sorted(named)]
        if stage == 2:
            levels = (
                (Level.NONE,)
                if cause is Cause.HEALTHY
                else (Level.NONE, Level.WATCH)
                if cause is Cause.UNKNOWN
                else (Level.WATCH, Level.WARNING, Level.CRITICAL)
            )
            return [FIRST_SEVERITY + SEVERITIES.index(level) for level in levels]
        if stage == 3:
            if cause in (Cause.HEALTHY, Cause.UNKNOWN):
                return [FIRST_CRITICAL + len(CRITICAL_IN) - 1]
            return list(range(FIRST_CRITICAL, FIRST_CRITICAL + len(CRITICAL_IN)))
        return list(CONFIDENCE_TOKENS) if stage == 4 else []

    def ask(self, place: int, cell: int) -> None:
        """A question was asked and answered about ``cell`` (-1 = the pack or nobody). Raises Refused."""
        if not (0 <= place < len(QUERIES) and self.open[place]):
            raise Refused(f"{QUERIES[place].word if 0 <= place < len(QUERIES) else place} may not be asked here")
        self._about.add((place, self.suspect if place in _NEEDS_SUSPECT else -1))
        self.asked.append((place, cell))
        self._open[place] = False
        if place in _OUTLIERS and cell >= 0 and cell != self.suspect:
            self.suspect = cell
            for other in ABOUT_SUSPECT:
                self._open[other] = (other, cell) not in self._about

    def say(self, token: int) -> None:
        """The next word of the verdict. Raises Refused."""
        if token not in self.allowed() or token < FIRST_CAUSE:
            raise Refused(f"{TOKENS[token] if 0 <= token < len(TOKENS) else token} may not stand here")
        self.words.append(token)

    @property
    def cause(self) -> Cause:
        return CAUSES[self.words[0] - FIRST_CAUSE]

    @property
    def cell(self) -> int:
        """0-based cell of the verdict, -1 = the pack: the one that the named question found last."""
        place = OUTLIER_OF.get(self.words[1], -1)
        return next((cell for asked, cell in reversed(self.asked) if asked == place), -1)

    @property
    def severity(self) -> Level:
        return SEVERITIES[self.words[2] - FIRST_SEVERITY]

    @property
    def to_critical_s(self) -> float:
        return CRITICAL_IN[self.words[3] - FIRST_CRITICAL][1] if len(self.words) > 3 else math.inf

    @property
    def confidence_bin(self) -> int:
        return self.words[4] - FIRST_CONFIDENCE


def parse(text: str, named: dict[str, int] | None = None) -> Trace:
    """A trace written as words with blanks between, as a language model answers in: questions (``ask:...``, with bins after them or not), then
    the verdict's five words. named: cell that each question's answer is about, by its word. Raises Refused on anything else."""
    trace = Trace()
    for word in text.split():
        token = ID.get(word)
        if token is None:
            raise Refused(f"{word!r} is no word of the trace language")
        if word == "<begin>" or word.startswith(("chemistry:", "cells:", "past:", "weeks:")):
            if trace.asked or trace.words:
                raise Refused(f"{word} stands at the beginning only")
        elif word.startswith("ask:"):
            place = token - FIRST_QUERY
            about = trace.suspect if place in _NEEDS_SUSPECT else (named or {}).get(QUERIES[place].word, 0 if place in _OUTLIERS else -1)
            trace.ask(place, about)
        elif word[0] == "n" and word[1].isdigit():
            if not trace.asked or trace.words:
                raise Refused(f"{word} answers no question")
        else:
            trace.say(token)
    if not trace.done:
        raise Refused("the verdict is not whole")
    return trace
