"""The page in a real browser, without a network."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import zlib

import pytest

from agentgauge.analytics.report.html_page import as_html
from test_report_document import HOSTILE, Seen, document

pytestmark = pytest.mark.servers("chromium")


@pytest.fixture(scope="module")
def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    message = "chromium not on PATH; on Debian: apt-get install chromium"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def browse(chromium, page, tmp_path, *options):
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    found = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            "--virtual-time-budget=10000",
            "--window-size=320,480",
            *options,
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return found.stdout, [line for line in found.stderr.splitlines() if "CONSOLE" in line]


def test_charts_are_drawn_offline_without_an_error_and_hostile_names_are_but_names(chromium, tmp_path):
    dom, console = browse(chromium, as_html(document(HOSTILE)), tmp_path, "--dump-dom")
    assert console == []
    drawn = dom[dom.index("<body") : dom.index('<script type="application/json"')]
    assert "main-svg" in drawn
    assert len(re.findall(r'class="trace scatter', drawn)) == 3  # the line and the two edges of its band
    widths = [float(width) for width in re.findall(r'class="main-svg"[^>]* width="([\d.]+)"', drawn)]
    assert widths
    assert max(widths) < 500  # the least that a window of it can be: a chart fills it, and does not run over
    seen = Seen(drawn)
    assert (seen.handlers, seen.tags.count("img"), seen.tags.count("script")) == ([], 0, 0)
    assert "<img src=x onerror=alert(2)>" in "".join(seen.text)


def test_a_page_in_the_dark_is_dark_and_no_page_is_blank(chromium, tmp_path):
    shares = []
    for number, options in enumerate(((), ("--force-dark-mode", "--blink-settings=preferredColorScheme=0"))):
        picture = tmp_path / f"{number}.png"
        browse(chromium, as_html(document()), tmp_path, f"--screenshot={picture}", *options)
        pixels = brightness(picture.read_bytes())
        assert len(set(pixels)) > 20
        shares.append(sum(pixels) / len(pixels))
    light, dark = shares
    assert light > 200
    assert dark < 100


def brightness(png):
    """The mean of red, green and blue of each fourth pixel of a picture."""
    width, height, _, kind = struct.unpack(">IIBB", png[16:26])
    size = {2: 3, 6: 4}[kind]
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    raw, row, found = zlib.decompress(data), bytearray(width * size), []
    for line in range(height):
        begin = line * (width * size + 1)
        method, current = raw[begin], bytearray(raw[begin + 1 : begin + 1 + width * size])
        row = unfiltered(method, current, row, size)
        if line % 8 == 0:
            found += [sum(row[index : index + 3]) // 3 for index in range(0, len(row), size * 4)]
    return found


def unfiltered(method, current, above, size):
    for index in range(len(current)):
        left = current[index - size] if index >= size else 0
        corner = above[index - size] if index >= size else 0
        up = above[index]
        guess = left + up - corner
        nearest = min((left, up, corner), key=lambda one: abs(guess - one))
        current[index] = (current[index] + (0, left, up, (left + up) // 2, nearest)[method]) & 255
    return current
