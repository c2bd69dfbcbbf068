"""The client's half of a session, with servers that speak `statews.v1` and with others."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import statews
from statews import (
    Change,
    ConnectionFailed,
    Delivery,
    Link,
    OnMissing,
    Outbox,
    ReceiptState,
    Reset,
    Resume,
    Session,
    SessionLimits,
    SessionMissing,
    State,
    UsageError,
    Window,
)
from statews.client.sender import Sender
from statews.testing import Network

from .world import HOST, SOON, Desk, connect, go_missing, seen_by, serve, steady

pytestmark = pytest.mark.statews(limit=5000)

KEEPING = steady(outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE))


async def link_echo(link: Link) -> None:
    async for message in link:
        await link.send(message)


# Servers that do not speak it.


async def test_with_a_plain_server_everything_is_as_without_a_session(
    statews_network: Network,
) -> None:
    opened: list[str | None] = []

    async def hook(link: Link) -> None:
        opened.append(link.subprotocol)

    async with (
        statews.listen(link_echo, HOST, 80, subprotocols=["chat"]),
        connect(on_open=hook, subprotocols=["chat"], policy=KEEPING) as connection,
    ):
        assert connection.session is None
        assert connection.subprotocol == "chat"
        await (await connection.send("x")).wait_acknowledged()
        assert await connection.receive() == "x"
        statews_network.reset()
        receipt = await connection.send("over the next link")
        assert await connection.receive() == "over the next link"
        await connection.flush()
        assert receipt.state is ReceiptState.ACKNOWLEDGED
        assert connection.redelivered is False
    assert opened == ["chat", "chat"]


async def test_where_a_session_is_wanted_a_plain_server_is_a_failure_at_once(
    statews_network: Network,
) -> None:
    session = Resume(on_missing=OnMissing.FAIL)
    async with statews.listen(link_echo, HOST, 80):
        with pytest.raises(ConnectionFailed, match=r"does not speak statews\.v1") as caught:
            await connect(session=session).__aenter__()
    assert [type(error) for error in caught.value.history] == [SessionMissing]
    assert len(statews_network.dials) == 1
    assert anyio.current_time() < 1


async def test_a_session_ends_with_a_server_that_speaks_it_no_more() -> None:
    async with connect(wait=False) as connection:
        async with serve():
            await connection.connect()
            await connection.send("in doubt")
            assert connection.session is not None
        async with statews.listen(link_echo, HOST, 80):
            await connection.connect()
            assert connection.session is None
            await connection.send("plain")
            seen = await seen_by(connection, 5)
            assert seen == [
                Reset(
                    stream="session",
                    key=None,
                    reason="the server does not speak statews.v1 any more",
                ),
                "plain",
            ]


async def test_no_hook_runs_on_a_link_of_a_session() -> None:
    ran: list[Link] = []

    async def hook(link: Link) -> None:
        ran.append(link)

    async with serve(), connect(on_open=hook):
        assert ran == []


async def test_a_change_is_told_at_once_though_no_message_comes() -> None:
    async with serve(), connect() as connection:
        await connection.send("x")
        assert await connection.receive() == "x"  # from now on the caller reads the link itself
        events = connection.events()
        event = await anext(events)
        assert isinstance(event, Change)
        assert event.event == "settled"
        assert anyio.current_time() == pytest.approx(10)  # as `stable_after` says


async def test_what_a_session_must_be_is_said() -> None:
    wrong: Any
    for wrong in ({"on_missing": "plain!"}, {"window": 3}):
        with pytest.raises(UsageError, match=r"Resume\.\w+ must be one of"):
            Resume(**wrong)
    acknowledged = statews.Acknowledged(id=str, acked=str)
    outbox = Outbox(acknowledged=acknowledged, delivery=Delivery.AT_LEAST_ONCE)
    with pytest.raises(UsageError, match="a session has acknowledgements of its own"):
        connect(policy=steady(outbox=outbox))


# Acknowledgements.


async def test_a_message_is_acknowledged_when_the_handler_asks_for_the_next_one() -> None:
    async def handler(session: Session) -> None:
        async for _ in session:
            await anyio.sleep(5)

    async with serve(handler), connect() as connection:
        began = anyio.current_time()
        receipt = await connection.send("x")
        await anyio.sleep(4)
        assert receipt.state is ReceiptState.WRITTEN
        await receipt.wait_acknowledged()
        assert anyio.current_time() - began == pytest.approx(5.0, abs=0.01)


async def test_a_handler_may_acknowledge_before_it_asks_for_the_next_one() -> None:
    async def handler(session: Session) -> None:
        async for _ in session:
            await session.acknowledge()
            await anyio.sleep(50)

    async with serve(handler), connect() as connection:
        await (await connection.send("x")).wait_acknowledged()
        assert anyio.current_time() < 1


async def test_an_acknowledgement_goes_alone_after_200_milliseconds() -> None:
    async with serve(Desk().handle), connect() as connection:
        receipt = await connection.send("x")
        states: list[ReceiptState] = []
        for seconds in (0.19, 0.02):
            await anyio.sleep(seconds)
            states.append(receipt.state)
        assert states == [ReceiptState.WRITTEN, ReceiptState.ACKNOWLEDGED]


async def test_an_acknowledgement_rides_on_what_is_sent() -> None:
    async def handler(session: Session) -> None:
        await session.receive()
        await session.acknowledge()
        await session.send("answer")
        await session.receive()

    async with serve(handler), connect() as connection:
        receipt = await connection.send("x")
        assert await connection.receive() == "answer"
        assert receipt.state is ReceiptState.ACKNOWLEDGED
        assert anyio.current_time() < 0.1


async def test_a_quarter_of_the_window_is_acknowledged_at_once() -> None:
    limits = SessionLimits(window=Window(40))
    async with serve(Desk().handle, limits=limits), connect() as connection:
        receipts = [await connection.send(str(number)) for number in range(10)]
        await anyio.sleep(0.01)
        assert [receipt.state for receipt in receipts] == ["acknowledged"] * 10


async def test_who_waits_for_an_acknowledgement_asks_for_it_at_once() -> None:
    async with serve(Desk().handle), connect() as connection:
        await (await connection.send("x")).wait_acknowledged()
        assert anyio.current_time() < 0.1


async def test_flush_waits_for_everything_that_was_sent(statews_network: Network) -> None:
    desk = Desk()
    async with serve(desk.handle), connect() as connection:
        async with go_missing(statews_network):
            for number in range(100):
                await connection.send(str(number))
        await connection.flush()
        assert desk.heard == [str(number) for number in range(100)]


async def test_a_clean_close_acknowledges_what_was_handled() -> None:
    async with serve(Desk().handle) as server, connect() as connection:
        (session,) = server.sessions.values()
        await session.send("x")
        assert await connection.receive() == "x"
        with anyio.move_on_after(0.1):
            await connection.receive()
        await connection.close(1001)
        await anyio.sleep(SOON)
        assert session.peer.log.acknowledged == 1
        assert len(server.sessions) == 1


# Windows.


async def test_an_application_that_never_reads_holds_up_neither_acks_nor_heartbeats() -> None:
    async def handler(session: Session) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(pour, session)
            async for _ in session:
                pass

    async def pour(session: Session) -> None:
        while True:
            await session.send("x" * 1000)

    async with serve(handler) as server, connect() as connection:
        for _ in range(10):
            await anyio.sleep(100)
            with anyio.fail_after(1):
                await (await connection.send("still there")).wait_acknowledged()
        (session,) = server.sessions.values()
        assert session.links == 1
        intake = connection._driver.sender.intake
        assert intake is not None
        assert len(intake.feed) <= 1024


async def test_a_handler_that_never_reads_holds_up_nothing_but_what_it_has_to_handle() -> None:
    async def handler(session: Session) -> None:
        while True:
            await anyio.sleep(100)
            await session.send("still here")

    policy = steady(outbox=Outbox(messages=50))
    limits = SessionLimits(window=Window(10))
    async with serve(handler, policy=policy, limits=limits) as server, connect() as connection:
        receipts = [await connection.send(str(number)) for number in range(50)]
        for _ in range(10):
            assert await connection.receive() == "still here"
        (session,) = server.sessions.values()
        assert session.links == 1
        assert [receipt.state for receipt in receipts] == ["written"] * 10 + ["queued"] * 40


async def test_a_window_of_one_message_is_enough_for_everything(
    statews_network: Network,
) -> None:
    heard: list[object] = []

    async def handler(session: Session) -> None:
        for number in range(50):
            await session.send(str(number))
            heard.append(await session.receive())
        await session.receive()

    limits = SessionLimits(window=Window(1, 1))
    session = Resume(window=Window(1, 1))
    async with serve(handler, limits=limits), connect(session=session) as connection:
        for number in range(50):
            assert await connection.receive() == str(number)
            await connection.send(f"re: {number}")
            if number % 10 == 5:
                statews_network.reset()
        await connection.flush()
    assert heard == [f"re: {number}" for number in range(50)]


async def test_who_waits_for_a_written_message_sleeps_though_its_time_is_over(
    statews_network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = 0

    async def deaf(_: Session) -> None:
        await anyio.sleep_forever()

    def expire(sender: Sender) -> None:
        nonlocal rounds
        rounds += 1
        assert rounds < 10
        sender.queue.expire(anyio.current_time())

    monkeypatch.setattr(Sender, "expire", expire)
    async with serve(deaf), connect(policy=KEEPING) as connection:
        receipt = await connection.send("x", time_to_live=0.5)
        await anyio.sleep(SOON)
        async with go_missing(statews_network):
            with anyio.move_on_after(3):
                await receipt.wait_settled()
            assert receipt.state is ReceiptState.QUEUED
            assert rounds == 2


async def test_flushing_waits_for_what_is_for_the_link_alone(statews_network: Network) -> None:
    desk = Desk()
    statews_network.slow(latency=1)
    async with serve(desk.handle), connect() as connection:
        began = anyio.current_time()
        receipt = await connection.send("volatile", link_only=True)
        await connection.flush()
        assert receipt.state is ReceiptState.ACKNOWLEDGED
        assert desk.heard == ["volatile"]
        assert anyio.current_time() - began == pytest.approx(2, abs=0.1)
        lost = await connection.send("lost", link_only=True)
        async with anyio.create_task_group() as group:
            group.start_soon(connection.flush)
            await anyio.sleep(SOON)
            statews_network.reset()
        assert lost.state is ReceiptState.IN_DOUBT


async def test_what_comes_with_a_link_follows_the_change_that_it_is_open() -> None:
    async def handler(session: Session) -> None:
        await session.send("first")
        await anyio.sleep_forever()

    seen: list[object] = []
    async with connect(wait=False) as connection:
        events = connection.events()

        async def see(count: int) -> None:
            for _ in range(count):
                event = await anext(events)
                seen.append(event.now.state if isinstance(event, Change) else event)

        for _ in range(2):
            async with serve(handler):
                while not seen or seen[-1] != "first":
                    await see(1)
            await see(1)
    reset = Reset(stream="session", key=None, reason="the server does not know it any more")
    assert seen[:2] == [State.OPEN, "first"]
    assert seen[-4:] == [State.OPEN, reset, "first", State.BACKING_OFF]
