"""Hypothesis, without a deadline for each example: this machine has other work as well."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("statews", deadline=None)
settings.load_profile("statews")
