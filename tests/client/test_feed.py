"""What is ready for the application: which order it has, and what it comes to."""

from __future__ import annotations

from collections.abc import Iterator

from statews import Gap, Latest, Policy, Reset, Resume, Window
from statews.client.feed import MOST_PLACES, Event, Feed
from statews.client.session import Progress, Session
from statews.protocol.session import Cursor


def gap(after: int) -> Gap:
    return Gap(stream="s", key=None, after=after, before=after + 2, reason="it is gone")


def taken(feed: Feed) -> list[Event]:
    events: list[Event] = []
    while feed:
        events.append(feed.take())
    return events


# Places.


def test_a_newer_value_takes_the_place_of_one_that_waits() -> None:
    feed = Feed()
    for message in ("old", "new"):
        feed.append(message, place="a")
    feed.append("other", place="b")
    assert feed.take() == "new"
    feed.append("newest", place="a")
    assert taken(feed) == ["other", "newest"]


def test_no_value_from_behind_a_loss_takes_a_place_before_it() -> None:
    for loss in (gap(1), Reset(stream="s", key=None, reason="it is another one")):
        feed = Feed()
        feed.append("before", place="a")
        feed.note(loss)
        feed.append("behind", place="a")
        assert feed.take() == "before"
        feed.append("newer", place="a")
        assert taken(feed) == [loss, "newer"]


# What it comes to.


def test_a_message_counts_though_it_is_empty() -> None:
    feed = Feed()
    for message in ("", b"", "four"):
        feed.append(message)
    feed.append("value", place="a")
    feed.append("new", place="a")
    feed.note(gap(1))
    assert feed.size_bytes == 4 * 2 + 4 + 3
    sizes = [feed.size_bytes for _ in taken_one_by_one(feed)]
    assert sizes == [13, 11, 5, 0, 0]


def taken_one_by_one(feed: Feed) -> Iterator[Event]:
    while feed:
        yield feed.take()


def test_there_are_places_for_so_many_values_that_nobody_takes() -> None:
    feed = Feed()
    for number in range(MOST_PLACES):
        assert feed.has_place(number)
        feed.append("value", place=number)
    assert not feed.has_place(MOST_PLACES)
    assert feed.has_place(0)
    feed.note(gap(1))
    assert not feed.has_place(0)
    feed.take()
    assert feed.has_place(0)
    feed.append("value", Latest(None), place="of a stream")
    assert feed.has_place(0)


def test_what_a_window_bounds_counts_when_its_session_is_over() -> None:
    feed = Feed()
    resume = Session(Resume(), Policy(), is_stored=False)
    feed.begin(resume.progress)
    feed.deliver(["one", "two"], 1)
    feed.begin(resume.progress)
    assert feed.size_bytes == 0
    feed.begin(Progress(resume, Cursor(Window())))
    assert feed.size_bytes == 10
    assert taken(feed) == ["one", "two"]
    assert feed.size_bytes == 0
