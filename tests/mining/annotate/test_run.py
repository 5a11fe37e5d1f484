"""The runner: each set once, whatever the model does, whatever ends a run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput, ClipmineError
from mining.annotate.budget import Limits
from mining.annotate.run import AnnotationRun, Sampling
from mining.annotate.task import Answer, Asked, Unparsed
from mining.chat.chat import ChatReply, ChatRequest
from mining.export.member_images import MemberImages
from mining.sets.annotation import Turn
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets
from tests.mining.annotate.asking import FunctionModel, WordsTask, adds_up, annotate, echo, said_of
from tests.mining.made_sets import many_pairs, write_foreign_sets, write_sets


@pytest.fixture
def pairs(tmp_path: Path) -> ImageSets:
    return write_sets(tmp_path, many_pairs(12, 20))


@pytest.mark.parametrize("threaded", [False, True])
def test_each_set_is_asked_once_and_its_answer_is_an_annotation(pairs: ImageSets, threaded: bool) -> None:
    model = FunctionModel(threaded=threaded)
    summary = annotate(pairs, model)
    assert (summary.sets, summary.annotated, summary.requests, summary.annotations) == (20, 20, 20, 20)
    assert adds_up(summary)
    assert len(set(model.texts)) == 20
    assert said_of(pairs) == {each.set_id: [f"words: {' / '.join(map(str, each.captions))}"] for each in pairs}
    (one,) = ImageSets.open(pairs.path).with_annotations(kind="words")[0].annotations
    assert one.annotator.name == "function-1"
    assert one.annotator.parameters == {"max_new_tokens": 16, "temperature": 0.0}


def test_a_second_run_asks_nothing_and_adds_no_part(pairs: ImageSets) -> None:
    first = annotate(pairs, FunctionModel())
    model = FunctionModel()
    summary = annotate(pairs, model)
    assert model.asked == []
    assert (summary.annotated, summary.earlier, summary.requests, summary.parts) == (20, 20, 0, first.parts)
    assert summary.total_requests == 20


def test_another_part_with_the_same_questions_takes_its_answers_from_the_cache(pairs: ImageSets) -> None:
    annotate(pairs, FunctionModel())
    model = FunctionModel()
    summary = annotate(pairs, model, name="again")
    assert model.asked == []
    assert (summary.cached, summary.annotated, summary.requests) == (20, 20, 0)
    assert annotate(pairs, FunctionModel(identity={"model": "another"}), name="other").requests == 20


def test_two_sets_with_one_question_are_one_request(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], ["c.jpg", "b.jpg"], ["a.jpg", "b.jpg", "a.jpg"]])

    class SameTask(WordsTask):
        def asked(self, each: ImageSet, images: tuple[bytes, ...], attempt: int) -> list[Asked]:
            return [Asked("", ChatRequest((Turn("user", ("What?",)),)))]

    summary = annotate(sets, FunctionModel(), SameTask())
    assert (summary.annotated, summary.requests) == (3, 1)


def test_what_is_not_understood_is_asked_again_and_then_kept_as_rejected(pairs: ImageSets) -> None:
    calls: Counter[str] = Counter()

    def answer(request: ChatRequest) -> ChatReply:
        text = request.turns[-1].text
        calls[text.rstrip(" 12")] += 1
        ids = sorted({" / ".join(map(str, each.captions)) for each in pairs})
        place = ids.index(next(each for each in ids if text.startswith(each)))
        if place < 3:
            return ChatReply("I cannot say \ud800.", "stop", 5, 5)
        return echo(request) if place > 8 or text.endswith(" 1") else ChatReply("Well.", "stop", 5, 5)

    summary = annotate(pairs, FunctionModel(answer))
    assert (summary.annotated, summary.rejected, summary.retried) == (17, 3, 3 * 2 + 6)
    assert summary.requests == 20 + 3 * 2 + 6
    assert adds_up(summary)
    assert summary.rejections == {"does not begin with words:": 3}
    rejected = [each for each in ImageSets.open(pairs.path).with_annotations(kind="rejected") if each.annotations]
    said = rejected[0].annotations[0]
    assert said.turns == ()
    assert said.content["kind"] == "words"
    assert said.content["text"] == "I cannot say ?."
    assert said.content["attempts"] == 3
    again = FunctionModel(answer)
    assert annotate(pairs, again).rejected == 3  # decided, so not asked again
    assert again.asked == []


def test_an_answer_cut_at_the_limit_is_parsed_as_cut(pairs: ImageSets) -> None:
    summary = annotate(pairs[:2], FunctionModel(lambda request: replace(echo(request), finish="length")), attempts=1)
    assert (summary.rejected, summary.retried) == (2, 0)


def test_a_failed_request_is_no_annotation_and_the_next_run_asks_again(pairs: ImageSets) -> None:
    model = FunctionModel()
    model.answer = lambda request: (
        echo(request) if len(model.asked) % 2 else ChatReply("", "failed", error="the server gave status 500")
    )
    summary = annotate(pairs, model)
    assert (summary.annotated, summary.failed, summary.left) == (10, 10, 0)
    assert summary.failures == {"the server gave status 500": 10}
    assert adds_up(summary)
    again = FunctionModel()
    summary = annotate(pairs, again)
    assert (summary.annotated, summary.failed, len(again.asked)) == (20, 0, 10)
    assert all(len(said) == 1 for said in said_of(pairs).values())


def test_a_refusal_is_a_rejected_annotation_and_is_not_in_the_cache(pairs: ImageSets) -> None:
    refusal = FunctionModel(lambda request: ChatReply("", "refused", 9, 0, error="content filter"))
    summary = annotate(pairs, refusal)
    assert (summary.rejected, summary.retried) == (20, 0)
    assert summary.rejections == {"refused: content filter": 20}
    assert annotate(pairs, FunctionModel(), name="other").requests == 20


def test_a_request_that_the_model_lost_is_counted_as_failed(pairs: ImageSets) -> None:
    class Loses(FunctionModel):
        def replies(self, requests: Any) -> Any:
            yield from list(super().replies(requests))[1:]

    summary = annotate(pairs, Loses())
    assert (summary.annotated, summary.failed, summary.failures) == (19, 1, {"no reply": 1})


def test_sets_without_captions_have_nothing_to_ask(tmp_path: Path) -> None:
    class Silent(WordsTask):
        def asked(self, each: ImageSet, images: tuple[bytes, ...], attempt: int) -> list[Asked]:
            return super().asked(each, images, attempt) if each.set_id.endswith("0") else []

    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], ["c.jpg", "d.jpg"]])
    summary = annotate(sets, FunctionModel(), Silent())
    assert (summary.annotated, summary.nothing_to_ask) == (1, 1)
    assert adds_up(summary)


def test_several_questions_of_a_set_are_decided_together(pairs: ImageSets) -> None:
    task = WordsTask(items=("first", "second"))
    model = FunctionModel()
    model.answer = lambda request: (
        ChatReply("", "failed", error="cut off") if request.turns[-1].text.startswith("second") else echo(request)
    )
    summary = annotate(pairs[:5], model, task)
    assert (summary.annotated, summary.failed, summary.annotations) == (0, 5, 0)
    again = FunctionModel()
    summary = annotate(pairs[:5], again, task)
    assert (summary.annotated, summary.annotations, summary.cached) == (5, 10, 5)
    assert all(text.startswith("second") for text in again.texts)


@pytest.mark.parametrize("fails_at", [1, 3, 8, 19])
def test_a_run_that_ends_with_an_error_keeps_what_was_answered(pairs: ImageSets, fails_at: int) -> None:
    model = FunctionModel()

    def answer(request: ChatRequest) -> ChatReply:
        if len(model.asked) == fails_at:
            raise ClipmineError("the server is gone")
        return echo(request)

    model.answer = answer
    with pytest.raises(ClipmineError, match="the server is gone"):
        annotate(pairs, model)
    assert len(said_of(pairs)) == fails_at - 1
    again = FunctionModel()
    assert annotate(pairs, again).annotated == 20
    assert len(again.asked) == 20 - (fails_at - 1)
    assert all(len(said) == 1 for said in said_of(pairs).values())


def test_an_error_of_the_task_ends_the_run_though_the_model_asked_from_a_thread(pairs: ImageSets) -> None:
    class Broken(WordsTask):
        def asked(self, each: ImageSet, images: tuple[bytes, ...], attempt: int) -> list[Asked]:
            raise BadInput("the folder of the images is not there")

    with pytest.raises(BadInput, match="the folder of the images"):
        annotate(pairs, FunctionModel(threaded=True), Broken())


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(max_requests=7), "--max-requests 7"),
        (Limits(max_tokens=500), "--max-tokens 500"),
        (Limits(max_cost=0.0005, price_in=1.0, price_out=1.0), "--max-cost 0.0005"),
    ],
)
def test_the_budget_ends_a_run_and_counts_all_runs_of_the_part(pairs: ImageSets, limits: Limits, why: str) -> None:
    summary = annotate(pairs, FunctionModel(), limits=limits)
    assert 0 < summary.annotated < 20
    assert (summary.left, summary.stopped_by) == (20 - summary.annotated, why)
    assert adds_up(summary)
    assert limits.max_tokens is None or 400 < summary.prompt_tokens + summary.new_tokens <= 500
    assert limits.max_requests is None or summary.requests == 7
    assert limits.max_cost is None or summary.cost <= limits.max_cost
    model = FunctionModel()
    assert annotate(pairs, model, limits=limits).left == summary.left
    assert model.asked == []
    assert annotate(pairs, FunctionModel()).annotated == 20


def test_images_are_sent_and_missing_ones_are_counted_by_their_reason(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], ["c.jpg", "d.jpg"], ["e.jpg", "f.jpg"]])
    (tmp_path / "photos" / "d.jpg").unlink()
    (tmp_path / "photos" / "f.jpg").write_bytes(b"changed")
    model = FunctionModel()
    summary = annotate(sets, model, WordsTask(needs_images=True), images=MemberImages(sets))
    assert (summary.annotated, summary.image_missing) == (1, 2)
    assert set(summary.missing) == {"missing", "another file than at import"}
    assert adds_up(summary)
    assert [len(request.images) for request in model.asked] == [2]
    assert model.asked[0].images[0] == (tmp_path / "photos" / "a.jpg").read_bytes()


def test_an_answer_that_shows_an_image_that_the_set_lacks_is_rejected(pairs: ImageSets) -> None:
    class Shows(WordsTask):
        def parse(self, each: ImageSet, asked: Asked, text: str, cut: bool = False) -> Answer | Unparsed:
            return Answer((Turn("user", (7, "What?")), Turn("assistant", ("That.",))))

    summary = annotate(pairs[:2], FunctionModel(), Shows(), attempts=1)
    assert summary.rejected == 2
    assert "image 7" in next(iter(summary.rejections))


def test_what_the_user_asks_of_replies_goes_into_requests_and_parameters(pairs: ImageSets) -> None:
    model = FunctionModel()
    annotate(pairs[:1], model, sampling=Sampling(max_new_tokens=99, temperature=0.7))
    assert (model.asked[0].max_new_tokens, model.asked[0].temperature) == (99, 0.7)
    (said,) = ImageSets.open(pairs.path).with_annotations()[pairs.numbers[0]].annotations
    assert said.annotator.parameters == {"max_new_tokens": 99, "temperature": 0.7}


def test_progress_is_told_of_sets_replies_and_tokens(pairs: ImageSets) -> None:
    seen: list[tuple[int, int]] = []

    def note(run: AnnotationRun) -> None:
        seen.append((run.decided, run.replies))

    annotate(pairs, FunctionModel(), on_progress=note)
    assert seen[-1] == (20, 20)
    assert seen == sorted(seen)


def test_the_ledger_has_each_request_and_the_summary(pairs: ImageSets) -> None:
    annotate(pairs, FunctionModel(), limits=Limits(price_in=2.0, price_out=10.0))
    path = Path(pairs.path) / "annotations/words.run/ledger.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    requests = [line for line in lines if "request" in line]
    assert len(requests) == 20
    total = sum(2.0 * line["prompt_tokens"] + 10.0 * line["new_tokens"] for line in requests) / 1e6
    assert lines[-1]["summary"]["cost"] == pytest.approx(total)
    assert lines[-1]["summary"]["annotated"] == 20
