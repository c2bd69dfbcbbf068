"""What every store keeps and can do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from ..errors import UsageError

__all__ = [
    "FIRST_NUMBER",
    "NOT_OPEN",
    "STREAM",
    "Contents",
    "OutboxStore",
    "Stored",
    "check_next",
    "check_position",
    "check_text",
]

FIRST_NUMBER: Final = 1
NOT_OPEN: Final = "the store is not open; open() it before use, and again after close()"
STREAM: Final = "the name of a stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One message that is in a store.

    Attributes:
        number: its place in the order of its stream; rises, and is never used again there.
        message: text or binary.
        key: of two messages with the same key the newer replaces the older; None: it stands alone.
        expires_at: when it is not worth sending any more, in seconds since the epoch, as
            `time.time` counts them, since it outlives the process; None: never.
        stream: whose message it is: "" is a client's outbox, and a server has one stream for each
            of its sessions.
    """

    number: int
    message: str | bytes
    key: str | None = None
    expires_at: float | None = None
    stream: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a store holds when it is opened.

    Attributes:
        messages: in the order of their streams (by code points), and in each of their numbers.
        positions: name to JSON text.
        next_number: above the number of every message that was ever committed to the stream "".
    """

    messages: list[Stored]
    positions: dict[str, str]
    next_number: int


class OutboxStore(Protocol):
    """What keeps messages and positions. It belongs to one event loop while it is open.

    `add`, `remove`, `forget` and `save_position` only take note, in this order, and never wait;
    `commit` makes it last. They raise `UsageError` when the store is not open.
    """

    async def open(self) -> Contents:
        """What was committed before; the store may be used until `close`.

        Raises:
            StoreError: the store cannot be read or written, or somebody else has it open.
            UsageError: it is open.

        Cancellation: the store is open, or it is as it was before.
        """
        ...

    def add(self, stored: Stored) -> None:
        """Take in one message.

        That numbers rise is checked in the stream "". What other streams had is not kept in mind,
        so that any number of them costs nothing: there it is for the caller to let numbers rise,
        and of two messages with the same number the newer replaces the older.

        Raises:
            UsageError: its number does not rise, or its text has no UTF-8 form.
        """
        ...

    def remove(self, numbers: Iterable[int], *, stream: str = "") -> None:
        """Forget these messages; numbers that the stream does not hold are nothing to it.

        Raises:
            UsageError: the name of the stream has no UTF-8 form.
        """
        ...

    def forget(self, stream: str) -> None:
        """Forget all messages of the stream, and the position that has its name.

        `Contents.next_number` stays: also of the stream "", no number is used again.

        Raises:
            UsageError: the name has no UTF-8 form.
        """
        ...

    def save_position(self, name: str, position: str) -> None:
        """Keep the JSON text under the name; the newest wins.

        Raises:
            UsageError: one of them has no UTF-8 form.
        """
        ...

    async def commit(self) -> None:
        """Return when all that was noted before this call is safe.

        Those who call it meanwhile share the next write.

        Raises:
            StoreError: it could not be written. It stays noted, and the next commit tries again.

        Cancellation: all stays noted. A write that is under way goes on to its end.
        """
        ...

    async def close(self) -> None:
        """Commit what was noted and release the store. Once it is closed this does nothing.

        Raises:
            StoreError: the rest could not be written. The store is closed, and the rest is lost.

        Cancellation: the store is closed all the same.
        """
        ...


def check_next(stored: Stored, next_number: int) -> int:
    """The next number of the stream "" after this message, which a store must be able to take."""
    if stored.stream:
        check_text(STREAM, stored.stream)
    elif stored.number < next_number:
        raise UsageError(
            f"cannot add message {stored.number}: numbers rise, "
            f"and the next one is {next_number} or more"
        )
    if isinstance(stored.message, str):
        check_text("the message", stored.message)
    if stored.key is not None:
        check_text("the key", stored.key)
    return next_number if stored.stream else stored.number + 1


def check_position(name: str, position: str) -> None:
    """Refuse a position that could not be stored."""
    check_text("the name of a position", name)
    check_text("a position", position)


def check_text(what: str, text: str) -> None:
    """Refuse now what would stop every later commit."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"cannot store {what}: {error.reason}; text must not hold lone surrogates"
        raise UsageError(message) from error
