"""The run as one page."""

import re
from functools import cache
from html.parser import HTMLParser

import pytest

from perfgate.report import numbers
from perfgate.report.content import rows
from perfgate.report.html import render_html
from tests.unit import report_samples as samples
from tests.unit.report_measurements import FINGERPRINT

pytestmark = pytest.mark.unit

VOID = {"meta", "link", "br", "img", "input", "hr"}
LOADING = {"src", "href", "srcset", "action", "data", "poster", "formaction", "xlink:href"}


class Page(HTMLParser):
    """What a test needs of a page; a tag that does not close is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.references = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Note the tag, its id and whatever it refers to."""
        self.tags.append(tag)
        named = dict(attrs)
        self.ids += [named["id"]] if "id" in named else []
        self.references += [value for name, value in attrs if name in LOADING]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """A self-closing SVG element opens nothing."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        """Tags close in the order in which they were opened."""
        assert self.open, tag
        assert self.open.pop() == tag


@cache
def sample_page(name):
    """The page of a sample run, drawn once for all who only read it."""
    return render_html(samples.ALL[name]())


@pytest.fixture(params=samples.ALL)
def page(request):
    """The page of each sample run."""
    return sample_page(request.param)


def test_every_tag_closes(page):
    """The page is well formed."""
    assert Page(page).open == []


def test_no_id_is_used_twice(page):
    """Labels and links have one meaning each."""
    ids = Page(page).ids

    assert len(ids) == len(set(ids))


def test_nothing_is_loaded(page):
    """No script, no frame, no reference but to the page itself; a policy forbids the rest."""
    parsed = Page(page)

    assert not {"script", "iframe", "object", "embed", "img", "base"} & set(parsed.tags)
    assert all(
        reference.startswith("#") or reference == "data:," for reference in parsed.references
    )
    assert not re.search(r"@import|url\((?!#)", page)
    assert "default-src 'none'" in page


def test_every_link_has_its_target(page):
    """A verdict leads to its finding."""
    parsed = Page(page)

    assert {ref[1:] for ref in parsed.references if ref[0] == "#"} <= set(parsed.ids)


def test_hostile_text_stays_text():
    """A name or message with markup is shown, not obeyed."""
    text = render_html(samples.hostile())

    assert "<script" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in text


@pytest.mark.parametrize("name", ["passing", "sweep", "invalid", "single", "hardware"])
def test_every_point_is_in_the_table_with_its_numbers(name):
    """A row shows the throughput, P95 and verdict of its measurement."""
    report = samples.ALL[name]()
    table = sample_page(name).split("<tbody", 2)[1].split("</tbody>")[0]
    lines = table.split("<tr")[1:]

    for row, line in zip(rows(report), lines, strict=True):
        assert f">{row.point}</th>" in line
        assert row.verdict in line
        if row.measurement is not None:
            assert f">{numbers.tok_s(row.measurement.throughput_tok_s)}</td>" in line
            assert f">{numbers.duration_or_words(row.p95_s)}</td>" in line


def test_simulated_runs_carry_a_banner():
    """Simulated is said in the title and at the top; for hardware nowhere."""
    assert sample_page("passing").count("SIMULATED gb10") >= 2
    assert "SIMULATED" not in sample_page("hardware")


def test_panels_without_data_are_left_out():
    """No heading stands over nothing."""
    nothing, single = sample_page("empty"), sample_page("single")

    assert "No operating point was measured." in nothing
    assert "<figure" not in nothing
    assert "curve-title" not in single
    assert "curve-title" in sample_page("passing")


def test_the_page_says_what_to_do_next():
    """Verdict, next step, findings and their advice are there."""
    text = sample_page("regression")

    assert "Of 8 points and 3 comparisons, 4 regressed and 7 pass." in text
    assert "Slower than agreed." in text
    assert "Compare TTFT and TPOT with earlier runs." in text
    assert "records/fp8-b192-c160.jsonl.gz" in text


def test_a_veto_is_shown_beside_the_clients_own_numbers():
    """The validity table names what broke."""
    assert "the client used 91 % of a core (at most 70 %)" in sample_page("invalid")


def test_the_provenance_is_complete():
    """Command, commit, fingerprint and each point's engine are named."""
    report = samples.passing()
    text = render_html(report)

    assert samples.INFO.command in text
    assert FINGERPRINT.identity["hardware_profile"] in text
    assert report.measurements[0].fingerprint.identity["engine"] in text


def test_every_chart_has_a_text_alternative(page):
    """Each drawing is an image with a name, and its numbers stand in a table."""
    drawings = re.findall(r"<svg[^>]*>", page)

    assert all('role="img"' in drawing and "aria-labelledby" in drawing for drawing in drawings)
    assert page.count("Numbers of this chart") * 2 == len(drawings)
