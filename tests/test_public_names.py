"""What ``import agentgauge`` gives, and what it leaves for later."""

import subprocess
import sys
import textwrap

import pytest

import agentgauge


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_every_public_name_is_there_and_listed():
    for name in agentgauge.__all__:
        assert getattr(agentgauge, name) is not None
    assert set(agentgauge.__all__) <= set(dir(agentgauge))


def test_a_name_that_does_not_exist_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="'agentgauge' has no attribute 'taks'"):
        agentgauge.taks  # noqa: B018 - reading it is the test


def test_a_library_that_only_decorates_loads_nothing_that_only_some_programs_need():
    loaded = run(
        """
        import sys
        import agentgauge

        @agentgauge.agent("researcher")
        @agentgauge.task
        def search():
            return 1

        search()
        late = ("opentelemetry.sdk", "psutil", "wrapt", "agentgauge.monitor", "agentgauge.exposition",
                "agentgauge.collectors", "agentgauge.recording.agent_metrics", "agentgauge.recording.fleet")
        print([name for name in late if name in sys.modules])
        """
    )

    assert loaded == "[]"


def test_a_star_import_and_dir_know_the_names_that_are_loaded_late():
    names = run(
        """
        import agentgauge
        missing = [name for name in agentgauge.__all__ if name not in dir(agentgauge)]
        from agentgauge import *
        print(missing, start.__module__, stop.__module__, fleet.__module__, AgentMetricsCollector.__module__)
        """
    )

    assert names == "[] agentgauge.monitor agentgauge.monitor agentgauge.recording.fleet agentgauge.recording.agent_metrics"


def test_a_name_that_is_loaded_late_is_the_same_object_every_time():
    assert agentgauge.start is agentgauge.start
    assert agentgauge.fleet is sys.modules["agentgauge.recording.fleet"].fleet
