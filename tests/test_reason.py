"""Reasoning distillation: the form of the records, the weighted loss, the thinking switch, the run and its figures."""

import pytest

from minimind_lite.data.reasoning import format_reasoning, parse_reasoning, reasoning_fault

GOOD = "<think>\n个位：9+1=10，得0，进1\n十位：2+6+1=9，得90\n</think>\n<answer>\n90\n</answer>"


def test_a_well_formed_answer_comes_apart_and_together_again() -> None:
    parsed = parse_reasoning(GOOD)
    assert parsed.well_formed and parsed.answer == "90" and parsed.thought and parsed.thought.endswith("得90")
    assert format_reasoning(parsed.thought, parsed.answer) == GOOD
    direct = parse_reasoning("<answer>\n90\n</answer>")
    assert direct == (None, "90", True) and format_reasoning(None, "90") == "<answer>\n90\n</answer>"
    assert parse_reasoning("<think>\n\n</think>\n\n<answer>\n90\n</answer>") == ("", "90", True)


@pytest.mark.parametrize(
    ("text", "answer", "words"),
    [
        ("90", None, "no <answer> block"),
        ("<think>\n1\n</think>\n90", None, "no <answer> block"),
        ("<think>\n1\n<answer>\n90\n</answer>", "90", "<think> is opened 1 times and closed 0 times"),
        ("<think>\n1\n</think>\n<answer>\n90", None, "<answer> is opened 1 times and closed 0 times"),
        ("1\n</think>\n<answer>\n90\n</answer>", "90", "<think> is opened 0 times and closed 1 times"),
        ("<answer>\n1\n</answer>\n<answer>\n2\n</answer>", None, "2 <answer> blocks"),
        ("<answer>\n1\n</answer>\n<think>\n1\n</think>", "1", "in this order"),
        ("so <answer>\n1\n</answer>", "1", "no words outside"),
        ("<answer>\n\n</answer>", "", "an answer and"),
        ("<think>\n<answer>\n1\n</answer>\n</think>", "1", "in this order"),
    ],
)
def test_what_is_wrong_is_said(text: str, answer: str | None, words: str) -> None:
    assert parse_reasoning(text) == (None, answer, False)
    assert words in (reasoning_fault(text) or "")
    assert reasoning_fault(GOOD) is None
