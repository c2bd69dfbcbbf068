"""One fault as text: `name` or `name=value`, with `@up` or `@down` where it may be on one way.

`KINDS` is all that there is. `schedule` says when.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from typing import TYPE_CHECKING, Final

from ..errors import UsageError
from .faults import Faults, Way

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["KINDS", "LONGEST", "Fault", "Kind", "Takes", "format_number", "usage"]

LONGEST: Final = 1_000_000.0  # seconds, over 11 days: event loops cannot wait for any number
MOST: Final = 2.0**53  # up to there a float counts one by one
WAYS: Final = {"up": Way.UP, "down": Way.DOWN}
SUFFIXES: Final = {"": 1, "k": 1_000, "M": 1_000_000}

_NUMBER: Final = re.compile(r"(?:([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([kM]?)|inf)")


class Takes(Enum):
    """What stands behind the `=` of a fault, by the name that messages have for it."""

    NOTHING = ""
    SECONDS = "SECONDS"
    SHARE = "SHARE"
    SPEED = "BYTES_PER_SECOND"
    BYTES = "BYTES"
    NUMBER = "NUMBER"

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most it may be."""
        return _BOUNDS[self]

    @property
    def is_whole(self) -> bool:
        """Whether it has no fraction."""
        return self in {Takes.BYTES, Takes.NUMBER}

    @property
    def is_long(self) -> bool:
        """Whether it may be written with k or M."""
        return self in {Takes.BYTES, Takes.SPEED}


_BOUNDS: Final = {
    Takes.NOTHING: (0.0, 0.0),
    Takes.SECONDS: (0.0, LONGEST),
    Takes.SHARE: (0.0, 1.0),
    Takes.SPEED: (1.0, math.inf),
    Takes.BYTES: (0.0, MOST),
    Takes.NUMBER: (1.0, MOST),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The faults of one name.

    Attributes:
        does: what they do, in a few words.
        apply: does it to a network, with a value, on a way.
        setting: what they change, as an `Overlay` calls it; empty for an act such as `cut`.
        takes: what their value is.
        has_way: whether they may be on one way alone.
        may_end: whether they can be taken back.
        drawn: between what a random value lies.
    """

    does: str
    apply: Callable[[Faults, float, Way], object]
    setting: str = ""
    takes: Takes = Takes.NOTHING
    has_way: bool = False
    may_end: bool = False
    drawn: tuple[float, float] = (0.0, 0.0)


def _line(setting: str, does: str, takes: Takes, drawn: tuple[float, float]) -> Kind:
    """A number of a `Line`."""

    def apply(faults: Faults, value: float, way: Way) -> None:
        numbers: dict[str, float] = {setting: value}
        faults.slow(way=way, **numbers)

    return Kind(
        does=does,
        apply=apply,
        setting=setting,
        takes=takes,
        has_way=True,
        may_end=True,
        drawn=drawn,
    )


def _cut(
    does: str,
    apply: Callable[[Faults, float, Way], object],
    takes: Takes,
    drawn: tuple[float, float],
) -> Kind:
    """A place at which links end."""
    return Kind(
        does=does,
        apply=apply,
        setting="cut",
        takes=takes,
        has_way=True,
        may_end=True,
        drawn=drawn,
    )


def _new(does: str, apply: Callable[[Faults], None]) -> Kind:
    """What becomes of new connections."""
    return Kind(
        does=does, apply=lambda faults, _value, _way: apply(faults), setting="entry", may_end=True
    )


KINDS: Final[Mapping[str, Kind]] = {
    "latency": _line("latency", "every byte is so long under way", Takes.SECONDS, (0.01, 2.0)),
    "jitter": _line("jitter", "up to so much on top, by chance", Takes.SECONDS, (0.01, 1.0)),
    "loss": _line("loss", "this share has to be sent again", Takes.SHARE, (0.01, 0.5)),
    "bandwidth": _line("bandwidth", "each link is so fast", Takes.SPEED, (200.0, 1_000_000.0)),
    "freeze": Kind(
        does="nothing passes and nothing ends",
        apply=lambda faults, _value, way: faults.freeze(way),
        setting="is_frozen",
        has_way=True,
        may_end=True,
    ),
    "thaw": Kind(
        does="the end of freeze",
        apply=lambda faults, _value, way: faults.thaw(way),
        setting="is_frozen",
        has_way=True,
    ),
    "cut": Kind(does="end every link with FIN", apply=lambda faults, _value, _way: faults.cut()),
    "reset": Kind(
        does="end every link with RST", apply=lambda faults, _value, _way: faults.reset()
    ),
    "cut-after": _cut(
        "reset each link when so much more has passed",
        lambda faults, value, way: faults.cut_after(int(value), way),
        Takes.BYTES,
        (1.0, 20_000.0),
    ),
    "cut-in-frame": _cut(
        "reset each link in the middle of a frame from now on",
        lambda faults, value, way: faults.cut_in_frame(int(value), way),
        Takes.NUMBER,
        (1.0, 20.0),
    ),
    "refuse": _new("nobody listens for new connections", Faults.refuse),
    "reset-new": _new("new connections are accepted and reset", Faults.reset_new),
    "silence-new": _new("new connections are accepted and hear nothing", Faults.silence_new),
    "drop-new": Kind(
        does="new connections end so long after the server's first bytes",
        apply=lambda faults, value, _way: faults.drop_new(value),
        setting="entry",
        takes=Takes.SECONDS,
        may_end=True,
        drawn=(0.01, 2.0),
    ),
    "drop-some": Kind(
        does="this share of new connections is reset",
        apply=lambda faults, value, _way: faults.drop_some(value),
        setting="drop_share",
        takes=Takes.SHARE,
        may_end=True,
        drawn=(0.1, 0.9),
    ),
    "accept": Kind(
        does="new connections are carried again",
        apply=lambda faults, _value, _way: faults.accept(),
        setting="entry",
    ),
    "heal": Kind(does="take back every fault", apply=lambda faults, _value, _way: faults.heal()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that a network does, or that is done to it. `str` gives its text.

    Attributes:
        name: one of `KINDS`.
        value: its value; 0 where it takes none.
        way: on which way; `Way.BOTH` where it has none.

    Raises:
        UsageError: there is no such fault; it says what would be right.
    """

    name: str
    value: float = 0.0
    way: Way = Way.BOTH

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise UsageError(_unknown(self.name))
        least, most = self.kind.takes.bounds
        is_fit = least <= self.value <= most
        if is_fit and self.kind.takes.is_whole:
            is_fit = self.value == int(self.value)
        if not is_fit or (self.way is not Way.BOTH and not self.kind.has_way):
            raise _wrong(self.name, str(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The fault of a text.

        Raises:
            UsageError: there is no such fault; it says what would be right.
        """
        head, at, way = text.strip().partition("@")
        name, equals, number = head.partition("=")
        if name not in KINDS:
            raise UsageError(_unknown(name))
        takes = KINDS[name].takes
        value = _parse_number(number, takes) if equals else 0.0
        if bool(equals) is (takes is Takes.NOTHING) or value is None or (at and way not in WAYS):
            raise _wrong(name, text)
        try:
            return cls(name=name, value=value, way=WAYS[way] if at else Way.BOTH)
        except UsageError:
            raise _wrong(name, text) from None

    @property
    def kind(self) -> Kind:
        """What there is to know about it."""
        return KINDS[self.name]

    def apply(self, faults: Faults) -> None:
        """Do it, for good. An `Overlay` does it so that it can be taken back."""
        self.kind.apply(faults, self.value, self.way)

    def __str__(self) -> str:
        text = self.name
        if self.kind.takes is not Takes.NOTHING or self.value:
            text += f"={_format_value(self.value, self.kind.takes)}"
        return text if self.way is Way.BOTH else f"{text}@{self.way.name.lower()}"


def _parse_number(text: str, takes: Takes) -> float | None:
    found = _NUMBER.fullmatch(text)
    if found is None or (found[2] and not takes.is_long):
        return None
    if found[1] is None:
        return math.inf
    return float(Decimal(found[1]) * SUFFIXES[found[2]])


def _format_value(value: float, takes: Takes) -> str:
    if takes is Takes.SPEED and value < math.inf:
        for suffix, factor in (("M", 1_000_000), ("k", 1_000)):
            if value >= factor and value % factor == 0:
                return format_number(value / factor) + suffix
    return format_number(value)


def format_number(value: float) -> str:
    """A number as it is read back: all its digits, and no exponent."""
    if not math.isfinite(value):
        return str(value)
    text = format(Decimal(repr(float(value))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def usage(name: str) -> str:
    """How a fault is written, such as `latency=SECONDS[@up|@down]`."""
    kind = KINDS[name]
    value = f"={kind.takes.value}" if kind.takes is not Takes.NOTHING else ""
    return f"{name}{value}{'[@up|@down]' if kind.has_way else ''}"


def _wrong(name: str, text: str) -> UsageError:
    takes = KINDS[name].takes
    least, most = takes.bounds
    bounds = ""
    if takes is not Takes.NOTHING:
        number = "a whole number" if takes.is_whole else "a number"
        to = f"at least {least:g}" if takes.is_long or most == MOST else f"{least:g} to {most:.0f}"
        bounds = f" with {number}, {to}"
    return UsageError(f"expected {usage(name)}{bounds}, got {text.strip()!r}")


def _unknown(name: str) -> UsageError:
    near = get_close_matches(name, KINDS, n=1)
    hint = f": did you mean {near[0]}?" if near else ":"
    return UsageError(f"there is no fault {name!r}{hint} the faults are {', '.join(KINDS)}")
