"""How far the bytes have come that were sent, as the system tells it."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final, NamedTuple

__all__ = ["UNKNOWN", "Transit", "tcp_transit"]

BYTES_ACKED: Final = struct.Struct("=120xQ")  # tcp_info of linux/tcp.h, since Linux 4.1
SIZE: Final = struct.Struct("=i")


class Transit(NamedTuple):
    """How far the bytes have come that were sent.

    Attributes:
        arrived: so many the peer's system has acknowledged, from the beginning.
        under_way: so many more were sent.
    """

    arrived: int
    under_way: int


UNKNOWN: Final = Transit(0, 0)


def tcp_transit(sock: socket.socket) -> Transit:
    """What Linux tells of a TCP connection; `UNKNOWN` of all others, and elsewhere."""
    if sys.platform != "linux":
        return UNKNOWN
    import fcntl  # noqa: PLC0415 - not everywhere
    import termios  # noqa: PLC0415

    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED.size)
        # SIOCOUTQ of tcp(7), by the name it has in Python
        waiting = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(SIZE.size))
    except OSError:
        return UNKNOWN
    if len(info) < BYTES_ACKED.size:
        return UNKNOWN
    return Transit(*BYTES_ACKED.unpack(info), *SIZE.unpack(waiting))
