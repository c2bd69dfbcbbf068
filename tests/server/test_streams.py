"""Streams and heartbeats of the application in a session, which outlives the links they use."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from anyio import current_time

from statews import After, Gap, Heartbeat, Page, Phase, Session, Since, State
from statews.testing import Network

from .world import connect, go_missing, seen_by, serve, steady

pytestmark = pytest.mark.statews(limit=5000)


def numbered(number: int) -> str:
    return json.dumps({"seq": number, "at": float(number)})


def page_of(parsed: dict[str, Any]) -> Page | None:
    if "page" not in parsed:
        return None
    return Page(items=[numbered(number) for number in parsed["page"]])


def after(*, page: Any = page_of, start: int = 0, **options: Any) -> After[Any]:  # noqa: ANN401 - whatever `After` takes
    return After(
        lambda ask: json.dumps({"after": ask.after}),
        seq=lambda parsed: parsed.get("seq"),
        page=page,
        start=start,
        **options,
    )


def since(**options: Any) -> Since[Any]:  # noqa: ANN401 - whatever `Since` takes
    return Since(
        lambda cursor: json.dumps({"after": cursor}),
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
