"""The status page of ``edgebms demo --page``: the same page as on a gateway, fed by the recording."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from edgebms.config import Config, page_at
from edgebms.decision.types import Decision, encode
from edgebms.outlet.page import Page
from edgebms.outlet.served import Served

LOOK_S = 60.0
"""The recording begins when somebody looks, or after this time."""


class DemoPage:
    """A context around the demo. Raises ConfigError where ``listen`` is no address."""

    def __init__(self, listen: str, config: Config) -> None:
        self._page = Page(page_at(listen, "--page"), config.pack, asked_in_vain)
        self._served = Served("page", self._page)

    def __enter__(self) -> DemoPage:
        print(f"Open {self._page.where} in a browser: the recording begins then. Ctrl-C ends it.", file=sys.stderr)
        self._page.notice = "This is a recording, shown faster than it was made. Nobody acts on its commands."
        begun_s = time.monotonic()
        while not self._page.viewers and time.monotonic() - begun_s < LOOK_S:
            time.sleep(0.1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._served.close()

    def offer(self, decision: Decision) -> None:
        self._served.offer(decision, encode(decision))

    def stay(self) -> None:
        """Until Ctrl-C, if anybody looks."""
        self._page.notice = "The recording has ended: this is its last moment. Start edgebms demo --page again to see it anew."
        print(f"The recording has ended. The page stays at {self._page.where} while somebody looks.", file=sys.stderr)
        while self._page.viewers:
            time.sleep(0.5)


def asked_in_vain(pack: str) -> None:
    """The demo's decisions carry each cell's values anyway."""
    del pack
