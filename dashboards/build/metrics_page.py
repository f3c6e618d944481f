"""The page docs/metrics.md: every metric family, from the catalogue."""

from __future__ import annotations

from pathlib import Path

from agentgauge.catalogue import FAMILIES, Family

__all__ = ["PATH", "build", "write"]

PATH = Path(__file__).parents[2] / "docs" / "metrics.md"

_INTRODUCTION = """\
# Metrics

Every metric family that agentgauge exports. This page is made from `src/agentgauge/catalogue` by
`python -m dashboards.build`.

A label whose value is not known, such as the agent's name outside an agent, is absent. A histogram `NAME` is exported as
`NAME_bucket`, `NAME_count` and `NAME_sum`.
"""
_SECTIONS = (
    ("Calls, by the OpenTelemetry semantic conventions for GenAI", ("gen_ai_",)),
    ("Agents and their tasks", ("agent_",)),
    (
        "Health, circuit breakers, recovery and refused load",
        ("agent_health_", "agent_circuit_breaker_", "agent_recovery_", "agent_tasks_shed_"),
    ),
    ("agentgauge itself, its targets and its limits", ("agentgauge_", "target_info")),
    ("Host", ("system_",)),
    ("Container", ("container_",)),
    ("GPU", ("hw_",)),
    ("Process", ("process_", "python_")),
)


def build() -> str:
    """Return the page as Markdown.

    Raises:
        ValueError: A family fits no section.
    """
    parts = [_INTRODUCTION]
    left = list(FAMILIES)
    for title, _ in _SECTIONS:
        chosen = [family for family in left if _section(family) == title]
        left = [family for family in left if family not in chosen]
        rows = "\n".join(_row(family) for family in chosen)
        parts.append(f"## {title}\n\n| family | type | labels | meaning |\n|---|---|---|---|\n{rows}\n")
    if left:
        raise ValueError(f"no section of metrics.md has a place for {', '.join(family.name for family in left)}")
    buckets = "\n".join(
        f"- `{family.name}`: {', '.join(f'{bound:g}' for bound in family.buckets)} {family.unit}"
        for family in FAMILIES
        if family.buckets
    )
    parts.append(f"## Buckets\n\n{buckets}\n")
    return "\n".join(parts)


def write() -> Path:
    """Write the page to the file that is committed, and return its path."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(build(), encoding="utf-8")
    return PATH


def _section(family: Family) -> str:
    """Return the title of the section whose prefix says most of the family's name; an empty text where none fits."""
    fitting = {prefix: title for title, prefixes in _SECTIONS for prefix in prefixes if family.name.startswith(prefix)}
    return fitting[max(fitting, key=len)] if fitting else ""


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels) or "-"
    return f"| `{family.name}` | {family.kind.value} | {labels} | {family.help.replace('|', '&#124;')} |"
