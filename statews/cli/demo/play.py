"""The demo, played: one step after the other, each of them judged by what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

import anyio
from anyio import current_time

from ...client.connect import connect
from ...client.connection import Connection
from ...errors import StatewsError
from ...lifecycle import State
from ...testing import FaultProxy, Verdict
from .logs import Logs, News
from .names import FIRST, SECOND, SERVER, log_of, resume_as
from .observed import Observed
from .pace import Pace
from .processes import TICK, Process
from .stage import FINE, Stage
from .steps import Step

__all__ = ["Outcome", "Play", "View", "play"]

PROGRAMS: Final = __name__.rpartition(".")[0]  # where those of the other processes are
STARTING: Final = 20.0  # seconds that the server has to start


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a step.

    Attributes:
        step: which.
        observed: what was seen of it.
        complaint: why it did not end as it should; empty if it did.
    """

    step: Step
    observed: Observed
    complaint: str


@dataclass(slots=True, kw_only=True)
class Play:
    """A run of the demo.

    Attributes:
        steps: all that are to be played.
        stage: where.
        outcomes: of the steps played so far.
        step: the one that was begun last.
    """

    steps: Sequence[Step]
    stage: Stage
    outcomes: list[Outcome] = field(default_factory=list)
    step: Step | None = None

    async def run(self) -> None:
        """Play the steps, up to the first one from which the connection does not come back."""
        for step in self.steps:
            stage = self.stage
            self.step = step
            stage.note("step", f"{step.name}: {step.says(stage.pace)}")
            outcome = await self._perform(step)
            self.outcomes.append(outcome)
            if outcome.complaint:
                stage.note("failed", f"failed: {outcome.complaint}")
            else:
                stage.note("ok", "as it should be")
            if stage.connection.state is not State.OPEN:
                return
            await anyio.sleep(stage.pace.calm)

    async def _perform(self, step: Step) -> Outcome:
        """Play one step and wait until all is well again, if it will be."""
        stage = self.stage
        began, accepted = current_time(), stage.proxies[0].accepted
        with anyio.move_on_after(stage.pace.patience) as scope:
            await step.play(stage)
            for proxy in stage.proxies:
                proxy.heal()
            stage.network = FINE
            await stage.wait_calm()
        observed = self._observe(began, accepted)
        complaint = step.complain(observed)
        troubles = [complaint] if complaint else []
        troubles += [f"{name} lost its session" for name in stage.logs.strayed]
        troubles += stage.troubles
        if scope.cancelled_caught:
            troubles.append("it took too long")
        stage.facts.clear()
        stage.troubles.clear()
        stage.mark = len(stage.history)
        return Outcome(step=step, observed=observed, complaint="; ".join(troubles))

    def _observe(self, began: float, accepted: int) -> Observed:
        """What was seen of the present step."""
        stage = self.stage
        delays = [delay for way in stage.logs.ways for delay in way.delays(began)]
        return Observed(
            pace=stage.pace,
            began=began,
            ended=current_time(),
            changes=tuple(stage.history[stage.mark :]),
            accepted=stage.proxies[0].accepted - accepted,
            arrived=len(delays),
            slowest=max(delays, default=0.0),
            facts=tuple(stage.facts),
            ended_sessions=frozenset(stage.logs.ended),
        )

    @property
    def verdicts(self) -> list[Verdict]:
        """What became of the messages, each way; final when nobody logs any more."""
        return [way.verdict(self.stage.began) for way in self.stage.logs.ways]

    @property
    def is_fine(self) -> bool:
        """Whether all steps ended as they should, and all messages arrived as promised."""
        failed = any(outcome.complaint for outcome in self.outcomes)
        kept = all(verdict.is_kept for verdict in self.verdicts)
        return len(self.outcomes) == len(self.steps) and not failed and kept


class View(Protocol):
    """Something that shows a play while it runs."""

    def show(self, play: Play) -> None:
        """Show how it stands now."""


async def play(steps: Sequence[Step], pace: Pace, backend: str, view: View) -> Play:
    """Set the stage, play on it, and take it down.

    Args:
        steps: in their order.
        pace: their numbers.
        backend: the event loop of the other processes.
        view: is shown how it goes on.

    Raises:
        StatewsError: the server did not start.
    """
    with TemporaryDirectory(prefix="statews-demo-") as name:
        folder, common = Path(name), [name, pace.name, backend]
        with (
            Process(SERVER, f"{PROGRAMS}.server", log_of(SERVER, folder), [*common, "0"]) as far,
            Process(SECOND, f"{PROGRAMS}.client", log_of(SECOND, folder), common) as second,
        ):
            logs = Logs()
            news = await _start(far, logs)
            far.arguments = [*common, str(logs.port)]
            async with FaultProxy(port=logs.port) as near, FaultProxy(port=logs.port) as other:
                second.arguments = [*common, f"ws://127.0.0.1:{other.port}/"]
                second.start()
                stage = Stage(
                    pace=pace,
                    folder=folder,
                    server=far,
                    second=second,
                    proxies=(near, other),
                    connection=_connect(near.port, pace),
                    logs=logs,
                )
                stage.take(news)
                running = Play(steps=steps, stage=stage)
                await _play(running, view)
                return running


async def _start(far: Process, logs: Logs) -> list[News]:
    """Start the server, and return what it had to tell until it had a port."""
    far.start()
    news: list[News] = []
    with anyio.move_on_after(STARTING):
        while not logs.port and far.pid is not None:
            await anyio.sleep(TICK)
            news += logs.read(far)
    if not logs.port:
        said = "; ".join(text for _, text in news)
        raise StatewsError(f"cannot play without a server, and it did not start: {said}")
    return news


def _connect(port: int, pace: Pace) -> Connection:
    return connect(
        f"ws://127.0.0.1:{port}/",
        policy=pace.policy,
        session=resume_as(FIRST),
        proxy=None,
        wait=False,
    )


async def _play(running: Play, view: View) -> None:
    """Play, with everything that goes on meanwhile."""
    stage = running.stage
    async with anyio.create_task_group() as group:
        group.start_soon(stage.watch, stage.connection.changes())
        group.start_soon(stage.follow)
        group.start_soon(_keep_showing, view, running)
        async with stage.connection:
            group.start_soon(stage.talk)
            group.start_soon(stage.hear)
            await running.run()
        group.cancel_scope.cancel()
    await stage.leave()
    view.show(running)


async def _keep_showing(view: View, running: Play) -> None:
    while True:
        view.show(running)
        await anyio.sleep(0.1)
