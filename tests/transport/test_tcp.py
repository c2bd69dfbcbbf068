"""From a host name to a socket: DNS, the race between addresses, and who cleans up."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.abc import SocketStream as AnyioStream
from anyio.lowlevel import checkpoint

from statews import DialError
from statews.transport import tcp
from statews.transport.stream import SocketStream, receive, send, tune
from statews.transport.tcp import Address, connect_socket, connect_tcp, connect_unix, interleave

from .conftest import open_sockets
from .peers import LOCALHOST, Peer, black_hole, scripted, unused_port

pytestmark = pytest.mark.anyio
Resolver = Callable[..., None]

NEVER = 1000.0  # seconds: longer than any test takes
V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def resolve_to(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """Replaces the resolver by one that knows these ports on loopback, and nothing else."""

    def install(*ports: int) -> None:
        async def getaddrinfo(*_: object, **__: object) -> list[object]:
            await checkpoint()
            return [(V4, socket.SOCK_STREAM, 6, "", (LOCALHOST, port)) for port in ports]

        monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)

    return install


async def connect(*, head_start: float = NEVER, user_timeout: float | None = None) -> SocketStream:
    """A connection to a host of which the test's resolver knows the addresses."""
    return await connect_tcp("host.test", 1, head_start=head_start, user_timeout=user_timeout)


async def greet(peer: Peer) -> None:
    await peer.send(b"hello")
    await peer.end()


async def test_a_name_of_this_machine_is_resolved_and_reached() -> None:
    resolved: list[None] = []
    async with scripted(greet) as server:
        stream = await connect_tcp(
            "localhost",
            server.port,
            head_start=0.01,
            user_timeout=None,
            on_resolved=lambda: resolved.append(None),
        )
        assert await receive(stream, 5) == b"hello"
        assert stream.peer_address() == f"{LOCALHOST}:{server.port}"
        assert resolved == [None]
        stream.close()


async def test_an_ipv6_address_is_reached() -> None:
    async with (
        await anyio.create_tcp_listener(local_host="::1") as listener,
        anyio.create_task_group() as group,
    ):

        async def greet(client: AnyioStream) -> None:
            async with client:
                await client.send(b"hello")

        group.start_soon(listener.serve, greet)
        port = listener.extra_attributes[SocketAttribute.local_port]()
        stream = await connect_tcp("::1", port, head_start=NEVER, user_timeout=None)
        assert await receive(stream, 5) == b"hello"
        assert stream.peer_address() == f"::1:{port}"
        stream.close()
        group.cancel_scope.cancel()


async def test_the_next_address_starts_after_the_head_start(resolve_to: Resolver) -> None:
    async with scripted(greet) as server:
        with black_hole() as hole:
            resolve_to(hole, server.port)
            began = anyio.current_time()
            stream = await connect(head_start=0.2)
            assert anyio.current_time() - began > 0.19  # uvloop counts milliseconds
            assert stream.peer_address().endswith(f":{server.port}")
            stream.close()


async def test_an_address_that_fails_gives_up_its_head_start(resolve_to: Resolver) -> None:
    async with scripted(greet) as server:
        resolve_to(unused_port(), server.port)
        stream = await connect(head_start=NEVER)
        stream.close()


async def test_the_first_address_wins_within_its_head_start(resolve_to: Resolver) -> None:
    async with scripted(greet) as first, scripted(greet) as second:
        resolve_to(first.port, second.port)
        stream = await connect(head_start=NEVER)
        assert stream.peer_address().endswith(f":{first.port}")
        assert second.served == 0
        stream.close()


async def test_when_all_addresses_fail_the_error_lists_all(resolve_to: Resolver) -> None:
    resolve_to(unused_port(), unused_port())
    refused = f"{LOCALHOST}: Connection refused"
    with pytest.raises(DialError, match=f"to host.test port 1: {refused}; {refused}$"):
        await connect()


async def test_a_late_winner_is_closed(
    resolve_to: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_are_up = anyio.Event()
    sockets: list[socket.socket] = []

    async def connect_together(*address: str) -> socket.socket:
        sock = await connect_socket(*address)  # type: ignore[arg-type]
        sockets.append(sock)
        if len(sockets) == 2:
            both_are_up.set()
        with anyio.CancelScope(shield=True):
            await both_are_up.wait()
        return sock

    monkeypatch.setattr(tcp, "connect_socket", connect_together)
    async with scripted(greet) as first, scripted(greet) as second:
        resolve_to(first.port, second.port)
        stream = await connect(head_start=0.001)
        assert sorted(sock.fileno() >= 0 for sock in sockets) == [False, True]
        stream.close()


async def test_a_cancelled_race_closes_a_winner_as_well(
    resolve_to: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = anyio.CancelScope()
    sockets: list[socket.socket] = []

    async def connect_and_cancel(*address: str) -> socket.socket:
        sock = await connect_socket(*address)  # type: ignore[arg-type]
        sockets.append(sock)
        scope.cancel()
        return sock

    monkeypatch.setattr(tcp, "connect_socket", connect_and_cancel)
    async with scripted(greet) as server:
        resolve_to(server.port)
        with scope:
            await connect()
        assert scope.cancelled_caught
        assert [sock.fileno() for sock in sockets] == [-1]


async def test_a_cancelled_race_closes_what_is_under_way(resolve_to: Resolver) -> None:
    with black_hole() as hole:
        resolve_to(hole, hole, hole)
        before = open_sockets()
        with anyio.move_on_after(0.05) as scope:
            await connect(head_start=0.001)
        assert scope.cancelled_caught
        assert open_sockets() == before


async def test_a_cancelled_lookup_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = anyio.Event()

    async def getaddrinfo(*_: object, **__: object) -> None:
        looking.set()
        await anyio.sleep_forever()

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    before = open_sockets()
    async with anyio.create_task_group() as group:
        group.start_soon(connect)
        await looking.wait()
        group.cancel_scope.cancel()
    assert open_sockets() == before


async def test_an_unknown_name_is_a_dial_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> None:
        await checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    with pytest.raises(DialError, match=r"^could not resolve host\.test: Name or service not"):
        await connect()


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a\0b", "ä..test"])
async def test_a_name_that_is_none_is_a_dial_error(host: str) -> None:
    with pytest.raises(DialError, match=r"^could not resolve "):
        await connect_tcp(host, 1, head_start=NEVER, user_timeout=None)


async def test_a_family_that_is_not_here_is_a_dial_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[object]:
        await checkpoint()
        return [(9999, socket.SOCK_STREAM, 6, "", (LOCALHOST, 1))]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    with pytest.raises(DialError, match="Address family not supported"):
        await connect()


async def test_a_connection_to_itself_is_refused(
    resolve_to: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SelfConnecting(socket.socket):
        """A socket whose own port happens to be the one it connects to."""

        def connect(self, address: tuple[str, int]) -> None:  # type: ignore[override]
            self.bind(address)
            super().connect(address)

    resolve_to(unused_port())
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", SelfConnecting)
        with pytest.raises(DialError, match="connected to itself"):
            await connect()


async def test_small_frames_are_not_delayed(resolve_to: Resolver) -> None:
    async with scripted(greet) as server:
        resolve_to(server.port)
        stream = await connect(user_timeout=1.5)
        option = stream._socket.getsockopt
        assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if sys.platform == "linux":
            assert option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1500
        stream.close()


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(None, 0), (0.0001, 1), (40.0, 40_000), (float("inf"), 2**31 - 1)],
)
async def test_the_user_timeout_is_within_its_bounds(
    seconds: float | None, milliseconds: int
) -> None:
    with socket.socket() as sock:
        tune(sock, seconds)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds


def test_a_unix_socket_has_nothing_to_tune() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        tune(sock, 1.0)


async def test_an_option_that_is_not_to_be_had_is_no_error() -> None:
    with socket.socket() as sock:
        sock.close()
        tune(sock, None)


def test_the_families_take_turns() -> None:
    addresses: list[Address] = [
        (V6, ("::1", 1)),
        (V6, ("::2", 1)),
        (V6, ("::3", 1)),
        (V4, ("127.0.0.1", 1)),
    ]
    assert [host for _, (host, _) in interleave(addresses)] == ["::1", "127.0.0.1", "::2", "::3"]
    assert interleave([]) == []


async def test_a_unix_socket_is_reached(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        stream = await connect_unix(path)
        peer, _ = listening.accept()
        with peer:
            await send(stream, b"hello")
            assert peer.recv(5) == b"hello"
            assert stream.peer_address() == path
        stream.close()


async def test_a_unix_socket_that_is_not_there_is_a_dial_error(tmp_path: Path) -> None:
    with pytest.raises(DialError, match=r"to the socket .*/nothing: No such file or directory"):
        await connect_unix(str(tmp_path / "nothing"))


async def test_a_path_too_long_for_a_unix_socket_is_a_dial_error() -> None:
    with pytest.raises(DialError, match="too long"):
        await connect_unix("/" + "x" * 200)


@pytest.mark.skipif(sys.platform != "linux", reason="others refuse at once, as with TCP")
async def test_a_unix_socket_with_a_full_backlog_is_a_dial_error(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    streams: list[SocketStream] = []

    async def fill() -> None:
        while len(streams) < 10:
            streams.append(await connect_unix(path))

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(0)
        with pytest.raises(DialError, match="Resource temporarily unavailable"):
            await fill()
    for stream in streams:
        stream.close()
