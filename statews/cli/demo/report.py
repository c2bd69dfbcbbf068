"""What became of the demo, as a table."""

from __future__ import annotations

from itertools import zip_longest
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from ..terminal import Colour
from .observed import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..terminal import Painter
    from .play import Outcome, Play
    from .steps import Step

__all__ = ["report"]

WIDEST: Final = 100
VERDICT: Final = 7  # columns
STEP: Final = 9
INDENT: Final = 16  # of what happened: the verdict and the step's name stand before it
SECONDS: Final = 10  # columns of a duration


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
    traffic = play.stage.traffic
    yield (
        f"{traffic.sent} messages sent: {traffic.echoed} echoed, "
        f"{traffic.lost} lost with a link (there is no outbox yet)"
    )
    if traffic.strays:
        yield paint(f"{traffic.strays} messages came that were not expected", Colour.RED)
    fine = sum(not outcome.complaint for outcome in play.outcomes)
    colour = Colour.GREEN if play.is_fine else Colour.RED
    yield paint(f"{fine} of {len(play.steps)} steps ended as they should", colour)


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
    if not observed.changes:
        yield f"{observed.echoed} messages, the slowest after {observed.slowest:.2f} s"


def _seconds(duration: float | None) -> str:
    return "" if duration is None else f"{duration:.2f} s"
