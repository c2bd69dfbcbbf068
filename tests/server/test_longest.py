"""What is longer than the other side takes: refused where that is known, else an exact gap."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
import pytest

from statews import (
    Connection,
    Delivery,
    DeliveryError,
    Gap,
    Limits,
    MemoryStore,
    Outbox,
    Policy,
    ReceiptState,
    Session,
    SessionLimits,
    State,
    UsageError,
)
from statews.protocol.envelope import LARGEST
from statews.testing import Network

from .test_sending import lost
from .world import SOON, Desk, connect, dialled, go_missing, only, seen_by, serve, steady

pytestmark = pytest.mark.statews(limit=5000)

SHORT = 1000  # bytes that who takes little takes
FITS, TOO_LONG = "x" * SHORT, "y" * (SHORT + 100)
TOO_LONG_IN_UTF_8 = "é" * (SHORT // 2 + 50)
REFUSED = "^the client takes messages of 1000 bytes, got 1100$"


def taking(message_bytes: int) -> Policy:
    outbox = Outbox(delivery=Delivery.AT_LEAST_ONCE)
    return steady(outbox=outbox, limits=Limits(message_bytes=message_bytes))


LITTLE, MUCH = taking(SHORT), taking(100 * SHORT)

SENDINGS: list[Callable[[Session, str | bytes], object]] = [
    lambda session, message: session.put(message),
    lambda session, message: session.set("slot", message),
    lambda session, message: session.send_volatile(message),
]


async def refuse(session: Session) -> None:
    for message in (TOO_LONG, TOO_LONG.encode(), TOO_LONG_IN_UTF_8):
        for send in SENDINGS:
            with pytest.raises(UsageError, match=REFUSED):
                send(session, message)
        with pytest.raises(UsageError, match=REFUSED):
            await session.send(message)


async def test_what_is_longer_than_the_client_takes_is_refused_at_once(
    statews_network: Network,
) -> None:
    limits = SessionLimits(hibernate_after=1)
    async with serve(limits=limits) as server, connect(policy=LITTLE) as connection:
        session = only(server)
        assert session.largest == SHORT
        await refuse(session)
        with pytest.raises(UsageError, match=REFUSED):
            await server.send(session.id, TOO_LONG)
        await session.send(FITS)
        assert await seen_by(connection) == [FITS]
        async with go_missing(statews_network):
            await refuse(session)
            await anyio.sleep(2)
            assert session.is_asleep
            await refuse(session)
            assert session.is_asleep
            assert session.largest == SHORT
            await session.send(FITS)
        assert await seen_by(connection, 10) == [FITS]
        assert session.links == 2


async def test_a_client_that_does_not_say_what_it_takes_takes_everything() -> None:
    async with serve() as server, dialled() as speaker:
        await speaker.greet()
        session = only(server)
        assert session.largest == LARGEST
        await session.send("x" * 100_000)
        assert len(await speaker.hear()) == 100_003


async def test_a_broadcast_passes_over_whoever_does_not_take_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve() as server, connect(policy=LITTLE) as one, connect(policy=MUCH) as other:
        with caplog.at_level(logging.WARNING, "statews.server"):
            assert server.broadcast(TOO_LONG) == 1
        warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
        why = "the client takes messages of 1000 bytes, got 1100"
        said = [f"session {one.session} is not sent a broadcast: {why}"]
        assert [record.getMessage() for record in warnings] == said
        assert server.broadcast(FITS) == 2
        assert await seen_by(one) == [FITS]
        assert await seen_by(other) == [TOO_LONG, FITS]


@pytest.mark.parametrize("is_written", [True, False])
async def test_a_client_that_takes_less_than_before_is_told_of_a_gap_and_goes_on(
    statews_network: Network, is_written: bool
) -> None:
    store = MemoryStore()
    async with serve() as server:
        async with connect(store=store, policy=MUCH):
            session = only(server)
            if not is_written:
                statews_network.freeze()
            for message in ("one", TOO_LONG, "three", TOO_LONG, TOO_LONG, "six", TOO_LONG):
                await session.send(message)
            await anyio.sleep(SOON)
            statews_network.thaw()
            statews_network.reset()
        async with connect(store=store, policy=LITTLE) as connection:
            assert await seen_by(connection) == [
                "one",
                lost(1, 3),
                "three",
                lost(3, 6),
                "six",
                lost(6, 8),
            ]
            assert connection.session == session.id
            assert session.links == 2
            await session.send("eight")
            assert await seen_by(connection) == ["eight"]
            await session.flush()
            assert len(session.peer.log) == 0


async def test_flush_says_that_the_client_does_not_take_a_message_any_more() -> None:
    store = MemoryStore()
    async with serve() as server:
        async with connect(store=store, policy=MUCH):
            session = only(server)
            await session.send(TOO_LONG)
        async with anyio.create_task_group() as group:

            async def flush() -> None:
                with pytest.raises(DeliveryError, match=r"^the message is in doubt: 1 to 1 were"):
                    await session.flush()

            group.start_soon(flush)
            await anyio.sleep(SOON)
            async with connect(store=store, policy=LITTLE) as connection:
                assert await seen_by(connection) == [lost(0, 2)]


async def test_who_waits_for_room_is_refused_when_a_link_takes_over_that_takes_less() -> None:
    refused: list[str] = []

    async def send(session: Session) -> None:
        try:
            await session.send(TOO_LONG)
        except UsageError as error:
            refused.append(str(error))

    async with (
        serve(limits=SessionLimits(messages=1)) as server,
        dialled() as old,
        dialled() as new,
        anyio.create_task_group() as group,
    ):
        chain = (await old.greet())["rc"]
        await only(server).send("one")
        group.start_soon(send, only(server))
        await anyio.sleep(SOON)
        assert not refused
        await new.greet(sid=old.sid, tok=old.token, n=2, rc=chain, max=SHORT)
        assert await new.hear() == "M1;one"
        await new.hear_all()
    assert refused == ["the client takes messages of 1000 bytes, got 1100"]


async def test_a_slot_s_value_that_the_client_does_not_take_is_not_sent() -> None:
    store = MemoryStore()
    async with serve() as server:
        async with connect(store=store, policy=MUCH) as connection:
            session = only(server)
            session.set("long", TOO_LONG_IN_UTF_8)
            session.set("short", FITS)
            assert await seen_by(connection) == [TOO_LONG_IN_UTF_8, FITS]
        async with connect(store=store, policy=LITTLE) as connection:
            assert await seen_by(connection) == [FITS]
        async with connect(store=store, policy=MUCH) as connection:
            assert await seen_by(connection) == [TOO_LONG_IN_UTF_8, FITS]


async def test_a_server_of_a_later_process_learns_anew_what_its_client_takes(
    statews_network: Network,
) -> None:
    disk = MemoryStore()
    async with connect(wait=False, policy=LITTLE) as connection:
        async with serve(store=disk):
            await connection.wait_for(State.OPEN)
        async with serve(store=disk) as server:
            session = only(server)
            assert session.largest == LARGEST
            statews_network.refuse()
            for message in ("one", TOO_LONG, "three"):
                await session.send(message)
            statews_network.accept()
            assert await seen_by(connection, 60) == ["one", lost(1, 3), "three"]
            assert session.largest == SHORT
            await session.flush()
        async with serve(store=disk) as server:
            assert (only(server).sent, len(only(server).peer.log)) == (3, 0)


@pytest.mark.parametrize("message_bytes", [1, 200, SHORT])
async def test_the_longest_message_may_come_with_the_welcome(
    statews_network: Network, message_bytes: int
) -> None:
    """And a client that takes little still takes a welcome."""
    async with serve() as server, connect(policy=taking(message_bytes)) as connection:
        assert only(server).largest == message_bytes
        async with go_missing(statews_network):
            await only(server).send("x" * message_bytes)
            only(server).set("slot", "y" * message_bytes)
        assert await seen_by(connection, 10) == ["y" * message_bytes, "x" * message_bytes]
        assert only(server).links == 2


# The other way round.


def missing(after: int, before: int) -> Gap:
    reason = "the client has dropped them"
    return Gap(stream="session", key=None, after=after, before=before, reason=reason)


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_server_that_takes_less_than_before_is_told_of_a_gap_and_goes_on(
    is_stored: bool,
) -> None:
    disk, desk = MemoryStore(), Desk()

    async def idle(_: Session) -> None:
        await anyio.sleep_forever()

    options = {"store": MemoryStore()} if is_stored else {}
    async with connect(wait=False, policy=MUCH, **options) as connection:
        async with serve(idle, store=disk):
            await connection.wait_for(State.OPEN)
            messages = ["one", TOO_LONG, "three", TOO_LONG, TOO_LONG, "six"]
            receipts = [await connection.send(message) for message in messages]
            await anyio.sleep(SOON)
        late = await connection.send(TOO_LONG)
        last = await connection.send("last")
        async with serve(desk.handle, store=disk, policy=LITTLE) as server:
            await connection.wait_for(State.OPEN)
            await last.wait_acknowledged()
            assert desk.heard == ["one", missing(1, 3), "three", missing(3, 6), "six", "last"]
            assert only(server).links == 1
            assert [receipt.state for receipt in receipts] == [
                ReceiptState.IN_DOUBT if message is TOO_LONG else ReceiptState.ACKNOWLEDGED
                for message in messages
            ]
            assert receipts[1].reason == "the peer takes messages of 1000 bytes"
            assert late.state is ReceiptState.DROPPED


async def test_what_an_earlier_process_has_left_and_the_server_does_not_take_is_a_gap() -> None:
    store, desk = MemoryStore(), Desk()
    async with connect(wait=False, store=store, policy=MUCH) as connection:
        for message in ("one", TOO_LONG, "three"):
            await connection.send(message)
    async with (
        serve(desk.handle, policy=LITTLE) as server,
        connect(store=store, policy=MUCH) as connection,
    ):
        await (await connection.send("four")).wait_acknowledged()
        assert desk.heard == ["one", missing(1, 3), "three", "four"]
        assert only(server).links == 1


async def test_who_waits_for_room_in_the_outbox_is_refused_when_the_server_takes_less() -> None:
    refused: list[str] = []
    outbox = Outbox(delivery=Delivery.AT_LEAST_ONCE, messages=1)

    async def send(connection: Connection) -> None:
        try:
            await connection.send(TOO_LONG)
        except UsageError as error:
            refused.append(str(error))

    async with connect(wait=False, policy=steady(outbox=outbox)) as connection:
        await connection.send("one")
        async with anyio.create_task_group() as group:
            group.start_soon(send, connection)
            await anyio.sleep(SOON)
            async with serve(Desk().handle, policy=LITTLE):
                await connection.wait_for(State.OPEN)
                await connection.flush()
    assert refused == ["the server takes messages of 1000 bytes, got 1100"]
