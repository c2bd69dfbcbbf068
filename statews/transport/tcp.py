"""From a host name to a connected socket: DNS, and happy eyeballs (RFC 8305).

anyio's own `connect_tcp` hands out a stream whose socket belongs to the event loop; a
link needs the socket itself, so the race between the addresses is run here.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest

import anyio

from ..errors import DialError, UsageError
from .stream import SocketStream, tune
from .watched import socket_stream

__all__ = ["Address", "connect_socket", "connect_tcp", "connect_unix", "interleave", "resolve"]

Address = tuple[socket.AddressFamily, tuple[str, int]]


async def connect_tcp(
    host: str,
    port: int,
    *,
    head_start: float,
    user_timeout: float | None,
    on_resolved: Callable[[], None] = lambda: None,
) -> SocketStream:
    """The first connection that comes up, of all addresses of `host`.

    Args:
        host: a name or an address.
        port: 1 to 65535.
        head_start: seconds before the next address is tried beside the ones before it.
        user_timeout: see `tune`.
        on_resolved: called when the addresses are known.

    Raises:
        DialError: the name is unknown, or no address answered.

    Cancellation: every socket is closed, a late one as well.
    """
    addresses = await resolve(host, port)
    on_resolved()
    errors: list[str] = []
    sock = await _race(addresses, head_start, errors)
    if sock is None:
        message = f"could not connect to {host} port {port}: {'; '.join(errors)}"
        raise DialError(message)
    tune(sock, user_timeout)
    return socket_stream(sock)


async def _race(
    addresses: Sequence[Address], head_start: float, errors: list[str]
) -> socket.socket | None:
    """The first socket that is connected; None if none is, and why in `errors`."""
    won: list[socket.socket] = []

    async def run(address: Address, settled: anyio.Event) -> None:
        try:
            sock = await connect_socket(*address)
        except OSError as error:
            errors.append(f"{address[1][0]}: {error.strerror or error}")
        else:
            if won:
                sock.close()  # both came up before either task had a turn
            else:
                won.append(sock)
                group.cancel_scope.cancel()
        finally:
            settled.set()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                settled = anyio.Event()
                group.start_soon(run, address, settled)
                with anyio.move_on_after(head_start):
                    await settled.wait()
    except BaseException:
        for sock in won:
            sock.close()
        raise
    return won[0] if won else None


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a host, in the order in which to try them.

    Raises:
        DialError: it has none.
    """
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # UnicodeError, of a label too long, is a ValueError
        why = error.strerror if isinstance(error, OSError) else "not a valid name"
        message = f"could not resolve {host}: {why}"
        raise DialError(message) from error
    return interleave([(family, address) for family, _, _, _, address in found])


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """The families in turn, the resolver's first one first (RFC 8305 section 4)."""
    families = dict.fromkeys(family for family, _ in addresses)
    columns = [[each for each in addresses if each[0] == family] for family in families]
    return [each for each in chain.from_iterable(zip_longest(*columns)) if each is not None]


async def connect_socket(
    family: socket.AddressFamily, address: tuple[str, int] | str
) -> socket.socket:
    """A connected socket.

    Raises:
        OSError: as connect(2) says.
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await _connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect(sock: socket.socket, address: tuple[str, int] | str) -> None:
    try:
        sock.connect(address)
    except BlockingIOError as error:
        if error.errno == errno.EAGAIN:
            raise  # a Unix socket with a full backlog: nothing is under way, see connect(2)
        await anyio.wait_writable(sock)
        failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, os.strerror(failure)) from None
    if sock.getsockname() == sock.getpeername():  # TCP on loopback may: simultaneous open
        raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")


async def connect_unix(path: str) -> SocketStream:
    """A connection to a Unix socket.

    Raises:
        DialError: nobody listens there.
        UsageError: this is Windows.
    """
    if sys.platform == "win32":  # pragma: no cover
        raise UsageError("Python has no Unix sockets on Windows")
    try:
        return socket_stream(await connect_socket(socket.AF_UNIX, path))
    except OSError as error:
        message = f"could not connect to the socket {path}: {error.strerror or error}"
        raise DialError(message) from error
