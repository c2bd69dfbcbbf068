"""When to ask how far the peer has come, and how far it has."""

from __future__ import annotations

import math

import pytest

from statews.protocol.fence import Fence


@pytest.fixture
def fence() -> Fence:
    return Fence(0.2)


def test_a_new_link_has_nothing_to_ask(fence: Fence) -> None:
    assert fence.confirmed == 0
    assert fence.due == math.inf
    assert not fence.may_ask(0, 10.0, is_urgent=True)
    assert fence.due == math.inf


def test_what_nobody_waits_for_is_asked_about_after_a_while(fence: Fence) -> None:
    assert not fence.may_ask(1, 10.0, is_urgent=False)
    assert fence.due == 10.2
    assert not fence.may_ask(2, 10.1, is_urgent=False)
    assert fence.due == 10.2  # the first message decides


def test_what_is_urgent_or_waited_for_is_asked_about_at_once(fence: Fence) -> None:
    assert fence.may_ask(1, 10.0, is_urgent=True)
    fence.want(1)
    assert fence.may_ask(1, 10.0, is_urgent=False)


def test_one_question_at_a_time(fence: Fence) -> None:
    fence.want(1)
    fence.may_ask(1, 10.0, is_urgent=False)
    fence.asked(1)
    assert fence.due == math.inf
    fence.want(3)
    assert not fence.may_ask(3, 10.0, is_urgent=True)
    assert fence.due == math.inf
    assert fence.confirm(1, written=3)
    assert fence.may_ask(3, 10.0, is_urgent=False)


def test_a_ping_for_another_reason_is_a_question_too(fence: Fence) -> None:
    fence.may_ask(1, 10.0, is_urgent=False)
    fence.asked(1)
    assert fence.due == math.inf


def test_whoever_waited_for_what_is_confirmed_waits_no_longer(fence: Fence) -> None:
    fence.want(2)
    fence.asked(2)
    assert fence.confirm(2, written=3)
    assert not fence.may_ask(3, 10.0, is_urgent=False)
    assert fence.due == 10.2


@pytest.mark.parametrize(("position", "is_news"), [(1, False), (2, False), (3, True), (5, True)])
def test_only_what_can_be_and_is_news_confirms(
    fence: Fence, position: int, *, is_news: bool
) -> None:
    assert fence.confirm(2, written=5)
    assert fence.confirm(position, written=5) is is_news
    assert fence.confirmed == (position if is_news else 2)


def test_what_was_never_written_is_not_confirmed(fence: Fence) -> None:
    assert not fence.confirm(6, written=5)
    assert not fence.confirm(0, written=5)
    assert fence.confirmed == 0


def test_everything_begins_anew_with_a_link(fence: Fence) -> None:
    fence.want(7)
    fence.asked(7)
    fence.confirm(7, written=7)
    fence.may_ask(9, 1.0, is_urgent=False)
    fence.start()
    assert (fence.confirmed, fence.due) == (0, math.inf)
    assert not fence.may_ask(1, 10.0, is_urgent=False)
    assert fence.due == 10.2
