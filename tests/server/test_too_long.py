"""A server of sessions that takes less than it says: what is too long for it is skipped."""

from __future__ import annotations

import anyio
import pytest

from statews import (
    Delivery,
    Gap,
    Limits,
    MemoryStore,
    Outbox,
    Policy,
    ReceiptState,
    Session,
    State,
)
from statews.server import reception
from statews.testing import Network

from .world import SOON, Desk, connect, serve, steady

pytestmark = pytest.mark.statews(limit=5000)

KEEPING = steady(outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE))
SAYS = Policy(limits=Limits(message_bytes=10_000))
LONG = "x" * 5000
REFUSED = "the peer closed the link with 1009: it takes no message of 5000 bytes"


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "LONGEST_HEADER", 1000 - 10_000)


class Busy(Desk):
    """Takes five seconds for the first message."""

    async def handle(self, session: Session) -> None:
        await anyio.sleep(0 if self.sessions else 5)
        await super().handle(session)


@pytest.mark.parametrize("has_store", [False, True])
@pytest.mark.parametrize("is_busy", [False, True])
async def test_the_number_of_what_the_server_does_not_take_is_skipped(
    statews_network: Network, has_store: bool, is_busy: bool
) -> None:
    desk, store = Busy() if is_busy else Desk(), MemoryStore()
    async with serve(desk.handle, policy=SAYS):
        options = {"store": store} if has_store else {}
        async with connect(policy=KEEPING, **options) as connection:
            sid = connection.session
            statews_network.freeze()
            sent = [await connection.send(text) for text in ("a", LONG, "b")]
            statews_network.thaw()
            await connection.wait_for(State.BACKING_OFF)
            assert (sent[1].state, sent[1].reason) == (ReceiptState.DROPPED, REFUSED)
            await connection.flush()
            await (await connection.send("c")).wait_acknowledged()
            assert connection.session == sid
            assert sent[1].state is ReceiptState.DROPPED
            assert [sent[0].state, sent[2].state] == [ReceiptState.ACKNOWLEDGED] * 2
    reason = "the client has dropped them"
    gap = Gap(stream="session", key=None, after=1, before=3, reason=reason)
    assert desk.heard == ["a", gap, "b", "c"]
    assert (await store.open()).messages == []


async def test_a_message_for_the_link_alone_may_be_what_is_too_long() -> None:
    desk = Desk()
    async with serve(desk.handle, policy=SAYS), connect(policy=KEEPING) as connection:
        volatile = await connection.send(LONG, link_only=True)
        receipt = await connection.send("a")
        await receipt.wait_acknowledged()
        assert (volatile.state, volatile.reason) == (ReceiptState.DROPPED, REFUSED)
        await anyio.sleep(SOON)
    assert desk.heard == ["a"]


async def test_in_the_next_session_nothing_is_skipped(statews_network: Network) -> None:
    desk: Desk = Busy()
    async with connect(policy=KEEPING, wait=False) as connection:
        async with serve(desk.handle, policy=SAYS):
            await connection.connect()
            statews_network.freeze()
            sent = [await connection.send(text) for text in ("a", LONG, "b")]
            statews_network.thaw()
            await connection.wait_for(State.BACKING_OFF)
        desk = Desk()
        async with serve(desk.handle, policy=SAYS):
            await connection.flush()
            await (await connection.send("c")).wait_acknowledged()
        assert sent[1].state is ReceiptState.DROPPED
    assert desk.heard == ["a", "b", "c"]
