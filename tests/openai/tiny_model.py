"""A llama of random weights: a GGUF file for llama-server, a Hugging Face folder for vLLM.

Its tokenizer is the simulated model's own, so that prompts have the length that was planned. As
`python tests/openai/tiny_model.py FOLDER` it writes both.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from perfgate.serving.tokenizer import END_OF_TEXT, load_tokenizer, save_tokenizer

gguf = pytest.importorskip("gguf")  # of the extra `openai`

CONTEXT = 512
LAYERS = 2
HIDDEN = 128
HEADS = 4
KV_HEADS = 2
HEAD = HIDDEN // HEADS
FFN = 256


def write_gguf(path: Path) -> Path:
    """One file with everything in it."""
    model = json.loads(load_tokenizer().to_str())["model"]
    words = sorted(model["vocab"], key=model["vocab"].__getitem__)
    end = words.index(END_OF_TEXT)
    kinds = [gguf.TokenType.NORMAL] * len(words)
    kinds[end] = gguf.TokenType.CONTROL
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)  # noqa: FBT003 - the library's own argument
    for name, shape in _shapes(len(words)).items():
        writer.add_tensor(name, _weights(name, shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_folder(folder: Path) -> Path:
    """Configuration and tokenizer alone: vLLM draws the weights (`--load-format dummy`)."""
    save_tokenizer(load_tokenizer(), folder)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "vocab_size": load_tokenizer().get_vocab_size(),
        "max_position_embeddings": CONTEXT,
        "eos_token_id": load_tokenizer().token_to_id(END_OF_TEXT),
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    # As it is written: llama's own class would cut the text in another way.
    plain = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END_OF_TEXT}
    (folder / "tokenizer_config.json").write_text(json.dumps(plain), encoding="utf-8")
    return folder


def _shapes(words: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (words, HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "output.weight": (words, HIDDEN),
    }
    for layer in range(LAYERS):
        block = {
            "attn_norm": (HIDDEN,),
            "attn_q": (HEADS * HEAD, HIDDEN),
            "attn_k": (KV_HEADS * HEAD, HIDDEN),
            "attn_v": (KV_HEADS * HEAD, HIDDEN),
            "attn_output": (HIDDEN, HEADS * HEAD),
            "ffn_norm": (HIDDEN,),
            "ffn_gate": (FFN, HIDDEN),
            "ffn_up": (FFN, HIDDEN),
            "ffn_down": (HIDDEN, FFN),
        }
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in block.items()}
    return shapes


def _weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) == 1:  # of a norm
        return np.ones(shape, dtype=np.float32)
    draw = np.random.default_rng(list(name.encode()))
    return (draw.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    write_folder(root / "hf")
    write_gguf(root / "tiny.gguf")
