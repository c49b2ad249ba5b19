"""A real byte-level BPE tokenizer, made here, and prompts of an exact number of tokens.

The simulated model has no text of its own, so its tokenizer is trained on made-up words from a
fixed seed: nothing is downloaded, and every machine gets the same one. `prompts` works with any
`tokenizers` tokenizer, a real model's too.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from perfgate.errors import UsageError
from perfgate.model import SharedPrefix

VOCAB_SIZE = 4096
END_OF_TEXT = "<|endoftext|>"
_CORPUS_SEED = 1
_CORPUS_WORDS = 6000
# So many words at the head of a prompt make it unlike every other one.
_HEAD = 3


@functools.cache
def load_tokenizer() -> Tokenizer:
    """The simulated model's tokenizer, trained on first use in a process (about 0.1 s)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json` and the `tokenizer_config.json` that names its special tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"eos_token": END_OF_TEXT, "pad_token": END_OF_TEXT}
    (folder / "tokenizer_config.json").write_text(json.dumps(special, indent=2), encoding="utf-8")


def prompts(tokenizer: Tokenizer, *, isl: int, count: int, seed: int) -> list[str]:
    """`count` different prompts, each of which the tokenizer encodes to exactly `isl` tokens.

    Raises UsageError if `isl` leaves no room beside the tokenizer's special tokens or there are
    not `count` prompts of that length.
    """
    return draw_prompts(tokenizer, [isl] * count, seed=seed)


def draw_prompts(
    tokenizer: Tokenizer,
    lengths: Sequence[int],
    *,
    seed: int,
    turns: int = 1,
    prefix: SharedPrefix | None = None,
) -> list[str]:
    """Different prompts, the i-th of exactly `lengths[i]` tokens.

    Each `turns` of them are one conversation: all are beginnings of one text. With `prefix`, the
    conversations' first prompts begin as those of their group do. Nothing else is shared: three
    words at most are the same by chance.

    Raises UsageError if a length leaves no room beside the tokenizer's special tokens, or there
    are not so many different prompts.
    """
    words = single_token_words(tokenizer)
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    firsts = [length - special for length in lengths[::turns]]
    shared = [prefix_tokens(first, prefix) for first in firsts]
    head = min((first - k for first, k in zip(firsts, shared, strict=True)), default=_HEAD)
    head = min(head, _HEAD)
    if head < 1 or len(firsts) > len(words) ** head:
        rule = f"the tokenizer cannot form {len(firsts)} different prompts of that many tokens"
        raise UsageError("isl", min(lengths), rule)
    rng = random.Random(seed)  # noqa: S311 - reproducible prompts, not secrets
    common = _prefixes(words, max(shared, default=0), seed, prefix)
    texts: list[str] = []
    for number, code in enumerate(rng.sample(range(len(words) ** head), len(firsts))):
        asked = [length - special for length in lengths[number * turns : (number + 1) * turns]]
        begun = common[number % len(common)][: shared[number]] + _digits(code, words, head)
        text = begun + rng.choices(words, k=max(asked) - len(begun))
        texts += ["".join(text[:length]) for length in asked]
    _require_lengths(tokenizer, texts, lengths)
    return texts


def prefix_tokens(length: int, prefix: SharedPrefix | None) -> int:
    """How many of a prompt's tokens are its group's; one at least tells prompts apart."""
    return min(round(prefix.share * length), length - 1) if prefix else 0


def _prefixes(
    words: Sequence[str], length: int, seed: int, prefix: SharedPrefix | None
) -> list[list[str]]:
    rng = random.Random(f"prefix {seed}")  # noqa: S311 - reproducible prompts, not secrets
    return [rng.choices(words, k=length) for _ in range(prefix.groups if prefix else 1)]


def single_token_words(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Every ` word` of lower-case letters that is one token wherever it stands, sorted."""
    candidates = [
        text
        for token_id in range(tokenizer.get_vocab_size())
        if (text := tokenizer.decode([token_id])).startswith(" ")
        and text[1:].isascii()
        and text[1:].isalpha()
        and text[1:].islower()
    ]
    encodings = tokenizer.encode_batch(candidates, add_special_tokens=False)
    return tuple(
        sorted({text for text, one in zip(candidates, encodings, strict=True) if len(one) == 1})
    )


def _digits(number: int, words: Sequence[str], places: int) -> list[str]:
    """`number` in base len(words), as words: different numbers give different heads."""
    digits = []
    for _ in range(places):
        number, digit = divmod(number, len(words))
        digits.append(words[digit])
    return digits


def _require_lengths(tokenizer: Tokenizer, texts: list[str], lengths: Sequence[int]) -> None:
    encoded = tokenizer.encode_batch_fast(texts)
    for text, encoding, length in zip(texts, encoded, lengths, strict=True):
        if len(encoding) != length:
            rule = f"this tokenizer makes {len(encoding)} tokens of {text[:40]!r}..."
            raise UsageError("isl", length, rule)


def _corpus() -> list[str]:
    """Made-up words of one to three syllables, the n-th about 1/n as frequent as the first."""
    rng = random.Random(_CORPUS_SEED)  # noqa: S311 - reproducible words, not secrets
    syllables = [
        onset + vowel
        for onset in "bcdfghjklmnprstvwz"
        for vowel in ("a", "e", "i", "o", "u", "an", "er")
    ]
    words = {
        "".join(rng.choices(syllables, k=rng.choice((1, 2, 2, 3)))): None
        for _ in range(_CORPUS_WORDS)
    }
    return [f" {word}" * (1 + len(words) // rank) for rank, word in enumerate(words, start=1)]
