"""Whatever a server trims, a link loses and a process forgets: nothing is lost silently."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from statews.protocol.sync import After, Ask, Delivery, Gap, Reset, Since, Strategy

from .sync_streams import Client, Fields, page, page_of, read, text

STEPS = {"publish", "lose", "trim", "read", "link", "wait", "handle", "restart"}
IN_SESSION = {"publish", "trim", "read", "wait", "hear", "answer", "doubt", "drop", "gap"}


def histories(steps: set[str]) -> st.SearchStrategy[list[str]]:
    often = ["publish", "publish", "read", "read", "read"]
    return st.lists(st.sampled_from([*often, *sorted(steps)]), max_size=60)


class Server:
    """Numbers its messages from 1, keeps some of them, and may lose live ones on their way."""

    def __init__(self, page_size: int) -> None:
        self.last = 0
        self.first = 1  # what is kept
        self.page_size = page_size
        self.wire: deque[str] = deque()

    def publish(self, *, lost: bool = False) -> None:
        self.last += 1
        if not lost:
            self.wire.append(text(**self.item(self.last)))

    def item(self, number: int) -> Fields:
        # Three messages share a stamp.
        return {"n": number, "t": float(number // 3), "id": number}

    def trim(self) -> None:
        self.first = min(self.last + 1, self.first + 2)

    def answer(self, wanted: list[int], *, gone: bool, paged: bool) -> None:
        if paged:
            head = [self.item(number) for number in wanted[: self.page_size]]
            self.wire.append(page(*head, more=len(wanted) > self.page_size, gone=gone))
        else:
            self.wire.extend(text(**self.item(number)) for number in wanted)

    def after(self, ask: Fields, *, paged: bool) -> None:
        after, before = ask["after"], ask["before"]
        assert isinstance(after, int)
        assert before is None or isinstance(before, int)
        end = self.last if before is None else before - 1
        wanted = list(range(max(self.first, after + 1), end + 1))
        self.answer(wanted, gone=after + 1 < self.first, paged=paged)

    def since(self, cursor: float | None, *, paged: bool) -> None:
        kept = range(self.first, self.last + 1)
        wanted = [number for number in kept if cursor is None or number // 3 >= cursor]
        gone = self.first > 1 and (cursor is None or (self.first - 1) // 3 >= cursor)
        self.answer(wanted, gone=gone, paged=paged)


class World:
    """A server, a client, a link, and an application with an inbox."""

    def __init__(self, strategy: Strategy, server: Server, *, paged: bool) -> None:
        self.client = Client(strategy)
        self.server = server
        self.paged = paged
        self.inbox: deque[Delivery] = deque()
        self.seen: list[int | Gap] = []
        self.client.begin()
        self.carry()

    def carry(self) -> None:
        """Bring requests to the server, and outputs to the application."""
        for request in self.client.requests():
            if isinstance(request, dict):
                self.server.after(request, paged=self.paged)
            else:
                assert request is None or isinstance(request, float)
                self.server.since(request, paged=self.paged)
        out, self.client.out = self.client.out, []
        for output in out:
            assert not isinstance(output, Reset)
            if isinstance(output, Gap):
                self.seen.append(output)
            else:
                self.seen.append(number_of(output))
                self.inbox.append(output)

    def step(self, name: str) -> None:
        match name:
            case "publish":
                self.server.publish()
            case "lose":
                self.server.publish(lost=True)
            case "trim":
                self.server.trim()
            case "read":
                self.read()
            case "link":
                self.relink()
            case "wait":
                self.client.wait(6)
            case _:
                self.handle()
        self.carry()

    def read(self) -> None:
        if self.server.wire:
            self.client.take(self.server.wire.popleft())

    def relink(self) -> None:
        self.client.end()
        self.server.wire.clear()
        self.client.begin()

    def handle(self) -> None:
        if self.inbox:
            self.client.strategy.handled(self.inbox.popleft().mark)

    def settle(self) -> None:
        """A last link, on which everything arrives."""
        self.relink()
        self.carry()
        self.server.publish()
        while self.server.wire or self.client.strategy.deadline < float("inf"):
            self.read()
            self.carry()
            if not self.server.wire:
                self.client.wait()
                self.carry()

    def restart(self, strategy: Strategy) -> None:
        """The process ends, with what was in the inbox."""
        strategy.restore(json.loads(json.dumps(self.client.strategy.position)))
        while self.inbox:
            lost = self.inbox.pop()
            position = len(self.seen) - 1 - self.seen[::-1].index(number_of(lost))
            del self.seen[position:]
        self.client = Client(strategy)
        self.server.wire.clear()
        self.client.begin()
        self.carry()


def number_of(delivery: Delivery) -> int:
    number = read(delivery.message)["n"]
    assert isinstance(number, int)
    return number


def after(*, paged: bool, hold: int) -> After[Fields]:
    def request(ask: Ask) -> str:
        return text(after=ask.after, before=ask.before)

    def seq(fields: Fields) -> int | None:
        return fields.get("n")  # type: ignore[return-value]

    found = page_of if paged else None
    return After(request, seq=seq, start=0, page=found, hold=hold, retries=1, parse=read)


def since(*, paged: bool, hold: int = 1000) -> Since[Fields]:
    def request(cursor: float | None) -> str:
        return json.dumps(cursor)

    def stamp(fields: Fields) -> float | None:
        return fields.get("t")  # type: ignore[return-value]

    found = page_of if paged else None
    return Since(
        request,
        stamp=stamp,
        id=lambda fields: fields.get("id"),
        overlap=1.0,
        page=found,
        hold=hold,
        retries=1,
        parse=read,
    )


def run(steps: list[str], make: Callable[[], Strategy], server: Server, *, paged: bool) -> World:
    world = World(make(), server, paged=paged)
    for step in steps:
        if step == "restart":
            world.restart(make())
        else:
            world.step(step)
    world.settle()
    return world


@given(steps=histories(STEPS), paged=st.booleans(), hold=st.integers(1, 4), size=st.integers(1, 3))
def test_after_delivers_each_number_once_in_order_or_names_it_in_a_gap(
    steps: list[str], *, paged: bool, hold: int, size: int
) -> None:
    check_numbers(run(steps, lambda: after(paged=paged, hold=hold), Server(size), paged=paged))


def check_numbers(world: World) -> None:
    """Each once and in order, or in a gap."""
    last, expected = 0, 1  # 0: any, after a gap with an open end
    for seen in world.seen:
        if isinstance(seen, Gap):
            assert seen.after == last
            assert seen.before is None or seen.before > last + 1
            expected = 0 if seen.before is None else int(seen.before)
        else:
            assert seen == expected or (expected == 0 and seen > last)
            last, expected = seen, seen + 1
    assert last == world.server.last or expected == 0


@given(steps=histories(STEPS - {"trim", "wait"}), paged=st.booleans(), hold=st.integers(1, 4))
def test_after_delivers_all_that_an_untrimmed_history_has(
    steps: list[str], *, paged: bool, hold: int
) -> None:
    world = run(steps, lambda: after(paged=paged, hold=hold), Server(3), paged=paged)
    assert world.seen == list(range(1, world.server.last + 1))


@given(steps=histories(STEPS - {"lose"}), hold=st.integers(1, 4), size=st.integers(4, 6))
def test_since_delivers_each_id_once_or_names_its_stamp_in_a_gap(
    steps: list[str], *, hold: int, size: int
) -> None:
    check_stamps(run(steps, lambda: since(paged=True, hold=hold), Server(size), paged=True))


def check_stamps(world: World) -> None:
    """Each once, or its stamp in a gap."""
    delivered = [seen for seen in world.seen if isinstance(seen, int)]
    gaps = [seen for seen in world.seen if isinstance(seen, Gap)]
    assert len(delivered) == len(set(delivered))
    for number in set(range(1, world.server.last + 1)).difference(delivered):
        assert any(is_within(number // 3, gap) for gap in gaps), number


@given(steps=histories(STEPS - {"lose", "trim", "wait"}), paged=st.booleans())
def test_since_delivers_all_that_an_untrimmed_history_has(
    steps: list[str], *, paged: bool
) -> None:
    world = run(steps, lambda: since(paged=paged), Server(4), paged=paged)
    assert sorted(map(str, world.seen)) == sorted(map(str, range(1, world.server.last + 1)))


def is_within(stamp: float, gap: Gap) -> bool:
    is_after = gap.after is None or stamp >= gap.after - 1
    return is_after and (gap.before is None or stamp <= gap.before)


# In a session: requests and answers are on their way for a while, and links come and go.


class Slow(Server):
    """Says what it says at a time of its own."""

    def __init__(self, page_size: int) -> None:
        super().__init__(page_size)
        self.answers: deque[list[str]] = deque()

    def answer(self, wanted: list[int], *, gone: bool, paged: bool) -> None:
        live, self.wire = self.wire, deque()
        super().answer(wanted, gone=gone, paged=paged)
        self.answers.append(list(self.wire))
        self.wire = live

    def speak(self) -> bool:
        if self.answers:
            self.wire.extend(self.answers.popleft())
            return True
        return False


class InSession(World):
    """Nothing but requests is lost with a link, and what the server had to throw away."""

    def __init__(self, strategy: Strategy, server: Slow, *, paged: bool) -> None:
        self.requests: deque[object] = deque()
        self.slow = server
        super().__init__(strategy, server, paged=paged)

    def carry(self) -> None:
        self.requests.extend(self.client.requests())
        super().carry()

    def step(self, name: str) -> None:
        match name:
            case "hear":
                self.hear()
            case "answer":
                self.slow.speak()
            case "doubt":  # it has arrived, and the client does not know
                self.hear()
                self.client.repeat()
            case "drop":
                self.requests.clear()
                self.client.repeat()
            case "gap":
                for _ in range((len(self.server.wire) + 1) // 2):
                    self.server.wire.popleft()
                self.client.miss()
            case _:
                super().step(name)
        self.carry()

    def hear(self) -> bool:
        if not self.requests:
            return False
        request = self.requests.popleft()
        if isinstance(request, dict):
            self.server.after(request, paged=self.paged)
        else:
            assert request is None or isinstance(request, float)
            self.server.since(request, paged=self.paged)
        return True

    def settle(self) -> None:
        while True:
            self.carry()
            if self.hear() or self.slow.speak():
                continue
            if self.server.wire:
                self.read()
            elif self.client.strategy.deadline < float("inf"):
                self.client.wait()
            else:
                return


def run_session(steps: list[str], strategy: Strategy, size: int, *, paged: bool) -> InSession:
    world = InSession(strategy, Slow(size), paged=paged)
    for step in steps:
        world.step(step)
    world.settle()
    return world


@given(steps=histories(IN_SESSION), hold=st.integers(1, 4), size=st.integers(1, 3))
def test_after_loses_nothing_silently_in_a_session(
    steps: list[str], *, hold: int, size: int
) -> None:
    world = run_session(steps, after(paged=True, hold=hold), size, paged=True)
    check_numbers(world)


@given(
    steps=histories(IN_SESSION - {"trim", "wait"}), hold=st.integers(1, 4), size=st.integers(1, 3)
)
def test_after_delivers_in_a_session_all_that_an_untrimmed_history_has(
    steps: list[str], *, hold: int, size: int
) -> None:
    world = run_session(steps, after(paged=True, hold=hold), size, paged=True)
    assert world.seen == list(range(1, world.server.last + 1))


@given(steps=histories(IN_SESSION), hold=st.integers(1, 4), size=st.integers(4, 6))
def test_since_loses_nothing_silently_in_a_session(
    steps: list[str], *, hold: int, size: int
) -> None:
    world = run_session(steps, since(paged=True, hold=hold), size, paged=True)
    check_stamps(world)


@given(steps=histories(IN_SESSION - {"trim", "wait"}), size=st.integers(4, 6))
def test_since_delivers_in_a_session_all_that_an_untrimmed_history_has(
    steps: list[str], *, size: int
) -> None:
    world = run_session(steps, since(paged=True), size, paged=True)
    assert sorted(map(str, world.seen)) == sorted(map(str, range(1, world.server.last + 1)))
