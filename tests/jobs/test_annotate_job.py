"""The annotation job against a real server: every pair once, whatever is killed and when."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput, OutputExists
from index.outputs import only_writer
from jobs.annotate_job import run_annotate
from mining.annotate.config import AnnotateConfig
from mining.annotate.summary import AnnotateSummary
from mining.sets.image_sets import ImageSets
from tests.jobs.comparing_server import MODEL, ComparingServer, comparing_server
from tests.jobs.running import clipmine_command
from tests.mining.annotate.asking import adds_up, said_of
from tests.mining.made_sets import write_foreign_sets

COUNT = 60


@pytest.fixture
def pairs(tmp_path: Path) -> ImageSets:
    return write_foreign_sets(tmp_path, [[f"{number}.jpg", f"{number + 1}.jpg"] for number in range(COUNT)])


def annotate(pairs: ImageSets, server: ComparingServer | None, **options: Any) -> AnnotateSummary:
    given: dict[str, Any] = {"name": "phase-1", **options}
    if server is not None:
        given = {"annotator": "openai", "model": MODEL, "base_url": server.url, **given}
    return run_annotate(AnnotateConfig.of(pairs.path, **given))


def once_each(pairs: ImageSets) -> bool:
    """Whether every set has one comparison, of its own captions."""
    found = said_of(pairs, "comparison")
    return len(found) == COUNT and all(
        len(found[each.set_id]) == 1 and str(each.captions[0]).split()[-1] in found[each.set_id][0] for each in pairs
    )


def test_every_pair_once_when_server_and_job_are_killed_in_turn(pairs: ImageSets, tmp_path: Path) -> None:
    with comparing_server(tmp_path / "log.jsonl", seconds=0.05) as server:
        own = ["--annotator", "openai", "--model", MODEL, "--base-url", server.url, "--name", "phase-1"]
        command = clipmine_command("annotate", pairs.path, *own, "--concurrency", 4)
        job = started(command)
        server.wait_for_answers(8, job)
        server.kill()
        time.sleep(0.2)
        assert job.poll() is None  # it waits for the server
        server.start()
        for answers in (20, 35):
            server.wait_for_answers(answers, job)
            job.kill()
            job.wait()
            cached = cached_texts(Path(pairs.path) / "annotations/answers")
            time.sleep(0.2)  # what the killed job had asked is answered into the void
            before = server.lines()
            job = started(command)
            server.wait_for_answers(answers + 6, job)
            assert cached.isdisjoint(said["text"] for said in server.noted("answered", before))
        server.wait_for_answers(48, job)
        server.kill()
        server.start()
        assert job.wait(60) == 0
        assert once_each(pairs)
        assert cached.isdisjoint(said["text"] for said in server.noted("answered", before))
        asked = Counter(said["asked"] for said in server.noted("asked"))
        assert len(asked) == COUNT
        assert asked.total() <= COUNT + 4 * 4  # twice: only what was under way at one of the four kills
        lines = server.lines()
        summary = annotate(pairs, server)
        assert (summary.annotated, summary.earlier, summary.requests) == (COUNT, COUNT, 0)
        assert server.lines() == lines


def started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def cached_texts(folder: Path) -> set[str]:
    """The answers that are kept whole in a cache."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_bytes().split(b"\n")[:-1]]
    return {json.loads(line)["text"] for line in lines}


def test_captions_are_compared_without_a_model(pairs: ImageSets) -> None:
    summary = annotate(pairs, None, kind="choice")
    assert (summary.annotated, summary.annotations, summary.requests) == (COUNT, COUNT, 0)
    assert adds_up(summary)
    assert annotate(pairs, None, kind="choice").earlier == COUNT


def test_a_part_of_the_sets_first_then_the_rest_under_the_same_name(pairs: ImageSets, tmp_path: Path) -> None:
    with comparing_server(tmp_path / "log.jsonl") as server:
        assert annotate(pairs, server, limit=10).annotated == 10
        assert annotate(pairs, server, limit=25, max_requests=20).left == 5
        summary = annotate(pairs, server)
        assert (summary.annotated, summary.earlier, summary.total_requests) == (COUNT, 20, COUNT)
    assert once_each(pairs)


def test_shards_are_parts_of_their_own(pairs: ImageSets, tmp_path: Path) -> None:
    with comparing_server(tmp_path / "log.jsonl") as server:
        sets = [annotate(pairs, server, shard=f"{place}/3").annotated for place in (1, 2, 3)]
    assert sum(sets) == COUNT
    assert once_each(pairs)
    names = {name.rpartition("_")[0] for name, _ in ImageSets.open(pairs.path).annotations.parts}
    assert names == {f"phase-1-{place}-of-3" for place in (1, 2, 3)}


def test_a_shared_cache_saves_another_folder_the_requests(pairs: ImageSets, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = write_foreign_sets(tmp_path / "other", [["0.jpg", "1.jpg"], ["7.jpg", "0.jpg"]])
    with comparing_server(tmp_path / "log.jsonl") as server:
        annotate(pairs, server, cache=str(tmp_path / "answers"))
        summary = annotate(other, server, cache=str(tmp_path / "answers"))
    assert (summary.annotated, summary.requests, summary.cached) == (2, 1, 1)


def test_no_key_and_no_address_is_in_any_file(
    pairs: ImageSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-4711")
    with comparing_server(tmp_path / "log.jsonl") as server:
        annotate(pairs, server, limit=5)
        address = str(server.port)
    for path in Path(pairs.path).rglob("*"):
        if path.is_file() and "annotations" in path.parts:
            assert b"sk-secret" not in path.read_bytes()
            assert f":{address}".encode() not in path.read_bytes()


@pytest.mark.parametrize("finished", [False, True])
def test_a_name_that_was_begun_with_other_settings_is_refused(pairs: ImageSets, tmp_path: Path, finished: bool) -> None:
    with comparing_server(tmp_path / "log.jsonl") as server:
        annotate(pairs, server, **({} if finished else {"limit": 5}))
        with pytest.raises(OutputExists, match=r"'phase-1': was begun with temperature None, not 0\.5; choose another"):
            annotate(pairs, server, temperature=0.5)
        with pytest.raises(OutputExists, match=r"'phase-1': was begun without --seed 5; choose another --name"):
            annotate(pairs, server, seed=5)
        with pytest.raises(OutputExists, match=r"was begun without --from-images, without --as-trained; choose"):
            annotate(pairs, server, from_images=True, as_trained=True)
        annotate(pairs, server, name="seen", from_images=True, seed=3, limit=2)
        with pytest.raises(OutputExists, match=r"was begun with --from-images, with --seed 3; choose"):
            annotate(pairs, server, name="seen")
    with pytest.raises(OutputExists, match="was begun with annotator openai, not captions"):
        annotate(pairs, None)


def test_two_runs_of_one_name_at_once_are_one_line(pairs: ImageSets) -> None:
    config = AnnotateConfig.of(pairs.path, name="phase-1", kind="choice")
    with (
        only_writer(config.folder),
        pytest.raises(OutputExists, match="another process is writing the annotations 'phase-1'; wait for it, or cho"),
    ):
        run_annotate(config)


def test_a_model_that_the_server_lacks_leaves_nothing_behind(pairs: ImageSets, tmp_path: Path) -> None:
    with comparing_server(tmp_path / "log.jsonl") as server:
        with pytest.raises(BadInput, match=f"its models are {MODEL}"):
            annotate(pairs, server, model="other-1")
        assert annotate(pairs, server, limit=3).annotated == 3  # under the same name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "cad-qa"}, "--kind cad-qa asks a model: it needs --annotator openai or transformers"),
        ({"kind": "story"}, "kind 'story': choose one of"),
        ({"kind": "judge"}, "--kind judge asks a model: it needs --annotator openai or transformers"),
        ({"refine": "comparison"}, "--refine has no meaning for --kind comparison of captions"),
        ({"strategy": "similar"}, "has no sets of strategy 'similar'; it has photos"),
        ({"annotator": "openai", "model": "m", "base_url": "host:8000"}, "it looks like http://host:8000/v1"),
        (
            {"annotator": "openai", "model": "m", "base_url": "http://h/v1", "key_variable": "NO_SUCH_KEY"},
            "'NO_SUCH_KEY' holds no key",
        ),
        (
            {"annotator": "openai", "model": "m", "base_url": "http://h/v1", "kind": "choice"},
            "needs no model; choose the annotator captions",
        ),
        (
            {
                "annotator": "openai",
                "model": "m",
                "base_url": "http://h/v1",
                "from_images": True,
                "refine": "difference_note",
            },
            "has no annotations of kind 'difference_note'",
        ),
    ],
)
def test_what_cannot_be_annotated_is_one_line(pairs: ImageSets, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        run_annotate(AnnotateConfig.of(pairs.path, **options))
    assert not list((Path(pairs.path) / "annotations").glob("*.run"))


def test_folders_that_hold_no_sets_or_are_remote_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no image sets"):
        run_annotate(AnnotateConfig.of(str(tmp_path)))
    with pytest.raises(BadInput, match="the folder has to be local"):
        run_annotate(AnnotateConfig.of("memory://pairs"))
    with pytest.raises(BadInput, match="--executor ray runs checkpoints"):
        run_annotate(AnnotateConfig.of(str(tmp_path)), executor="ray")


def test_images_that_are_not_where_the_sets_say_end_the_run_before_the_server_is_asked(
    pairs: ImageSets, tmp_path: Path
) -> None:
    (tmp_path / "photos").rename(tmp_path / "moved")
    with comparing_server(tmp_path / "log.jsonl") as server:
        with pytest.raises(BadInput, match="which is not there"):
            annotate(pairs, server, from_images=True)
        summary = annotate(pairs, server, from_images=True, moved=str(tmp_path / "moved"), limit=4)
        assert (summary.annotated + summary.rejected, server.lines()) == (4, 2 * summary.requests)
