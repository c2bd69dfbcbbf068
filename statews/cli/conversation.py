"""Standard input to the peer, the peer to standard output, across lost links."""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Final

import anyio
from anyio import CancelScope, current_time

from ..errors import ConnectionClosed, ConnectionFailed, UpgradeRefused, UsageError
from ..lifecycle import State
from ..transport.dial import redact
from .lines import LineReader, Writer
from .terminal import Colour, Painter, escape

if TYPE_CHECKING:
    from ..client.changes import Change, Changes
    from ..client.connection import Connection
    from ..protocol.frames import Message

__all__ = ["Conversation"]

SHOWN_BYTES: Final = 16  # of a binary message, on a terminal
SHOWN_BODY: Final = 200  # characters of a refusal
LONGEST_SLEEP: Final = 3600.0  # uvloop takes no infinity
COLOURS: Final = {
    State.CONNECTING: Colour.BLUE,
    State.OPEN: Colour.GREEN,
    State.BACKING_OFF: Colour.YELLOW,
    State.FAILED: Colour.RED,
}


class Conversation:
    """One connection, one standard input, one standard output.

    Args:
        connection: not entered yet.
        url: where it goes, to be shown.
        attempts: how many reconnects in a row there may be; None for no limit.
        linger: seconds that the peer must be quiet after standard input has ended.
        is_binary: send, and write into a pipe, bytes as they are.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        url: str,
        attempts: int | None,
        linger: float,
        is_binary: bool,
    ) -> None:
        self._connection = connection
        self._url = url
        self._of = "" if attempts is None else f" of {attempts}"
        self._linger = linger
        self._is_binary = is_binary
        self._output = Writer(sys.stdout.fileno())
        self._paint_out = Painter(sys.stdout)
        self._paint_err = Painter(sys.stderr)
        self._quiet_since = current_time()
        self._status = 0

    async def run(self) -> int:
        """Until the connection is over; returns the exit status."""
        changes = self._connection.changes()
        async with self._connection, anyio.create_task_group() as group:
            group.start_soon(self._tell, changes)
            sending = CancelScope()
            group.start_soon(self._send, sending)
            await self._receive()
            sending.cancel()
        return self._status

    # In.

    async def _send(self, scope: CancelScope) -> None:
        """Send what is typed, then wait for the answers, then close."""
        with scope, suppress(ConnectionFailed, ConnectionClosed):
            try:
                await self._send_lines()
                await self._wait_quiet()
            except UsageError as error:
                self._say(None, str(error))
                self._status = 2
            await self._connection.close()

    async def _send_lines(self) -> None:
        if sys.stdin is None:  # closed by whoever started this
            return
        number = 0
        async for line in LineReader(sys.stdin.fileno()):
            number += 1
            await self._connection.send(line if self._is_binary else _text(line, number))

    async def _wait_quiet(self) -> None:
        """Return when there is a link, and nothing has come over it for so long."""
        self._quiet_since = current_time()
        while await self._connection.wait_for(State.OPEN, State.FAILED) is State.OPEN:
            left = self._quiet_since + self._linger - current_time()
            if left <= 0:
                return
            await anyio.sleep(min(left, LONGEST_SLEEP))

    # Out.

    async def _receive(self) -> None:
        """Print what comes, until there is no more."""
        try:
            async for message in self._connection:
                self._quiet_since = current_time()
                await self._output.write(self._line(message))
        except BrokenPipeError:
            await self._connection.close()  # nobody reads any more: as good as an end of input
        except ConnectionFailed as error:
            self._say_failed(error)

    def _line(self, message: Message) -> bytes:
        """A message, for a reader or for a program."""
        if not self._paint_out.is_terminal:
            if isinstance(message, str):
                return message.encode() + b"\n"
            return message + b"\n" if self._is_binary else f"{_size(message)}\n".encode()
        mark = self._paint_out("< ", Colour.CYAN)
        if isinstance(message, str):
            text = escape(message).replace("\n", "\n  ")
        else:
            more = " ..." if len(message) > SHOWN_BYTES else ""
            shown = f"{_size(message)}: {message[:SHOWN_BYTES].hex(' ')}{more}"
            text = self._paint_out(shown, Colour.MAGENTA)
        return f"{mark}{text}\n".encode(sys.stdout.encoding, "backslashreplace")

    # What happens.

    async def _tell(self, changes: Changes) -> None:
        """Tell of every change of state."""
        async for change in changes:
            if change.event == "opened":
                self._quiet_since = current_time()
            if change.now.state is State.FAILED:
                return  # of that, `_receive` tells
            if change.event != "settled":
                self._say(change.now.state, self._words(change))

    def _words(self, change: Change) -> str:
        now = change.now
        match now.state:
            case State.CONNECTING:
                return redact(self._url) if change.left is State.IDLE else ""
            case State.OPEN:
                chosen = self._connection.subprotocol
                return "" if chosen is None else f"subprotocol {chosen}"
            case State.BACKING_OFF:
                wait = (now.retry_at or now.since) - now.since
                return f"{now.last_error}; attempt {now.attempt}{self._of} in {wait:.1f} s"
            case State.CLOSED:
                return str(now.last_error) if change.event == "ended" else ""
            case _:
                return ""

    def _say(self, state: State | None, text: str) -> None:
        """One line on standard error. What is in it may come from the peer."""
        head = "statews:" if state is None else self._paint_err(f"[{state}]", COLOURS.get(state))
        safe = escape(text).replace("\n", "\\n")
        sys.stderr.write(f"{head} {safe}".rstrip() + "\n")
        sys.stderr.flush()

    def _say_failed(self, error: ConnectionFailed) -> None:
        """Why there is no connection, with what was tried."""
        self._status = 2 if isinstance(error.history[-1], UsageError) else 1
        if len(error.history) == 1:
            self._say(State.FAILED, _reason(error.history[0]))
            return
        self._say(State.FAILED, f"gave up after {len(error.history)} failures:")
        at = 1
        for text, alike in groupby(map(_reason, error.history)):
            last = at + len(list(alike)) - 1
            number = f"{at}" if at == last else f"{at}-{last}"
            sys.stderr.write(f"  {number}. " + escape(text).replace("\n", "\\n") + "\n")
            at = last + 1


def _text(line: bytes, number: int) -> str:
    try:
        return line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise UsageError(
            f"line {number} of standard input is not UTF-8: --binary sends bytes as they are"
        ) from None


def _reason(error: Exception) -> str:
    """The error, with what the server wrote about it if that is short."""
    if isinstance(error, UpgradeRefused):
        said = error.body.decode(errors="replace").strip()
        if 0 < len(said) <= SHOWN_BODY and "\n" not in said:
            return f"{error}: {said}"
    return str(error)


def _size(message: bytes) -> str:
    return f"binary, {len(message)} byte{'' if len(message) == 1 else 's'}"
