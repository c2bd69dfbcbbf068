"""What is looked at before the application gets it: streams, acknowledgements, heartbeats."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from anyio import current_time
from typing_extensions import override

import statews
from statews import (
    Acknowledged,
    After,
    Change,
    Delivery,
    Gap,
    Heartbeat,
    Latest,
    Limits,
    Link,
    Outbox,
    Page,
    Phase,
    Reset,
    Since,
    State,
)

from .world import World, accept, connect, states_of, steady

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]


def encoded(**fields: object) -> str:
    return json.dumps(fields)


class Feeder:
    """A server with numbered messages, which it also gives out on request, page by page."""

    def __init__(self, *, page: int = 2, keeps: int = 1000) -> None:
        self.history: list[dict[str, Any]] = []
        self.links: list[Link] = []
        self.asked: list[dict[str, Any]] = []
        self.page = page
        self.keeps = keeps
        self.answers = True

    async def __call__(self, link: Link) -> None:
        self.links.append(link)
        try:
            async for message in link:
                await self.answer(link, json.loads(message))
        finally:
            self.links.remove(link)

    async def answer(self, link: Link, asked: dict[str, Any]) -> None:
        self.asked.append(asked)
        if not self.answers:
            return
        kept = self.history[-self.keeps :]
        after = asked["after"]
        wanted = [each for each in kept if after is None or each["seq"] > after]
        is_gone = after is not None and bool(kept) and kept[0]["seq"] > after + 1
        page = wanted[: self.page]
        await link.send(
            encoded(
                page=[json.dumps(each) for each in page],
                more=len(wanted) > len(page),
                gone=is_gone,
            )
        )

    async def say(self, *, is_lost: bool = False) -> None:
        """The next message, to everybody who is there."""
        seq = len(self.history) + 1
        said = {"seq": seq, "text": f"message {seq}", "at": float(seq)}
        self.history.append(said)
        if not is_lost:
            for link in self.links:
                await link.send(json.dumps(said))


def page_of(parsed: dict[str, Any]) -> Page | None:
    if "page" not in parsed:
        return None
    return Page(items=parsed["page"], more=parsed["more"], gone=parsed["gone"])


def after(**options: Any) -> After[Any]:  # noqa: ANN401 - whatever `After` takes
    return After(
        lambda ask: encoded(after=ask.after),
        seq=lambda parsed: parsed.get("seq"),
        page=page_of,
        **options,
    )


def since() -> Since[Any]:
    return Since(
        lambda cursor: encoded(after=cursor),
        stamp=lambda parsed: parsed.get("at"),
        id=lambda parsed: parsed["seq"],
        page=page_of,
        overlap=0.0,
    )


@pytest.fixture
def feeder(world: World) -> Feeder:
    feeder = Feeder()
    world.scripts = [accept(feeder)]
    return feeder


async def lose_and_return(world: World, connection: statews.Connection, feeder: Feeder) -> None:
    """The link drops, things are said meanwhile, and it comes back."""
    world.wires[-1].cut()
    await connection.wait_for(State.BACKING_OFF)
    for _ in range(5):
        await feeder.say()
    await connection.wait_for(State.OPEN)


def numbers(messages: list[Any]) -> list[int]:
    return [json.loads(message)["seq"] for message in messages]


async def receive(connection: statews.Connection, count: int) -> list[Any]:
    with anyio.fail_after(1000):
        return [await connection.receive() for _ in range(count)]


@pytest.mark.parametrize("strategy", [after, since])
async def test_what_was_missed_is_fetched_and_comes_before_what_is_live(
    world: World, feeder: Feeder, strategy: Callable[[], statews.Strategy]
) -> None:
    async with connect(sync=strategy()) as connection:
        await anyio.sleep(0.1)
        for _ in range(3):
            await feeder.say()
        assert numbers(await receive(connection, 3)) == [1, 2, 3]
        await lose_and_return(world, connection, feeder)
        await anyio.sleep(0.01)
        await feeder.say()
        assert numbers(await receive(connection, 6)) == [4, 5, 6, 7, 8, 9]
        await anyio.sleep(100)
        assert not connection._inbox


async def test_the_phase_says_that_something_is_still_to_come(
    world: World, feeder: Feeder
) -> None:
    async with connect(sync=after(start=0)) as connection:
        phases = [connection.phase, connection.snapshot().phase]
        await anyio.sleep(1)
        phases.append(connection.phase)
        assert phases == [Phase.SYNCHRONISING, Phase.SYNCHRONISING, Phase.LIVE]
        feeder.answers = False
        await feeder.say()
        await lose_and_return(world, connection, feeder)
        await anyio.sleep(1)
        assert connection.phase is Phase.SYNCHRONISING


async def test_a_hole_on_a_live_link_is_filled(feeder: Feeder) -> None:
    async with connect(sync=after()) as connection:
        await feeder.say()
        await feeder.say(is_lost=True)
        await feeder.say()
        assert numbers(await receive(connection, 3)) == [1, 2, 3]


async def test_a_request_that_stands_behind_an_upload_is_waited_for(world: World) -> None:
    class Busy(Feeder):
        @override
        async def answer(self, link: Link, asked: dict[str, Any]) -> None:
            if "upload" not in asked:
                await super().answer(link, asked)

    feeder = Busy()
    world.scripts = [accept(feeder)]
    async with connect(sync=after(timeout=5, retries=0)) as connection:
        await feeder.say()
        assert numbers(await receive(connection, 1)) == [1]
        world.wires[-1].faults.slow(bandwidth=10_000)
        world.wires[-1].link.notify()
        began = current_time()
        await connection.send(encoded(upload="x" * 300_000))
        await feeder.say(is_lost=True)
        await feeder.say()
        events = connection.events()
        assert numbers([await anext(events), await anext(events)]) == [2, 3]
        assert 25 < current_time() - began < 60
        await connection.send(encoded(upload="x" * 300_000))
        await feeder.say(is_lost=True)
        await feeder.say()
        await anyio.sleep(2)
        world.wires[-1].freeze()
        began = current_time()
        assert isinstance(await anext(events), Gap)
        assert current_time() - began < 11


class Hoarder(Latest[str]):
    """A strategy that gives out what came when the link is gone."""

    def __init__(self) -> None:
        super().__init__(None)
        self.hoard: list[str | bytes] = []

    @override
    def take(self, message: str | bytes, now: float) -> bool:
        self.hoard.append(message)
        return True

    @override
    def end(self) -> None:
        super().end()
        for message in self.hoard:
            self._outcome.deliver(message, None)
        self.hoard.clear()


async def test_what_came_before_a_loss_is_given_out_before_it(
    world: World, feeder: Feeder
) -> None:
    async with connect(sync=Hoarder()) as connection:
        events = connection.events()
        await feeder.say()
        await anyio.sleep(1)
        world.wires[-1].cut()
        message, change = await anext(events), await anext(events)
        assert isinstance(message, str)
        assert isinstance(change, Change)
        assert change.now.state is State.BACKING_OFF


async def test_what_the_server_does_not_have_any_more_is_a_gap(
    world: World, feeder: Feeder, caplog: pytest.LogCaptureFixture
) -> None:
    feeder.keeps = 2
    async with connect(sync=after()) as connection:
        events = connection.events()
        await feeder.say()
        assert json.loads(await anext(events))["seq"] == 1  # type: ignore[arg-type]
        await lose_and_return(world, connection, feeder)
        seen = []
        async for event in events:
            seen.append(event)
            if isinstance(event, str) and json.loads(event)["seq"] == 6:
                break
        changes = [event for event in seen if isinstance(event, Change)]
        assert states_of(changes) == [State.BACKING_OFF, State.CONNECTING, State.OPEN]
        gap, *messages = [event for event in seen if not isinstance(event, Change)]
        assert isinstance(gap, Gap)
        assert (gap.stream, gap.key, gap.after, gap.before) == ("after", None, 1, 5)
        assert numbers(messages) == [5, 6]
    assert [record.message for record in caplog.records if "after lost" in record.message]


async def test_a_server_that_does_not_answer_ends_in_a_gap_and_the_fallback(
    world: World, feeder: Feeder
) -> None:
    latest = Latest('{"after": "fallback"}', version=lambda parsed: parsed["version"])
    async with connect(sync=after(timeout=5, retries=1, fallback=latest)) as connection:
        events = connection.events()
        await feeder.say()
        await anext(events)
        feeder.answers = False
        await lose_and_return(world, connection, feeder)
        started = current_time()
        async for event in events:
            if isinstance(event, Gap):
                break
        assert current_time() == pytest.approx(started + 10, abs=0.1)
        await anyio.sleep(1)
        assert feeder.asked[-1] == {"after": "fallback"}


@pytest.mark.parametrize("strategy", [after, since])
async def test_an_answer_that_is_not_read_yet_is_in_time(
    world: World, feeder: Feeder, strategy: Callable[[], statews.Strategy]
) -> None:
    policy = steady(limits=Limits(inbox_bytes=1000))
    async with connect(sync=strategy(), policy=policy) as connection:
        await anyio.sleep(1)
        for _ in range(30):
            await feeder.say()
        await anyio.sleep(1)
        await lose_and_return(world, connection, feeder)
        await anyio.sleep(300)
        phases = [connection.phase]
        assert numbers(await receive(connection, 35)) == list(range(1, 36))
        phases.append(connection.phase)
        assert phases == [Phase.SYNCHRONISING, Phase.LIVE]


async def test_when_there_is_room_again_an_answer_has_its_whole_time(
    world: World, feeder: Feeder
) -> None:
    policy = steady(limits=Limits(inbox_bytes=1000))
    strategy = after(retries=0)
    async with connect(sync=strategy, policy=policy) as connection:
        await anyio.sleep(1)
        for _ in range(30):
            await feeder.say()
        await anyio.sleep(1)
        feeder.answers = False
        await lose_and_return(world, connection, feeder)
        await anyio.sleep(27)
        assert numbers(await receive(connection, 30)) == list(range(1, 31))
        started = current_time()
        seen = [event async for event in events_until(connection.events(), Gap)]
        assert isinstance(seen[-1], Gap)
        assert current_time() == pytest.approx(started + 10, abs=0.1)


async def test_a_position_moves_when_the_application_asks_for_the_next(feeder: Feeder) -> None:
    strategy = after()
    async with connect(sync=strategy) as connection:
        nothing = strategy.position
        await feeder.say()
        await feeder.say()
        await receive(connection, 1)
        assert strategy.position == nothing
        await receive(connection, 1)
        first = strategy.position
        assert first != nothing
        with anyio.move_on_after(1):
            await connection.receive()  # there is none, but the last one is handled
        assert strategy.position != first


async def test_a_saved_position_goes_on_in_another_connection(feeder: Feeder) -> None:
    strategy = after()
    async with connect(sync=strategy) as connection:
        await feeder.say()
        await receive(connection, 1)
        with anyio.move_on_after(1):
            await connection.receive()
    for _ in range(3):
        await feeder.say()
    restored = after()
    restored.restore(json.loads(json.dumps(strategy.position)))
    async with connect(sync=restored) as connection:
        assert numbers(await receive(connection, 3)) == [2, 3, 4]


async def test_streams_go_side_by_side_and_the_rest_passes_through(world: World) -> None:
    async def server(link: Link) -> None:
        await link.send(encoded(price=1, version=1))
        await link.send(encoded(seq=1))
        await link.send("neither")
        await link.send(encoded(price=2, version=2))
        await link.send(encoded(price=1, version=1))
        await link.receive()

    world.scripts = [accept(server)]
    prices = Latest(None, version=lambda parsed: parsed.get("version"), name="prices")
    async with connect(sync=[prices, after()]) as connection:
        await anyio.sleep(1)
        got = await receive(connection, 3)
        assert got == [encoded(price=2, version=2), encoded(seq=1), "neither"]
    with pytest.raises(statews.UsageError, match="names of their own"):
        connect(sync=[after(), after()])


async def test_events_are_everything_in_one_order(world: World, feeder: Feeder) -> None:
    async with connect(wait=False) as connection:
        events = connection.events()
        await connection.wait_for(State.OPEN)
        await anyio.sleep(1)
        await feeder.say()
        await anyio.sleep(1)
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        await connection.wait_for(State.OPEN)
        await anyio.sleep(1)
        await feeder.say()
        await anyio.sleep(1)
        await connection.close()
        seen = [event async for event in events]
    assert [event.now.state if isinstance(event, Change) else event for event in seen] == [
        State.OPEN,
        json.dumps(feeder.history[0]),
        State.BACKING_OFF,
        State.CONNECTING,
        State.OPEN,
        json.dumps(feeder.history[1]),
        State.CLOSED,
    ]
    assert events.missed == 0


async def test_events_take_over_what_was_received_before(feeder: Feeder) -> None:
    async with connect() as connection:
        await feeder.say()
        await anyio.sleep(2)
        await feeder.say()
        await anyio.sleep(2)
        events = connection.events()
        got = [await anext(events), await anext(events)]
        assert numbers(got) == [1, 2]
        await feeder.say()
        assert numbers([await connection.receive()]) == [3]


async def test_an_event_wakes_whoever_waits_for_one(world: World) -> None:
    async with connect() as connection:
        events = connection.events()

        async def cut() -> None:
            await anyio.sleep(5)
            world.wires[-1].cut()

        seen: list[object] = []
        async with anyio.create_task_group() as group:
            group.start_soon(cut)
            seen.append(await anext(events))
        assert isinstance(seen[0], Change)
        assert seen[0].now.state is State.BACKING_OFF
        await anext(events)
        await connection.wait_for(State.OPEN)
        assert [(await anext(events)).event for _ in range(2)] == ["opened", "settled"]  # type: ignore[union-attr]


async def test_changes_that_nobody_looks_at_are_bounded(world: World) -> None:
    async with connect() as connection:
        events = connection.events()
        for _ in range(100):
            world.wires[-1].cut()
            await connection.wait_for(State.BACKING_OFF)
            connection.nudge()
            await connection.wait_for(State.OPEN)
        assert events.missed == 300 - 256
        await connection.close()
        assert len([event async for event in events]) == 256


async def test_a_wrong_answer_is_a_gap_and_not_a_crash(world: World, feeder: Feeder) -> None:
    def broken(parsed: dict[str, Any]) -> Page | None:
        return Page(items=[1]) if "page" in parsed else None  # type: ignore[list-item]

    strategy = After(
        lambda ask: encoded(after=ask.after),
        seq=lambda parsed: parsed.get("seq"),
        page=broken,
        name="orders",
    )
    async with connect(sync=strategy) as connection:
        events = connection.events()
        await feeder.say()
        await anext(events)
        await lose_and_return(world, connection, feeder)
        gaps = [event async for event in events_until(events, Gap)]
        assert isinstance(gaps[-1], Gap)
        assert gaps[-1].stream == "orders"
        await feeder.say()
        seen = [event async for event in events_until(events, str)]
        assert numbers(seen[-1:]) == [7]


async def test_numbers_that_start_over_are_a_reset(world: World, feeder: Feeder) -> None:
    def epoch(parsed: dict[str, Any]) -> str | None:
        return parsed.get("text", "").split()[0] or None

    async with connect(sync=after(epoch=epoch)) as connection:
        events = connection.events()
        await feeder.say()
        await anext(events)
        for link in feeder.links:
            await link.send(encoded(seq=1, text="other"))
        seen = [event async for event in events_until(events, str)]
        assert isinstance(seen[0], Reset)
        assert world.live_wires()


async def events_until(events: statews.Events, kind: type) -> AsyncIterator[object]:
    async for event in events:
        if not isinstance(event, Change):
            yield event
        if isinstance(event, kind):
            return


# The application's own acknowledgements.


def acknowledged(**changes: object) -> statews.Policy:
    names = Acknowledged(
        id=lambda message: json.loads(message).get("id"),
        acked=lambda message: json.loads(message).get("acked"),
        **changes,  # type: ignore[arg-type]
    )
    return steady(outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE, acknowledged=names))


class Confirmer:
    """A server that acknowledges by id, as long as it does."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.acknowledges = True

    async def __call__(self, link: Link) -> None:
        async for message in link:
            name = json.loads(message).get("id")
            self.got.append(name)
            if self.acknowledges and name is not None:
                await link.send(encoded(acked=name))


async def test_a_message_stays_until_the_server_itself_acknowledges_it(world: World) -> None:
    server = Confirmer()
    server.acknowledges = False
    world.scripts = [accept(server)]
    async with connect(policy=acknowledged()) as connection:
        receipts = [await connection.send(encoded(id=number)) for number in range(3)]
        await anyio.sleep(100)
        assert {receipt.state.value for receipt in receipts} == {"written"}
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        server.acknowledges = True
        receipts.append(await connection.send(encoded(id=3)))
        with anyio.fail_after(100):
            await connection.flush()
        assert [receipt.attempts for receipt in receipts] == [2, 2, 2, 1]
        assert server.got == [0, 1, 2, 0, 1, 2, 3]
        assert not connection._inbox  # acknowledgements are not delivered


async def test_an_acknowledgement_may_cover_several(world: World) -> None:
    async def server(link: Link) -> None:
        for _ in range(6):
            await link.receive()
        await link.send(encoded(acked=[5, 2]))
        await link.receive()

    world.scripts = [accept(server)]
    async with connect(policy=acknowledged(is_cumulative=True)) as connection:
        receipts = [await connection.send(encoded(id=number)) for number in range(6)]
        await receipts[-1].wait_acknowledged()
    assert {receipt.state.value for receipt in receipts} == {"acknowledged"}


async def test_what_has_no_id_is_acknowledged_by_a_fence(world: World) -> None:
    server = Confirmer()
    server.acknowledges = False
    world.scripts = [accept(server)]
    async with connect(policy=acknowledged()) as connection:
        named = await connection.send(encoded(id=1))
        unnamed = await connection.send(encoded(typing=True))
        await unnamed.wait_acknowledged()
        assert named.state.value == "written"


async def test_wrong_acknowledgements_are_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def server(link: Link) -> None:
        for message in ('{"acked": "never"}', '{"acked": {}}', "no json", "[]", "the end"):
            await link.send(message)
        await link.receive()

    world.scripts = [accept(server)]
    async with connect(policy=acknowledged()) as connection:
        assert await receive(connection, 3) == ["no json", "[]", "the end"]
        with pytest.raises(statews.UsageError, match=r"Acknowledged.id failed with JSONDecodeErr"):
            await connection.send("no json")
        with pytest.raises(statews.UsageError, match="unhashable"):
            await connection.send(encoded(id=[1]))
    told = [record.message for record in caplog.records if record.name == "statews.client"]
    assert len([text for text in told if "acknowledged 'never'" in text]) == 1
    assert len([text for text in told if "Acknowledged.acked failed" in text]) == 1


# The application's own heartbeat.


async def test_the_applications_heartbeat_goes_out_whatever_else_goes_on(world: World) -> None:
    got: list[tuple[float, Any]] = []

    async def server(link: Link) -> None:
        async for message in link:
            got.append((current_time(), message))
            await link.send("tock" if str(message).startswith("tick") else message)

    world.scripts = [accept(server)]
    ticks = iter(range(100))
    heartbeat = Heartbeat(
        interval=30,
        message=lambda: f"tick {next(ticks)}",
        is_answer=lambda message: message == "tock",
    )
    async with connect(policy=steady(heartbeat=heartbeat)) as connection:
        started = current_time()
        for _ in range(20):
            await anyio.sleep(5)
            await connection.send("x")
            assert await connection.receive() == "x"
        assert connection.snapshot().round_trip is not None
        world.wires[-1].freeze()
        await connection.wait_for(State.BACKING_OFF)
    times = [(round(time - started), message) for time, message in got if message != "x"]
    assert times == [(30, "tick 0"), (60, "tick 1"), (90, "tick 2")]


async def test_a_heartbeat_that_is_not_answered_ends_the_link(world: World) -> None:
    async def server(link: Link) -> None:
        await link.receive()
        world.wires[-1].freeze()
        await anyio.sleep_forever()

    world.scripts = [accept(server)]
    heartbeat = Heartbeat(interval=30, timeout=10, message="tick", is_answer=lambda _: False)
    async with connect(policy=steady(heartbeat=heartbeat)) as connection:
        await connection.wait_for(State.BACKING_OFF)
        assert current_time() == pytest.approx(40, abs=1)
        assert isinstance(connection.snapshot().last_error, statews.PeerSilent)


async def test_a_heartbeat_is_to_be_answered_whatever_else_comes_in(world: World) -> None:
    async def server(link: Link) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(talk, link)
            for _ in range(2):
                await link.receive()
                await link.send("tock")
            await link.receive()
            await anyio.sleep_forever()

    async def talk(link: Link) -> None:
        while True:
            await link.send("talk")
            await anyio.sleep(1)

    world.scripts = [accept(server)]
    heartbeat = Heartbeat(
        interval=30, timeout=10, message="tick", is_answer=lambda each: each == "tock"
    )
    async with connect(policy=steady(heartbeat=heartbeat)) as connection:
        await connection.wait_for(State.BACKING_OFF)
        assert current_time() == pytest.approx(100, abs=0.1)
        error = connection.snapshot().last_error
        assert isinstance(error, statews.PeerSilent)
        assert str(error) == "the peer did not answer the application's heartbeat in time"


async def test_an_answer_that_is_not_read_yet_is_waited_for(world: World) -> None:
    async def server(link: Link) -> None:
        async for message in link:
            await link.send("x" * 2000)
            await link.send(f"answer to {message!r}")

    world.scripts = [accept(server)]
    heartbeat = Heartbeat(
        interval=30, timeout=10, message="tick", is_answer=lambda each: "answer" in str(each)
    )
    limits = Limits(inbox_bytes=1000)
    async with connect(policy=steady(heartbeat=heartbeat, limits=limits)) as connection:
        await connection.send("fill")
        await anyio.sleep(300)
        assert connection.state is State.OPEN
        got = 0
        with anyio.move_on_after(65):
            while True:
                await connection.receive()
                got += 1
        assert got == 13
        world.wires[-1].freeze()
        await connection.wait_for(State.BACKING_OFF)


async def test_a_heartbeat_that_fails_is_told_and_nothing_breaks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(*_: object) -> str:
        raise ValueError("broken")

    heartbeat = Heartbeat(interval=1, message=fails, is_answer=fails)
    async with connect(policy=steady(heartbeat=heartbeat)) as connection:
        await anyio.sleep(10)
        await connection.send("x")
        assert await connection.receive() == "x"
        assert connection.state is State.OPEN
    told = " ".join(record.message for record in caplog.records)
    assert told.count("Heartbeat.message failed with ValueError: broken") == 1
    assert told.count("Heartbeat.is_answer failed with ValueError: broken") == 1


@pytest.mark.parametrize("kind", ["events", "sync"])
async def test_messages_without_a_byte_are_bounded_as_well(world: World, kind: str) -> None:
    async def flood(link: Link) -> None:
        for _ in range(30_000):
            await link.send("")

    world.scripts = [accept(flood)]
    world.capacity = 4096
    options: dict[str, Any] = {"sync": Latest(None)} if kind == "sync" else {}
    policy = steady(limits=Limits(inbox_bytes=10_000))
    async with connect(policy=policy, **options) as connection:
        if kind == "events":
            connection.events()
        await anyio.sleep(5)
        assert 5000 <= len(connection._inbox) <= 5000 + 2 * world.capacity
        for _ in range(30_000):
            assert await connection.receive() == ""


async def test_what_comes_with_a_link_follows_the_change_that_it_is_open(world: World) -> None:
    async def hello(link: Link) -> None:
        await link.send("hello")
        await link.receive()

    async def hook(link: Link) -> None:
        await anyio.sleep(1)
        await link.send("welcome")

    world.scripts = [accept(hello)]
    seen: list[object] = []
    async with connect(on_open=hook, wait=False, decide=lambda _: statews.Retry()) as connection:
        with anyio.move_on_after(5):
            async for event in connection.events():
                seen.append(event.now.state if isinstance(event, Change) else event)  # noqa: PERF401
    lap = [State.OPEN, "hello", State.BACKING_OFF, State.CONNECTING]
    assert seen[:7] == [*lap, *lap[:3]]


async def test_the_change_into_open_says_that_something_is_to_come(feeder: Feeder) -> None:
    await feeder.say()
    async with connect(sync=after(start=0), wait=False) as connection:
        events = connection.events()
        opened = await anext(events)
        assert isinstance(opened, Change)
        assert opened.now.phase is Phase.SYNCHRONISING
        assert numbers([await anext(events)]) == [1]
