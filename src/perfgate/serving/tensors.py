"""The tensors of the served models, as data: upstream's names, types and shapes.

Source: `triton_backend/all_models/inflight_batcher_llm/*/config.pbtxt` of TensorRT-LLM 1.2. Left
out is what a decoder-only text model never uses: encoder inputs, images, LoRA, prompt tuning,
draft tokens, cache retention, guided decoding.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a model; `scalar` ones are `[1]` to the client and `[]` to the backend."""

    name: str
    data_type: str
    dims: tuple[int, ...] = (1,)
    optional: bool = False
    scalar: bool = False
    ragged: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the ensemble: which ensemble tensor feeds or takes each tensor of the model."""

    model: str
    inputs: dict[str, str]
    outputs: dict[str, str]


ENSEMBLE = "ensemble"
PREPROCESSING = "preprocessing"
TENSORRT_LLM = "tensorrt_llm"
POSTPROCESSING = "postprocessing"

# Options that the ensemble hands to the engine as they are: name there, type, name of the engine's.
_SAMPLING = (
    ("num_return_sequences", "INT32", "num_return_sequences"),
    ("top_k", "INT32", "runtime_top_k"),
    ("top_p", "FP32", "runtime_top_p"),
    ("temperature", "FP32", "temperature"),
    ("length_penalty", "FP32", "len_penalty"),
    ("repetition_penalty", "FP32", "repetition_penalty"),
    ("min_tokens", "INT32", "min_tokens"),
    ("presence_penalty", "FP32", "presence_penalty"),
    ("frequency_penalty", "FP32", "frequency_penalty"),
    ("seed", "UINT64", "seed"),
    ("beam_width", "INT32", "beam_width"),
    ("stream", "BOOL", "streaming"),
    ("exclude_input_in_output", "BOOL", "exclude_input_in_output"),
    ("return_log_probs", "BOOL", "return_log_probs"),
    ("return_context_logits", "BOOL", "return_context_logits"),
    ("return_generation_logits", "BOOL", "return_generation_logits"),
    ("return_perf_metrics", "BOOL", "return_perf_metrics"),
    ("return_num_input_tokens", "BOOL", "return_num_input_tokens"),
    ("return_num_output_tokens", "BOOL", "return_num_output_tokens"),
)

# What the engine answers beside tokens; the ensemble passes each through under the same name. The
# ensemble looks at every declared output with every token, so those that nobody here asks for
# (log probabilities, logits, indices, draft tokens) are left out.
RESULTS = (
    Tensor("kv_cache_alloc_new_blocks", "INT32"),
    Tensor("kv_cache_reused_blocks", "INT32"),
    Tensor("kv_cache_alloc_total_blocks", "INT32"),
    Tensor("arrival_time_ns", "INT64"),
    Tensor("first_scheduled_time_ns", "INT64"),
    Tensor("first_token_time_ns", "INT64"),
    Tensor("last_token_time_ns", "INT64"),
    Tensor("num_input_tokens", "INT32"),
    Tensor("num_output_tokens", "INT32"),
)

LLMAPI = "llmapi"
"""The table of the model that serves the LLM API; Triton knows it as `tensorrt_llm`."""

# What the LLM API can be asked for, and answers; the names are the ensemble's.
_LLMAPI_INPUTS = (
    "top_k",
    "top_p",
    "temperature",
    "min_tokens",
    "seed",
    "stream",
    "exclude_input_in_output",
    "return_perf_metrics",
    "return_num_input_tokens",
    "return_num_output_tokens",
)
_LLMAPI_RESULTS = (
    "kv_cache_alloc_new_blocks",
    "kv_cache_reused_blocks",
    "kv_cache_alloc_total_blocks",
    "arrival_time_ns",
    "first_scheduled_time_ns",
    "first_token_time_ns",
    "last_token_time_ns",
    "num_input_tokens",
    "num_output_tokens",
)

INPUTS: dict[str, tuple[Tensor, ...]] = {
    ENSEMBLE: (
        Tensor("text_input", "STRING"),
        Tensor("max_tokens", "INT32"),
        Tensor("bad_words", "STRING", (-1,), optional=True),
        Tensor("stop_words", "STRING", (-1,), optional=True),
        Tensor("end_id", "INT32", optional=True),
        Tensor("pad_id", "INT32", optional=True),
        *(Tensor(name, kind, optional=True) for name, kind, _ in _SAMPLING),
    ),
    PREPROCESSING: (
        Tensor("QUERY", "STRING"),
        Tensor("REQUEST_OUTPUT_LEN", "INT32"),
        Tensor("BAD_WORDS_DICT", "STRING", (-1,), optional=True),
        Tensor("STOP_WORDS_DICT", "STRING", (-1,), optional=True),
        Tensor("END_ID", "INT32", optional=True),
        Tensor("PAD_ID", "INT32", optional=True),
    ),
    TENSORRT_LLM: (
        Tensor("input_ids", "INT32", (-1,), optional=True, ragged=True),
        Tensor("input_lengths", "INT32", scalar=True),
        Tensor("request_output_len", "INT32", scalar=True),
        Tensor("end_id", "INT32", optional=True, scalar=True),
        Tensor("pad_id", "INT32", optional=True, scalar=True),
        Tensor("stop_words_list", "INT32", (2, -1), optional=True, ragged=True),
        Tensor("bad_words_list", "INT32", (2, -1), optional=True, ragged=True),
        Tensor("stop", "BOOL", optional=True, scalar=True),
        *(Tensor(name, kind, optional=True, scalar=True) for _, kind, name in _SAMPLING),
    ),
    POSTPROCESSING: (
        Tensor("TOKENS_BATCH", "INT32", (-1, -1)),
        Tensor("SEQUENCE_LENGTH", "INT32", (-1,)),
    ),
    LLMAPI: (
        Tensor("text_input", "STRING"),
        Tensor("max_tokens", "INT32"),
        Tensor("end_id", "INT32", optional=True),
        Tensor("ignore_eos", "BOOL", optional=True),
        *(
            Tensor(name, kind, optional=True)
            for name, kind, _ in _SAMPLING
            if name in _LLMAPI_INPUTS
        ),
    ),
}

OUTPUTS: dict[str, tuple[Tensor, ...]] = {
    ENSEMBLE: (Tensor("text_output", "STRING", (-1,)), *RESULTS),
    PREPROCESSING: (
        Tensor("INPUT_ID", "INT32", (-1,)),
        Tensor("REQUEST_INPUT_LEN", "INT32"),
        Tensor("BAD_WORDS_IDS", "INT32", (2, -1)),
        Tensor("STOP_WORDS_IDS", "INT32", (2, -1)),
        Tensor("REQUEST_OUTPUT_LEN", "INT32", (-1,)),
        Tensor("OUT_END_ID", "INT32"),
        Tensor("OUT_PAD_ID", "INT32"),
    ),
    TENSORRT_LLM: (
        Tensor("output_ids", "INT32", (-1, -1)),
        Tensor("sequence_length", "INT32", (-1,)),
        *RESULTS,
    ),
    POSTPROCESSING: (Tensor("OUTPUT", "STRING", (-1,)),),
    LLMAPI: (
        Tensor("text_output", "STRING", (-1,)),
        *(result for result in RESULTS if result.name in _LLMAPI_RESULTS),
    ),
}

STEPS = (
    Step(
        PREPROCESSING,
        inputs={
            "QUERY": "text_input",
            "REQUEST_OUTPUT_LEN": "max_tokens",
            "BAD_WORDS_DICT": "bad_words",
            "STOP_WORDS_DICT": "stop_words",
            "END_ID": "end_id",
            "PAD_ID": "pad_id",
        },
        outputs={
            "INPUT_ID": "_INPUT_ID",
            "REQUEST_INPUT_LEN": "_REQUEST_INPUT_LEN",
            "BAD_WORDS_IDS": "_BAD_WORDS_IDS",
            "STOP_WORDS_IDS": "_STOP_WORDS_IDS",
            "REQUEST_OUTPUT_LEN": "_REQUEST_OUTPUT_LEN",
            "OUT_END_ID": "_PREPROCESSOR_END_ID",
            "OUT_PAD_ID": "_PREPROCESSOR_PAD_ID",
        },
    ),
    Step(
        TENSORRT_LLM,
        inputs={
            "input_ids": "_INPUT_ID",
            "input_lengths": "_REQUEST_INPUT_LEN",
            "request_output_len": "_REQUEST_OUTPUT_LEN",
            "end_id": "_PREPROCESSOR_END_ID",
            "pad_id": "_PREPROCESSOR_PAD_ID",
            "stop_words_list": "_STOP_WORDS_IDS",
            "bad_words_list": "_BAD_WORDS_IDS",
            **{engine: ensemble for ensemble, _, engine in _SAMPLING},
        },
        outputs={
            "output_ids": "_TOKENS_BATCH",
            "sequence_length": "_SEQUENCE_LENGTH",
            **{result.name: result.name for result in RESULTS},
        },
    ),
    Step(
        POSTPROCESSING,
        inputs={"TOKENS_BATCH": "_TOKENS_BATCH", "SEQUENCE_LENGTH": "_SEQUENCE_LENGTH"},
        outputs={"OUTPUT": "text_output"},
    ),
)
