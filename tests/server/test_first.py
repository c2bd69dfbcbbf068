"""What each new session begins with: a subscription that neither lost links nor resets lose."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

import statews
from statews import HookError, Limits, Outbox, Policy, Resume, Session, State, UsageError
from statews.policy import Delivery
from statews.store import MemoryStore
from statews.testing import Network, Way

from .world import SOON, Desk, connect, go_missing, serve, steady

pytestmark = pytest.mark.statews(limit=5000)

SUBSCRIBE = Resume(first=["subscribe", b"and this"])
AGAIN = steady(outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE))


async def test_a_new_session_begins_with_it_and_one_that_is_resumed_does_not(
    statews_network: Network,
) -> None:
    desk = Desk()
    async with serve(desk.handle), connect(session=SUBSCRIBE, wait=False) as connection:
        await connection.send("one")  # waits before there is a link
        await connection.connect()
        await connection.flush()
        async with go_missing(statews_network):
            await connection.send("two")
        await connection.flush()
        await connection.send("three")
        await connection.flush()
    assert desk.heard == ["subscribe", b"and this", "one", "two", "three"]
    assert len(desk.sessions) == 1


async def test_it_comes_before_what_is_sent_again_after_a_reset(statews_network: Network) -> None:
    first, second = Desk(), Desk()
    async with connect(session=SUBSCRIBE, policy=AGAIN, wait=False) as connection:
        async with serve(first.handle):
            await connection.connect()
            await connection.send("one")
            await connection.flush()
            statews_network.freeze(Way.UP)
            await connection.send("two")
        statews_network.thaw()
        await connection.send("three")
        async with serve(second.handle):  # without a store: it knows nothing
            await connection.flush()
    assert first.heard == ["subscribe", b"and this", "one"]
    assert second.heard == ["subscribe", b"and this", "two", "three"]


async def test_it_is_said_again_if_nobody_knows_whether_it_arrived(
    statews_network: Network,
) -> None:
    desk = Desk()
    async with serve(desk.handle) as server, connect(session=SUBSCRIBE, wait=False) as connection:
        await connection.wait_for(State.OPEN)
        statews_network.reset()  # what was just written is gone
        await connection.wait_for(State.BACKING_OFF)
        await connection.wait_for(State.OPEN)
        await connection.send("one")
        await connection.flush()
        assert len(server.sessions) == 1
    assert desk.heard == ["subscribe", b"and this", "one"]
    assert desk.session.links == 2


async def test_a_callable_gives_it_anew_and_may_fail() -> None:
    desk = Desk()
    calls = 0

    async def first() -> Sequence[str]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise LookupError("no token today")
        return [f"token {calls}"]

    async with serve(desk.handle), connect(session=Resume(first=first)) as connection:
        error = connection.snapshot().last_error
        assert isinstance(error, HookError)
        assert isinstance(error.__cause__, LookupError)
        await connection.send("one")
        await connection.flush()
    assert desk.heard == ["token 2", "one"]


async def test_a_process_that_dies_before_it_has_arrived_leaves_it_to_the_next(
    statews_network: Network,
) -> None:
    store, desk = MemoryStore(), Desk()
    async with serve(desk.handle) as server:
        for _ in range(2):
            options = {"session": SUBSCRIBE, "policy": AGAIN, "store": store}
            async with connect(wait=False, **options) as connection:
                await connection.wait_for(State.OPEN)
                statews_network.reset()
                await anyio.sleep(SOON)
        async with connect(session=SUBSCRIBE, policy=AGAIN, store=store) as connection:
            await connection.send("one")
            await connection.flush()
        assert len(server.sessions) == 1
        async with connect(session=SUBSCRIBE, policy=AGAIN, store=store) as connection:
            await connection.send("two")
            await connection.flush()
    assert desk.heard == ["subscribe", b"and this", "one", "two"]


async def test_a_handler_may_answer_it() -> None:
    async def handle(session: Session) -> None:
        assert await session.receive() == "subscribe"
        await session.send("subscribed")
        await session.receive()

    async with serve(handle), connect(session=SUBSCRIBE) as connection:
        assert await connection.receive() == "subscribed"


@pytest.mark.parametrize("first", ["subscribe", b"subscribe", [1], [None]])
def test_it_has_to_be_messages(first: object) -> None:
    with pytest.raises(UsageError, match=r"Resume\.first must be messages"):
        Resume(first=first)  # type: ignore[arg-type]


async def test_what_a_callable_gives_has_to_be_messages() -> None:
    async def first() -> Sequence[str]:
        return [7]  # type: ignore[list-item]

    policy = Policy()
    async with serve(), connect(session=Resume(first=first), policy=policy, wait=False) as client:
        with pytest.raises(statews.ConnectionFailed, match="must give messages, got \\[7\\]"):
            await client.wait_for(State.OPEN)


@pytest.mark.parametrize("way", ["fails", "hangs"])
async def test_one_that_fails_in_a_new_session_is_asked_for_again(way: str) -> None:
    calls = 0

    async def first() -> Sequence[str]:
        nonlocal calls
        calls += 1
        if calls == 2 and way == "fails":
            raise LookupError
        if calls == 2:
            await anyio.sleep_forever()
        return ["subscribe"]

    desk, again = Desk(), Desk()
    async with connect(session=Resume(first=first), policy=AGAIN, wait=False) as connection:
        async with serve(desk.handle):
            await connection.send("one")
            await connection.flush()
        async with serve(again.handle):
            await connection.send("two")
            await connection.flush()
    assert desk.heard == ["subscribe", "one"]
    assert again.heard == ["subscribe", "two"]


async def test_one_that_the_server_does_not_take_fails() -> None:
    server_policy = steady(limits=Limits(message_bytes=1000))
    first = Resume(first=["x" * 2000])
    async with serve(policy=server_policy), connect(session=first, wait=False) as connection:
        with pytest.raises(statews.ConnectionFailed, match="takes messages of 1000 bytes"):
            await connection.wait_for(State.OPEN)
