"""The text of faults: what is written is read back, and done in its time."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest
from anyio import current_time
from hypothesis import given
from hypothesis import strategies as st

from statews import UsageError
from statews.testing.faults import Entry, Way
from statews.testing.grammar import KINDS, LONGEST
from statews.testing.network import Network
from statews.testing.overlay import Overlay
from statews.testing.schedule import DRAWN, Fault, Schedule, Timed
from statews.testing.virtual import BACKENDS, Backend, run

from .faulty import ENDING, changes, faults

seconds = st.floats(0, LONGEST)


@st.composite
def timed_faults(draw: st.DrawFn) -> Timed:
    if draw(st.booleans()):
        return Timed(fault=draw(faults()), at=draw(seconds))
    at, until = sorted(draw(st.tuples(seconds, seconds).filter(lambda both: both[0] != both[1])))
    return Timed(fault=draw(faults(names=ENDING)), at=at, until=until)


# Text.


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("latency=0.2", Fault(name="latency", value=0.2)),
        ("jitter=0.1@up", Fault(name="jitter", value=0.1, way=Way.UP)),
        ("loss=0.02@down", Fault(name="loss", value=0.02, way=Way.DOWN)),
        ("bandwidth=20k", Fault(name="bandwidth", value=20_000)),
        ("bandwidth=3M@up", Fault(name="bandwidth", value=3_000_000, way=Way.UP)),
        ("bandwidth=inf", Fault(name="bandwidth", value=math.inf)),
        ("bandwidth=1500", Fault(name="bandwidth", value=1500)),
        ("freeze", Fault(name="freeze")),
        ("freeze@up", Fault(name="freeze", way=Way.UP)),
        ("cut-after=1000@down", Fault(name="cut-after", value=1000, way=Way.DOWN)),
        ("cut-in-frame=3@up", Fault(name="cut-in-frame", value=3, way=Way.UP)),
        ("drop-new=0.1", Fault(name="drop-new", value=0.1)),
        ("drop-some=0.3", Fault(name="drop-some", value=0.3)),
        *(
            (name, Fault(name=name))
            for name in ("thaw", "cut", "reset", "refuse", "reset-new", "silence-new", "accept")
        ),
    ],
)
def test_a_fault_is_read_as_it_is_written(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault
    assert str(fault) == text
    assert Timed.parse(text) == Timed(fault=fault)


@pytest.mark.parametrize(
    ("text", "timed"),
    [
        ("5:cut", Timed(fault=Fault(name="cut"), at=5)),
        ("0.5:heal", Timed(fault=Fault(name="heal"), at=0.5)),
        ("10-15:freeze", Timed(fault=Fault(name="freeze"), at=10, until=15)),
        ("0-0.25:refuse", Timed(fault=Fault(name="refuse"), at=0, until=0.25)),
        (
            "1-2:latency=0.1@up",
            Timed(fault=Fault(name="latency", value=0.1, way=Way.UP), at=1, until=2),
        ),
    ],
)
def test_so_is_its_time(text: str, timed: Timed) -> None:
    assert Timed.parse(text) == timed
    assert str(timed) == text


def test_texts_may_be_longer_than_they_need_be() -> None:
    assert Fault.parse(" latency=.50 ") == Fault(name="latency", value=0.5)
    assert Fault.parse("cut-after=1.5k") == Fault(name="cut-after", value=1500)
    assert Timed.parse("00.:cut") == Timed(fault=Fault(name="cut"))


@given(fault=faults())
def test_whatever_fault_there_is_can_be_written(fault: Fault) -> None:
    assert Fault.parse(str(fault)) == fault


@given(each=st.lists(timed_faults(), max_size=5).map(tuple))
def test_whatever_schedule_there_is_can_be_written(each: tuple[Timed, ...]) -> None:
    schedule = Schedule(each)
    assert Schedule.parse([str(schedule)]) == Schedule.parse(map(str, each)) == schedule


@given(text=st.one_of(st.text(), st.from_regex(r"[0-9.:=@k-]*(cut|loss)[0-9.:=@kMinf-]*")))
def test_any_other_text_is_wrong_use_in_one_line(text: str) -> None:
    try:
        understood = str(Schedule.parse([text]))
    except UsageError as error:
        complaint = str(error)
    else:
        complaint = "none"
        assert str(Schedule.parse([understood])) == understood
    assert len(complaint.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("latancy=1", "there is no fault 'latancy': did you mean latency[?] the faults are late"),
        ("wobble", "there is no fault 'wobble': the faults are latency, jitter, .*, heal$"),
        ("", "there is no fault ''"),
        ("latency", r"expected latency=SECONDS\[@up\|@down\] with a number, 0 to 1000000, got"),
        ("latency=x", "got 'latency=x'"),
        ("latency=-1", "got 'latency=-1'"),
        ("latency=20k", "got 'latency=20k'"),
        ("latency=inf", "got 'latency=inf'"),
        ("latency=1@left", "got 'latency=1@left'"),
        ("latency=1@", "got 'latency=1@'"),
        ("loss=1.1", "number, 0 to 1, got 'loss=1.1'"),
        ("bandwidth=0", "number, at least 1, got 'bandwidth=0'"),
        ("cut-after=1.5", "expected cut-after=BYTES.* with a whole number, at least 0, got"),
        ("cut-after=inf", "got 'cut-after=inf'"),
        ("cut-in-frame=0", "with a whole number, at least 1, got"),
        ("freeze=3", r"expected freeze\[@up\|@down\], got 'freeze=3'"),
        ("freeze=", "got 'freeze='"),
        ("refuse@up", "expected refuse, got 'refuse@up'"),
        ("1e3:cut", "expected SECONDS:FAULT or BEGIN-END:FAULT, such as .*, got '1e3:cut'"),
        ("15-10:freeze", "with BEGIN before END and at most 1000000, got '15-10:freeze'"),
        ("10-10:freeze", "with BEGIN before END"),
        ("1000001:cut", "at most 1000000"),
        (f"1-{'9' * 400}:freeze", "at most 1000000"),
        (":cut", "expected SECONDS:FAULT"),
        ("1-2:cut", "cut cannot be taken back: expected 1:cut, got '1-2:cut'"),
        ("1-2:thaw", "thaw cannot be taken back"),
    ],
)
def test_a_wrong_text_says_what_would_be_right(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Timed.parse(text)


@pytest.mark.parametrize(
    "wrong",
    [
        partial(Fault, name="freze"),
        partial(Fault, name="freeze", value=1),
        partial(Fault, name="cut", way=Way.UP),
        partial(Fault, name="loss", value=math.nan),
        partial(Timed, fault=Fault(name="cut"), at=-1),
        partial(Timed, fault=Fault(name="cut"), at=math.inf),
    ],
)
def test_none_can_be_made_that_is_wrong(wrong: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        wrong()


# In time.


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


def in_virtual_time(backend: Backend, main: Callable[[Network], Awaitable[None]]) -> Network:
    """The network, after `main`."""

    async def within() -> Network:
        network = Network()
        await main(network)
        return network

    return run(within, backend=backend)


def test_each_fault_begins_and_ends_in_its_time(backend: Backend) -> None:
    seen: dict[float, dict[str, object]] = {}

    async def main(network: Network) -> None:
        schedule = Schedule.parse(["latency=0.2 5:refuse", "3-7:freeze@up", "2-10:latency=1@up"])
        async with anyio.create_task_group() as group:
            await group.start(schedule.play, network)
            for second in range(12):
                await anyio.sleep_until(second + 0.5)
                seen[second] = changes(network)

    in_virtual_time(backend, main)
    slow: dict[str, object] = {"latency@up": 0.2, "latency@down": 0.2}
    slower = {"latency@up": 1.0, "latency@down": 0.2}
    frozen, refused = {"freeze@up": True}, {"entry": Entry.REFUSE}
    assert seen == {
        **dict.fromkeys((0, 1), slow),
        2: slower,
        **dict.fromkeys((3, 4), slower | frozen),
        **dict.fromkeys((5, 6), slower | frozen | refused),
        **dict.fromkeys((7, 8, 9), slower | refused),
        **dict.fromkeys((10, 11), slow | refused),
    }


def test_at_one_time_ends_come_first_and_the_rest_in_its_order(backend: Backend) -> None:
    async def main(network: Network) -> None:
        await Schedule.parse(["5:loss=0.5 5-6:freeze 1-5:refuse 5:heal"]).play(network)
        assert current_time() == 6

    lines = [line[11:] for line in in_virtual_time(backend, main).trace.lines]
    assert [line.partition(" ")[2].strip() for line in lines] == [
        f"of a new connection: {Entry.REFUSE.value}",
        f"of a new connection: {Entry.ACCEPT.value}",
        "loss is 0.5, both",
        "frozen, both",
        f"of a new connection: {Entry.ACCEPT.value}",
        "every fault is taken back",
    ]


def test_what_comes_at_once_is_there_when_it_has_started(backend: Backend) -> None:
    async def main(network: Network) -> None:
        async with anyio.create_task_group() as group:
            for text in ("", "loss=1", "0:jitter=1 0-1:freeze"):
                await group.start(Schedule.parse([text]).play, network)
                assert current_time() == 0
            assert len(changes(network)) == 6
        assert (current_time(), len(changes(network))) == (1, 4)

    in_virtual_time(backend, main)


def test_a_schedule_that_is_cancelled_takes_nothing_back(backend: Backend) -> None:
    async def main(network: Network) -> None:
        with anyio.move_on_after(3):
            await Schedule.parse(["1-5:refuse"]).play(network)
        await anyio.sleep(10)
        assert changes(network) == {"entry": Entry.REFUSE}

    in_virtual_time(backend, main)


def test_schedules_that_share_an_overlay_do_not_cross(backend: Backend) -> None:
    async def main(network: Network) -> None:
        overlay = Overlay(network)
        async with anyio.create_task_group() as group:
            group.start_soon(Schedule.parse(["0-10:latency=1"]).play, overlay)
            group.start_soon(Schedule.parse(["5-15:latency=2"]).play, overlay)
            await anyio.sleep(12)
            assert network.up.latency == 2
        assert changes(network) == {}

    in_virtual_time(backend, main)


# By chance.


def drawn(seed: int, seconds: float = 60.0) -> Schedule:
    return Schedule.random(random.Random(seed), seconds=seconds)  # noqa: S311 - no secret


def test_a_seed_decides_a_schedule() -> None:
    assert drawn(1) == drawn(1)
    assert len({str(drawn(seed)) for seed in range(100)}) == 100
    assert str(drawn(3)) == "14.005-14.386:silence-new 19.978-23.111:cut-after=491@up 60:heal"


@given(seed=st.integers(0, 2**32), seconds=st.floats(1, LONGEST))
def test_every_random_schedule_ends_healed(seed: int, seconds: float) -> None:
    schedule = drawn(seed, seconds)
    *faults, heal = schedule.faults
    assert heal == Timed(fault=Fault(name="heal"), at=seconds)
    assert 1 <= len(faults) <= 8
    assert all(each.at < seconds and (not each.ends or each.until <= seconds) for each in faults)
    assert [each.at for each in faults] == sorted(each.at for each in faults)
    assert Schedule.parse([str(schedule)]) == schedule


@pytest.mark.parametrize("seed", range(20))
def test_played_it_leaves_a_good_network(seed: int, backend: Backend) -> None:
    async def main(network: Network) -> None:
        await drawn(seed).play(network)
        assert (current_time(), changes(network)) == (60, {})

    in_virtual_time(backend, main)


def test_in_time_every_fault_is_drawn_and_each_way() -> None:
    all_faults = [each.fault for seed in range(300) for each in drawn(seed).faults]
    assert {fault.name for fault in all_faults} == {*DRAWN, "heal"}
    for name in DRAWN:
        ways = {fault.way for fault in all_faults if fault.name == name}
        assert ways == (set(Way) if KINDS[name].has_way else {Way.BOTH})


def test_only_what_is_named_is_drawn() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    for _ in range(50):
        schedule = Schedule.random(chance, seconds=5, faults=["cut", "freeze"])
        assert {each.fault.name for each in schedule.faults} <= {"cut", "freeze", "heal"}


@pytest.mark.parametrize(
    ("seconds", "names", "complaint"),
    [
        (0.5, DRAWN, "expected 1 to 1000000 seconds, got 0.5"),
        (math.nan, DRAWN, "got nan"),
        (60, ["cut", "freze"], "expected some of latency, .*, got .'cut', 'freze'."),
        (60, [], "expected some of latency"),
    ],
)
def test_what_cannot_be_drawn_is_told(seconds: float, names: list[str], complaint: str) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    with pytest.raises(UsageError, match=complaint):
        Schedule.random(chance, seconds=seconds, faults=names)
