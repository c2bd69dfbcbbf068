"""Who sees everything that happens to two real peers, and finds a promise broken."""

from __future__ import annotations

from collections import defaultdict
from enum import Enum, auto

from typing_extensions import override

from statews.protocol.entry import ACKNOWLEDGED, Entry
from statews.protocol.plain import Message
from statews.protocol.session import Log

__all__ = ["Breach", "Observer", "Promise", "Way", "content_of"]


class Way(Enum):
    """In which direction a message goes."""

    UP = "to the server"
    DOWN = "to the client"

    @property
    def other(self) -> Way:
        """The way back."""
        return Way.DOWN if self is Way.UP else Way.UP


class Promise(Enum):
    """What is broken."""

    IN_ORDER = "a message came after one that neither came nor was told lost"
    ONCE = "a message came again that was handled, or was not the one being handled"
    ONE_NUMBER = "two messages had one number"
    HANDLED_FIRST = "a message was acknowledged that was not handled"
    EXACT_GAP = "a gap was told that is none"
    BOUNDED = "more was held than the bounds allow"
    NOTHING_LOST = "a message was lost, and nobody was told"
    GOES_ON = "a session was reset, although nobody went back in time"
    OWN_CLIENT = "a session went to a retired token or an outdated attempt"
    PEACE = "one of two right peers was told that it broke the protocol"
    ARRIVES = "without further faults, a message did not arrive"
    REST = "without further faults, the peers had more to say for ever"


class Breach(Exception):
    """A promise is broken."""

    def __init__(self, promise: Promise, detail: str) -> None:
        super().__init__(promise, detail)
        self.promise = promise
        self.detail = detail

    @override
    def __str__(self) -> str:
        return f"{self.promise.value}: {self.detail}"


class Trust(Enum):
    """What can be held against the peers."""

    FULL = auto()
    AFTER_REGRESSION = auto()
    """A disk went back in time: what that may cost beside messages lost in silence, is borne."""


def content_of(message: Message) -> int:
    """The number that the application gave a message, in its order."""
    text = message if isinstance(message, str) else message.decode()
    return int(text.partition(".")[0])


class Story:
    """What is known of the messages of one direction.

    Attributes:
        names: which message has which number, in which session.
        pending: those whose sender has not seen them settled.
        begun: those with which the receiver's application began.
        handled: those of which it has kept that it is done with them.
        skipped: those that the receiver was told it will not get.
        dropped: those that the sender gave up. Where it dies before that is stored, the next
            process has them again, and the receiver may have been told.
        doubles: those with the number of another, that was sent before the sender went back.
        told: those of which whoever sent them knows that they may be lost.
        reached: the last number that the application began with, in each session.
        at_most: one that was being handled when the process died.
    """

    def __init__(self) -> None:
        self.names: dict[str, dict[int, int]] = defaultdict(dict)
        self.sent: set[int] = set()
        self.pending: dict[int, Entry] = {}
        self.begun: set[int] = set()
        self.handled: set[int] = set()
        self.skipped: set[int] = set()
        self.dropped: set[int] = set()
        self.doubles: set[int] = set()
        self.told: set[int] = set()
        self.reached: dict[str, int] = {}
        self.again: set[int] = set()


class Observer:
    """Keeps the stories of both directions.

    Attributes:
        trust: less, once a disk went back in time.
        over: the sessions that their client has given up.
        may_reset: whether a server has forgotten its sessions, as one without a disk does.
    """

    def __init__(self) -> None:
        self.stories = {way: Story() for way in Way}
        self.trust = Trust.FULL
        self.over: set[str] = set()
        self.may_reset = False

    @property
    def trusts(self) -> bool:
        """Whether nobody went back in time."""
        return self.trust is Trust.FULL

    def regressed(self, way: Way, sid: str | None) -> None:
        """A sender's disk went back in time; whoever did that knows what is gone with it.

        Args:
            way: in which direction it sends.
            sid: a session that it knows nothing of now; None: it knows all it did.
        """
        self.trust = Trust.AFTER_REGRESSION
        self.stories[way].told |= self.stories[way].sent
        if sid is not None:
            self.stories[way.other].told |= set(self.stories[way.other].names[sid].values())

    # What the peers do.

    def sent(self, way: Way, entry: Entry) -> None:
        """A message is in a log."""
        content = content_of(entry.message)
        self.stories[way].sent.add(content)
        self.stories[way].pending[content] = entry

    def restored(self, way: Way, sid: str, entry: Entry) -> None:
        """A message is in a log again, in a new process."""
        self.sent(way, entry)
        if sid not in self.over:
            self.stories[way].told.discard(content_of(entry.message))

    def began(self, way: Way, sid: str, seq: int, message: Message) -> None:
        """An application begins with a message."""
        story, content = self.stories[way], content_of(message)
        expected = story.reached.get(sid, 0) + 1
        if seq > expected:
            raise Breach(Promise.IN_ORDER, f"{way.value}: {seq} where {expected} was next")
        is_again = content in story.begun and content not in story.again
        if seq < expected or (is_again and self.trusts and not self.over):
            raise Breach(Promise.ONCE, f"{way.value}: message {content} came as {seq}")
        name = story.names[sid].get(seq)
        if name != content and self.trusts:
            raise Breach(Promise.ONE_NUMBER, f"{way.value}: {seq} was {name}, came as {content}")
        story.reached[sid] = seq
        story.begun.add(content)

    def lost(self, way: Way, sid: str, after: int, upto: int) -> None:
        """An application is told of a gap."""
        story = self.stories[way]
        reached = story.reached.get(sid, 0)
        names = story.names[sid]
        contents = {names[seq] for seq in range(after + 1, upto + 1) if seq in names}
        still = contents & story.pending.keys() - story.dropped
        if after != reached or upto <= after or (still and self.trusts):
            detail = f"{way.value}: {after} to {upto} after {reached}, with {still} kept"
            raise Breach(Promise.EXACT_GAP, detail)
        story.reached[sid] = upto
        story.skipped |= contents

    def committed(self, way: Way, sid: str, rx: int) -> None:
        """A receiver has kept that everything up to there is handled."""
        story = self.stories[way]
        names = story.names[sid]
        story.handled |= {name for seq, name in names.items() if seq <= rx} & story.begun

    def crashed(self, way: Way, sid: str | None, last: int) -> None:
        """A sender's process died, and its disk has nothing beyond that number.

        What it had beyond was not stored yet, so that whoever sent it was not told that it was.
        """
        story = self.stories[way]
        names = story.names[sid or ""]
        beyond = [seq for seq in names if seq > last]
        story.told |= {names[seq] for seq in beyond} | story.pending.keys()
        if self.trusts:  # else the receiver may have seen them
            for seq in beyond:
                del names[seq]
        story.pending.clear()

    def restarted(self, way: Way, sid: str, rx: int) -> None:
        """A receiver's process died, and the next one goes on from there."""
        story = self.stories[way]
        reached = story.reached.get(sid, rx)
        names = story.names[sid]
        again = {names[seq] for seq in range(rx + 1, reached + 1) if seq in names}
        if len(again - story.skipped) > 1 and self.trusts:
            raise Breach(Promise.ONCE, f"{way.value}: {again} come again after {rx}")
        story.again |= again
        story.reached[sid] = rx

    def reset(self, sid: str, why: str) -> None:
        """A client was told that its session is over."""
        if self.trusts and not self.may_reset:
            raise Breach(Promise.GOES_ON, why)
        self.over.add(sid)
        story = self.stories[Way.DOWN]
        story.told |= set(story.names[sid].values())

    # What can be seen from time to time.

    def look(self, way: Way, sid: str | None, log: Log) -> None:
        """Look at the log of a sender."""
        story = self.stories[way]
        if sid is not None:
            names = story.names[sid]
            for seq, entry in enumerate(log.entries[: log.fixed], log.first):
                self._named(way, names, seq, content_of(entry.message))
        settled = [content for content, entry in story.pending.items() if entry.state.is_final]
        for content in settled:
            self._settled(way, content, story.pending.pop(content))

    def _named(self, way: Way, names: dict[int, int], seq: int, content: int) -> None:
        """A message has a number; it is the first to have it, unless the sender went back."""
        story, former = self.stories[way], names.setdefault(seq, content)
        if former == content:
            return
        if self.trusts:
            raise Breach(Promise.ONE_NUMBER, f"{way.value}: {seq} is {former} and {content}")
        names[seq] = content
        # What was handled is in the chain, but a client may go on handling after its hello.
        if way is Way.DOWN or former not in story.handled:
            story.doubles.add(content)

    def _settled(self, way: Way, content: int, entry: Entry) -> None:
        story = self.stories[way]
        if entry.state is ACKNOWLEDGED:
            if content not in story.handled | story.dropped and self.trusts:
                raise Breach(Promise.HANDLED_FIRST, f"{way.value}: {content}")
            return
        story.dropped.add(content)
        if way is Way.UP:  # its receipt tells; of what a server drops, its client learns
            story.told.add(content)

    def check_bounds(self, way: Way, count: int, most: int, what: str) -> None:
        """Check that not too much is held."""
        if count > most:
            raise Breach(Promise.BOUNDED, f"{way.value}: {count} {what}, {most} at most")

    def check_all_told(self) -> None:
        """At rest, each message was handled, or somebody was told that it may not be.

        A sender that went back in time is found out by what both sides have kept; of two messages
        with one number, only the id of a data set could tell that the receiver has the other.
        """
        for way, story in self.stories.items():
            lost = story.sent - story.handled - story.skipped - story.told
            if not self.trusts:
                lost -= story.doubles | story.dropped
            if lost:
                raise Breach(Promise.NOTHING_LOST, f"{way.value}: {sorted(lost)}")
