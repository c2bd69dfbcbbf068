"""Streams and heartbeats of the application in a session, which outlives the links they use."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio import current_time

from statews import (
    After,
    Gap,
    Heartbeat,
    Latest,
    Limits,
    Page,
    PeerSilent,
    Phase,
    Resume,
    Session,
    SessionLimits,
    Since,
    State,
    Strategy,
    Window,
)
from statews.testing import Network

from .world import SOON, connect, go_missing, only, seen_by, serve, steady

pytestmark = pytest.mark.statews(limit=5000)


def numbered(number: int) -> str:
    return json.dumps({"seq": number, "at": float(number)})


def page_of(parsed: dict[str, Any]) -> Page | None:
    if "page" not in parsed:
        return None
    return Page(items=[numbered(number) for number in parsed["page"]])


def after(
    *,
    request: Callable[[Any], str] = lambda ask: json.dumps({"after": ask.after}),
    page: Any = page_of,  # noqa: ANN401 - whatever `After` takes
    start: int = 0,
    **options: Any,  # noqa: ANN401
) -> After[Any]:
    return After(
        request,
        seq=lambda parsed: parsed.get("seq"),
        page=page,
        start=start,
        **options,
    )


def since(
    *,
    request: Callable[[Any], str] = lambda cursor: json.dumps({"after": cursor}),
    **options: Any,  # noqa: ANN401 - whatever `Since` takes
) -> Since[Any]:
    return Since(
        request,
        stamp=lambda parsed: parsed.get("at"),
        id=lambda parsed: parsed["seq"],
        page=page_of,
        overlap=0.0,
        **options,
    )


def numbers(seen: list[object]) -> list[object]:
    """The numbers of messages, and losses as they are."""
    return [json.loads(each)["seq"] if isinstance(each, str) else each for each in seen]


async def mute(session: Session) -> None:
    """A handler that answers nothing, and says three things unasked."""
    for number in range(1, 4):
        await session.send(numbered(number))
    async for _ in session:
        pass


# The time.


async def test_a_fetch_that_is_not_answered_ends_in_a_gap() -> None:
    strategy = since(timeout=5, retries=1)
    async with serve(mute), connect(sync=strategy) as connection:
        assert await seen_by(connection, 9.9) == []
        gap, *messages = await seen_by(connection, 0.2)
        assert isinstance(gap, Gap)
        assert gap.reason == "the server did not answer in time"
        assert numbers(messages) == [1, 2, 3]
        assert connection.phase is Phase.LIVE


async def test_silence_shows_that_nothing_was_missed() -> None:
    async with serve(mute), connect(sync=after(page=None, timeout=5)) as connection:
        assert numbers(await seen_by(connection, 4.9)) == [1, 2, 3]
        phases = [connection.phase]
        await anyio.sleep(0.2)
        phases.append(connection.phase)
    assert phases == [Phase.SYNCHRONISING, Phase.LIVE]


async def test_a_heartbeat_of_the_application_s_is_sent_by_each_link(
    statews_network: Network,
) -> None:
    got: list[tuple[int, object]] = []

    async def handler(session: Session) -> None:
        async for message in session:
            got.append((round(current_time()), message))
            await session.send("tock")
            session.send_volatile("tock")

    heartbeat = Heartbeat(interval=30, message="tick", is_answer=lambda each: each == "tock")
    async with serve(handler), connect(policy=steady(heartbeat=heartbeat)) as connection:
        assert await seen_by(connection, 70) == []
        async with go_missing(statews_network):
            await anyio.sleep(100)
        await connection.wait_for(State.OPEN)
        returned = round(current_time())
        assert await seen_by(connection, 40) == []
    assert got == [(at, "tick") for at in (30, 60, returned + 30)]


@pytest.mark.parametrize("make", [after, since])
async def test_an_answer_that_the_window_keeps_away_is_in_time(
    make: Callable[..., Strategy],
) -> None:
    async def handler(session: Session) -> None:
        async for _ in session:
            for _ in range(6):
                await session.send("talk")
            await session.send(json.dumps({"page": [1]}))

    options = {"session": Resume(window=Window(4)), "sync": make(retries=0)}
    async with serve(handler), connect(**options) as connection:
        await anyio.sleep(500)
        assert connection.phase is Phase.SYNCHRONISING
        assert await seen_by(connection, 1) == ["talk"] * 6 + [numbered(1)]


async def test_a_heartbeat_that_is_not_answered_ends_the_link_and_not_the_session() -> None:
    async def handler(session: Session) -> None:
        while True:
            await session.send("talk")
            await anyio.sleep(1)

    heartbeat = Heartbeat(interval=30, timeout=5, message="tick", is_answer=lambda _: False)
    async with serve(handler), connect(policy=steady(heartbeat=heartbeat)) as connection:
        sid = connection.session
        await connection.wait_for(State.BACKING_OFF)
        assert current_time() == pytest.approx(35, abs=0.1)
        assert isinstance(connection.snapshot().last_error, PeerSilent)
        assert len(await seen_by(connection, 5)) in (40, 41)
        assert connection.session == sid


async def test_an_answer_to_a_heartbeat_that_the_window_keeps_away_is_waited_for() -> None:
    async def handler(session: Session) -> None:
        async for _ in session:
            await session.send("talk")
            await session.send("answer")

    heartbeat = Heartbeat(interval=30, message="tick", is_answer=lambda each: each == "answer")
    options = {"session": Resume(window=Window(4)), "policy": steady(heartbeat=heartbeat)}
    async with serve(handler), connect(**options) as connection:
        await anyio.sleep(500)
        assert connection.state is State.OPEN
        assert len(await seen_by(connection, 1)) == 16


# Requests, which are for one link alone.


class Library:
    """A handler that answers each request, after a while, with what it had at first."""

    def __init__(self, *history: int, answers_after: float = 0.0) -> None:
        self.history = list(history)
        self.answers_after = answers_after
        self.asked: list[float] = []

    async def __call__(self, session: Session) -> None:
        async with anyio.create_task_group() as group:
            async for message in session:
                self.asked.append(current_time())
                after = json.loads(message)["after"] or 0
                found = [number for number in self.history if number > after]
                group.start_soon(self.answer, session, found)

    async def answer(self, session: Session, found: list[int]) -> None:
        await anyio.sleep(self.answers_after)
        await session.send(json.dumps({"page": found}))


def latest() -> Latest[Any]:
    return Latest('{"after": 0}', version=lambda parsed: max(parsed["page"]))


@pytest.mark.parametrize("make", [after, since, latest])
async def test_a_request_that_is_lost_with_its_link_is_made_on_the_next(
    statews_network: Network, make: Callable[..., Strategy]
) -> None:
    library = Library(1, 2)
    async with serve(library), connect(sync=make()) as connection:
        statews_network.reset()
        await connection.wait_for(State.BACKING_OFF)
        seen = await seen_by(connection, 5)
        expected = [json.dumps({"page": [1, 2]})] if make is latest else [numbered(1), numbered(2)]
        assert seen == expected
        assert connection.phase is Phase.LIVE
        assert len(library.asked) == 1


@pytest.mark.parametrize("make", [after, since])
async def test_an_answer_that_comes_by_a_later_link_is_in_time(
    statews_network: Network, make: Callable[..., Strategy]
) -> None:
    library = Library(1, 2, answers_after=5)
    async with serve(library), connect(sync=make(timeout=10, retries=0)) as connection:
        await anyio.sleep(1)
        async with go_missing(statews_network):
            statews_network.slow(latency=0.1)
            await anyio.sleep(100)
        assert numbers(await seen_by(connection, 100)) == [1, 2]
        assert len(library.asked) == 1


# A session from which something is missing.


@pytest.mark.parametrize("is_said_before", [True, False])
@pytest.mark.parametrize("make", [after, since])
async def test_what_is_lost_while_a_fetch_is_open_is_fetched(
    statews_network: Network, make: Callable[..., Strategy], *, is_said_before: bool
) -> None:
    library = Library(1, 2, answers_after=2.5)
    limits = SessionLimits(messages=3)
    async with serve(library, limits=limits) as server, connect(sync=make()) as connection:
        await anyio.sleep(1)
        session = only(server)
        library.history.append(3)
        if is_said_before:  # so that it is held when the rest is lost
            await session.send(numbered(3))
            await anyio.sleep(SOON)
        async with go_missing(statews_network):
            await session.send(numbered(3))
            for _ in range(5):
                await session.send("something else")
            await anyio.sleep(2)  # the answer is given, and knows of two only
        await connection.wait_for(State.OPEN)
        gap, *rest = await seen_by(connection, 10)
        assert isinstance(gap, Gap)
        assert gap.stream == "session"
        assert numbers([each for each in rest if each != "something else"]) == [1, 2, 3]
        assert connection.phase is Phase.LIVE


async def test_a_client_that_only_sends_finds_a_server_that_hangs() -> None:
    hangs = False

    async def handler(session: Session) -> None:
        async for message in session:
            if message == "are you there" and not hangs:
                await session.send("yes")

    heartbeat = Heartbeat(
        interval=1, timeout=3, message="are you there", is_answer=lambda message: message == "yes"
    )
    session = Resume(window=Window(messages=20))
    async with serve(handler), connect(session=session, policy=steady(heartbeat=heartbeat)) as one:
        await anyio.sleep(60)
        assert one.state is State.OPEN
        hangs = True
        with anyio.fail_after(10):
            await one.wait_for(State.BACKING_OFF)


# What the server does not take.


@pytest.mark.parametrize("make", [after, since])
async def test_a_request_that_the_server_would_not_take_is_not_sent_and_is_told(
    make: Callable[..., Strategy], caplog: pytest.LogCaptureFixture
) -> None:
    policy = steady(limits=Limits(message_bytes=1000))
    strategy = make(timeout=5, retries=1, request=lambda _: "x" * 1100)
    async with serve(mute, policy=policy), connect(sync=strategy) as connection:
        seen = await seen_by(connection, 30)
        assert numbers([each for each in seen if isinstance(each, str)]) == [1, 2, 3]
        assert connection.snapshot().attempt == 0
        assert connection.state is State.OPEN
    said = [each.message for each in caplog.records if "takes messages of" in each.message]
    assert said == [f"{strategy.name}: the server takes messages of 1000 bytes, got 1100"]


async def test_a_heartbeat_that_the_server_would_not_take_is_not_sent_and_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heartbeat = Heartbeat(interval=30, message="x" * 1100, is_answer=lambda _: False)
    server = serve(mute, policy=steady(limits=Limits(message_bytes=1000)))
    async with server, connect(policy=steady(heartbeat=heartbeat)) as connection:
        await anyio.sleep(100)
        assert connection.snapshot().since < SOON
    said = [each.message for each in caplog.records if "takes messages of" in each.message]
    assert said == ["not sent: the server takes messages of 1000 bytes, got 1100"]
