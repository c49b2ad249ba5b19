"""The report in a real browser: what it loads, shows and hides on screens and on paper."""

import base64
import io
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from tests.unit import report_samples as samples

pytestmark = pytest.mark.browser

WIDTHS = {"desktop": 1280, "tablet": 820, "phone": 390, "small-phone": 320}

OVERLAPPING = """
[...document.querySelectorAll('svg')].filter(s => s.getClientRects().length).flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')];
  const boxes = texts.map(t => t.getBoundingClientRect());
  const apart = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1
    || a.bottom <= b.top + 4 || b.bottom <= a.top + 4;
  return texts.flatMap((t, i) => texts.slice(i + 1)
    .filter((_, j) => !apart(boxes[i], boxes[i + 1 + j]))
    .map(other => `${t.textContent} | ${other.textContent}`));
})
"""

CUT_OFF = """
[...document.querySelectorAll('svg text')].filter(t => {
  const box = t.getBoundingClientRect();
  return box.width && (box.left < 0 || box.right > document.documentElement.clientWidth);
}).map(t => t.textContent)
"""

UNFOLD = "document.querySelectorAll('details').forEach(one => { one.open = true })"

VISIBLE_CHARTS = """
[...document.querySelectorAll('figure')].map(f =>
  [...f.querySelectorAll('svg')].filter(s => s.getClientRects().length).length)
"""

CONTRASTS = """
(() => {
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const rgb = css => css.match(/[\\d.]+/g).map(Number);
  const ground = el => { for (; el; el = el.parentElement) {
    const c = rgb(getComputedStyle(el).backgroundColor); if (c.length < 4 || c[3]) return c; }
    return [255, 255, 255]; };
  const colour = el => el.closest('svg') ? getComputedStyle(el).fill : getComputedStyle(el).color;
  return [...document.querySelectorAll('body *')]
    .filter(el => [...el.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .filter(el => el.getClientRects().length && !el.closest('title, desc'))
    .map(el => { const a = light(rgb(colour(el))), b = light(ground(el));
      return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), el.textContent.slice(0, 40)]; })
    .filter(([ratio]) => ratio < 4.5);
})()
"""


@pytest.fixture(params=[*samples.ALL, "concurrencies"])
def sample(request, reports):
    """The file of each sample report, and that of a sweep's page."""
    return reports / f"{request.param}.html"


def test_the_page_opens_in_silence(browser, screen, sample):
    """No console message, no error, and no request but for the file itself."""
    screen()
    browser.open(sample)

    said = browser.happened("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    asked = {params["request"]["url"] for params in browser.happened("Network.requestWillBeSent")}
    assert said == []
    assert asked - {"data:,"} == {sample.as_uri()}


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_nothing_is_wider_than_the_screen(browser, screen, reports, width):
    """The page never scrolls sideways; wide tables scroll inside themselves."""
    for name in ("sweep", "compared", "invalid", "hostile"):
        screen(width=width)
        browser.open(reports / f"{name}.html")
        browser.evaluate(UNFOLD)

        assert browser.evaluate("document.documentElement.scrollWidth") <= width, name


@pytest.mark.parametrize("width", [1280, 820, 390], ids=["desktop", "tablet", "phone"])
def test_labels_neither_overlap_nor_leave_the_screen(browser, screen, sample, width):
    """In every chart each text has a place of its own."""
    screen(width=width)
    browser.open(sample)
    browser.evaluate(UNFOLD)

    assert browser.evaluate(OVERLAPPING) == []
    assert browser.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_one_drawing_of_each_chart_is_shown(browser, screen, reports, width):
    """The wide one or the narrow one, never both, never none."""
    screen(width=width)
    browser.open(reports / "passing.html")
    browser.evaluate(UNFOLD)

    assert browser.evaluate(VISIBLE_CHARTS) == [1] * (5 + 8)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(browser, screen, sample, scheme):
    """Contrast is at least 4.5 to 1 (WCAG AA) in both colour schemes."""
    screen(scheme=scheme)
    browser.open(sample)
    browser.evaluate(UNFOLD)

    assert browser.evaluate(CONTRASTS) == []


def test_dark_is_dark_and_paper_is_white(browser, screen, reports):
    """The page follows the reader's scheme, but never prints a dark ground."""
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for scheme, media in (("light", "screen"), ("dark", "screen"), ("dark", "print")):
        screen(scheme=scheme, media=media)
        browser.open(reports / "passing.html")
        seen.append(browser.evaluate(ground))

    assert seen[0] == seen[2] == "rgb(255, 255, 255)"
    assert seen[1] != seen[0]


def test_the_keyboard_reaches_the_findings(browser, screen, reports):
    """The first stop skips to the table; verdicts are links to their findings."""
    screen()
    browser.open(reports / "regression.html")
    focusable = browser.evaluate(
        "[...document.querySelectorAll('a[href], summary, [tabindex]')]"
        ".map(e => e.hash || e.tagName)"
    )

    assert focusable[0] == "#points"
    assert focusable.count("#finding-1") == 1
    assert focusable.count("SUMMARY") >= 4


def test_the_phone_shows_every_number_of_the_table(browser, screen, reports):
    """Rows become cards: no cell is hidden and each carries its label."""
    screen(width=390)
    browser.open(reports / "passing.html")
    cells = browser.evaluate(
        "[...document.querySelectorAll('.points tbody td, .points tbody th')]"
        ".map(c => c.getClientRects().length > 0)"
    )

    assert len(cells) == 8 * 11
    assert all(cells)


def test_the_report_prints_on_a_few_pages(browser, screen, reports):
    """Printing gives a PDF of at most eight pages, however many sections there are."""
    screen(media="print")
    browser.open(reports / "regression.html")
    pdf = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    assert pdf.startswith(b"%PDF")
    assert 1 <= pdf.count(b"/Type /Page\n") <= 8


def test_a_fold_opens_on_a_points_single_requests(browser, screen, reports):
    """Closed at first; a click on the point's line shows a strip for each chosen request."""
    screen()
    browser.open(reports / "passing.html")
    ticks = "document.querySelectorAll('#requests-title ~ details .wide path.token')"
    shown = f"[...{ticks}].filter(one => one.checkVisibility()).length"

    assert browser.evaluate(shown) == 0
    browser.evaluate("document.querySelector('#requests-title ~ details summary').click()")
    assert browser.evaluate(shown) == 7


def test_earlier_runs_are_compared_in_words_and_picture(browser, screen, reports):
    """The section says what changed and why, point by point, and draws each run."""
    screen()
    browser.open(reports / "compared.html")
    section = "document.querySelector('#earlier-title').parentElement"

    said = browser.evaluate(f"{section}.innerText")
    assert "monday" in said
    assert said.count("decode step") == 8
    assert (
        browser.evaluate(f"{section}.querySelectorAll('.wide .round-dot').length") == 8 + 7 + 8 + 1
    )


def test_a_million_tokens_open_at_once(browser, screen, reports):
    """The page's size does not follow the run's: it stays small, and is soon there."""
    screen()
    million = reports / "million.html"
    assert million.stat().st_size < 100_000
    browser.open(million)
    took_ms = browser.evaluate(
        "performance.timing.loadEventEnd - performance.timing.navigationStart"
    )

    assert took_ms < 10_000  # it takes a fifth of a second on a quiet machine
    assert browser.evaluate("document.querySelectorAll('.wide .request circle').length") == 300


def test_pictures_of_the_page_are_not_blank(browser, screen, reports, request):
    """Both schemes, desktop and phone: screenshots of many colours, kept to be looked at."""
    folder = Path(request.config.invocation_params.dir, "artifacts", "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    for width, scheme in ((1100, "light"), (1100, "dark"), (390, "light"), (390, "dark")):
        screen(width=width, scheme=scheme)
        browser.open(reports / "compared.html")
        browser.evaluate(UNFOLD)
        shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        picture = base64.b64decode(shot)
        (folder / f"report-{width}-{scheme}.png").write_bytes(picture)

        pixels = matplotlib.image.imread(io.BytesIO(picture), format="png")[..., :3]
        assert width - 20 <= pixels.shape[1] <= width  # a scroll bar may take its part
        ground = pixels[5, 5].mean()
        assert (ground > 0.9) == (scheme == "light")
        assert len(np.unique((pixels * 8).astype(int).reshape(-1, 3), axis=0)) > 20


def test_what_is_folded_away_is_not_printed(browser, screen, reports):
    """Paper has no folds: single requests are printed if they were opened, else not announced."""
    screen(media="print")
    browser.open(reports / "passing.html")
    printed = "document.querySelector('#requests-title').getClientRects().length > 0"

    assert not browser.evaluate(printed)
    browser.evaluate("document.querySelector('#requests-title ~ details').open = true")
    assert browser.evaluate(printed)


def test_the_curve_stands_alone(browser, screen, reports):
    """curve.svg opens by itself, on white, with nothing cut off."""
    screen()
    browser.open(reports / "curve.svg")

    assert browser.happened("Runtime.exceptionThrown", "Log.entryAdded") == []
    assert browser.evaluate("getComputedStyle(document.documentElement).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    assert browser.evaluate(CUT_OFF.replace("'svg text'", "'text'")) == []
