"""Markdown tables and lists, whatever texts stand in them."""

from __future__ import annotations

from customize.markdown import inline, markdown_list, markdown_table


def test_a_table_has_a_line_for_each_row() -> None:
    table = markdown_table(("", "rows"), [("a", 3), ("b", "")])
    assert table == "| | rows |\n|---|---|\n| a | 3 |\n| b | |\n"


def test_no_text_leaves_its_cell_or_line() -> None:
    assert markdown_table(("a|b\nc",), []) == "| a\\|b c |\n|---|\n"
    assert markdown_list({"name": "a\n# b"}) == "- name: a # b\n"


def test_values_are_shown_on_one_line() -> None:
    assert inline(1 / 3) == "0.333333"
    assert inline({"a": [1, 2]}) == '`{"a": [1, 2]}`'
    assert markdown_list({"batch_size": 4, "lr": 1e-4}) == "- batch size: 4\n- lr: 0.0001\n"
    assert markdown_list("none") == "none\n"
