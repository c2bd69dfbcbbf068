"""Two sides of a session, whatever happens to their links."""

from __future__ import annotations

import math
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from statews.protocol.plain import Message
from statews.protocol.session import Window, misfit

from .sides import Notes, make_peer, send


class Side:
    """One side, its application, and what is on its way to it."""

    def __init__(self, *, is_server: bool, is_stored: bool, window: Window) -> None:
        self.peer = make_peer(window=window, messages=6, is_server=is_server, is_stored=is_stored)
        self.window = window
        self.notes = Notes()
        self.sent = self.refused = 0
        self.coming: deque[Message] = deque()
        self.handled: list[int] = []

    def send(self) -> None:
        self.sent += 1
        send(self.peer, f"{self.sent}" if self.sent % 3 else b"%d" % self.sent)

    def be_refused(self) -> None:
        self.refused += self.peer.log.refuse_longest()

    def write(self, other: Side, count: int) -> None:
        while count and (frame := self.peer.next_frame(0.0, math.inf)) is not None:
            other.coming.append(frame)
            count -= 1

    def take(self, count: int) -> None:
        some = deque(self.coming.popleft() for _ in range(min(count, len(self.coming))))
        self.peer.take(some, self.notes)

    def handle(self) -> None:
        if not self.notes.events:
            return
        event = self.notes.events.pop(0)
        cursor = self.peer.cursor
        if event[0] == "lost":
            assert event[1] == cursor.rx
            assert isinstance(event[2], int)
            assert isinstance(event[3], int)
            cursor.passed(event[2], event[3])
        else:
            assert isinstance(event[0], (str, bytes))
            assert event[1] == cursor.rx + 1
            cursor.handled(event[0])
            self.handled.append(int(event[0]))

    def acknowledge(self, other: Side) -> None:
        frame = self.peer.acknowledgement()
        if frame is not None:
            other.coming.append(frame)


def connect(client: Side, server: Side) -> None:
    for side in (client, server):
        side.coming.clear()
        side.peer.suspend()
    hello = client.peer.greet()
    assert misfit(server.peer, hello) is None
    welcome = server.peer.greet()
    server.peer.resume(hello, client.window)
    assert misfit(client.peer, welcome) is None
    client.peer.resume(welcome, server.window)


steps = st.tuples(
    st.booleans(),
    st.sampled_from(
        ["send", "send", "write", "take", "handle", "say", "save", "ask", "connect", "refuse"]
    ),
    st.integers(1, 4),
)


def step(side: Side, other: Side, what: str, count: int) -> None:
    match what:
        case "send":
            side.send()
        case "write":
            side.write(other, count)
        case "take":
            side.take(count)
        case "handle":
            side.handle()
        case "say":
            side.acknowledge(other)
        case "save":
            side.peer.cursor.saved(side.peer.cursor.rx, side.peer.cursor.chain)
        case _:
            side.peer.ask()


@given(
    script=st.lists(steps, max_size=60),
    is_stored=st.booleans(),
    window=st.builds(Window, st.integers(1, 4), st.integers(1, 6)),
)
def test_over_any_links_each_message_is_handled_once_in_order_or_known_to_be_lost(
    script: list[tuple[bool, str, int]], is_stored: bool, window: Window
) -> None:
    client = Side(is_server=False, is_stored=is_stored, window=window)
    server = Side(is_server=True, is_stored=is_stored, window=window)
    connect(client, server)
    for is_client, what, count in script:
        side, other = (client, server) if is_client else (server, client)
        if what in ("connect", "refuse"):
            if what == "refuse":
                side.be_refused()
            connect(client, server)
        else:
            step(side, other, what, count)
    connect(client, server)
    for _ in range(40):  # at rest nothing is left
        for side, other in ((client, server), (server, client)):
            for what in ("write", "take", "handle", "save", "say"):
                step(side, other, what, 9)
    for side, other in ((client, server), (server, client)):
        assert side.handled == sorted(set(side.handled))
        lost = other.sent - len(side.handled)
        assert 0 <= lost <= max(0, other.sent - 6) + other.refused
        assert len(other.peer.log) == 0
        assert other.peer.log.last == side.peer.cursor.rx
        assert other.peer.log.chain == side.peer.cursor.chain
