"""The pictures show the machines that run: all of them, nothing else, and everywhere the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from shutil import which
from xml.etree import ElementTree as ET

import pytest

from statews.diagram import (
    CHARTS,
    Chart,
    Format,
    dot,
    draw,
    lifecycle,
    markdown,
    mermaid,
    svg,
)
from statews.errors import UsageError
from statews.lifecycle import Activity, SessionState, State, describe

from .drawn import DRAWN, Drawn, a_lamp, a_session, rows_of_markdown

TEXTS = (Format.MERMAID, Format.DOT, Format.MARKDOWN)
CHART = lifecycle()

needs_graphviz = pytest.mark.skipif(
    find_spec("pygraphviz") is None and which("dot") is None, reason="there is no Graphviz"
)

every_machine = pytest.mark.parametrize(
    "drawn", [pytest.param(DRAWN[name], id=name) for name in DRAWN]
)
every_state = pytest.mark.parametrize(
    ("drawn", "state"),
    [
        pytest.param(drawn, state, id=f"{name}-{state}")
        for name, drawn in DRAWN.items()
        for state in drawn.states
    ],
)


def unescaped(text: str) -> str:
    return re.sub(r"#(\d+);", lambda code: chr(int(code[1])), text)


def texts_of_svg(text: str) -> list[str]:
    tree = ET.fromstring(text)  # noqa: S314 - drawn by ourselves
    return [element.text.strip() for element in tree.iter() if element.text]


@every_machine
def test_mermaid_shows_every_row_of_the_machine_and_no_other(drawn: Drawn) -> None:
    assert drawn.rows_of_mermaid(mermaid(drawn.chart)) == drawn.rows()


@every_machine
def test_dot_shows_every_row_of_the_machine_and_no_other(drawn: Drawn) -> None:
    assert drawn.rows_of_dot(dot(drawn.chart)) == drawn.rows()


@every_machine
def test_markdown_shows_every_row_of_the_machine_and_no_other(drawn: Drawn) -> None:
    assert rows_of_markdown(markdown(drawn.chart)) == drawn.rows()


@needs_graphviz
@every_machine
def test_svg_shows_the_label_of_every_row(drawn: Drawn) -> None:
    assert {label for _, label, _ in drawn.rows()} <= set(texts_of_svg(svg(drawn.chart)))


def test_a_row_that_is_added_to_the_machine_is_drawn() -> None:
    added = a_session(conditions="is_worth_it", before="note_it")
    for kind in TEXTS:
        assert "more [is worth it] / note it" in draw(added, kind).decode()


@pytest.mark.parametrize("kind", TEXTS)
@every_state
def test_a_state_is_drawn_with_its_documentation_and_activity(
    kind: Format, drawn: Drawn, state: State | SessionState
) -> None:
    text = unescaped(draw(drawn.chart, kind).decode())
    doc, activity = describe(drawn.declared, state)
    assert doc in text
    if activity is not None:
        assert activity.runs in text
        assert activity.within is None or f" s ({activity.within})" in text
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


@every_machine
def test_markdown_gives_the_reason_of_every_refusal(drawn: Drawn) -> None:
    table = markdown(drawn.chart).partition("## Refused")[2]
    cells = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", table, re.MULTILINE)[2:]
    shown = {(event, state, why) for event, states, why in cells for state in states.split(", ")}
    assert shown == drawn.refusals


@every_machine
def test_markdown_contains_the_picture(drawn: Drawn) -> None:
    assert f"```mermaid\n{mermaid(drawn.chart)}```\n" in markdown(drawn.chart)


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


@pytest.mark.parametrize(("machine", "initial"), [("connection", "idle"), ("session", "detached")])
def test_a_picture_has_one_initial_mark(machine: str, initial: str) -> None:
    chart = DRAWN[machine].chart
    assert re.findall(r"\[\*\] --> (\w+)", mermaid(chart)) == [initial]
    assert re.findall(r"initial -> (\w+)", dot(chart)) == [initial]
    assert re.findall(r"^\| (\S+) \(initial\)", markdown(chart), re.MULTILINE) == [initial]


def test_every_final_state_leads_to_a_final_mark() -> None:
    session = a_session()
    assert re.findall(r"(\w+) --> \[\*\]", mermaid(session)) == ["expired", "ended"]
    assert re.findall(r"(\w+) -> final_\w+", dot(session)) == ["expired", "ended"]
    marked = re.findall(r"^\| (\S+) \(final\)", markdown(session), re.MULTILINE)
    assert marked == ["expired", "ended"]


@every_state
def test_the_current_state_is_marked_and_no_other(
    drawn: Drawn, state: State | SessionState
) -> None:
    chart, id_ = drawn.chart, state.replace("-", "_")
    assert re.findall(r'"(\S+) \(current\)"', mermaid(chart, current=state)) == [state]
    assert re.findall(r"class (\w+) current", mermaid(chart, current=state)) == [id_]
    assert re.findall(r"<b>(\S+) \(current\)", dot(chart, current=state)) == [state]
    assert re.findall(r"(\w+) \[.* penwidth=4,", dot(chart, current=state)) == [id_]
    marked = re.findall(
        r"^\| (\S+) \(.*\*\*current\*\*\)", markdown(chart, current=state), re.MULTILINE
    )
    assert marked == [state]


@pytest.mark.parametrize("kind", TEXTS)
@every_machine
def test_nothing_is_marked_without_a_current_state(kind: Format, drawn: Drawn) -> None:
    assert "current" not in draw(drawn.chart, kind).decode()


@pytest.mark.parametrize("kind", TEXTS)
@every_state
def test_marking_moves_no_row(kind: Format, drawn: Drawn, state: State | SessionState) -> None:
    rows = {
        Format.MERMAID: drawn.rows_of_mermaid,
        Format.DOT: drawn.rows_of_dot,
        Format.MARKDOWN: rows_of_markdown,
    }[kind]
    assert rows(draw(drawn.chart, kind, current=state).decode()) == drawn.rows()


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


@pytest.mark.parametrize("machine", CHARTS)
def test_drawing_registers_nothing_with_the_machine(machine: str) -> None:
    CHARTS[machine]()
    assert DRAWN[machine].machine.models == []


@pytest.mark.parametrize("kind", TEXTS)
@every_machine
def test_a_text_is_ascii_and_ends_with_one_newline(kind: Format, drawn: Drawn) -> None:
    text = draw(drawn.chart, kind)
    assert text.isascii()
    assert re.search(rb"[^\s]\n\Z", text)


def test_a_text_is_the_same_in_every_process() -> None:
    charts = "[chart() for chart in d.CHARTS.values()]"
    program = (
        f"import statews.diagram as d; print([d.draw(c, k) for c in {charts} for k in d.KEPT[:3]])"
    )
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
