"""What a strategy is to the client that drives it, and what passes between the two.

A strategy brings one stream up to date after a reconnect. It is told of an open link, of each
message, of the time and of a lost link; it answers with requests to send and with what goes to
the application. What was asked by one link of a session may be answered by the next. Two
positions are kept apart: *released* is what went to the application, whose inbox survives a lost
link; *handled* is what the application is done with, and only that is in `position`, which
survives the process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from ...errors import UsageError
from ..plain import Message

__all__ = ["Delivery", "Gap", "Key", "Outcome", "Output", "Page", "Reset", "Strategy"]

Key = str | int | None
_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


class Delivery(NamedTuple):
    """One message for the application. There is one per message, so it is a cheap tuple.

    Attributes:
        message: as it came, or as the page held it.
        mark: for `Strategy.handled`; it says nothing to anybody else.
        replaces: an undelivered message with an equal value here is out of date by this one, and
            need not be delivered; None: every message counts.
    """

    message: Message
    mark: object
    replaces: Hashable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Messages are lost: all between `after` and `before`, both of which are not lost themselves.

    Stamps need not be unique, nor in order: then messages with these very stamps, and a little
    (`Since.overlap`) before, may be among the lost.

    Attributes:
        stream: the name of the strategy.
        key: whose messages; None if the stream has no keys.
        after: the number or stamp of the last message before the gap; None if there was none.
        before: the number or stamp of the first message after the gap; None if it is not known
            yet: whatever is delivered next ends the gap.
        reason: why they are lost, in words.
    """

    stream: str
    key: Key
    after: float | None
    before: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """The numbering starts over with the next message: what came before says nothing about it.

    Attributes:
        stream: the name of the strategy.
        key: whose numbering; None if the stream has no keys.
        reason: how it was noticed, in words.
    """

    stream: str
    key: Key
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """The server's answer to a request, as a `page` callable finds it in a message.

    Attributes:
        items: the messages it holds, oldest first. Each is parsed and read like a live message,
            and delivered as it is here.
        more: another page follows; it is asked for with the moved cursor.
        gone: the server's history does not reach back to what was asked for.
        key: whose messages were asked for. None: the key of the items, and if there are none,
            the one whose request has waited longest.
    """

    items: Sequence[Message]
    more: bool = False
    gone: bool = False
    key: Key = None


Output = Delivery | Gap | Reset


class Outcome:
    """What a strategy wants done, until the client comes for it.

    Attributes:
        requests: what is to be sent, in order.
        outputs: what goes to the application, in order.
        problems: texts for the log.
        losses: how many gaps and resets there were since someone set this to 0.
    """

    __slots__ = ("_noted", "losses", "outputs", "problems", "requests")

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.outputs: list[Output] = []
        self.problems: list[str] = []
        self.losses: int = 0
        self._noted: set[str] = set()

    def deliver(self, message: Message, mark: object, replaces: Hashable | None = None) -> None:
        """Give a message to the application."""
        self.outputs.append(Delivery(message, mark, replaces))

    def lose(self, loss: Gap | Reset) -> None:
        """Tell the application what it lost."""
        self.outputs.append(loss)
        self.losses += 1

    def drain(self) -> tuple[list[Message], list[Output]]:
        """Take the requests and the outputs."""
        drained = self.requests, self.outputs
        self.requests, self.outputs = [], []
        return drained

    def note(self, subject: str, what: str) -> None:
        """Have it logged that something is wrong with `subject`, if it is the first time."""
        if subject not in self._noted:
            self._noted.add(subject)
            self.problems.append(f"{subject} {what}")

    def attempt(
        self, name: str, call: Callable[[_Argument], _Result], argument: _Argument
    ) -> _Result | None:
        """What the user's callable gives; None and a problem if it raises."""
        try:
            return call(argument)
        except Exception as error:  # noqa: BLE001 - what is the user's may raise anything
            self.note(name, f"raised {error!r}")
            return None

    def ask(self, call: Callable[[_Argument], Message], argument: _Argument) -> bool:
        """Send what the user's callable makes of `argument`; False if it makes no message."""
        request: object = self.attempt("request", call, argument)
        if isinstance(request, (str, bytes)):
            self.requests.append(request)
            return True
        self.note("request", f"must give str or bytes, got {request!r}")
        return False


class Strategy(ABC):
    """How one stream is brought up to date after a reconnect. It performs nothing itself.

    All times are readings of one clock, in seconds. Nothing but the constructor and `restore`
    raises; what a callable of yours raises is noted in `problems`, and the message concerned is
    not this stream's.

    One connection drives it at a time. With the next one it goes on where it was.

    Attributes:
        name: of the stream, for gaps, positions and logs.
        is_in_use: whether a connection drives it.
    """

    __slots__ = ("_outcome", "is_in_use", "name")

    def __init__(self, name: str | None = None) -> None:
        if name is not None and not _is_name(name):
            kind = type(self).__name__
            raise UsageError(f"{kind}.name must be a text, or None for the default, got {name!r}")
        self.name: str = type(self).__name__.lower() if name is None else name
        self.is_in_use: bool = False
        self._outcome = Outcome()

    @property
    def parts(self) -> tuple[Strategy, ...]:
        """Itself, and all that it drives in its turn."""
        return (self,)

    @property
    def problems(self) -> list[str]:
        """What should be logged, each kind once. Whoever has logged them clears the list."""
        return self._outcome.problems

    def drain(self) -> tuple[list[Message], list[Output]]:
        """Take the requests to send now, and what goes to the application; both in order."""
        return self._outcome.drain()

    @property
    @abstractmethod
    def deadline(self) -> float:
        """When `expire` must be called at the latest; `math.inf`: never."""

    @abstractmethod
    def begin(self, now: float) -> None:
        """A link is open: ask for what was missed."""

    @abstractmethod
    def take(self, message: Message, now: float) -> bool:
        """Take one message of the link; False: it is not this stream's."""

    @abstractmethod
    def expire(self, now: float) -> None:
        """The time is `now`: give up waiting for what is overdue, or ask again."""

    def prolong(self, now: float) -> None:  # noqa: B027 - it need not care
        """Until now no answer could come in: one that is awaited has its whole time again."""

    def repeat(self, now: float) -> None:
        """The last requests may not have arrived: ask again for what is still awaited."""
        self.begin(now)

    def miss(self, now: float) -> None:
        """Messages are lost up to here, and the link is not: ask for them.

        What is held stays so. No answer to an earlier request says what was lost since.
        """
        self.begin(now)

    @abstractmethod
    def end(self) -> None:
        """The link is lost: let go what was held, for it will be asked for again."""

    @abstractmethod
    def handled(self, mark: object) -> None:
        """The application has handled the delivery with this mark, and all before it."""

    @property
    @abstractmethod
    def position(self) -> object:
        """What the application has handled, made of what JSON knows; for `restore`."""

    @abstractmethod
    def restore(self, position: object) -> None:
        """Go on, in a new process, after what was handled in an earlier one.

        Raises:
            UsageError: this is no position of such a strategy.
        """

    def _wrong_position(self, position: object, right: str) -> UsageError:
        return UsageError(
            f"a position of {self.name!r} must be {right}, got {position!r:.200}; "
            "without `restore` the stream begins anew"
        )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""
