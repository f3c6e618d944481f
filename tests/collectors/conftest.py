"""Fixtures of the collectors' tests."""

from host_trees import fake_host
from running_loops import clock, loops

__all__ = ["clock", "fake_host", "loops"]
