"""What doctor says of agentgauge itself in a running program: its faults, its losses and what it costs."""

from __future__ import annotations

import time

import pytest

from agentgauge.collectors.host import HostCollector
from agentgauge.errors import contain_internal_errors


def test_a_contained_fault_fails_with_the_hook_in_which_it_happened(visit):
    with contain_internal_errors("price"):
        raise RuntimeError
    examined = visit()
    assert examined["internal-errors"]["status"] == "fail"
    assert examined["internal-errors"]["evidence"] == 'agentgauge_internal_errors_total{hook="price"} = 1'
    assert examined.code == 1


def test_a_fault_that_may_be_the_programs_own_is_not_called_agentgauges(visit):
    with contain_internal_errors("alert_handler"):
        raise RuntimeError
    finding = visit()["internal-errors"]
    assert (finding["status"], finding["title"]) == ("fail", "agentgauge contained faults")
    assert "Of alert_handler: correct what the program did or gave there" in finding["fix"]
    assert "report it" not in finding["fix"]
    with contain_internal_errors("price"):
        raise RuntimeError
    assert visit()["internal-errors"]["fix"].endswith("Of any other hook: please report it.")


@pytest.mark.parametrize(
    ("hook", "is_of_program"), [("collector_queue", True), ("collector_host", False), ("collector_unique_memory", False)]
)
def test_a_collector_that_the_program_added_is_the_programs(visit, hook, is_of_program):
    with contain_internal_errors(hook):
        raise RuntimeError
    assert (f"Of {hook}: correct what" in visit()["internal-errors"]["fix"]) is is_of_program


def test_a_program_that_recorded_nothing_is_told_what_records(visit):
    finding = visit()["dropped-events"]
    assert (finding["status"], finding["title"]) == ("unknown", "No call was recorded yet")
    assert "@task" in finding["fix"]


def test_a_dropped_call_fails(visit, fresh):
    fresh.recorder.dropped += 1
    examined = visit()
    assert examined["dropped-events"]["status"] == "fail"
    assert examined["dropped-events"]["evidence"].startswith("agentgauge_events_dropped_total = 1 of 1, ")


def page_of_overhead(own, whole, started):
    return f"""# TYPE agentgauge_overhead_seconds_total counter
agentgauge_overhead_seconds_total{{part="exposition"}} {own}
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total {whole}
# TYPE process_start_time_seconds gauge
process_start_time_seconds {started}
""".encode()


@pytest.mark.parametrize(
    ("own", "lived", "status", "title"),
    [
        (1, 1_000, "ok", "agentgauge takes less than 1% of one core"),
        (1, 50, "warn", "agentgauge takes 5% or more of the CPU time"),
        (1, -1_000, "warn", "agentgauge takes 5% or more of the CPU time"),  # the clocks of two machines
        (0.1, 5, "ok", "agentgauge takes less than 5% of the CPU time"),
    ],
)
def test_a_program_that_hardly_does_more_than_answer_scrapes_is_not_warned_of(doctor, answering, own, lived, status, title):
    page = page_of_overhead(own, 4, time.time() - lived)
    url = answering(lambda _path, _headers: (200, {"Content-Type": "text/plain"}, page))
    finding = doctor("--url", f"{url}/metrics")["overhead"]
    assert (finding["status"], finding["title"]) == (status, title)


def test_an_overhead_of_five_percent_is_warned_of(visit, fresh):
    fresh.recorder.note_overhead("spans", 1e6)
    finding = visit()["overhead"]
    assert finding["status"] == "warn"
    assert finding["fix"].startswith("Most of it is 'spans'.")


def test_an_overhead_that_cannot_be_compared_is_unknown_and_not_fine(visit):
    finding = visit(collectors=("host",))["overhead"]
    assert finding["status"] == "unknown"
    assert "collectors=('host', 'process', 'container')" in finding["fix"]


def test_a_scrape_that_took_a_second_is_warned_of(doctor, answering):
    page = b"# TYPE agentgauge_scrape_duration_seconds gauge\nagentgauge_scrape_duration_seconds 1.5\n"
    url = answering(lambda _path, _headers: (200, {"Content-Type": "text/plain"}, page))
    finding = doctor("--url", f"{url}/metrics")["scrape-duration"]
    assert finding["status"] == "warn"
    assert finding["evidence"].endswith("agentgauge_scrape_duration_seconds = 1.5")


def test_a_collector_that_fails_fails(visit, monkeypatch, caplog):
    def broken(_self):
        raise OSError

    monkeypatch.setattr(HostCollector, "collect", broken)
    finding = visit()["collectors"]
    assert finding["status"] == "fail"
    assert 'agentgauge_collector_success{collector="host"} = 0' in finding["evidence"]
