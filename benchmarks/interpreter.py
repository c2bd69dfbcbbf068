"""Whether an interpreter is an optimised build; as a program, of the interpreter that runs it."""

from __future__ import annotations

import platform
import sys
import sysconfig


def optimisation() -> str | None:
    """How this interpreter was optimised by profile (PGO), or `None` if it was not."""
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        return "PGO, as CONFIG_ARGS says"
    if sys.base_prefix == "/usr" and "debian" in _distribution():
        # Debian and those after it call `make profile-opt`, which CONFIG_ARGS does not show.
        return "PGO, as Debian's packaging rules say"
    return None


def _distribution() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return f"{release.get('ID', '')} {release.get('ID_LIKE', '')}"


if __name__ == "__main__":
    print(optimisation() or "no PGO")
    sys.exit(optimisation() is None)
