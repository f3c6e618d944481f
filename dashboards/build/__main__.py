"""Rebuild everything that is generated from the catalogue and the panels: ``python -m dashboards.build``."""

from __future__ import annotations

from dashboards.build import metrics_page
from dashboards.build.board import DIRECTORY
from dashboards.build.boards import BOARDS

written = [board.write() for board in BOARDS]
for stale in set(DIRECTORY.glob("*.json")) - set(written):
    stale.unlink()
    print(f"removed {stale.name}")
for path in (*written, metrics_page.write()):
    print(f"wrote {path.name}")
