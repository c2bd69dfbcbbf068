"""What is ready for the application: which order it has, and what it comes to."""

from __future__ import annotations

from statews import Gap, Reset
from statews.client.feed import Event, Feed


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
