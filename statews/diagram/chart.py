"""What a picture shows of a machine, read from the machine that runs and from nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from transitions import Machine, Transition

from .. import policy
from ..errors import UsageError
from ..lifecycle import Activity

__all__ = ["Chart", "Node", "Row", "read_machine"]

_Event = TypeVar("_Event", bound=str)
_StateName = TypeVar("_StateName", bound=str)


class _Declared(Protocol):
    """A state of a machine that can be drawn: transitions' own, with a `doc` and an `activity`."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def final(self) -> bool: ...
    @property
    def doc(self) -> str: ...
    @property
    def activity(self) -> Activity | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A state, as it is drawn.

    Attributes:
        name: as it is written everywhere else.
        doc: its documentation, one line.
        runs: its activity; empty if it has none.
        within: the timeout that bounds the activity, with its default; empty if there is none.
        phases: of the activity, in order.
        on_exit: what is done last, with its timeout; empty if nothing is.
        is_initial: whether the machine starts here.
        is_final: whether the machine ends here.
    """

    name: str
    doc: str
    runs: str
    within: str
    phases: tuple[str, ...]
    on_exit: str
    is_initial: bool
    is_final: bool

    @property
    def id(self) -> str:
        """The name as Mermaid and DOT take it for an identifier."""
        return re.sub(r"\W", "_", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the machine, in words.

    Attributes:
        source: the state it leaves.
        event: what moves the machine.
        guard: what must hold; empty if nothing must.
        effect: what is done on the way; empty if nothing is.
        dest: the state it enters; None for an internal row, which stays.
    """

    source: str
    event: str
    guard: str
    effect: str
    dest: str | None

    @property
    def label(self) -> str:
        """`event [guard] / effect`, as UML writes it (UML 2.5.1 section 14.2.4.8)."""
        guard = f" [{self.guard}]" if self.guard else ""
        nothing = "nothing" if self.dest is None else ""
        effect = f" / {self.effect or nothing}" if self.effect or nothing else ""
        return f"{self.event}{guard}{effect}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A whole machine, as it is drawn.

    Attributes:
        name: of the machine, and of the files it is drawn into.
        nodes: the states, as declared.
        rows: all rows of the machine, event by event.
        refusals: (event, state, why), for the pairs that have no row.
    """

    name: str
    nodes: tuple[Node, ...]
    rows: tuple[Row, ...]
    refusals: tuple[tuple[str, str, str], ...]

    def node(self, name: str) -> Node:
        """The state of this name.

        Raises:
            UsageError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        message = f"{self.name} has no state {str(name)!r}: its states are {known}"
        raise UsageError(message)

    @property
    def living(self) -> tuple[Node, ...]:
        """The states that are not final."""
        return tuple(node for node in self.nodes if not node.is_final)

    @property
    def final(self) -> tuple[Node, ...]:
        """The states that nothing leaves."""
        return tuple(node for node in self.nodes if node.is_final)

    def inside(self, node: Node) -> list[Row]:
        """The internal rows of a state."""
        return [row for row in self.rows if row.source == node.name and row.dest is None]

    def lines(self, node: Node) -> list[str]:
        """What stands below the name of a state: its documentation, what it does, how it stays."""
        lines = [node.doc]
        if node.runs:
            lines.append(f"do / {node.runs}")
        if node.within:
            lines.append(f"within {node.within}")
        if node.phases:
            lines.append(f"phases {', '.join(node.phases)}")
        if node.on_exit:
            lines.append(f"exit / {node.on_exit}")
        return lines + [row.label for row in self.inside(node)]

    def shared(self) -> dict[str, list[str]]:
        """The labels of the rows that all living states have alike, by where they lead.

        They are drawn once, from a frame around these states.
        """
        living = {node.name for node in self.living}
        sources: dict[tuple[str, str], set[str]] = {}
        for row in self.rows:
            if row.dest is not None and row.dest not in living:
                sources.setdefault((row.dest, row.label), set()).add(row.source)
        found: dict[str, list[str]] = {}
        for (dest, label), have in sources.items():
            if have == living and len(living) > 1:
                found.setdefault(dest, []).append(label)
        return found

    def arrows(self) -> dict[tuple[str, str], list[str]]:
        """The labels of all other rows that move, by where they come from and lead."""
        shared = self.shared()
        found: dict[tuple[str, str], list[str]] = {}
        for row in self.rows:
            if row.dest is not None and row.label not in shared.get(row.dest, ()):
                found.setdefault((row.source, row.dest), []).append(row.label)
        return found


def read_machine(
    machine: Machine, *, name: str, refusals: Mapping[_Event, Mapping[_StateName, str]]
) -> Chart:
    """Read a machine whose states have a `doc` and an `activity`, as those of the lifecycle have.

    Args:
        machine: the one that runs. Nothing is registered with it.
        name: what it is called; its files are `<name>.mmd` and so on.
        refusals: why a pair has no row, by event and state.

    Raises:
        UsageError: a guard or an effect is not given by name, or a timeout is no setting.
    """
    states = {key: cast("_Declared", state) for key, state in machine.states.items()}
    names = {key: str(state.value) for key, state in states.items()}
    return Chart(
        name=name,
        nodes=tuple(
            _node(state, is_initial=key == machine.initial) for key, state in states.items()
        ),
        rows=tuple(
            _row(event.name, transition, names)
            for event in machine.events.values()
            for transitions in event.transitions.values()
            for transition in transitions
        ),
        refusals=tuple(
            (event, str(state), why)
            for event, reasons in refusals.items()
            for state, why in reasons.items()
        ),
    )


def _on_exit(activity: Activity) -> str:
    if activity.exit_within is None:
        return activity.on_exit or ""
    return f"{activity.on_exit}, within {_timeout(activity.exit_within)}"


def _node(state: _Declared, *, is_initial: bool) -> Node:
    activity = state.activity
    return Node(
        name=str(state.value),
        doc=state.doc,
        runs=activity.runs if activity else "",
        within=_timeout(activity.within) if activity and activity.within else "",
        phases=tuple(str(phase) for phase in activity.phases) if activity else (),
        on_exit=_on_exit(activity) if activity else "",
        is_initial=is_initial,
        is_final=state.final,
    )


def _row(event: str, transition: Transition, names: Mapping[str, str]) -> Row:
    guards = [
        _words(guard.func) if guard.target else _negated(_words(guard.func))
        for guard in transition.conditions
    ]
    effects = [_words(effect) for effect in (*transition.before, *transition.after)]
    return Row(
        source=names[transition.source],
        event=event,
        guard=" and ".join(guards),
        effect=", ".join(effects),
        dest=None if transition.dest is None else names[transition.dest],
    )


def _words(callback: object) -> str:
    """`has_attempts_left` in words. A lambda has none, and could not be drawn."""
    if not isinstance(callback, str):
        message = f"guards and effects are given by name, got {callback!r}"
        raise UsageError(message)
    return callback.replace("_", " ")


def _negated(guard: str) -> str:
    """What must hold for an `unless`; predicates start with is, has or may."""
    for positive, negative in (("has ", "no "), ("is ", "not "), ("may ", "may not ")):
        if guard.startswith(positive):
            return negative + guard.removeprefix(positive)
    return f"not {guard}"


def _timeout(setting: str) -> str:
    """`Timeouts.opening` with its default: a class of `statews.policy`, and a field of it."""
    settings, _, field = setting.partition(".")
    try:
        seconds: float = getattr(getattr(policy, settings)(), field)
    except AttributeError:
        message = f"{setting} bounds an activity, but is no setting of statews.policy"
        raise UsageError(message) from None
    return f"{seconds:g} s ({setting})"
