"""What a client learns of what is lost, sends again, and hands to a later process."""

from __future__ import annotations

from itertools import groupby

import anyio
import pytest

import statews
from statews import (
    Change,
    Delivery,
    DeliveryError,
    Gap,
    Latest,
    LinkClosed,
    MemoryStore,
    Outbox,
    ReceiptState,
    Reset,
    Session,
    SessionLimits,
    State,
    UsageError,
)
from statews.testing import Network

from .world import Desk, connect, go_missing, serve, steady

pytestmark = pytest.mark.statews(limit=5000)

KEEPING = steady(outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE))


async def test_what_is_for_the_link_alone_is_volatile(statews_network: Network) -> None:
    desk = Desk()
    async with serve(desk.handle), connect() as connection:
        receipt = await connection.send("now", link_only=True)
        await receipt.wait_acknowledged()
        assert desk.heard == ["now"]
        async with go_missing(statews_network):
            late = await connection.send("never", link_only=True)
            assert late.state is ReceiptState.DROPPED
        await connection.wait_for(State.OPEN)
        await anyio.sleep(1)
        assert desk.heard == ["now"]


async def test_what_was_for_a_link_that_is_lost_is_in_doubt(statews_network: Network) -> None:
    async with serve(Desk().handle), connect() as connection:
        statews_network.freeze()
        receipt = await connection.send("now", link_only=True)
        statews_network.thaw()
        statews_network.reset()
        with pytest.raises(DeliveryError, match="in doubt"):
            await receipt.wait_acknowledged()


# What is lost.


async def test_everything_is_told_in_one_order(statews_network: Network) -> None:
    limits = SessionLimits(messages=2, time_to_live=30)
    async with serve(limits=limits) as server, connect() as connection:
        events = connection.events()
        (session,) = server.sessions.values()
        await session.send("before")
        await anyio.sleep(1)
        async with go_missing(statews_network):
            for number in range(4):
                await session.send(str(number))
        await connection.wait_for(State.OPEN)
        await anyio.sleep(1)
        async with go_missing(statews_network):
            await anyio.sleep(40)
        await connection.wait_for(State.OPEN)
        (session,) = server.sessions.values()
        await session.send("after")
        seen: list[str] = []
        with anyio.move_on_after(5):
            async for event in events:
                seen.append(name_of(event))  # noqa: PERF401 - it would be cancelled as a whole
    # What came in one piece with a welcome stands before the change that it led to.
    told = [each for each in seen if each not in ("connecting", "open")]
    assert [each for each, _ in groupby(told)] == [
        "before",
        "backing-off",
        "gap (1, 4)",
        "2",
        "3",
        "backing-off",
        "reset",
        "after",
    ]


def name_of(event: object) -> str:
    match event:
        case Change():
            return str(event.now.state)
        case Gap():
            return f"gap {event.after, event.before}"
        case Reset():
            return "reset"
        case _:
            return str(event)


@pytest.mark.parametrize("delivery", Delivery)
async def test_after_a_reset_what_is_in_doubt_is_sent_again_or_reported(
    statews_network: Network, delivery: Delivery
) -> None:
    desk = Desk()

    async def handler(session: Session) -> None:
        if not desk.sessions:
            desk.sessions.append(session)
            await anyio.sleep_forever()
        await desk.handle(session)

    policy = steady(outbox=Outbox(delivery=delivery))
    limits = SessionLimits(time_to_live=10)
    async with serve(handler, limits=limits), connect(policy=policy) as connection:
        written = await connection.send("written")
        await anyio.sleep(1)
        async with go_missing(statews_network):
            queued = await connection.send("queued")
            await anyio.sleep(20)
        assert await queued.wait_settled() is ReceiptState.ACKNOWLEDGED
        await anyio.sleep(1)
    if delivery is Delivery.AT_LEAST_ONCE:
        assert written.state is ReceiptState.ACKNOWLEDGED
        assert desk.heard == ["written", "queued"]
    else:
        assert written.state is ReceiptState.IN_DOUBT
        assert desk.heard == ["queued"]


async def test_strategies_fetch_exactly_where_something_is_gone(
    statews_network: Network,
) -> None:
    asked: list[float] = []

    async def handler(session: Session) -> None:
        async for message in session:
            assert message == "latest?"
            asked.append(anyio.current_time())
            await session.send('{"version": 1}')

    limits = SessionLimits(messages=3, time_to_live=60)
    latest = Latest[dict[str, int]]("latest?", version=lambda parsed: parsed["version"])
    async with serve(handler, limits=limits) as server, connect(sync=latest) as connection:
        await anyio.sleep(1)
        assert len(asked) == 1  # a new session
        async with go_missing(statews_network):
            pass
        await connection.wait_for(State.OPEN)
        await anyio.sleep(1)
        assert len(asked) == 1  # resumed
        async with go_missing(statews_network):
            (session,) = server.sessions.values()
            for _ in range(5):
                await session.send('{"version": 0}')
        await connection.wait_for(State.OPEN)
        await anyio.sleep(1)
        assert len(asked) == 2  # a gap
        async with go_missing(statews_network):
            await anyio.sleep(100)
        await connection.wait_for(State.OPEN)
        await anyio.sleep(1)
        assert len(asked) == 3  # a reset


# Processes.


async def test_a_later_process_is_given_again_what_was_not_handled() -> None:
    store = MemoryStore()
    async with serve() as server:
        async with connect(store=store, policy=KEEPING) as connection:
            sid = connection.session or ""
            for text in ("one", "two", "three"):
                await server.send(sid, text)
            assert await connection.receive() == "one"
            assert await connection.receive() == "two"
            assert connection.redelivered is False
        assert list(server.sessions) == [sid]
        async with connect(store=store, policy=KEEPING) as connection:
            assert connection.session == sid
            assert await connection.receive() == "two"
            assert connection.redelivered is True
            assert await connection.receive() == "three"
            assert connection.redelivered is False


async def test_what_was_sent_and_not_handled_is_sent_by_the_next_process() -> None:
    store = MemoryStore()
    desk = Desk()
    async with connect(store=store, policy=KEEPING, wait=False) as connection:
        await connection.send("one")
        await connection.send("two")
    async with serve(desk.handle), connect(store=store, policy=KEEPING) as connection:
        await connection.send("three")
        await connection.flush()
    assert desk.heard == ["one", "two", "three"]


async def test_a_store_without_a_session_s_record_is_refused() -> None:
    store = MemoryStore()
    await store.open()
    store.save_position("session", '{"sid": 3}')
    await store.close()
    with pytest.raises(UsageError, match="the store holds a session that is none"):
        await connect(store=store, policy=KEEPING).__aenter__()


# Time.


async def test_to_resume_takes_one_round_trip_after_the_upgrade(
    statews_network: Network,
) -> None:
    statews_network.slow(latency=0.1)
    round_trip = 0.2
    async with serve(), connect() as connection:
        opened = anyio.current_time()
        assert opened == pytest.approx(3 * round_trip)  # TCP, the upgrade, the greetings
        await (await connection.send("x")).wait_acknowledged()
        statews_network.reset()
        await connection.wait_for(State.BACKING_OFF)
        connection.nudge()
        began = anyio.current_time()
        await connection.wait_for(State.OPEN)
        assert anyio.current_time() - began == pytest.approx(3 * round_trip)
        assert connection.session is not None


async def test_a_server_that_restarts_is_found_again_with_a_new_session() -> None:
    async with connect(wait=False, policy=KEEPING) as connection:
        async with serve():
            await connection.connect()
            first = connection.session
        async with serve():
            await connection.connect()
            assert connection.session not in (None, first)
            error = connection.snapshot().last_error
            assert isinstance(error, (LinkClosed, statews.DialError))
