"""What we draw at random is drawn from a generator of our own, and a child draws other numbers than its parent."""

import os
import random

from agentgauge.chance import CHANCE
from agentgauge.health import SystemHealthMonitor
from agentgauge.processing import ProcessingContext, RetryPolicy


def test_a_program_that_has_seeded_random_goes_on_as_it_would_without_us():
    random.seed(7)
    before = random.getstate()
    ProcessingContext()
    RetryPolicy().delay_seconds(1, ConnectionError())
    SystemHealthMonitor()._rounds._random()
    assert random.getstate() == before


def test_a_child_draws_other_numbers_than_its_parent():
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, str(CHANCE.getrandbits(64)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        drawn = answer.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert drawn != str(CHANCE.getrandbits(64))
