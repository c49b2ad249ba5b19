"""One question over HTTP, one answer: what is asked of a server before the load."""

from __future__ import annotations

import http.client
from typing import Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 10.0


class NoAnswerError(Exception):
    """Nobody answered, or not in HTTP."""


def get(url: str, path: str) -> tuple[int, bytes]:
    """Status and body of `path` at the server `url`; no proxy is asked, as the load asks none.

    Raises NoAnswerError.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S
    )
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswerError(str(error) or type(error).__name__) from error
    finally:
        connection.close()
