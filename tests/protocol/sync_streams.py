"""What the tests of the strategies share: messages, servers, and a driver."""

from __future__ import annotations

import json
from collections.abc import Callable

from statews.protocol.plain import Message
from statews.protocol.sync import Delivery, Gap, Output, Page, Reset, Strategy

Fields = dict[str, object]


def text(**fields: object) -> str:
    return json.dumps(fields)


def read(message: Message) -> Fields:
    loaded: Fields = json.loads(message)
    return loaded


def page_of(fields: Fields) -> Page | None:
    """Reads what `page` writes; the items are written anew."""
    items = fields.get("page")
    if not isinstance(items, list):
        return None
    key = fields.get("of")
    return Page(
        [json.dumps(item) for item in items],
        more=bool(fields.get("more")),
        gone=bool(fields.get("gone")),
        key=key if isinstance(key, str) else None,
    )


def page(*items: Fields, more: bool = False, gone: bool = False, of: str | None = None) -> str:
    return text(page=list(items), more=more, gone=gone, of=of)


class Client:
    """Drives a strategy with a clock, and writes down what it wants."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.now = 100.0
        self.asked: list[Message] = []
        self.out: list[Output] = []

    def begin(self) -> None:
        self.strategy.begin(self.now)
        self.collect()

    def take(self, *messages: Message) -> list[bool]:
        taken: list[bool] = []
        for message in messages:
            taken.append(self.strategy.take(message, self.now))
            self.collect()
        return taken

    def wait(self, seconds: float = 10.0) -> None:
        self.now += seconds
        if self.strategy.deadline <= self.now:
            self.strategy.expire(self.now)
            self.collect()

    def repeat(self) -> None:
        self.strategy.repeat(self.now)
        self.collect()

    def miss(self) -> None:
        self.strategy.miss(self.now)
        self.collect()

    def prolong(self) -> None:
        self.strategy.prolong(self.now)
        self.collect()

    def end(self) -> None:
        self.strategy.end()
        self.collect()

    def collect(self) -> None:
        requests, outputs = self.strategy.drain()
        self.asked += requests
        self.out += outputs

    def requests(self) -> list[object]:
        """What was asked since the last time, loaded."""
        asked, self.asked = self.asked, []
        return [json.loads(request) for request in asked]

    def outputs(self, show: Callable[[Fields], object]) -> list[object]:
        """What came out since the last time: what `show` makes of a message, gaps and resets."""
        out, self.out = self.out, []
        return [show(read(x.message)) if isinstance(x, Delivery) else brief(x) for x in out]

    def handle(self) -> None:
        """The application handles all that came out; what it shows is then empty."""
        out, self.out = self.out, []
        for output in out:
            if isinstance(output, Delivery):
                self.strategy.handled(output.mark)


def brief(loss: Gap | Reset) -> tuple[object, ...]:
    if isinstance(loss, Reset):
        return ("reset",) if loss.key is None else ("reset", loss.key)
    ends = loss.after, loss.before
    return ("gap", *ends) if loss.key is None else ("gap", loss.key, *ends)
