"""Standard input and output for a program that has other things to wait for.

Descriptors are left in the mode they came in: they are shared with the shell and with other
programs. So nothing is read or written before the system says that it would not wait.
"""

from __future__ import annotations

import os
import select
import stat
from typing import Final

import anyio
from anyio import to_thread

__all__ = ["LineReader", "Writer"]

CHUNK: Final = 65536
# What a pipe that is writable takes without waiting (pipe(7)); POSIX promises 512.
PIECE: Final[int] = getattr(select, "PIPE_BUF", 512)


class LineReader:
    """The lines of a descriptor, as bytes without their ends; an unfinished last one counts.

    It needs a thread only where the system cannot wait: for regular files and the like.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._can_wait = _can_wait(fd)
        self._kept = bytearray()

    def __aiter__(self) -> LineReader:
        return self

    async def __anext__(self) -> bytes:
        searched = 0
        while (end := self._kept.find(b"\n", searched)) < 0:
            searched = len(self._kept)
            chunk = await self._read()
            if not chunk:
                return self._take_rest()
            self._kept += chunk
        line = bytes(self._kept[:end])
        del self._kept[: end + 1]
        return line

    def _take_rest(self) -> bytes:
        if not self._kept:
            raise StopAsyncIteration
        rest = bytes(self._kept)
        self._kept.clear()
        return rest

    async def _read(self) -> bytes:
        if self._can_wait:
            await anyio.wait_readable(self._fd)
            return os.read(self._fd, CHUNK)
        return await to_thread.run_sync(os.read, self._fd, CHUNK, abandon_on_cancel=True)


class Writer:
    """Writes to a descriptor. A reader that is slow holds up the caller, and nobody else."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._can_wait = _can_wait(fd)

    async def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        view = memoryview(data)
        while view:
            if self._can_wait:
                await anyio.wait_writable(self._fd)
            view = view[os.write(self._fd, view[:PIECE]) :]


def _can_wait(fd: int) -> bool:
    """Whether the system can wait for it: epoll knows no regular files and no /dev/null."""
    mode = os.fstat(fd).st_mode
    is_waitable = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
    return is_waitable and os.name == "posix"
