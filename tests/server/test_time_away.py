"""How long a session is away, over any number of processes."""

from __future__ import annotations

import json

import anyio
import pytest

from statews import MemoryStore, SessionLimits, StoreCorruptError

from .test_identity import old
from .test_stored import RECORD, Disk
from .world import SOON, dialled, echo, only, serve

pytestmark = pytest.mark.statews(limit=1e9)

HOUR = 3600.0
LIMITS = SessionLimits(time_to_live=24 * HOUR)


def away(store: MemoryStore) -> dict[str, float]:
    """What the records say."""
    return {sid: json.loads(text)["away"] for sid, text in store._positions.items()}


def copy_of(store: MemoryStore) -> MemoryStore:
    """What a process that was killed would have left."""
    copy = MemoryStore()
    copy._streams = {name: dict(messages) for name, messages in store._streams.items()}
    copy._positions = dict(store._positions)
    return copy


async def test_a_session_expires_however_often_its_server_is_left() -> None:
    store = MemoryStore()
    for _ in range(10):
        async with serve(store=store, limits=LIMITS) as server:
            async with dialled() as speaker:
                await speaker.greet()  # it never comes back
            await anyio.sleep(13 * HOUR)
            assert len(server.sessions) <= 2
    assert sorted(away(store).values()) == [pytest.approx(13 * HOUR, abs=1)]


async def test_each_session_expires_in_its_own_time() -> None:
    store = MemoryStore()
    sids: list[str] = []
    async with serve(store=store, limits=LIMITS):
        for _ in range(3):
            async with dialled() as speaker:
                await speaker.greet()
            sids.append(str(speaker.sid))
            await anyio.sleep(5 * HOUR)
    store._positions = dict(
        sorted(store._positions.items(), key=lambda item: -sids.index(item[0]))
    )
    async with serve(store=store, limits=LIMITS) as server:
        await anyio.sleep(9 * HOUR - 60)
        for number in range(3):
            assert set(server.sessions) == set(sids[number:])
            await anyio.sleep(120)
            assert set(server.sessions) == set(sids[number + 1 :])
            await anyio.sleep(5 * HOUR - 120)


async def test_a_record_that_is_written_for_another_reason_says_so_as_well() -> None:
    store = MemoryStore()
    async with serve(store=store, limits=LIMITS) as server:
        async with dialled() as speaker:
            await speaker.greet()
        await anyio.sleep(20 * HOUR)
        await only(server).send("x")
        left = copy_of(store)
        await anyio.sleep(HOUR)
    assert away(left) == {speaker.sid: pytest.approx(20 * HOUR, abs=1)}
    async with serve(store=left, limits=LIMITS) as server:
        await anyio.sleep(4 * HOUR + 60)
        assert not server.sessions


async def test_who_is_back_is_not_away_from_the_welcome_on() -> None:
    store = MemoryStore()
    async with serve(store=store, limits=LIMITS):
        async with dialled() as speaker:
            await speaker.greet()
        await anyio.sleep(23 * HOUR)
    assert away(store) == {speaker.sid: pytest.approx(23 * HOUR, abs=1)}
    async with serve(store=store, limits=LIMITS) as server:
        async with dialled() as again:
            await again.greet(**old(speaker))
            left = copy_of(store)
            await anyio.sleep(2 * HOUR)
            assert away(store) == away(left) == {speaker.sid: 0}
        await anyio.sleep(23 * HOUR)
        assert len(server.sessions) == 1
    assert away(store) == {speaker.sid: pytest.approx(23 * HOUR, abs=1)}


async def test_who_could_not_be_welcomed_expires_when_it_was_to() -> None:
    disk = Disk()
    async with serve(echo, store=disk, limits=LIMITS) as server:
        async with dialled() as speaker:
            await speaker.greet()
        await anyio.sleep(23 * HOUR)
        disk.is_full = True
        async with dialled() as again:
            await again.hello(**old(speaker))
            assert (await again.ending()).code == 4500
        disk.is_full = False
        await anyio.sleep(SOON + 2)
        assert away(disk) == {speaker.sid: 0}  # it was there
        await anyio.sleep(HOUR)
        assert not server.sessions


async def test_a_record_of_an_earlier_version_begins_anew() -> None:
    store = MemoryStore()
    await store.open()
    store.save_position("sid", json.dumps(RECORD))
    await store.close()
    async with serve(store=store, limits=LIMITS) as server:
        await anyio.sleep(24 * HOUR - 60)
        assert list(server.sessions) == ["sid"]
        await anyio.sleep(120)
        assert not server.sessions


@pytest.mark.parametrize("seconds", ["1", None, -1, True, float("nan"), float("inf")])
async def test_a_time_that_is_none_is_refused(seconds: object) -> None:
    store = MemoryStore()
    await store.open()
    store.save_position("sid", json.dumps({**RECORD, "away": seconds}))
    await store.close()
    with pytest.raises(StoreCorruptError, match="the store holds a session that is none"):
        await serve(store=store).__aenter__()
