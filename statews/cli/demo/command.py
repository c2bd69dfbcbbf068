"""`statews demo`: a connection that lives through all that can happen to a link."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from ...errors import UsageError
from ..backend import BACKENDS, require, run
from ..command import Command
from ..terminal import Colour, Painter, replace_unprintable
from .log import Log
from .pace import QUICK, USUAL
from .play import play
from .report import report
from .steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .pace import Pace
    from .play import View
    from .steps import Step

__all__ = ["DEMO", "why_plain"]

_EXAMPLES: Final = """\
examples:
  statews demo                       the whole of it, about 40 seconds
  statews demo --plain               as a log, one line for each thing that happens
  statews demo --steps cut,freeze    only these, between connect and close
  statews demo --steps kill-server   SIGKILL, and what the next process makes of it
  statews demo --backend both        on asyncio, then on trio

Two clients have a session each with one server. The first is in this process, and watched. The
second is a process of its own with its outbox on disk, and the server is one on a SQLite store:
these two are killed. Numbered messages go all ways all the time, and are counted at the end, from
the logs of both sides: each has to arrive exactly once, and in order.

It exits with 0 if every step ended as it should and every message arrived so, else with 1.
"""
ALWAYS: Final = ("connect", "close")
BOTH: Final = ("asyncio", "trio")


def _add_arguments(parser: ArgumentParser) -> None:
    choices = [step.name for step in STEPS if step.name not in ALWAYS]
    parser.add_argument(
        "--steps",
        metavar="STEP,...",
        help=f"play only these of {', '.join(choices)}",
    )
    parser.add_argument("--plain", action="store_true", help="print a log instead of a live view")
    parser.add_argument("--quick", action="store_true", help=SUPPRESS)  # for the tests
    parser.add_argument(
        "--backend",
        choices=[*BACKENDS, "both"],
        default="asyncio",
        help="the event loop; both: asyncio, then trio (default: %(default)s)",
    )


def _run(arguments: Namespace) -> int:
    replace_unprintable(sys.stdout)
    steps = _choose(arguments.steps)
    pace = QUICK if arguments.quick else USUAL
    backends = BOTH if arguments.backend == "both" else (arguments.backend,)
    for backend in backends:
        require(backend)
    why = "as asked" if arguments.plain else why_plain()
    statuses = [_play_on(backend, steps, pace, why) for backend in backends]
    return max(statuses)


def _choose(names: str | None) -> Sequence[Step]:
    """The steps to play, in the order that they have."""
    if names is None:
        return STEPS
    chosen = {name.strip() for name in names.split(",")}
    known = {step.name for step in STEPS}
    if not chosen <= known:
        wrong = ", ".join(sorted(chosen - known))
        raise UsageError(
            f"there is no step {wrong}: the steps are {', '.join(s.name for s in STEPS)}"
        )
    return [step for step in STEPS if step.name in chosen or step.name in ALWAYS]


def why_plain() -> str:
    """Why there can be no live view; empty if there can."""
    if not sys.stdout.isatty():
        return "standard output is no terminal"
    if os.environ.get("TERM") in {None, "dumb", "unknown"} and os.name == "posix":
        return "the terminal has no cursor to move"
    if sys.stdout.encoding.lower().replace("-", "") != "utf8":
        return f"the terminal takes {sys.stdout.encoding}, and the live view needs UTF-8"
    if find_spec("rich") is None:
        return "rich is not installed: pip install 'statews[cli]'"
    return ""


def _play_on(backend: str, steps: Sequence[Step], pace: Pace, why: str) -> int:
    paint = Painter(sys.stdout)
    heartbeat, backoff = pace.policy.heartbeat, pace.policy.backoff
    assert heartbeat is not None  # noqa: S101 - the demo's paces have one
    numbers = (
        f"heartbeat {heartbeat.interval:g} + {heartbeat.timeout:g} s, "
        f"backoff {backoff.first:g}-{backoff.maximum:g} s"
    )
    view: AbstractContextManager[View]
    if why:
        print(paint(f"statews demo on {backend}, with quick numbers: {numbers}", Colour.BOLD))
        print(f"plain log: {why}\n")
        view = nullcontext(Log(paint))
    else:
        from .screen import Screen  # noqa: PLC0415 - rich is an extra

        view = Screen(f"statews demo · {backend}   quick: {numbers}")
    return run(backend, partial(_perform, steps, pace, backend, view, paint))


async def _perform(
    steps: Sequence[Step],
    pace: Pace,
    backend: str,
    view: AbstractContextManager[View],
    paint: Painter,
) -> int:
    with view as shown:
        played = await play(steps, pace, backend, shown)
    for line in report(played, paint):
        print(line)
    return 0 if played.is_fine else 1


DEMO: Final = Command(
    name="demo",
    help="watch a connection live through lost links",
    description=(
        "A server, a network that fails on purpose, and clients that come back:\n"
        "all on this machine, in real time."
    ),
    examples=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
