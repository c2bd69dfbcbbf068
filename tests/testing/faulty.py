"""Any fault there is, and what a network has of them."""

from __future__ import annotations

from hypothesis import strategies as st

from statews.testing.faults import Faults, Way
from statews.testing.grammar import KINDS, Fault, Takes

__all__ = ["ENDING", "changes", "faults", "state"]

ENDING = [name for name, kind in KINDS.items() if kind.may_end]


def values(takes: Takes) -> st.SearchStrategy[float]:
    least, most = takes.bounds
    if takes is Takes.NOTHING:
        return st.just(0.0)
    if takes.is_whole:
        return st.integers(int(least), int(most)).map(float)
    return st.floats(least, most)


@st.composite
def faults(draw: st.DrawFn, *, names: list[str] | None = None) -> Fault:
    name = draw(st.sampled_from(names or list(KINDS)))
    way = draw(st.sampled_from(Way)) if KINDS[name].has_way else Way.BOTH
    return Fault(name=name, value=draw(values(KINDS[name].takes)), way=way)


def state(network: Faults) -> dict[str, object]:
    """All that is set."""
    found: dict[str, object] = {"entry": network.entry, "share": network.drop_share}
    for line, way in ((network.up, "up"), (network.down, "down")):
        for name in ("latency", "jitter", "loss", "bandwidth", "cut"):
            found[f"{name}@{way}"] = getattr(line, name)
        found[f"freeze@{way}"] = line.is_frozen
    return found


def changes(network: Faults) -> dict[str, object]:
    """What is not as in a good network."""
    good = state(Faults())
    return {name: value for name, value in state(network).items() if value != good[name]}
