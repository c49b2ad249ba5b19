"""Text to tokens. Needs numpy and `tokenizers` only, so it runs in any Triton container."""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer


class TritonPythonModel:
    """Encodes each prompt and puts the tokenizer's own end and pad ids where none were given."""

    def initialize(self, args):
        """Load `tokenizer.json` and the ids of the special tokens beside it."""
        parameters = json.loads(args["model_config"])["parameters"]
        folder = Path(parameters["tokenizer_dir"]["string_value"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._special = parameters["add_special_tokens"]["string_value"] == "true"
        named = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self._end_id = self._special_id(named.get("eos_token"))
        pad_id = self._special_id(named.get("pad_token"))
        self._pad_id = self._end_id if pad_id is None else pad_id

    def execute(self, requests):
        """Answer each request with its token ids, or with what is wrong with it."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        given = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        try:
            outputs = self._outputs(given)
        except (UnicodeDecodeError, ValueError) as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        tensors = [pb_utils.Tensor(name, array) for name, array in outputs.items()]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _outputs(self, given):
        rows = [self._encode(row[0], special=self._special) for row in given["QUERY"]]
        width = max(len(row) for row in rows)
        if min(len(row) for row in rows) == 0:
            raise ValueError("text_input: got no text, but a prompt needs at least one token")
        pad_id = 0 if self._pad_id is None else self._pad_id
        ids = np.full((len(rows), width), pad_id, dtype=np.int32)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
        return {
            "INPUT_ID": ids,
            "REQUEST_INPUT_LEN": np.array([[len(row)] for row in rows], dtype=np.int32),
            "REQUEST_OUTPUT_LEN": given["REQUEST_OUTPUT_LEN"],
            "OUT_END_ID": self._given_or("END_ID", self._end_id, given, len(rows)),
            "OUT_PAD_ID": self._given_or("PAD_ID", self._pad_id, given, len(rows)),
            "STOP_WORDS_IDS": self._word_lists(given.get("STOP_WORDS_DICT"), len(rows)),
            "BAD_WORDS_IDS": self._word_lists(given.get("BAD_WORDS_DICT"), len(rows)),
        }

    def _encode(self, text, *, special):
        return self._tokenizer.encode(text.decode("utf-8"), add_special_tokens=special).ids

    def _given_or(self, name, default, given, rows):
        if name in given:
            return given[name]
        return np.full((rows, 1), -1 if default is None else default, dtype=np.int32)

    def _word_lists(self, lists, rows):
        """Pack lists of words as TensorRT-LLM reads them.

        Row 0 holds the tokens of all words one after the other, row 1 where each word ends,
        filled up with -1.
        """
        if lists is None:
            return np.empty((rows, 2, 0), dtype=np.int32)
        packed = [self._pack(words) for words in lists]
        width = max(1, *(len(tokens) for tokens, _ in packed))
        array = np.zeros((rows, 2, width), dtype=np.int32)
        array[:, 1] = -1
        for row, (tokens, ends) in zip(array, packed, strict=True):
            row[0, : len(tokens)] = tokens
            row[1, : len(ends)] = ends
        return array

    def _pack(self, words):
        tokens, ends = [], []
        for word in words:
            ids = self._encode(word, special=False)
            if ids:
                tokens += ids
                ends.append(len(tokens))
        return tokens, ends

    def _special_id(self, token):
        text = token["content"] if isinstance(token, dict) else token
        return None if text is None else self._tokenizer.token_to_id(text)
