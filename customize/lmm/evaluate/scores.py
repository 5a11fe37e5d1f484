"""Scores of replies to questions. Failures are counted and never scored: figures are over what was answered.

    score_questions("choice", questions, replies, swapped=replies_in_the_other_order)

`replies` maps a question's id to its ChatReply, or to the reason why it could not be asked ("image missing").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from customize.lmm.evaluate.answers import is_exact, read_answer, split_summary, word_f1
from customize.lmm.evaluate.averaged_orders import averaged_letters
from customize.lmm.evaluate.intervals import Figure, mean_figure, share_figure
from customize.lmm.evaluate.question import Kind, Question, kind_of, swapped
from mining.chat.chat import ChatReply

__all__ = ["Replies", "TaskScore", "failure", "question_kind", "score_questions"]

Replies = Mapping[str, ChatReply | str]
Right = Callable[[Question, str], bool]


@dataclass(frozen=True)
class TaskScore:
    """What a model scored on a task.

    Attributes:
        questions: how many the task has. answered: how many of them got a reply.
        failures: reason -> questions without a reply; they are in no figure.
        not_understood: replies to closed questions that name no answer; they count as wrong.
        cut: replies that reached the limit of new tokens.
        main: name of the figure that papers give.
        figures: by name, such as "accuracy", "accuracy: subject", "both right".
        skipped: reason -> records of the file that are no questions.
        without_answer: questions without a right answer, where others have one; they are in no figure.
    """

    questions: int
    answered: int
    failures: Mapping[str, int]
    not_understood: int
    cut: int
    main: str
    figures: Mapping[str, Figure]
    skipped: Mapping[str, int] = field(default_factory=dict)
    without_answer: int = 0


def failure(reply: ChatReply | str | None) -> str | None:
    """Why there is no answer to score, in a few words; None where there is one."""
    if reply is None:
        return "not asked"
    if isinstance(reply, str):
        return reply
    return None if reply.answered else ("refused" if reply.finish == "refused" else "no reply")


def question_kind(questions: Sequence[Question], kind: Kind | None) -> Kind:
    """The kind of a task: `kind`, or that of most of its questions."""
    if kind is not None:
        return kind
    return Counter(map(kind_of, questions)).most_common(1)[0][0]


def score_questions(
    kind: Kind,
    questions: Sequence[Question],
    replies: Replies,
    *,
    swapped_replies: Replies | None = None,
    ratings: Mapping[str, float | str] | None = None,
) -> TaskScore:
    """Score the replies of one model to the questions of one task.

    Args:
        kind: "choice" and "statement" give shares of right answers; "open" and "summary" ratings and shared words.
        swapped_replies: replies to `swapped(question)`, by the question's id.
        ratings: of a judge, 0 to 5: by question id, and for summaries by "ID commonalities" and "ID differences"; a
            text says why there is none.
    """
    reasons = Counter(reason for each in questions if (reason := failure(replies.get(each.question_id))))
    texts = {each.question_id: _text(replies.get(each.question_id)) for each in questions}
    answered = [(each, text) for each in questions if (text := texts[each.question_id]) is not None]
    cut = sum(isinstance(reply, ChatReply) and reply.finish == "length" for reply in replies.values())
    scored = [each for each in questions if each.answer]
    without_answer = len(questions) - len(scored) if scored else 0
    scored = scored or list(questions)
    unread = 0
    if kind in ("choice", "statement"):
        said = [(each, text) for each in scored if (text := texts[each.question_id]) is not None]
        unread = sum(read_answer(text, each.options) is None for each, text in said)
        figures = _closed(scored, texts)
        if kind == "statement":
            figures["says True"] = _says("True", said)
        elif swapped_replies is not None:
            figures |= _in_both_orders(scored, texts, swapped_replies)
            figures |= _averaged(scored, replies, swapped_replies)
        main = "both right" if any(each.pair for each in scored) else "accuracy"
    else:
        figures = _judged(kind, scored, texts, ratings)
        figures |= _words(kind, scored, texts)
        main = "rating" if "rating" in figures else next(iter(figures))
    counts = len(questions), len(answered)
    return TaskScore(*counts, dict(reasons), unread, cut, main, figures, without_answer=without_answer)


def _text(reply: ChatReply | str | None) -> str | None:
    return reply.text if isinstance(reply, ChatReply) and reply.answered else None


def _exact(question: Question, text: str) -> bool:
    return is_exact(text, question.answer)


def _tolerant(question: Question, text: str) -> bool:
    return read_answer(text, question.options) == question.answer


_RULES: tuple[tuple[str, Right], ...] = (("", _exact), (", tolerant", _tolerant))


def _closed(questions: Sequence[Question], texts: Mapping[str, str | None]) -> dict[str, Figure]:
    """Accuracy, and both rounds of a pair right, by the two rules; by category with the papers' rule."""
    pairs = any(each.pair for each in questions)
    figures: dict[str, Figure] = {}
    if pairs:
        for name, rule in _RULES:
            figures[f"both right{name}"] = _both_right(questions, texts, rule)
    for name, rule in _RULES:
        figures[f"accuracy{name}"] = _accuracy(questions, texts, rule)
    for category, own in _by_category(questions).items():
        if pairs:
            figures[f"both right: {category}"] = _both_right(own, texts, _exact)
        else:
            figures[f"accuracy: {category}"] = _accuracy(own, texts, _exact)
    return figures


def _accuracy(questions: Iterable[Question], texts: Mapping[str, str | None], rule: Right) -> Figure:
    right = count = failed = 0
    for each in questions:
        text = texts[each.question_id]
        if text is None:
            failed += 1
        else:
            count += 1
            right += rule(each, text)
    return share_figure(right, count, failed)


def _both_right(questions: Iterable[Question], texts: Mapping[str, str | None], rule: Right) -> Figure:
    """Over pairs; a pair counts where both rounds are there and were answered, and fails where one was not."""
    rounds: dict[str, list[Question]] = {}
    for each in questions:
        if each.pair is not None:
            rounds.setdefault(each.pair, []).append(each)
    right = count = failed = 0
    for both in rounds.values():
        said = [(each, texts[each.question_id]) for each in both]
        if len(both) < 2:
            continue
        if any(text is None for _, text in said):
            failed += 1
        else:
            count += 1
            right += all(rule(each, text) for each, text in said if text is not None)
    return share_figure(right, count, failed)


def _in_both_orders(
    questions: Sequence[Question], texts: Mapping[str, str | None], other_replies: Replies
) -> dict[str, Figure]:
    """Accuracy in the other order, right in both orders, and how often the first option is said over both."""
    others = {each.question_id: other for each in questions if (other := swapped(each)) is not None}
    other_texts = {own: _text(other_replies.get(own)) for own in others}
    figures = {"accuracy, swapped": _accuracy(others.values(), other_texts, _exact)}
    for name, rule in _RULES:
        right = count = failed = 0
        for each in questions:
            if each.question_id not in others:
                continue
            first, second = texts[each.question_id], other_texts[each.question_id]
            if first is None or second is None:
                failed += 1
            else:
                count += 1
                right += rule(each, first) and rule(others[each.question_id], second)
        figures[f"right in both orders{name}"] = share_figure(right, count, failed)
    said = [
        (each, text)
        for both, of in ((questions, texts), (others.values(), other_texts))
        for each in both
        if each.question_id in others and (text := of[each.question_id]) is not None
    ]
    return {**figures, "says A": _says("A", said)}


def _averaged(questions: Sequence[Question], replies: Replies, other_replies: Replies) -> dict[str, Figure]:
    """Accuracy and both rounds right by the letters' log-probabilities; {} for a model that does not tell them."""
    letters = averaged_letters(questions, replies, other_replies)
    if not any(letter is not None for letter in letters.values()):
        return {}
    own = [each for each in questions if each.question_id in letters]
    figures = {"accuracy, orders averaged": _accuracy(own, letters, _exact)}
    if any(each.pair for each in own):
        figures["both right, orders averaged"] = _both_right(own, letters, _exact)
    return figures


def _says(answer: str, answered: Sequence[tuple[Question, str]]) -> Figure:
    read = [read_answer(text, each.options) for each, text in answered]
    return share_figure(read.count(answer), sum(each is not None for each in read))


def _by_category(questions: Sequence[Question]) -> dict[str, list[Question]]:
    found: dict[str, list[Question]] = {}
    for each in questions:
        if each.category is not None:
            found.setdefault(each.category, []).append(each)
    return dict(sorted(found.items()))


def _judged(
    kind: Kind,
    questions: Sequence[Question],
    texts: Mapping[str, str | None],
    ratings: Mapping[str, float | str] | None,
) -> dict[str, Figure]:
    if ratings is None:
        return {}
    figures = {}
    parts = {"rating": ""} if kind == "open" else {"commonalities": " commonalities", "differences": " differences"}
    asked = [each for each in questions if each.answer]
    for name, suffix in parts.items():
        found = [ratings.get(f"{each.question_id}{suffix}") for each in asked]
        values = [value for value in found if isinstance(value, int | float)]
        figures[name] = mean_figure(values, len(asked) - len(values), unit="rating", most=5.0)
    if kind == "open":
        for category, own in _by_category(asked).items():
            values = [value for each in own if isinstance(value := ratings.get(each.question_id), int | float)]
            figures[f"rating: {category}"] = mean_figure(values, len(own) - len(values), unit="rating", most=5.0)
    return figures


def _words(kind: Kind, questions: Sequence[Question], texts: Mapping[str, str | None]) -> dict[str, Figure]:
    """Words shared with the reference; exact answers of open questions. How many were answered where none has one."""
    known = [(each, text) for each in questions if (text := texts[each.question_id]) is not None]
    failed = len(questions) - len(known)
    if not any(each.answer for each in questions):
        return {"answered": share_figure(len(known), len(questions))}
    if kind == "open":
        shared = [word_f1(text, each.answer) for each, text in known]
        exact = sum(is_exact(text.casefold().rstrip("."), each.answer.casefold().rstrip(".")) for each, text in known)
        return {"word F1": mean_figure(shared, failed), "exact": share_figure(exact, len(known), failed)}
    figures = {}
    for place, name in enumerate(("commonalities", "differences")):
        lists = [(split_summary(text), split_summary(each.answer)) for each, text in known]
        shared = [word_f1(own[place] if own else "", reference[place]) for own, reference in lists if reference]
        figures[f"word F1, {name}"] = mean_figure(shared, failed)
    return figures
