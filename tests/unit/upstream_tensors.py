"""What upstream's model repository declares, written down apart from our own tables.

Read from `triton_backend/all_models/inflight_batcher_llm/*/config.pbtxt` of TensorRT-LLM, at the
commits 2a9abd9 (ensemble, tensorrt_llm), 808059d (preprocessing) and 89fd9b7 (postprocessing). A
line is a name, a type and dimensions; `?` marks an optional tensor, `~` a ragged one, `=` one that
the backend gets as a scalar.
"""

ENSEMBLE_INPUTS = """
text_input STRING 1
max_tokens INT32 1
num_return_sequences INT32 1 ?
bad_words STRING -1 ?
stop_words STRING -1 ?
exclude_input_in_output BOOL 1 ?
end_id INT32 1 ?
pad_id INT32 1 ?
top_k INT32 1 ?
top_p FP32 1 ?
temperature FP32 1 ?
length_penalty FP32 1 ?
repetition_penalty FP32 1 ?
min_tokens INT32 1 ?
presence_penalty FP32 1 ?
frequency_penalty FP32 1 ?
seed UINT64 1 ?
return_log_probs BOOL 1 ?
return_context_logits BOOL 1 ?
return_generation_logits BOOL 1 ?
return_perf_metrics BOOL 1 ?
return_num_input_tokens BOOL 1 ?
return_num_output_tokens BOOL 1 ?
beam_width INT32 1 ?
stream BOOL 1 ?
"""

ENGINE_INPUTS = """
input_ids INT32 -1 ?~
input_lengths INT32 1 =
request_output_len INT32 1 =
num_return_sequences INT32 1 ?=
end_id INT32 1 ?=
pad_id INT32 1 ?=
stop_words_list INT32 2,-1 ?~
bad_words_list INT32 2,-1 ?~
beam_width INT32 1 ?=
temperature FP32 1 ?=
runtime_top_k INT32 1 ?=
runtime_top_p FP32 1 ?=
len_penalty FP32 1 ?=
repetition_penalty FP32 1 ?=
min_tokens INT32 1 ?=
presence_penalty FP32 1 ?=
frequency_penalty FP32 1 ?=
seed UINT64 1 ?=
return_log_probs BOOL 1 ?=
return_context_logits BOOL 1 ?=
return_generation_logits BOOL 1 ?=
return_perf_metrics BOOL 1 ?=
return_num_input_tokens BOOL 1 ?=
return_num_output_tokens BOOL 1 ?=
exclude_input_in_output BOOL 1 ?=
stop BOOL 1 ?=
streaming BOOL 1 ?=
"""

RESULTS = """
cum_log_probs FP32 -1
output_log_probs FP32 -1,-1
context_logits FP32 -1,-1
generation_logits FP32 -1,-1,-1
batch_index INT32 1
sequence_index INT32 1
kv_cache_alloc_new_blocks INT32 1
kv_cache_reused_blocks INT32 1
kv_cache_alloc_total_blocks INT32 1
arrival_time_ns INT64 1
first_scheduled_time_ns INT64 1
first_token_time_ns INT64 1
last_token_time_ns INT64 1
acceptance_rate FP32 1
total_accepted_draft_tokens INT32 1
total_draft_tokens INT32 1
num_input_tokens INT32 1
num_output_tokens INT32 1
"""

PREPROCESSING_INPUTS = """
QUERY STRING 1
REQUEST_OUTPUT_LEN INT32 1
BAD_WORDS_DICT STRING -1 ?
STOP_WORDS_DICT STRING -1 ?
END_ID INT32 1 ?
PAD_ID INT32 1 ?
"""

PREPROCESSING_OUTPUTS = """
INPUT_ID INT32 -1
REQUEST_INPUT_LEN INT32 1
BAD_WORDS_IDS INT32 2,-1
STOP_WORDS_IDS INT32 2,-1
REQUEST_OUTPUT_LEN INT32 -1
OUT_END_ID INT32 1
OUT_PAD_ID INT32 1
"""

INPUTS = {
    "ensemble": ENSEMBLE_INPUTS,
    "preprocessing": PREPROCESSING_INPUTS,
    "tensorrt_llm": ENGINE_INPUTS,
    "postprocessing": "TOKENS_BATCH INT32 -1,-1\nSEQUENCE_LENGTH INT32 -1",
}
OUTPUTS = {
    "ensemble": f"text_output STRING -1\n{RESULTS}",
    "preprocessing": PREPROCESSING_OUTPUTS,
    "tensorrt_llm": f"output_ids INT32 -1,-1\nsequence_length INT32 -1\n{RESULTS}",
    "postprocessing": "OUTPUT STRING -1",
}

# Each step's tensors and the ensemble's, `engine tensor < ensemble tensor` or `>` for outputs.
STEPS = {
    "preprocessing": """
QUERY < text_input
REQUEST_OUTPUT_LEN < max_tokens
BAD_WORDS_DICT < bad_words
STOP_WORDS_DICT < stop_words
END_ID < end_id
PAD_ID < pad_id
INPUT_ID > _INPUT_ID
REQUEST_INPUT_LEN > _REQUEST_INPUT_LEN
BAD_WORDS_IDS > _BAD_WORDS_IDS
STOP_WORDS_IDS > _STOP_WORDS_IDS
REQUEST_OUTPUT_LEN > _REQUEST_OUTPUT_LEN
OUT_END_ID > _PREPROCESSOR_END_ID
OUT_PAD_ID > _PREPROCESSOR_PAD_ID
""",
    "tensorrt_llm": """
input_ids < _INPUT_ID
input_lengths < _REQUEST_INPUT_LEN
request_output_len < _REQUEST_OUTPUT_LEN
exclude_input_in_output < exclude_input_in_output
end_id < _PREPROCESSOR_END_ID
pad_id < _PREPROCESSOR_PAD_ID
runtime_top_k < top_k
runtime_top_p < top_p
temperature < temperature
len_penalty < length_penalty
repetition_penalty < repetition_penalty
min_tokens < min_tokens
presence_penalty < presence_penalty
frequency_penalty < frequency_penalty
seed < seed
return_log_probs < return_log_probs
return_context_logits < return_context_logits
return_generation_logits < return_generation_logits
return_perf_metrics < return_perf_metrics
return_num_input_tokens < return_num_input_tokens
return_num_output_tokens < return_num_output_tokens
num_return_sequences < num_return_sequences
beam_width < beam_width
streaming < stream
stop_words_list < _STOP_WORDS_IDS
bad_words_list < _BAD_WORDS_IDS
output_ids > _TOKENS_BATCH
sequence_length > _SEQUENCE_LENGTH
cum_log_probs > cum_log_probs
output_log_probs > output_log_probs
context_logits > context_logits
generation_logits > generation_logits
batch_index > batch_index
sequence_index > sequence_index
kv_cache_alloc_new_blocks > kv_cache_alloc_new_blocks
kv_cache_reused_blocks > kv_cache_reused_blocks
kv_cache_alloc_total_blocks > kv_cache_alloc_total_blocks
arrival_time_ns > arrival_time_ns
first_scheduled_time_ns > first_scheduled_time_ns
first_token_time_ns > first_token_time_ns
last_token_time_ns > last_token_time_ns
acceptance_rate > acceptance_rate
total_accepted_draft_tokens > total_accepted_draft_tokens
total_draft_tokens > total_draft_tokens
num_input_tokens > num_input_tokens
num_output_tokens > num_output_tokens
""",
    "postprocessing": """
TOKENS_BATCH < _TOKENS_BATCH
SEQUENCE_LENGTH < _SEQUENCE_LENGTH
OUTPUT > text_output
""",
}


# Declared upstream and not here: nobody asks for them, and an ensemble looks at every declared
# output with every token.
LEFT_OUT = {
    "cum_log_probs",
    "output_log_probs",
    "context_logits",
    "generation_logits",
    "batch_index",
    "sequence_index",
    "acceptance_rate",
    "total_accepted_draft_tokens",
    "total_draft_tokens",
}


def tensor_lines(text):
    """The lines as (name, type, dimensions, marks)."""
    rows = [line.split() for line in text.split("\n") if line and line.split()[0] not in LEFT_OUT]
    return {
        (name, kind, tuple(map(int, dims.split(","))), frozenset("".join(marks)))
        for name, kind, dims, *marks in rows
    }


def map_lines(text, arrow):
    """One direction of a step's map."""
    pairs = [line.split(f" {arrow} ") for line in text.split("\n") if f" {arrow} " in line]
    return {inner: outer for inner, outer in pairs if inner not in LEFT_OUT}
