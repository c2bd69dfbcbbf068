"""A server of sessions and its clients, in virtual time and a network of memory."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import anyio

import statews
from statews import (
    Backoff,
    Change,
    Connection,
    Jitter,
    Link,
    LinkClosed,
    Message,
    Policy,
    Resume,
    Server,
    Session,
)
from statews.protocol.envelope import SUBPROTOCOL
from statews.testing import Network
from statews.transport.dial import Dialing, Target, dial

__all__ = [
    "HOST",
    "SOON",
    "URL",
    "Desk",
    "Speaker",
    "connect",
    "dialled",
    "echo",
    "go_missing",
    "only",
    "seen_by",
    "serve",
    "steady",
]

HOST: Final = "example.org"
URL: Final = "ws://example.org/"
SOON: Final = 0.05  # seconds: everything that needs no time has happened


async def echo(session: Session) -> None:
    """A handler: what comes goes back."""
    async for message in session:
        await session.send(message)


class Desk:
    """A handler that writes down what it is given, event by event."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.heard: list[object] = []
        self.again: list[object] = []  # what may have been handled before

    @property
    def session(self) -> Session:
        """The latest."""
        return self.sessions[-1]

    async def handle(self, session: Session) -> None:
        self.sessions.append(session)
        async for event in session.events():
            self.heard.append(event)
            if session.redelivered:
                self.again.append(event)


def serve(handler: Any = echo, **options: Any) -> Server:  # noqa: ANN401
    """A server at `URL`."""
    options.setdefault("random", lambda: 0.5)
    return statews.serve(handler, HOST, 80, **options)


def steady(**changes: Any) -> Policy:  # noqa: ANN401
    """Delays without chance, no limit of attempts."""
    return Policy(backoff=Backoff(jitter=Jitter.NONE, max_attempts=None), **changes)


def connect(url: Any = URL, **options: Any) -> Connection:  # noqa: ANN401
    """A client that has a session."""
    options.setdefault("policy", steady())
    options.setdefault("session", Resume())
    return statews.connect(url, **options)


def only(server: Server) -> Session:
    """The one session that there is."""
    (session,) = server.sessions.values()
    return session


async def seen_by(connection: Connection, seconds: float = 1.0) -> list[object]:
    """Messages and losses that come within so many seconds."""
    seen: list[object] = []
    with anyio.move_on_after(seconds):
        async for event in connection.events():
            if not isinstance(event, Change):
                seen.append(event)  # noqa: PERF401 - a comprehension would be cancelled as a whole
    return seen


@asynccontextmanager
async def go_missing(network: Network) -> AsyncGenerator[None]:
    """For the length of the block, nobody gets to the server, and those there were are cut off."""
    network.refuse()
    network.reset()
    await anyio.sleep(SOON)
    yield
    network.accept()


class Speaker:
    """A client that says what it is told to, frame by frame."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.sid: str | None = None
        self.token: str | None = None

    async def hello(self, **fields: object) -> None:
        """Say hello; of a session if `sid` and `tok` are given."""
        content = {"v": 1, "n": 1, "rx": 0, "rc": 0, "tx": [1, 0], **fields}
        await self.say(f"H{json.dumps(content)}")

    async def hello_of(self, fields: dict[str, object]) -> None:
        """The same, for a task of its own."""
        await self.hello(**fields)

    async def greet(self, **fields: object) -> dict[str, Any]:
        """Say hello, and return the content of the welcome."""
        await self.hello(**fields)
        welcome = await self.hear()
        assert welcome[:1] == "W", welcome
        content = cast("dict[str, Any]", json.loads(welcome[1:]))
        self.sid, self.token = content["sid"], content["tok"]
        return content

    async def say(self, *frames: Message) -> None:
        for frame in frames:
            await self.link.send(frame)

    async def hear(self) -> str:
        """The next frame."""
        frame = await self.link.receive()
        assert isinstance(frame, str)
        return frame

    async def hear_all(self, seconds: float = 1.0) -> list[str]:
        """Every frame that comes within so many seconds."""
        frames: list[str] = []
        with anyio.move_on_after(seconds):
            while True:
                frames.append(await self.hear())
        return frames

    async def ending(self) -> LinkClosed:
        """How the server ends the link, whatever it says before."""
        try:
            while True:
                await self.link.receive()
        except LinkClosed as error:
            return error


@asynccontextmanager
async def dialled(
    url: str = URL, *, subprotocols: Sequence[str] = (SUBPROTOCOL,)
) -> AsyncGenerator[Speaker]:
    """A link to the server, on which nothing was said yet. Behind the block it is broken off."""
    dialing = Dialing(policy=Policy(heartbeat=None), subprotocols=subprotocols)
    link = await dial(Target(url), dialing, lambda _: None)
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(link.serve)
        try:
            yield Speaker(link)
        except Exception as error:  # noqa: BLE001 - raised below, in no group
            failure = error
        finally:
            link.abort()
    if failure is not None:
        raise failure
