"""A plan, carried out: the server's processes, the client's, what happens to them, and the end."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import replace

import anyio
from anyio import TASK_STATUS_IGNORED, current_time
from anyio.abc import TaskStatus

import statews
from statews import Connection, Resume, Server, State
from statews.errors import ConnectionClosed, DeliveryError
from statews.testing import Schedule
from statews.testing.virtual import Backend, run

from ..client.delivering import (
    AFTERWARDS,
    HOST,
    PORT,
    RECOVERY,
    SECONDS,
    policy,
    server_policy,
    tasks,
)
from .applications import Client, Host, Talking
from .bounds import check_client, check_server, check_sum
from .disk import CrashingStore, Disk
from .plans import End, Plan
from .processes import Process, WatchedNetwork, named_in_order

__all__ = ["World"]

AUDIT = 0.7  # seconds
LEFT = ("statews/client", "statews/server", "statews/transport")


class World:
    """One server, and one client or more.

    Args:
        plan: what they do, and what happens to them.
        server_disk: where the server's sessions outlive its processes; None: they do not.
        client_disk: likewise.
        clients: how many there are, all with the same habits.

    Attributes:
        problems: what must not be, the first one first.
        client: the application of the first client.
        clients: all of them, by name.
        talkings: what the server still has to say, by session.
        network: what they talk over.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        server_disk: Disk | None = None,
        client_disk: Disk | None = None,
        clients: int = 1,
    ) -> None:
        self.plan: Plan = plan
        self.problems: list[str] = []
        names = [f"client{number}" for number in range(1, clients + 1)]
        self.clients: dict[str, Client] = {
            name: Client(name, plan.up, plan.client, self.problems) for name in names
        }
        self.client: Client = self.clients[names[0]]
        self.talkings: dict[str, Talking] = {}
        self.network: WatchedNetwork = WatchedNetwork(
            seed=plan.weather.seed, capacity=plan.weather.capacity
        )
        self._server_disk = server_disk
        self._client_disk = client_disk
        self._server: Server | None = None
        self._connections: dict[Client, Connection] = {}
        self._policy = replace(
            policy(plan.outbox, outgoing_bytes=plan.outgoing_bytes), deflate=plan.deflate
        )

    def on(self, backend: Backend) -> World:
        """Carry it out."""
        with named_in_order():
            try:
                run(self._main, backend=backend, seed=self.plan.weather.seed)
            except BaseException:
                self.check()  # what came first says more
                raise
        return self

    def check(self) -> None:
        """Raise if there was a problem."""
        self.problems += self.network.accusations
        first = "\n".join(self.problems[:5])
        again = re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", repr(self.plan))  # of enums
        assert not self.problems, f"{first}\nto repeat it: {again}"

    def look(self) -> None:
        """Check what must hold at every moment."""
        if len(self.problems) > 20:
            return
        for client, connection in self._connections.items():
            if connection.state is not State.CLOSED:
                check_client(connection, self.plan, client)
        if self._server is not None:
            check_server(self._server, self.plan, self.clients)

    async def _main(self) -> None:
        plan = self.plan
        self.network.slow(latency=plan.weather.latency)
        self.network.look = self.look
        healed_at = current_time() + SECONDS
        with self.network:
            async with anyio.create_task_group() as group:
                await group.start(self._run_server)
                group.start_soon(self._play)
                group.start_soon(self._audit)
                async with anyio.create_task_group() as clients:
                    for client in self.clients.values():
                        clients.start_soon(self._run_client, client, healed_at)
                group.cancel_scope.cancel()
        await anyio.sleep(AFTERWARDS)
        assert not self.network.links, "a link is left"
        left = [task for task in tasks() if any(name in task for name in LEFT)]
        assert not left, "\n".join(left)

    async def _play(self) -> None:
        schedule = Schedule.parse([self.plan.weather.faults])
        async with anyio.create_task_group() as group:
            await group.start(schedule.play, self.network)
            await anyio.sleep(SECONDS)
            group.cancel_scope.cancel()
        self.network.heal()

    async def _audit(self) -> None:
        """Check now and then what need not hold in the middle of a step."""
        while True:
            await anyio.sleep(AUDIT)
            if self._server is not None:
                check_sum(self._server, self.client.down)

    # The server.

    async def _run_server(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        for end in (*self.plan.server_ends, None):
            process = Process(_mounted(self._server_disk))
            with process.scope:
                await self._serve(process, end, task_status)
            task_status = TASK_STATUS_IGNORED
            if end is not None:
                await anyio.sleep(end.away)

    async def _serve(self, process: Process, end: End | None, status: TaskStatus[None]) -> None:
        plan = self.plan
        host = Host(process, self.clients, plan.down, plan.host, self.talkings)
        async with statews.serve(
            host,
            HOST,
            PORT,
            store=process.store,
            authenticate=_name,
            limits=plan.limits,
            policy=replace(server_policy(plan.weather), deflate=plan.deflate),
        ) as server:
            self._server = server
            status.started()
            async with anyio.create_task_group() as group:
                group.start_soon(host.broadcast, server, plan.news)
                group.start_soon(self._end_sessions, server)
                await anyio.sleep(math.inf if end is None else end.at)
                group.cancel_scope.cancel()
            self._server = None
            if end is not None:
                process.die(end.death, [link.server for link in self.network.living])

    async def _end_sessions(self, server: Server) -> None:
        if self.plan.is_ended_at is not None:
            await anyio.sleep_until(self.plan.is_ended_at)
            for session in list(server.sessions.values()):
                session.close()

    # The client.

    async def _run_client(self, client: Client, healed_at: float) -> None:
        for end in self.plan.client_ends:
            await self._live(client, end, healed_at)
            await anyio.sleep(end.away)
        await self._live(client, None, healed_at)

    async def _live(self, client: Client, end: End | None, healed_at: float) -> None:
        """One process of a client; the last one has no end but that all is done."""
        client.receipts = {}  # an earlier one may not have had time to take in what it was told
        process = Process(_mounted(self._client_disk))
        with process.scope:
            async with (
                statews.connect(
                    f"ws://{HOST}/",
                    session=Resume(window=self.plan.window, auth=client.name),
                    policy=self._policy,
                    store=process.store,
                    proxy=None,
                    wait=False,
                ) as connection,
                anyio.create_task_group() as group,
            ):
                self._connections[client] = connection
                group.start_soon(client.listen, connection, process)
                group.start_soon(client.talk, connection, process)
                if end is not None:
                    await anyio.sleep(end.at)
                    process.die(end.death, [link.client for link in self.network.living])
                elif self.plan.closes_at is not None:
                    await anyio.sleep(self.plan.closes_at)
                    await connection.close()
                else:
                    await self._finish(client, connection, healed_at)
                group.cancel_scope.cancel()
        del self._connections[client]

    async def _finish(self, client: Client, connection: Connection, healed_at: float) -> None:
        """Return when all is delivered, both ways, in bounded time."""
        most = RECOVERY + self.plan.seconds
        with anyio.move_on_after(healed_at + most - current_time()) as scope:
            await client.is_done.wait()
            with suppress(ConnectionClosed):
                await connection.flush()
            client.flushed_at = current_time()
            await anyio.sleep_until(healed_at)
            while not await self._has_settled(client, connection):  # noqa: ASYNC110 - in virtual time
                await anyio.sleep(0.5)
        if scope.cancelled_caught:
            self.problems.append(f"not all was delivered {most} s after all had healed")
            self.problems.append(self._state(client, connection))

    async def _has_settled(self, client: Client, connection: Connection) -> bool:
        if connection.state is State.CLOSED:
            return True  # the server has ended the session
        sid, server = connection.session, self._server
        if sid is None or server is None or sid not in server.sessions:
            return False
        if sid not in self.talkings or not self.talkings[sid].is_done.is_set():
            return False
        session = server.sessions[sid]
        # Its process may end meanwhile, and at a limit some is dropped: the gaps are counted.
        with suppress(ConnectionClosed, DeliveryError), anyio.move_on_after(5):
            await session.flush()
        client.session = sid
        return client.down.handled[sid] == session.peer.log.last

    def _state(self, client: Client, connection: Connection) -> str:
        server = self._server
        sessions = {} if server is None else dict(server.sessions)
        receipts = [f"{n}: {r}" for n, r in client.receipts.items() if not r.state.is_final]
        return (
            f"the client is {connection.snapshot()}, in session {connection.session}, "
            f"unsettled {receipts}, all sent: {client.is_done.is_set()}, of {sessions}; "
            f"down {dict(client.down.handled)}"
        )


def _mounted(disk: Disk | None) -> CrashingStore | None:
    return None if disk is None else disk.mount()


async def _name(request: statews.Request) -> str | None:
    return request.auth if isinstance(request.auth, str) else None
