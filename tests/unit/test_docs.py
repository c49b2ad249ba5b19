"""The documentation shows what the commands print."""

import importlib.util
import re

import pytest

from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

SPEC = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
generate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)

PAGE = "before\n<!-- output: perfgate simulate -->\n```\nstale\n```\n<!-- end -->\nafter\n"
BLOCKS = [
    (page, match["command"], match[0])
    for page in generate.PAGES
    for match in generate._BLOCK.finditer(page.read_text(encoding="utf-8"))
    if match["kind"] == generate.OUTPUT
]


@pytest.fixture(autouse=True)
def any_target(monkeypatch):
    """Virtual time needs no Triton wheel."""
    monkeypatch.setattr("perfgate.targets.lacks", lambda *_, **__: ())


@pytest.mark.parametrize(
    ("page", "command", "shown"), BLOCKS, ids=[f"{p.name}: {c}" for p, c, _ in BLOCKS]
)
def test_what_a_page_shows_is_what_the_command_prints(page, command, shown):
    """`python docs/generate.py` writes it anew."""
    assert generate.renewed(shown) == shown, f"{page.name} is stale: {command}"


def test_a_stale_page_is_renewed_between_its_marks_only(monkeypatch):
    """The text around stays as it is."""
    monkeypatch.setattr(generate, "printed", lambda *_: "fresh\n")

    assert generate.renewed(PAGE) == PAGE.replace("stale", "fresh")


def test_a_recorded_run_is_left_alone_without_its_folder(monkeypatch):
    """What took minutes on a server is only written when the run is named."""
    monkeypatch.setattr(generate, "printed", lambda *_: "fresh\n")
    page = PAGE.replace("output:", "recorded:")

    assert generate.renewed(page) == page
    assert "fresh" in generate.renewed(page, ROOT)


def test_a_command_that_fails_is_an_error_not_a_page():
    """A mistake in a page's command is not pasted as its output."""
    with pytest.raises(SystemExit, match="exit code 2"):
        generate.printed("perfgate simulate --hardware gb200")


def test_every_mark_is_closed():
    """A forgotten end would swallow the text up to the next one."""
    for page in generate.PAGES:
        text = page.read_text(encoding="utf-8")
        opened = len(re.findall(r"^<!-- (?:output|recorded): ", text, re.MULTILINE))
        assert opened == len(re.findall(r"^<!-- end -->$", text, re.MULTILINE)), page
