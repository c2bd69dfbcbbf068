"""What is given wrong is refused at once, with words for what would be right."""

from __future__ import annotations

import re
import ssl
from typing import Any
from unittest.mock import AsyncMock

import pytest

import statews
from statews import Latest, Policy, Resume, State, Target, UsageError
from statews.store.memory import MemoryStore
from statews.store.sqlite import SQLiteStore

from .world import connect, steady

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]

HEADERS = "expected headers to be a mapping of names to values, got "
TOKENS = "expected subprotocols to be a sequence of tokens, got "
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"policy": None}, "policy must be a Policy, got None"),
    ({"policy": {}}, "policy must be a Policy, got {}"),
    ({"policy": Policy}, "policy must be a Policy, got <class"),
    ({"on_open": 5}, "expected on_open to be an async callable, got 5"),
    ({"on_open": None}, "expected on_open to be an async callable, got None"),
    ({"on_open": [5]}, "expected on_open to be an async callable, got 5"),
    ({"on_open": "x"}, "expected on_open to be an async callable, got 'x'"),
    ({"session": True}, "session must be a Resume, or None for none, got True"),
    ({"session": Resume}, "session must be a Resume, or None for none, got <class"),
    ({"sync": 5}, "sync must be a Strategy, got 5"),
    ({"sync": None}, "sync must be a Strategy, got None"),
    ({"sync": [5]}, "sync must be a Strategy, got 5"),
    ({"sync": [Latest(None), "x"]}, "sync must be a Strategy, got 'x'"),
    ({"sync": Latest}, "sync must be a Strategy, got <class"),
    ({"subprotocols": 5}, f"{TOKENS}(5,)"),
    ({"subprotocols": [5]}, f"{TOKENS}(5,)"),
    ({"subprotocols": "chat"}, "a sequence of names, got the string 'chat'"),
    ({"subprotocols": ["a b"]}, f"{TOKENS}('a b',)"),
    ({"subprotocols": ["a", "a"]}, "expected subprotocols to differ, got ('a', 'a')"),
    (
        {"subprotocols": ["statews.v1"], "session": Resume()},
        "expected subprotocols to differ, got ('statews.v1', 'statews.v1')",
    ),
    ({"headers": 5}, f"{HEADERS}int"),
    ({"headers": [("a", "b")]}, f"{HEADERS}list"),
    ({"headers": {"a": 5}}, "the header a must be text of printable ASCII characters"),
    ({"headers": {"a": "x\r\ny: z"}}, "the header a must be text of printable ASCII characters"),
    ({"headers": {"": "x"}}, "expected the name of a header, got ''"),
    ({"headers": {"Upgrade": "x"}}, "the header Upgrade belongs to the opening handshake"),
    ({"store": "x.db"}, "store must be an OutboxStore, or None for none, got 'x.db'"),
    ({"store": MemoryStore}, "store must be an OutboxStore, or None for none, got <class"),
    ({"store": SQLiteStore}, "store must be an OutboxStore, or None for none, got <class"),
    ({"ssl": True}, "ssl must be an SSLContext, or None, got True"),
    ({"server_hostname": 5}, "server_hostname must be a str, or None, got 5"),
    ({"proxy": 5}, "proxy must be a URL, None for no proxy, or left out, got 5"),
    ({"proxy": True}, "proxy must be a URL, None for no proxy, or left out, got True"),
    ({"proxy": "ftp://x"}, "expected a proxy like"),
    ({"proxy": ""}, "expected a proxy like"),
    ({"decide": 5}, "decide must be a function, got 5"),
    ({"decide": None}, "decide must be a function, got None"),
    ({"random": 5}, "random must be a function, got 5"),
    ({"url": 5}, "expected a URL, a Target or an async callable, got 5"),
    ({"url": None}, "expected a URL, a Target or an async callable, got None"),
    ({"url": b"ws://x"}, "expected a URL, a Target or an async callable, got b'ws://x'"),
    ({"url": [5]}, "expected a URL, a Target or an async callable, got 5"),
    ({"url": []}, "expected at least one URL to connect to, got none"),
    ({"url": "http://x"}, "expected a URL like wss://host:port/path"),
    ({"url": Target(5)}, "expected a URL or a Target of one, got int"),  # type: ignore[arg-type]
    ({"url": Target("ws://x/", headers=None)}, f"{HEADERS}NoneType"),  # type: ignore[arg-type]
    ({"url": Target("ws://x/", headers={"a": 5})}, "the header a must be text"),  # type: ignore[dict-item]
]


@pytest.mark.parametrize(("options", "why"), WRONG, ids=map(str, range(len(WRONG))))
async def test_a_wrong_option_is_refused_at_once(options: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)):
        connect(**options)


async def test_no_credentials_of_a_proxy_or_header_are_told() -> None:
    for options in ({"proxy": "x://me:secret@host"}, {"headers": {"a": "secret\n"}}):
        with pytest.raises(UsageError, match=r"expected|must") as caught:
            connect(**options)
        assert "secret" not in str(caught.value)


async def test_what_is_right_in_an_unusual_way_is_taken() -> None:
    connect(
        headers={},
        subprotocols=iter(["a", "b"]),
        on_open=iter([]),
        ssl=ssl.create_default_context(),
        server_hostname="example.org",
        proxy="socks5://me:secret@localhost",
        session=Resume(),
        sync=iter([Latest(None)]),
    )
    connect(["ws://a/", Target("ws://b/", {"x": "y"})])
    connect(proxy="localhost:3128")
    connect(on_open=AsyncMock())  # which may be iterated over as well


class BadKey:
    def __hash__(self) -> int:
        raise ZeroDivisionError("mine")


def released() -> memoryview:
    view = memoryview(b"x")
    view.release()
    return view


@pytest.mark.parametrize("seconds", ["5", [], 0, -1, float("nan"), True, 1j])
async def test_a_time_to_live_is_a_number_above_0(seconds: object) -> None:
    async with connect() as connection:
        why = re.escape(f"time_to_live must be above 0 seconds, got {seconds!r}")
        with pytest.raises(UsageError, match=why):
            await connection.send("x", time_to_live=seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [[], BadKey()])
async def test_a_key_is_hashable(key: object) -> None:
    outbox = statews.Outbox(at_limit=statews.AtLimit.CONFLATE)
    async with connect(policy=steady(outbox=outbox)) as connection:
        with pytest.raises(UsageError, match="a key must be hashable, got"):
            await connection.send("x", key=key)


async def test_a_memoryview_that_was_released_is_no_message() -> None:
    async with connect() as connection:
        with pytest.raises(UsageError, match="a message is str or bytes, got a memoryview that"):
            await connection.send(released())  # type: ignore[arg-type]


@pytest.mark.parametrize("states", [(), ("opne",), (State.OPEN, "open"), (None,), ([],)])
async def test_what_is_waited_for_is_a_state(states: tuple[Any, ...]) -> None:
    why = re.escape(f"wait_for needs one State or more, got {states!r}")
    async with connect() as connection:
        with pytest.raises(UsageError, match=why):
            await connection.wait_for(*states)
