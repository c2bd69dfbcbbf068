"""A process of the demo, as the one that has started it sees it: it reads its log, and ends it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

from .logbook import Record, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["TICK", "Process"]

TICK: Final = 0.02  # seconds between two looks


class Process:
    """One process after another, of the same program and with the same log.

    Use it as `with Process(...) as process`, which leaves none behind.

    Args:
        name: for whoever watches.
        module: the program.
        log: where it writes what it does. What Python has to complain of goes there as well.
        arguments: of the program.

    Attributes:
        name: as given.
        arguments: likewise, for the next start.
    """

    def __init__(self, name: str, module: str, log: Path, arguments: Sequence[str]) -> None:
        self.name: str = name
        self.arguments: Sequence[str] = arguments
        self._command = [sys.executable, "-m", module]
        self._log = log
        self._read = 0  # bytes of the log
        self._running: list[subprocess.Popen[bytes]] = []  # one at most

    def start(self) -> None:
        """Start one, where none runs."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                [*self._command, *self.arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for who has started it
            )
        self._running.append(process)

    @property
    def pid(self) -> int | None:
        """Of the one that runs; None: none does."""
        return next((each.pid for each in self._running if each.poll() is None), None)

    def order_quiet(self) -> None:
        """Have it say no more."""
        for process in self._running:
            assert process.stdin is not None  # noqa: S101 - see `start`
            with suppress(OSError):  # it has ended by itself, and whoever waits for it sees that
                process.stdin.write(b"quiet\n")

    async def stop(self, patience: float) -> bool:
        """Have it end in an orderly way; whether it did within so many seconds."""
        for process in self._running:
            assert process.stdin is not None  # noqa: S101 - see `start`
            process.stdin.close()
        with anyio.move_on_after(patience):
            while self.pid is not None:  # noqa: ASYNC110 - it is no task of ours
                await anyio.sleep(TICK)
        statuses = self._end()
        return statuses == [0]

    def kill(self) -> None:
        """SIGKILL, or what the system has for that."""
        self._end()

    def _end(self) -> Sequence[int]:
        """Leave none running. Which exit status there was."""
        statuses: list[int] = []
        while self._running:
            with self._running.pop() as process:
                process.kill()
                statuses.append(process.wait())
        return statuses

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill what runs."""
        self._end()

    def read(self) -> Iterator[Record | str]:
        """What was written since this was asked last: records, and lines that are none."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            fresh = log.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if line:
                yield parse(line) or line
