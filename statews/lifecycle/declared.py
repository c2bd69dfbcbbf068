"""What the machines have in common: how one is declared, and how an object is driven by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeVar

from transitions import Machine, MachineError
from transitions import State as MachineState

from ..errors import RefusedEventError

if TYPE_CHECKING:
    from transitions.core import TransitionConfig

__all__ = ["Activity", "DeclaredState", "Model", "declare", "describe", "fire"]

_State = TypeVar("_State", bound=str)
_Event = TypeVar("_Event", bound=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a state runs, how long at most, and the phases it goes through.

    Attributes:
        runs: what is done while the state lasts.
        within: the setting that bounds it, as `Class.field` of `statews.policy`; None: no bound.
        phases: in order, as far as they are needed.
        on_exit: what is done last, however the state is left; None: nothing.
        exit_within: the setting that bounds that.
    """

    runs: str
    within: str | None = None
    phases: tuple[str, ...] = ()
    on_exit: str | None = None
    exit_within: str | None = None


class DeclaredState(MachineState):
    """A state of a machine, with what the picture and the driver need to know of it."""

    def __init__(
        self, state: Enum, doc: str, *, activity: Activity | None = None, final: bool = False
    ) -> None:
        super().__init__(state, final=final)
        self.doc = doc
        self.activity = activity


class Model(Protocol[_State]):
    """An object that a machine drives; it has the guards and effects of the rows as well."""

    state: _State


def declare(
    name: str,
    *,
    states: Sequence[DeclaredState],
    rows: Sequence[TransitionConfig],
    initial: Enum,
) -> Machine:
    """A machine that nothing is registered with, and whose effects are given the event's data.

    Args:
        name: as it stands in the log of transitions.
        states: all of them.
        rows: every pair of event and state that moves something.
        initial: the state that models begin in.
    """
    return Machine(
        name=name,
        model=None,
        states=states,
        transitions=rows,
        initial=initial,
        auto_transitions=False,
        send_event=True,
    )


def fire(
    machine: Machine,
    refusals: Mapping[_Event, Mapping[_State, str]],
    model: Model[_State],
    event: _Event,
) -> _State:
    """Move `model` along the row for `event` and return the state that was left.

    Args:
        machine: what `declare` made.
        refusals: why a pair has no row, by event and state.
        model: what is moved.
        event: what happened.

    Raises:
        RefusedEventError: no row for this event in this state; nothing was changed.
    """
    left = model.state
    try:
        machine.events[event].trigger(model)
    except MachineError:
        raise RefusedEventError(left, event, refusals[event][left]) from None
    return left


def describe(states: Sequence[DeclaredState], state: Enum) -> tuple[str, Activity | None]:
    """The one-line documentation of a state, and its activity if it has one.

    Args:
        states: those of its machine.
        state: one of them.
    """
    return next(
        (declared.doc, declared.activity) for declared in states if declared.value is state
    )
