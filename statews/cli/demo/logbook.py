"""What the processes of the demo write down: a line for each thing that happens, in a file each.

A line that is written outlives its process, however that ends.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio import Event

    from ...protocol.frames import Message

__all__ = ["Logbook", "Record", "number_of", "numbered", "parse", "wait_orders"]


def numbered(number: int) -> str:
    """A message of a client's, or of the server's."""
    return json.dumps({"seq": number})


def number_of(message: Message) -> object:
    """The number of it; if it has none, the message as text."""
    try:
        parsed: object = json.loads(message)
    except ValueError:
        return str(message)
    number = cast("dict[str, object]", parsed).get("seq") if isinstance(parsed, dict) else None
    return number if isinstance(number, int) else str(message)


class Record(NamedTuple):
    """One line.

    Attributes:
        what: has happened.
        about: what belongs to that.
    """

    what: str
    about: tuple[object, ...]


def parse(line: str) -> Record | None:
    """The record that a line holds; None: it holds something else."""
    try:
        what, *about = cast("list[object]", json.loads(line))
    except (TypeError, ValueError):
        return None
    return Record(what, tuple(about)) if isinstance(what, str) else None


class Logbook:
    """The log of a process, which goes on with that of an earlier one.

    Args:
        path: of the file.

    Attributes:
        records: what the earlier processes have written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        text = path.read_text() if path.exists() else ""
        self.records: list[Record] = [
            record for line in text.splitlines() if (record := parse(line)) is not None
        ]
        if text and not text.endswith("\n"):  # killed in the middle of a line, which is void
            self._append("\n")

    def write(self, what: str, *about: object) -> None:
        """Write a record down for good."""
        self._append(json.dumps([what, *about]) + "\n")

    def _append(self, text: str) -> None:
        with self._path.open("a") as file:
            file.write(text)


async def wait_orders(quiet: Event, log: Logbook, read: Callable[[], str]) -> None:
    """Obey whoever has started this process; return when it is to end.

    Args:
        quiet: set at the first order, after which no more is to be said.
        log: is told that from now on it holds all that is said.
        read: gives the next order, nothing at their end; it may wait.
    """
    while await to_thread.run_sync(read, abandon_on_cancel=True):
        quiet.set()
        log.write("quiet")
