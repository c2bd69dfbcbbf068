"""Faults that can be taken back one by one, whatever was done since they began.

Each setting of a network has a stack: below what it was before, above it the faults that are
on it for a time. The last one to begin is in force. What is done for good empties the stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from typing_extensions import assert_never

from .faults import Cut, Entry, Faults, Way
from .grammar import Fault

__all__ = ["Overlay"]

Value = float | Cut | tuple[Entry, float] | None  # bool, an int, is among them
Setting = tuple[str, Way]


@dataclass(slots=True, kw_only=True, eq=False)
class _Layer:
    """What a fault has made of a setting."""

    value: Value


@dataclass(slots=True, kw_only=True)
class _Stack:
    before: Value
    layers: list[_Layer] = field(default_factory=list)

    @property
    def value(self) -> Value:
        """What is in force."""
        return self.layers[-1].value if self.layers else self.before


class Overlay:
    """What lies over a network for a time.

    Args:
        faults: the network. What others do to it meanwhile counts as done for good.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._stacks: dict[Setting, _Stack] = {}

    def apply(self, fault: Fault) -> None:
        """Do something for good: no end of an earlier fault takes it back."""
        fault.apply(self._faults)
        if fault.name == "heal":
            self._stacks.clear()
        for setting in _settings(fault):
            self._stacks.pop(setting, None)

    def begin(self, fault: Fault) -> Callable[[], None]:
        """Do something for a time; what is returned takes it back.

        Taking it back gives each of its settings to the latest other fault that is on it, or
        makes it what it was. It does nothing where the setting was changed for good meanwhile.
        """
        settings = _settings(fault)
        stacks = [self._stack(setting) for setting in settings]
        fault.apply(self._faults)
        layers = [_Layer(value=_read(self._faults, setting)) for setting in settings]
        for stack, layer in zip(stacks, layers, strict=True):
            stack.layers.append(layer)

        def end() -> None:
            self._end(settings, layers)

        return end

    def _stack(self, setting: Setting) -> _Stack:
        now = _read(self._faults, setting)
        stack = self._stacks.get(setting)
        if stack is None or stack.value != now:
            stack = self._stacks[setting] = _Stack(before=now)
        return stack

    def _end(self, settings: Sequence[Setting], layers: Sequence[_Layer]) -> None:
        changed: dict[Setting, Value] = {}
        for setting, layer in zip(settings, layers, strict=True):
            stack = self._stack(setting)
            if layer not in stack.layers:
                continue
            stack.layers.remove(layer)
            if stack.value != layer.value:
                changed[setting] = stack.value
        for (name, way), value in _joined(changed).items():
            _write(self._faults, name, way, value)


def _settings(fault: Fault) -> list[Setting]:
    name = fault.kind.setting
    if not name:
        return []
    if fault.kind.has_way and fault.way is Way.BOTH:
        return [(name, Way.UP), (name, Way.DOWN)]
    return [(name, fault.way)]


def _joined(changed: dict[Setting, Value]) -> dict[Setting, Value]:
    """The same change of both ways is one change."""
    if len(changed) == 2 and len(set(changed.values())) == 1:
        (name, _), value = next(iter(changed.items()))
        return {(name, Way.BOTH): value}
    return changed


def _read(faults: Faults, setting: Setting) -> Value:
    name, way = setting
    value: Value
    match way:
        case Way.UP:
            value = getattr(faults.up, name)
        case Way.DOWN:
            value = getattr(faults.down, name)
        case Way.BOTH if name == "entry":
            is_dropping = faults.entry is Entry.DROP
            value = (faults.entry, faults.drop_after if is_dropping else 0.0)
        case Way.BOTH:
            value = getattr(faults, name)
        case _:
            assert_never(way)
    return value


def _write(faults: Faults, name: str, way: Way, value: Value) -> None:
    match value:
        case tuple():
            _enter(faults, *value)
        case Cut() | None:
            faults.cut_at(value, way)
        case bool():
            (faults.freeze if value else faults.thaw)(way)
        case _ if name == "drop_share":
            faults.drop_some(value)
        case _:
            numbers: dict[str, float] = {name: value}
            faults.slow(way=way, **numbers)


def _enter(faults: Faults, entry: Entry, drop_after: float) -> None:
    match entry:
        case Entry.ACCEPT:
            faults.accept()
        case Entry.REFUSE:
            faults.refuse()
        case Entry.RESET:
            faults.reset_new()
        case Entry.SILENT:
            faults.silence_new()
        case Entry.DROP:
            faults.drop_new(drop_after)
        case _:
            assert_never(entry)
