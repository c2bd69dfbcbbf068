"""The load server: raw sockets under one epoll, as cheap as Python gets, lest it be measured.

The path of the request says what a connection is for; KIND is ``text`` or ``binary``:

* ``/flood/KIND/SIZE``: unmasked frames, encoded once, as fast as the client reads;
* ``/sink/KIND/BYTES``: discards what comes, answers pings, and every BYTES of other frames with
  one small frame;
* ``/echo``: sends every short frame back;
* ``/idle``: the opening handshake and nothing more.

No extension is ever negotiated, so nobody compresses. It listens on loopback only, prints its
port, and ends when its standard input does. Linux only (epoll, ``MSG_TRUNC``).
"""

from __future__ import annotations

import base64
import hashlib
import re
import select
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

from websockets.speedups import apply_mask

from benchmarks.pacing import unpace

Handler = Callable[[], object]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_FIRST: Final = {
    "text": 0x81,
    "binary": 0x82,
}  # the first byte of a whole frame, RFC 6455 section 5.2
_PING, _PONG = 0x89, 0x8A
_BLOB_BYTES: Final = 1 << 20
CHUNK_BYTES: Final = 1 << 16  # read at once where frames are short
HEADER_BYTES: Final = 64  # and where they are long: at least a header, with a ping
_KEY: Final = re.compile(rb"sec-websocket-key: *(\S+)", re.IGNORECASE)


def frame(first: int, payload: bytes) -> bytes:
    """One unmasked frame."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


class Server:
    """All connections, each with the one function that its readiness calls."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._handlers: dict[int, Handler] = {}
        self._scratch = bytearray(_BLOB_BYTES)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        unpace(self._listener)  # which those that it accepts inherit
        self._watch(self._listener, self._accept)
        self.port: int = self._listener.getsockname()[1]

    def run_until(self, stop_fd: int) -> None:
        """Serve until `stop_fd` is readable, as a pipe is once its other end is gone."""
        self._poll.register(stop_fd, select.EPOLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd == stop_fd:
                    return
                try:
                    self._handlers[fd]()
                except BlockingIOError:
                    pass
                except OSError:
                    self._drop(fd)

    def _watch(self, sock: socket.socket, handler: Handler) -> None:
        sock.setblocking(False)
        self._sockets[sock.fileno()] = sock
        self._handlers[sock.fileno()] = handler
        self._poll.register(sock, select.EPOLLIN)

    def _drop(self, fd: int) -> None:
        del self._handlers[fd]
        self._sockets.pop(fd).close()  # which also takes it out of the epoll

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._watch(sock, self._opening(sock))

    def _opening(self, sock: socket.socket) -> Handler:
        request = bytearray()

        def ready() -> None:
            request.extend(_received(sock))
            if not request.endswith(b"\r\n\r\n"):
                return
            key = _KEY.search(request)
            if key is None:
                raise ConnectionAbortedError("not an opening handshake")
            accept = base64.b64encode(hashlib.sha1(key[1] + _GUID, usedforsecurity=False).digest())
            sock.send(
                b"HTTP/1.1 101 Switching Protocols\r\n"
                b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            self._handlers[sock.fileno()] = self._play(sock, request.split(b" ", 2)[1].decode())

        return ready

    def _play(self, sock: socket.socket, path: str) -> Handler:
        match path.strip("/").split("/"):
            case ["flood", kind, size]:
                self._poll.modify(sock, select.EPOLLOUT)
                return self._flood(sock, frame(_FIRST[kind], b"x" * int(size)))
            case ["sink", kind, every]:
                return self._sink(sock, int(every), frame(_FIRST[kind], b"ok"))
            case ["echo"]:
                return self._echo(sock)
            case ["idle"]:
                return partial(self._discard, sock)
            case _:
                raise ConnectionAbortedError(f"nothing is at {path}")

    def _flood(self, sock: socket.socket, one: bytes) -> Handler:
        blob = memoryview(one * max(1, _BLOB_BYTES // len(one)))
        sent = 0

        def ready() -> None:
            nonlocal sent
            sent = (sent + sock.send(blob[sent:])) % len(blob)

        return ready

    def _sink(self, sock: socket.socket, every: int, acknowledgement: bytes) -> Handler:
        missing, pending, skipped, most = every, b"", 0, CHUNK_BYTES

        def ready() -> None:
            nonlocal missing, pending, skipped, most
            if skipped:  # amid a long frame, of which nobody wants a copy
                counted = self._discard(sock, skipped)
                skipped -= counted
            else:
                data = pending + _received(sock, most)
                at, counted = 0, len(data) - len(pending)
                while (header := _masked_header(data, at)) is not None:
                    start, stop = header
                    if data[at] == _PING:
                        if len(data) < stop:
                            break
                        payload = apply_mask(data[start:stop], data[start - 4 : start])
                        sock.send(frame(_PONG, payload))
                        counted -= stop - at
                    most = CHUNK_BYTES if stop - at < CHUNK_BYTES // 16 else HEADER_BYTES
                    at = stop
                pending, skipped = data[at:], max(0, at - len(data))
            missing -= counted
            while missing <= 0:
                missing += every
                sock.send(acknowledgement)

        return ready

    def _echo(self, sock: socket.socket) -> Handler:
        pending = b""

        def ready() -> None:
            nonlocal pending
            data = pending + _received(sock)
            at, replies = 0, []
            while len(data) >= at + 6:
                first, size = data[at], data[at + 1] & 0x7F  # short frames only: size < 126
                end = at + 6 + size
                if len(data) < end:
                    break
                payload = apply_mask(data[at + 6 : end], data[at + 2 : at + 6])
                replies.append(frame(_PONG if first == _PING else first, payload))
                at = end
            pending = data[at:]
            sock.send(b"".join(replies))

        return ready

    def _discard(self, sock: socket.socket, most: int = 0) -> int:
        # With MSG_TRUNC the kernel drops the bytes without copying them, tcp(7).
        count = sock.recv_into(self._scratch, min(most, len(self._scratch)), socket.MSG_TRUNC)
        if not count:
            raise ConnectionResetError
        return count


def _masked_header(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `at` begins and ends; None if its header is not there."""
    if len(data) < at + 6:
        return None
    size = data[at + 1] & 0x7F
    start = at + 6
    if size > 125:
        start += 2 if size == 126 else 8
        if len(data) < start:
            return None
        size = int.from_bytes(data[at + 2 : start - 4], "big")
    return start, start + size


def _received(sock: socket.socket, most: int = CHUNK_BYTES) -> bytes:
    data = sock.recv(most)
    if not data:
        raise ConnectionResetError
    return data


def main() -> None:
    """Serve until standard input ends."""
    server = Server()
    print(server.port, flush=True)
    server.run_until(sys.stdin.fileno())


if __name__ == "__main__":
    main()
