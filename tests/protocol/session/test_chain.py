"""The check value of what was sent: the same on both sides, another for any other history."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.protocol.plain import Message
from statews.protocol.session.chain import advance, start

messages = st.text(st.characters(exclude_categories=["Cs"])) | st.binary()
chains = st.integers(0, 2**32 - 1)


def after(chain: int, message: Message) -> int:
    """One step, as the protocol's page has it."""
    is_text = isinstance(message, str)
    payload = message.encode() if isinstance(message, str) else message
    return (chain * 1000003 + crc32((b"\x01" if is_text else b"\x02") + payload)) % 2**32


@pytest.mark.parametrize("sid", ["", "c2Vzc2lvbg", "another"])
def test_a_session_starts_from_its_id(sid: str) -> None:
    assert start(sid) == crc32(sid.encode())


@given(chain=chains, sent=st.lists(messages))
def test_each_message_advances_it_as_the_protocol_says(chain: int, sent: list[Message]) -> None:
    wanted = before = chain
    for message in sent:
        wanted = after(wanted, message)
        chain = advance(chain, [message])
    assert chain == wanted
    assert advance(before, sent) == wanted
    assert 0 <= wanted < 2**32


def test_these_values_are_the_same_everywhere() -> None:
    assert start("abc") == 0x352441C2
    assert advance(0, ["a"]) == 0x62777270
    assert advance(0, [b"a"]) == 0x495A21B3
    assert advance(start("abc"), ["a", b"a", "é"]) == 0xF3916BA3


@given(chain=chains, message=st.text(st.characters(exclude_categories=["Cs"])))
def test_text_and_its_bytes_are_not_the_same_message(chain: int, message: str) -> None:
    assert advance(chain, [message]) != advance(chain, [message.encode()])


@given(chain=chains, other=chains, message=messages)
def test_what_has_parted_does_not_meet_again(chain: int, other: int, message: Message) -> None:
    is_same = advance(chain, [message]) == advance(other, [message])
    assert is_same == (chain == other)
