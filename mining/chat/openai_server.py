"""A chat model behind a server that speaks OpenAI's protocol: vLLM, SGLang, Ollama, `transformers serve`, a hosted one.

    model = OpenAIServer("http://host:8000/v1", "llava-hf/llava-1.5-7b-hf")
    for key, reply in model.replies(requests):
        ...

The key is read from the environment variable OPENAI_API_KEY, or from another one that is named. Neither it nor
credentials in the address appear in any message, log line or file.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from index.errors import BadInput, MissingDependency
from mining.chat.asking import Asking, Limits
from mining.chat.background import answered_in_background
from mining.chat.bounded_answers import PLAIN, AnswerRefused, bound_answer
from mining.chat.chat import ChatReply, ChatRequest
from mining.chat.concurrency import ConcurrencyLimit
from mining.chat.openai_messages import completion_request
from mining.chat.outcomes import Outcome, answer_outcome, status_outcome
from mining.chat.server_address import ServerAddress

if TYPE_CHECKING:
    import openai

__all__ = ["OpenAIServer"]

log = logging.getLogger(__name__)

_CONNECT = 10.0  # seconds to open a connection
_MODELS_SHOWN = 20
# The causes of a failed connection whose address or certificate is wrong; waiting would not mend them.
_NEVER = (
    "Name or service not known",
    "nodename nor servname",
    "No address associated",
    "CERTIFICATE_VERIFY_FAILED",
    "WRONG_VERSION_NUMBER",
)


class OpenAIServer:
    """A model of a server, as `mining.chat.chat.ChatModel`.

    Args:
        base_url: up to the version, such as http://host:8000/v1.
        model: as the server names it.
        api_key: the server's key; or key_variable, the environment variable that holds it: see ServerAddress.parse.
        max_concurrency: most requests under way at once; how many there are follows what the server can take.
        timeout: seconds for one answer.
        limits: of retries, and of waiting for a server that is away.
        options: further fields of each request, such as {"top_p": 0.9}; they are part of the model's identity.

    Raises:
        BadInput: an address, key or option that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        key_variable: str | None = None,
        max_concurrency: int = 64,
        timeout: float = 600.0,
        limits: Limits | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if not model.strip():
            raise BadInput("a server's model has no name; give it as the server names it")
        if max_concurrency < 1 or not timeout > 0:
            raise BadInput("max_concurrency is at least 1, and timeout is more than 0 s")
        self._address = ServerAddress.parse(base_url, api_key, key_variable)
        self._model, self._timeout = model, timeout
        self._limits = limits or Limits()
        self._options = dict(options or {})
        if own := sorted({"messages", "model", "stream", "n"} & set(self._options)):
            raise BadInput(f"the options of a server's requests cannot hold {', '.join(own)}")
        self._concurrency = ConcurrencyLimit(max_concurrency)
        self._changes: dict[str, str | None] = {}

    def __repr__(self) -> str:
        return f"OpenAIServer({self._address.url!r}, {self._model!r})"

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model's name and the options; a server does not say which weights are behind a name."""
        return {"kind": "openai", "model": self._model, "options": self._options}

    @property
    def concurrency(self) -> int:
        """The number of requests that may be under way now."""
        return self._concurrency.value

    def replies(self, requests: Iterable[tuple[str, ChatRequest]]) -> Iterator[tuple[str, ChatReply]]:
        """See `mining.chat.chat.ChatModel.replies`. At most twice the concurrency is taken from `requests` ahead."""
        with self._address.hidden_in_logs():
            yield from answered_in_background(requests, self._opened, lambda: 2 * self._concurrency.value)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Callable[[ChatRequest], Awaitable[ChatReply]]]:
        try:
            import openai
        except ImportError as error:
            raise MissingDependency("openai", "asking a server") from error

        most = self._concurrency.most
        # A redirect is never followed: the key and the images would go to an address that the user did not name.
        http = openai.DefaultAsyncHttpxClient(
            follow_redirects=False, headers=PLAIN, event_hooks={"response": [bound_answer]}
        )
        client = openai.AsyncOpenAI(
            api_key=self._address.key or "none",
            base_url=self._address.url,
            default_headers={**PLAIN, **self._address.headers},
            default_query=self._address.query,
            max_retries=0,
            timeout=openai.Timeout(self._timeout, connect=min(_CONNECT, self._timeout)),
            http_client=http,
        )
        # A run that was cancelled left its requests counted.
        self._concurrency = ConcurrencyLimit(most, max(1, self._concurrency.value))
        asking = Asking(self._address.url, self._concurrency, self._limits)

        async def answer(request: ChatRequest) -> ChatReply:
            try:
                body = completion_request(request)
            except BadInput as error:
                return ChatReply("", "failed", error=str(error))
            return await asking.ask(lambda: self._attempt(client, body))

        async with client:
            yield answer

    async def _attempt(self, client: openai.AsyncOpenAI, body: Mapping[str, Any]) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout):  # the client's own starts anew with every byte
                return await self._asked(client, body)
        except TimeoutError:
            return self._slow()

    def _slow(self) -> Outcome:
        return Outcome("slow", words=f"no answer in {self._timeout:,g} s")

    async def _asked(self, client: openai.AsyncOpenAI, body: Mapping[str, Any]) -> Outcome:
        import openai

        named = {self._changes.get(name, name): value for name, value in body.items()}
        sent = {name: value for name, value in named.items() if name is not None}
        try:
            answer = await client.chat.completions.with_raw_response.create(
                model=self._model, extra_body=self._options or None, **sent
            )
            return answer_outcome(answer.text, self._address)
        except openai.APITimeoutError as error:
            if type(error.__cause__).__name__ == "ConnectTimeout":
                return Outcome("away", words="no connection in time")
            return self._slow()
        except openai.APIStatusError as error:
            outcome = status_outcome(error.status_code, error.response.text, error.response.headers, self._address)
        except openai.APIConnectionError as error:
            return self._unconnected(error.__cause__ or error)
        except AnswerRefused as error:
            return Outcome("again", words=str(error))
        except (UnicodeError, openai.OpenAIError) as error:
            return Outcome("again", words=self._address.hide(f"the answer cannot be read ({error})"))
        if outcome.do == "change":
            name, other = outcome.change
            if name not in sent:
                return Outcome("reply", ChatReply("", "failed", error=outcome.words))
            if name not in self._changes:
                log.warning("%s: sends no %r from now on (%s)", self._address.url, name, outcome.words)
            self._changes[name] = other
        if outcome.do == "missing":
            return Outcome("end", error=BadInput(f"{outcome.words}; {await self._models(client)}"))
        return outcome

    def _unconnected(self, cause: BaseException) -> Outcome:
        words = self._address.hide(f"{cause}".strip() or type(cause).__name__)
        if type(cause).__name__ != "ConnectError":
            return Outcome("again", words=f"the connection was cut off ({words})")
        if any(never in words for never in _NEVER):
            return Outcome(
                "end", error=BadInput(f"{self._address.url}: cannot be reached ({words}); is the address right?")
            )
        return Outcome("away", words=f"no connection ({words})")

    async def _models(self, client: openai.AsyncOpenAI) -> str:
        """What the server says of its models, as the end of an error message."""
        import openai

        try:
            listed = json.loads((await client.models.with_raw_response.list()).text)["data"]
            names = sorted(self._address.hide(str(model["id"]))[:100] for model in listed)
        except (openai.OpenAIError, AnswerRefused, ValueError, KeyError, TypeError, RecursionError):
            return "it lists no models either: an address often ends with /v1"
        shown = ", ".join(names[:_MODELS_SHOWN]) + (", ..." if len(names) > _MODELS_SHOWN else "")
        return f"its models are {shown}" if names else "it has no model"
