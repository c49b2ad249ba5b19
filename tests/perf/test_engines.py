"""Every engine is what it was asked to be, read from its own config.json."""

import pytest

pytestmark = pytest.mark.perf


def test_fp16_engines_hold_no_quantised_layer(fp16_engines, engine_config):
    """An FP16 engine names no quantisation."""
    for engine in fp16_engines:
        assert engine_config(engine)["pretrained_config"]["quantization"]["quant_algo"] is None


def test_fp8_engines_are_quantised(fp8_engines, engine_config):
    """An FP8 engine is FP8 in its GEMM layers and in its KV cache."""
    for engine in fp8_engines:
        quantization = engine_config(engine)["pretrained_config"]["quantization"]

        assert quantization["quant_algo"] == "FP8"
        assert quantization["kv_cache_quant_algo"] == "FP8"


def test_engines_have_the_sizes_asked_for(engines, engine_config):
    """Batch, input, sequence and token limits are those of points.toml."""
    for engine in engines.values():
        build = engine_config(engine)["build_config"]

        assert build["max_batch_size"] == engine.spec.max_batch_size
        assert build["max_input_len"] == engine.spec.max_input_len
        assert build["max_seq_len"] == engine.spec.max_seq_len
        assert build["max_num_tokens"] == engine.spec.max_num_tokens
