"""The demo as a picture that changes: the machine, the network, the messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import current_time
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from typing_extensions import assert_never

from ...diagram import lifecycle
from ...diagram.palette import INK, paints
from ...lifecycle import State
from .chart import asides, sketch, ways

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ...diagram.palette import Paint
    from .chart import Cell
    from .logs import Kind
    from .play import Outcome, Play
    from .traffic import Way

__all__ = ["Screen", "picture"]

WIDEST: Final = 110  # columns; a wider machine is no clearer
LABEL: Final = 10  # columns of what a line is about
BAR: Final = 12  # columns of the countdown
WAY: Final = 18  # columns of the name of a way
COUNT: Final = 8  # columns of a number of messages
FACTS: Final = 8  # lines
LOG: Final = 2  # lines, at least
KINDS: Final[dict[Kind, str]] = {
    "step": "bold",
    "state": "",
    "lost": "yellow",
    "ok": "green",
    "failed": "bold red",
}
MARKS: Final = (("○", "yellow"), ("•", "green"), ("•", "yellow"))  # by how often it arrived


class Screen:
    """The whole terminal, while it is entered.

    Args:
        title: what stands above.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._live = Live(screen=True, auto_refresh=False, console=Console(highlight=False))

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the terminal back as it was."""
        self._live.__exit__(exc_type, exc, traceback)

    def show(self, play: Play) -> None:
        """See `View`."""
        width, height = self._live.console.size
        lines = picture(play, self._title, width, height)
        self._live.update(Group(*lines), refresh=True)


def picture(play: Play, title: str, width: int, height: int) -> list[Text]:
    """Exactly `height` lines of at most `width` columns."""
    lines = [_title(play, title, width)]
    free = height - len(lines) - FACTS - LOG - 2  # a rule, and the steps
    machine = _machine(play, min(width - 2, WIDEST))
    if not machine or len(machine) > free:
        machine = _list(play)
    if len(machine) <= free:
        lines += machine
    lines += [*_facts(play, width), _rule(width)]
    room = max(0, height - len(lines) - 1)
    log = _log(play)[-room:] if room else []
    lines += [*log, *[Text()] * (room - len(log)), _steps(play, width)]
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def _title(play: Play, title: str, width: int) -> Text:
    elapsed = f" {current_time() - play.stage.began:.0f} s "
    space = width - len(elapsed)
    return Text(f" {title}"[:space].ljust(space) + elapsed, style="reverse")


def _rule(width: int) -> Text:
    return Text("─" * width, style="bright_black")


# The machine.

_CHART: Final = lifecycle()
_PAINTS: Final = paints(_CHART)


def _chip(paint: Paint) -> str:
    return f"bold {INK} on {paint.fill}"


def _machine(play: Play, width: int) -> list[Text]:
    """The states and the ways between them, the present ones marked."""
    state = play.stage.connection.state
    last = play.stage.history[-1] if play.stage.history else None
    way = None if last is None else (str(last.left), str(last.now.state))
    found: list[Text] = []
    for row in sketch(_CHART, width):
        line = Text(" ")
        for cell in row:
            line.append(cell.char, _style(cell, str(state), way))
        line.rstrip()
        found.append(line)
    if found:
        found.append(Text(" " + "    ".join(asides(_CHART)), style="bright_black"))
    return found


def _style(cell: Cell, state: str, way: tuple[str, str] | None) -> str:
    if (state,) in cell.owners:
        return _chip(_PAINTS[state])
    if way in cell.owners:
        return f"bold {_PAINTS[state].line}"
    return "" if cell.char.isalpha() or cell.char == "-" else "bright_black"


def _list(play: Play) -> list[Text]:
    """The same in few columns: each state, and where it leads."""
    state = str(play.stage.connection.state)
    leads = ways(_CHART)
    longest = max(len(node.name) for node in _CHART.nodes)
    found: list[Text] = []
    for node in _CHART.nodes:
        line = Text(" ")
        line.append(f" {node.name} ", _chip(_PAINTS[node.name]) if node.name == state else "")
        line.append(" " * (longest - len(node.name) + 1))
        where = [f"{'/'.join(leads[way])} → {way[1]}" for way in leads if way[0] == node.name]
        line.append(", ".join(where), "bright_black")
        found.append(line)
    return found


# The facts.


def _facts(play: Play, width: int) -> list[Text]:
    stage = play.stage
    step, network = play.step, stage.network
    what = "" if step is None else f"{step.name}: {step.says(stage.pace)}"
    way = f"client {network.near} proxy {network.far} server"
    return [
        _fact("step", Text(what, style="bold")),
        _fact("state", _state(play)),
        _fact("network", Text(f"{way}   {network.says}")),
        *_messages(play, width - WAY - 2),
    ]


def _fact(label: str, value: Text, width: int = LABEL) -> Text:
    return Text.assemble((f" {label:{width}}", "bright_black"), value)


def _state(play: Play) -> Text:
    """The state, and what is to be known in it."""
    now = play.stage.connection.snapshot()
    chip = (f" {now.state} ", _chip(_PAINTS[str(now.state)]))
    match now.state:
        case State.BACKING_OFF:
            left = max(0.0, (now.retry_at or 0.0) - current_time())
            whole = max((now.retry_at or 0.0) - now.since, 0.001)
            full = round(BAR * min(1.0, left / whole))
            bar = "▰" * full + "▱" * (BAR - full)
            rest = f"  {bar}  attempt {now.attempt} in {left:4.2f} s: {now.last_error}"
        case State.CONNECTING:
            rest = f"  attempt {now.attempt}: {now.phase}" if now.attempt else f"  {now.phase}"
        case State.OPEN:
            rest = f"  {now.phase} for {current_time() - now.since:.1f} s"
            if now.round_trip is not None:
                rest += f", round trip {now.round_trip * 1000:.1f} ms"
        case State.IDLE | State.FAILED | State.CLOSED:
            rest = ""
        case _:
            assert_never(now.state)
    return Text.assemble(chip, rest)


def _messages(play: Play, width: int) -> list[Text]:
    """All ways, in columns: the counts, and what became of the latest messages."""
    head = "".join(name.rjust(COUNT) for name in ("sent", "arrived", "again", "awaited"))
    return [
        _fact("messages", Text(head, style="bright_black"), WAY),
        *(_fact(way.name, _counts(way, width), WAY) for way in play.stage.logs.ways),
    ]


def _counts(way: Way, width: int) -> Text:
    numbers = len(way.sent), len(way.sent) - way.awaited, way.again, way.awaited
    sent, arrived, again, awaited = (f"{number:{COUNT}}" for number in numbers)
    text = Text.assemble(
        sent,
        (arrived, "green"),
        (again, "yellow" if way.again else ""),
        (awaited, "yellow" if way.awaited else ""),
        "   ",
    )
    for times in way.times(max(0, width - len(text))):
        text.append(*MARKS[min(times, len(MARKS) - 1)])
    return text


# The log, and the steps.


def _log(play: Play) -> list[Text]:
    return [
        Text.assemble(
            (f" {entry.at:6.2f}  ", "bright_black"),
            (entry.text if entry.kind == "step" else f"  {entry.text}", KINDS[entry.kind]),
        )
        for entry in play.stage.log
    ]


def _steps(play: Play, width: int) -> Text:
    """How far it is; where there is no room for all, those around the present one."""
    marks = [_mark(outcome) for outcome in play.outcomes]
    if len(marks) < len(play.steps):
        marks.append(("▶", "bold"))
    marks += [("·", "bright_black")] * (len(play.steps) - len(marks))
    shown = [
        (f" {mark} {step.name}", style)
        for step, (mark, style) in zip(play.steps, marks, strict=True)
    ]
    done = len(play.outcomes)
    while done and sum(len(text) for text, _ in shown[: done + 2]) > width:
        done -= 1
        del shown[0]
    return Text.assemble(*shown)


def _mark(outcome: Outcome) -> tuple[str, str]:
    return ("✗", "bold red") if outcome.complaint else ("✓", "green")
