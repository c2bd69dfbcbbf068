"""The whole library on real sockets: what it leaves behind, and that the README is true."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import anyio
import pytest
import sniffio
import trio
import trustme

import statews
from statews import Link, Policy, State
from statews.store.database import Database

pytestmark = pytest.mark.anyio

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


async def echo(link: Link) -> None:
    async for message in link:
        await link.send(message)


def held() -> tuple[int, int, int]:
    """Tasks, file descriptors and threads of this process.

    The event loops keep threads of their own for DNS, and trio's test runner one for its I/O.
    """
    gc.collect()
    ours = (thread.name for thread in threading.enumerate())
    threads = [name for name in ours if not name.startswith(("Trio thread", "asyncio_"))]
    if sniffio.current_async_library() == "trio":
        tasks = trio.lowlevel.current_statistics().tasks_living
    else:
        tasks = len(asyncio.all_tasks())
    return tasks, len(list(Path("/dev/fd").iterdir())), len(threads)


async def all_left(listener: statews.Listener) -> None:
    """Wait for the server's half to be done: the peer's end of TCP is nobody's event here."""
    while listener.connections:  # noqa: ASYNC110
        await anyio.sleep(0.001)
    await anyio.wait_all_tasks_blocked()  # the last task has nothing left to do but to end


async def drop_and_return(connection: statews.Connection) -> None:
    await connection.send("x")
    assert await connection.receive() == "x"


async def raise_an_error(connection: statews.Connection) -> None:
    await connection.send("x")
    raise ZeroDivisionError


async def be_cancelled(connection: statews.Connection) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await connection.receive()


@pytest.mark.parametrize("body", [drop_and_return, raise_an_error, be_cancelled])
@pytest.mark.parametrize("secure", [False, True])
async def test_nothing_is_left_of_a_connection(
    body: Callable[[statews.Connection], Awaitable[None]], *, secure: bool
) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    with anyio.fail_after(20):
        async with statews.listen(echo, ssl=server if secure else None) as listener:
            url = f"{'wss' if secure else 'ws'}://127.0.0.1:{listener.port}/"
            async with statews.connect(url, ssl=client):
                pass  # whatever is made once for all is made now
            await all_left(listener)
            before = held()
            for _ in range(3):
                connection = statews.connect(url, ssl=client)
                with contextlib.suppress(ZeroDivisionError):
                    async with connection:
                        await body(connection)
                assert connection.state is State.CLOSED
            await all_left(listener)
            assert held() == before


async def test_the_server_restarts_and_the_connection_goes_on() -> None:
    policy = Policy(backoff=statews.Backoff(first=0.05, maximum=0.05, max_attempts=None))
    with anyio.fail_after(20):
        async with statews.listen(echo) as listener:
            port = listener.port
        url = f"ws://127.0.0.1:{port}/"
        async with statews.connect(url, policy=policy, wait=False) as connection:
            for word in ("once", "again"):
                async with statews.listen(echo, port=port):
                    await connection.send(word)
                    assert await connection.receive() == word
                await connection.wait_for(State.BACKING_OFF)


@pytest.mark.once
async def test_a_hundred_connections_in_one_task_do_not_disturb_each_other() -> None:
    with anyio.fail_after(60):
        async with statews.listen(echo) as listener, anyio.create_task_group() as group:

            async def talk(name: int) -> None:
                async with statews.connect(f"ws://127.0.0.1:{listener.port}/") as connection:
                    for number in range(20):
                        await connection.send(f"{name} {number}")
                        assert await connection.receive() == f"{name} {number}"

            for name in range(100):
                group.start_soon(talk, name)


@pytest.mark.parametrize("recovers", [False, True])
async def test_a_file_that_a_connection_went_on_without_is_not_locked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recovers: bool
) -> None:
    got: list[str | bytes] = []

    async def collect(link: Link) -> None:
        async for message in link:
            got.append(message)  # noqa: PERF401 - seen while it goes on

    def full(*_: object) -> None:
        raise statews.StoreFullError("/disk", "could not write /disk: it is full")

    def keeping(on_store_error: statews.OnStoreError) -> Policy:
        delivery = statews.Delivery.AT_LEAST_ONCE
        return Policy(outbox=statews.Outbox(delivery=delivery, on_store_error=on_store_error))

    store = statews.SQLiteStore(tmp_path / "outbox")
    again = statews.SQLiteStore(tmp_path / "outbox", lock_timeout=0)
    async with statews.listen(collect, "127.0.0.1", 0) as listener:
        url = f"ws://127.0.0.1:{listener.port}"
        with monkeypatch.context() as patch:
            policy = keeping(statews.OnStoreError.GO_ON)
            async with statews.connect(url, proxy=None, policy=policy, store=store) as connection:
                patch.setattr(Database, "apply", full)
                await connection.send("x")
                await connection.flush()
                if recovers:
                    patch.undo()
        policy = keeping(statews.OnStoreError.RAISE)
        async with statews.connect(url, proxy=None, policy=policy, store=again) as connection:
            await connection.send("y")
            await connection.flush()
    assert got == ["x", "y"]


def test_the_readme_has_its_shortest_client_first() -> None:
    assert len(EXAMPLES) == 9  # the last one is a test, which tests/testing runs
    assert "statews.connect(" in EXAMPLES[0]
    assert len(EXAMPLES[0].splitlines()) < 15


async def test_the_readme_s_client_runs(capsys: pytest.CaptureFixture[str]) -> None:
    async def greet(link: Link) -> None:
        await link.send(f"you said {await link.receive()!s}")

    with anyio.fail_after(20):
        async with statews.listen(greet) as listener:
            source = EXAMPLES[0].replace(
                "wss://example.org/feed", f"ws://127.0.0.1:{listener.port}"
            )
            names: dict[str, Callable[[], Awaitable[None]]] = {}
            exec(source.replace("anyio.run(main)", ""), names)  # noqa: S102
            await names["main"]()
    assert capsys.readouterr().out == "you said hello\n"


async def test_the_readme_s_hooks_run(capsys: pytest.CaptureFixture[str]) -> None:
    async def feed(link: Link) -> None:
        assert link.headers["authorization"] == "Bearer from your cache"
        assert await link.receive() == '{"subscribe": "prices"}'
        await link.send('{"subscribed": "prices"}')
        await link.send("a price")
        await link.receive()

    with anyio.fail_after(20):
        async with statews.listen(feed) as listener:
            names: dict[str, Callable[[], Awaitable[None]]] = {}
            url = f"ws://127.0.0.1:{listener.port}"
            exec(EXAMPLES[2].replace("wss://example.org/feed", url), names)  # noqa: S102
            await names["follow"]()
    assert capsys.readouterr().out == "a price\n"


async def test_the_readme_s_server_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Callable[[], Awaitable[None]]] = {}
    exec(EXAMPLES[5], names)  # noqa: S102
    with anyio.fail_after(20):
        await names["serve"]()
    assert capsys.readouterr().out == "hello\n"


DELIVERY = re.findall(
    r"^```python\n(.*?)^```",
    (README.parent / "docs" / "delivery.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


async def test_the_readme_s_trading_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broker(link: Link) -> None:
        await link.send('{"seq": 1}')
        assert await link.receive() == '{"buy": 1}'
        await link.receive()

    names: dict[str, Callable[[str, str], Awaitable[None]]] = {}
    exec(EXAMPLES[7], names)  # noqa: S102
    with anyio.fail_after(20):
        async with statews.listen(broker) as listener:
            url = f"ws://127.0.0.1:{listener.port}/"
            await names["trade"](url, str(tmp_path / "orders.sqlite"))
    assert capsys.readouterr().out == '{"seq": 1}\n'


async def test_the_guide_s_order_is_acknowledged(capsys: pytest.CaptureFixture[str]) -> None:
    async def shop(link: Link) -> None:
        async for _ in link:
            await link.send('{"acked": 1}')

    names: dict[str, Callable[[str], Awaitable[None]]] = {}
    exec(DELIVERY[0], names)  # noqa: S102
    with anyio.fail_after(20):
        async with statews.listen(shop) as listener:
            await names["order"](f"ws://127.0.0.1:{listener.port}/")
    assert capsys.readouterr().out == "ordered\n"


async def test_the_guide_s_room_is_followed(capsys: pytest.CaptureFixture[str]) -> None:
    async def room(link: Link) -> None:
        assert await link.receive() == '{"history_after": 0}'
        await link.send('{"seq": 3}')
        await link.send('{"history": [{"seq": 1}, {"seq": 2}]}')
        await link.receive()

    names: dict[str, Callable[[str], Awaitable[None]]] = {}
    exec(DELIVERY[1], names)  # noqa: S102
    with anyio.fail_after(20):
        async with statews.listen(room) as listener:
            await names["follow"](f"ws://127.0.0.1:{listener.port}/")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f'message {{"seq": {number}}}' for number in (1, 2, 3)]


async def test_the_readme_s_watching_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Callable[..., Coroutine[None, None, None]]] = {}
    exec(EXAMPLES[3], names)  # noqa: S102
    with anyio.fail_after(20):
        async with statews.listen(echo) as listener, anyio.create_task_group() as group:
            connection = statews.connect(f"ws://127.0.0.1:{listener.port}/", wait=False)
            group.start_soon(names["watch"], connection)
            await anyio.wait_all_tasks_blocked()
            async with connection:
                await names["hurry"](connection)
    assert "connecting -> open" in capsys.readouterr().out


async def test_the_readme_s_policy_and_decision_are_taken() -> None:
    names: dict[str, object] = {}
    for source in (EXAMPLES[1], EXAMPLES[4]):
        exec(source, names)  # noqa: S102
        connection = names["connection"]
        assert isinstance(connection, statews.Connection)
        assert connection.state is State.IDLE
    decide = names["decide"]
    assert callable(decide)
    for code, verdict in ((4010, statews.End()), (1012, statews.Retry())):
        failure = statews.Failure(error=statews.LinkClosed(code), phase=statews.Phase.LIVE)
        assert decide(failure) == verdict
