"""Whose session it is: take-over, tokens, principals, attempts."""

from __future__ import annotations

import anyio
import pytest

import statews
from statews import LinkClosed, Request, Resume, SessionLimits, State
from statews.protocol.session.chain import start
from statews.testing import Network, ScriptedPeer

from .world import HOST, SOON, URL, Desk, Speaker, connect, dialled, echo, serve

pytestmark = pytest.mark.statews(limit=5000)


def old(speaker: Speaker, attempt: int = 2, **fields: object) -> dict[str, object]:
    """The hello with which the session of a speaker is resumed."""
    chain = start(str(speaker.sid))  # where the client has handled nothing
    return {"sid": speaker.sid, "tok": speaker.token, "n": attempt, "rc": chain, **fields}


# Take-over.


async def test_the_newer_link_wins_and_the_old_one_is_told() -> None:
    desk = Desk()
    async with serve(desk.handle), dialled() as first, dialled() as second:
        await first.greet()
        await first.say("M1;one")
        await anyio.sleep(1)
        welcome = await second.greet(**old(first, tx=[1, 1]))
        assert welcome["r"] == "resumed"
        assert welcome["rx"] == 1
        error = await first.ending()
        assert (error.code, error.reason) == (4409, "a newer link took over")
        await second.say("M2;two")
        await anyio.sleep(SOON)
        assert desk.heard == ["one", "two"]
        assert len(desk.sessions) == 1
        assert desk.session.links == 2


async def test_a_client_that_was_replaced_fails_and_does_not_come_back() -> None:
    async with serve() as server, connect() as connection:
        session = server.sessions[connection.session or ""]
        session.make_way()  # as a newer link of another process has it
        server._upkeep.left(session)
        await connection.wait_for(State.FAILED)
        error = connection.snapshot().last_error
        assert isinstance(error, LinkClosed)
        assert error.code == 4409
        await anyio.sleep(1000)
        assert connection.state is State.FAILED


async def test_what_the_old_link_still_says_is_not_heard() -> None:
    desk = Desk()
    async with serve(desk.handle), dialled() as first, dialled() as second:
        await first.greet()
        await anyio.sleep(SOON)
        attachment = desk.session._attachment
        assert attachment is not None
        await second.greet(**old(first))
        attachment.link._take(b"\x81\x87\0\0\0\0M1;late")  # it was read already, and not looked at
        await anyio.sleep(SOON)
        assert desk.heard == []
        assert desk.session.credentials.issued is not None
        await second.say("M1;new")
        await anyio.sleep(SOON)
        assert desk.heard == ["new"]


async def test_a_late_hello_of_an_abandoned_attempt_throws_nobody_out() -> None:
    desk = Desk()
    async with serve(desk.handle), dialled() as first:
        await first.greet()
        async with dialled() as abandoned, dialled() as newer:
            await newer.greet(**old(first, attempt=3))
            welcome = await abandoned.greet(**old(first, attempt=2))
            assert welcome["r"] == "reset"
            assert welcome["sid"] != first.sid
            await newer.say("M1;here")
            await anyio.sleep(SOON)
            assert desk.heard == ["here"]


async def test_of_two_hellos_that_wait_the_later_attempt_wins() -> None:
    async def authenticate(request: Request) -> str:
        seconds = request.auth
        await anyio.sleep(seconds if isinstance(seconds, int) else 0)
        return "alice"

    async with serve(authenticate=authenticate), dialled() as first:
        await first.greet()
        async with dialled() as slow, dialled() as quick, anyio.create_task_group() as group:
            group.start_soon(slow.hello_of, old(first, attempt=2, auth=5))
            await anyio.sleep(1)
            assert (await quick.greet(**old(first, attempt=3)))["r"] == "resumed"
            assert (await slow.hear()).startswith('W{"v":1,"r":"reset"')
            await quick.say("M1;x")
            assert "M1;x" in await quick.hear_all()


# Tokens.


async def test_both_tokens_are_good_until_the_first_frame() -> None:
    async with serve():
        async with dialled() as first:
            await first.greet()
            await first.say("P")
            await first.hear()
        async with dialled() as second:
            assert (await second.greet(**old(first, 2)))["r"] == "resumed"
        async with dialled() as third:  # the welcome of the second was lost
            assert (await third.greet(**old(first, 3)))["r"] == "resumed"
        async with dialled() as fourth:
            assert (await fourth.greet(**old(third, 4)))["r"] == "resumed"


@pytest.mark.parametrize("retired", ["first", "second"])
async def test_a_retired_token_is_refused_and_the_session_goes_on(retired: str) -> None:
    async with serve() as server:
        async with dialled() as first:
            await first.greet()
        async with dialled() as second:
            await second.greet(**old(first, 2))
            await second.say("P")  # proves its token, and retires the first
            await second.hear()
        async with dialled() as third:
            await third.greet(**old(second, 3))
            await third.say("P")
            await third.hear()
            async with dialled() as thief:
                stolen = first if retired == "first" else second
                welcome = await thief.greet(**old(stolen, 4))
                assert welcome["r"] == "reset"
                assert welcome["sid"] != first.sid
            await third.say("M1;still here")
            assert "M1;still here" in await third.hear_all()
        assert server.sessions[str(first.sid)].links == 3


async def test_the_server_keeps_no_token() -> None:
    async with serve() as server, dialled() as speaker:
        await speaker.greet()
        credentials = server.sessions[str(speaker.sid)].credentials
        assert str(speaker.token) not in repr(credentials)


# Principals.


async def by_auth(request: Request) -> str | None:
    """Takes the hello's word for it."""
    match request.auth:
        case "forbidden":
            raise PermissionError("not on the list")
        case "broken":
            raise ZeroDivisionError
        case str() as name:
            return name
        case _:
            return None


async def test_somebody_else_s_session_cannot_be_told_from_an_unknown_one() -> None:
    async with serve(authenticate=by_auth) as server, dialled() as alice:
        await alice.greet(auth="alice")
        async with dialled() as mallory:
            stolen = await mallory.greet(**old(alice, 2, auth="mallory"))
        async with dialled() as mallory:
            guessed = {"sid": "x" * 22, "tok": alice.token, "n": 2, "auth": "mallory"}
            unknown = await mallory.greet(**guessed)
        assert stolen.keys() == unknown.keys()
        differing = {key for key in stolen if stolen[key] != unknown[key]}
        assert differing == {"sid", "tok", "rc"}
        assert stolen["rc"] == start(stolen["sid"])
        assert [len(stolen[key]) for key in ("sid", "tok")] == [
            len(unknown[key]) for key in ("sid", "tok")
        ]
        assert stolen["r"] == "reset"
        assert server.sessions[str(alice.sid)].principal == "alice"
        assert server.sessions[stolen["sid"]].principal == "mallory"
        await alice.say("M1;x")
        assert "M1;x" in await alice.hear_all()


@pytest.mark.parametrize(
    ("auth", "code", "reason"),
    [
        (None, 4401, "not authenticated"),
        ("forbidden", 4403, "not on the list"),
        ("broken", 4500, "the server failed"),
    ],
)
async def test_who_is_not_let_in_is_told_by_code(auth: str | None, code: int, reason: str) -> None:
    async with serve(authenticate=by_auth) as server, dialled() as speaker:
        await speaker.hello(auth=auth)
        error = await speaker.ending()
        assert (error.code, error.reason) == (code, reason)
        assert not server.sessions


async def test_authenticate_is_told_the_path_the_headers_and_the_hello() -> None:
    told: list[Request] = []

    async def authenticate(request: Request) -> str:
        told.append(request)
        return "bob"

    session = Resume(auth={"ticket": 7})
    async with serve(authenticate=authenticate) as server:
        options = {"headers": {"Authorization": "Bearer x"}, "session": session}
        async with connect(f"{URL}chat?room=1", **options) as connection:
            assert server.sessions[connection.session or ""].principal == "bob"
    assert [request.path for request in told] == ["/chat?room=1"]
    assert told[0].headers["authorization"] == "Bearer x"
    assert told[0].auth == {"ticket": 7}


async def test_a_client_refreshes_its_credentials_once_after_4401() -> None:
    asked: list[bool] = []

    async def headers(attempt: statews.Attempt) -> dict[str, str]:
        asked.append(attempt.refresh)
        return {"x-name": "bob" if attempt.refresh else ""}

    async def authenticate(request: Request) -> str | None:
        return request.headers.get("x-name") or None

    async with serve(authenticate=authenticate), connect(headers=headers):
        assert asked == [False, True]


# Attempts, and what is lost between hello and welcome.


async def test_a_session_whose_first_welcome_was_lost_is_resumed_like_any_other(
    statews_network: Network,
) -> None:
    async with ScriptedPeer(HOST, 80) as peer, connect(wait=False) as connection:
        for _ in range(3):
            link = await peer.accept()
            await link.upgrade(subprotocol="statews.v1")
            assert (await link.receive()).text.startswith("H{")
            link.reset()
        peer._unbind()
        async with serve() as server:
            await connection.connect()
            sid = connection.session
            await (await connection.send("x")).wait_acknowledged()
            statews_network.reset()
            await connection.wait_for(State.BACKING_OFF)
            await connection.wait_for(State.OPEN)
            assert connection.session == sid
            assert list(server.sessions) == [sid]


async def test_a_session_that_ends_while_its_client_is_let_in_is_gone() -> None:
    desk = Desk()

    async def authenticate(_: Request) -> str:
        await anyio.sleep(5)
        return "bob"

    limits = SessionLimits(time_to_live=3)
    async with serve(desk.handle, authenticate=authenticate, limits=limits):
        async with dialled() as first:
            await first.greet()
        async with dialled() as second:
            assert (await second.greet(**old(first)))["r"] == "reset"


async def test_there_are_only_so_many_sessions() -> None:
    async with (
        serve(echo, limits=SessionLimits(sessions=1)),
        dialled() as first,
        dialled() as second,
    ):
        await first.greet()
        await second.hello()
        error = await second.ending()
        assert (error.code, error.reason) == (1013, "there are too many sessions")
