"""The outbox and its receipts, on links that come and go: virtual time, no sockets."""

from __future__ import annotations

import contextlib

import anyio
import pytest
from anyio import current_time

import statews
from statews import (
    Acknowledged,
    AtLimit,
    Backoff,
    Delivery,
    Jitter,
    Link,
    Outbox,
    ReceiptState,
    State,
)

from .world import World, accept, connect, refuse, steady

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world", "sink")]


class Sink:
    """A server that keeps what it gets, link by link, and the pings among it."""

    def __init__(self) -> None:
        self.links: list[list[str | bytes]] = []

    async def __call__(self, link: Link) -> None:
        got: list[str | bytes] = []
        self.links.append(got)
        async for message in link:
            got.append(message)  # noqa: PERF401 - seen while it goes on

    @property
    def all(self) -> list[str | bytes]:
        return [message for got in self.links for message in got]


@pytest.fixture
def sink(world: World) -> Sink:
    sink = Sink()
    world.scripts = [accept(sink)]
    return sink


def at_least_once(**changes: object) -> statews.Policy:
    return steady(outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE, **changes))  # type: ignore[arg-type]


def count_pings(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the client sent pings."""
    times: list[float] = []
    ping = Link.ping

    def counted(link: Link) -> None:
        if link.traffic is not None:
            times.append(current_time())
        ping(link)

    monkeypatch.setattr(Link, "ping", counted)
    return times


async def test_what_is_sent_before_the_link_is_open_goes_out_in_order(
    world: World, sink: Sink
) -> None:
    world.dial_time = 5
    async with connect(wait=False) as connection:
        receipts = [await connection.send(str(number)) for number in range(100)]
        assert current_time() < 5
        assert {receipt.state for receipt in receipts} == {ReceiptState.QUEUED}
        await receipts[-1].wait_acknowledged()
    assert sink.links == [[str(number) for number in range(100)]]


async def test_the_backlog_goes_out_after_the_hooks(sink: Sink) -> None:
    async def subscribe(link: Link) -> None:
        await anyio.sleep(1)
        await link.send("subscribe")

    async with connect(wait=False, on_open=subscribe) as connection:
        await connection.send("queued")
        await connection.wait_for(State.OPEN)
        await connection.send("live")
        await connection.flush()
    assert sink.links == [["subscribe", "queued", "live"]]


async def test_a_message_is_written_at_once_on_an_open_link(sink: Sink) -> None:
    async with connect() as connection:
        receipt = await connection.send("x")
        assert receipt.state is ReceiptState.WRITTEN
        await receipt.wait_written()
        await receipt.wait_acknowledged()
        assert await receipt.wait_settled() is ReceiptState.ACKNOWLEDGED
        assert repr(receipt) == "<statews.Receipt acknowledged>"
    assert sink.all == ["x"]


async def test_one_fence_covers_all_that_went_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pings = count_pings(monkeypatch)
    async with connect(policy=steady(heartbeat=None)) as connection:
        started = current_time()
        receipts = [await connection.send(str(number)) for number in range(100)]
        await anyio.sleep(1)
        assert {receipt.state for receipt in receipts} == {ReceiptState.ACKNOWLEDGED}
        assert [time - started for time in pings] == [pytest.approx(0.2, abs=0.01)]
        await anyio.sleep(1000)
    assert len(pings) == 1  # nothing was sent, and the last fence was answered


async def test_whoever_waits_has_the_fence_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pings = count_pings(monkeypatch)
    started = current_time()
    async with connect() as connection, anyio.create_task_group() as group:
        for _ in range(50):
            receipt = await connection.send("x")
            group.start_soon(receipt.wait_acknowledged)
    assert current_time() == pytest.approx(started, abs=0.01)
    assert 1 <= len(pings) <= 2


async def test_more_than_a_quarter_of_the_limit_is_fenced_off_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pings = count_pings(monkeypatch)
    async with connect(policy=steady(outbox=Outbox(messages=100))) as connection:
        for _ in range(26):
            await connection.send("x")
        assert len(pings) == 1


@pytest.mark.parametrize("drop", ["cut", "freeze"])
async def test_what_no_pong_covers_is_in_doubt(world: World, sink: Sink, drop: str) -> None:
    async with connect() as connection:
        first = await connection.send("first")
        await first.wait_acknowledged()
        world.wires[-1].freeze()
        second = await connection.send("second")
        if drop == "cut":
            world.wires[-1].cut()
        with pytest.raises(statews.DeliveryError, match="in doubt: its link was lost") as caught:
            await second.wait_acknowledged()
        assert caught.value.state == second.state == ReceiptState.IN_DOUBT
        assert second.reason == caught.value.reason
        await connection.wait_for(State.OPEN)
        await connection.send("third")
        await connection.flush()
    assert sink.links[-1] == ["third"]
    assert "second" not in sink.all


async def test_what_is_in_doubt_is_sent_again_first_and_in_order(world: World, sink: Sink) -> None:
    async with connect(policy=at_least_once()) as connection:
        world.wires[-1].freeze()
        lost = [await connection.send(f"lost {number}") for number in range(3)]
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        assert [receipt.state for receipt in lost] == [ReceiptState.QUEUED] * 3
        later = await connection.send("later")
        await later.wait_acknowledged()
        assert [receipt.attempts for receipt in lost] == [2, 2, 2]
    assert sink.links[-1] == ["lost 0", "lost 1", "lost 2", "later"]


async def test_what_is_sent_again_is_fenced_off_at_once(world: World, sink: Sink) -> None:
    """Links that live for less than `fence_after` would have it sent again for ever."""
    async with connect(policy=at_least_once(fence_after=60)) as connection:
        world.wires[-1].freeze()
        receipts = [await connection.send(str(number)) for number in range(3)]
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        await connection.wait_for(State.OPEN)
        await anyio.sleep(0.01)
        assert {receipt.state for receipt in receipts} == {ReceiptState.ACKNOWLEDGED}
    assert sink.all == ["0", "1", "2"]


async def test_closing_settles_everything(world: World) -> None:
    async with connect() as connection:
        world.wires[-1].freeze()
        written = await connection.send("written")
        async with anyio.create_task_group() as group:
            group.start_soon(written.wait_settled)
            await anyio.sleep(1)
            await connection.close()
        assert written.state is ReceiptState.IN_DOUBT
        with pytest.raises(statews.ConnectionClosed, match="is closed"):
            await connection.send("late")
        assert await written.wait_settled() is ReceiptState.IN_DOUBT
        await connection.flush()


async def test_closing_while_backing_off_drops_what_waits(world: World) -> None:
    world.scripts = [refuse]
    async with connect(wait=False) as connection:
        await connection.wait_for(State.BACKING_OFF)
        receipt = await connection.send("x")
    assert receipt.state is ReceiptState.DROPPED
    assert receipt.reason == "the connection was closed"
    with pytest.raises(statews.DeliveryError, match="dropped: the connection was closed"):
        await receipt.wait_written()
    assert repr(receipt) == "<statews.Receipt dropped: the connection was closed>"


async def test_the_closing_handshake_confirms_what_went_before_it() -> None:
    async with connect() as connection:
        receipt = await connection.send("x")
    assert receipt.state is ReceiptState.ACKNOWLEDGED


async def test_a_connection_that_gave_up_keeps_what_waits(world: World, sink: Sink) -> None:
    good = world.scripts[0]
    world.scripts = [refuse]
    policy = steady(backoff=Backoff(max_attempts=1, jitter=Jitter.NONE))
    async with connect(policy=policy, wait=False) as connection:
        receipt = await connection.send("kept")
        with pytest.raises(statews.ConnectionFailed, match="gave up after 2 attempts"):
            await receipt.wait_acknowledged()
        with pytest.raises(statews.ConnectionFailed, match="gave up"):
            await connection.send("refused")
        with pytest.raises(statews.ConnectionFailed, match="gave up"):
            await connection.flush()
        assert receipt.state is ReceiptState.QUEUED
        world.scripts = [good]
        await connection.connect()
        await receipt.wait_acknowledged()
    assert sink.all == ["kept"]


async def test_a_connection_that_was_not_entered_sends_nothing() -> None:
    with pytest.raises(statews.UsageError, match="enter the connection first"):
        await connect().send("x")


async def test_a_time_to_live_ends_on_time(world: World, sink: Sink) -> None:
    world.dial_time = 14
    async with connect(wait=False, policy=steady(outbox=Outbox(time_to_live=12))) as connection:
        short = await connection.send("short", time_to_live=10)
        long = await connection.send("long", time_to_live=1000)
        default = await connection.send("default")
        assert await short.wait_settled() is ReceiptState.EXPIRED
        assert current_time() == pytest.approx(10, abs=0.01)
        with pytest.raises(statews.DeliveryError, match="expired: its time to live was over"):
            await short.wait_written()
        await anyio.sleep(3)
        assert default.state is ReceiptState.EXPIRED  # though nobody waited
        await long.wait_acknowledged()
        written = await connection.send("written", time_to_live=0.01)
        await written.wait_acknowledged()
    assert sink.all == ["long", "written"]


async def test_what_makes_sense_on_this_link_only_goes_with_it(world: World, sink: Sink) -> None:
    async with connect(policy=at_least_once()) as connection:
        world.wires[-1].freeze()
        written = await connection.send("cursor", link_only=True)
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        assert written.state is ReceiptState.IN_DOUBT
        nowhere = await connection.send("cursor", link_only=True)
        assert nowhere.state is ReceiptState.DROPPED
        assert nowhere.reason == "there was no link"
        await connection.wait_for(State.OPEN)
        await (await connection.send("cursor", link_only=True)).wait_acknowledged()
    assert sink.all == ["cursor"]


@pytest.mark.parametrize("delivery", Delivery)
async def test_what_waits_for_room_goes_with_this_link_as_well(
    world: World, sink: Sink, delivery: Delivery
) -> None:
    policy = steady(outbox=Outbox(messages=1, delivery=delivery))
    async with connect(policy=policy) as connection, anyio.create_task_group() as group:
        world.wires[-1].freeze()
        await connection.send("written")

        async def send() -> None:
            receipt = await connection.send("cursor", link_only=True)
            assert connection.state is State.BACKING_OFF
            assert (receipt.state, receipt.reason) == (ReceiptState.DROPPED, "its link was lost")

        group.start_soon(send)
        await anyio.sleep(1)
        world.wires[-1].cut()
        await connection.wait_for(State.OPEN)
        await (await connection.send("last")).wait_acknowledged()
    assert "cursor" not in sink.all


async def test_a_full_outbox_holds_up_senders_until_there_is_room(
    world: World, sink: Sink
) -> None:
    world.dial_time = 5
    async with connect(wait=False, policy=steady(outbox=Outbox(messages=3))) as connection:
        for number in range(20):
            await connection.send(str(number))
            assert (current_time() >= 5) == (number >= 3)
        await connection.flush()
    assert sink.all == [str(number) for number in range(20)]


async def test_a_sender_that_is_cancelled_while_it_waits_for_room_sent_nothing(
    world: World, sink: Sink
) -> None:
    world.dial_time = 5
    async with connect(wait=False, policy=steady(outbox=Outbox(messages=1))) as connection:
        await connection.send("first")
        with anyio.move_on_after(1) as scope:
            await connection.send("cancelled")
        assert scope.cancelled_caught
        await connection.send("second")
        await connection.flush()
    assert sink.all == ["first", "second"]


async def test_a_message_may_expire_while_it_waits_for_room(world: World, sink: Sink) -> None:
    world.dial_time = 10
    async with connect(wait=False, policy=steady(outbox=Outbox(messages=1))) as connection:
        await connection.send("first")
        late = await connection.send("late", time_to_live=3)
        assert current_time() == pytest.approx(3, abs=0.01)
        assert late.state is ReceiptState.EXPIRED
        await connection.flush()
    assert sink.all == ["first"]


async def test_leaving_does_not_wait_for_times_to_live(world: World) -> None:
    world.scripts = [refuse]
    async with connect(wait=False) as connection:
        receipt = await connection.send("x", time_to_live=5000)
    assert current_time() < 100
    assert receipt.state is ReceiptState.DROPPED


async def test_a_sender_that_waits_for_room_learns_of_the_end(world: World) -> None:
    world.scripts = [refuse]
    policy = steady(outbox=Outbox(messages=1), backoff=Backoff(max_attempts=3, first=1))
    async with connect(wait=False, policy=policy) as connection:
        await connection.send("first")
        with pytest.raises(statews.ConnectionFailed, match="gave up"):
            await connection.send("second")
    world.scripts = [refuse]
    async with connect(wait=False, policy=steady(outbox=Outbox(messages=1))) as connection:
        await connection.send("first")

        async def send() -> None:
            with pytest.raises(statews.ConnectionClosed, match="is closed"):
                await connection.send("second")

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.sleep(1)
            await connection.close()


async def test_at_the_limit_it_raises_or_drops_as_asked(world: World, sink: Sink) -> None:
    world.dial_time = 5

    def full(at_limit: AtLimit) -> statews.Connection:
        return connect(wait=False, policy=steady(outbox=Outbox(messages=2, at_limit=at_limit)))

    async with full(AtLimit.RAISE) as connection:
        await connection.send("1")
        await connection.send("2")
        with pytest.raises(statews.OutboxFullError, match="it holds 2 messages of 2 bytes"):
            await connection.send("3")
        await connection.flush()
    async with full(AtLimit.DROP_OLDEST) as connection:
        receipts = [await connection.send(str(number)) for number in range(3)]
        assert receipts[0].state is ReceiptState.DROPPED
        await connection.flush()
    async with full(AtLimit.DROP_NEWEST) as connection:
        receipts = [await connection.send(str(number)) for number in range(3)]
        assert receipts[2].state is ReceiptState.DROPPED
        await connection.flush()
    async with full(AtLimit.CONFLATE) as connection:
        for number in range(6):
            await connection.send(str(number), key=number % 2)
        await connection.flush()
    assert sink.links == [["1", "2"], ["1", "2"], ["0", "1"], ["4", "5"]]


async def test_memory_stays_bounded_with_a_frozen_peer(world: World) -> None:
    outbox = Outbox(size_bytes=200_000, at_limit=AtLimit.RAISE)
    async with connect(policy=steady(outbox=outbox, heartbeat=None)) as connection:
        world.wires[-1].freeze()
        with anyio.move_on_after(10), contextlib.suppress(statews.OutboxFullError):
            while True:
                await connection.send("x" * 1000)
        assert connection._sender.queue.size_bytes <= 200_000


async def test_few_bytes_are_a_limit_for_what_is_written_at_once_as_well(world: World) -> None:
    outbox = Outbox(size_bytes=1000, at_limit=AtLimit.RAISE)
    async with connect(policy=steady(outbox=outbox, heartbeat=None)) as connection:
        world.wires[-1].freeze()
        for _ in range(2):
            await connection.send("xxxx")
        with pytest.raises(statews.OutboxFullError, match="it holds 2 messages of 8 bytes"):
            await connection.send("x" * 1000)


async def test_a_large_backlog_goes_out_in_one_pass(world: World, sink: Sink) -> None:
    world.dial_time = 5
    async with connect(wait=False, policy=steady(outbox=Outbox(messages=10_001))) as connection:
        for number in range(10_000):
            await connection.send(f"{number:>100}")
        await connection.wait_for(State.OPEN)
        last = await connection.send("last")
        assert await last.wait_settled() is ReceiptState.ACKNOWLEDGED
        assert current_time() == pytest.approx(5, abs=0.1)
    assert sink.all == [*(f"{number:>100}" for number in range(10_000)), "last"]


async def test_a_backlog_lost_on_its_way_goes_on_with_the_next_link(
    world: World, sink: Sink
) -> None:
    world.dial_time = 5
    messages = [f"{number:>1000}" for number in range(500)]
    async with connect(wait=False, policy=at_least_once()) as connection:
        for message in messages:
            await connection.send(message)
        await connection.wait_for(State.OPEN)
        world.wires[-1].freeze()
        await anyio.sleep(1)
        assert connection._sender.queue.has_waiting
        world.wires[-1].cut()
        await connection.flush()
    assert sink.links[-1] == messages[-len(sink.links[-1]) :]
    assert list(dict.fromkeys(sink.all)) == messages


async def test_wrong_options_are_refused(sink: Sink) -> None:
    async with connect() as connection:
        with pytest.raises(statews.UsageError, match="a key has a meaning under AtLimit"):
            await connection.send("x", key="a")
        with pytest.raises(statews.UsageError, match="time_to_live must be above 0"):
            await connection.send("x", time_to_live=0)
        with pytest.raises(statews.UsageError, match="a message is str or bytes, got int"):
            await connection.send(1)  # type: ignore[arg-type]
        with pytest.raises(statews.UsageError, match="encodable as UTF-8"):
            await connection.send("\ud800")
        await connection.send(bytearray(b"x"))  # type: ignore[arg-type]
        await connection.flush()
    assert sink.all == [b"x"]


async def test_a_key_must_be_hashable() -> None:
    policy = steady(outbox=Outbox(at_limit=AtLimit.CONFLATE))
    async with connect(policy=policy) as connection:
        with pytest.raises(statews.UsageError, match="a key must be hashable, got"):
            await connection.send("x", key=([],))


@pytest.mark.parametrize("is_named", [False, True])
async def test_an_acknowledgement_is_read_though_the_application_reads_no_more(
    world: World, *, is_named: bool
) -> None:
    """A caller that has just received is left to read, but not where a receipt is waited for."""

    async def server(link: Link) -> None:
        async for message in link:
            await link.send("ack" if is_named else message)
            if is_named:
                await link.send(message)

    world.scripts = [accept(server)]
    names = Acknowledged(
        id=lambda message: message, acked=lambda message: "x" if message == "ack" else None
    )
    outbox = Outbox(delivery=Delivery.AT_LEAST_ONCE, acknowledged=names if is_named else None)
    async with connect(policy=steady(outbox=outbox)) as connection:
        await connection.send("x")
        await connection.receive()
        started = current_time()
        await (await connection.send("x")).wait_acknowledged()
        assert current_time() == pytest.approx(started, abs=0.01)
