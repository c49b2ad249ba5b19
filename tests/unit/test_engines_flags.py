"""A plan that uses what a tool does not know is refused before it runs for an hour."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from perfgate.engines import flags
from perfgate.engines.flags import Flag, Tool, check_argv, check_keywords, flatten, require_tool
from perfgate.errors import MissingRequirementError, UsageError

pytestmark = pytest.mark.unit

BUILD = ("trtllm-build", "1.2.1")


@pytest.mark.parametrize(
    ("tool", "flag"),
    [(name, flag) for name, tool in flags.tables().tools.items() for flag in tool.flags],
)
def test_every_entry_can_be_used(tool, flag):
    """Each flag of each table has a form the checker knows, and takes a value of it."""
    takes = flags.tables().tools[tool].flags[flag]
    version = flags.tables().tools[tool].first
    if isinstance(takes, Flag):
        takes, version = takes.values, takes.since or version
    value = takes[0] if isinstance(takes, list) else {"int": "7", "number": "0.5"}.get(takes, "x")
    words = [flag] if takes == "switch" else [flag, value]
    if tool == "LLM":
        check_keywords(tool, version, {flag: True if takes == "switch" else value})
    else:
        check_argv(tool, version, words)


@pytest.mark.parametrize("tool", flags.tables().tools)
def test_every_table_names_its_source(tool):
    """Who doubts an entry can look it up; a tool that ended says what to do instead."""
    table = flags.tables().tools[tool]

    assert len(table.source) > 20
    assert table.last is None or table.gone
    assert not set(table.removed) & set(table.flags)


def test_both_ways_to_write_a_value_are_read():
    """`--flag value` and `--flag=value` are the same."""
    check_argv(*BUILD, ["--max_batch_size", "192", "--gemm_plugin=disable"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gemm_plugins", "fp8"], r"--gemm_plugins.*trtllm-build 1\.2\.1 has no such flag"),
        (["--gemm_plugin", "int4"], "--gemm_plugin: got 'int4'.*1.2.1 takes one of auto"),
        (["--context_fmha", "on"], "--context_fmha: got 'on'.*enable, disable"),
        (["--max_batch_size", "many"], "--max_batch_size: got 'many'.*whole number"),
        (["--max_batch_size"], "wants a value after it"),
        (["--fast_build=yes"], "--fast_build: got 'yes'.*no value"),
        (["192"], "192.*no such flag"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_the_version_does_not_know_is_named(arguments, message):
    """Flag, value, tool and version stand in the message."""
    with pytest.raises(UsageError, match=message):
        check_argv(*BUILD, arguments)


@pytest.mark.parametrize(
    "flag",
    [
        "--max_output_len",
        "--strongly_typed",
        "--use_custom_all_reduce",
        "--multi_block_mode",
        "--enable_xqa",
        "--auto_parallel",
    ],
)
def test_a_flag_of_old_recipes_is_called_one(flag):
    """It is not a typing error, and the message does not say so."""
    with pytest.raises(UsageError, match=r"dropped it long before 1\.2\.1"):
        check_argv(*BUILD, [flag, "enable"])


@pytest.mark.parametrize("version", ["1.3.0", "1.4.0rc1", "2.0"])
def test_a_version_without_the_tool_says_what_to_do(version):
    """TensorRT-LLM without engines leads to the other target."""
    with pytest.raises(MissingRequirementError, match="--target llmapi"):
        check_argv("trtllm-build", version, [])


def test_a_version_before_all_tables_is_refused():
    """Nothing is assumed of releases nobody looked at."""
    with pytest.raises(MissingRequirementError, match=r"older than 1\.0\.0"):
        require_tool("trtllm-build", "0.20.0")


def test_a_version_that_is_none_is_a_usage_error():
    """`latest` pins nothing."""
    with pytest.raises(UsageError, match="version: got 'latest'"):
        require_tool("trtllm-build", "latest")


VERSIONS = st.builds("{}.{}".format, st.integers(1, 3), st.integers(0, 9))


@given(since=VERSIONS, until=VERSIONS, version=VERSIONS)
def test_a_flag_is_known_from_its_first_to_its_last_version(since, until, version):
    """And at no other time."""
    tool = Tool(
        package="x",
        first="1.0",
        source="",
        flags={"--new": Flag("switch", since=since, until=until)},
        removed=[],
    )
    known = Version(since) <= Version(version) <= Version(until)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flags, "tables", lambda: flags.Tables({"x": tool}, {}))
        if known:
            check_argv("x", version, ["--new"])
        else:
            with pytest.raises(UsageError, match="--new"):
                check_argv("x", version, ["--new"])


def test_keywords_are_checked_to_their_leaves():
    """A misspelt setting of the KV cache would size the cache by free memory in silence."""
    check_keywords("LLM", "1.3.0rc13", {"kv_cache_config": {"max_tokens": 65536}})

    with pytest.raises(UsageError, match=r"kv_cache_config\.max_token"):
        check_keywords("LLM", "1.3.0rc13", {"kv_cache_config": {"max_token": 65536}})
    assert flatten({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}


def test_every_container_holds_a_supported_version():
    """A pinned tag leads to a TensorRT-LLM whose flags are known."""
    for held in flags.tables().containers.values():
        require_tool("trtllm-build", held["tensorrt-llm"])
