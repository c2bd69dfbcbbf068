"""The newest value of each key: older ones are dropped, so it never goes back."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.errors import UsageError
from statews.protocol.sync import Delivery, Latest

from .sync_streams import Client, Fields, read, text


def version_of(fields: Fields) -> int | float | str | None:
    return fields.get("v")  # type: ignore[return-value]


def key_of(fields: Fields) -> str | int | None:
    return fields.get("k")  # type: ignore[return-value]


def versioned(**arguments: object) -> Client:
    return Client(Latest("?", version=version_of, parse=read, **arguments))  # type: ignore[arg-type]


def keyed(**arguments: object) -> Client:
    return versioned(key=key_of, **arguments)


def epoch_of(fields: Fields) -> str | int | None:
    return fields.get("e")  # type: ignore[return-value]


def in_epochs(**arguments: object) -> Client:
    return keyed(epoch=epoch_of, **arguments)


def v(*versions: float | str, **fields: object) -> list[str]:
    return [text(v=version, **fields) for version in versions]


def versions(client: Client) -> list[object]:
    return client.outputs(version_of)


def test_the_request_is_sent_with_each_link() -> None:
    for request in ("?", lambda: "?"):
        client = Client(Latest(request))
        client.begin()
        client.end()
        client.begin()
        assert client.asked == ["?", "?"]


def test_without_a_request_nothing_is_sent() -> None:
    client = Client(Latest(None))
    client.begin()
    assert client.asked == []


@pytest.mark.parametrize(
    ("request_made", "problem"),
    [
        (lambda: 1, "request must give str or bytes, got 1"),
        (lambda: 1 / 0, "request raised ZeroDivisionError('division by zero')"),
    ],
)
def test_a_request_that_cannot_be_made_is_noted(request_made: object, problem: str) -> None:
    client = Client(Latest(request_made))  # type: ignore[arg-type]
    client.begin()
    client.begin()
    assert client.asked == []
    assert client.strategy.problems == [problem]


def test_a_version_that_is_not_newer_is_dropped() -> None:
    client = versioned()
    assert client.take(*v(2, 1, 2, 3, 2.5, 3.5)) == [True] * 6
    assert versions(client) == [2, 3, 3.5]


def test_versions_may_be_texts() -> None:
    client = versioned()
    client.take(*v("b", "a", "c"))
    assert versions(client) == ["b", "c"]


def test_each_key_has_versions_of_its_own() -> None:
    client = keyed()
    client.take(*v(2, k="a"), *v(1, k="b"), *v(1, k="a"))
    assert versions(client) == [2, 1]


def test_without_a_version_every_message_is_delivered() -> None:
    client = Client(Latest("?", parse=read))
    client.take(*v(2, 1, 1))
    assert versions(client) == [2, 1, 1]
    client.handle()
    assert client.strategy.position == []


def test_a_newer_value_replaces_one_of_its_key_that_is_not_delivered() -> None:
    client = keyed(name="prices")
    client.take(*v(1, 2, k="a"), *v(1, k="b"))
    assert [x.replaces for x in client.out if isinstance(x, Delivery)] == [
        ("prices", "a"), ("prices", "a"), ("prices", "b"),
    ]  # fmt: skip


def test_what_was_released_stays_so_on_a_new_link() -> None:
    client = versioned()
    client.take(*v(2))
    client.end()
    client.begin()
    client.take(*v(1, 2, 3))
    assert versions(client) == [2, 3]


def test_requests_that_were_not_sent_are_not_for_the_next_link() -> None:
    client = versioned()
    client.strategy.begin(0)
    client.end()
    assert client.asked == []


def test_nothing_is_ever_due() -> None:
    client = versioned()
    client.begin()
    assert client.strategy.deadline == math.inf
    client.strategy.expire(1e9)
    client.wait()
    assert client.out == []


def test_of_too_many_keys_the_one_that_changed_longest_ago_is_forgotten() -> None:
    client = keyed(keys=2)
    client.take(*v(1, k="a"), *v(1, k="b"), *v(2, k="a"), *v(1, k="c"))
    client.out.clear()
    client.take(*v(1, k="a"), *v(1, k="b"))
    assert versions(client) == [1]


def test_the_position_is_what_was_handled() -> None:
    client = keyed()
    client.take(*v(1, k="a"), *v("x", k=2))
    assert client.strategy.position == []
    client.handle()
    client.take(*v(2, k="a"))
    client.strategy.handled("no mark")
    assert client.strategy.position == [["a", 1], [2, "x"]]


def test_a_new_process_goes_on_after_what_was_handled() -> None:
    client = keyed()
    client.strategy.restore(json.loads('[["a", 5], [2, "x"]]'))
    client.take(*v(5, 6, k="a"), *v("x", "y", k=2))
    assert versions(client) == [6, "y"]


def test_a_stream_without_keys_has_a_position_too() -> None:
    client = versioned()
    client.strategy.restore([[None, 5]])
    assert client.strategy.position == [[None, 5]]
    client.take(*v(5))
    assert client.out == []


@pytest.mark.parametrize(
    "position",
    [
        None,
        {},
        [1],
        [[1]],
        [["k", None]],
        [["k", [1]]],
        [[1.5, 1]],
        [["k", math.nan]],
        [["k", 1, 1.5]],
        [["k", 1, 1, 1]],
    ],
)
def test_a_wrong_position_is_refused(position: object) -> None:
    client = versioned()
    with pytest.raises(UsageError, match="a position of 'latest' must be a list of pairs"):
        client.strategy.restore(position)
    assert client.strategy.position == []


# Versions that start over.


def test_versions_are_compared_within_an_epoch_and_another_epoch_is_newer() -> None:
    client = in_epochs()
    client.take(*v(5, 4, k="a", e=1), *v(1, 1, 2, k="a", e=2), *v(4, k="b", e=1))
    assert versions(client) == [5, 1, 2, 4]


def test_another_epoch_may_have_versions_of_another_kind() -> None:
    client = in_epochs()
    assert client.take(*v(5, k="a", e="x"), *v("b", "a", "c", k="a", e="y")) == [True] * 4
    assert versions(client) == [5, "b", "c"]
    assert client.strategy.problems == []


def test_a_message_without_an_epoch_is_somebody_elses() -> None:
    client = in_epochs()
    assert client.take(*v(1, k="a"), *v(1, k="a", e=[])) == [False, False]
    assert client.strategy.problems == ["epoch must give str or int or None, got []"]


def test_the_position_keeps_the_epoch() -> None:
    client = in_epochs()
    client.take(*v(5, k="a", e=1), *v(1, k="a", e=2), *v(3, k="b", e=1))
    client.handle()
    position = json.loads(json.dumps(client.strategy.position))
    assert position == [["a", 1, 2], ["b", 3, 1]]
    client = in_epochs()
    client.strategy.restore(position)
    assert client.strategy.position == position
    client.take(*v(1, 2, k="a", e=2), *v(1, k="b", e=2))
    assert versions(client) == [2, 1]


def test_a_wrong_position_is_told_what_it_lacks() -> None:
    with pytest.raises(UsageError, match="must be a list of keys, versions and epochs, three by"):
        in_epochs().strategy.restore([["a", 1, 1.5]])


def test_a_position_without_an_epoch_is_older_than_any() -> None:
    client = in_epochs()
    client.strategy.restore([["a", 5]])
    client.take(*v(1, 1, 2, k="a", e=1))
    assert versions(client) == [1, 2]


def test_a_position_with_an_epoch_that_nobody_asks_for_any_more_is_of_another() -> None:
    client = keyed()
    client.strategy.restore([["a", 5, 1]])
    client.take(*v(1, 1, k="a"))
    assert versions(client) == [1]
    client.handle()
    client.take(*v(2, k="a"))
    client.handle()
    assert client.strategy.position == [["a", 2]]


def test_a_message_without_version_or_key_is_somebody_elses() -> None:
    client = keyed()
    assert client.take(text(x=1), *v(1), text(k="a"), "{") == [False] * 4
    assert len(client.strategy.problems) == 1


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"k": 1, "v": True}, "version must give a finite number or str or None, got True"),
        ({"k": 1, "v": math.nan}, "version must give a finite number or str or None, got nan"),
        ({"k": 1.5, "v": 1}, "key must give str or int or None, got 1.5"),
    ],
)
def test_an_unfit_value_is_noted_once(fields: Fields, problem: str) -> None:
    client = keyed()
    assert client.take(text(**fields), text(**fields)) == [False, False]
    assert client.strategy.problems == [problem]


def test_versions_that_cannot_be_compared_are_noted() -> None:
    client = keyed()
    client.take(*v(1, k="a"), *v("x", k="b"))
    assert client.take(*v("x", k="a"), *v(1, k="b")) == [False, False]
    assert client.strategy.problems == ["version must give one kind of value per key, got 'x'"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"request": 1}, "Latest.request must be a message, a callable that makes one, or None"),
        ({"version": 1}, "Latest.version must be callable, or None for none, got 1"),
        ({"epoch": 1}, "Latest.epoch must be callable, or None for none, got 1"),
        ({"key": 1}, "Latest.key must be callable, or None for none, got 1"),
        ({"keys": 0}, "Latest.keys must be a whole number of 1 or more, got 0"),
        ({"parse": None}, "Latest.parse must be callable, got None"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        Latest(**{"request": None, **arguments})  # type: ignore[arg-type]


class World:
    """A server's newest versions, and an application that looks at every one it gets."""

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        self.shown: dict[object, int] = {}
        self.inbox: list[Delivery] = []
        self.client = keyed()

    def publish(self, key: str, version: int) -> None:
        self.newest[key] = max(version, self.newest.get(key, 0))
        self.client.take(*v(version, k=key))

    def snapshot(self) -> None:
        for key, version in self.newest.items():
            self.client.take(*v(version, k=key))

    def link(self) -> None:
        self.client.end()
        self.client.begin()

    def handle(self) -> None:
        for delivery in self.inbox:
            self.client.strategy.handled(delivery.mark)
        self.inbox.clear()

    def restart(self) -> None:
        position = self.client.strategy.position
        self.client = keyed()
        self.client.strategy.restore(json.loads(json.dumps(position)))
        self.inbox.clear()
        self.shown = dict(position)  # type: ignore[call-overload]

    def look(self) -> None:
        for output in self.client.out:
            assert isinstance(output, Delivery)
            fields = read(output.message)
            version = fields["v"]
            assert isinstance(version, int)
            assert version > self.shown.get(fields["k"], -1)
            self.shown[fields["k"]] = version
            self.inbox.append(output)
        self.client.out.clear()


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 20))
        | st.sampled_from(["link", "snapshot", "handle", "restart"])
    )
)
def test_it_ends_at_the_newest_version_and_never_goes_back(
    steps: list[str | tuple[str, int]],
) -> None:
    world = World()
    for step in [*steps, "snapshot"]:
        if isinstance(step, str):
            getattr(world, step)()
        else:
            world.publish(*step)
        world.look()
    assert world.shown == world.newest
