"""The pictures show the machine that runs: all of it, nothing else, and everywhere the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from shutil import which
from xml.etree import ElementTree as ET

import pytest
from transitions import Machine
from transitions import State as MachineState

from statews.diagram import (
    Chart,
    Format,
    dot,
    draw,
    lifecycle,
    markdown,
    mermaid,
    read_machine,
    svg,
)
from statews.errors import UsageError
from statews.lifecycle import EVENTS, MACHINE, REFUSALS, Activity, State, describe

TEXTS = (Format.MERMAID, Format.DOT, Format.MARKDOWN)
CHART = lifecycle()

needs_graphviz = pytest.mark.skipif(
    find_spec("pygraphviz") is None and which("dot") is None, reason="there is no Graphviz"
)

# What the guards and effects of the machine are called in a picture.
WORDS = {
    ("has_attempts_left", True): " [has attempts left]",
    ("has_attempts_left", False): " [no attempts left]",
    "start_over": " / start over",
    "count_attempt": " / count attempt",
    "forget_attempts": " / forget attempts",
}

Row = tuple[str, str, str]  # source, label, destination


def machine_rows() -> set[Row]:
    """The rows of the machine, in words, read here once more by themselves."""
    found: set[Row] = set()
    for event in MACHINE.events.values():
        for rows in event.transitions.values():
            for row in rows:
                guards = [WORDS[str(guard.func), guard.target] for guard in row.conditions]
                effects = [WORDS[str(effect)] for effect in row.before]
                nothing = [" / nothing"] if row.dest is None and not effects else []
                label = "".join((event.name, *guards, *effects, *nothing))
                source = State[row.source]
                found.add((source, label, State[row.dest] if row.dest else source))
    return found


def unescaped(text: str) -> str:
    return re.sub(r"#(\d+);", lambda code: chr(int(code[1])), text)


def rows_of_mermaid(text: str) -> set[Row]:
    """The rows that a Mermaid picture shows; those of the frame for each state in it."""
    names = {id_: name for name, id_ in re.findall(r'state "([^" ]+)[^"]*" as (\w+)', text)}
    living = set(re.findall(r'^        state ".+" as (\w+)$', text, re.MULTILINE))
    found: set[Row] = set()
    for tail, head, labels in re.findall(r"(\w+) --> (\w+) : (.+)", text):
        for source in living if tail == "living" else (tail,):
            found |= {(names[source], label, names[head]) for label in labels.split("<br/>")}
    for state, line in re.findall(r"^ +(\w+) : (.+)$", text, re.MULTILINE):
        if line.split(" ")[0] in EVENTS:
            found.add((names[state], line, names[state]))
    return found


def rows_of_dot(text: str) -> set[Row]:
    """The rows that a DOT picture shows; those of the frame for each state in it."""
    names = {state.replace("-", "_"): str(state) for state in State}
    frame = text[text.index("subgraph cluster_living") : text.index("\n    }\n")]
    living = re.findall(r"^ +(\w+) \[fillcolor", frame, re.MULTILINE)
    found: set[Row] = set()
    for tail, head, labels, rest in re.findall(r'(\w+) -> (\w+) \[label="(.*)"(.*)\]', text):
        for source in living if "ltail=cluster_living" in rest else (tail,):
            dest = names[head.removeprefix("exit_")]
            found |= {(names[source], label.strip(), dest) for label in labels.split("\\l")[:-1]}
    for state, box in re.findall(
        r"^ +(\w+) \[fillcolor(.*?)</table>", text, re.MULTILINE | re.DOTALL
    ):
        for line in re.findall(r'<td align="left">(.*)</td>', box):
            if line.split(" ")[0] in EVENTS:
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


def texts_of_svg(text: str) -> list[str]:
    tree = ET.fromstring(text)  # noqa: S314 - drawn by ourselves
    return [element.text.strip() for element in tree.iter() if element.text]


class Drawn(MachineState):
    """A state of a machine that is not the lifecycle."""

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
            Drawn("attached", activity=Activity(runs="serve the link")),
            Drawn("detached", activity=expiring),
            Drawn("expired", final=True),
            Drawn("ended", final=True),
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


def test_mermaid_shows_every_row_of_the_machine_and_no_other() -> None:
    assert rows_of_mermaid(mermaid(CHART)) == machine_rows()


def test_dot_shows_every_row_of_the_machine_and_no_other() -> None:
    assert rows_of_dot(dot(CHART)) == machine_rows()


def test_markdown_shows_every_row_of_the_machine_and_no_other() -> None:
    assert rows_of_markdown(markdown(CHART)) == machine_rows()


@needs_graphviz
def test_svg_shows_the_label_of_every_row() -> None:
    assert {label for _, label, _ in machine_rows()} <= set(texts_of_svg(svg(CHART)))


def test_a_row_that_is_added_to_the_machine_is_drawn() -> None:
    added = a_session(conditions="is_worth_it", before="note_it")
    for kind in TEXTS:
        assert "more [is worth it] / note it" in draw(added, kind).decode()


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("state", State)
def test_a_state_is_drawn_with_its_documentation_and_activity(kind: Format, state: State) -> None:
    text = unescaped(draw(CHART, kind).decode())
    doc, activity = describe(state)
    assert doc in text
    if activity is not None:
        assert activity.runs in text
        assert ", ".join(activity.phases) in text
        assert activity.on_exit is None or activity.on_exit in text


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize(
    "timeout",
    ["15 s (Timeouts.opening)", "5 s (Timeouts.closing)"],
)
def test_a_timeout_is_drawn_with_its_default(kind: Format, timeout: str) -> None:
    assert timeout in draw(CHART, kind).decode()


def test_a_timeout_that_is_no_setting_cannot_be_drawn() -> None:
    expiring = Activity(runs="wait", within="Timeouts.never")
    with pytest.raises(UsageError, match=r"Timeouts\.never bounds .* no setting"):
        a_session(expiring=expiring)


def test_markdown_gives_the_reason_of_every_refusal() -> None:
    table = markdown(CHART).partition("## Refused")[2]
    cells = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", table, re.MULTILINE)[2:]
    shown = {(event, state, why) for event, states, why in cells for state in states.split(", ")}
    assert shown == {
        (event, str(state), why)
        for event, reasons in REFUSALS.items()
        for state, why in reasons.items()
    }


def test_markdown_contains_the_picture() -> None:
    assert f"```mermaid\n{mermaid(CHART)}```\n" in markdown(CHART)


def test_a_bar_does_not_end_a_cell() -> None:
    piped = a_session(expiring=Activity(runs="wait | see"))
    assert r"| wait \| see |" in markdown(piped)


def test_what_the_formats_give_a_meaning_to_is_drawn_as_text() -> None:
    odd = a_session(expiring=Activity(runs="a < b & c; d: e"))
    assert "do / a &lt; b &amp; c; d: e<" in dot(odd)
    assert "do / a #lt; b & c#59; d#58; e\n" in mermaid(odd)


def test_close_is_drawn_once() -> None:
    assert re.findall(r"(\w+) --> (\w+) : close$", mermaid(CHART), re.MULTILINE) == [
        ("living", "closed")
    ]
    assert dot(CHART).count('[label=" close \\l", ltail=cluster_living') == 1
    assert dot(CHART).count('label=" close \\l"') == 1


@needs_graphviz
def test_close_is_drawn_once_in_the_picture() -> None:
    assert texts_of_svg(svg(CHART)).count("close") == 1


def test_the_frame_is_around_all_states_but_the_final_ones() -> None:
    frame = mermaid(CHART).partition("{\n")[2].partition("}")[0]
    inside = set(re.findall(r'state "(\S+)"', frame))
    assert inside == set(State) - {State.CLOSED}


def test_what_every_living_state_has_leads_from_the_frame_whatever_it_is_called() -> None:
    session = a_session()
    assert session.shared() == {"ended": ["end"]}
    assert "living --> ended : end\n" in mermaid(session)
    assert "detached --> expired : expire\n" in mermaid(session)


def a_lamp(*rows: dict[str, object], has_off: bool = True) -> Chart:
    machine = Machine(
        model=None,
        states=[Drawn("on"), *([Drawn("off")] if has_off else []), Drawn("gone", final=True)],
        transitions=rows,
        initial="on",
        auto_transitions=False,
    )
    return read_machine(machine, name="lamp", refusals={})


@pytest.mark.parametrize(
    "lamp",
    [
        pytest.param(
            a_lamp({"trigger": "go", "source": "off", "dest": "gone"}), id="of-one-of-two"
        ),
        pytest.param(
            a_lamp({"trigger": "go", "source": ["on", "off"], "dest": "off"}), id="to-one-of-them"
        ),
        pytest.param(
            a_lamp(
                {"trigger": "go", "source": "on", "dest": "gone"},
                {"trigger": "go", "source": "off", "dest": "gone", "before": "cool"},
            ),
            id="with-two-effects",
        ),
        pytest.param(
            a_lamp({"trigger": "go", "source": "on", "dest": "gone"}, has_off=False),
            id="of-the-only-one",
        ),
    ],
)
def test_without_a_row_that_all_living_states_share_there_is_no_frame(lamp: Chart) -> None:
    assert lamp.shared() == {}
    assert "living" not in mermaid(lamp) + dot(lamp)


def test_without_refusals_there_is_no_table_of_them() -> None:
    assert "Refused" not in markdown(a_lamp())


def test_a_picture_has_one_initial_mark() -> None:
    assert re.findall(r"\[\*\] --> (\w+)", mermaid(CHART)) == ["idle"]
    assert re.findall(r"initial -> (\w+)", dot(CHART)) == ["idle"]
    assert re.findall(r"^\| (\S+) \(initial\)", markdown(CHART), re.MULTILINE) == ["idle"]


def test_every_final_state_leads_to_a_final_mark() -> None:
    session = a_session()
    assert re.findall(r"(\w+) --> \[\*\]", mermaid(session)) == ["expired", "ended"]
    assert re.findall(r"(\w+) -> final_\w+", dot(session)) == ["expired", "ended"]
    marked = re.findall(r"^\| (\S+) \(final\)", markdown(session), re.MULTILINE)
    assert marked == ["expired", "ended"]


@pytest.mark.parametrize("state", State)
def test_the_current_state_is_marked_and_no_other(state: State) -> None:
    id_ = state.replace("-", "_")
    assert re.findall(r'"(\S+) \(current\)"', mermaid(CHART, current=state)) == [state]
    assert re.findall(r"class (\w+) current", mermaid(CHART, current=state)) == [id_]
    assert re.findall(r"<b>(\S+) \(current\)", dot(CHART, current=state)) == [state]
    assert re.findall(r"(\w+) \[.* penwidth=4,", dot(CHART, current=state)) == [id_]
    marked = re.findall(
        r"^\| (\S+) \(.*\*\*current\*\*\)", markdown(CHART, current=state), re.MULTILINE
    )
    assert marked == [state]


@pytest.mark.parametrize("kind", TEXTS)
def test_nothing_is_marked_without_a_current_state(kind: Format) -> None:
    assert "current" not in draw(CHART, kind).decode()


@pytest.mark.parametrize("kind", TEXTS)
def test_marking_moves_no_row(kind: Format) -> None:
    rows = {
        Format.MERMAID: rows_of_mermaid,
        Format.DOT: rows_of_dot,
        Format.MARKDOWN: rows_of_markdown,
    }[kind]
    assert rows(draw(CHART, kind, current="open").decode()) == machine_rows()


@pytest.mark.parametrize("kind", Format)
def test_a_current_state_that_is_none_is_refused(kind: Format) -> None:
    with pytest.raises(UsageError, match="has no state 'opened': its states are idle, connecting"):
        draw(CHART, kind, current="opened")


def test_failed_and_closed_look_different() -> None:
    painted = dict(re.findall(r'(\w+) \[fillcolor="(#\w+)"', dot(CHART)))
    assert len(set(painted.values())) == len(State)


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        ("has_room", "no room"),
        ("is_known", "not known"),
        ("may_resume", "may not resume"),
        ("wanted", "not wanted"),
    ],
)
def test_an_unless_is_drawn_as_its_opposite(guard: str, words: str) -> None:
    assert f"more [{words}]" in mermaid(a_session(unless=guard))


def test_several_guards_and_effects_stand_in_one_label() -> None:
    both = a_session(conditions=["is_known", "has_room"], before="count", after=["note_it"])
    assert "more [is known and has room] / count, note it" in mermaid(both)


def test_a_guard_without_a_name_cannot_be_drawn() -> None:
    with pytest.raises(UsageError, match="guards and effects are given by name, got <function"):
        a_session(conditions=lambda: True)


def test_drawing_registers_nothing_with_the_machine() -> None:
    lifecycle()
    assert MACHINE.models == []


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_is_ascii_and_ends_with_one_newline(kind: Format) -> None:
    text = draw(CHART, kind)
    assert text.isascii()
    assert re.search(rb"[^\s]\n\Z", text)


def test_a_text_is_the_same_in_every_process() -> None:
    program = "import statews.diagram as d; print(*(d.draw(d.lifecycle(), k) for k in d.KEPT[:3]))"
    drawn = {
        subprocess.run(  # noqa: S603 - this very interpreter
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(drawn) == 1


@needs_graphviz
def test_another_machine_can_be_drawn() -> None:
    assert "detached (current)" in texts_of_svg(svg(a_session(), current="detached"))
    assert rows_of_markdown(markdown(a_session())) == {
        ("attached", "detach", "detached"),
        ("detached", "attach", "attached"),
        ("detached", "expire", "expired"),
        ("attached", "end", "ended"),
        ("detached", "end", "ended"),
    }
