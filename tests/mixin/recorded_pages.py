"""Pages of real servers, which have no virtual time: recorded once, scrape after scrape, and committed beside the scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDER = Path(__file__).parent / "scenarios" / "pages"
_SCRAPE = "# scrape\n"


@dataclass(frozen=True, slots=True)
class RecordedPages:
    """A server as it was when its pages were recorded; each scrape stands for an interval of the case.

    Attributes:
        path: The samples of each scrape, after a line ``# scrape``; other comments and blank lines may stand anywhere.
        job: The job as part of which it is scraped.
        instance: Where it is scraped.
        about: What was wrong with it.
    """

    path: Path
    job: str
    instance: str
    about: str

    def pages(self, names: frozenset[str], interval_seconds: float) -> Iterator[str | None]:
        """Yield what each scrape brought."""
        yield from self.path.read_text(encoding="utf-8").split(_SCRAPE)[1:]


def write_pages(path: Path, pages: Iterable[str], names: frozenset[str]) -> None:
    """Keep of each page the samples of series of these names."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for page in pages:
            kept = [line for line in page.splitlines(keepends=True) if line.replace("{", " ").split(" ")[0] in names]
            file.writelines([_SCRAPE, *kept])
