"""Tokens to text. Needs numpy and `tokenizers` only, so it runs in any Triton container."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer


class TritonPythonModel:
    """Decodes the tokens of every response that has queued up, in one call of the tokenizer."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load `tokenizer.json`."""
        parameters = json.loads(args["model_config"])["parameters"]
        folder = Path(parameters["tokenizer_dir"]["string_value"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._skip_special = parameters["skip_special_tokens"]["string_value"] == "true"

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with one text per sequence, in the shape of its lengths."""
        shapes: list[tuple[int, ...]] = []
        sequences: list[list[int]] = []
        for request in requests:
            given = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            lengths = given["SEQUENCE_LENGTH"]
            rows = given["TOKENS_BATCH"].reshape(lengths.size, -1)
            shapes.append(lengths.shape)
            sequences += [
                row[:length].tolist() for row, length in zip(rows, lengths.flat, strict=True)
            ]
        texts = iter(
            self._tokenizer.decode_batch(sequences, skip_special_tokens=self._skip_special)
        )
        return [self._response(shape, texts) for shape in shapes]

    def _response(self, shape: tuple[int, ...], texts: Iterator[str]) -> Any:
        array = np.empty(shape, dtype=object)
        for index in range(array.size):
            array.flat[index] = next(texts).encode()
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("OUTPUT", array)])
