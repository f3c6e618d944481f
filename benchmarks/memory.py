"""What a child of a histogram keeps in memory, the series that come with it and all that is cached for pages included.

Run as a script, with ``ours`` or ``theirs``, it prints the bytes a child, as tracemalloc counts them.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from typing import TYPE_CHECKING

from fresh import run_fresh
from mirror import Children, Mirror
from rows import Row, Suite
from scrape import page_writers

if TYPE_CHECKING:
    from collections.abc import Collection

    from rows import Effort

__all__ = ["SUITES"]

_NAME = "memory a child"
_CHILDREN = 1_500


def _bytes_a_child(whose: str) -> float:
    children = Children(_CHILDREN)
    names, children.names = children.names, children.names[:1]
    children.touch()  # what is made once
    mirror = Mirror([])
    for write in page_writers(children, mirror).values():
        write()
    children.names = names
    families = []
    if whose == "theirs":
        children.touch()
        families = [family for family in children.registry.collect() if family.samples]
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    if whose == "ours":
        children.touch()
    else:
        mirror = Mirror(families)
        mirror.touch()
    for name, write in page_writers(children, mirror).items():
        if name.endswith(whose):
            write()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    return (after - before) / children.count


def _measure(_names: Collection[str], _effort: Effort) -> list[Row]:
    ours, theirs = run_fresh("memory.py", "ours"), run_fresh("memory.py", "theirs")
    return [Row(_NAME, ours / theirs, ours, theirs, "B", "prometheus_client")]


SUITES = (Suite((_NAME,), _measure),)

if __name__ == "__main__":
    print(json.dumps(_bytes_a_child(sys.argv[1])))
