"""The cases of the rules are about series that were captured from programs, and are captured again here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import case_files, scraped
from expressions import RULE_TESTS, RULES, RUNBOOKS, dashboard_uids, load_cases, load_rules
from mixin_checks import rule_problems
from recorded_pages import RecordedPages, write_pages
from scenarios.acts import ask
from series_notation import STALE, notation
from virtual_time import DOWN, Program

FILES = case_files()
CALLS = "gen_ai_client_operation_duration_seconds_count"


@pytest.mark.parametrize("name", FILES)
def test_the_series_of_the_cases_are_those_that_programs_show_today(name):
    file = FILES[name]
    assert file.captured() == file.path.read_text(encoding="utf-8"), f"make cases ARGS={name} writes what it shows now"


@pytest.mark.parametrize("name", FILES)
def test_every_case_has_a_scenario_or_says_why_it_cannot_have_one(name):
    cases = [test["name"] for test in load_cases(FILES[name].path)["tests"]]
    assert sorted(cases) == sorted([*FILES[name].scenarios, *FILES[name].by_hand])
    assert all(FILES[name].by_hand.values())


def test_every_file_of_cases_has_scenarios():
    assert {file.path for file in FILES.values()} == set(RULE_TESTS.glob("*.yml"))


def test_every_alert_fires_stays_silent_and_resolves_on_captured_series():
    tests = [test for file in FILES.values() for test in load_cases(file.path)["tests"] if test["name"] in file.scenarios]
    runbooks = {path.stem for path in RUNBOOKS.glob("*.md")}
    assert rule_problems(load_rules(RULES), {"tests": tests}, runbooks, dashboard_uids()) == []


def _shown(work, names, **options):
    return {
        text: notation(samples) for text, samples in scraped(Program(work, **options).pages(frozenset(names), 60), names).items()
    }


def test_a_program_that_is_down_has_no_series_and_one_that_starts_anew_counts_from_zero():
    def work(process):
        for _ in range(3):
            ask("large")
            yield
        yield DOWN
        yield DOWN
        process.restart()
        yield
        ask("large", times=7)
        yield
        yield

    labels = 'gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="large"'
    assert _shown(work, {"up", CALLS, "agent_cost_usd_total"}) == {
        "up": "1x2 0x1 1x2",
        f"{CALLS}{{{labels}}}": "1+1x2 stale _x2 7x1",
    }


def test_what_a_program_does_is_dated_by_the_minute_in_which_it_does_it():
    def work(process):
        yield
        process.clock.advance(20)
        ask("large")
        yield
        process.clock.advance(61)
        yield

    with pytest.raises(ValueError, match=r"it is 121\.0 s, and the scrape was at 120\.0 s"):
        _shown(work, {CALLS})


def test_a_fault_of_ours_is_no_part_of_a_case_unless_it_is_planted():
    def work(process):
        process.isolation.recorder.observe(None, (), 1)
        yield
        yield

    hooks = {"agentgauge_internal_errors_total"}
    with pytest.raises(AttributeError):
        _shown(work, hooks)
    assert _shown(work, hooks, has_faults=True)['agentgauge_internal_errors_total{hook="drain"}'] == "1x1"


def test_a_label_without_a_value_is_none():
    page = 'n{a="",b=""} 1\nn{a="",b="x",c=""} 1\nn{b="=\\"\\"",c=""} 1\n'
    assert list(scraped([page], frozenset({"n"}))) == ["n{}", 'n{b="x"}', 'n{b="=\\"\\""}']


def test_recorded_pages_of_a_server_are_scraped_as_a_program_is(tmp_path):
    pages = [f'# HELP up_{n} no\nfailures_total{{group="a b"}} {n}\nfailures_total_of_others 1\n' for n in range(3)]
    names = frozenset({"failures_total"})
    write_pages(tmp_path / "p.txt", pages, names)
    assert "others" not in (tmp_path / "p.txt").read_text(encoding="utf-8")
    recorded = RecordedPages(tmp_path / "p.txt", "prometheus", "p:1", "It fails.")
    assert scraped(recorded.pages(names, 60), names) == {'failures_total{group="a b"}': [0.0, 1.0, 2.0]}


NUMBERS = st.one_of(
    st.none(), st.just(STALE), st.integers(-3, 3).map(float), st.floats(allow_infinity=False), st.just(float("inf"))
)


@given(st.lists(NUMBERS, max_size=30))
def test_a_series_is_written_as_promtool_reads_it(samples):
    assert list(map(repr, _read(notation(samples)))) == list(map(repr, samples))


@given(st.integers(-5, 5), st.sampled_from([0.1, 0.25, 1.0, -3.0, 1e-7]), st.integers(4, 200))
def test_a_steady_counter_is_written_in_one_part(first, step, count):
    samples, value = [], float(first)
    for _ in range(count):
        samples.append(value)
        value += step
    if samples[1] - samples[0] == step:
        assert len(notation(samples).split()) == 1
    assert _read(notation(samples)) == samples


def _read(text):
    """Read the notation as promtool does: it adds the step again and again."""
    samples = []
    for part in text.split():
        value, _, times = part.partition("x")
        if value in {"_", STALE}:
            samples += [STALE if value == STALE else None] * int(times or 1)
            continue
        at = max(value.rfind("+"), value.rfind("-"))
        while at > 0 and value[at - 1] == "e":
            at = max(value.rfind("+", 0, at), value.rfind("-", 0, at))
        first, step = (float(value[:at]), float(value[at:])) if at > 0 else (float(value), 0.0)
        for _ in range(int(times or 0) + 1):
            samples.append(first)
            first += step
    return samples
