"""A language model as teacher, over a real server's chat: traces in the language are kept, all else is refused and counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from edgebms.errors import ConfigError, ModelError
from edgebms.evidence.queries import OUTLIERS, QUERIES
from edgebms.reasoner.language import CAUSES
from edgebms.vocabulary import Cause
from export.reason.corpus import ROW
from export.reason.text_teacher import interviews, open_teacher

SHORT = CAUSES.index(Cause.INTERNAL_SHORT)
NAMES = QUERIES[OUTLIERS[0]].word
GOOD = [
    f"ask:{NAMES}",
    "<think>it sags\nso ask about it</think>\nask:voltage_deviation.suspect.600s",
    f"cause:internal_short where:{NAMES} severity:warning critical_in:never confidence:8",
]


class Chat(ThreadingHTTPServer):
    """Says ``script`` turn by turn in each conversation; keeps what it was sent."""

    daemon_threads = True

    def __init__(self, script: list[str]) -> None:
        self.script, self.sent = script, list[dict[str, Any]]()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"openai:http://127.0.0.1:{self.server_port}/v1#r1"


class Handler(BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.sent.append(told)
        turn = sum(message["role"] == "assistant" for message in told["messages"])
        said = {"choices": [{"message": {"role": "assistant", "content": self.server.script[turn % len(self.server.script)]}}]}
        body = json.dumps(said if self.path == "/v1/chat/completions" else {"error": "no"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def chat(request: pytest.FixtureRequest) -> Iterator[Chat]:
    with Chat(request.param) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def rows() -> np.ndarray:
    made = np.zeros(3, dtype=ROW)
    made["chemistry"], made["cells"], made["probes"], made["cause"] = "NMC", 16, 4, SHORT
    made["named"] = -1
    made["named"][:, list(OUTLIERS)] = 6
    made["numbers"] = np.arcsinh(-7.5)
    made["of_suspect"] = np.nan
    return made


@pytest.mark.parametrize("chat", [GOOD], indirect=True)
def test_traces_in_the_language_are_kept(chat: Chat, rows: np.ndarray) -> None:
    rows["cause"][2] = CAUSES.index(Cause.HEALTHY)
    kept, tally = interviews(open_teacher(chat.url), rows)
    assert (tally.accepted, tally.wrong, sum(tally.invalid.values())) == (2, 1, 0)
    trace, asking = kept[0]
    assert trace.cause is Cause.INTERNAL_SHORT and trace.cell == 6 and len(trace.asked) == 2
    assert asking.queries.shape == (1, 2)
    assert chat.sent[0]["model"] == "r1"
    answers = [message["content"] for message in chat.sent[2]["messages"] if message["role"] == "user"]
    assert "level=-7.5" in answers[1]
    assert "unknown" in answers[2]


@pytest.mark.parametrize(
    ("chat", "why"),
    [
        (["I think it is a short."], "neither a question nor a verdict"),
        (["ask:voltage_deviation.suspect.600s"], "a question that may not be asked here"),
        ([f"ask:{NAMES}"], "a question that may not be asked here"),
        (["cause:internal_short where:pack"], "the verdict is not whole"),
        (["cause:healthy where:pack severity:critical critical_in:never confidence:8"], "severity:critical may not stand here"),
        ([""], "neither a question nor a verdict"),
    ],
    indirect=["chat"],
)
def test_what_leaves_the_language_is_refused_and_counted(chat: Chat, why: str, rows: np.ndarray) -> None:
    kept, tally = interviews(open_teacher(chat.url), rows)
    assert not kept
    assert dict(tally.invalid) == {why: 3}


@pytest.mark.parametrize("chat", [GOOD], indirect=True)
def test_a_server_of_another_kind_is_an_error_with_its_mend(chat: Chat, rows: np.ndarray) -> None:
    with pytest.raises(ModelError, match="something else than a chat completion"):
        interviews(open_teacher(chat.url.replace("/v1", "/v2")), rows)
    with pytest.raises(ModelError, match="does not answer"):
        interviews(open_teacher("openai:http://127.0.0.1:9/v1"), rows)
    with pytest.raises(ConfigError, match="is no teacher"):
        open_teacher("r1")
