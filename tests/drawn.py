"""Machines to draw: those that run, with what their pictures show, and others that are made up."""

from __future__ import annotations

import re
from dataclasses import dataclass

from transitions import Machine
from transitions import State as MachineState

from statews import lifecycle
from statews.diagram import CHARTS, Chart, read_machine
from statews.lifecycle import Activity, SessionState, State, session
from statews.lifecycle.declared import DeclaredState

# What the guards and effects of the machines are called in a picture.
WORDS = {
    ("has_attempts_left", True): " [has attempts left]",
    ("has_attempts_left", False): " [no attempts left]",
    "start_over": " / start over",
    "count_attempt": " / count attempt",
    "forget_attempts": " / forget attempts",
    "count_link": " / count link",
}

Row = tuple[str, str, str]  # source, label, destination


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A declared machine, and the chart that is made of it."""

    chart: Chart
    machine: Machine
    states: tuple[State | SessionState, ...]
    declared: list[DeclaredState]
    refusals: set[Row]  # event, state, why

    def rows(self) -> set[Row]:
        """The rows of the machine, in words."""
        names = {key: str(state.value) for key, state in self.machine.states.items()}
        found: set[Row] = set()
        for event in self.machine.events.values():
            for rows in event.transitions.values():
                for row in rows:
                    guards = [WORDS[str(guard.func), guard.target] for guard in row.conditions]
                    effects = [WORDS[str(effect)] for effect in row.before]
                    nothing = [" / nothing"] if row.dest is None and not effects else []
                    label = "".join((event.name, *guards, *effects, *nothing))
                    found.add((names[row.source], label, names[row.dest or row.source]))
        return found

    def rows_of_mermaid(self, text: str) -> set[Row]:
        """The rows that a Mermaid picture shows; those of the frame for each state in it."""
        names = {id_: name for name, id_ in re.findall(r'state "([^" ]+)[^"]*" as (\w+)', text)}
        living = set(re.findall(r'^        state ".+" as (\w+)$', text, re.MULTILINE))
        found: set[Row] = set()
        for tail, head, labels in re.findall(r"(\w+) --> (\w+) : (.+)", text):
            for source in living if tail == "living" else (tail,):
                found |= {(names[source], label, names[head]) for label in labels.split("<br/>")}
        for state, line in re.findall(r"^ +(\w+) : (.+)$", text, re.MULTILINE):
            if line.split(" ")[0] in self.machine.events:
                found.add((names[state], line, names[state]))
        return found

    def rows_of_dot(self, text: str) -> set[Row]:
        """The rows that a DOT picture shows; those of the frame for each state in it."""
        names = {state.replace("-", "_"): str(state) for state in self.states}
        frame = text[text.index("subgraph cluster_living") : text.index("\n    }\n")]
        living = re.findall(r"^ +(\w+) \[fillcolor", frame, re.MULTILINE)
        found: set[Row] = set()
        for tail, head, labels, rest in re.findall(r'(\w+) -> (\w+) \[label="(.*)"(.*)\]', text):
            for source in living if "ltail=cluster_living" in rest else (tail,):
                dest = names[head.removeprefix("exit_")]
                found |= {
                    (names[source], label.strip(), dest) for label in labels.split("\\l")[:-1]
                }
        for state, box in re.findall(
            r"^ +(\w+) \[fillcolor(.*?)</table>", text, re.MULTILINE | re.DOTALL
        ):
            for line in re.findall(r'<td align="left">(.*)</td>', box):
                if line.split(" ")[0] in self.machine.events:
                    found.add((names[state], line, names[state]))
        return found


def rows_of_markdown(text: str) -> set[Row]:
    """The rows of the table."""
    table = text[text.index("## Rows") : text.index("## Refused")]
    cells = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", table, re.MULTILINE)[2:]
    return {
        (source, label, source if dest == "(stays)" else dest)
        for label, sources, dest in cells
        for source in sources.split(", ")
    }


DRAWN = {
    "connection": Drawn(
        chart=CHARTS["connection"](),
        machine=lifecycle.MACHINE,
        states=tuple(State),
        declared=lifecycle.STATES,
        refusals={
            (event, state, why)
            for event, reasons in lifecycle.REFUSALS.items()
            for state, why in reasons.items()
        },
    ),
    "session": Drawn(
        chart=CHARTS["session"](),
        machine=session.MACHINE,
        states=tuple(SessionState),
        declared=session.STATES,
        refusals={
            (event, state, why)
            for event, reasons in session.REFUSALS.items()
            for state, why in reasons.items()
        },
    ),
}


class Made(MachineState):
    """A state of a machine that is none of those that run."""

    def __init__(
        self, name: str, *, activity: Activity | None = None, final: bool = False
    ) -> None:
        super().__init__(name, final=final)
        self.doc = f"it is {name}"
        self.activity = activity


def a_session(*, expiring: Activity | None = None, **row: object) -> Chart:
    """Another machine, with two final states and one more row if one is given."""
    machine = Machine(
        model=None,
        states=[
            Made("attached", activity=Activity(runs="serve the link")),
            Made("detached", activity=expiring),
            Made("expired", final=True),
            Made("ended", final=True),
        ],
        transitions=[
            {"trigger": "detach", "source": "attached", "dest": "detached"},
            {"trigger": "attach", "source": "detached", "dest": "attached"},
            {"trigger": "expire", "source": "detached", "dest": "expired"},
            {"trigger": "end", "source": ["attached", "detached"], "dest": "ended"},
            *(
                [{"trigger": "more", "source": "attached", "dest": "detached", **row}]
                if row
                else []
            ),
        ],
        initial="attached",
        auto_transitions=False,
    )
    refusals = {"attach": {"attached": "it is attached"}}
    return read_machine(machine, name="session", refusals=refusals)


def a_lamp(*rows: dict[str, object], has_off: bool = True) -> Chart:
    machine = Machine(
        model=None,
        states=[Made("on"), *([Made("off")] if has_off else []), Made("gone", final=True)],
        transitions=rows,
        initial="on",
        auto_transitions=False,
    )
    return read_machine(machine, name="lamp", refusals={})
