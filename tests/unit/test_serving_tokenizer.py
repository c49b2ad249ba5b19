"""Tokenizer and prompts: nothing is lost in encoding, and a prompt is as long as it says."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

from perfgate.errors import UsageError
from perfgate.model import SharedPrefix
from perfgate.serving.tokenizer import (
    END_OF_TEXT,
    VOCAB_SIZE,
    draw_prompts,
    load_tokenizer,
    prompts,
    save_tokenizer,
    single_token_words,
)

pytestmark = pytest.mark.unit


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_text_survives_encoding(text):
    """Byte-level: every text is tokens, and the tokens are that text."""
    tokenizer = load_tokenizer()

    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@settings(max_examples=12)
@given(isl=st.integers(1, 150), count=st.integers(1, 8), seed=st.integers(0, 2**31))
def test_prompts_are_different_and_exactly_as_long_as_asked(isl, count, seed):
    """For any length, number and seed; the same seed gives the same prompts."""
    tokenizer = load_tokenizer()

    texts = prompts(tokenizer, isl=isl, count=count, seed=seed)

    assert len(set(texts)) == count
    assert {len(tokenizer.encode(text).ids) for text in texts} == {isl}
    assert prompts(tokenizer, isl=isl, count=count, seed=seed) == texts


def test_prompts_share_no_prefix_beyond_their_head():
    """Prompts differ within their first three tokens, so no prefix cache can help."""
    tokenizer = load_tokenizer()
    heads = {
        tuple(tokenizer.encode(text).ids[:3])
        for text in prompts(tokenizer, isl=64, count=200, seed=5)
    }

    assert len(heads) == 200


def with_special_tokens():
    """The same tokenizer, putting a special token at both ends as many real ones do."""
    tokenizer = Tokenizer.from_str(load_tokenizer().to_str())
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A {END_OF_TEXT}",
        special_tokens=[(END_OF_TEXT, tokenizer.token_to_id(END_OF_TEXT))],
    )
    return tokenizer


def test_special_tokens_count_as_the_model_counts_them():
    """A tokenizer that adds its own tokens gets prompts that leave room for them."""
    tokenizer = with_special_tokens()

    (text,) = prompts(tokenizer, isl=10, count=1, seed=0)

    assert len(tokenizer.encode(text).ids) == 10


@pytest.mark.parametrize(("isl", "count"), [(2, 1), (3, 10**6)], ids=["no room", "too many"])
def test_what_cannot_be_formed_is_refused(isl, count):
    """A length without room, or more prompts than there are, names `isl` and the rule."""
    with pytest.raises(UsageError, match="cannot form"):
        prompts(with_special_tokens(), isl=isl, count=count, seed=0)


def test_every_word_is_one_token_wherever_it_stands():
    """Words are counted one each, alone and in a row."""
    tokenizer = load_tokenizer()
    words = single_token_words(tokenizer)

    assert len(words) > 1000
    assert len(tokenizer.encode("".join(words[:500])).ids) == 500


def test_what_triton_s_models_load_is_what_was_saved(tmp_path):
    """The files give the same ids, and name the special tokens."""
    save_tokenizer(load_tokenizer(), tmp_path)
    loaded = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    names = json.loads((tmp_path / "tokenizer_config.json").read_text())

    assert loaded.encode(" bada " * 50).ids == load_tokenizer().encode(" bada " * 50).ids
    assert loaded.get_vocab_size() == VOCAB_SIZE
    assert names == {"eos_token": END_OF_TEXT, "pad_token": END_OF_TEXT}


def test_equal_prompts_are_those_they_always_were():
    """Other kinds of prompts changed none of those that baselines were recorded with."""
    texts = "\n".join(prompts(load_tokenizer(), isl=16, count=20, seed=7))

    assert hashlib.sha256(texts.encode()).hexdigest()[:16] == "23f90bb3d4f9d24e"


def test_a_conversation_s_prompts_begin_alike():
    """Each turn's prompt is the beginning of the next one's; conversations differ."""
    texts = draw_prompts(load_tokenizer(), [8, 20, 32, 8, 20, 32], seed=1, turns=3)

    assert texts[1].startswith(texts[0])
    assert texts[2].startswith(texts[1])
    assert not texts[3].startswith(texts[0])
    assert len(set(texts)) == 6


def test_a_shared_prefix_is_its_group_s_alone():
    """Half of the prompt is that of the group, the rest nobody else's."""
    prefix = SharedPrefix(share=0.5, groups=2)
    texts = [
        text.split() for text in draw_prompts(load_tokenizer(), [20] * 6, seed=1, prefix=prefix)
    ]

    assert texts[0][:10] == texts[2][:10] == texts[4][:10]
    assert texts[1][:10] == texts[3][:10] != texts[0][:10]
    assert len({tuple(text[10:13]) for text in texts}) == 6
