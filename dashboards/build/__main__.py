"""Rebuild everything that is generated from the catalogue and the panels: ``python -m dashboards.build``."""

from __future__ import annotations

from dashboards.build import agents, metrics_page

for path in (agents.write(), metrics_page.write()):
    print(f"wrote {path.name}")
