"""An address that is taken arrives in the alerts letter for letter, whatever YAML makes of its characters."""

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from agentgauge.errors import ConfigurationError
from agentgauge.export.addresses import checked_url, with_addresses

RULES = """\
annotations:
  runbook_url: https://github.com/agentgauge/agentgauge/blob/main/docs/runbooks/AgentgaugeX.md
  dashboard_url: >-
    /d/agentgauge-x?a=b
  other: 1
"""
PARTS = [*":/?#&%@!$*()+,;=~.-_[]{}|<>^`'\"\\ \n\t", "{alert}", "a", "9", "\u00e9", "--- ", ": ", " #", "\0"]


@given(st.lists(st.sampled_from(PARTS), max_size=8).map("".join), st.booleans())
@example("{alert}:", True)
@example(":", True)
@example("a#{alert}", True)
@example("?q={alert}&r=", True)
@example("{alert}: a", True)
def test_an_address_is_refused_or_arrives(rest, is_runbook):
    address = f"https://h.example/{rest}"
    try:
        assert checked_url("--x", address, "https://example.com", may_name_alert=is_runbook) == address
    except ConfigurationError:
        return
    annotations = yaml.safe_load(with_addresses(RULES, *((address, None) if is_runbook else (None, address))))["annotations"]
    if is_runbook:
        whole = address if "{alert}" in address else f"{address.rstrip('/')}/{{alert}}.md"
        assert annotations["runbook_url"] == whole.replace("{alert}", "AgentgaugeX")
    else:
        assert annotations["dashboard_url"] == f"{address.rstrip('/')}/d/agentgauge-x?a=b"
    assert annotations["other"] == 1


@pytest.mark.parametrize(
    "address",
    [
        *(
            "https://wiki/@team/{alert}",
            "https://wiki/page#{alert}",
            "https://wiki/?page={alert}",
            "https://{alert}.example.com/",
        ),
        *("http://[::1]:3000/grafana", "https://example.com:8443", "http://localhost/(a),b;c=d"),
    ],
)
def test_an_address_such_as_people_have_is_taken(address):
    assert checked_url("--x", address, "https://example.com", may_name_alert=True) == address
