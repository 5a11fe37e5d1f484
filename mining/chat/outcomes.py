"""What came of one attempt to ask a server, and what is to be done: keep the reply, ask again, wait, or end the run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Literal

from index.errors import BadInput, ClipmineError
from mining.chat.chat import ChatReply
from mining.chat.openai_messages import Garbled, read_reply, server_error
from mining.chat.server_address import ServerAddress

__all__ = ["Do", "Outcome", "answer_outcome", "status_outcome"]

# reply: it is there. again: this attempt failed, another may not. busy: the server refuses for now; it is sent less.
# slow: no answer in time. away: no connection. end: no request can be answered. missing: neither, since there is no
# such model or path. change: a parameter is not known.
Do = Literal["reply", "again", "busy", "slow", "away", "end", "missing", "change"]

_BUSY = {429, 502, 503, 504, 529}  # 502 and 504: a proxy before a server that starts or has too much to do
_AGAIN = {408, 409, 425}
_NO_MONEY = ("insufficient_quota", "billing", "credit")
# Parameters that a server or model may not take: the name of the one to send instead, None to leave it out.
_CHANGES: Mapping[str, str | None] = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None}


@dataclass(frozen=True)
class Outcome:
    """do: what follows. reply, error, words, wait, change: what it needs. wait: seconds that the server asks for."""

    do: Do
    reply: ChatReply | None = None
    error: ClipmineError | None = None
    words: str = ""
    wait: float = 0.0
    change: tuple[str, str | None] = ("", None)


def answer_outcome(text: str, address: ServerAddress) -> Outcome:
    """The outcome of a body that came with status 200."""
    try:
        reply = read_reply(text, address.hide)
    except Garbled as garbled:
        status = server_error(text).status
        if status is not None and status >= 400:
            return status_outcome(status, text, {}, address)
        return Outcome("again", words=str(garbled))
    return Outcome("reply", replace(reply, text=address.hide_in_answer(reply.text)))


def status_outcome(status: int, text: str, headers: Mapping[str, str], address: ServerAddress) -> Outcome:
    """The outcome of a status that is not 200."""
    said = server_error(text, address.hide)
    words, code = said.words, said.code
    where = f"{address.url} answers {status}"
    if 300 <= status < 400:
        to = address.hide(headers.get("location", "nowhere").partition("?")[0])[:200]
        return _end(f"{address.url} redirects to {to}; no key is sent there: give that address if it is the server's")
    if status == 401:
        return _end(f"{where}: {words}; the key is missing or wrong")
    if status == 403:
        return _end(f"{where}: {words}; the key does not give access to this model or server")
    if status == 402 or (status == 429 and any(word in code for word in _NO_MONEY)):
        return Outcome("end", error=ClipmineError(f"{where}: {words}; the account's credit or quota is used up"))
    if status == 404 or code == "model_not_found":
        return Outcome("missing", words=f"{where}: {words}")
    if status in _BUSY:
        return Outcome("busy", words=f"{status}: {words}", wait=_wait(headers))
    if status in _AGAIN or status >= 500:
        return Outcome("again", words=f"{status}: {words}")
    if "content_filter" in code or "content_policy" in code:
        return Outcome("reply", ChatReply("", "refused", error=words))
    for name, other in _CHANGES.items():
        if f"'{name}'" in words and "nsupported" in words:
            return Outcome("change", change=(name, other), words=words)
    return Outcome("reply", ChatReply("", "failed", error=f"{status}: {words}"))


def _end(message: str) -> Outcome:
    return Outcome("end", error=BadInput(message))


def _wait(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for, as a number or a date; 0 without one."""
    said = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(said) if said[:1].isdigit() else parsedate_to_datetime(said).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
