from __future__ import annotations

from pathlib import Path

import pytest

from index.errors import BadInput
from mining.chat.factory import open_chat_model
from mining.chat.local_model import LocalModel
from mining.chat.openai_server import OpenAIServer


@pytest.fixture(autouse=True)
def no_key_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("name", "model", "shown"),
    [
        ("openai:llava@http://host:8000/v1", "llava", "http://host:8000/v1"),
        ("openai:org/llava@v2@https://me:p@ss@host/v1", "org/llava@v2", "https://host/v1"),
    ],
)
def test_a_model_of_a_server_is_opened(name: str, model: str, shown: str) -> None:
    opened = open_chat_model(name, max_concurrency=3, adapter=None, timeout=None)
    assert isinstance(opened, OpenAIServer)
    assert opened.name == model
    assert repr(opened) == f"OpenAIServer({shown!r}, {model!r})"


@pytest.mark.parametrize("before", ["", "transformers:"])
def test_a_checkpoint_is_opened(llama_folder: Path, before: str) -> None:
    assert isinstance(open_chat_model(f"{before}{llama_folder}", device="cpu", key_variable=None), LocalModel)


@pytest.mark.parametrize("name", ["openai:llava", "openai:@http://host/v1", "http://host/v1", "", "transformers:"])
def test_other_forms_are_refused_with_the_valid_one(name: str) -> None:
    with pytest.raises(BadInput, match="openai:MODEL@URL"):
        open_chat_model(name)


def test_credentials_are_not_repeated() -> None:
    for name in ("openai:llava@me:secret@host", "http://me:secret@host"):
        with pytest.raises(BadInput) as raised:
            open_chat_model(name)
        assert "secret" not in str(raised.value)


def test_options_of_the_other_kind_are_refused() -> None:
    with pytest.raises(BadInput, match="adapter: a server has no such option; it has key_variable"):
        open_chat_model("openai:llava@http://host/v1", adapter="tuned")
    with pytest.raises(BadInput, match="timeout: a checkpoint in this process has no such option"):
        open_chat_model("llava", timeout=3.0)
    with pytest.raises(TypeError, match="temprature"):
        open_chat_model("llava", temprature=3.0)
