"""Answers of a server that are read only so far: a body without end, or a packed one, would take all memory.

client = openai.DefaultAsyncHttpxClient(headers=PLAIN, event_hooks={"response": [bound_answer]})
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

__all__ = ["PLAIN", "AnswerRefused", "bound_answer"]

# A chat completion has kilobytes; a list of models has some hundred.
_MOST_BYTES = 32 << 20
# Asks for answers that are not compressed: a megabyte of gzip may hold a gigabyte.
PLAIN = {"Accept-Encoding": "identity"}


class AnswerRefused(Exception):
    """A server's answer is not read to its end; the text says why in a line."""


async def bound_answer(response: Any) -> None:
    """A hook of httpx clients: the response's body raises AnswerRefused where it is compressed or has no end."""
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    if packed not in ("", "identity"):
        raise AnswerRefused(f"the answer is compressed ({packed[:20]}), which was not asked for")
    stream = response.stream
    # The openai package may come with another package of the same classes than httpx.
    http: Any = sys.modules[type(response).__module__.partition(".")[0]]

    class Bounded(http.AsyncByteStream):  # type: ignore[misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for part in stream:
                size += len(part)
                if size > _MOST_BYTES:
                    raise AnswerRefused(f"the answer is longer than {_MOST_BYTES >> 20} MiB")
                yield part

        async def aclose(self) -> None:
            await stream.aclose()

    response.stream = Bounded()
