"""An exploration in words, as a page and as a picture."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from perfgate.explore.findings import Budget, Confirmed, Exploration, Spent, Sweep, SweepRow
from perfgate.explore.limits import decompose, limits
from perfgate.explore.trials import Effect
from perfgate.model import Veto
from perfgate.report.exploration import exploration_text, fragment_notes, render_exploration
from perfgate.report.exploration_chart import exploration_svg
from tests.unit.explore_samples import GOAL, SPACE, START, a_trial, an_outcome, some_settings
from tests.unit.factories import a_run_info
from tests.unit.sim_samples import gb10

pytestmark = pytest.mark.unit


def an_exploration(**changes):
    """Three trials, of which the second is the best, confirmed by one measurement."""
    trials = (
        a_trial(0, 3058, 6.70),
        a_trial(1, 3334, 6.90, settings=some_settings(concurrency=178, chunked_context=True)),
        a_trial(2, 3472, 7.92, settings=some_settings(concurrency=209)),
    )
    row = SweepRow(concurrency=160, outcome=an_outcome(3058, 6.7), met=True)
    over = SweepRow(concurrency=192, outcome=an_outcome(3328, 7.4), met=False)
    parts = {
        "run": a_run_info(),
        "virtual": True,
        "start": START,
        "start_settings": some_settings(),
        "start_outcome": trials[0].outcome,
        "goal": GOAL,
        "seed": 1,
        "budget": Budget(candidates=150, minutes=20.0, confirm=1),
        "spent": Spent(candidates=100, earlier=40, search_s=61.0, confirm_s=43.0),
        "ranges": SPACE.ranges,
        "trials": trials,
        "front": (0, 1, 2),
        "best": 1,
        "best_point": SPACE.point(trials[1].settings),
        "sweeps": (
            Sweep(name="as it is", rows=(row, over)),
            Sweep(name="best", rows=(row,)),
            Sweep(name="best, static batching", rows=(over,)),
        ),
        "effects": (
            Effect(
                setting="chunked_context",
                chosen="True",
                other="False",
                trial=a_trial(0, 3189, 6.98),
                throughput_change=-0.0435,
            ),
            Effect(setting="precision", chosen="fp8", other="fp16"),
        ),
        "importance": {"prompt_room": 0.9, "slots": 0.1},
        "limits": limits(gb10(), START, 7.0, most=512),
        "decompositions": (decompose(gb10(), START),),
        "confirmed": (
            Confirmed(
                trial=1,
                point="p",
                promised=trials[1].outcome,
                measured=an_outcome(3320, 6.93),
                met=True,
            ),
        ),
    }
    return Exploration(**parts | changes)


def test_the_text_says_what_was_found_and_what_it_cost():
    """Headline, budget, limit, effects and confirmation stand in it, and that it is simulated."""
    text = exploration_text(an_exploration())

    assert text.startswith(
        "SIMULATED gb10: 3334 tok/s under a P95 of 7.00 s, +9.0 % against fp8-b192-c160 as it is\n"
    )
    assert (
        "100 of 150 candidates (40 of them in earlier sessions), 3 trials in virtual time" in text
    )
    assert re.search(r"as fitted +3485 +190", text)
    assert re.search(r"chunked_context +True +False +-4.3 %", text)
    assert re.search(r"precision +fp8 +fp16.*none found under it", text)
    assert re.search(r"p +3334.0 +3320.0 +6.90 s +6.93 s +holds", text)
    assert "3328.0 tok/s, P95 7.40 s *" in text


def test_nothing_under_the_ceiling_is_said_plainly():
    """Without a best there is no fragment, and no number in its place."""
    found = an_exploration(best=None, best_point=None, confirmed=(), effects=(), importance={})

    assert "No setting that was tried holds the ceiling of 7.00 s" in exploration_text(found)
    render_exploration(found)
    exploration_svg(found)


def test_a_vetoed_measurement_is_shown_as_saying_nothing():
    """Its rule stands in the table; the fragment does not boast of it."""
    (one,) = an_exploration().confirmed
    vetoed = replace(one, met=False, vetoes=(Veto(rule="client-lag", message="late"),))
    found = an_exploration(confirmed=(vetoed,))

    assert "INVALID: client-lag" in exploration_text(found)
    assert "not confirmed by a measurement" in fragment_notes(found)
    assert "measured, but vetoed" in exploration_svg(found)
    assert "measured: 3320.0 tok/s" in fragment_notes(an_exploration())


class _Page(HTMLParser):
    """Counts what a page would fetch, and what it shows."""

    def __init__(self):
        super().__init__()
        self.fetched, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        """Keep tags, and addresses that are not in the page."""
        self.tags.append(tag)
        addresses = [value for name, value in attrs if name in {"src", "href"}]
        self.fetched += [one for one in addresses if not one.startswith(("#", "data:"))]


def test_the_page_loads_nothing_and_shows_all():
    """One file: chart for wide and narrow screens, every table, both colour schemes."""
    html = render_exploration(an_exploration())
    page = _Page()
    page.feed(html)

    assert page.fetched == []
    assert page.tags.count("svg") == 2
    assert page.tags.count("table") == 8
    assert "script" not in page.tags
    assert "prefers-color-scheme: dark" in html


def test_words_of_a_run_cannot_become_markup():
    """Names and errors are escaped on the page and in the picture."""
    bad = "<script>alert(1)</script>"
    (one,) = an_exploration().confirmed
    found = an_exploration(
        confirmed=(replace(one, point=bad), replace(one, measured=None, failure=bad)),
        run=replace(a_run_info(), command=bad),
    )

    assert bad not in render_exploration(found)
    assert bad not in exploration_svg(found)


def test_the_picture_says_itself_in_words():
    """A screen reader gets title and description; the file is sound XML."""
    svg = exploration_svg(an_exploration())
    root = ET.fromstring(svg)  # noqa: S314 - our own
    name = "{http://www.w3.org/2000/svg}"

    assert "Throughput" in root.find(f"{name}title").text.title()
    description = root.find(f"{name}desc").text
    assert "Best under the ceiling of 7 s: 3334 tok/s, P95 6.90 s." in description
    assert "Measured on the target: 3320 tok/s, P95 6.93 s." in description
