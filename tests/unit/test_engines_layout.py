"""The engine directory: two files, and no way to take a simulated engine for a real one."""

from dataclasses import replace

import pytest

from perfgate.engines.layout import MAGIC, read_config, read_simulated, write_simulated
from perfgate.errors import BuildError, RecordsError, UsageError
from tests.unit.factories import a_point
from tests.unit.sim_samples import gb10

pytestmark = pytest.mark.unit

SPEC = a_point().engine


@pytest.fixture
def engine(tmp_path):
    """A simulated engine's directory."""
    write_simulated(tmp_path, SPEC, gb10(), "0.1")
    return tmp_path


def test_what_was_written_is_read_back(engine):
    """Spec and profile survive, and the config says that it is simulated and of what."""
    read = read_simulated(engine)

    assert (read.spec, read.profile) == (SPEC, gb10())
    config = read_config(engine)
    assert config["simulated"] is True
    assert config["simulated_hardware"] == "gb10"


def test_the_engine_file_says_at_once_what_it_is(engine):
    """Whoever opens `rank0.engine` reads in its first line that no GPU can run it."""
    assert MAGIC in (engine / "rank0.engine").read_text()[:100]


def test_a_real_engine_is_refused(engine):
    """A TensorRT plan is not parsed as if it were ours."""
    (engine / "rank0.engine").write_bytes(b"ftrt\0\1\2\3")

    with pytest.raises(BuildError, match="no simulated engine: only the target `sim`"):
        read_simulated(engine)


def test_a_damaged_engine_is_refused(engine):
    """Half a simulated engine is an error that names the file."""
    path = engine / "rank0.engine"
    path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(RecordsError, match=r"rank0\.engine"):
        read_simulated(engine)


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "is no engine directory"), ("{", "is damaged"), ("[]", "holds no JSON object")],
    ids=["missing", "cut off", "a list"],
)
def test_a_config_that_cannot_be_read_says_why(engine, text, message):
    """Missing, cut off or another thing: named, with the cure."""
    path = engine / "config.json"
    path.unlink() if text is None else path.write_text(text)

    with pytest.raises(BuildError, match=message):
        read_config(engine)


def test_a_profile_without_a_simulation_builds_none(tmp_path):
    """Nothing is made up for hardware that has no cost model."""
    with pytest.raises(UsageError, match=r"no \[simulation\] table"):
        write_simulated(tmp_path, SPEC, replace(gb10(), simulation=None), "0.1")
