"""What became of the demo, as two tables: of the steps, and of the messages."""

from __future__ import annotations

from itertools import zip_longest
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from ...testing import BreachKind
from ..terminal import Colour
from .observed import shorten
from .traffic import GUARANTEE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...testing import Verdict
    from ..terminal import Painter
    from .play import Outcome, Play
    from .steps import Step

__all__ = ["report"]

WIDEST: Final = 100
VERDICT: Final = 7  # columns
STEP: Final = 12
INDENT: Final = VERDICT + STEP  # of what happened: the verdict and the step's name stand before it
SECONDS: Final = 10  # columns of a duration
WAY: Final = 19
COUNTS: Final = {"sent": 6, "delivered": 11, "lost": 6, "duplicated": 12, "reordered": 11}


def report(play: Play, paint: Painter) -> Iterator[str]:
    """The lines of the table, and what they come to."""
    yield ""
    width = min(get_terminal_size().columns, WIDEST) - 1
    middle = max(20, width - INDENT - 2 * SECONDS)
    head = f"{'':{VERDICT}}{'step':{STEP}}{'went through':{middle}}"
    yield paint(f"{head}{'noticed':>{SECONDS}}{'away':>{SECONDS}}", Colour.BOLD)
    for step, outcome in zip_longest(play.steps, play.outcomes):
        yield from _lines(step, outcome, middle, paint)
    yield ""
    yield paint(_row("", "messages", COUNTS), Colour.BOLD)
    for verdict in play.verdicts:
        yield from _delivery(verdict, paint)
    yield " " * VERDICT + paint(
        f"{GUARANTEE.value}, in order, by the logs of both sides", Colour.DIM
    )
    yield ""
    yield from _sum(play, paint)


def _sum(play: Play, paint: Painter) -> Iterator[str]:
    """What all comes to."""
    if not all(verdict.is_kept for verdict in play.verdicts):
        yield paint("messages did not arrive as they should", Colour.RED)
    fine = sum(not outcome.complaint for outcome in play.outcomes)
    colour = Colour.GREEN if play.is_fine else Colour.RED
    yield paint(f"{fine} of {len(play.steps)} steps ended as they should", colour)


def _row(verdict: str, name: str, cells: Iterable[object]) -> str:
    columns = "".join(
        f"{cell:>{width}}" for cell, width in zip(cells, COUNTS.values(), strict=True)
    )
    return f"{verdict:{VERDICT}}{name:{WAY}}{columns}"


def _delivery(verdict: Verdict, paint: Painter) -> Iterator[str]:
    """A way; what was not kept of the promise, message by message."""
    counts = verdict.summary
    strangers = len(verdict.of(BreachKind.NEVER_SENT))
    delivered = counts.delivered - counts.duplicated - strangers
    cells = counts.sent, delivered, counts.lost, counts.duplicated, counts.reordered
    colour = Colour.GREEN if verdict.is_kept else Colour.RED
    row = _row("", verdict.way, cells)[VERDICT:]
    yield paint(("ok" if verdict.is_kept else "failed").ljust(VERDICT), colour) + row
    if not verdict.is_kept:
        for line in str(verdict).splitlines():
            yield " " * VERDICT + paint(line, Colour.RED)


def _lines(step: Step, outcome: Outcome | None, middle: int, paint: Painter) -> Iterator[str]:
    if outcome is None:
        yield paint("-".ljust(VERDICT), Colour.YELLOW) + f"{step.name:{STEP}}not played"
        return
    observed = outcome.observed
    verdict = ("failed" if outcome.complaint else "ok").ljust(VERDICT)
    path = wrap(shorten(observed.path) or "no change", middle - 1)
    noticed, away = _seconds(observed.noticed_after), _seconds(observed.away)
    row = f"{step.name:{STEP}}{path[0]:{middle}}{noticed:>{SECONDS}}{away:>{SECONDS}}"
    yield paint(verdict, Colour.RED if outcome.complaint else Colour.GREEN) + row.rstrip()
    for line in path[1:]:
        yield " " * INDENT + line
    for colour, facts in ((Colour.DIM, _facts(outcome)), (Colour.RED, [outcome.complaint])):
        for fact in facts:
            for line in wrap(fact, middle + 2 * SECONDS):
                yield " " * INDENT + paint(line, colour)


def _facts(outcome: Outcome) -> Iterator[str]:
    """What else is worth knowing of a step."""
    observed = outcome.observed
    if observed.errors:
        yield str(observed.errors[0])
    if len(observed.waits) > 1:
        waits = ", ".join(f"{wait:.2f}" for wait in observed.waits)
        lasted = observed.ended - observed.began
        yield f"{len(observed.waits)} attempts in {lasted:.1f} s, after {waits} s"
    yield from observed.facts
    if not observed.changes:
        yield f"{observed.arrived} messages, the slowest after {observed.slowest:.2f} s"


def _seconds(duration: float | None) -> str:
    return "" if duration is None else f"{duration:.2f} s"
