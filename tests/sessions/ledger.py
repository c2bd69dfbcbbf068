"""One direction between a client and the server, as both applications saw it.

The checks are made as things happen, so that the first line of `problems` is where it began.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from anyio import current_time

__all__ = ["Ledger", "Taken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One message that an application was given.

    Attributes:
        sid: of the session.
        seq: its number there.
        number: which message of the sender's it is.
        is_again: the receiver was told that it may have been handled before.
        is_first: nothing else was given to this call of the handler, or to this process.
    """

    sid: str
    seq: int
    number: int
    is_again: bool
    is_first: bool

    def __str__(self) -> str:
        again = ", redelivered" if self.is_again else ""
        return f"message {self.number} as seq {self.seq} of session {self.sid}{again}"


class Ledger:
    """Who sent what, and what came of it.

    Args:
        name: of the direction.
        problems: what must not be; shared by all ledgers.

    Attributes:
        logged: by session and seq, the number of the message that was sent as that.
        accepted: the numbers for which sending has returned.
        sessions: by number, the session that the server has sent it in.
        refused: the numbers for which it has raised.
        taken: what was delivered, in order.
        handled: by session, the highest seq that the receiver is done with.
        lost: by session, the seqs that are in reported gaps.
        again: how often a message came a second time.
    """

    def __init__(self, name: str, problems: list[str]) -> None:
        self.name: str = name
        self.logged: dict[tuple[str, int], int] = {}
        self.accepted: set[int] = set()
        self.sessions: dict[int, str] = {}
        self.refused: set[int] = set()
        self.taken: list[Taken] = []
        self.handled: defaultdict[str, int] = defaultdict(int)
        self.lost: defaultdict[str, set[int]] = defaultdict(set)
        self.again: int = 0
        self._problems = problems
        self._begun = 0
        self._arrived: defaultdict[str, int] = defaultdict(int)  # the highest seq, gaps included

    def complain(self, what: str) -> None:
        """Write a problem down."""
        try:
            at = f", at {current_time():.3f} s"
        except RuntimeError:  # it is over
            at = ""
        self._problems.append(f"{self.name}{at}: {what}")

    def begin(self) -> int:
        """The number of the next message that is sent."""
        self._begun += 1
        return self._begun

    @property
    def seen(self) -> set[int]:
        """The numbers of all messages that came."""
        return {each.number for each in self.taken}

    def arrived(self, sid: str) -> int:
        """Up to which seq the receiver was given or told everything."""
        return self._arrived[sid]

    def take(self, taken: Taken) -> None:
        """The receiver was given a message."""
        last = self._arrived[taken.sid]
        if taken.is_again and not taken.is_first:
            self.complain(f"{taken} is not the one that was being handled")
        if taken.seq == last and taken.is_again and taken.is_first:
            self.again += 1
            if taken.number != self.taken[-1].number:
                self.complain(f"{taken} came again, and was {self.taken[-1]} the first time")
        elif taken.seq != last + 1:
            self.complain(f"{taken} came where seq {last + 1} was next")
        elif self.taken and taken.sid == self.taken[-1].sid:
            self._check_order(taken)
        expected = self.logged.get((taken.sid, taken.seq), taken.number)
        if expected != taken.number:
            self.complain(f"{taken} came, and message {expected} was sent as that")
        self._arrived[taken.sid] = max(last, taken.seq)
        self.taken.append(taken)

    def _check_order(self, taken: Taken) -> None:
        """What was sent first comes first; broadcasts have numbers below zero, and `logged`."""
        before = self.taken[-1].number
        if 0 < taken.number <= before:
            self.complain(f"{taken} came after message {before}")

    def done(self, sid: str) -> None:
        """The receiver is done with all that it was given."""
        self.handled[sid] = self._arrived[sid]

    def gap(self, sid: str, after: int, before: int, *, is_first: bool) -> None:
        """The receiver was told that what is between these seqs is gone."""
        last = self._arrived[sid]
        if is_first and before - 1 == last:
            return  # it was told, and died before that was safe
        if after != last or before <= after + 1:
            self.complain(f"a gap {after}..{before} was reported in {sid} behind seq {last}")
        self.lost[sid].update(range(after + 1, before))
        self._arrived[sid] = max(last, before - 1)
