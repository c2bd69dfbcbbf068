"""What a server says that is wrong costs it the link, and the client another attempt."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest

from statews import (
    Connection,
    Gap,
    OpeningTimeout,
    ReceiptState,
    Reset,
    Resume,
    SessionError,
    State,
    Window,
)
from statews.client.feed import MOST_PLACES
from statews.protocol.envelope import SUBPROTOCOL
from statews.protocol.session.chain import advance, start
from statews.testing import PeerLink, ScriptedPeer

from .world import HOST, SOON, connect, seen_by, steady

pytestmark = pytest.mark.statews(limit=5000)

SID = "s" * 22


def welcome(result: str = "new", **fields: object) -> str:
    content = {"v": 1, "r": result, "sid": SID, "tok": "t" * 43, "rx": 0, "rc": start(SID)}
    content |= {"tx": [1, 0], **fields}
    return f"W{json.dumps({name: value for name, value in content.items() if value != 'absent'})}"


class Talk:
    """A client, and the peer that it talks to."""

    def __init__(self, connection: Connection, peer: ScriptedPeer) -> None:
        self.connection = connection
        self.peer = peer
        self.link: PeerLink = None  # type: ignore[assignment]  # there is none yet

    async def hello(self) -> dict[str, Any]:
        """A new link, up to the client's hello."""
        self.link = await self.peer.accept()
        await self.link.upgrade(subprotocol=SUBPROTOCOL)
        frame = await self.link.receive()
        assert frame.text.startswith("H")
        return cast("dict[str, Any]", json.loads(frame.text[1:]))

    async def greet(self, *frames: str, result: str = "new", **fields: object) -> dict[str, Any]:
        """A new link, welcomed, and what is said behind the welcome."""
        hello = await self.hello()
        await self.link.send(welcome(result, **fields))
        for frame in frames:
            await self.link.send(frame)
        await self.connection.wait_for(State.OPEN)
        return hello

    async def refused(self, why: str, code: int = 4400) -> None:
        """The client has closed the link, and knows why."""
        while (frame := await self.link.receive()).close_code is None:
            pass
        assert (frame.close_code, why in frame.text) == (code, True), frame.text
        self.link.close()
        await self.connection.wait_for(State.BACKING_OFF)
        error = self.connection.snapshot().last_error
        assert isinstance(error, SessionError), error


@asynccontextmanager
async def talk(**options: Any) -> AsyncGenerator[Talk]:  # noqa: ANN401
    async with ScriptedPeer(HOST, 80) as peer, connect(wait=False, **options) as connection:
        try:
            yield Talk(connection, peer)
        finally:
            for link in peer.links:
                link.reset()


BAD_WELCOMES: list[tuple[str | bytes, str]] = [
    ("W", "a welcome that is not JSON"),
    ("W[]", "a welcome that is no JSON object"),
    (welcome(v=2), "a welcome of version 2, not 1"),
    (welcome("fine"), "a welcome whose 'r' is 'fine'"),
    (welcome("absent"), "a welcome whose 'r' is None"),
    (welcome(sid="absent"), "a welcome whose 'sid' is None"),
    (welcome(tok=""), "a welcome whose 'tok' is ''"),
    (welcome(rx=-1), "a welcome whose 'rx' is -1"),
    (welcome(tx=[3, 1]), "a welcome with messages 3 to 1"),
    (welcome(lost=[[1]]), "a welcome whose 'lost' is [[1]]"),
    (welcome(lost=[[1, 2]] * 17), "a welcome whose 'lost' is"),
    (welcome(ttl="long"), "a welcome whose 'ttl' is 'long'"),
    (welcome(was=3), "a welcome whose 'was' is 3"),
    (welcome(why=3), "a welcome whose 'why' is 3"),
    (welcome(win=[0, 0]), "a welcome whose 'win' is [0, 0]"),
    (welcome(max=1.5), "a welcome whose 'max' is 1.5"),
    (welcome(pad="x" * 20_000), "a welcome of over 16384 bytes"),
    (welcome("resumed"), "another session"),
    (welcome("gap"), "another session"),
    ('H{"v":1}', "did not begin with its welcome"),
    ("M1;x", "did not begin with its welcome"),
    ("x;later", "did not begin with its welcome"),
    (welcome().encode(), "which is no frame"),
    ("", "which is no frame"),
]


@pytest.mark.parametrize(("said", "why"), BAD_WELCOMES, ids=range(len(BAD_WELCOMES)))
async def test_what_is_no_welcome_is_refused_and_tried_again(said: str | bytes, why: str) -> None:
    async with talk() as conversation:
        first = await conversation.hello()
        await conversation.link.send(said)
        await conversation.refused(why)
        second = await conversation.hello()
        assert "sid" not in second
        assert second["n"] > first["n"]
        await conversation.link.send(welcome())
        await conversation.connection.wait_for(State.OPEN)
        assert conversation.connection.session == SID


async def test_a_server_that_never_welcomes_is_an_attempt_that_took_too_long() -> None:
    async with talk() as conversation:
        await conversation.hello()
        await conversation.connection.wait_for(State.BACKING_OFF)
        error = conversation.connection.snapshot().last_error
        assert isinstance(error, OpeningTimeout)
        assert str(error) == "the attempt took more than 15 seconds, while resuming"


async def test_the_server_may_end_the_link_instead_of_a_welcome() -> None:
    async with talk() as conversation:
        await conversation.hello()
        await conversation.link.send_close(1013, "retry=5000-5000")
        assert (await conversation.link.receive()).close_code == 1013
        conversation.link.close()
        await conversation.connection.wait_for(State.BACKING_OFF)
        snapshot = conversation.connection.snapshot()
        assert snapshot.retry_at == pytest.approx(5, abs=1)


@pytest.mark.parametrize(
    ("position", "why"),
    [
        ({"rx": 5, "tx": [1, 1]}, "it has handled message 5, and 1 was the last one"),
        ({"rx": 0, "tx": [1, 0]}, "and it knows 0 only"),
        ({"rx": 1, "rc": 77, "tx": [1, 1]}, "up to message 1 it was told something else"),
    ],
)
async def test_a_server_that_went_back_in_time_ends_the_session(
    position: dict[str, object], why: str
) -> None:
    async with talk() as conversation:
        connection = conversation.connection
        await conversation.greet("M1;one")
        await connection.send("mine")
        assert await connection.receive() == "one"
        with anyio.move_on_after(1):
            await connection.receive()
        conversation.link.reset()
        hello = await conversation.hello()
        assert (hello["sid"], hello["rx"], hello["tx"]) == (SID, 1, [1, 1])
        await conversation.link.send(welcome("resumed", **position))
        await conversation.refused(why)
        assert connection.session is None
        await conversation.greet("M1;two", sid="another")
        seen = await seen_by(connection)
        assert isinstance(seen[0], Reset)
        assert why in seen[0].reason
        assert seen[1:] == ["two"]


BAD_FRAMES: list[tuple[str | bytes, str]] = [
    (welcome(), "a second greeting"),
    ("M2;jump", "sent message 2 where 1 was next"),
    ("M1,5;x", "acknowledged 5, which it was not sent"),
    ("A1", "acknowledged 1, which it was not sent"),
    ("Q;", "which is no frame"),
    ("G1", "which is no frame"),
    ("G1-", "which is no frame"),
    (b"G1-2", "which is no frame"),
    ("Sx,0", "which is no frame"),
    ("Y", "which is no frame"),
]


@pytest.mark.parametrize(("frame", "why"), BAD_FRAMES, ids=range(len(BAD_FRAMES)))
async def test_what_is_no_frame_costs_the_link_and_the_session_is_resumed(
    frame: str | bytes, why: str
) -> None:
    async with talk() as conversation:
        await conversation.greet()
        await conversation.link.send(frame)
        await conversation.refused(why)
        hello = await conversation.greet("M1;x", result="resumed")
        assert hello["sid"] == SID
        assert await conversation.connection.receive() == "x"


async def test_a_bad_frame_right_behind_the_welcome_costs_the_link() -> None:
    async with talk() as conversation:
        await conversation.hello()
        said = welcome().encode()
        head = b"\x81\x7e" + len(said).to_bytes(2, "big")
        await conversation.link.send_bytes(head + said + b"\x81\x07M2;jump")
        await conversation.refused("sent message 2 where 1 was next")


async def test_more_than_the_window_costs_the_link() -> None:
    async with talk(session=Resume(window=Window(2))) as conversation:
        await conversation.greet("M1;x", "M2;x", "M3;x")
        await conversation.refused("more than the window allows")


async def test_frames_of_later_versions_are_ignored() -> None:
    async with talk() as conversation:
        await conversation.greet("a", "b;x", "M1;one")
        assert await conversation.connection.receive() == "one"


async def test_volatile_messages_fill_no_memory_and_the_newest_of_a_slot_is_kept() -> None:
    async with talk(session=Resume(window=Window(10))) as conversation:
        connection = conversation.connection
        await conversation.greet(*(f"V;{number}" for number in range(100)))
        for number in range(100):
            await conversation.link.send(f"Lslot;{number}")
        await anyio.sleep(SOON)
        intake = connection._driver.sender.intake
        assert intake is not None
        assert len(intake.feed) <= 21
        seen = await seen_by(connection)
        assert seen == [*map(str, range(20)), "99"]


async def test_ever_new_slots_fill_no_memory_either() -> None:
    async with talk(session=Resume(window=Window(messages=10))) as conversation:
        await conversation.greet()
        for frame in (*(f"Lslot-{n};{n}" for n in range(3000)), "Lslot-1;new", "M1;x"):
            await conversation.link.send(frame)
        await anyio.sleep(SOON)
        seen = await seen_by(conversation.connection)
    assert seen == ["0", "new", *map(str, range(2, MOST_PLACES)), "x"]


async def test_what_the_server_dropped_is_a_gap() -> None:
    async with talk() as conversation:
        connection = conversation.connection
        await conversation.greet("M1;one")
        assert await connection.receive() == "one"
        chain = advance(start(SID), ["one", "two", "three"])
        await conversation.link.send(f"S3,{chain}")
        await conversation.link.send("M4;four")
        seen = await seen_by(connection)
        reason = "the server has not kept what was missed"
        gap = Gap(stream="session", key=None, after=1, before=4, reason=reason)
        assert seen == [gap, "four"]
        conversation.link.reset()
        hello = await conversation.hello()
        assert (hello["rx"], hello["rc"]) == (4, advance(chain, ["four"]))


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
async def test_an_order_to_go_away_is_obeyed_to_the_millisecond(draw: float) -> None:
    async with talk(random=lambda: draw) as conversation:
        connection = conversation.connection
        await conversation.greet()
        began = anyio.current_time()
        await conversation.link.send("G3000-8000;move on")
        frame = await conversation.link.receive()
        assert frame.close_code == 1001
        conversation.link.close()
        hello = await conversation.hello()
        assert anyio.current_time() == pytest.approx(began + 3 + draw * 5, abs=0.01)
        assert hello["sid"] == SID
        assert connection.session == SID


async def test_the_attempt_number_rises_with_each_hello() -> None:
    async with talk() as conversation:
        numbers: list[int] = []
        for _ in range(3):
            numbers.append((await conversation.hello())["n"])
            conversation.link.reset()
        await conversation.greet()
        for _ in range(3):
            conversation.link.reset()
            numbers.append((await conversation.hello())["n"])
        assert numbers == sorted(set(numbers))


async def test_messages_that_come_twice_are_delivered_once() -> None:
    async with talk() as conversation:
        connection = conversation.connection
        await conversation.greet("M1;one", "M2;two")
        assert await connection.receive() == "one"
        conversation.link.reset()
        hello = await conversation.greet(
            "M1;one", "M2;two", "M3;three", result="resumed", tx=[1, 3]
        )
        assert hello["rx"] == 0
        assert await connection.receive() == "two"
        assert await connection.receive() == "three"


async def test_what_was_written_waits_for_the_window_of_the_server() -> None:
    async with talk() as conversation:
        connection = conversation.connection
        await conversation.greet(win=[2, 1000])
        receipts = [await connection.send(str(number)) for number in range(4)]
        assert [(await conversation.link.receive()).text for _ in range(2)] == ["M1;0", "M2;1"]
        await anyio.sleep(1)
        assert [receipt.state for receipt in receipts[2:]] == ["queued", "queued"]
        await conversation.link.send("A1")
        assert (await conversation.link.receive()).text == "M3;2"
        assert receipts[0].state is ReceiptState.ACKNOWLEDGED


async def test_a_question_is_answered_with_what_was_handled() -> None:
    async with talk(policy=steady(heartbeat=None)) as conversation:
        connection = conversation.connection
        await conversation.greet("M1;one", "M2;two")
        assert await connection.receive() == "one"
        assert await connection.receive() == "two"
        await conversation.link.send("P")
        assert (await conversation.link.receive()).text == "Q,1"
        await conversation.link.send("P")
        assert (await conversation.link.receive()).text == "Q"
