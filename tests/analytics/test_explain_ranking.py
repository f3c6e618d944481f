"""Which of what moved is a cause, and what is told as one finding with it."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from agentgauge.analytics.explain import Role, effects, moves, ranking, structure, wording
from agentgauge.analytics.explain.effects import FELT, effects_of
from agentgauge.analytics.explain.moves import Move, Moved
from agentgauge.analytics.explain.ranking import Ranked, is_near, ranked
from agentgauge.analytics.explain.together import told_once
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.signals import Signal

STEP, COUNT = 30.0, 60
BY_NAME = {measure.name: measure for measure in MEASURES}
AGENT = {"gen_ai_agent_name": "researcher", "agent_task": "search"}
MODEL = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "big"}
HOST = {"job": "swarm", "instance": "a:9464"}


def made(name, labels, onset, sign=1, until=STEP * COUNT, deviations=8.0):
    """Return a signal that moved by so many deviations to a level at which whatever it is counts."""
    signal = Signal(BY_NAME[name], labels, Grid(STEP, STEP, COUNT), array("d", [1.0] * COUNT))
    move = Move(round(onset / STEP), round(until / STEP), 0.1, 0.99, sign * 1.0, sign * deviations, 0, 1e-9)
    return Moved(signal, move, onset, until, STEP * (1 + 4 / deviations), 0.0, 1e-7)


def told(moved, *, are_linked=True):
    found = ranked(moved, lambda *_: are_linked, lambda _: 0)
    return {(one.moved.signal.measure.name, one.role.value, one.cause and one.cause.signal.measure.name) for one in found}


def test_a_task_that_seems_to_have_begun_before_its_model_is_a_symptom_of_it_and_no_second_cause():
    """The onset of neither is known to the second."""
    for early in (0, 60, 120):
        assert told([made("task_duration_p95", AGENT, 600 - early), made("lm_duration_p95", MODEL, 600)]) == {
            ("lm_duration_p95", "cause", None),
            ("task_duration_p95", "symptom", "lm_duration_p95"),
        }


def test_what_clearly_begins_later_than_what_people_feel_is_no_cause_of_it():
    """Of two that leap, onsets are known to a step."""
    for early, cause in ((30, "lm_duration_p95"), (90, "task_duration_p95")):
        slow, model = (
            made("task_duration_p95", AGENT, 600 - early, deviations=200),
            made("lm_duration_p95", MODEL, 600, deviations=200),
        )
        assert {name for name, role, _ in told([slow, model]) if role == "cause"} == {cause}


def test_what_is_over_while_people_feel_it_for_long_is_no_cause_but_of_the_backlog_that_it_made():
    for until, is_cause in ((1800, True), (1300, True), (1100, False)):
        found = told([made("host_cpu", HOST, 600, until=until), made("task_duration_p95", AGENT, 600, until=1800)])
        assert (("host_cpu", "cause", None) in found) is is_cause
    queue = made("queue_wait_p95", {"gen_ai_agent_name": "researcher", "queue": "plans"}, 660, until=1800)
    assert ("queue_wait_p95", "symptom", "host_cpu") in told([made("host_cpu", HOST, 600, until=1100), queue])


def test_a_task_that_was_slow_long_before_its_model_is_a_cause_of_its_own():
    causes = {
        (name, role)
        for name, role, _ in told(
            [made("task_duration_p95", AGENT, 300), made("task_error_ratio", AGENT, 1200), made("lm_error_ratio", MODEL, 1200)]
        )
    }
    assert causes == {("task_duration_p95", "cause"), ("task_error_ratio", "symptom"), ("lm_error_ratio", "cause")}


def test_what_people_feel_long_after_a_cause_that_still_lasts_is_a_symptom_but_not_once_that_is_over():
    queue = made("queue_wait_p95", {"gen_ai_agent_name": "researcher", "queue": "plans"}, 1700)
    slow = made("task_duration_p95", AGENT, 300)
    lasting, over = (made("host_cpu", HOST, 300, until=until) for until in (1800, 600))
    assert ("queue_wait_p95", "symptom", "host_cpu") in told([queue, slow, lasting])
    assert ("queue_wait_p95", "cause", None) in told([queue, slow, over])


def test_one_agent_under_several_measures_is_one_cause():
    moved = [
        made("task_duration_p95", AGENT, 600),
        made("task_duration_mean", AGENT, 630),
        made("task_error_ratio", AGENT, 570),
        made("cost_rate", {"gen_ai_agent_name": "researcher", "gen_ai_request_model": "big"}, 540),
    ]
    found = ranked(moved, lambda *_: True, lambda _: 0)
    (one,) = told_once((one, {}) for one in found if one.role is Role.CAUSE)
    parts = {part.moved.signal.measure.name for part in one.parts}
    explained = {moved.signal.measure.name for moved in one.explains}
    assert parts | explained | {one.cause.moved.signal.measure.name} == {each.signal.measure.name for each in moved}
    assert one.weight == 4.0


def test_of_measures_that_move_one_another_one_is_the_cause_and_what_people_feel_follows_from_it():
    steps, repeats = made("run_steps_mean", AGENT, 600), made("repeated_tool_call_rate", AGENT, 570)
    assert told([steps, repeats, made("task_duration_p95", AGENT, 660)]) == {
        ("run_steps_mean", "cause", None),
        ("repeated_tool_call_rate", "symptom", "run_steps_mean"),
        ("task_duration_p95", "symptom", "run_steps_mean"),
    }


def test_what_seems_to_have_begun_before_the_beginning_of_its_chain_belongs_to_it():
    """Each began within the slack of the one before it, the last not within that of the first."""
    chain = [made("host_cpu", HOST, 600), made("event_loop_lag_p95", HOST, 540), made("task_error_ratio", AGENT, 480)]
    assert told(chain) == {
        ("host_cpu", "cause", None),
        ("event_loop_lag_p95", "symptom", "host_cpu"),
        ("task_error_ratio", "symptom", "host_cpu"),
    }


NAMES = sorted({"process_threads", *(name for (name, _) in FELT), *(name for name in effects.LAYERS)})
some = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from([1, -1]), st.integers(8, 50)), max_size=10, unique_by=lambda one: one[:2]
)


@given(some, st.integers(0, 2**16))
def test_all_that_people_feel_has_a_cause_every_symptom_has_one_and_no_two_explain_each_other(drawn, links):
    moved = [made(name, {"number": str(number)}, at * STEP, sign) for number, (name, sign, at) in enumerate(drawn)]

    def is_linked(one, other):
        return not links >> ((int(one.labels["number"]) * 3 + int(other.labels["number"])) % 16) & 1

    def can_move(one, other):
        kind = (other.signal.measure.name, other.sign)
        return kind in effects_of(one.signal.measure.name, one.sign) and is_linked(one.signal, other.signal)

    found = ranked(moved, is_linked, lambda _: 0)
    assert {id(one.moved) for one in found} == set(map(id, moved))
    causes = [one.moved for one in found if one.role is Role.CAUSE]
    felt = [one for one in found if (one.moved.signal.measure.name, one.moved.sign) in FELT]
    assert all(one.role is not Role.BYSTANDER for one in felt)
    assert bool(causes) == bool(felt)
    for one in found:
        assert (one.cause is not None) == (one.role is Role.SYMPTOM)
        assert one.cause is None or one.cause in causes
    for one in causes:
        for other in causes:
            assert one is other or not (is_near(one, other) and can_move(one, other) and can_move(other, one))


# --- one finding ----------------------------------------------------------------------------------------------------------


def as_cause(moved, *explains, weight=1.0):
    return Ranked(moved, Role.CAUSE, weight, explains, None)


def test_causes_of_one_instance_one_subject_or_one_measure_in_several_instances_are_one_finding():
    others = {**HOST, "instance": "b:9464"}
    slow = made("task_duration_p95", AGENT, 660)
    tool = {"gen_ai_tool_name": "search"}
    for one, its_place, other, place in (
        (made("lm_duration_p95", MODEL, 600), HOST, made("tool_duration_p95", tool, 630), HOST),
        (made("lm_duration_p95", MODEL, 600), {}, made("lm_error_ratio", MODEL, 570), {}),
        (made("process_memory", HOST, 600), HOST, made("process_memory", others, 630), others),
    ):
        (found,) = told_once([(as_cause(other, slow, weight=2.0), place), (as_cause(one, slow, weight=3.0), its_place)])
        assert found.cause.moved is one
        assert found.where == its_place
        assert [part.moved for part in found.parts] == [other]
        assert found.explains == (slow,)
        assert found.weight == 3.0, "what both explain counts once"


def test_causes_that_began_at_other_times_or_have_nothing_in_common_are_findings_of_their_own():
    tool = {"gen_ai_tool_name": "search"}
    for one, its_place, other, place in (
        (made("lm_duration_p95", MODEL, 600), HOST, made("tool_duration_p95", tool, 1200), HOST),
        (made("lm_duration_p95", MODEL, 600), {}, made("lm_error_ratio", MODEL, 1200), {}),
        (made("lm_duration_p95", MODEL, 600), {}, made("tool_duration_p95", tool, 600), {}),
        (made("process_memory", HOST, 600), HOST, made("process_memory", {**HOST, "instance": "b:9464"}, 1200), {}),
    ):
        assert len(told_once([(as_cause(one), its_place), (as_cause(other), place)])) == 2


def test_every_measure_that_explaining_knows_by_name_is_there():
    known = {name for name, _ in effects._TABLE} | {name for moved in effects._TABLE.values() for name, _ in moved}
    known |= {name for name, _ in FELT} | set(effects.LAYERS) | set(effects.LEAST_LEVEL)
    known |= set(moves._LEAST_ABSOLUTE) | set(wording._ADVICE) | set(structure._LOAD) | set(ranking._CREEPING)
    assert known <= BY_NAME.keys()
    assert set(moves._LEAST_RELATIVE) <= {measure.unit for measure in MEASURES}
