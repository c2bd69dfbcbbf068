"""Who comes in, and when: the gate of `statews.protocol.admission`, kept by the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from anyio import current_time, sleep_until

from ..errors import LinkError
from ..protocol.admission import Gate, Hint, Kind, Refused, retry_after
from ..transport.listener import TurnedAway

if TYPE_CHECKING:
    from ..protocol.admission import Admission, Visit

__all__ = ["LEAVING", "AdmissionDoor", "NotNow"]

SERVICE_UNAVAILABLE: Final = 503
LEAVING: Final = "the server is about to leave"


class NotNow(LinkError):
    """A client is not welcomed now.

    Attributes:
        hint: when it should come back.
    """

    def __init__(self, hint: Hint, why: str) -> None:
        super().__init__(why)
        self.hint = hint


class AdmissionDoor:
    """The door of a server of sessions.

    Args:
        admission: the rates and limits.
        random: draws from [0, 1), for the moments that clients are told.

    Attributes:
        closed_for: seconds that whoever comes now is told to stay away; None: the door is open.
        refused: how many were turned away so far.
    """

    def __init__(self, admission: Admission, random: Callable[[], float]) -> None:
        self._gate = Gate(admission)
        self._random = random
        self.closed_for: Hint | None = None
        self.refused: int = 0

    def enter(self, address: str) -> Visit | Refused:
        """See `Door`."""
        return self._gate.enter(address, current_time())

    async def wait_turn(self, visit: Visit | Refused, /) -> None:
        """See `Door`."""
        self._check_open()
        if isinstance(visit, Refused):
            raise self._away(visit.hint, visit.limit.value)
        if visit.turn_at > current_time():
            await sleep_until(visit.turn_at)
            self._check_open()

    def _check_open(self) -> None:
        if self.closed_for is not None:
            raise self._away(self.closed_for, LEAVING)

    def _away(self, hint: Hint, why: str) -> TurnedAway:
        self.refused += 1
        when = retry_after(hint, self._random(), self._random())
        return TurnedAway(SERVICE_UNAVAILABLE, why, when)

    async def wait_welcome(self, visit: Visit | Refused, kind: Kind) -> None:
        """Return when a client that has said hello may be welcomed.

        Raises:
            NotNow: it may not.
        """
        if isinstance(visit, Refused):  # pragma: no cover - it was turned away
            return
        said = self._gate.hello(visit, kind, current_time())
        if isinstance(said, Refused):
            raise self._not_now(said.hint, said.limit.value)
        if said.turn_at > current_time():
            await sleep_until(said.turn_at)
        self.check_welcome()

    def check_welcome(self) -> None:
        """Raise `NotNow` if nobody is welcome any more."""
        if self.closed_for is not None:
            raise self._not_now(self.closed_for, LEAVING)

    def _not_now(self, hint: Hint, why: str) -> NotNow:
        self.refused += 1
        return NotNow(hint, why)

    def leave(self, visit: Visit | Refused, /) -> None:
        """See `Door`."""
        if not isinstance(visit, Refused):
            self._gate.leave(visit, current_time())
