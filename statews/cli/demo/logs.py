"""All logs of the demo, brought together: what was sent and what arrived, and whose sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from .heard import read_heard
from .names import FIRST, SECOND
from .traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .logbook import Record
    from .processes import Process
    from .traffic import Way

__all__ = ["Kind", "Logs", "News"]

Kind = Literal["step", "state", "lost", "ok", "failed"]


class News(NamedTuple):
    """What was read in a log and is to be told to whoever watches."""

    kind: Kind
    text: str


class Logs:
    """What the clients and the server have written down.

    Attributes:
        traffic: of each client, by name.
        sessions: of each client, by name: the sessions that its links belonged to, in order.
        ended: the clients whose session the server saw end.
        silent: the processes that say no more.
        port: of the server, if it has told of one; else 0.
    """

    def __init__(self) -> None:
        self.traffic: dict[str, Traffic] = {name: Traffic(name) for name in (FIRST, SECOND)}
        self.sessions: dict[str, list[object]] = {FIRST: [], SECOND: []}
        self.ended: set[object] = set()
        self.silent: set[str] = set()
        self.port: int = 0
        self._rows: set[int] = set()  # of the server's table

    @property
    def ways(self) -> list[Way]:
        """All that messages go."""
        return [way for traffic in self.traffic.values() for way in traffic.ways]

    @property
    def strayed(self) -> list[str]:
        """The clients that did not always come back to their own session."""
        return [name for name, sessions in self.sessions.items() if len(set(sessions)) > 1]

    def read(self, process: Process) -> Iterator[News]:
        """Take in what a process has written down since the last time."""
        take = self._take_second if process.name == SECOND else self._take_server
        for line in process.read():
            if isinstance(line, str):
                yield News("failed", f"{process.name}: {line}")
            elif line.what == "quiet":
                self.silent.add(process.name)
            else:
                text = take(line)
                if text is not None:
                    yield News("state", f"{process.name}: {text}")

    def _take_server(self, record: Record) -> str | None:
        """A record of the server's, and what is to be told of it."""
        match record:
            case ("heard", (int(row), str(name), message)):
                if row not in self._rows:  # the next process tells of it again
                    self._rows.add(row)
                    self.traffic[name].up.take(message)
            case ("said", (str(name), number)):
                self.traffic[name].down.take_sent(number)
            case ("ended", (name,)):
                self.ended.add(name)
            case ("ready", (pid, found, int(port))):
                self.port = port
                return f"process {pid} begins, sessions in its file: {found}"
            case _:
                return str(record)
        return None

    def _take_second(self, record: Record) -> str | None:
        """The same for the second client."""
        match record:
            case ("sent", (number,)):
                self.traffic[SECOND].up.take_sent(number)
            case ("got", (message,)):
                self.traffic[SECOND].down.take(message)
            case ("again", (message,)):
                return f"message {message} came again, and was in its log"
            case ("opened", (session,)):
                self.sessions[SECOND].append(session)
            case ("ready", (pid, found)):
                return f"process {pid} begins, messages in its outbox: {found}"
            case _:
                return str(record)
        return None

    def close(self, path: Path) -> None:
        """The server is gone: its file says what it has heard, whatever it got to tell."""
        heard = read_heard(path)
        for name, traffic in self.traffic.items():
            traffic.up.correct(message for _, each, message in heard if each == name)
