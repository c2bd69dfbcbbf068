"""A world of memory: a network that is watched at every step, and processes that die in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import Enum
from types import SimpleNamespace
from typing import Any, Final

from anyio import CancelScope
from typing_extensions import assert_never

from statews.protocol.codes import CloseCode
from statews.server import reception
from statews.testing import Network
from statews.testing.memory import MemoryStream
from statews.testing.passage import Passing

from .disk import CrashingStore

__all__ = ["Death", "Process", "WatchedNetwork", "named_in_order"]


class Death(Enum):
    """How a process ends, as its peers see it."""

    LEAVE = "it is left, in order"
    RESET = "its links are reset"
    FIN = "the system closes its links"
    VANISH = "nobody learns it before he writes"


BROKEN: Final = CloseCode.SESSION_PROTOCOL_ERROR.to_bytes(2, "big")
KILLS: Final = (Death.RESET, Death.FIN, Death.VANISH)


class Process:
    """A simulated process: what is done after its death counts for nothing.

    Args:
        store: that it alone uses; None: it has none.

    Attributes:
        is_alive: whether it may still do something.
        scope: its tasks are in there.
    """

    def __init__(self, store: CrashingStore | None) -> None:
        self.store: CrashingStore | None = store
        self.is_alive: bool = True
        self.scope: CancelScope = CancelScope()

    def die(self, death: Death, streams: list[MemoryStream]) -> None:
        """End it, and its ends of links, at once; `Death.LEAVE` is for its own tasks to do."""
        if death is Death.LEAVE:
            return
        self.is_alive = False
        if self.store is not None:
            self.store.die()
        for stream in streams:
            end(stream, death)
        self.scope.cancel()


def end(stream: MemoryStream, death: Death) -> None:
    """What becomes of a stream whose process has died."""
    match death:
        case Death.RESET:
            stream.abort()
        case Death.FIN:
            stream.close()
        case Death.VANISH:
            if not stream.is_closed:
                stream.is_closed = True
                stream.incoming.notify()
                stream.outgoing.notify()
                stream._link.forget()
        case Death.LEAVE:
            pass
        case _:
            assert_never(death)


class WatchedNetwork(Network):
    """A network that has somebody look whenever bytes are sent in it.

    Attributes:
        look: is called then.
        accusations: of one side that the other broke the protocol.
    """

    def __init__(self, *, seed: int, capacity: int) -> None:
        super().__init__(seed=seed, capacity=capacity)
        self.look: Callable[[], object] = _nothing
        self.accusations: list[str] = []

    def _write_down(self, number: int, who: str, passing: Passing) -> None:
        super()._write_down(number, who, passing)
        for frame in passing.frames:
            if frame.shown.startswith(BROKEN) and str(frame).startswith("close"):
                self.accusations.append(f"the {who} of link {number} says {frame}")
        self.look()


def _nothing() -> None:
    """Nobody looks."""


@contextmanager
def named_in_order() -> Generator[None]:
    """Have sessions and tokens named in the order of their making: a run can be repeated."""
    numbers = itertools.count(1)

    def token_urlsafe(size: int) -> str:
        return f"{'S' if size == reception.SID_BYTES else 'T'}{next(numbers)}"

    chance: Any = SimpleNamespace(token_urlsafe=token_urlsafe)
    names = reception.__dict__
    names["secrets"], before = chance, names["secrets"]
    try:
        yield
    finally:
        names["secrets"] = before
