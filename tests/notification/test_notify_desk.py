"""The last that a destination gets is how things are, and nothing is told twice within its cooldown, whatever happens."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgauge import ConfigurationError
from agentgauge.notification import Alert, Delivery, Event, Notification, Routed
from agentgauge.notification.desk import Desk

SEVERITIES = ["info", "warning", "critical"]


def notification(event, subject="disk", severity="warning", at=0.0, **settings):
    alert = Alert(
        **{"source": "test", "subject": subject, "severity": severity, "summary": subject, "started_at": at, **settings}
    )
    return Notification(event=Event(event), alert=alert, at=at)


class Destination:
    """A desk with a clock, and what was told: (when, event, subject, severity)."""

    def __init__(self, most=100, **policy):
        self.policy = Delivery(**{"group_wait_seconds": 0, "cooldown_seconds": 0, **policy})
        self.desk = Desk(self.policy, most)
        self.now = 0.0
        self.messages = []
        self.counts = Counter()
        self.is_working = True
        self.seen = 0

    def hear(self, event, subject="disk", severity="warning", *, is_late=False, **settings):
        """Put something in, where ``is_late`` while what is due is on its way."""
        message = self.desk.take(self.now) if is_late else ()
        self.desk.put([notification(event, subject, severity, at=self.now, **settings)], self.now)
        self.seen += 1
        if message:
            self.settle(message)
        self.work()

    def settle(self, message):
        if self.is_working:
            self.messages.append((self.now, message))
            self.counts["delivered"] += len(message)
        self.desk.settle(self.now, is_delivered=self.is_working)

    def work(self):
        while message := self.desk.take(self.now):
            self.settle(message)
        self.counts.update(self.desk.tally)
        self.desk.tally.clear()

    def wait(self, seconds):
        """Let time pass, waking whenever there is something to do."""
        end = self.now + seconds
        while (wait := self.desk.seconds_until_due(self.now)) is not None and self.now + wait <= end:
            self.now += wait
            self.work()
        self.now = end

    @property
    def told(self):
        return [
            (at, str(each.event), each.alert.subject, each.alert.severity) for at, message in self.messages for each in message
        ]


def test_without_waits_everything_that_changes_is_told_at_once_and_once():
    destination = Destination()
    for event, severity in [("started", "warning"), ("started", "warning"), ("changed", "critical"), ("ended", "critical")]:
        destination.hear(event, severity=severity)
        destination.now += 1
    assert destination.told == [
        (0, "started", "disk", "warning"),
        (2, "changed", "disk", "critical"),
        (3, "ended", "disk", "critical"),
    ]
    assert destination.messages[1][1][0].previous_severity == "warning"
    assert destination.counts == Counter({"delivered": 3, "suppressed": 1})
    assert destination.desk.seconds_until_due(destination.now) is None


def test_what_starts_within_the_group_s_wait_is_one_message_for_each_group_in_the_order_in_which_it_happened():
    destination = Destination(group_wait_seconds=10, group_by=("source",))
    destination.hear("started", "b")
    destination.now = 4
    destination.hear("started", "x", source="other")
    destination.now = 9
    destination.hear("started", "a", "critical")
    destination.wait(60)
    assert [(at, [each.alert.subject for each in message]) for at, message in destination.messages] == [
        (10, ["b", "a"]),
        (14, ["x"]),
    ]


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        ((), [["a", "b", "c"]]),
        (("severity",), [["a", "c"], ["b"]]),
        (("zone",), [["a"], ["b", "c"]]),
        (["subject"], ["a", "b", "c"]),
    ],
)
def test_a_group_is_what_alerts_have_in_common_attributes_or_labels(group_by, groups):
    destination = Destination(group_wait_seconds=1, group_by=group_by)
    destination.hear("started", "a", labels={"zone": "1"})
    destination.hear("started", "b", "critical", labels={"zone": "2"})
    destination.hear("started", "c", labels={"zone": "2"})
    destination.wait(5)
    assert [[each.alert.subject for each in message] for _, message in destination.messages] == [list(group) for group in groups]


def test_an_alert_that_ends_before_its_group_s_wait_is_over_is_not_told_and_is_counted():
    destination = Destination(group_wait_seconds=10)
    destination.hear("started")
    destination.now = 5
    destination.hear("ended")
    destination.wait(60)
    assert destination.told == []
    assert destination.counts == Counter({"suppressed": 2})


def test_an_alert_that_flaps_is_told_once_in_its_cooldown_and_then_how_it_is():
    destination = Destination(cooldown_seconds=100)
    destination.hear("started")
    for _ in range(5):
        destination.wait(5)
        destination.hear("ended")
        destination.wait(5)
        destination.hear("started")
    destination.wait(500)
    assert destination.told == [
        (0, "started", "disk", "warning"),
        (5, "ended", "disk", "warning"),
        (100, "started", "disk", "warning"),
    ]
    assert destination.counts == Counter({"delivered": 3, "suppressed": 8})
    assert destination.counts.total() == destination.seen


def test_one_that_flapped_and_is_well_when_the_cooldown_ends_is_told_no_more():
    destination = Destination(cooldown_seconds=100)
    for event in ["started", "ended", "started", "ended"]:
        destination.hear(event)
        destination.wait(5)
    destination.wait(500)
    assert [event for _, event, *_ in destination.told] == ["started", "ended"]


def test_what_gets_worse_is_told_in_the_cooldown_too_but_no_to_and_fro_between_severities():
    destination = Destination(cooldown_seconds=100)
    for event, severity in [("started", "info"), ("changed", "critical"), ("changed", "warning"), ("changed", "critical")]:
        destination.hear(event, severity=severity)
        destination.wait(10)
    destination.hear("changed", severity="warning")
    destination.wait(500)
    assert destination.told == [
        (0, "started", "disk", "info"),
        (10, "changed", "disk", "critical"),
        (110, "changed", "disk", "warning"),
    ]
    assert destination.messages[-1][1][0].previous_severity == "critical"


def test_one_is_reminded_of_what_lasts_at_every_interval_until_it_ends():
    destination = Destination(repeat_seconds=100)
    destination.hear("started")
    destination.wait(250)
    destination.hear("ended")
    destination.wait(500)
    assert [(at, event) for at, event, *_ in destination.told] == [(0, "started"), (100, "lasts"), (200, "lasts"), (250, "ended")]
    assert [message[0].at for _, message in destination.messages] == [0, 100, 200, 250]


def test_after_a_flush_one_is_reminded_of_nothing_until_something_is_put_in_be_it_nothing():
    destination = Destination(repeat_seconds=100)
    destination.hear("started")
    destination.desk.hurry()
    destination.wait(1000)
    assert len(destination.told) == 1
    destination.desk.put([], destination.now)
    destination.wait(50)
    assert [event for _, event, *_ in destination.told] == ["started", "lasts"]


def test_less_severe_alerts_are_not_told_and_one_that_was_told_is_followed_to_its_end():
    destination = Destination(minimum_severity="warning")
    destination.hear("started", "quiet", "info")
    destination.hear("ended", "quiet", "info")
    destination.hear("started", severity="info")
    destination.hear("changed", severity="warning")
    destination.hear("changed", severity="info")
    destination.hear("ended", severity="info")
    assert [(event, severity) for _, event, _, severity in destination.told] == [
        ("started", "warning"),
        ("changed", "info"),
        ("ended", "info"),
    ]


def test_where_ends_are_not_told_the_next_start_is():
    destination = Destination(sends_resolved=False)
    for event in ["started", "ended", "started", "ended"]:
        destination.hear(event)
    assert [event for _, event, *_ in destination.told] == ["started", "started"]


def test_what_failed_is_tried_again_ever_less_often_and_told_as_it_is_by_then():
    destination = Destination()
    destination.is_working = False
    destination.hear("started")
    destination.wait(5)
    destination.hear("changed", severity="critical")
    destination.hear("started", "gone")
    destination.hear("ended", "gone")
    waits = []
    for _ in range(6):
        waits.append(wait := destination.desk.seconds_until_due(destination.now))
        destination.wait(wait)
    assert waits == [10, 30, 60, 120, 240, 300]
    destination.is_working = True
    destination.wait(300)
    assert [(event, severity) for _, event, _, severity in destination.told] == [("started", "critical")]
    assert destination.counts == Counter({"delivered": 1, "suppressed": 3})


def test_an_end_that_comes_while_the_start_is_on_its_way_is_told_after_it_and_each_is_counted_once():
    destination = Destination()
    destination.desk.put([notification("started")], 0)
    message = destination.desk.take(0)
    destination.desk.put([notification("ended")], 0)
    assert destination.desk.seconds_until_due(0) is None
    destination.desk.settle(0, is_delivered=True)
    assert [each.event for each in message] == [Event.STARTED]
    assert [each.event for each in destination.desk.take(0)] == [Event.ENDED]
    destination.desk.settle(0, is_delivered=True)
    assert destination.desk.tally.total() == 0
    assert [known.unsettled for known in destination.desk._known.values()] == [0]


def test_a_start_that_ends_while_it_fails_to_arrive_is_not_told():
    destination = Destination()
    destination.desk.put([notification("started")], 0)
    destination.desk.take(0)
    destination.desk.put([notification("ended")], 0)
    destination.desk.settle(0, is_delivered=False)
    assert destination.desk.seconds_until_due(0) is None
    assert destination.desk.tally == Counter(suppressed=2)


def test_what_was_taken_for_lost_and_arrives_is_not_told_again_and_what_it_says_is_put_right():
    destination = Destination(cooldown_seconds=100)
    destination.desk.put([notification("started")], 0)
    lost = destination.desk.take(0)
    destination.desk.settle(0, is_delivered=False)
    destination.desk.arrive(lost, 5)
    assert destination.desk.seconds_until_due(5) is None
    destination.wait(20)
    destination.hear("ended")
    destination.desk.arrive(lost, 30)  # a proxy had it twice
    destination.now = 30
    destination.work()
    assert destination.told == [(20, "ended", "disk", "warning"), (30, "ended", "disk", "warning")]


def test_what_arrives_late_while_it_is_being_told_again_is_counted_once():
    destination = Destination()
    destination.desk.put([notification("started")], 0)
    lost = destination.desk.take(0)
    destination.desk.settle(0, is_delivered=False)
    assert destination.desk.take(15)
    destination.desk.arrive(lost, 16)
    destination.desk.settle(17, is_delivered=True)
    assert [known.unsettled for known in destination.desk._known.values()] == [0]
    assert destination.desk.seconds_until_due(17) is None


def test_an_alert_that_restarted_unknown_to_the_destination_keeps_the_start_that_it_knows():
    destination = Destination(cooldown_seconds=100)
    destination.hear("started")
    destination.now = 5
    destination.is_working = False
    destination.hear("ended")
    destination.hear("started")
    destination.is_working = True
    destination.wait(200)
    destination.hear("ended")
    assert [
        (event, each.alert.started_at) for _, message in destination.messages for each in message for event in [each.event]
    ] == [
        ("started", 0.0),
        ("ended", 0.0),
    ]


def test_a_destination_that_wants_to_be_left_alone_is_for_as_long_as_it_says_up_to_an_hour():
    for wanted, granted in [(120.0, 120), (1e9, 3600), (1.0, 15)]:
        destination = Destination()
        destination.desk.put([notification("started")], 0)
        destination.desk.take(0)
        destination.desk.settle(0, is_delivered=False, retry_after_seconds=wanted)
        assert destination.desk.seconds_until_due(0) == granted


def test_a_message_that_is_refused_again_and_again_does_not_keep_other_groups_from_being_told():
    destination = Destination(group_by=("subject",))
    destination.desk.put([notification("started", "poison"), notification("started", "well")], 0)
    told = []
    for _ in range(6):
        wait = destination.desk.seconds_until_due(destination.now)
        if wait is None:
            break
        destination.now += wait
        (each,) = destination.desk.take(destination.now)
        told.append(each.alert.subject)
        destination.desk.settle(destination.now, is_delivered=each.alert.subject != "poison")
    assert told[:2] == ["poison", "well"]


def test_many_alerts_go_in_messages_of_a_hundred_and_handlers_of_one_notification_get_one_at_a_time():
    for most, sizes in [(100, [100, 100, 50]), (1, [1] * 250)]:
        destination = Destination(most)
        destination.desk.put([notification("started", str(number)) for number in range(250)], 0)
        destination.work()
        assert [len(message) for _, message in destination.messages] == sizes


def test_how_often_alerts_are_looked_at_grows_with_their_number_and_not_with_its_square(monkeypatch):
    looks = []
    owing = Desk._owing
    monkeypatch.setattr(Desk, "_owing", lambda self, known: looks.append(known) or owing(self, known))
    for group_by in [(), ("subject",)]:
        looks.clear()
        desk = Desk(Delivery(group_wait_seconds=0, group_by=group_by), most=1)
        desk.put([notification("started", str(number)) for number in range(1000)], 0)
        messages = 0
        while desk.take(1.0):
            desk.settle(1.0, is_delivered=True)
            messages += 1
        assert messages == 1000
        assert len(looks) <= 5_000


def test_a_condition_that_changes_is_told_when_the_cooldown_is_over_if_it_is_another_than_was_told():
    destination = Destination(cooldown_seconds=100)
    destination.hear("started", condition="refused")
    destination.hear("changed", condition="auth")
    destination.hear("changed", condition="refused")
    destination.wait(200)
    assert [str(each.event) for _, message in destination.messages for each in message] == ["started"]
    destination.hear("changed", condition="auth")
    destination.hear("changed", condition="disk_full")
    destination.wait(200)
    changed = [each for _, message in destination.messages[1:] for each in message]
    assert [(str(each.event), each.previous_condition, each.alert.condition) for each in changed] == [
        ("changed", "refused", "auth"),
        ("changed", "auth", "disk_full"),
    ]
    assert [each.previous_severity for each in changed] == ["warning"] * 2


def test_what_changes_while_its_group_is_being_told_is_told_as_it_is():
    desk = Desk(Delivery(group_wait_seconds=0, cooldown_seconds=100, group_by=("severity",)), most=1)
    desk.put([notification("started", name) for name in "abcd"], 0)
    told = []
    while message := desk.take(1.0):
        told += [(str(each.event), each.alert.subject, each.alert.severity) for each in message]
        desk.settle(1.0, is_delivered=True)
        if len(told) == 1:
            desk.put([notification("ended", "b"), notification("changed", "c", severity="critical")], 1.0)
    assert told == [("started", "a", "warning"), ("started", "d", "warning"), ("started", "c", "critical")]


def test_alerts_that_are_over_are_forgotten_and_what_is_too_much_is_counted():
    destination = Destination()
    for number in range(5000):
        destination.hear("started", str(number))
        destination.hear("ended", str(number))
    assert len(destination.desk._known) <= 2000
    assert destination.counts == Counter({"delivered": 10_000})
    crowded = Destination()
    crowded.desk.put([notification("started", str(number)) for number in range(2010)], 0)
    crowded.work()
    assert crowded.counts == Counter({"delivered": 2000, "dropped": 10})


def test_where_nobody_will_put_anything_in_any_more_what_is_left_is_told_at_once_or_given_up():
    for is_working in (True, False):
        destination = Destination(group_wait_seconds=600, repeat_seconds=1000)
        destination.is_working = is_working
        destination.hear("started")
        destination.desk.retire()
        destination.work()
        assert destination.counts == (Counter(delivered=1) if is_working else Counter(dropped=1))
        assert destination.desk.seconds_until_due(destination.now) is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["started", "changed", "ended"]),
        st.sampled_from(SEVERITIES),
        st.integers(0, 40),  # until the next
        st.booleans(),  # whether the destination works from now on
        st.booleans(),  # whether it comes while what is due is on its way
    ),
    max_size=25,
)
POLICIES = st.fixed_dictionaries(
    {
        "minimum_severity": st.sampled_from(SEVERITIES),
        "group_wait_seconds": st.sampled_from([0, 7]),
        "group_by": st.sampled_from([(), ("severity",), ("subject",)]),
        "cooldown_seconds": st.sampled_from([0, 50]),
        "repeat_seconds": st.sampled_from([None, 60]),
        "sends_resolved": st.booleans(),
    }
)


@given(STEPS, POLICIES, st.sampled_from([1, 2, 100]))
@settings(max_examples=300, deadline=None)
def test_after_all_waits_the_destination_knows_how_things_are_and_was_told_nothing_twice_in_its_cooldown(steps, policy, most):
    destination = Destination(most, **policy)
    real = {}
    for subject, event, severity, pause, is_working, is_late in steps:
        destination.is_working = is_working
        destination.now += pause if is_late else 0  # without a look at what is due meanwhile
        destination.hear(event, subject, severity, is_late=is_late)
        real[subject] = None if event == "ended" else severity
        destination.wait(pause)
    destination.is_working = True
    destination.desk.hurry()  # no reminders from here on
    destination.wait(1_000)

    assert destination.desk.seconds_until_due(destination.now) is None
    least = SEVERITIES.index(policy["minimum_severity"])
    for subject, severity in real.items():
        told = [(at, event, said) for at, event, about, said in destination.told if about == subject]
        begins = [event for _, event, _ in told if event != "lasts"]
        if severity is None:
            assert not told or told[-1][1] == "ended" or not policy["sends_resolved"]
        elif SEVERITIES.index(severity) >= least:
            assert told[-1][1:] in {("started", severity), ("changed", severity), ("lasts", severity)}
        else:  # not told of, but to its end where it was
            assert not told or told[-1][1] == "ended" or told[-1][2] == severity or not policy["sends_resolved"]
        # what is said follows from what was said before
        for before, after in zip([None, *begins], begins, strict=False):
            if after == "started":
                assert before in {None, "ended"} or not policy["sends_resolved"]
            else:
                assert before in {"started", "changed"}
        # of one severity, once in a cooldown
        for said in SEVERITIES:
            times = [at for at, event, other in told if event != "ended" and other == said]
            assert all(later - sooner >= policy["cooldown_seconds"] for sooner, later in pairwise(times))
    reminders = sum(event == "lasts" for _, event, *_ in destination.told)
    assert destination.counts.total() - reminders <= destination.seen
    held = sum(known.unsettled for known in destination.desk._known.values())
    assert destination.counts.total() - reminders + held == destination.seen


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("minimum_severity", "error"), ("group_wait_seconds", -1), ("group_wait_seconds", "2"),
        ("cooldown_seconds", float("nan")),
        ("repeat_seconds", 0), ("repeat_seconds", 299), ("sends_resolved", 1), ("group_by", "severity"), ("group_by", (3,)),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_work_is_refused_with_the_fix(setting, value):
    with pytest.raises(ConfigurationError, match=rf"^{setting}=.*give "):
        Delivery(**{setting: value})


def test_what_is_no_handler_or_no_policy_is_refused():
    with pytest.raises(ConfigurationError, match=r"^alert handler 3: give a function"):
        Routed(3)
    with pytest.raises(ConfigurationError, match=r"^policy='none': give a Delivery"):
        Routed(print, "none")
    with pytest.raises(ConfigurationError, match=r"^name=.*give a name"):
        Routed(print, name=" ")
