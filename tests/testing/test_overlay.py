"""What faults do, and that exactly this is taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.testing.faults import Cut, Ending, Entry, Faults, Way
from statews.testing.grammar import Fault
from statews.testing.overlay import Overlay

from .faulty import ENDING, changes, faults, state


class Watched(Faults):
    """A network that writes down what is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def _changed(self, what: str) -> None:
        self.done.append(what)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency=0.2", {"latency@up": 0.2, "latency@down": 0.2}),
        ("jitter=0.1@up", {"jitter@up": 0.1}),
        ("loss=0.5@down", {"loss@down": 0.5}),
        ("bandwidth=20k@up", {"bandwidth@up": 20_000}),
        ("freeze", {"freeze@up": True, "freeze@down": True}),
        ("freeze@down", {"freeze@down": True}),
        ("cut-after=9@up", {"cut@up": Cut(after_bytes=9)}),
        ("cut-in-frame=2@down", {"cut@down": Cut(in_frame=2)}),
        ("refuse", {"entry": Entry.REFUSE}),
        ("reset-new", {"entry": Entry.RESET}),
        ("silence-new", {"entry": Entry.SILENT}),
        ("drop-new=0.5", {"entry": Entry.DROP}),
        ("drop-some=0.3", {"share": 0.3}),
    ],
)
def test_a_fault_does_one_thing_and_takes_exactly_that_back(
    text: str, expected: dict[str, object]
) -> None:
    fault, network = Fault.parse(text), Faults()
    end = Overlay(network).begin(fault)
    assert changes(network) == expected
    end()
    assert changes(network) == {}
    fault.apply(network)
    assert changes(network) == expected
    Fault.parse("heal").apply(network)
    assert changes(network) == {}


@pytest.mark.parametrize(("fault", "back"), [("freeze@up", "thaw"), ("refuse", "accept")])
def test_some_have_an_opposite(fault: str, back: str) -> None:
    network = Faults()
    for each in (fault, back):
        assert changes(network) == {} or each == back
        Fault.parse(each).apply(network)
    assert changes(network) == {}


class Link:
    """A link that is ended."""

    def __init__(self) -> None:
        self.endings: list[Ending] = []

    def end(self, how: Ending) -> None:
        self.endings.append(how)


def test_cut_and_reset_end_every_link() -> None:
    network, link = Faults(), Link()
    network.adopt(link)
    Fault.parse("cut").apply(network)
    Fault.parse("reset").apply(network)
    assert link.endings == [Ending.FIN, Ending.RST]


def test_the_number_of_drop_new_counts() -> None:
    network = Faults()
    Fault.parse("drop-new=0.5").apply(network)
    end = Overlay(network).begin(Fault.parse("drop-new=7"))
    assert network.drop_after == 7
    end()
    assert (network.entry, network.drop_after) == (Entry.DROP, 0.5)


@given(
    before=st.lists(faults(names=ENDING), max_size=5),
    begun=st.lists(faults(names=ENDING), min_size=1, max_size=5),
    data=st.data(),
)
def test_when_all_have_ended_in_whatever_order_it_is_as_before(
    before: list[Fault], begun: list[Fault], data: st.DataObject
) -> None:
    network = Faults()
    for fault in before:
        fault.apply(network)
    overlay, expected = Overlay(network), state(network)
    ends = [overlay.begin(fault) for fault in begun]
    for end in data.draw(st.permutations(ends)):
        end()
    assert state(network) == expected


@given(
    begun=st.lists(faults(names=ENDING), min_size=2, max_size=6),
    ended=st.sets(st.integers(0, 5)),
)
def test_what_has_ended_leaves_what_has_not_in_force(begun: list[Fault], ended: set[int]) -> None:
    network, expected = Faults(), Faults()
    overlay = Overlay(network)
    ends = [overlay.begin(fault) for fault in begun]
    for place, (fault, end) in enumerate(zip(begun, ends, strict=True)):
        if place in ended:
            end()
        else:
            fault.apply(expected)
    assert state(network) == state(expected)


def test_what_is_done_for_good_is_not_taken_back() -> None:
    network = Faults()
    overlay = Overlay(network)
    ends = [overlay.begin(Fault.parse(text)) for text in ("freeze", "latency=1", "refuse")]
    overlay.apply(Fault.parse("freeze@up"))
    network.slow(latency=2.0, way=Way.DOWN)  # by somebody else
    overlay.apply(Fault.parse("refuse"))
    for end in ends:
        end()
    assert changes(network) == {"freeze@up": True, "latency@down": 2.0, "entry": Entry.REFUSE}


def test_healed_nothing_is_left_to_be_taken_back() -> None:
    network = Watched()
    overlay = Overlay(network)
    overlay.apply(Fault.parse("latency=1"))
    end = overlay.begin(Fault.parse("latency=2"))
    overlay.apply(Fault.parse("heal"))
    done = len(network.done)
    end()
    assert (changes(network), len(network.done)) == ({}, done)


def test_what_is_taken_back_both_ways_is_told_once() -> None:
    network = Watched()
    for text in ("freeze", "latency=0.5", "cut-after=9"):
        Overlay(network).begin(Fault.parse(text))()
    assert network.done == [
        "frozen, both",
        "thawed, both",
        "latency is 0.5, both",
        "latency is 0, both",
        "links end with RST after 9 bytes, both",
        "links are cut nowhere, both",
    ]
