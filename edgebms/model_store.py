"""Finds a model, checks it against its card, opens it. Nothing that does not match is run.

A model is two files side by side: ``name.onnx`` and its card ``name.json`` (data, licences, seeds,
tables, sha256 of the ONNX file, names and order of its inputs, the domain it was trained on).
"""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import msgspec
from msgspec import Meta

from edgebms.errors import ModelError


class TrainedOn(msgspec.Struct, frozen=True):
    """cards: name -> digest of the cell cards that trained a student."""

    cards: dict[str, str]


class ModelCard(msgspec.Struct, frozen=True):
    """The part of a model's card that the runtime checks. Other fields are for people.

    features: names of the inputs in order. domain_low, domain_high: for each the range seen in
    training; outside of it the filter stands alone. scale, centre: x = (feature - centre) / scale. filter: what it was trained on.
    """

    name: str
    kind: str
    sha256: Annotated[str, Meta(min_length=64, max_length=64)]
    features: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    domain_low: tuple[float, ...]
    domain_high: tuple[float, ...]
    hidden: Annotated[int, Meta(ge=1)]
    period_s: Annotated[float, Meta(gt=0)]
    filter: TrainedOn | None = None


def model_folder() -> Path:
    """models/ inside the installed package, or at the top of the checkout."""
    inside = Path(str(resources.files("edgebms") / "models"))
    return inside if inside.is_dir() else Path(__file__).resolve().parent.parent / "models"


class AnyCard(Protocol):
    @property
    def kind(self) -> str: ...

    @property
    def sha256(self) -> str: ...


Card = TypeVar("Card", bound=AnyCard)


def open_checked(name: str, kind: str, card_type: type[Card]) -> tuple[Card, bytes, Path]:
    """The card, the bytes and the card's path of model ``name`` (in models/, or a path that ends in .onnx), whose hash is its card's.

    Raises ModelError.
    """
    path = Path(name) if name.endswith(".onnx") else model_folder() / f"{name}.onnx"
    card_path = path.with_suffix(".json")
    try:
        model, card_text = path.read_bytes(), card_path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot be read: {error.strerror}",
            where=str(error.filename),
            mend=f'name a model in models/, or {kind} = "" for none',
        ) from None
    try:
        card = msgspec.json.decode(card_text, type=card_type)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelError(f"is no model card: {error}", where=str(card_path), mend="export the model again (make models)") from None
    if card.kind != kind:
        raise ModelError(f"is a {card.kind!r} model where a {kind!r} model is needed", where=str(card_path), mend="name the right model")
    digest = hashlib.sha256(model).hexdigest()
    if digest != card.sha256:
        raise ModelError(
            f"sha256 {digest[:12]}... differs from its card's {card.sha256[:12]}...",
            where=str(path),
            mend="the file was changed or torn: install it again, or export again",
        )
    return card, model, card_path


def open_model(name: str, kind: str) -> tuple[ModelCard, bytes]:
    """A state student: its card and its bytes. Raises ModelError."""
    card, model, card_path = open_checked(name, kind, ModelCard)
    width = len(card.features)
    if not all(len(row) == width for row in (card.centre, card.scale, card.domain_low, card.domain_high)):
        raise ModelError(
            "centre, scale and domain do not fit the list of features", where=str(card_path), mend="export the model again (make models)"
        )
    return card, model
