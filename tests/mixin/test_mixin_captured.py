"""The cases of the rules are about series that real programs show."""

import pytest

from captured import input_shapes, invented, real_shapes, shape

pytestmark = pytest.mark.servers


def test_every_series_of_a_case_has_the_name_and_labels_of_one_on_a_real_page():
    shapes = input_shapes()
    assert len(shapes) > 60
    assert invented(shapes, real_shapes()) == []


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("agent_task_total", {"agent_task": "t"}),
        ("agent_handoffs_total", {"source": "a", "target": "b", "result": "error"}),
        ("agent_handoffs_total", {"source": "a", "target": "b", "outcome": "failed"}),
        ("agent_queue_depth", {"queue": "q"}),
    ],
)
def test_an_invented_name_label_or_outcome_is_found(name, labels):
    assert invented({shape(name, labels): name}, real_shapes()) == [name]
