"""What a run may spend: requests, tokens or money. A request is sent only if it fits, whatever its answer will cost.

Before an answer is there, its tokens are estimated from above: half a token a character and 3,000 an image for the
prompt, all new tokens that the request allows. After the first answers the prompt's estimate is scaled by the highest
ratio that the model's own counts had to it. A reply without counts is spent as estimated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from index.errors import BadInput
from mining.chat.chat import ChatReply, ChatRequest

__all__ = ["Budget", "Limits", "Spent"]

# English has four characters a token, and scripts that a tokenizer has few words of have one or two.
_TOKENS_A_CHARACTER = 0.5
# LLaVA-NeXT shows an image as up to 2,880 tokens.
_TOKENS_AN_IMAGE = 3_000
# What a template adds to a turn.
_TOKENS_A_TURN = 30
_MILLION = 1_000_000


@dataclass(frozen=True)
class Limits:
    """The limits of a run and the runs before it under the same name; None is no limit.

    max_tokens: prompts and answers together. price_in, price_out: of a million prompt and answer tokens, in the
    currency of max_cost.
    """

    max_requests: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    price_in: float | None = None
    price_out: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.__dict__.items():
            if value is not None and not 0 <= value < float("inf"):
                raise BadInput(f"--{name.replace('_', '-')} {value}: give a number from 0")
        if self.max_cost is not None and self.price_in is None and self.price_out is None:
            raise BadInput("--max-cost needs --price-in and --price-out, the prices of a million tokens")

    def price(self, prompt_tokens: int, new_tokens: int) -> float:
        """What these tokens cost; 0 without prices."""
        return (prompt_tokens * (self.price_in or 0.0) + new_tokens * (self.price_out or 0.0)) / _MILLION


@dataclass(frozen=True)
class Spent:
    """Requests, their tokens and cost. estimated: requests whose tokens the model did not count."""

    requests: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0
    cost: float = 0.0
    estimated: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(**{name: value + getattr(other, name) for name, value in self.__dict__.items()})


@dataclass
class Budget:
    """What was spent and what is in flight. spent: by this and earlier runs, which the limits count together."""

    limits: Limits
    spent: Spent = field(default_factory=Spent)
    stopped: str | None = None
    _in_flight: dict[str, Spent] = field(default_factory=dict)
    _scale: float | None = None

    def reserve(self, key: str, request: ChatRequest) -> bool:
        """Whether the request fits; it then counts, as estimated, until `settle`. Else `stopped` says which limit."""
        asked = self._estimate(request)
        total = self.spent + asked
        for each in self._in_flight.values():
            total += each
        limits = self.limits
        self.stopped = None
        if limits.max_requests is not None and total.requests > limits.max_requests:
            self.stopped = f"--max-requests {limits.max_requests}"
        elif limits.max_tokens is not None and total.prompt_tokens + total.new_tokens > limits.max_tokens:
            self.stopped = f"--max-tokens {limits.max_tokens}"
        elif limits.max_cost is not None and total.cost > limits.max_cost:
            self.stopped = f"--max-cost {limits.max_cost:g}"
        else:
            self._in_flight[key] = asked
        return self.stopped is None

    def settle(self, key: str, request: ChatRequest, reply: ChatReply) -> Spent:
        """What a reply cost. A failed request costs the tokens that its reply names."""
        asked = self._in_flight.pop(key)
        counted = reply.prompt_tokens is not None and reply.new_tokens is not None
        if reply.finish == "failed":
            prompt, new = reply.prompt_tokens or 0, reply.new_tokens or 0
        else:
            prompt = asked.prompt_tokens if reply.prompt_tokens is None else reply.prompt_tokens
            new = asked.new_tokens if reply.new_tokens is None else reply.new_tokens
            if reply.prompt_tokens is not None:
                self._scale = max(self._scale or 0.0, reply.prompt_tokens / _prompt_tokens(request))
        own = Spent(1, prompt, new, self.limits.price(prompt, new), int(not counted and reply.finish != "failed"))
        self.spent += own
        return own

    def _estimate(self, request: ChatRequest) -> Spent:
        prompt = int(_prompt_tokens(request) * (1.0 if self._scale is None else self._scale)) + 1
        new = request.max_new_tokens
        return Spent(1, prompt, new, self.limits.price(prompt, new))


def _prompt_tokens(request: ChatRequest) -> float:
    characters = sum(len(turn.text) for turn in request.turns)
    shown = sum(len(turn.images) for turn in request.turns)
    return characters * _TOKENS_A_CHARACTER + shown * _TOKENS_AN_IMAGE + len(request.turns) * _TOKENS_A_TURN
