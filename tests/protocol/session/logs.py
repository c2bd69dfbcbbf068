"""Logs with a link, for the tests of what one side has sent."""

from __future__ import annotations

import pytest

from statews.policy import AtLimit, Delivery, Outbox
from statews.protocol.entry import PLAIN, Entry, ReceiptState, Terms
from statews.protocol.plain import Message
from statews.protocol.session import Log, Window

WIDE = Window()
CHAIN = 77  # before the first message

both_ways = pytest.mark.parametrize("is_server", [False, True], ids=["at write", "at put"])


def make_log(
    at_limit: AtLimit = AtLimit.DROP_OLDEST,
    *,
    is_server: bool = False,
    messages: int = 100,
    size_bytes: int = 1000,
    delivery: Delivery = Delivery.AT_LEAST_ONCE,
    window: Window = WIDE,
) -> Log:
    """A log with a link."""
    settings = Outbox(
        messages=messages, size_bytes=size_bytes, at_limit=at_limit, delivery=delivery
    )
    log = Log(settings, is_numbered_at_once=is_server)
    log.chain = CHAIN
    log.resume(0, window)
    return log


def put(log: Log, *messages: Message, terms: Terms = PLAIN) -> list[Entry]:
    entries = [Entry(message, terms) for message in messages]
    for entry in entries:
        assert log.put(entry, 0.0)
    return entries


def write(log: Log, count: int = 1000, *, now: float = 0.0) -> list[tuple[int, Message]]:
    """Hand so many to the link, as the window allows; return them with their numbers."""
    written: list[tuple[int, Message]] = []
    while len(written) < count and log.has_waiting and log.may_write:
        entry = log.next_waiting(now)
        if entry is None:
            break
        log.wrote(entry)
        written.append((log.position, entry.message))
    return written


def track(log: Log, *messages: Message) -> list[Entry]:
    """Write past the queue."""
    entries = [Entry(message) for message in messages]
    for entry in entries:
        log.track(entry)
    return entries


def burst(log: Log, *texts: str) -> None:
    """Write past the queue what needs no entries."""
    for text in texts:
        if log.burst is None:
            log.begin_burst()
        log.track_text(text)


def span(log: Log) -> tuple[int, int]:
    return log.first, log.last


def batch(log: Log) -> list[tuple[int, Message]]:
    """Hand what is short to the link, many at once; return it with its numbers."""
    before, texts = log.write_batch()
    return [*enumerate(texts, before + 1)]


def states(entries: list[Entry]) -> list[ReceiptState]:
    return [entry.state for entry in entries]


class Waiter:
    def __init__(self) -> None:
        self.count = 0

    def set(self) -> None:
        self.count += 1


def watched(entry: Entry) -> Waiter:
    entry.waiter = waiter = Waiter()
    return waiter
