"""A reader finds every page: the README leads to the index, and the index to all pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if page.parent != DOCS / "runbooks" and page != DOCS / "README.md"]


def links(page):
    """Return what a page links to, and the heading within it; both empty where it says none."""
    found = re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    parts = [link.partition("#") for link in found if "://" not in link]
    return [((page.parent / path).resolve() if path else page, heading) for path, _, heading in parts]


def headings(page):
    """Return the headings of a page as links have them.

    Source: github.com/gjtorikian/html-pipeline, TableOfContentsFilter: what GitHub does.
    """
    text = re.sub(r"^ *```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found]


def test_the_readme_leads_to_the_index():
    assert (DOCS / "README.md") in [path for path, _ in links(ROOT / "README.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_index_leads_to_every_page(page):
    assert page in [path for path, _ in links(DOCS / "README.md")]


def test_every_heading_that_a_page_links_to_exists():
    pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    missing = [
        f"{page.relative_to(ROOT)}: {path.name}#{heading}"
        for page in pages
        for path, heading in links(page)
        if heading and path.suffix == ".md" and heading not in headings(path)
    ]
    assert missing == []


def test_each_page_has_a_title_of_its_own():
    titles = [page.read_text(encoding="utf-8").splitlines()[0] for page in PAGES]
    assert all(title.startswith("# ") for title in titles)
    assert sorted(titles) == sorted(set(titles))


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent != DOCS], ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_of_analysis_says_where_to_go_on(page):
    assert [path for path, _ in links(page) if path != page and path.suffix == ".md"] != []
