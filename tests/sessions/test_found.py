"""What the randomised tests have found, as small as it gets."""

from __future__ import annotations

import anyio
import pytest

import statews
from statews import Connection, Delivery, MemoryStore, Outbox, Policy, Reset, Resume
from statews.client.session import Session
from statews.testing import Network
from statews.testing.virtual import BACKENDS, Backend, run

from ..client.delivering import HOST, PORT, policy
from .disk import Disk

backends = pytest.mark.parametrize("backend", BACKENDS)


async def receive_all(session: statews.Session) -> None:
    async for _ in session:
        pass


async def send_one(session: statews.Session) -> None:
    session.put("a")
    await receive_all(session)


def test_an_older_record_that_is_stored_with_a_newer_one_takes_nothing_back() -> None:
    session = Session(Resume(), Policy(), is_stored=True)
    session.ticket.sid = "S1"
    session.saved({"sid": "S1", "rx": 7, "rc": 70})
    session.saved({"sid": "S1", "rx": 6, "rc": 60})  # the other task wakes up later
    assert (session.peer.cursor.safe, session.peer.cursor.safe_chain) == (7, 70)


@backends
def test_a_restored_session_outlives_a_store_that_fails_when_its_client_is_back(
    backend: Backend,
) -> None:
    async def main() -> None:
        disk = Disk()
        with Network():
            async with statews.connect(
                f"ws://{HOST}", session=Resume(), policy=policy(Outbox()), proxy=None, wait=False
            ) as connection:
                async with statews.serve(receive_all, HOST, PORT, store=disk.mount()):
                    await connection.send("a")
                    await connection.flush()
                    sid = connection.session
                async with statews.serve(receive_all, HOST, PORT, store=disk.mount()) as server:
                    assert sid in server.sessions
                    disk.fail_next()
                    await connection.wait_for(statews.State.BACKING_OFF)
                    await anyio.sleep(10)
                    assert connection.session == sid

    run(main, backend=backend)


@backends
def test_an_acknowledgement_during_the_closing_handshake_does_no_harm(backend: Backend) -> None:
    async def main() -> None:
        network = Network()
        network.slow(latency=0.1)
        with network:
            async with statews.connect(
                f"ws://{HOST}", session=Resume(), policy=policy(Outbox()), proxy=None, wait=False
            ) as connection:
                async with statews.serve(send_one, HOST, PORT) as server:
                    assert await connection.receive() == "a"
                    with anyio.move_on_after(0.15):
                        await connection.receive()  # the acknowledgement waits for 0.2 s
                    (session,) = server.sessions.values()
                await anyio.sleep(1)
                log = session.peer.log
                assert log.confirmed <= log.acknowledged

    run(main, backend=backend)


@backends
def test_the_next_process_is_told_of_a_reset_that_the_last_one_did_not_come_to(
    backend: Backend,
) -> None:
    async def serve() -> None:
        async with statews.serve(send_one, HOST, PORT):
            await anyio.sleep(3)
        async with statews.serve(send_one, HOST, PORT):  # in memory: the session is over
            await anyio.sleep_forever()

    def connect() -> Connection:
        outbox = Outbox(delivery=Delivery.AT_LEAST_ONCE)
        return statews.connect(
            f"ws://{HOST}", session=Resume(), policy=policy(outbox), proxy=None, store=store
        )

    async def main() -> None:
        with Network():
            async with anyio.create_task_group() as group:
                group.start_soon(serve)
                async with connect() as connection:
                    assert await connection.receive() == "a"
                    await anyio.sleep(8)  # busy with it when the reset comes
                async with connect() as connection:
                    events = connection.events()
                    while not isinstance(event := await anext(events), Reset):
                        assert not isinstance(event, str)
                group.cancel_scope.cancel()

    store = MemoryStore()
    run(main, backend=backend)


@backends
def test_a_store_that_fails_in_the_end_is_released_all_the_same(backend: Backend) -> None:
    async def main() -> None:
        disk = Disk()
        store = disk.mount()
        with Network():
            async with statews.serve(receive_all, HOST, PORT, store=store):
                disk.fail_next()
        assert not store.is_open

    run(main, backend=backend)
