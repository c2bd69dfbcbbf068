"""Where the tasks of a program that hangs are."""

from __future__ import annotations

import asyncio
import linecache
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

__all__ = ["HangError", "asyncio_tasks", "trio_tasks"]

CARRIERS: Final = frozenset({"anyio", "asyncio", "trio"})


class HangError(AssertionError):
    """A test did not end.

    Attributes:
        tasks: for each task its name, and where it waits, the innermost call last.
    """

    def __init__(self, what: str, tasks: list[str]) -> None:
        super().__init__("\n\n".join([what, *tasks]))
        self.tasks: list[str] = tasks


def asyncio_tasks() -> list[str]:
    """The tasks of the loop that runs here, or of all of them between two steps."""
    return [
        _described(task.get_name(), task.get_coro())
        for task in sorted(asyncio.all_tasks(asyncio.get_running_loop()), key=_name)
        if not task.done() and not _is_ours(task.get_name())
    ]


def _name(task: asyncio.Task[Any]) -> tuple[int, str]:
    name = task.get_name()
    return len(name), name  # Task-9 before Task-10


def trio_tasks() -> list[str]:
    """The tasks of the run that goes on here, parents before their children."""
    root = sys.modules["trio"].lowlevel.current_root_task()
    waiting = [
        task
        for nursery in root.child_nurseries
        for task in nursery.child_tasks
        if _library(task.coro.cr_frame) != "trio"  # its own housekeeping
    ]
    found: list[str] = []
    while waiting:
        task = waiting.pop(0)
        if not _is_ours(task.name):
            found.append(_described(task.name, task.coro))
        for nursery in task.child_nurseries:
            waiting.extend(sorted(nursery.child_tasks, key=_age))
    return found


def _age(task: Any) -> int:  # noqa: ANN401 - of trio, which may be absent
    age: int = task._counter  # noqa: SLF001
    return age


def _is_ours(name: str) -> bool:
    return name == "statews.testing.watch"


def _described(name: str, coro: object) -> str:
    """A task, without the calls inside the libraries that carry it."""
    lines = [f"    {_line(frame)}" for frame in _frames(coro) if _library(frame) not in CARRIERS]
    return "\n".join([f"task {name}", *lines])


def _library(frame: FrameType | None) -> str:
    name: str = frame.f_globals.get("__name__", "") if frame is not None else ""
    return name.partition(".")[0] if name != f"{__package__}.virtual" else "anyio"


def _frames(coro: object) -> Iterator[FrameType]:
    """The calls that a coroutine is in, the outermost first."""
    while coro is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(coro, f"{kind}_frame", None)
            if frame is not None:
                yield frame
                inner = "gi_yieldfrom" if kind == "gi" else f"{kind}_await"
                coro = getattr(coro, inner)
                break
        else:
            return


def _line(frame: FrameType) -> str:
    code = frame.f_code
    source = linecache.getline(code.co_filename, frame.f_lineno).strip()
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}: {source}"
