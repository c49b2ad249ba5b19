"""Text to tokens. Needs numpy and `tokenizers` only, so it runs in any Triton container."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer


class TritonPythonModel:
    """Encodes each prompt and puts the tokenizer's own end and pad ids where none were given."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load `tokenizer.json` and the ids of the special tokens beside it."""
        parameters = json.loads(args["model_config"])["parameters"]
        folder = Path(parameters["tokenizer_dir"]["string_value"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._special = parameters["add_special_tokens"]["string_value"] == "true"
        names = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self._end_id = self._special_id(names.get("eos_token"), default=-1)
        self._pad_id = self._special_id(names.get("pad_token"), default=self._end_id)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with its token ids, or with what is wrong with it."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        given = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        try:
            outputs = self._outputs(given)
        except ValueError as error:
            reason = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=reason)
        tensors = [pb_utils.Tensor(name, array) for name, array in outputs.items()]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _outputs(self, given: dict[str, Any]) -> dict[str, Any]:
        rows = [self._encode(row[0], special=self._special) for row in given["QUERY"]]
        if not all(rows):
            raise ValueError("text_input: got no text, but a prompt needs at least one token")
        ids = np.full((len(rows), max(map(len, rows))), self._pad_id, dtype=np.int32)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
        return {
            "INPUT_ID": ids,
            "REQUEST_INPUT_LEN": np.array([[len(row)] for row in rows], dtype=np.int32),
            "REQUEST_OUTPUT_LEN": given["REQUEST_OUTPUT_LEN"],
            "OUT_END_ID": given.get("END_ID", np.full((len(rows), 1), self._end_id, np.int32)),
            "OUT_PAD_ID": given.get("PAD_ID", np.full((len(rows), 1), self._pad_id, np.int32)),
            "STOP_WORDS_IDS": self._word_lists(given.get("STOP_WORDS_DICT"), len(rows)),
            "BAD_WORDS_IDS": self._word_lists(given.get("BAD_WORDS_DICT"), len(rows)),
        }

    def _encode(self, text: bytes, *, special: bool) -> list[int]:
        """Encode UTF-8 text; other bytes are a UnicodeDecodeError, which is a ValueError."""
        ids: list[int] = self._tokenizer.encode(text.decode(), add_special_tokens=special).ids
        return ids

    def _word_lists(self, lists: Any, rows: int) -> Any:
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

    def _pack(self, words: list[bytes]) -> tuple[list[int], list[int]]:
        tokens: list[int] = []
        ends: list[int] = []
        for word in words:
            if ids := self._encode(word, special=False):
                tokens += ids
                ends.append(len(tokens))
        return tokens, ends

    def _special_id(self, token: str | dict[str, Any] | None, *, default: int) -> int:
        text = token["content"] if isinstance(token, dict) else token
        found: int | None = None if text is None else self._tokenizer.token_to_id(text)
        return default if found is None else found
