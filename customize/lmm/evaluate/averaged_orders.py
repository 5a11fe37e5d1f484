"""Choices by the letters' log-probabilities, added up over both orders, so that a liking for a letter cancels out.

Models of images and text choose letters by their place too (Zheng et al., "Large Language Models Are Not Robust
Multiple Choice Selectors", https://arxiv.org/abs/2309.03882, who average probabilities over orders). A model that
always says A has half of all questions right, although it may well give A more probability where A is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from customize.lmm.evaluate.question import Question, swapped
from mining.chat.chat import ChatReply

__all__ = ["averaged_letters"]


def averaged_letters(
    questions: Iterable[Question], replies: Mapping[str, ChatReply | str], others: Mapping[str, ChatReply | str]
) -> dict[str, str | None]:
    """question id -> the letter whose option has the larger sum of logarithms over both orders, for two options.

    None where a reply is missing or has no probabilities; "", which counts as wrong, where both sums are equal.

    replies, others: to the questions, and to them in the other order, by id.
    """
    found: dict[str, str | None] = {}
    for each in questions:
        if len(each.options) != 2 or swapped(each) is None:
            continue
        one, other = list(each.options)
        own, changed = (_answers(some.get(each.question_id), each.options) for some in (replies, others))
        if own is None or changed is None:
            found[each.question_id] = None
            continue
        # In the other order each option has the other's letter.
        lead = (own[one] - own[other]) - (changed[one] - changed[other])
        found[each.question_id] = one if lead > 0 else other if lead < 0 else ""
    return found


def _answers(reply: ChatReply | str | None, options: Mapping[str, str]) -> Mapping[str, float] | None:
    if not isinstance(reply, ChatReply) or not reply.answered or reply.answers is None:
        return None
    return reply.answers if set(options) <= set(reply.answers) else None
