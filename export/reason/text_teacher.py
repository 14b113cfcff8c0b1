"""Any language model as teacher: asked over its chat to interrogate packs in the trace language, one question a turn.

``hf:PATH`` is a local causal language model through its own chat template, ``openai:URL`` a server with an OpenAI-compatible
``/chat/completions``. What is no word of the language, or may not stand where it stands, ends the trace: it is counted, and teaches nothing.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import ConfigError, ModelError
from edgebms.evidence.queries import ANSWERS, QUERIES
from edgebms.reasoner.grammar import Refused, Trace
from edgebms.reasoner.language import CAUSES, FIRST_QUERY, ID, LONGEST, TOKENS
from export.reason.asking import Asking

Message = dict[str, str]
Reply = Callable[[list[Message]], str]
"""A conversation so far -> what the model says next."""
WORDS_OF_VERDICT = 5


@dataclass(slots=True)
class Tally:
    """What came of the conversations: accepted, wrong (well-formed, another cause), and how each invalid one ended."""

    accepted: int = 0
    wrong: int = 0
    invalid: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return f"{self.accepted} accepted, {self.wrong} with another cause, {sum(self.invalid.values())} invalid"


def instructions() -> str:
    """What the model is told: the language, and how an answer reads."""
    causes = " ".join(f"cause:{cause.value}" for cause in CAUSES)
    verdict = " ".join(token for token in TOKENS if token.startswith(("where:", "severity:", "critical_in:", "confidence:")))
    questions = "\n".join(f"ask:{query.word} -> {', '.join(n.name for n in ANSWERS[query.family])}" for query in QUERIES)
    return (
        "You find out what is wrong with a battery pack, by asking for measurements and then giving a verdict.\n"
        "Each of your replies is one line: either one question, or a verdict of five words "
        "(cause, where, severity, critical_in, confidence), e.g. 'cause:healthy where:pack severity:none critical_in:never confidence:8'.\n"
        "Ask at most 8 questions. '.suspect' and '.neighbours' speak of the cell that the latest '.outlier' named. "
        "A cause that is at one cell says as its second word which question named it; 'where:pack' is for causes of the pack, or where none did. "
        "Numbers are relative to the pack and the sensors' floor: beyond 4 is unusual. Write nothing else.\n"
        f"Questions:\n{questions}\nCauses: {causes}\nOther words: {verdict}"
    )


def pack_told(row: NDArray[np.void]) -> str:
    weeks = "known" if row["weeks"][0] else "unknown"
    return f"A pack of {int(row['cells'][0])} cells, {row['chemistry'][0]}. Past: {LONGEST[int(row['longest'][0])]}; its weeks: {weeks}."


def interview(reply: Reply, row: NDArray[np.void]) -> tuple[Trace, Asking]:
    """One conversation about one corpus row (1,). Raises Refused where the model leaves the language."""
    asking, trace = Asking.of(row), Trace()
    told = [
        {"role": "system", "content": instructions()},
        {"role": "user", "content": pack_told(row)},
    ]
    while True:
        said = reply(told).strip()
        words = said.split()
        if words and all(word in ID for word in words) and words[0].startswith("cause:"):
            for word in words:
                trace.say(ID[word])
            if not trace.done:
                raise Refused("the verdict is not whole")
            return trace, asking
        if len(words) != 1 or not words[0].startswith("ask:") or words[0] not in ID:
            raise Refused("neither a question nor a verdict")
        place = ID[words[0]] - FIRST_QUERY
        if not asking.may_ask()[0, place]:
            raise Refused("a question that may not be asked here")
        asking.ask(np.array([place]))
        trace.ask(place, int(asking.cells[0, -1]))
        numbers = [f"{n.name}={value:.3g}" for n, value in zip(ANSWERS[QUERIES[place].family], np.sinh(asking.answers[0, -1]), strict=True)]
        told += [{"role": "assistant", "content": words[0]}, {"role": "user", "content": " ".join(numbers).replace("nan", "unknown")}]


def interviews(reply: Reply, rows: NDArray[np.void]) -> tuple[list[tuple[Trace, Asking]], Tally]:
    """Conversations about each row; those with the right cause are kept."""
    kept, tally = [], Tally()
    for i in range(len(rows)):
        try:
            trace, asking = interview(reply, rows[i : i + 1])
        except Refused as why:
            tally.invalid[str(why)] += 1
            continue
        if CAUSES.index(trace.cause) != int(rows["cause"][i]):
            tally.wrong += 1
            continue
        tally.accepted += 1
        kept.append((trace, asking))
    return kept, tally


def open_teacher(name: str, temperature: float = 0.7, seed: int = 0) -> Reply:
    """``hf:PATH`` or ``openai:URL`` (URL ends before /chat/completions; ``openai:URL#MODEL`` names the model). Raises ConfigError, ModelError."""
    kind, _, where = name.partition(":")
    if kind == "hf" and where:
        return local_model(where, temperature, seed)
    if kind == "openai" and where:
        url, _, model = where.partition("#")
        return server(url, model or "default", temperature, seed)
    raise ConfigError(f"{name!r} is no teacher", where="--teacher", mend="hf:PATH or openai:URL")


def local_model(path: str, temperature: float, seed: int) -> Reply:
    """Raises ModelError."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(path, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        first = (str(error).splitlines() or ["unreadable"])[0]
        raise ModelError(f"is no language model: {first}", where=path, mend="name a folder that transformers can load") from None
    if tokenizer.chat_template is None:
        raise ModelError("has no chat template", where=path, mend="name a model that was taught to chat")
    torch.manual_seed(seed)

    @torch.no_grad()
    def reply(told: list[Message]) -> str:
        ids = tokenizer.apply_chat_template(told, add_generation_prompt=True, return_tensors="pt")
        how: dict[str, Any] = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, pad_token_id=tokenizer.pad_token_id or 0, **how)
        return first_line(str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)))

    return reply


def server(url: str, model: str, temperature: float, seed: int) -> Reply:
    def reply(told: list[Message]) -> str:
        body = {"model": model, "messages": told, "temperature": temperature, "seed": seed, "max_tokens": 4096}
        request = urllib.request.Request(
            url.rstrip("/") + "/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"} | key_header()
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                content = json.load(answer)["choices"][0]["message"]["content"]
        except (urllib.error.URLError, TimeoutError) as error:
            raise ModelError(f"does not answer: {error}", where=url, mend="start the server, or name another") from None
        except (ValueError, KeyError, IndexError, TypeError):
            raise ModelError(
                "answers with something else than a chat completion", where=url, mend="name an OpenAI-compatible URL"
            ) from None
        return first_line(str(content))

    return reply


def key_header() -> dict[str, str]:
    """From OPENAI_API_KEY, where the server wants one."""
    import os

    key = os.environ.get("OPENAI_API_KEY", "")
    return {"Authorization": f"Bearer {key}"} if key else {}


def first_line(text: str) -> str:
    """The reply behind what a reasoning model thought aloud (``<think>...</think>``)."""
    said = text.rpartition("</think>")[2].strip()
    return said.splitlines()[0] if said else ""
