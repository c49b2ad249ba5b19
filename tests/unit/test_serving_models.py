"""The ensemble's text models: text to tokens and back, whole batches at a time."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from perfgate.serving.models import postprocessing, preprocessing
from perfgate.serving.tokenizer import END_OF_TEXT, load_tokenizer, save_tokenizer
from tests.unit.triton_backend import Request, numbers, words

pytestmark = pytest.mark.unit

TOKENIZER = load_tokenizer()
END_ID = TOKENIZER.token_to_id(END_OF_TEXT)
WORD_LISTS = st.lists(
    st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=6), max_size=4),
    min_size=1,
    max_size=3,
)


def loaded(module, folder, **parameters):
    """A model as Triton initialises it."""
    model = module.TritonPythonModel()
    entries = {
        key: {"string_value": str(value)}
        for key, value in {"tokenizer_dir": folder, **parameters}.items()
    }
    model.initialize({"model_config": json.dumps({"parameters": entries})})
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tokenizer's files."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(TOKENIZER, folder)
    return folder


@pytest.fixture(scope="module")
def before(folder):
    """The preprocessing model."""
    return loaded(preprocessing, folder, add_special_tokens="true")


@pytest.fixture(scope="module")
def after(folder):
    """The postprocessing model."""
    return loaded(postprocessing, folder, skip_special_tokens="true")


def ask(model, **given):
    """The answer to a request with `max_tokens` of 5 unless told otherwise."""
    (response,) = model.execute([Request(REQUEST_OUTPUT_LEN=numbers(5), **given)])
    return response


def test_a_prompt_becomes_its_tokens(before):
    """Ids, their number, and the length asked for."""
    tensors = ask(before, QUERY=words(" bada bina")).tensors

    assert tensors["INPUT_ID"].tolist() == [TOKENIZER.encode(" bada bina").ids]
    assert tensors["REQUEST_INPUT_LEN"].tolist() == [[len(tensors["INPUT_ID"][0])]]
    assert tensors["REQUEST_OUTPUT_LEN"].tolist() == [[5]]


def test_rows_of_unequal_length_are_padded(before):
    """The shorter prompt is filled up with the pad id; its true length is told."""
    query = np.concatenate([words(" bada bina cesa"), words(" bada")])

    tensors = ask(before, QUERY=query).tensors

    short = TOKENIZER.encode(" bada").ids
    assert tensors["REQUEST_INPUT_LEN"][1, 0] == len(short)
    assert tensors["INPUT_ID"][1].tolist()[: len(short)] == short
    assert set(tensors["INPUT_ID"][1].tolist()[len(short) :]) <= {END_ID}


def test_without_an_end_id_the_tokenizer_s_own_is_used(before):
    """As upstream does; a client that wants a fixed length must therefore send -1."""
    assert ask(before, QUERY=words(" bada")).tensors["OUT_END_ID"].tolist() == [[END_ID]]
    sent = ask(before, QUERY=words(" bada"), END_ID=numbers(-1), PAD_ID=numbers(3)).tensors
    assert (sent["OUT_END_ID"].tolist(), sent["OUT_PAD_ID"].tolist()) == ([[-1]], [[3]])


@pytest.mark.parametrize("query", [b"", b"\xff\xfe"], ids=["empty", "not UTF-8"])
def test_a_prompt_that_is_none_is_an_error_of_its_own(before, query):
    """The request is answered with what is wrong; its neighbour in the batch is served."""
    bad = Request(QUERY=np.array([[query]], dtype=object), REQUEST_OUTPUT_LEN=numbers(5))
    good = Request(QUERY=words(" bada"), REQUEST_OUTPUT_LEN=numbers(5))

    refused, served = before.execute([bad, good])

    assert refused.error is not None
    assert served.error is None
    assert "INPUT_ID" in served.tensors


@given(WORD_LISTS)
def test_word_lists_are_packed_as_the_engine_reads_them(folder, lists):
    """Row 0 holds the words' tokens in a row, row 1 their ends: every word can be cut out again."""
    model = loaded(preprocessing, folder, add_special_tokens="true")
    rows = [[word.encode() for word in row] for row in lists]

    packed = model._word_lists(rows, len(rows))

    assert packed.shape[:2] == (len(rows), 2)
    for given_words, (tokens, ends) in zip(lists, packed, strict=True):
        places = ends[ends >= 0].tolist()
        cut = [tokens[a:b].tolist() for a, b in pairwise([0, *places])]
        assert cut == [TOKENIZER.encode(word).ids for word in given_words if word]


def test_special_tokens_named_as_a_table_are_understood(tmp_path):
    """`tokenizer_config.json` may give a token as an object, or none at all."""
    save_tokenizer(TOKENIZER, tmp_path)
    names = {"eos_token": {"content": END_OF_TEXT, "lstrip": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(names))

    model = loaded(preprocessing, tmp_path, add_special_tokens="true")

    assert (model._end_id, model._pad_id) == (END_ID, END_ID)


def test_a_tokenizer_s_own_padding_is_used(tmp_path):
    """Where `tokenizer_config.json` names a token for it, and not the end of text."""
    save_tokenizer(TOKENIZER, tmp_path)
    names = {"eos_token": END_OF_TEXT, "pad_token": TOKENIZER.id_to_token(END_ID + 1)}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(names))

    model = loaded(preprocessing, tmp_path, add_special_tokens="true")

    assert (model._end_id, model._pad_id) == (END_ID, END_ID + 1)


def test_word_lists_reach_the_engine_each_under_its_name(before):
    """Words to stop at and words to avoid are not mixed up; without any both are empty."""
    wanted = {"STOP_WORDS": " bada", "BAD_WORDS": " bina"}
    given = {f"{kind}_DICT": words(word) for kind, word in wanted.items()}

    sent = ask(before, QUERY=words(" cesa"), **given).tensors
    plain = ask(before, QUERY=words(" cesa")).tensors

    for kind, word in wanted.items():
        ids = TOKENIZER.encode(word).ids
        assert sent[f"{kind}_IDS"][0, 0].tolist() == ids
        assert sent[f"{kind}_IDS"][0, 1, 0] == len(ids)
        assert plain[f"{kind}_IDS"].shape == (1, 2, 0)


@pytest.mark.parametrize("special", ["true", "false"])
def test_special_tokens_are_added_only_if_asked(tmp_path, special):
    """`add_special_tokens` decides whether a prompt begins as the tokenizer has it."""
    tokenizer = Tokenizer.from_str(TOKENIZER.to_str())
    tokenizer.post_processor = TemplateProcessing(
        single=f"{END_OF_TEXT} $A", special_tokens=[(END_OF_TEXT, END_ID)]
    )
    save_tokenizer(tokenizer, tmp_path)

    model = loaded(preprocessing, tmp_path, add_special_tokens=special)
    ids = ask(model, QUERY=words(" bada")).tensors["INPUT_ID"][0].tolist()

    assert ids == [END_ID] * (special == "true") + TOKENIZER.encode(" bada").ids


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=30), min_size=1))
def test_tokens_become_their_text_again(folder, texts):
    """Every row of every request, cut to its own length, in order."""
    model = loaded(postprocessing, folder, skip_special_tokens="true")
    rows = [TOKENIZER.encode(text).ids for text in texts]
    width = max(map(len, rows)) + 2
    requests = [
        Request(
            TOKENS_BATCH=np.array([[row + [7] * (width - len(row))]], dtype=np.int32),
            SEQUENCE_LENGTH=numbers(len(row)),
        )
        for row in rows
    ]

    responses = model.execute(requests)

    assert [response.tensors["OUTPUT"].tolist() for response in responses] == [
        [[text.encode()]] for text in texts
    ]


@pytest.mark.parametrize(("skip", "text"), [("true", b" bada"), ("false", None)])
def test_special_tokens_are_shown_only_if_asked(folder, skip, text):
    """`skip_special_tokens` decides whether the end of text is text."""
    ids = [*TOKENIZER.encode(" bada").ids, END_ID]
    model = loaded(postprocessing, folder, skip_special_tokens=skip)
    request = Request(
        TOKENS_BATCH=np.array([[ids]], dtype=np.int32), SEQUENCE_LENGTH=numbers(len(ids))
    )

    (response,) = model.execute([request])

    expected = text or f" bada{END_OF_TEXT}".encode()
    assert response.tensors["OUTPUT"].ravel().tolist() == [expected]
