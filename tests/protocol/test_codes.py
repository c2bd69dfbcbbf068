"""Which close codes may come, and what a close frame says."""

from __future__ import annotations

import pytest

from statews.errors import FrameError
from statews.protocol.codes import MAY_BE_SENT, CloseCode, Opcode, parse_close


def test_a_close_frame_without_a_payload_has_no_status() -> None:
    assert parse_close(b"") == (1005, "")


@pytest.mark.parametrize("reason", ["", "bye", "tschüß", "x" * 123])
def test_a_close_frame_has_a_code_and_a_reason(reason: str) -> None:
    assert parse_close(b"\x03\xe9" + reason.encode()) == (1001, reason)


def test_exactly_the_codes_of_the_registry_and_the_free_ones_may_come() -> None:
    def may_come(code: int) -> bool:
        try:
            parse_close(code.to_bytes(2, "big"))
        except FrameError as error:
            assert error.close_code == CloseCode.PROTOCOL_ERROR  # noqa: PT017 - all 65,536
            return False
        return True

    registered = {1000, 1001, 1002, 1003, *range(1007, 1015)}
    assert {code for code in range(1 << 16) if may_come(code)} == {*registered, *range(3000, 5000)}


@pytest.mark.parametrize(
    ("payload", "code", "match"),
    [
        (b"\x03", 1002, "half a close code"),
        (b"\x03\xed", 1002, "close code 1005, which must not be sent"),
        (b"\x00\x00", 1002, "close code 0,"),
        (b"\x03\xe8\xff", 1007, "reason that is not UTF-8"),
        (b"\x03\xe8" + "é".encode()[:1], 1007, "reason that is not UTF-8"),
    ],
)
def test_a_wrong_close_frame_is_refused(payload: bytes, code: int, match: str) -> None:
    with pytest.raises(FrameError, match=match) as caught:
        parse_close(payload)
    assert caught.value.close_code == code


def test_codes_that_only_name_what_happened_are_never_sent() -> None:
    assert not MAY_BE_SENT & {CloseCode.NO_STATUS, CloseCode.ABNORMAL, 1004, 1015}
    assert set(CloseCode) - MAY_BE_SENT == {CloseCode.NO_STATUS, CloseCode.ABNORMAL}


def test_control_opcodes_are_those_with_the_high_bit() -> None:
    controls = [opcode for opcode in Opcode if opcode & 8]
    assert controls == [Opcode.CLOSE, Opcode.PING, Opcode.PONG]
