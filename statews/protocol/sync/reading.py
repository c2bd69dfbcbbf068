"""From a message to what a strategy needs of it, through callables that may be wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeGuard

from typing_extensions import TypeVar

from ...errors import UsageError
from ..plain import Message
from .strategy import Key, Outcome, Page

__all__ = [
    "HASHABLE",
    "KEY",
    "NUMBER",
    "VERSION",
    "WHOLE",
    "Answer",
    "Parsed",
    "Reader",
    "Version",
    "Wrong",
    "check",
    "check_calls",
    "check_whole",
    "is_key",
    "is_list",
    "is_mapping",
    "is_number",
    "is_version",
    "is_whole",
    "pick",
]

# What `parse` gives. `Any` is only for a `lambda` with `json.loads`, whose result has no type.
Parsed = TypeVar("Parsed", default=Any)
Input = TypeVar("Input")
Item = TypeVar("Item")
Value = TypeVar("Value")
Version = int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[Item]):
    """A page whose items have been read."""

    items: list[Item]
    more: bool
    gone: bool
    key: Key


@dataclass(frozen=True, slots=True)
class Wrong:
    """A page that cannot be used, and why."""

    reason: str


class Reader(Generic[Input, Item]):
    """Parses a message once, and says what it is to the strategy.

    Args:
        parse: of the user.
        page: of the user, or None.
        select: of the strategy: an item, or None for a message of somebody else.
        outcome: where problems are noted.
    """

    __slots__ = ("_outcome", "_page", "_parse", "_select")

    def __init__(
        self,
        *,
        parse: Callable[[Message], Input],
        page: Callable[[Input], Page | None] | None,
        select: Callable[[Input, Message], Item | None],
        outcome: Outcome,
    ) -> None:
        self._parse = parse
        self._page = page
        self._select = select
        self._outcome = outcome

    def read(self, message: Message) -> Item | Answer[Item] | Wrong | None:
        """One message of the stream, an answer, or None if it is somebody else's."""
        parsed = self._outcome.attempt("parse", self._parse, message)
        if parsed is None:
            return None
        if self._page is not None:
            # If it raises, this is most likely no page, and perhaps a message of the stream.
            page = self._outcome.attempt("page", self._page, parsed)
            if page is not None:
                return self._open(page)
        return self._select(parsed, message)

    def _open(self, page: object) -> Answer[Item] | Wrong:
        if not isinstance(page, Page):
            return Wrong(f"the answer was wrong: page must give a Page or None, got {page!r:.200}")
        if not is_list(page.items):
            text = f"Page.items must be a list, got {page.items!r:.200}"
            return Wrong(f"the answer was wrong: {text}")
        if page.key is not None and not is_key(page.key):
            text = f"Page.key must be str, int or None, got {page.key!r:.200}"
            return Wrong(f"the answer was wrong: {text}")
        items: list[Item] = []
        for message in page.items:
            item = self._read_item(message)
            if item is None:
                return Wrong(f"the answer was wrong: it holds {message!r:.200}")
            items.append(item)
        return Answer(items=items, more=bool(page.more), gone=bool(page.gone), key=page.key)

    def _read_item(self, message: object) -> Item | None:
        if not isinstance(message, (str, bytes)):
            return None
        parsed = self._outcome.attempt("parse", self._parse, message)
        return None if parsed is None else self._select(parsed, message)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Value]):
    """What a value may be: a test, and its name in words."""

    holds: Callable[[object], TypeGuard[Value]]
    right: str


def pick(
    outcome: Outcome,
    name: str,
    selector: Callable[[Input], object],
    parsed: Input,
    kind: Kind[Value],
) -> Value | None:
    """What a selector of the user finds; None if it finds nothing, or something unfit."""
    value = outcome.attempt(name, selector, parsed)
    if value is None or kind.holds(value):
        return value
    outcome.note(name, f"must give {kind.right} or None, got {value!r:.200}")
    return None


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number, and no larger than a float may be."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it can be a sequence number."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether it is a list or a tuple, of whatever."""
    return isinstance(value, (list, tuple))


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Whether it is an object of JSON."""
    return isinstance(value, Mapping)


def is_key(value: object) -> TypeGuard[str | int]:
    """Whether it survives a position."""
    return isinstance(value, (str, int))


def is_version(value: object) -> TypeGuard[Version]:
    """Whether it can be compared, with others of its kind."""
    return isinstance(value, str) or is_number(value)


def is_hashable(value: object) -> TypeGuard[Hashable]:
    """Whether it can be remembered."""
    return isinstance(value, Hashable)


NUMBER: Final = Kind(is_number, "a finite number")
WHOLE: Final = Kind(is_whole, "a whole number of 0 or more")
KEY: Final = Kind(is_key, "str or int")
VERSION: Final = Kind(is_version, "a finite number or str")
HASHABLE: Final = Kind(is_hashable, "something hashable")


def check(owner: object, name: str, value: object, right: str, *, holds: bool) -> None:
    """Refuse an argument that does not hold what `right` says."""
    if not holds:
        raise UsageError(f"{type(owner).__name__}.{name} must be {right}, got {value!r}")


def check_whole(owner: object, name: str, value: object, *, least: int) -> None:
    """Refuse what is no whole number of at least `least`."""
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
    check(owner, name, value, f"a whole number of {least} or more", holds=is_whole)


def check_calls(owner: object, needed: Mapping[str, object], **optional: object) -> None:
    """Refuse what cannot be called; the optional ones may be None."""
    for name, value in needed.items():
        check(owner, name, value, "callable", holds=callable(value))
    for name, value in optional.items():
        right = "callable, or None for none"
        check(owner, name, value, right, holds=value is None or callable(value))
