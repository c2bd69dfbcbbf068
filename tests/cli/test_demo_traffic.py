"""How the demo counts its messages, and where it reads of them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from statews.cli.demo.logbook import Logbook, Record, number_of, numbered
from statews.cli.demo.logs import Logs, News
from statews.cli.demo.names import FIRST, SECOND, SERVER
from statews.cli.demo.play import Play
from statews.cli.demo.processes import Process
from statews.cli.demo.report import report
from statews.cli.demo.stage import Stage
from statews.cli.demo.traffic import Line, Way
from statews.cli.terminal import Painter

pytestmark = pytest.mark.anyio


def logged(logs: Logs, sent: int, *, up: Iterable[object], down: Iterable[object]) -> None:
    traffic = logs.traffic[FIRST]
    for way, arrived in ((traffic.up, up), (traffic.down, down)):
        for _ in range(sent):
            way.send()
        for message in arrived:
            way.take(message)


@pytest.mark.parametrize(
    ("up", "down", "rows", "is_kept"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], ("ok 4 4 0 0 0", "ok 4 4 0 0 0"), True),
        ([1, 2, 3, 2, 3, 4], [1, 2, 3, 4], ("failed 4 4 0 2 0", "ok 4 4 0 0 0"), False),
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
    logs = Logs()
    logged(logs, 4, up=up, down=down)
    play = Play(steps=(), stage=cast("Stage", SimpleNamespace(logs=logs, began=0.0)))
    assert play.is_fine is is_kept
    lines = list(report(play, Painter(io.StringIO())))
    for way, row in zip(logs.traffic[FIRST].ways, rows, strict=True):
        line = next(each for each in lines if f" {way.name} " in each)
        assert line.replace(way.name, "").split() == row.split()
    assert ("messages did not arrive as they should" in lines) is not is_kept


async def test_what_was_never_sent_is_told() -> None:
    way = Way("up")
    way.send()
    for message in (1, 2, "hello"):
        way.take(message)
    assert (way.awaited, way.again) == (0, 0)
    assert "never sent: #4 delivered 'hello'" in str(way.verdict(0.0))


async def test_a_way_counts_while_it_goes_on() -> None:
    way = Way("up")
    assert [way.send() for _ in range(5)] == [1, 2, 3, 4, 5]
    for number in (1, 2, 2, 4):
        way.take(number)
    assert (way.awaited, way.again) == (2, 1)
    assert way.times(0) == []
    assert way.times(4) == [2, 0, 1, 0]
    assert way.times(9) == [1, 2, 0, 1, 0]
    way.withdraw()
    assert (len(way.sent), way.awaited) == (4, 1)


async def test_a_delay_runs_from_when_it_was_sent_to_when_it_first_arrived() -> None:
    way = Way("up")
    way.sent[:] = [Line(1, 1.0), Line(2, 2.0), Line(3, 3.0)]
    way.arrived[:] = [Line(1, 1.5), Line(2, 2.25), Line(2, 9.0)]
    assert way.delays(0.0) == [0.5, 0.25]
    assert way.delays(1.5) == [0.25]


async def test_a_log_that_turns_out_otherwise_is_corrected() -> None:
    way = Way("up")
    for _ in range(3):
        way.send()
    way.arrived[:] = [Line(1, 1.5), Line(3, 3.5)]
    way.correct([1, 2, 3])
    assert [line.message for line in way.arrived] == [1, 2, 3]
    assert (way.arrived[0].at, way.arrived[2].at) == (1.5, 3.5)
    assert way.awaited == 0


@pytest.mark.parametrize("message", ["hello", "[1]", '{"seq": "1"}', "{}"])
def test_what_has_no_number_is_logged_as_it_is(message: str) -> None:
    assert number_of(message) == message
    assert number_of(b"\xff") == str(b"\xff")
    assert number_of(numbered(7)) == 7


# The logs of processes.


def test_a_log_goes_on_with_that_of_an_earlier_process(tmp_path: Path) -> None:
    path = tmp_path / "log"
    Logbook(path).write("sent", 1)
    with path.open("a") as file:
        file.write('a complaint\n17\n[1]\n["sen')  # killed here
    Logbook(path).write("sent", 2)
    assert Logbook(path).records == [Record("sent", (1,)), Record("sent", (2,))]


def read(tmp_path: Path, name: str, *lines: str) -> tuple[Logs, list[News]]:
    path = tmp_path / "log"
    path.write_text("".join(f"{line}\n" for line in lines))
    logs = Logs()
    return logs, list(logs.read(Process(name, "none", path, [])))


async def test_what_the_server_tells_twice_is_counted_once(tmp_path: Path) -> None:
    logs, news = read(
        tmp_path,
        SERVER,
        '["ready", 4242, 0, 8000]',
        '["said", "client", 1]',
        '["heard", 1, "client 2", 1]',
        '["heard", 2, "client", 1]',
        '["ready", 4243, 2, 8000]',
        '["heard", 1, "client 2", 1]',
        '["heard", 2, "client", 1]',
        '["heard", 3, "client", 1]',
        '["quiet"]',
        '["ended", "client"]',
    )
    assert logs.port == 8000
    assert [len(way.arrived) for way in logs.ways] == [2, 0, 1, 0]
    assert [len(way.sent) for way in logs.ways] == [0, 1, 0, 0]
    assert (logs.silent, logs.ended) == ({SERVER}, {FIRST})
    assert [text for _, text in news] == [
        "server: process 4242 begins, sessions in its file: 0",
        "server: process 4243 begins, sessions in its file: 2",
    ]


async def test_what_the_second_client_looks_up_is_told(tmp_path: Path) -> None:
    logs, news = read(
        tmp_path,
        SECOND,
        '["ready", 4242, 3]',
        '["opened", "a"]',
        '["sent", 1]',
        '["got", 1]',
        '["again", 1]',
        '["opened", "b"]',
    )
    assert [len(way.sent) for way in logs.ways] == [0, 0, 1, 0]
    assert [len(way.arrived) for way in logs.ways] == [0, 0, 0, 1]
    assert logs.strayed == [SECOND]
    assert [text for _, text in news] == [
        "client 2: process 4242 begins, messages in its outbox: 3",
        "client 2: message 1 came again, and was in its log",
    ]


@pytest.mark.parametrize("name", [SERVER, SECOND])
def test_what_is_no_record_of_it_is_shown(name: str, tmp_path: Path) -> None:
    _, news = read(tmp_path, name, "Traceback", '["dance", 1]')
    assert news == [
        ("failed", f"{name}: Traceback"),
        ("state", f"{name}: Record(what='dance', about=(1,))"),
    ]


async def test_a_process_that_does_not_end_is_killed(tmp_path: Path) -> None:
    endless = ["-n1", "-r1", "import time; print(1, flush=True); time.sleep(100)"]
    with Process("endless", "timeit", tmp_path / "log", endless) as process:
        assert process.pid is None
        process.start()
        with anyio.fail_after(60):
            while not list(process.read()):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert process.pid is not None
        assert not await process.stop(0.1)
        assert process.pid is None


async def test_a_process_that_has_ended_is_found_so(tmp_path: Path) -> None:
    with Process("short", "timeit", tmp_path / "log", ["-n1", "-r1", "0"]) as process:
        process.start()
        with anyio.fail_after(60):
            while process.pid is not None:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        process.order_quiet()
        assert await process.stop(60)
        assert (tmp_path / "log").read_text()
