"""What clients say that is wrong costs them their link, and the rightful session nothing."""

from __future__ import annotations

import anyio
import pytest

import statews
from statews import LinkClosed, Policy, State
from statews.protocol.session.chain import start
from statews.transport.network import NETWORK
from statews.transport.stream import receive, send

from ..memory import traced
from .test_identity import old
from .world import HOST, SOON, Desk, Speaker, connect, dialled, echo, serve

pytestmark = pytest.mark.statews(limit=5000)

MASK = b"\0\0\0\0"


async def usable(desk: Desk, speaker: Speaker, seq: int) -> None:
    """The rightful client of a session goes on."""
    await speaker.say(f"M{seq};mine")
    await anyio.sleep(SOON)
    assert desk.heard[-1:] == ["mine"]


HELLO = '"n":1,"rx":0,"rc":0,"tx":[1,0]'
BAD_HELLOS: list[tuple[str | bytes, str]] = [
    ("H", "a hello that is not JSON"),
    ("H{", "a hello that is not JSON"),
    ("H[]", "a hello that is no JSON object"),
    ("H{}", "a hello of version None, not 1"),
    ('H{"v":2}', "a hello of version 2, not 1"),
    ("H" + "[" * 10_000, "a hello that is not JSON"),
    ('H{"v":1,"n":-1}', "a hello whose 'n' is -1"),
    ('H{"v":1,"n":1e3}', "a hello whose 'n' is 1000.0"),
    ('H{"v":1,"n":9007199254740992}', "a hello whose 'n' is 9007199254740992"),
    ('H{"v":1,"rx":true}', "a hello whose 'rx' is True"),
    ('H{"v":1,"tx":[0,0]}', "a hello with messages 0 to 0"),
    ('H{"v":1,"tx":[5,3]}', "a hello with messages 5 to 3"),
    ('H{"v":1,"tx":7}', "a hello whose 'tx' is 7"),
    ('H{"v":1,"win":[0,1]}', "a hello whose 'win' is [0, 1]"),
    ('H{"v":1,"sid":"x"}', "a hello with one of sid and tok, and not the other"),
    ('H{"v":1,"tok":"x"}', "a hello with one of sid and tok, and not the other"),
    ('H{"v":1,"sid":"","tok":"x"}', "a hello whose 'sid' is ''"),
    ('H{"v":1,"sid":"\\u0000","tok":"x"}', "a hello whose 'sid' is"),
    (f'H{{"v":1,"sid":"{"x" * 129}","tok":"x"}}', "a hello whose 'sid' is"),
    (f'W{{"v":1,{HELLO}}}', "did not begin with its hello"),
    ("M1;x", "did not begin with its hello"),
    ("P", "did not begin with its hello"),
    ("x;later", "did not begin with its hello"),
    ("", "which is no frame"),
    (f'H{{"v":1,{HELLO}}}'.encode(), "which is no frame"),
    (b"\xff\xfe", "which is no frame"),
]


@pytest.mark.parametrize(("hello", "why"), BAD_HELLOS, ids=range(len(BAD_HELLOS)))
async def test_what_is_no_hello_is_refused(hello: str | bytes, why: str) -> None:
    async with serve() as server, dialled() as speaker:
        await speaker.say(hello)
        error = await speaker.ending()
        assert error.code == 4400
        assert why in error.reason
        assert not server.sessions


async def test_a_hello_of_a_megabyte_is_refused_by_its_header() -> None:
    async with serve() as server, dialled() as speaker:
        await speaker.hello(auth="x" * 1_000_000)
        error = await speaker.ending()
        assert error.code == 1009
        assert not server.sessions


@pytest.mark.parametrize("size", [70_000, 2**30, 2**62])
async def test_a_hello_that_says_it_is_long_is_refused_at_once_whatever_follows(
    size: int,
) -> None:
    async with serve(), dialled() as speaker:
        link = speaker.link
        header = b"\x81\xff" + size.to_bytes(8, "big") + MASK
        with traced() as memory:
            link._stream.send_nowait(header)
            assert (await speaker.ending()).code == 1009
            assert memory()[1] < 2_000_000
        assert anyio.current_time() == 0


async def test_a_hello_in_fragments_is_no_longer_either() -> None:
    async with serve(), dialled() as speaker:
        fragment = b"\x01\xfe" + (10_000).to_bytes(2, "big") + MASK + b"H" * 10_000
        speaker.link._stream.send_nowait(fragment + b"\x00" + fragment[1:])
        assert (await speaker.ending()).code == 1009


async def test_a_hello_just_within_the_limit_is_welcome() -> None:
    async with serve(), dialled() as speaker:
        assert (await speaker.greet(auth="x" * 16_000))["r"] == "new"


BAD_FRAMES: list[tuple[str | bytes, str]] = [
    (f'H{{"v":1,{HELLO}}}', "a second greeting"),
    ("W{}", "a second greeting"),
    ("M3;jump", "sent message 3 where 2 was next"),
    ("M1;again", "sent message 1 where 2 was next"),
    ("M0;zero", "sent message 0 where 2 was next"),
    ("M02;zero", "which is no frame"),
    ("M2,;x", "which is no frame"),
    ("M2,1,1;x", "which is no frame"),
    ("M9007199254740992;x", "above 2^53 - 1"),
    ("M2,7;x", "acknowledged 7, which it was not sent"),
    ("A7", "acknowledged 7, which it was not sent"),
    ("P,9007199254740991", "acknowledged 9007199254740991, which it was not sent"),
    ("M2", "which is no frame"),
    ("M" + "1" * 100_000, "which is no frame"),
    (b"M2", "which is no frame"),
    (b"A0", "which is no frame"),
    ("S1,0", "skipped up to 1 where 2 was next"),
    ("L;x", "which is no frame"),
    ("Z", "which is no frame"),
    ("Z;x", "which is no frame"),
    ("G1-2;x" + "\x00", "ok"),
    ("é;x", "which is no frame"),
    ("", "which is no frame"),
]


@pytest.mark.parametrize(("frame", "why"), BAD_FRAMES, ids=range(len(BAD_FRAMES)))
async def test_what_is_no_frame_costs_the_link_and_not_the_session(
    frame: str | bytes, why: str
) -> None:
    desk = Desk()
    async with serve(desk.handle), dialled() as speaker:
        await speaker.greet()
        await speaker.say("M1;one")
        await speaker.say(frame)
        if why != "ok":
            error = await speaker.ending()
            assert error.code == 4400
            assert why in error.reason
        async with dialled() as again:
            welcome = await again.greet(**old(speaker, tx=[1, 1]))
            assert welcome["r"] == "resumed"
            await again.say(*(["M1;one"] if welcome["rx"] == 0 else []))
            await usable(desk, again, 2)
    assert desk.heard == ["one", "mine"]


async def test_frames_of_later_versions_are_ignored() -> None:
    desk = Desk()
    async with serve(desk.handle), dialled() as speaker:
        await speaker.greet()
        await speaker.say("x", "y;later", b"z;later", "q1,2;")
        await usable(desk, speaker, 1)


async def test_more_than_the_window_costs_the_link() -> None:
    async def never(_: statews.Session) -> None:
        await anyio.sleep_forever()

    limits = statews.SessionLimits(window=statews.Window(4, 1000))
    async with serve(never, limits=limits) as server, dialled() as speaker:
        await speaker.greet()
        await speaker.say(*(f"M{number};x" for number in range(1, 6)))
        error = await speaker.ending()
        assert error.code == 4400
        assert "more than the window allows" in error.reason
        assert len(server.sessions) == 1


@pytest.mark.parametrize("frame", ["V;{}", "Lslot;{}", "Lslot-{n};{}"])
async def test_messages_without_numbers_fill_no_memory(frame: str) -> None:
    async def never(_: statews.Session) -> None:
        await anyio.sleep_forever()

    limits = statews.SessionLimits(window=statews.Window(10, 1000))
    async with serve(never, limits=limits) as server, dialled() as speaker:
        await speaker.greet()
        for number in range(5000):
            with_payload = frame.replace("{}", "x" * 100).replace("{n}", str(number))
            await speaker.say(with_payload)
        await anyio.sleep(1)
        (session,) = server.sessions.values()
        held = session.inbox._items or ()
        assert len(held) <= 10


async def test_a_session_of_somebody_else_is_not_to_be_had() -> None:
    desk = Desk()
    async with serve(desk.handle) as server, dialled() as owner:
        await owner.greet()
        chain = start(str(owner.sid))
        for token in ("guessed", "", str(owner.sid)):
            async with dialled() as thief:
                hello = {"sid": owner.sid, "tok": token or None, "n": 99, "rc": chain}
                await thief.hello(**hello)
                if token:
                    assert (await thief.hear()).startswith('W{"v":1,"r":"reset"')
                else:
                    assert (await thief.ending()).code == 4400
        assert server.sessions[str(owner.sid)].is_attached
        await usable(desk, owner, 1)


@pytest.mark.parametrize(
    "position",
    [
        {"rx": 5},  # more than was ever sent
        {"rc": 77},  # another history
        {"tx": [1, 0]},  # fewer than were handled
    ],
)
async def test_a_position_that_cannot_be_is_a_reset(position: dict[str, object]) -> None:
    async with serve() as server:
        async with dialled() as first:
            await first.greet()
            await first.say("M1;one")
            await anyio.sleep(1)
        async with dialled() as again:
            hello = old(first, tx=[1, 1]) | position
            welcome = await again.greet(**hello)
            assert welcome["r"] == "reset"
            assert first.sid in server.sessions


async def test_a_client_without_the_subprotocol_is_told_so() -> None:
    async with serve() as server:
        async with dialled(subprotocols=()) as speaker:
            error = await speaker.ending()
            assert (error.code, error.reason) == (1002, "this server speaks statews.v1 only")
        async with connect(session=None, wait=False) as connection:
            await connection.wait_for(State.BACKING_OFF)
            assert isinstance(connection.snapshot().last_error, LinkClosed)
        assert not server.sessions


async def test_what_is_no_handshake_gets_an_answer() -> None:
    async with serve():
        stream = await NETWORK.get().connect_tcp(
            HOST, 80, head_start=1, user_timeout=None, on_resolved=lambda: None
        )
        await send(stream, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
        assert (await receive(stream)).startswith(b"HTTP/1.1 426")
        stream.abort()


async def test_a_message_longer_than_the_server_takes_is_refused() -> None:
    policy = Policy(limits=statews.Limits(message_bytes=1000))
    async with serve(echo, policy=policy), dialled() as speaker:
        welcome = await speaker.greet()
        assert welcome["max"] == 1000
        await speaker.say("M1;" + "x" * 1000)
        await anyio.sleep(SOON)
        await speaker.say("M2;" + "x" * 2000)
        assert (await speaker.ending()).code == 1009
