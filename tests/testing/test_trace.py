"""What a test that failed says of what happened."""

from __future__ import annotations

from itertools import count

from statews.testing.trace import FIRST, KEPT, LAST, Trace


def trace_of(lines: int) -> Trace:
    ticks = count()
    trace = Trace(clock=lambda: next(ticks))
    for number in range(lines):
        trace.note("test", f"line {number}")
    return trace


def test_a_short_one_is_told_whole() -> None:
    trace = trace_of(FIRST + LAST)
    assert trace.excerpt() == str(trace)
    assert str(trace).splitlines()[0] == "     0.000 test       line 0"


def test_a_long_one_is_told_from_where_it_begins_to_how_it_ends() -> None:
    lines = trace_of(3 * KEPT).excerpt().splitlines()
    assert len(lines) == FIRST + 1 + LAST
    assert lines[FIRST - 1].endswith(f"line {FIRST - 1}")
    assert lines[FIRST] == f"[{3 * KEPT - FIRST - LAST} lines are left out here]"
    assert lines[FIRST + 1].endswith(f"line {3 * KEPT - LAST}")
    assert lines[-1].endswith(f"line {3 * KEPT - 1}")


def test_what_is_not_kept_counts_in_the_digest() -> None:
    assert trace_of(2 * KEPT).digest == trace_of(2 * KEPT).digest
    other = trace_of(2 * KEPT)
    other.note("test", "one more")
    assert other.digest != trace_of(2 * KEPT).digest
