"""One document, four forms: each says the same, and none obeys what it quotes."""

from __future__ import annotations

import io
import json
import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from agentgauge.analytics import extras
from agentgauge.analytics.commands.shared import chart_of
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.report import (
    Chart,
    Column,
    Document,
    Fact,
    Finding,
    Mark,
    Section,
    Series,
    Severity,
    Table,
    Unit,
)
from agentgauge.analytics.report.html_page import as_html
from agentgauge.analytics.report.json_text import as_json
from agentgauge.analytics.report.markdown import as_markdown
from agentgauge.analytics.report.numbers import plain, shown
from agentgauge.analytics.report.sparkline import sparkline
from agentgauge.analytics.report.terminal import show
from agentgauge.analytics.report.text import as_text
from agentgauge.analytics.signals import read
from agentgauge.errors import ConfigurationError
from made_source import MadeSource

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b]0;owned\x07\x1b[2J\u202e|a`b`*c*[d](javascript:x)\n# e"
)
AT = 1_750_000_000.0
COLUMNS = (Column("agent", "agent"), Column("tasks", "tasks", Unit.COUNT), Column("at", "at", Unit.TIME))


def document(name: str = "researcher", *, severity: Severity = Severity.WARNING) -> Document:
    chart = Chart(
        "rate",
        f"Rate of {name}",
        Unit.RATIO,
        (AT, AT + 60, AT + 120),
        (Series(name, (0.1, math.nan, 0.3), (0.0, math.nan, 0.2), (0.2, math.inf, 0.4)),),
        (Mark(AT, AT + 60, name),),
    )
    table = Table("tasks", f"Tasks of {name}", COLUMNS, ((name, 1234, AT), (name, math.nan, None)))
    finding = Finding(severity, f"{name} is slow", f"seen in {name}", f"look at {name}", f'rate(x{{agent="{name}"}}[5m])')
    section = Section("one", f"About {name}", (f"{name} did something.",), (finding,), (table,), (chart,))
    return Document("trends", f"Report on {name}", (Fact("source", "source", name),), (section,))


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.handlers, self.text, self.data = [], [], [], ""
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        self._tag = f"{tag} {dict(attributes).get('id', '')}".strip()

    def handle_endtag(self, tag):
        self._tag = ""

    def handle_data(self, data):
        if self._tag == "script charts":
            self.data += data
        elif not self._tag.startswith(("script", "style")):
            self.text.append(data)


def test_json_is_strict_and_has_bare_numbers_iso_times_and_null_for_what_is_not_known():
    read = json.loads(as_json(document(), exit_code=1), parse_constant=pytest.fail)
    assert (read["format"], read["command"], read["exit_code"]) == (1, "trends", 1)
    section = read["sections"]["one"]
    assert section["tables"]["tasks"]["rows"] == [
        {"agent": "researcher", "tasks": 1234, "at": "2025-06-15T15:06:40Z"},
        {"agent": "researcher", "tasks": None, "at": None},
    ]
    (line,) = section["charts"]["rate"]["series"]
    assert (line["values"], line["high"]) == ([0.1, None, 0.3], [0.2, None, 0.4])
    assert section["charts"]["rate"]["times"][0] == AT
    assert section["findings"][0]["severity"] == "warning"


def test_text_has_all_that_the_document_says():
    text = as_text(document())
    for words in ("Report on researcher", "1,234", "2025-06-15 15:06:40 UTC", "researcher is slow", "fix: look at", "30 %", "▁"):
        assert words in text, words


def test_text_for_a_terminal_without_unicode_is_ascii():
    assert as_text(document("café"), is_ascii=True).isascii()


@pytest.mark.parametrize("width", [40, 80, 120, 10_000])
def test_sentences_wrap_and_tables_keep_their_width(width):
    long = Section("one", "One", ("word " * 200,), (Finding(Severity.INFO, "word " * 90),))
    lines = as_text(Document("x", "X", (), (long,)), width=width).splitlines()
    assert max(map(len, lines)) <= min(width, 120)


@pytest.mark.parametrize("form", [as_text, as_markdown])
def test_nothing_reaches_a_terminal_that_it_would_obey(form):
    text = form(document(HOSTILE))
    assert not {character for character in text if not character.isprintable()} - {"\n"}


def test_rich_shows_names_as_they_are_and_obeys_nothing_in_them():
    stream = io.StringIO()
    show(document("[red]x[/red]:smile:"), Console(file=stream, width=100, no_color=True))
    assert "[red]x[/red]:smile:" in stream.getvalue()
    stream = io.StringIO()
    show(document(HOSTILE), Console(file=stream, width=100, no_color=True))
    assert not {character for character in stream.getvalue() if not character.isprintable()} - {"\n"}


def test_rich_has_colours_on_a_terminal_and_none_where_no_color_is_set(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown_in = []
    for _ in range(2):
        stream = io.StringIO()
        show(document(), Console(file=stream, width=60, force_terminal=True, color_system="standard"))
        shown_in.append(stream.getvalue())
        monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[33m" in shown_in[0]
    assert "\x1b[33m" not in shown_in[1]
    assert "researcher is slow" in shown_in[1]


def test_a_table_that_is_too_wide_for_a_terminal_is_cut_into_tables_that_are_not_and_no_word_of_it_is_broken():
    columns = (
        Column("agent", "agent"),
        Column("task", "task"),
        *(Column(f"n{one}", f"figure {one}", Unit.USD) for one in range(12)),
    )
    row = ("researcher", "ChainOfThought", *(1000.0 + one for one in range(12)))
    chart = Chart("c", "C", Unit.RATIO, tuple(AT + one for one in range(99)), (Series("researcher", tuple(range(99))),))
    section = Section("one", "One", tables=(Table("t", "T", columns, (row,)),), charts=(chart,))
    for width in (50, 80, 300):
        stream = io.StringIO()
        show(Document("x", "X", (), (section,)), Console(file=stream, width=width, no_color=True))
        lines = stream.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        figures = [line.split() for line in lines if "$1," in line]
        assert [words[:2] for words in figures] == [["researcher", "ChainOfThought"]] * len(figures)
        assert [figure for words in figures for figure in words[2:]] == [f"$1,{one:03}" for one in range(12)]
        assert (len(figures) == 1) == (width == 300)
        assert sum("▁" in line for line in lines) == 1


def test_a_value_is_read_with_the_unit_that_its_row_names_and_scripts_get_the_two_apart():
    columns = (Column("measure", "measure"), Column("unit", "in"), Column("value", "value", Unit.NUMBER, "unit"))
    rows = (("task_error_ratio", "ratio", 0.0143), ("task_duration_mean", "seconds", 150.0), ("threads", "", 4.0))
    made = Document("x", "X", (), (Section("one", "One", tables=(Table("t", "T", columns, rows),)),))
    stream = io.StringIO()
    show(made, Console(file=stream, width=100, no_color=True))
    for told in (as_text(made), as_markdown(made), Seen(as_html(made)).text, stream.getvalue()):
        words = " ".join(" ".join(told).replace("\\", "").split()) if isinstance(told, list) else told.replace("\\", "")
        assert "1.43 %" in words
        assert "2.5 min" in words
        assert "seconds" not in words
    assert json.loads(as_json(made))["sections"]["one"]["tables"]["t"]["rows"][1] == {
        "measure": "task_duration_mean",
        "unit": "seconds",
        "value": 150.0,
    }
    with pytest.raises(ConfigurationError, match="no column 'units'"):
        Table("t", "T", (Column("value", "value", Unit.NUMBER, "units"),), ())


def test_a_chart_of_more_lines_than_can_be_told_apart_has_the_greatest_and_says_so():
    source, times = MadeSource(), [AT, AT + 60]
    for one in range(12):
        source.add("agent_tasks_in_progress", times, [float(one)] * 2, gen_ai_agent_name=f"a{one:02}", agent_task="t")
    (measure,) = (measure for measure in MEASURES if measure.name == "tasks_in_progress")
    signals = read(measure, source, Grid.over(AT - 60, AT + 60, 60))
    chart = chart_of("c", "tasks", signals)
    assert chart.title == "Tasks, the 8 greatest of 12"
    assert [one.name for one in chart.series] == [f"a{one:02}, t" for one in range(4, 12)]
    assert chart_of("c", "tasks", signals[:8]).title == "Tasks"


def test_bytes_of_a_chart_are_told_in_the_units_of_the_tables():
    chart = Chart("c", "C", Unit.BYTES, (AT, AT + 60), (Series("a", (float(3 << 20), float(6 << 20))),))
    (drawn,) = json.loads(Seen(as_html(Document("x", "X", (), (Section("one", "One", charts=(chart,)),)))).data)
    assert (drawn["series"][0]["values"], drawn["suffix"]) == ([3, 6], " MiB")


def test_a_page_runs_no_script_but_its_own_three_whatever_names_are():
    seen = Seen(as_html(document(HOSTILE)))
    assert seen.tags.count("script") == 3
    assert seen.tags.count("img") == 0
    assert seen.handlers == []
    charts = json.loads(seen.data)
    assert "<" not in seen.data
    assert charts[0]["series"][0]["name"].startswith("&lt;/script&gt;")  # plotly reads tags


def test_a_page_fetches_nothing_and_has_plotly_once():
    page = as_html(document())
    head = page[: page.index("<script")]
    assert "default-src 'none'" in head
    assert "http://" not in head.replace("http-equiv", "")
    assert "https://" not in head
    assert page.count("plotly.js v") == 1


def test_a_page_without_scripts_still_has_every_figure():
    text = " ".join(Seen(as_html(document())).text)
    for words in ("researcher is slow", "1,234", "2025-06-15 15:06:40 UTC", "30 %", "The charts need JavaScript"):
        assert words in text, words


def test_a_page_without_charts_needs_no_plotly(monkeypatch):
    monkeypatch.setattr(extras, "load", pytest.fail)
    bare = Document("x", "Bare", (), (Section("one", "One", ("Nothing.",)),))
    assert "<script" not in as_html(bare)


def test_a_page_with_charts_says_what_to_install_where_plotly_is_missing(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(extras, "load", missing)
    with pytest.raises(ConfigurationError, match=r"pip install 'agentgauge\[charts\]'"):
        as_html(document())


def test_markdown_escapes_what_it_would_obey():
    text = re.sub(r"`` .*? ``$", "", as_markdown(document(HOSTILE)), flags=re.MULTILINE)  # a span of code shows what it holds
    assert "<script" not in text
    assert "<img" not in text
    assert "](javascript" not in text.replace("\\]", "")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "1,234" in line]
    assert [line.replace("\\|", "").count("|") for line in rows] == [4]


MARKUP = st.text(st.sampled_from("`*_[]()<>!|\\\\#&;:/~$-+=.1 a\n\t\x1b\u202e"), min_size=1, max_size=24)
TAGS = {"h1", "h2", "ul", "li", "p", "strong", "code", "table", "thead", "tbody", "tr", "th", "td"}


@given(MARKUP)
@example("a|b `c` [d](javascript:e) <img src=x onerror=f> https://g.example ~~h~~\n# i &lt; \\\\|")
def test_a_reader_of_markdown_sees_every_name_as_it_is_and_nothing_else(name):
    seen = Seen(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(as_markdown(document(name))))
    assert set(seen.tags) <= TAGS
    assert seen.tags.count("table") == 2
    assert seen.tags.count("td") == 2 * len(COLUMNS) + 6
    told = " ".join("".join(seen.text).split())
    for words in (f"About {name}", f"{name} did something.".strip(), f"{name} is slow"):
        assert " ".join(plain(words).split()) in told


@pytest.mark.parametrize("sentence", ["1. first", "- item", "+ item", "# heading", "=== x"])
def test_a_sentence_in_markdown_stays_a_sentence(sentence):
    text = as_markdown(Document("x", "X", (), (Section("one", "One", (sentence,)),)))
    assert "\\" in text.splitlines()[-1]


@given(st.text(max_size=40))
def test_any_name_leaves_every_form_whole(name):
    whole = document(name)
    json.loads(as_json(whole))
    assert not {one for one in as_text(whole) if not one.isprintable()} - {"\n"}
    tables = [line for line in as_markdown(whole).splitlines() if line.startswith("|")]
    assert {line.replace("\\\\", "").replace("\\|", "").count("|") for line in tables} <= {4, 7}


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (None, Unit.COUNT, "-"),
        (math.nan, Unit.SECONDS, "-"),
        (math.inf, Unit.RATIO, "infinite"),
        (0.0123, Unit.RATIO, "1.23 %"),
        (0.24, Unit.SECONDS, "240 ms"),
        (90, Unit.SECONDS, "90 s"),
        (3 * 3600, Unit.SECONDS, "3 h"),
        (1536, Unit.BYTES, "1.5 KiB"),
        (1.5, Unit.USD, "$1.50"),
        (0.001, Unit.USD_PER_SECOND, "$3.60/h"),
        (0.00042, Unit.USD, "$0.00042"),
        (12345.6, Unit.COUNT, "12,346"),
        (0, Unit.NUMBER, "0"),
        (1.25e-9, Unit.NUMBER, "1.25e-09"),
        (True, Unit.TEXT, "yes"),
        (99.96, Unit.NUMBER, "100"),
        (1e300, Unit.TIME, "1e+300"),
    ],
)
def test_people_see_digits_that_mean_something(value, unit, expected):
    assert shown(value, unit) == expected


def test_a_line_of_blocks_goes_from_the_least_to_the_greatest_and_leaves_gaps():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 0, 7, 7], 2) == "▁█"
    assert sparkline([1, math.nan, 1], 3) == "▁ ▁"
    assert sparkline([math.nan], 3) == ""
    assert sparkline([0, 7], 9, is_ascii=True).isascii()


def test_rows_and_lines_that_do_not_fit_are_refused():
    with pytest.raises(ConfigurationError, match="2 cells for 3 columns"):
        Table("t", "", COLUMNS, (("a", 1),))
    with pytest.raises(ConfigurationError, match="1 values for 2 times"):
        Chart("c", "", Unit.RATIO, (1.0, 2.0), (Series("a", (1.0,)),))


@pytest.mark.parametrize(("severity", "is_of_note"), [("critical", True), ("warning", True), ("info", False), ("ok", False)])
def test_what_is_critical_or_a_warning_is_of_note(severity, is_of_note):
    assert document(severity=Severity(severity)).is_of_note is is_of_note
