"""Transformers' continuous batching at the load of point `fp8-b64-c64`, in 16 bits: tokens/s.

    python benchmarks/transformers_batching.py OUT

The yardstick for keeping an engine of our own: the same model shape with random weights, the same
prompts and lengths, the attention Transformers has without packages beside PyTorch (`paged|sdpa`).
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import torch
import transformers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.generation import ContinuousBatchingConfig

from perfgate.hardware import load_profile

ROOT = Path(__file__).parents[1]
BATCH, LENGTH, WAVES = 64, 128, 3


def main(out: Path) -> None:
    """Generate a few waves of requests and write the rate of all but the first."""
    shape = load_profile(ROOT / "hardware" / "h100.toml").require_simulation().model
    config = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocab,
        attn_implementation="paged|sdpa",
    )
    with torch.device("cuda"):
        torch.set_default_dtype(torch.float16)
        model = LlamaForCausalLM(config).eval()
    rng = random.Random(1)  # noqa: S311 - prompts, not secrets
    rates = []
    for _ in range(WAVES):
        prompts = [rng.choices(range(4096), k=LENGTH) for _ in range(BATCH)]
        started = time.perf_counter()
        answers = model.generate_batch(
            prompts,
            generation_config=GenerationConfig(
                max_new_tokens=LENGTH, do_sample=False, eos_token_id=-1, pad_token_id=0
            ),
            continuous_batching_config=ContinuousBatchingConfig(
                max_requests_per_batch=BATCH, max_batch_tokens=8192, num_blocks=256
            ),
            persistent_manager=True,
        )
        seconds = time.perf_counter() - started
        tokens = sum(len(answer.generated_tokens) for answer in answers.values())
        rates.append(tokens / seconds)
        print(f"{tokens} tokens in {seconds:.1f} s: {rates[-1]:.0f} tok/s", flush=True)
    found = {"transformers": transformers.__version__, "waves_tok_s": rates}
    (out / "transformers.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
