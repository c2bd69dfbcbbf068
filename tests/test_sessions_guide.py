"""What README and docs/sessions.md show of sessions is true."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

import statews

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent


def examples(path: str) -> list[str]:
    text = (ROOT / path).read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


SHORTEST = next(each for each in examples("README.md") if "statews.Resume()" in each)
GUIDE = examples("docs/sessions.md")


def example(word: str) -> str:
    """The example of the guide in which a word is."""
    (source,) = (each for each in GUIDE if word in each)
    return source


@pytest.mark.parametrize("source", [SHORTEST, GUIDE[0]], ids=["readme", "guide"])
async def test_the_shortest_session_runs(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Callable[[], Awaitable[None]]] = {}
    exec(source, names)  # noqa: S102
    with anyio.fail_after(20):
        await names["main"]()
    assert capsys.readouterr().out == "seen: hello\n"


async def test_each_new_session_begins_with_a_subscription(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[str | bytes] = []

    async def forgetful(session: statews.Session) -> None:
        async for message in session:
            told.append(message)
            await session.send("42")

    names: dict[str, Callable[[str], Awaitable[None]]] = {}
    exec(example("subscribe"), names)  # noqa: S102
    with anyio.fail_after(20):
        async with statews.serve(forgetful) as server:
            await names["follow"](f"ws://127.0.0.1:{server.port}/")
    assert told == ['{"subscribe": "prices"}']
    assert capsys.readouterr().out == "42\n"


async def test_the_server_with_names_runs_and_finds_its_sessions_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Callable[..., Awaitable[str | None]]] = {}
    exec(example("authenticate"), names)  # noqa: S102
    main, handle, authenticate = (names[each] for each in ("main", "handle", "authenticate"))
    path = str(tmp_path / "sessions.sqlite")
    with anyio.fail_after(20):
        store = statews.SQLiteStore(path)
        async with (
            statews.serve(handle, store=store, authenticate=authenticate) as server,
            statews.connect(
                f"ws://127.0.0.1:{server.port}/",
                session=statews.Resume(on_missing=statews.OnMissing.FAIL),
                headers={"X-Token": "secret"},
            ) as connection,
        ):
            await connection.send("it is me")
            await connection.flush()
            await connection.close(1001)  # which ends no session
        await main(path)
        contents = await (again := statews.SQLiteStore(path)).open()
        await again.close()
    assert capsys.readouterr().out == "ann it is me\n"
    assert [each.message for each in contents.messages] == ["we are back", "hello"]


async def test_an_order_and_its_position_are_booked_together(tmp_path: Path) -> None:
    names: dict[str, Callable[[statews.Session], Awaitable[None]]] = {}
    exec(example("transact"), names)  # noqa: S102
    path = tmp_path / "orders.sqlite"
    with anyio.fail_after(20):
        async with (
            statews.serve(names["book"], store=statews.SQLiteStore(path)) as server,
            statews.connect(
                f"ws://127.0.0.1:{server.port}/", session=statews.Resume()
            ) as connection,
        ):
            for order in ("apples", "pears"):
                await connection.send(order)
            await connection.flush()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT text FROM orders").fetchall() == [("apples",), ("pears",)]
    database.close()
