"""What a server keeps for its clients, for how long, and what they learn of the rest."""

from __future__ import annotations

import anyio
import pytest

import statews
from statews import (
    AtLimit,
    Gap,
    OutboxFullError,
    ServerStatistics,
    Session,
    SessionLimits,
    UsageError,
)
from statews.testing import Network

from .world import SOON, connect, dialled, go_missing, only, seen_by, serve

pytestmark = pytest.mark.statews(limit=5000)


def lost(after: int, before: int) -> Gap:
    reason = "the server has not kept what was missed"
    return Gap(stream="session", key=None, after=after, before=before, reason=reason)


async def test_at_the_limit_send_waits_for_the_client() -> None:
    sent: list[int] = []

    async def handler(session: Session) -> None:
        for number in range(10):
            await session.send(str(number))
            sent.append(number)
        await session.receive()

    limits = SessionLimits(messages=4)
    async with serve(handler, limits=limits) as server, connect() as connection:
        await anyio.sleep(10)
        assert sent == [0, 1, 2, 3]
        assert only(server).peer.log.last == 4
        assert await seen_by(connection, 10) == [str(number) for number in range(10)]


async def test_at_the_limit_send_may_raise() -> None:
    async with (
        serve(limits=SessionLimits(messages=2, at_limit=AtLimit.RAISE)) as server,
        connect() as connection,
    ):
        session = only(server)
        await session.send("0")
        await session.send("1")
        with pytest.raises(OutboxFullError, match="is at its limit"):
            await session.send("2")
        assert await seen_by(connection) == ["0", "1"]
        await session.send("3")


async def test_at_the_limit_send_may_drop_the_oldest() -> None:
    limits = SessionLimits(messages=3, at_limit=AtLimit.DROP_OLDEST)
    async with serve(limits=limits) as server, dialled() as speaker:
        await speaker.greet(win=[1, 1000])
        for number in range(1, 8):
            await only(server).send(str(number))
        heard = await speaker.hear_all()
        assert heard == ["M1;1"]
        await speaker.say("A1")
        assert (await speaker.hear_all())[0].startswith("S4,")


@pytest.mark.parametrize("at_limit", [AtLimit.WAIT, AtLimit.RAISE, AtLimit.DROP_OLDEST])
async def test_for_who_is_away_the_oldest_is_dropped_and_the_gap_is_exact(
    statews_network: Network, at_limit: AtLimit
) -> None:
    async with (
        serve(limits=SessionLimits(messages=3, at_limit=at_limit)) as server,
        connect() as connection,
    ):
        session = only(server)
        await session.send("0")
        assert await seen_by(connection) == ["0"]
        async with go_missing(statews_network):
            for number in range(1, 9):
                await session.send(str(number))
        assert await seen_by(connection, 30) == [lost(1, 7), "6", "7", "8"]


async def test_send_that_waits_goes_on_when_the_client_leaves(statews_network: Network) -> None:
    done: list[float] = []

    async def handler(session: Session) -> None:
        for number in range(4):
            await session.send(str(number))
        done.append(anyio.current_time())
        await anyio.sleep_forever()

    async with serve(handler, limits=SessionLimits(messages=2)), connect():
        await anyio.sleep(5)
        assert not done
        statews_network.refuse()
        statews_network.reset()
        await anyio.sleep(SOON)
        assert done == [5]


async def test_what_is_old_is_dropped_for_who_is_away(statews_network: Network) -> None:
    async with serve(limits=SessionLimits(retention=100)) as server, connect() as connection:
        session = only(server)
        async with go_missing(statews_network):
            await session.send("old")
            await anyio.sleep(210)
            await session.send("new")
            await anyio.sleep(60)
        assert await seen_by(connection, 60) == [lost(0, 2), "new"]


async def test_what_is_not_handled_by_who_is_there_is_not_dropped() -> None:
    async with serve(limits=SessionLimits(retention=10)) as server, connect() as connection:
        await only(server).send("x")
        await anyio.sleep(100)
        await only(server).send("y")
        assert await seen_by(connection) == ["x", "y"]


async def test_beyond_the_total_who_is_away_with_the_most_loses_first(
    statews_network: Network,
) -> None:
    async with (
        serve(limits=SessionLimits(total_bytes=1000)) as server,
        connect() as first,
        connect(wait=False) as second,
    ):
        assert first.session is not None
        await second.connect()
        assert second.session is not None
        one, two = server.sessions[first.session], server.sessions[second.session]
        statews_network.refuse()
        statews_network.living[0].server.abort()
        await anyio.sleep(1)
        statews_network.reset()
        await anyio.sleep(1)
        await one.send("a" * 401)
        await two.send("b" * 400)
        assert server.statistics().size_bytes == 801
        await two.send("c" * 400)
        assert server.statistics().size_bytes == 800
        assert (len(one.peer.log), len(two.peer.log)) == (0, 2)


async def test_statistics_count_what_there_is(statews_network: Network) -> None:
    async with serve() as server:
        assert server.statistics() == ServerStatistics(
            sessions=0, away=0, links=0, size_bytes=0, refused=0
        )
        async with connect() as connection:
            async with dialled():
                await anyio.sleep(SOON)
                only(server).put("four")
                assert server.statistics() == ServerStatistics(
                    sessions=1, away=0, links=2, size_bytes=4, refused=0
                )
            async with go_missing(statews_network):
                assert server.statistics() == ServerStatistics(
                    sessions=1, away=1, links=0, size_bytes=4, refused=0
                )
            await seen_by(connection, 10)
            assert server.statistics().size_bytes == 0
            with pytest.raises(TypeError):
                server.sessions["x"] = only(server)  # type: ignore[index]


@pytest.mark.parametrize(
    ("setting", "value", "right"),
    [
        ("window", 3, "a Window"),
        ("messages", 0, "a whole number above 0"),
        ("total_bytes", 1.5, "a whole number above 0"),
        ("sessions", True, "a whole number above 0"),
        ("retention", 0, "above 0 seconds"),
        ("hello", float("nan"), "above 0 seconds"),
        ("time_to_live", "1", "above 0 seconds"),
        ("at_limit", AtLimit.CONFLATE, "AtLimit.WAIT, RAISE or DROP_OLDEST"),
    ],
)
async def test_wrong_limits_are_refused(setting: str, value: object, right: str) -> None:
    with pytest.raises(UsageError, match=f"SessionLimits.{setting} must be {right}, got"):
        SessionLimits(**{setting: value})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected handler to be an async function of a Session"):
        statews.serve(3)  # type: ignore[arg-type]


async def test_the_oldest_tombstones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("statews.server.journal.TOMBSTONES", 3)
    async with serve() as server:
        for _ in range(5):
            async with connect():
                pass
            await anyio.sleep(SOON)
        assert len(server._journal.tombstones) == 3
