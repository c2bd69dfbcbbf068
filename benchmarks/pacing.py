"""The same congestion control on both ends, whatever the machine's default is."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path


def unpace(sock: socket.socket) -> None:
    """Take Reno, which every Linux has and which does not pace (tcp(7), `TCP_CONGESTION`).

    Where BBR is the default, its pacing timer now and then holds small segments back and joins
    them. A ``send`` of 32 bytes then costs as little as a third, for minutes on end, and for no
    reason that a library has a part in.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")


def unpace_all() -> None:
    """Do so with every TCP socket of this process: those that the library at hand has opened."""
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # what is no socket, no TCP, or was only open to list the others
            sock = socket.socket(fileno=int(entry.name))
            try:
                unpace(sock)
            finally:
                sock.detach()
