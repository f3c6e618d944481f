"""Numbers drawn by a generator of our own: a program that has seeded ``random`` goes on as it would without us."""

from __future__ import annotations

import os
import random

__all__ = ["CHANCE"]

CHANCE = random.Random()  # noqa: S311 - waits, samples and ids that must differ, no secrets
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=CHANCE.seed)  # or the child would draw the ids of its parent
