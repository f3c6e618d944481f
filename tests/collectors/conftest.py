"""Fixtures of the collectors' tests."""

from host_trees import fake_host

__all__ = ["fake_host"]
