"""An engine that is not what was asked for is never served, and the message says what to do."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.engines.inspect import check_checkpoint, check_engine, check_version
from perfgate.engines.layout import simulated_config
from perfgate.errors import BuildError
from perfgate.model import EngineSpec, Precision
from tests.unit.sim_samples import gb10

pytestmark = pytest.mark.unit

SIZES = st.integers(1, 4096)


def a_spec(precision=Precision.FP8, **changes):
    """What is asked for."""
    sizes = {
        "max_batch_size": 16,
        "max_input_len": 1536,
        "max_seq_len": 2048,
        "max_num_tokens": 8192,
    }
    return EngineSpec(model="llm-7b", precision=precision, **{**sizes, **changes})


def a_config(spec):
    """What a correct build of it says of itself."""
    return simulated_config(spec, gb10(), "test")


def changed(config, path, value):
    """The same config with another value at a dotted path."""
    other = copy.deepcopy(config)
    *folders, last = path.split(".")
    table = other
    for folder in folders:
        table = table[folder]
    table[last] = value
    return other


def a_checkpoint(quant_algo, kv_cache_quant_algo):
    """What a TensorRT-LLM checkpoint says of its precision."""
    return {"quantization": {"quant_algo": quant_algo, "kv_cache_quant_algo": kv_cache_quant_algo}}


@pytest.mark.parametrize(
    ("precision", "algorithms", "message"),
    [
        (Precision.FP8, ("FP8", "FP8"), None),
        (Precision.FP16, (None, None), None),
        (Precision.FP8, (None, None), "asked FP8, got none"),
        (Precision.FP8, ("FP8", None), "asked FP8 for the KV cache, got none"),
        (Precision.FP16, ("FP8", None), "asked FP16, got FP8"),
        (Precision.FP16, (None, "FP8"), "asked FP16 for the KV cache, got FP8"),
    ],
)
def test_a_checkpoint_is_checked_before_an_hour_s_build(precision, algorithms, message):
    """Both of its precisions, each told apart."""
    config = a_checkpoint(*algorithms)
    if message is None:
        check_checkpoint(config, a_spec(precision))
        return
    with pytest.raises(BuildError, match=message):
        check_checkpoint(config, a_spec(precision))


@given(
    precision=st.sampled_from(Precision),
    batch=SIZES,
    length=SIZES,
    room=SIZES,
    tokens=SIZES,
    block=st.sampled_from((16, 32, 64)),
    fmha=st.booleans(),
)
def test_what_was_asked_for_passes(  # noqa: PLR0917 - one for each size
    precision, batch, length, room, tokens, block, fmha
):
    """Whatever the sizes, an engine built to the spec is accepted."""
    spec = a_spec(
        precision,
        max_batch_size=batch,
        max_input_len=length,
        max_seq_len=length + room,
        max_num_tokens=tokens,
        tokens_per_block=block,
        context_fmha=fmha,
    )

    check_engine(a_config(spec), spec)


def test_an_fp16_engine_under_an_fp8_name_is_found_out():
    """The silent false baseline: built from an unquantised checkpoint with an fp8 plugin."""
    config = changed(
        a_config(a_spec(Precision.FP16)), "build_config.plugin_config.gemm_plugin", "fp8"
    )

    with pytest.raises(BuildError) as failure:
        check_engine(config, a_spec(Precision.FP8))

    assert "asked FP8, got none" in str(failure.value)
    assert "the checkpoint has no quant_algo" in str(failure.value)
    assert "`--gemm_plugin fp8` alone does not quantise" in str(failure.value)
    assert "quantize.py --qformat fp8 --kv_cache_dtype fp8" in str(failure.value)


def test_a_quantised_engine_under_an_fp16_name_is_found_out():
    """The other way round: a reference that is faster than it says."""
    with pytest.raises(BuildError, match="asked FP16, got FP8: the checkpoint is quantised"):
        check_engine(a_config(a_spec(Precision.FP8)), a_spec(Precision.FP16))


def test_a_kv_cache_left_at_16_bits_is_found_out():
    """FP8 GEMMs with an FP16 cache are another engine: half the batch fits."""
    config = changed(a_config(a_spec()), "pretrained_config.quantization.kv_cache_quant_algo", None)

    with pytest.raises(BuildError, match="asked FP8 for the KV cache, got none"):
        check_engine(config, a_spec())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pretrained_config.dtype", "bfloat16"),
        ("build_config.max_batch_size", 2048),
        ("build_config.max_input_len", 1024),
        ("build_config.max_seq_len", 131072),
        ("build_config.max_num_tokens", 4096),
        ("build_config.max_beam_width", 4),
        ("build_config.kv_cache_type", "CONTINUOUS"),
        ("build_config.plugin_config.context_fmha", False),
        ("build_config.plugin_config.tokens_per_block", 64),
        ("build_config.plugin_config.gemm_plugin", "fp8"),
        ("build_config.plugin_config.use_paged_context_fmha", False),
        ("build_config.plugin_config.use_fp8_context_fmha", False),
        ("build_config.plugin_config.remove_input_padding", False),
        ("build_config.plugin_config.multiple_profiles", False),
    ],
)
def test_every_other_difference_is_named(field, value):
    """Field, asked and got stand in the message."""
    good = a_config(a_spec())

    with pytest.raises(BuildError) as failure:
        check_engine(changed(good, field, value), a_spec())

    assert f"asked {field} " in str(failure.value)
    assert f"got {value}" in str(failure.value)


@pytest.mark.parametrize("field", ["pretrained_config", "build_config", "version"])
def test_a_config_of_an_unknown_form_is_said_to_be_one(field):
    """A file without the fields is no proof of anything; an unread field is not missed."""
    config = a_config(a_spec())
    del config[field]

    if field == "version":
        check_engine(config, a_spec())
    else:
        with pytest.raises(BuildError, match=f"no {field}.*unknown version of TensorRT-LLM"):
            check_engine(config, a_spec())


def test_an_engine_of_another_version_is_told_from_one_of_the_pinned():
    """Both versions stand in the message."""
    check_version({"version": "1.2.1"}, "1.2.1")

    with pytest.raises(BuildError, match=r"pins TensorRT-LLM 1\.2\.1, .*built by 1\.2\.0"):
        check_version({"version": "1.2.0"}, "1.2.1")
