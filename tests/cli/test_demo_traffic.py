"""How the demo counts its messages, and what its server makes of them."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from statews import Link, Policy, connect
from statews.cli.demo.play import Play
from statews.cli.demo.report import report
from statews.cli.demo.server import Server, follow, number_of, numbered
from statews.cli.demo.stage import Stage
from statews.cli.demo.traffic import Arrival, Traffic, Way
from statews.cli.terminal import Painter
from statews.testing import Guarantee

pytestmark = pytest.mark.anyio


def logged(traffic: Traffic, sent: int, *, up: Iterable[object], down: Iterable[object]) -> None:
    for way, arrived in ((traffic.up, up), (traffic.down, down)):
        for _ in range(sent):
            way.send()
        for message in arrived:
            way.take(message)


@pytest.mark.parametrize(
    ("up", "down", "rows", "is_kept"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], ("ok 4 4 0 0 0", "ok 4 4 0 0 0"), True),
        ([1, 2, 3, 2, 3, 4], [1, 2, 3, 4], ("ok 4 4 0 2 0", "ok 4 4 0 0 0"), True),
        ([1, 2, 4], [1, 2, 3, 4], ("failed 4 3 1 0 0", "ok 4 4 0 0 0"), False),
        ([1, 3, 2, 4], [1, 2, 3, 4], ("failed 4 4 0 0 1", "ok 4 4 0 0 0"), False),
        ([1, 2, 3, 4], [1, 2, 2, 3, 4], ("ok 4 4 0 0 0", "failed 4 4 0 1 0"), False),
        ([1, 2, 3, 4], [1, 3, 2], ("ok 4 4 0 0 0", "failed 4 3 1 0 1"), False),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4], ("failed 4 4 0 0 0", "ok 4 4 0 0 0"), False),
    ],
)
async def test_a_direction_is_judged_by_the_logs_of_both_sides(
    up: Sequence[int], down: Sequence[int], rows: tuple[str, str], is_kept: bool
) -> None:
    traffic = Traffic()
    logged(traffic, 4, up=up, down=down)
    play = Play(steps=(), stage=cast("Stage", SimpleNamespace(traffic=traffic, began=0.0)))
    assert play.is_fine is is_kept
    lines = list(report(play, Painter(io.StringIO())))
    for way, row in zip(traffic.ways, rows, strict=True):
        line = next(each for each in lines if f" {way.name} " in each)
        assert line.replace(way.name, "").split() == row.split()
    assert ("messages did not arrive as they should" in lines) is not is_kept


async def test_what_was_never_sent_is_told() -> None:
    way = Way("up", Guarantee.AT_LEAST_ONCE)
    way.send()
    for message in (1, 2, "hello"):
        way.take(message)
    assert (way.awaited, way.again) == (0, 0)
    assert "never sent: #4 delivered 'hello'" in str(way.verdict(0.0))


async def test_a_way_counts_while_it_goes_on() -> None:
    way = Way("up", Guarantee.AT_LEAST_ONCE)
    assert [way.send() for _ in range(5)] == [1, 2, 3, 4, 5]
    for number in (1, 2, 2, 4):
        way.take(number)
    assert (way.awaited, way.again) == (2, 1)
    assert way.times(4) == [2, 0, 1, 0]
    assert way.times(9) == [1, 2, 0, 1, 0]
    way.withdraw()
    assert len(way.sent) == 4


async def test_what_has_arrived_is_waited_for_without_a_clock() -> None:
    traffic = Traffic()
    logged(traffic, 2, up=[1, 2], down=[1, 1])
    with anyio.move_on_after(0) as scope:
        await traffic.wait_arrived()
    assert scope.cancelled_caught
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(traffic.wait_arrived)
            await anyio.wait_all_tasks_blocked()
            traffic.down.take(2)


async def test_a_delay_runs_from_when_it_was_sent_to_when_it_first_arrived() -> None:
    way = Way("up", Guarantee.AT_LEAST_ONCE)
    for _ in range(3):
        way.send()
    way.sent[:] = [1.0, 2.0, 3.0]
    way.arrived[:] = [Arrival(1, 1.5), Arrival(2, 2.25), Arrival(2, 9.0)]
    assert way.delays(0.0) == [0.5, 0.25]
    assert way.delays(1.5) == [0.25]


@pytest.mark.parametrize("message", ["hello", b"\xff", "[1]", '{"seq": "1"}', "{}"])
def test_what_has_no_number_is_logged_as_it_is(message: str | bytes) -> None:
    assert number_of(message) == message
    assert number_of(numbered(7)) == 7


async def test_a_history_of_several_pages_is_fetched_whole() -> None:
    traffic = Traffic()
    server = Server(Policy(), 0.0, traffic)
    for _ in range(120):
        await server.say()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            await group.start(server.run)
            url = f"ws://127.0.0.1:{server.port}/"
            async with connect(url, sync=follow(), proxy=None) as connection:
                while traffic.down.awaited:
                    traffic.down.take(number_of(await connection.receive()))
                await connection.send(numbered(traffic.up.send()))
                await traffic.wait_arrived()
            group.cancel_scope.cancel()
    assert traffic.down.verdict(0.0).is_kept
    assert traffic.up.verdict(0.0).is_kept


class Stopped:
    """A link whose messages came in just before the server stopped."""

    def __init__(self, *messages: str) -> None:
        self.inbox = deque(messages)
        self.ending = None

    def __aiter__(self) -> Stopped:
        return self

    async def __anext__(self) -> str:
        await anyio.sleep_forever()
        raise AssertionError


async def test_what_came_before_the_server_stopped_is_logged() -> None:
    traffic = Traffic()
    server = Server(Policy(), 0.0, traffic)
    link = Stopped(numbered(1), numbered(2))
    with anyio.move_on_after(0):
        await server._serve(cast("Link", link))
    assert [arrival.message for arrival in traffic.up.arrived] == [1, 2]
