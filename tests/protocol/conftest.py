"""Hypothesis, without a deadline for each example: this machine has other work as well.

In CI the examples are the same for the same code; elsewhere each run looks for new ones.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("statews", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("statews")
