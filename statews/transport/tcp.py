"""From a host name to a connected socket: DNS, and happy eyeballs (RFC 8305).

anyio's own `connect_tcp` hands out a stream whose socket belongs to the event loop; a
link needs the socket itself, so the race between the addresses is run here.
"""

from __future__ import annotations

import os
import socket
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

import anyio

from ..errors import DialError
from .stream import SocketStream, tune

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Address = tuple[socket.AddressFamily, Any]

__all__ = ["connect_socket", "connect_tcp", "connect_unix", "interleave"]


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
    addresses = await _resolve(host, port)
    on_resolved()
    errors: list[str] = []
    won: list[socket.socket] = []

    async def race(address: Address, settled: anyio.Event) -> None:
        try:
            sock = await connect_socket(*address)
        except OSError as error:
            errors.append(f"{address[1][0]}: {error.strerror or error}")
        else:
            if won:
                sock.close()
            else:
                won.append(sock)
                group.cancel_scope.cancel()
        finally:
            settled.set()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                settled = anyio.Event()
                group.start_soon(race, address, settled)
                with anyio.move_on_after(head_start):
                    await settled.wait()
    except BaseException:
        for sock in won:
            sock.close()
        raise
    if not won:
        message = f"could not connect to {host} port {port}: {'; '.join(errors)}"
        raise DialError(message)
    tune(won[0], user_timeout)
    return SocketStream(won[0])


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a valid name"
        message = f"could not resolve {host}: {why}"
        raise DialError(message) from error
    return interleave([(family, address) for family, _, _, _, address in found])


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """The families in turn, the resolver's first one first (RFC 8305 section 4)."""
    families = dict.fromkeys(family for family, _ in addresses)
    columns = [[each for each in addresses if each[0] == family] for family in families]
    return [each for each in chain.from_iterable(zip_longest(*columns)) if each is not None]


async def connect_socket(family: socket.AddressFamily, address: Any) -> socket.socket:
    """A connected socket.

    Raises:
        OSError: as connect(2) says.
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        try:
            sock.connect(address)
        except BlockingIOError:
            await anyio.wait_writable(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error)) from None
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_unix(path: str) -> SocketStream:
    """A connection to a Unix socket.

    Raises:
        DialError: nobody listens there.
    """
    try:
        return SocketStream(await connect_socket(socket.AF_UNIX, path))
    except OSError as error:
        message = f"could not connect to the socket {path}: {error.strerror or error}"
        raise DialError(message) from error
