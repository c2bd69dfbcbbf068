"""The demo, played: one step after the other, each of them judged by what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio
from anyio import current_time

from ...client.connection import connect
from ...lifecycle import State
from ...testing import FaultProxy, Verdict
from .observed import Observed
from .pace import Pace
from .server import Server, follow
from .stage import FINE, Stage
from .steps import Step
from .traffic import Traffic

__all__ = ["Outcome", "Play", "View", "play"]


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
        began, accepted = current_time(), stage.proxy.accepted
        with anyio.move_on_after(stage.pace.patience) as scope:
            await step.play(stage)
            stage.proxy.heal()
            stage.network = FINE
            await stage.wait_calm()
        delays = [delay for way in stage.traffic.ways for delay in way.delays(began)]
        observed = Observed(
            pace=stage.pace,
            began=began,
            ended=current_time(),
            changes=tuple(stage.history[stage.mark :]),
            accepted=stage.proxy.accepted - accepted,
            arrived=len(delays),
            slowest=max(delays, default=0.0),
            last_code=stage.server.last_code,
        )
        stage.mark = len(stage.history)
        late = "it took too long" if scope.cancelled_caught else ""
        return Outcome(step=step, observed=observed, complaint=step.complain(observed) or late)

    @property
    def verdicts(self) -> list[Verdict]:
        """What became of the messages, each way; final when nobody logs any more."""
        return [way.verdict(self.stage.began) for way in self.stage.traffic.ways]

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


async def play(steps: Sequence[Step], pace: Pace, view: View) -> Play:
    """Set the stage, play on it, and take it down."""
    async with anyio.create_task_group() as group:
        traffic = Traffic()
        server = Server(pace.policy, pace.down, traffic)
        await group.start(server.run)
        async with FaultProxy(port=server.port) as proxy:
            connection = connect(
                f"ws://127.0.0.1:{proxy.port}/",
                policy=pace.policy,
                sync=follow(),
                proxy=None,
                wait=False,
            )
            stage = Stage(
                pace=pace, server=server, proxy=proxy, connection=connection, traffic=traffic
            )
            running = Play(steps=steps, stage=stage)
            group.start_soon(stage.watch, connection.changes())
            group.start_soon(_keep_showing, view, running)
            async with connection:
                group.start_soon(stage.talk)
                group.start_soon(stage.speak)
                group.start_soon(stage.hear)
                await running.run()
            view.show(running)
        group.cancel_scope.cancel()
        return running
    raise AssertionError  # a task group swallows nothing but its own cancellation


async def _keep_showing(view: View, running: Play) -> None:
    while True:
        view.show(running)
        await anyio.sleep(0.1)
