"""The whole moving state of a pack's line as plain data, and back into a line that was built anew.

A black box needs more than a checkpoint: to give the same decisions again bit for bit, every filter,
ring and counter must stand where it stood. So this walks over the objects of the line as they are
(assembler, history, guard, estimator, arbiter) and keeps all their attributes but the constants: what
the builder makes from the configuration (cards, profiles, models, rows, functions). A new line of the
same configuration is the skeleton into which the values go back. An image is for the very runtime
that made it; a checkpoint is the form that outlives a version.

Arrays that share memory (a buffer and the views on it) share it again afterwards.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
from array import array
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from edgebms.cellcard import CellCard
from edgebms.errors import StateError
from edgebms.estimator.cell_model import CellModel
from edgebms.estimator.student import StateStudent
from edgebms.evidence.past import Scale
from edgebms.guard.limits import LimitRow
from edgebms.history.ring import Ring
from edgebms.loop import PackLine
from edgebms.reasoner.reasoner import Reasoner
from edgebms.reasoner.student import ReasoningStudent
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.profile import Profile

CONSTANT = (
    CellCard,
    Profile,
    StateStudent,
    ReasoningStudent,
    Scale,
    LimitRow,
    msgspec.Struct,
    type,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
)
CONSTANT_ATTRIBUTES: dict[type, frozenset[str]] = {
    CellModel: frozenset({"_map", "_ocv", "_fine_soc"}),
    Assembler: frozenset({"_standard", "_extended", "_starts", "_required", "_outside"}),
    PackLine: frozenset({"tape"}),
    # worked out from the history, and again where it is missing
    Reasoner: frozenset({"_past", "_ready"}),
    # written twice, newest part only: see _ring
    Ring: frozenset({"_values", "_time_s", "_next", "_count"}),
}
"""Large tables that the builder makes anew, beside what is constant by its type."""

PLAIN = (bool, int, float, str, bytes, type(None))


class _Constant(Exception):
    """A value that the builder makes anew."""


def take(*roots: object) -> dict[str, Any]:
    """The state below ``roots``, as msgpack can carry it. Nothing in it changes when the line moves on."""
    walk = _Walk()
    objects = [walk.value(root) for root in roots]
    return {"objects": objects, "memory": walk.memory(), "rings": walk.rings}


def put(image: dict[str, Any], *roots: object) -> None:
    """Put ``take(...)`` back into ``roots``, built anew from the same configuration.

    Raises StateError where the image is another runtime's or another configuration's; then nothing was changed.
    """
    before = take(*roots)
    try:
        _put(image, roots)
    except StateError:
        _put(before, roots)
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        _put(before, roots)
        raise _misfit(f"{type(error).__name__} {error}") from None


def size(taken: dict[str, Any]) -> int:
    """About how many bytes an image holds."""
    total: int = sum(len(data) for _, data in taken["memory"].values()) + taken["rings"]
    return total


def _put(image: dict[str, Any], roots: tuple[object, ...]) -> None:
    back = _Back(image["memory"])
    if len(image["objects"]) != len(roots):
        raise _misfit("number of objects")
    for saved, root in zip(image["objects"], roots, strict=True):
        back.value(saved, root)


def _misfit(what: str) -> StateError:
    return StateError(
        f"does not fit the line that this configuration makes ({what})",
        mend="replay with the configuration and the version of edgebms that recorded it",
    )


class _Walk:
    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self.rings = 0
        """Bytes in rings."""
        self._kept: list[object] = []
        self._memory: dict[int, tuple[Any, list[tuple[np.ndarray[Any, Any], list[Any]]]]] = {}
        """Owner of each stretch of memory, and the arrays in it with their places."""

    def value(self, value: Any) -> Any:
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is np.ndarray:
            return self._array(value)
        if isinstance(value, np.generic):
            return ["g", value.dtype.str, value.tobytes()]
        if isinstance(value, enum.Enum):
            return ["e", name_of(kind), value.value]
        if kind is tuple:
            return ["t", [self.value(entry) for entry in value]]
        if isinstance(value, tuple):
            return ["n", name_of(kind), [self.value(entry) for entry in value]]
        if kind is list:
            return ["l", [self.value(entry) for entry in value]]
        if kind is dict:
            return ["d", [[self.value(key), self.value(entry)] for key, entry in value.items()]]
        if kind in (set, frozenset):
            return ["s" if kind is set else "f", [self.value(entry) for entry in sorted(value)]]
        if kind is bytearray or kind is array:
            return self._buffer(value)
        if isinstance(value, CONSTANT) or not kind.__module__.startswith("edgebms."):
            raise _Constant
        return self._object(value, kind)

    def _object(self, value: object, kind: type) -> Any:
        if id(value) in self._seen:
            return ["r", self._seen[id(value)]]
        number = self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        saved: dict[str, Any] = {}
        if isinstance(value, Ring):
            self.rings += value.time_s.nbytes + value.values.nbytes
            saved["newest"] = [["g8", value.time_s.tobytes()], ["g4", value.values.tobytes(), list(value.values.shape)]]
        skipped = CONSTANT_ATTRIBUTES.get(kind, frozenset())
        for name in attributes(value):
            if name in skipped:
                continue
            try:
                saved[name] = self.value(getattr(value, name))
            except _Constant:
                continue
        return ["o", number, name_of(kind), saved]

    def _array(self, value: np.ndarray[Any, Any]) -> Any:
        owner: Any = value
        while isinstance(owner, np.ndarray | memoryview):
            under = owner.base if isinstance(owner, np.ndarray) else owner.obj
            if under is None or isinstance(under, bytes):
                break
            owner = under
        place = ["a", id(owner), 0, list(value.shape), list(value.strides), value.dtype.str]
        self._memory.setdefault(id(owner), (owner, []))[1].append((value, place))
        return place

    def _buffer(self, value: Any) -> Any:
        self._memory.setdefault(id(value), (value, []))
        return ["b", id(value)]

    def memory(self) -> dict[int, Any]:
        """Each stretch of memory once: [kind, bytes]. Fills in where in it each array lies."""
        out: dict[int, Any] = {}
        for key, (owner, arrays) in self._memory.items():
            if isinstance(owner, bytearray | array):
                out[key] = [
                    owner.typecode if isinstance(owner, array) else "",
                    owner.tobytes() if isinstance(owner, array) else bytes(owner),
                ]
                start = address(np.frombuffer(owner, dtype=np.uint8))
            elif len(arrays) == 1 and arrays[0][0].flags.c_contiguous:
                out[key] = ["", arrays[0][0].tobytes()]
                continue
            else:
                whole = _whole(arrays[0][0])
                out[key] = ["", whole.tobytes()]
                start = address(whole)
            for value, place in arrays:
                place[2] = address(value) - start
        return out


def _whole(view: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """All the memory of the array that ``view`` is a view of, in its own order."""
    owner = view
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    order = sorted(range(owner.ndim), key=lambda axis: -owner.strides[axis])
    return owner.transpose(order)


def address(value: np.ndarray[Any, Any]) -> int:
    where: int = value.__array_interface__["data"][0]
    return where


class _Back:
    def __init__(self, memory: dict[int, Any]) -> None:
        self._memory: dict[int, Any] = {}
        for key, (kind, data) in memory.items():
            self._memory[int(key)] = array(kind, data) if kind else bytearray(data)
        self._objects: dict[int, object] = {}

    def value(self, saved: Any, fresh: Any) -> Any:
        """``saved`` as it was. fresh: what a new line has in its place, the skeleton for objects."""
        if not isinstance(saved, list):
            return saved
        tag = saved[0]
        if tag == "a":
            _, key, offset, shape, strides, dtype = saved
            return np.ndarray(tuple(shape), np.dtype(dtype), self._memory[key], offset, tuple(strides))
        if tag == "b":
            return self._memory[saved[1]]
        if tag == "g":
            return np.frombuffer(saved[2], dtype=saved[1])[0]
        if tag == "e":
            return class_of(saved[1], enum.Enum)(saved[2])
        if tag in ("t", "n", "l"):
            entries = saved[-1]
            beside = fresh if isinstance(fresh, list | tuple) and len(fresh) == len(entries) else [None] * len(entries)
            values = [self.value(entry, other) for entry, other in zip(entries, beside, strict=True)]
            return values if tag == "l" else tuple(values) if tag == "t" else class_of(saved[1], tuple)._make(values)  # type: ignore[attr-defined]
        if tag == "d":
            known = fresh if isinstance(fresh, dict) else {}
            pairs = [(self.value(key, None), entry) for key, entry in saved[1]]
            return {key: self.value(entry, known.get(key)) for key, entry in pairs}
        if tag in ("s", "f"):
            return (set if tag == "s" else frozenset)(self.value(entry, None) for entry in saved[1])
        if tag == "r":
            return self._objects[saved[1]]
        if tag == "o":
            return self._object(saved, fresh)
        raise _misfit(f"tag {tag!r}")

    def _object(self, saved: Any, fresh: Any) -> object:
        _, number, name, values = saved
        kind = class_of(name, object)
        if type(fresh) is not kind:
            if fresh is not None or not dataclasses.is_dataclass(kind):
                raise _misfit(f"{name} stands where there is {type(fresh).__name__}")
            fresh = object.__new__(kind)
        elif set(values) - {"newest"} != _kept_of(fresh):
            unlike = sorted(set(values) - {"newest"} ^ _kept_of(fresh))
            raise _misfit(f"{name}: {', '.join(unlike)}")
        self._objects[number] = fresh
        for attribute, entry in values.items():
            if attribute == "newest":
                _fill(fresh, entry)
            else:
                object.__setattr__(fresh, attribute, self.value(entry, getattr(fresh, attribute, None)))
        return fresh


def _fill(ring: Any, newest: Any) -> None:
    (_, times), (_, values, shape) = newest
    time_s, rows = np.frombuffer(times, dtype=np.float64), np.frombuffer(values, dtype=np.float32).reshape(shape)
    ring._count = len(rows)
    ring._next = len(rows) % ring._rows
    for start in (0, ring._rows):
        ring._values[start : start + len(rows)] = rows
        ring._time_s[start : start + len(rows)] = time_s


def _kept_of(fresh: object) -> set[str]:
    """Names of the attributes of ``fresh`` that an image holds."""
    walk = _Walk()
    kept = set()
    for name in attributes(fresh):
        if name in CONSTANT_ATTRIBUTES.get(type(fresh), ()):
            continue
        try:
            walk.value(getattr(fresh, name))
        except _Constant:
            continue
        kept.add(name)
    return kept


def attributes(value: object) -> list[str]:
    """Names of the attributes that ``value`` has of its own."""
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return [name for name in [*names, *getattr(value, "__dict__", ())] if hasattr(value, name)]


def name_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def class_of(name: str, base: type) -> Callable[..., Any]:
    """The house's class called ``name``, from the modules that are loaded; a file imports nothing."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module) if module.startswith("edgebms.") else None
    for part in path.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, base) and found.__module__ == module):
        raise _misfit(f"class {name}")
    return found
