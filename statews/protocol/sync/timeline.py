"""The stamps of a stream: what a message, a page and a deadline mean for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple

from ..plain import Message
from .fetching import Settings
from .reading import Answer, Wrong
from .recent import Recent
from .strategy import Gap, Outcome

__all__ = ["FEWEST_IDS", "Item", "Mark", "Timeline"]

FEWEST_IDS: Final = 10_000  # are remembered, even if fewer messages may be held

GONE: Final = "the server's history does not reach back so far"
REPEATS: Final = "the server promises more and gives nothing new"
SILENT: Final = "the server did not answer in time"
FLOODED: Final = "more live messages came than may be held, and the history brings nothing new"


class Item(NamedTuple):
    """What a message says of itself."""

    stamp: float
    id: str
    message: Message


class Mark(NamedTuple):
    """What is handled with a delivery.

    Attributes:
        safe: the stamp up to which nothing is missing once this and all before are handled.
        stamp: of the message.
        id: of the message.
    """

    safe: float | None
    stamp: float
    id: str


@dataclass(slots=True)
class Fetch:
    """Pages are being fetched, and live messages held.

    Attributes:
        runs: live messages; between two runs some were lost. None: there were too many, so they
            are fetched as well.
        cursor: what the server was asked for.
        deadline: when the answer is overdue.
        left: further requests before it is given up.
        unanswered: requests for this cursor whose answer has not come.
        has_new: a page held something new.
        is_again: it fetches what could not be held, or was lost on the way. No answer to an
            earlier request will do.
    """

    runs: list[list[Item]] | None = field(default_factory=lambda: [list[Item]()])
    cursor: float | None = None
    deadline: float = math.inf
    left: int = 0
    unanswered: int = 0
    has_new: bool = False
    is_again: bool = False

    @property
    def held(self) -> list[Item]:
        """All that is held."""
        return [item for run in self.runs or () for item in run]

    def answered(self) -> None:
        """One of the answers is here."""
        self.unanswered = max(0, self.unanswered - 1)  # 0 if the request could not be made


@dataclass(slots=True)
class Replay:
    """History may come in among live messages, and nothing tells the two apart.

    Attributes:
        deadline: when it is taken to be complete.
    """

    deadline: float


class Timeline:
    """Decides for `Since`: what is released, held, asked for, given up.

    Args:
        request: makes the message that asks the server.
        stream: the name of the strategy.
        overlap: how far stamps may come out of order.
        settings: what bounds a fetch.
        outcome: where everything goes.
        has_pages: answers can be told from live messages.
    """

    __slots__ = (
        "_fetch",
        "_has_pages",
        "_is_doubtful",
        "_late",
        "_newest",
        "_outcome",
        "_overlap",
        "_reach",
        "_request",
        "_safe",
        "_seen",
        "_settings",
        "_stream",
    )

    def __init__(
        self,
        request: Callable[[float | None], Message],
        *,
        stream: str,
        overlap: float,
        settings: Settings,
        outcome: Outcome,
        has_pages: bool,
    ) -> None:
        self._request = request
        self._stream = stream
        self._overlap = overlap
        self._settings = settings
        self._outcome = outcome
        self._has_pages = has_pages
        self._newest: float | None = None  # of what was released
        self._safe: float | None = None  # nothing up to here is missing; at most `_newest`
        self._seen = Recent(max(settings.hold, FEWEST_IDS))
        self._fetch: Fetch | Replay | None = None
        self._late = 0  # answers that may still come, to requests nobody waits for any more
        self._is_doubtful = False  # some answers that are counted may never come
        self._reach = -math.inf  # what comes as an answer, late or not, has no lower stamp

    @property
    def due(self) -> float:
        """When `expire` has something to do."""
        return math.inf if self._fetch is None else self._fetch.deadline

    def resume(self, stamp: float | None, ids: Iterable[str]) -> None:
        """Go on after what was handled in an earlier process."""
        self._newest = self._safe = stamp
        for name in ids:
            self._seen.add(name, math.inf if stamp is None else stamp, needed=-math.inf)

    def begin(self, now: float) -> None:
        """Ask for everything from a little before the safe stamp.

        A fallback may do so while a fetch is open: what is held stays so, and ids stay known.
        """
        if self._fetch is None:
            self._seen.turn()
        cursor = None if self._safe is None else self._safe - self._overlap
        if self._fetch is None and not self._late:
            self._reach = -math.inf if cursor is None else cursor
        if not self._has_pages:
            self._fetch = Replay(now + self._settings.timeout)
            self._outcome.ask(self._request, cursor)
            return
        if not isinstance(self._fetch, Fetch):
            self._fetch = Fetch()
        self._ask(self._fetch, cursor, now)

    def prolong(self, now: float) -> None:
        """Wait for the whole timeout again."""
        if self._fetch is not None:
            self._fetch.deadline = now + self._settings.timeout

    def repeat(self, now: float) -> None:
        """Ask again for what is awaited; the request before may not have arrived, or may."""
        fetch = self._fetch
        if isinstance(fetch, Fetch):
            self._is_doubtful = True
            self._ask_again(fetch, now)
        elif fetch is not None:
            self.begin(now)

    def miss(self, now: float) -> None:
        """Ask for everything from a little before the safe stamp, whatever is asked already."""
        self.begin(now)
        if isinstance(self._fetch, Fetch):
            self._fetch.is_again = True
            if self._fetch.runs is not None and self._fetch.runs[-1]:
                self._fetch.runs.append([])
            self._is_doubtful = True  # answers may be among what is lost

    def end(self) -> None:
        """Let go what is held, and the fetch."""
        self._fetch = None
        self._late = 0
        self._is_doubtful = False

    def expire(self, now: float) -> None:
        """Ask again, or give up; a replay is complete."""
        fetch = self._fetch
        if not isinstance(fetch, Fetch):
            self._fetch = None
            self._safe = self._newest
        elif fetch.left == 0:
            self._give_up(fetch, SILENT)
        else:
            fetch.left -= 1
            self._ask_again(fetch, now)

    def admit(self, item: Item, now: float) -> None:
        """Take in an ordinary message."""
        if item.id in self._seen:
            return
        fetch = self._fetch
        if isinstance(fetch, Fetch):
            self._hold(fetch, item)
            return
        if self._newest is not None and item.stamp < self._newest - self._overlap:
            if fetch is not None:
                fetch.deadline = now + self._settings.timeout
            else:
                what = f"went back by more than the overlap, to {item.stamp}"
                self._outcome.note("a stamp", what)
        self._release(item)

    def take_page(self, page: Answer[Item] | Wrong, now: float) -> None:
        """Take in what a page holds, if it is waited for."""
        fetch = self._fetch
        if not isinstance(fetch, Fetch):
            self._late = max(0, self._late - 1)
        elif self._late > 0 and self._may_be_late(fetch, page):
            self._late -= 1  # most likely the answer to an older request
            if self._is_doubtful:  # which may have had none, and then this was the one awaited
                self._ask_again(fetch, now)
        else:
            fetch.answered()
            if isinstance(page, Wrong):
                self._give_up(fetch, page.reason)
            else:
                self._take_answer(fetch, page, now)

    def _may_be_late(self, fetch: Fetch, page: Answer[Item] | Wrong) -> bool:
        """Whether it may answer an older request, and would then not do."""
        is_new = isinstance(page, Wrong) or self._has_moved(fetch, page.items)
        return fetch.is_again or not is_new

    def _take_answer(self, fetch: Fetch, page: Answer[Item], now: float) -> None:
        if not page.more:
            self._take_items(fetch, page)
            self._finish(fetch, now)
        elif self._has_moved(fetch, page.items):
            self._take_items(fetch, page)
            self._ask(fetch, max(x.stamp for x in page.items), now)
        else:
            self._give_up(fetch, REPEATS)

    def _ask(self, fetch: Fetch, cursor: float | None, now: float) -> None:
        """Ask for something else than before: what is unanswered is late from now on."""
        self._late += fetch.unanswered
        fetch.cursor = cursor
        fetch.deadline = now + self._settings.timeout
        fetch.left = self._settings.retries
        fetch.unanswered = int(self._outcome.ask(self._request, cursor))

    def _ask_again(self, fetch: Fetch, now: float) -> None:
        fetch.deadline = now + self._settings.timeout
        fetch.unanswered += self._outcome.ask(self._request, fetch.cursor)

    def _hold(self, fetch: Fetch, item: Item) -> None:
        if fetch.runs is not None:
            fetch.runs[-1].append(item)
            if sum(map(len, fetch.runs)) > self._settings.hold:
                fetch.runs = None

    def _has_moved(self, fetch: Fetch, items: list[Item]) -> bool:
        """Whether a page brings something new, or at least gets on to the next."""
        cursor = fetch.cursor
        return any(x.id not in self._seen or cursor is None or x.stamp > cursor for x in items)

    def _take_items(self, fetch: Fetch, page: Answer[Item]) -> None:
        first = min((x.stamp for x in page.items), default=None)
        if page.gone and not (page.items and page.items[0].id in self._seen):
            self._lose_up_to(first, fetch, GONE)
        # What the history forgot by now.
        self._merge([x for x in fetch.held if first is None or x.stamp < first])
        for item in page.items:
            if item.id not in self._seen:
                fetch.has_new = True
                self._release(item)

    def _finish(self, fetch: Fetch, now: float) -> None:
        """The last page is here: release what is held, or fetch it if it was too much."""
        self._late += fetch.unanswered
        self._fetch = None
        if fetch.runs is not None:
            self._merge(fetch.held)
        elif fetch.has_new:
            self._fetch = Fetch(is_again=True)
            self.begin(now)
        else:
            self._lose(None, FLOODED)

    def _give_up(self, fetch: Fetch, reason: str) -> None:
        self._late += fetch.unanswered
        self._fetch = None
        self._lose_up_to(None, fetch, reason)
        self._merge(fetch.held)

    def _lose_up_to(self, first: float | None, fetch: Fetch, reason: str) -> None:
        """Report what is missing before `first`: before each run, and none within one."""
        runs = list(fetch.runs or [[]])
        while True:
            run = runs.pop(0)
            below = [x for x in run if first is None or x.stamp < first]
            beyond = self._first_beyond(below)
            is_last = not runs or len(below) < len(run)
            if is_last or beyond is not None:
                self._lose(first if beyond is None else beyond, reason)
            if is_last:
                return
            self._merge(below)

    def _merge(self, held: list[Item]) -> None:
        for item in sorted(held, key=attrgetter("stamp")):
            if item.id not in self._seen:
                self._release(item)

    def _release(self, item: Item) -> None:
        stamp = item.stamp
        self._newest = stamp if self._newest is None else max(stamp, self._newest)
        if not isinstance(self._fetch, Replay):
            self._safe = self._newest
        needed = -math.inf if self._safe is None else self._safe - 2 * self._overlap
        if self._fetch is not None or self._late:
            needed = min(needed, self._reach)
        self._seen.add(item.id, stamp, needed=needed)
        self._outcome.deliver(item.message, Mark(self._safe, stamp, item.id))

    def _first_beyond(self, held: list[Item]) -> float | None:
        """The first stamp of the held that is beyond the newest one released."""
        newest = -math.inf if self._newest is None else self._newest
        return min((x.stamp for x in held if x.stamp > newest), default=None)

    def _lose(self, before: float | None, reason: str) -> None:
        """Report a gap after the newest stamp, or within the overlap at the stamp `before`."""
        after = self._newest
        if after is not None and before is not None:
            after = min(after, before)
        gap = Gap(stream=self._stream, key=None, after=after, before=before, reason=reason)
        self._outcome.lose(gap)
