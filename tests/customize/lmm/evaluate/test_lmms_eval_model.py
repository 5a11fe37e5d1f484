"""The model plug-in of lmms-eval. Without lmms-eval installed, its base class is stood in for by an empty one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from index.errors import MissingDependency
from tests.customize.lmm.model.checkpoints import write_llava
from tests.mining.chat.chat_server import completion, serving

NAME = "customize.lmm.evaluate.lmms_eval_model"


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with the part of lmms-eval's interface that it uses."""
    package, api, model = (ModuleType(name) for name in ("lmms_eval", "lmms_eval.api", "lmms_eval.api.model"))
    model.lmms = type("lmms", (), {"__init__": lambda self: None, "task_dict": {}})  # type: ignore[attr-defined]
    for module in (package, api, model):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    yield importlib.import_module(NAME)
    sys.modules.pop(NAME, None)


def request(own: int, **options: Any) -> Any:
    def messages(doc: str) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": "text", "text": doc}]}]

    return SimpleNamespace(args=("", messages, {"max_new_tokens": 4, "do_sample": False, **options}, own, "t", "test"))


def test_replies_come_in_order_and_failures_say_why(plug_in: Any) -> None:
    def answer(number: int, body: dict[str, Any]) -> Any:
        text = body["messages"][-1]["content"]
        said = text if isinstance(text, str) else text[0]["text"]
        return completion(None if said == "two" else said.upper(), "content_filter" if said == "two" else "stop")

    with serving(answer) as server:
        model = plug_in.ClipmineModel("tiny", base_url=server.url)
        model.task_dict = {"t": {"test": ["one", "two", "three"]}}
        replies = model.generate_until([request(2), request(0), request(1)])
    assert replies[:2] == ["THREE", "ONE"]
    assert replies[2].startswith(plug_in.FAILED)
    assert server.bodies[0]["temperature"] == 0


def test_a_checkpoint_runs_here(plug_in: Any, tmp_path: Path) -> None:
    model = plug_in.ClipmineModel(str(write_llava(tmp_path / "llava")), device="cpu", batch_size="auto")
    model.task_dict = {"t": {"test": ["one"]}}
    (reply,) = model.generate_until([request(0)])
    assert isinstance(reply, str)


def test_messages_keep_images_in_their_places(plug_in: Any) -> None:
    from PIL import Image

    image = Image.new("RGB", (4, 4))
    pieces: list[dict[str, Any]] = [
        {"type": "text", "text": "Image 1: "},
        {"type": "image", "url": image},
        {"type": "text", "text": " what?"},
    ]
    asked = plug_in.chat_request([{"role": "user", "content": pieces}], {"temperature": 0.7, "max_new_tokens": 9})
    assert asked.turns[0].parts == ("Image 1: ", 0, " what?")
    assert (asked.max_new_tokens, asked.temperature) == (9, 0.7)
    with pytest.raises(NotImplementedError, match="no video"):
        plug_in.chat_request([{"role": "user", "content": [{"type": "video", "url": "x"}]}], {})


def test_other_kinds_of_requests_are_refused(plug_in: Any) -> None:
    model = plug_in.ClipmineModel("tiny", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(NotImplementedError, match="output_type: generate_until"):
        model.loglikelihood([])
    with pytest.raises(NotImplementedError, match="one question at a time"):
        model.generate_until_multi_round([])


def test_without_lmms_eval_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmms_eval", None)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    plugin = importlib.import_module(NAME)
    with pytest.raises(MissingDependency, match="needs lmms-eval"):
        plugin.ClipmineModel("tiny")
