"""When a silent peer is asked, and when it is given up."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.policy import Heartbeat
from statews.protocol.liveness import Liveness, Verdict

WAIT, PING, LOOK, DEAD = Verdict.WAIT, Verdict.PING, Verdict.LOOK, Verdict.DEAD
HEARTBEAT = Heartbeat(interval=30, timeout=10, clock_check=5)

moments = st.floats(0, 1e7)
durations = st.floats(0.01, 1000)
heartbeats = st.builds(Heartbeat, interval=durations, timeout=durations, clock_check=durations)


class Watch:
    """A `Liveness` with a clock, looked at whenever it wants to be."""

    def __init__(self, heartbeat: Heartbeat | None = HEARTBEAT, *, now: float = 0.0) -> None:
        self.now = now
        self.slept = 500.0  # before the link came up
        self.liveness = Liveness(heartbeat, now=now, awake=now + self.slept)
        self.reading = True
        self.pings: list[float] = []
        self.arrived: Callable[[float], int] = lambda _: 0
        self.sent = 0

    def look(self) -> Verdict:
        """Judge now, and ping if that is the verdict, or see what has arrived."""
        verdict = self.liveness.judge(self.now, self.now + self.slept, reading=self.reading)
        if verdict in {LOOK, DEAD}:
            arrived = self.arrived(self.now)
            upto = max(self.sent, arrived)
            if self.liveness.looked(self.now, arrived=arrived, upto=upto):
                return WAIT
        if verdict is PING:
            self.pings.append(self.now)
            self.liveness.asked(self.now)
        return verdict

    def run(self, until: float, *, at: dict[float, Callable[[], None]] | None = None) -> Verdict:
        """Look as often as asked to, and do what is to be done, until the end or a death."""
        todo = sorted((at or {}).items())
        while True:
            if self.look() is DEAD:
                return DEAD
            due = self.liveness.next_look(self.now, reading=self.reading)
            assert due > self.now, "it would look again and again"
            if min(due, todo[0][0] if todo else math.inf) >= until:
                self.now = until
                return self.look()
            if todo and todo[0][0] <= due:
                self.now, action = todo.pop(0)
                action()
            else:
                self.now = due

    def hear(self) -> None:
        self.liveness.heard(self.now)

    def pong(self) -> None:
        self.hear()
        self.liveness.answered(self.now)


def test_a_silent_peer_is_asked_after_the_interval_and_dead_after_the_timeout() -> None:
    watch = Watch()
    assert watch.run(1000) is DEAD
    assert (watch.pings, watch.now) == ([30], 40)


@pytest.mark.no_cover
@given(heartbeat=heartbeats, start=moments)
def test_a_dead_peer_is_found_within_interval_and_timeout(
    heartbeat: Heartbeat, start: float
) -> None:
    watch = Watch(heartbeat, now=start)
    assert watch.run(math.inf) is DEAD
    assert len(watch.pings) == 1
    assert watch.now == pytest.approx(start + heartbeat.interval + heartbeat.timeout)


@pytest.mark.no_cover
@given(
    heartbeat=heartbeats,
    start=moments,
    gaps=st.lists(st.floats(0, 0.99), max_size=10),
)
def test_any_byte_is_life_and_death_counts_from_the_last_one(
    heartbeat: Heartbeat, start: float, gaps: list[float]
) -> None:
    watch = Watch(heartbeat, now=start)
    last = start
    for gap in gaps:
        last += gap * (heartbeat.interval + heartbeat.timeout)
        assert watch.run(last) is not DEAD
        watch.hear()
    assert watch.run(math.inf) is DEAD
    # A ping may have gone out just before the last byte; the next one keeps its distance.
    latest = last + 2 * heartbeat.interval + heartbeat.timeout
    assert last + heartbeat.timeout <= watch.now <= latest * (1 + 1e-9)


def test_a_peer_that_sends_is_not_asked() -> None:
    watch = Watch()
    assert watch.run(300, at={float(at): watch.hear for at in range(0, 300, 20)}) is WAIT
    assert watch.pings == []


def test_a_byte_at_the_very_moment_of_the_ping_is_life() -> None:
    watch = Watch()
    watch.run(30)
    assert watch.pings == [30]
    watch.hear()
    assert watch.run(50) is WAIT


def test_a_byte_just_before_the_ping_of_the_same_moment_does_not_answer_it() -> None:
    watch = Watch()
    watch.hear()
    watch.liveness.asked(0)
    assert watch.run(1000) is DEAD
    assert watch.now == 10


def test_a_peer_that_answers_is_asked_at_each_interval() -> None:
    watch = Watch()
    pongs = dict.fromkeys([31.0, 62.0, 93.0], watch.pong)
    assert watch.run(100, at=pongs) is WAIT
    assert watch.pings == [30, 61, 92]


def test_a_peer_that_sends_but_never_answers_pings_is_alive() -> None:
    watch = Watch()
    assert watch.run(1000, at={float(at): watch.hear for at in range(35, 1000, 35)}) is not DEAD
    assert watch.pings[:3] == [30, 65, 100]


# While we do not read.


def test_nobody_is_dead_while_we_do_not_read_but_pings_go_on() -> None:
    watch = Watch()
    watch.reading = False
    assert watch.run(100) is WAIT
    assert watch.pings == [30, 60, 90]


@given(stopped=st.floats(0, 39), resumed=st.floats(0, 500))
def test_the_timeout_waits_while_we_do_not_read(stopped: float, resumed: float) -> None:
    watch = Watch()
    watch.run(stopped)
    watch.reading = False
    assert watch.run(stopped + resumed) is not DEAD
    watch.reading = True
    assert watch.run(math.inf) is DEAD
    longest = HEARTBEAT.interval + HEARTBEAT.timeout
    assert watch.now <= stopped + resumed + longest + HEARTBEAT.clock_check


def test_the_peer_has_the_whole_timeout_after_reading_goes_on() -> None:
    watch = Watch()
    watch.run(35)
    watch.reading = False
    watch.run(200)
    watch.reading = True
    assert watch.look() is WAIT
    assert watch.run(205) is not DEAD
    watch.pong()
    assert watch.run(230) is WAIT


def test_a_peer_is_not_dead_for_silence_that_nobody_asked_about() -> None:
    watch = Watch()
    watch.run(10)
    watch.reading = False
    watch.run(12)
    watch.reading = True
    assert watch.run(29) is WAIT
    assert watch.pings == []


# While what was sent arrives.


def slowly(now: float) -> int:
    """What has arrived on a line of 100 bytes per second."""
    return int(now * 100)


def test_a_peer_is_alive_while_what_is_ahead_of_the_ping_arrives() -> None:
    watch = Watch()
    watch.sent, watch.arrived = 20_000, slowly
    watch.liveness.asked(0)
    assert watch.run(208) is not DEAD
    watch.pong()
    assert watch.run(230) is WAIT
    assert watch.pings == []


def test_when_all_has_arrived_the_peer_has_the_timeout_to_answer() -> None:
    watch = Watch()
    watch.sent, watch.arrived = 20_000, slowly
    watch.liveness.asked(0)
    assert watch.run(1000) is DEAD
    assert 200 + 10 * 7 / 8 - 0.1 <= watch.now <= 210


def test_the_last_byte_before_the_ping_is_no_life_for_then_it_is_the_peers_turn() -> None:
    watch = Watch()
    watch.sent, watch.arrived = 1000, lambda now: 0 if now < 5 else 1000
    watch.liveness.asked(0)
    assert watch.run(1000) is DEAD
    assert watch.now == 10


def test_the_peer_is_looked_at_eight_times_in_a_timeout() -> None:
    watch, looks = Watch(), []

    def look(now: float) -> int:
        looks.append(now)
        return 0

    watch.sent, watch.arrived = 1000, look
    watch.liveness.asked(0)
    assert watch.run(1000) is DEAD
    assert looks == [1.25, 2.5, 3.75, 5.0, 6.25, 7.5, 8.75, 10.0]


def test_what_goes_behind_the_ping_is_no_life() -> None:
    watch = Watch()
    watch.sent, watch.arrived = 100, slowly
    watch.liveness.asked(0)
    watch.run(1.25)
    watch.sent = 1_000_000
    assert watch.run(1000) is DEAD
    assert watch.now == 10


def test_what_had_arrived_before_the_ping_is_no_life() -> None:
    watch = Watch()
    watch.sent, watch.arrived = 20_000, lambda _: 10_000
    watch.liveness.asked(0)
    assert watch.run(1000) is DEAD
    assert watch.now == 10


@pytest.mark.no_cover
@given(heartbeat=heartbeats, stops=st.floats(0, 100))
def test_who_takes_nothing_more_is_found_within_interval_and_timeout(
    heartbeat: Heartbeat, stops: float
) -> None:
    watch = Watch(heartbeat)
    watch.sent, watch.arrived = 20_000, lambda now: slowly(min(now, stops))
    watch.liveness.asked(0)
    assert watch.run(math.inf) is DEAD
    limit = stops + heartbeat.interval + heartbeat.timeout
    assert watch.now <= limit * (1 + 1e-9)
    assert watch.now >= heartbeat.timeout


def test_a_new_question_begins_with_what_is_under_way_then() -> None:
    watch = Watch()
    watch.sent, watch.arrived = 1000, slowly
    watch.liveness.asked(0)
    assert watch.run(9) is not DEAD
    watch.hear()
    watch.sent = 6000
    assert watch.run(65) is not DEAD
    assert watch.pings == [39]


# Sleep.


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("counted", [False, True], ids=["the clock stood", "the clock ran"])
def test_after_sleep_the_peer_is_asked_at_once_and_not_judged(asked: bool, counted: bool) -> None:
    watch = Watch()
    watch.run(35 if asked else 10)
    watch.pings.clear()
    if counted:
        watch.now += 3600
    else:
        watch.now += 2
        watch.slept += 3600
    woke = watch.now
    assert watch.look() is PING
    assert watch.run(1000 + woke) is DEAD
    assert (watch.pings, watch.now) == ([woke], woke + 10)


def test_after_sleep_an_answer_is_life() -> None:
    watch = Watch()
    watch.run(39)
    watch.slept += 60
    assert watch.look() is PING
    watch.now += 1
    watch.pong()
    assert watch.run(60) is WAIT


def test_sleep_is_noticed_at_the_next_clock_check_although_nothing_else_is_due() -> None:
    watch = Watch()
    watch.look()
    assert watch.liveness.next_look(0, reading=True) == HEARTBEAT.clock_check


def test_a_short_nap_and_a_drifting_clock_are_no_sleep() -> None:
    watch = Watch()
    for _ in range(20):
        watch.now += 1
        watch.slept += 4
        assert watch.look() is WAIT


def test_a_sleep_before_the_first_look_is_noticed() -> None:
    watch = Watch(now=10_000)
    watch.slept += 60
    assert watch.look() is PING


def test_only_more_than_the_clock_check_is_a_sleep() -> None:
    watch = Watch()
    watch.slept += HEARTBEAT.clock_check
    assert watch.look() is WAIT


@pytest.mark.parametrize(("pause", "verdict"), [(40, DEAD), (40.5, PING)])
def test_only_a_pause_of_more_than_interval_and_timeout_is_a_sleep(
    pause: float, verdict: Verdict
) -> None:
    watch = Watch()
    watch.liveness.asked(0)
    watch.now = pause
    assert watch.look() is verdict


def test_a_clock_that_jumps_back_is_no_sleep() -> None:
    watch = Watch()
    watch.slept -= 1000
    assert watch.run(20) is WAIT


# Pongs.


def test_the_round_trip_is_from_the_ping_to_its_pong() -> None:
    watch = Watch()
    assert watch.liveness.round_trip is None
    watch.run(32)
    watch.pong()
    assert watch.liveness.round_trip == 2


def test_a_pong_to_no_ping_is_harmless() -> None:
    watch = Watch()
    watch.pong()
    watch.run(31)
    watch.pong()
    watch.now = 32
    watch.pong()
    assert watch.liveness.round_trip == 1
    assert watch.run(1000) is DEAD
    assert watch.pings == [30, 62]


# Without a heartbeat.


def test_without_a_heartbeat_nobody_is_asked_or_judged() -> None:
    watch = Watch(None)
    for now in (0, 1e6):
        watch.now = now
        watch.slept += 1e6
        assert watch.look() is WAIT
        assert watch.liveness.next_look(now, reading=True) == math.inf


def test_without_a_heartbeat_a_ping_by_hand_still_measures_the_round_trip() -> None:
    watch = Watch(None)
    watch.liveness.asked(0)
    watch.now = 3
    assert watch.look() is WAIT
    watch.pong()
    assert watch.liveness.round_trip == 3


def test_an_infinite_timeout_asks_and_never_judges() -> None:
    watch = Watch(Heartbeat(interval=30, timeout=math.inf))
    assert watch.run(100) is WAIT
    assert watch.pings == [30, 60, 90]
