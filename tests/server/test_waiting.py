"""A handler that waits for a message reads the link itself; whatever else happens reaches it."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from anyio.lowlevel import checkpoint

import statews
from statews import (
    Backoff,
    BusyError,
    Deflate,
    Jitter,
    Message,
    Policy,
    Resume,
    Session,
    SessionLimits,
    Window,
)
from statews.protocol.codes import CloseCode
from statews.protocol.session.window import DEFAULT_WINDOW
from statews.transport.link import Reader

pytestmark = pytest.mark.anyio
DEADLINE = 20.0  # seconds for what takes milliseconds


class Host:
    """A handler that writes down what it gets, and when it ends."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.over = anyio.Event()

    async def __call__(self, session: Session) -> None:
        try:
            async for message in session:
                self.got.append(message)
        finally:
            self.over.set()


async def wait_until_it_reads(session: Session) -> None:
    """Return when the handler waits for the link itself."""
    assert session._attachment is not None
    link = session._attachment.link
    while link._reader is not Reader.CALLER:  # noqa: ASYNC110 - nobody tells
        await anyio.sleep(0.001)


def connect(server: statews.Server, *, window: Window = DEFAULT_WINDOW) -> statews.Connection:
    return statews.connect(
        f"ws://127.0.0.1:{server.port}/",
        session=Resume(window=window),
        policy=Policy(backoff=Backoff(first=0.01, jitter=Jitter.NONE)),
    )


@pytest.mark.parametrize("end", ["close", "drain", "cancel"])
async def test_the_end_reaches_a_handler_that_reads(end: str) -> None:
    host = Host()
    with anyio.fail_after(DEADLINE):
        async with statews.serve(host) as server, connect(server) as client:
            (session,) = server.sessions.values()
            await (await client.send("before")).wait_written()
            while not host.got:  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.001)
            await wait_until_it_reads(session)
            if end == "close":
                session.close()
                await host.over.wait()
            elif end == "drain":
                await server.drain(0.0)
                assert not session.is_attached
        if end != "close":
            await host.over.wait()
    assert host.got == ["before"]


async def test_a_handler_that_reads_goes_on_with_the_next_link() -> None:
    host = Host()
    with anyio.fail_after(DEADLINE):
        async with statews.serve(host) as server, connect(server) as client:
            (session,) = server.sessions.values()
            for number in range(5):
                await (await client.send(f"{number}")).wait_acknowledged()
                await wait_until_it_reads(session)
                changes = client.changes()
                session.leave_link(CloseCode.SERVICE_RESTART, "")
                async for change in changes:
                    if change.now.state is statews.State.OPEN:
                        break
            await (await client.send("last")).wait_acknowledged()
    assert host.got == [*map(str, range(5)), "last"]


async def test_two_tasks_may_not_receive_from_one_session() -> None:
    refused = anyio.Event()

    async def handle(session: Session) -> None:
        async def receive() -> None:
            await session.receive()

        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(BusyError, match="another task is receiving"):
                await session.receive()
            refused.set()

    with anyio.fail_after(DEADLINE):
        async with statews.serve(handle) as server, connect(server) as client:
            await refused.wait()
            await client.send("for the first")


async def test_a_handler_that_has_read_and_then_sends_without_a_pause_is_acknowledged() -> None:
    count = 5_000

    async def handle(session: Session) -> None:
        await session.receive()
        for number in range(count):
            await session.send(f"{number}")

    limits = SessionLimits(messages=100, window=Window(50))
    with anyio.fail_after(DEADLINE):
        async with statews.serve(handle, limits=limits) as server, connect(server) as client:
            await client.send("go")
            for number in range(count):
                assert await client.receive() == f"{number}"


async def test_what_is_put_without_a_wait_reaches_a_client_that_reads() -> None:
    """The handler is busy after it has read: acknowledgements are read all the same."""
    count = 200

    async def handle(session: Session) -> None:
        await session.receive()
        for number in range(count):
            session.put(f"{number}")
            await checkpoint()
            await checkpoint()
            while session.sent - session.peer.log.acknowledged > 50:  # noqa: ASYNC110
                await anyio.sleep(0.001)
        await anyio.sleep_forever()

    with anyio.fail_after(DEADLINE):
        async with (
            statews.serve(handle, limits=SessionLimits(messages=60)) as server,
            connect(server, window=Window(200)) as client,
        ):
            await client.send("go")
            got = [await client.receive() for _ in range(count)]
    assert got == [f"{number}" for number in range(count)]


async def test_nobody_receives_from_the_link_of_a_session() -> None:
    with anyio.fail_after(DEADLINE):
        async with statews.serve(Host()) as server, connect(server) as client:
            (session,) = server.sessions.values()
            await client.send("one")
            await wait_until_it_reads(session)
            session.inbox.put(["a message"])
            assert session._attachment is not None
            with pytest.raises(statews.UsageError, match="received from its session"):
                await session._attachment.link.receive()
            await client.send("another")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # under trio only scopes are cancelled
async def test_a_handler_whose_wait_somebody_else_cancels_has_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    got: list[tuple[Message, bool]] = []

    async def handle(session: Session) -> None:
        async for message in session:
            got.append((message, session.redelivered))
            if message == "bad" and not session.redelivered:
                future = asyncio.get_running_loop().create_future()
                future.cancel()
                await future

    with anyio.fail_after(DEADLINE):
        async with statews.serve(handle) as server, connect(server) as client:
            receipts = [await client.send(text) for text in ("one", "bad", "three")]
            for receipt in receipts:
                await receipt.wait_acknowledged()
    assert got == [("one", False), ("bad", False), ("bad", True), ("three", False)]
    assert "failed" in caplog.text


@pytest.mark.parametrize("is_session", [False, True])
async def test_compressed_messages_keep_their_content_in_whatever_way_they_go(
    is_session: bool,
) -> None:
    texts: list[Message] = []
    for number in range(100):
        texts += [f"{number} and some text that is long enough, " * 3, f"{number} é " * 40]
        texts += [f"{number} bytes, ".encode() * 20, "short", f"{number} long " * 3000]
    got: list[Message] = []

    async def take_in(peer: Session | statews.Link) -> None:
        async for message in peer:
            got.append(message)
            await peer.send(message)

    policy = Policy(deflate=Deflate())
    serve = statews.serve if is_session else statews.listen
    with anyio.fail_after(DEADLINE):
        async with (
            serve(take_in, policy=policy) as server,
            statews.connect(
                f"ws://127.0.0.1:{server.port}/",
                policy=policy,
                session=Resume() if is_session else None,
            ) as client,
        ):
            for text in texts:
                await client.send(text)
            echoed = [await client.receive() for _ in texts]
    assert got == texts
    assert echoed == texts
