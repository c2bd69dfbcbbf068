"""The receiving half of a connection that looks at what comes in before the application does.

Acknowledgements and answers to the application's heartbeat are consumed, the messages of a
stream go through its strategy, and everything else is delivered as it is. A connection without
any of these has no intake: its messages go from the decoder to the application.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Final, cast

from anyio import current_time

from ..errors import PeerSilent, StatewsError, UsageError
from ..protocol.entry import ACKNOWLEDGED, Entry
from ..protocol.liveness import Passage
from ..protocol.sync import Delivery, Gap, Reset
from .caller import Caller
from .feed import Feed
from .pulse import Pulse

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    from ..policy import Policy
    from ..protocol.frames import Message
    from ..protocol.sync import Strategy
    from ..transport.link import Link
    from .changes import Change
    from .sender import Sender
    from .session import Progress
    from .spoken import Spoken

__all__ = ["Intake"]

logger: Final = logging.getLogger("statews.client")


class Intake:
    """What a connection does with what comes in, across links.

    Attributes:
        feed: what is ready for the application.
        strategies: of the streams, in the order in which a message is offered to them.
    """

    __slots__ = (
        "_acknowledged",
        "_asked",
        "_caller",
        "_is_held_up",
        "_link",
        "_passage",
        "_pulse",
        "_sender",
        "_spoken",
        "feed",
        "strategies",
    )

    def __init__(self, policy: Policy, strategies: Sequence[Strategy], sender: Sender) -> None:
        self.feed: Feed = Feed()
        self.strategies: Sequence[Strategy] = strategies
        self._acknowledged = policy.outbox.acknowledged
        self._caller = Caller()
        self._pulse = Pulse(policy.heartbeat, self._caller)
        self._sender = sender
        self._link: Link | None = None
        self._spoken: Spoken | None = None  # on a link of a session
        self._asked: list[tuple[Strategy, Entry]] = []  # by it, and not known to have arrived
        self._passage = Passage()  # of what stands before the last request
        self._is_held_up = False  # at the last look: answers could not come in

    @property
    def is_curious(self) -> bool:
        """Whether the messages of a session are looked at before the application gets them."""
        return self._pulse.has_answers or bool(self.strategies)

    @property
    def deadline(self) -> float:
        """When a strategy wants to be told of the time; infinite if none fetches anything."""
        return min((strategy.deadline for strategy in self.strategies), default=math.inf)

    @property
    def is_fetching(self) -> bool:
        """Whether something that was missed is still to come."""
        return self.deadline < math.inf

    def publish(self, change: Change, place: int) -> None:
        """Tell the application of a change of state, if it wants to know. See `Feed.publish`."""
        self.feed.publish(change, place)
        if self._link is not None:
            self._link.wake_reader()

    def opened(self, link: Link) -> None:
        """A link is open: ask for what was missed, then look at what is here already."""
        now = current_time()
        self._link = link
        self._pulse.start(link, now)
        self._begin_anew(now)
        link.divert(self.feed, self.sort)

    def lost(self) -> None:
        """The link is gone."""
        self.suspended()
        self._asked.clear()
        for strategy in self.strategies:
            strategy.end()
            self._carry_out(strategy)

    # The same where a session outlives the link.

    def resumed(self, spoken: Spoken, *, is_new: bool) -> None:
        """A link of a session is open, which says nothing of what was before if it is new."""
        now = current_time()
        self._link, self._spoken = spoken.link, spoken
        self._pulse.start(spoken.link, now)
        asked, self._asked = self._asked, []
        if is_new:
            self._begin_anew(now)
            return
        doubtful = [strategy for strategy, entry in asked if entry.state is not ACKNOWLEDGED]
        for strategy in self.strategies:
            if strategy in doubtful:
                strategy.repeat(now)
                self._carry_out(strategy)
            else:
                strategy.prolong(now)

    def catch_up(self) -> None:
        """Something of the session is missing: the strategies ask for what they miss of it."""
        now = current_time()
        for strategy in self.strategies:
            strategy.miss(now)
            self._carry_out(strategy)
        self._look_in_time()

    def suspended(self) -> None:
        """The link is gone, and nothing else."""
        self._link = self._spoken = None
        self._pulse.stop()

    def deliver(self, messages: Sequence[Message], first: int, /) -> None:
        """Take in messages of a session that are looked at."""
        for seq, message in enumerate(messages, first):
            if self._pulse.is_answer(message) or self._is_taken(message):
                self.feed.pass_over(message)
            else:
                self.feed.deliver((message,), seq)
        self._look_in_time()

    def deliver_unnumbered(self, message: Message, slot: str | None) -> None:
        """Take in a message that nobody acknowledges; of a slot, the newest is enough."""
        if not self._is_taken(message):
            self.feed.append(message, place=slot)
        self._look_in_time()

    def note(
        self, event: Gap | Reset, progress: Progress | None = None, mark: object = None
    ) -> None:
        """Tell the application of a loss."""
        logger.warning("the session: %s", event.reason)
        self.feed.note(event, progress, mark)

    def tick(self, now: float) -> float:
        """Do what is due, and return when to look again."""
        pulse = self._pulse
        if pulse.due == math.inf and not self.strategies:
            return math.inf  # as nearly always, and for each read
        if now >= pulse.due:
            self._beat(now)
        due = min(pulse.answer_due, self.deadline)
        if self._link is not None and due < math.inf:
            was_held_up, self._is_held_up = self._is_held_up, self._is_held_up_on(self._link)
            if was_held_up or self._is_held_up:
                self._prolong(now)
            elif now >= due:
                if self._link.has_unread:
                    return now  # what is awaited may be here: look again when that is read
                self._expire(self._link, now)
            self._link.wake_reader()
        return min(pulse.due, pulse.answer_due, self.deadline)

    def _is_held_up_on(self, link: Link) -> bool:
        """Whether an answer may be kept away by what the application has not taken."""
        return link.is_held_up if self._spoken is None else self._spoken.is_held_up

    def _prolong(self, now: float) -> None:
        """No answer could come in until now, for the application has not taken what did."""
        self._pulse.prolong(now)
        for strategy in self.strategies:
            strategy.prolong(now)
            if strategy.deadline <= now:  # one that does not care
                strategy.expire(now)
                self._carry_out(strategy)

    def _expire(self, link: Link, now: float) -> None:
        """Do without what did not come; but not without a sign of the peer's application."""
        if self._pulse.is_missed(now):
            why = "the peer did not answer the application's heartbeat in time"
            link.depart(PeerSilent(why))
        overdue = [strategy for strategy in self.strategies if now >= strategy.deadline]
        is_in_line = bool(overdue) and self._passage.has_moved(*link.passage)
        for strategy in overdue:
            if is_in_line:
                strategy.prolong(now)
            if now >= strategy.deadline:
                strategy.expire(now)
                self._carry_out(strategy)

    def _begin_anew(self, now: float) -> None:
        """Ask for what was missed, on a link that knows nothing of earlier requests."""
        for strategy in self.strategies:
            strategy.end()
            strategy.begin(now)
            self._carry_out(strategy)

    def _look_in_time(self) -> None:
        """Have `tick` called when a strategy wants it."""
        if self._link is not None:
            self._link.look_at(self.deadline)

    # What comes in.

    def sort(self, arrived: deque[Message]) -> int:
        """Take in messages; return the bytes that the application has not taken yet."""
        while arrived:
            message = arrived.popleft()
            is_ours = self._pulse.is_answer(message) or self._acknowledges(message)
            if not (is_ours or self._is_taken(message)):
                self.feed.append(message)
        self._look_in_time()
        return self.feed.size_bytes

    def is_answer(self, message: Message) -> bool:
        """Whether it is one to the application's heartbeat, which nobody else is to see."""
        return self._pulse.is_answer(message)

    def _acknowledges(self, message: Message) -> bool:
        if self._acknowledged is None:
            return False
        acked = self._acknowledged.acked
        names = self._caller.call("Acknowledged.acked", acked, message)
        if names is None:
            return False
        for name in _several(names):
            if not self._sender.acknowledge(name):
                text = f"the peer acknowledged {name!r:.100}, which nothing in the outbox is named"
                self._caller.complain("acknowledged", text)
        return True

    def _is_taken(self, message: Message) -> bool:
        """Whether the message is one of a stream, and its strategy has seen to it."""
        if not self.strategies:
            return False
        now = current_time()
        for strategy in self.strategies:
            is_taken = strategy.take(message, now)
            self._carry_out(strategy)
            if is_taken:
                return True
        return False

    def _carry_out(self, strategy: Strategy) -> None:
        """Do what a strategy wants done."""
        requests, outputs = strategy.drain()
        for request in requests:
            if self._spoken is None:
                self._write(request)
            else:
                self._ask_for(strategy, request, self._spoken)
        if requests and self._link is not None:
            self._passage.begin(*self._link.passage)
        for output in outputs:
            if isinstance(output, Delivery):
                self.feed.append(output.message, strategy, output.mark, output.replaces)
                continue
            what = f"lost after {output.after}" if isinstance(output, Gap) else "starts over"
            logger.warning("%s %s: %s", output.stream, what, output.reason)
            self.feed.note(output)
        for problem in strategy.problems:
            logger.warning("%s: %s", strategy.name, problem)
        strategy.problems.clear()

    # What goes out.

    def _beat(self, now: float) -> None:
        message = self._pulse.beat(now)
        if message is not None and self._link is not None and self._write(message):
            self._pulse.asked(now, is_held_up=self._is_held_up_on(self._link))

    def _ask_for(self, strategy: Strategy, request: Message, spoken: Spoken) -> None:
        """Send a request in a session. If the link is over, it is made again on the next."""
        try:
            entry = Entry(request)
            self._asked = [pair for pair in self._asked if pair[1].state is not ACKNOWLEDGED]
            self._asked.append((strategy, entry))
            spoken.ask(entry)
        except UsageError as error:
            self._caller.complain(strategy.name, f"{strategy.name}: {error}")
        except StatewsError as error:
            logger.debug("not sent: %s", error)

    def _write(self, message: Message) -> bool:
        """Send on this link only, now; whether it was. The next link begins with new requests."""
        try:
            self._sender.write(message)
        except UsageError as error:
            self._caller.complain("write", f"not sent: {error}")
            return False
        except StatewsError as error:
            logger.debug("not sent: %s", error)
            return False
        return True


def _several(names: object) -> Iterable[Hashable]:
    """What was acknowledged, one or more."""
    if isinstance(names, (list, tuple, set, frozenset)):
        return cast("Iterable[Hashable]", names)
    return (names,)
