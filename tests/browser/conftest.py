"""One browser for all checks, and the sample reports as files."""

import shutil

import pytest

from perfgate.report.html import render_html
from perfgate.report.plots import curve_svg
from perfgate.report.sweep import sweep_html
from tests.browser.chromium import chromium
from tests.unit import report_samples as samples
from tests.unit.sim_samples import gb10
from tests.unit.sweep_samples import a_sweep_file

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A tab of a headless Chromium; skipped where none is installed."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with chromium(executable, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """The folder of the rendered samples."""
    folder = tmp_path_factory.mktemp("reports")
    for name, sample in samples.ALL.items():
        (folder / f"{name}.html").write_text(render_html(sample()), encoding="utf-8")
    swept = sweep_html(a_sweep_file(), gb10())
    (folder / "concurrencies.html").write_text(swept, encoding="utf-8")
    (folder / "million.html").write_text(render_html(samples.million()), encoding="utf-8")
    (folder / "curve.svg").write_text(curve_svg(samples.passing().curve), encoding="utf-8")
    return folder


@pytest.fixture
def screen(browser):
    """Sets width, colour scheme and medium of the tab; undone afterwards."""

    def show(*, width=1100, scheme="light", media="screen"):
        phone = width < 500
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=phone,
        )
        browser.call(
            "Emulation.setEmulatedMedia",
            media=media,
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    yield show
    browser.call("Emulation.clearDeviceMetricsOverride")
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
