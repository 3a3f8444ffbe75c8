"""Twenty-line look-alikes of every file that MiniMind publishes, with the liberties that the real ones take.

``python tests/lookalike_kit.py FOLDER`` writes them; with MINIMIND_DATA=FOLDER the profile full then runs on them.
"""

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from minimind_lite.data.published import PUBLISHED
from minimind_lite.files import repository_root

LINES = 20
PLACES = ("Oslo", "Lima", "Cairo", "Quito", "Delhi", "Rome", "巴黎", "北京", "东京", "柏林")
Line = Callable[[int], dict[str, Any]]


def _words(number: int) -> str:
    place = PLACES[number % len(PLACES)]
    return f"{place} is a city, and number {number} on our list. 第{number}座城市叫{place}，那里的人们喜欢在河边散步。"


def _asked(number: int) -> dict[str, Any]:
    return {"role": "user", "content": f"What is place {number} on the list? 请告诉我。"}


def _said(number: int, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": _words(number)} | more


def _plain_text(number: int) -> dict[str, Any]:
    return {"text": _words(number) * 3}


@cache
def _prose() -> str:
    folder = repository_root() / "data_samples" / "pretrain"
    lines = [(folder / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines() for kind in ("modern_en", "modern_zh")]
    return " ".join(json.loads(line)["text"] for pair in zip(*lines, strict=False) for line in pair)


def _natural_text(number: int) -> dict[str, Any]:
    """tokenizer_train: prose of the samples, because a tokenizer of ten sentences cuts all else into letters."""
    return {"text": _prose()[5000 * number : 5000 * (number + 1)]}


def _marked_text(number: int) -> dict[str, Any]:
    """pretrain_hq: markers stand inside the text, as borders between texts; enough to fill rows of 512."""
    texts = ((_words(number + i) * 5)[: 12 + (37 * number + 53 * i) % 400] for i in range(30))
    return {"text": "".join(f"<|im_start|>{text}<|im_end|> " for text in texts)}


def _conversation(number: int) -> dict[str, Any]:
    turns = [_asked(number), _said(number)]
    return {"conversations": turns * (1 + number % 3)}


def _reasoned(number: int) -> dict[str, Any]:
    """r1_mix: thoughts and answers, and a quarter plain conversations."""
    if number % 4 == 3:
        return _conversation(number)
    written = f"<think>\nThe list says {number}.\n</think>\n<answer>\n{_words(number)}\n</answer>"
    return {"conversations": [_asked(number), {"role": "assistant", "content": written}]}


def _preferred(number: int) -> dict[str, Any]:
    worse = {"role": "assistant", "content": f"I do not care about {number}."}
    return {"chosen": [_asked(number), _said(number)], "rejected": [_asked(number), worse]}


def _with_tools(number: int) -> dict[str, Any]:
    """v3's SFT files: empty strings for nothing, null beside calls, calls as a list or as the JSON text of one."""
    system = {"role": "system", "content": "You help.", "tools": json.dumps([{"name": "now"}])}
    calls = [{"name": "now", "arguments": {}}]
    called = [_asked(number), {"role": "assistant", "content": None, "tool_calls": calls}]
    answered = [{"role": "tool", "content": "12:00"}, _said(number, reasoning_content="It is noon.")]
    kinds = [
        [system | {"tools": ""}, _asked(number), _said(number, tool_calls="", reasoning_content="")],
        [system, *called, *answered],
        [system, called[0], called[1] | {"tool_calls": json.dumps(calls)}, *answered],
        [_asked(number), _said(number)],
    ]
    return {"conversations": kinds[number % len(kinds)]}


def _for_a_reward(number: int) -> dict[str, Any]:
    """rlaif: the last answer is no answer."""
    return {"conversations": [_asked(number), {"role": "assistant", "content": "无"}]}


def _for_an_agent(number: int) -> dict[str, Any]:
    return _with_tools(number) | {"gt": [str(number)]}


SPECIAL: dict[str, Line] = {
    "tokenizer_train.jsonl": _natural_text,
    "pretrain_hq.jsonl": _marked_text,
    "r1_mix_1024.jsonl": _reasoned,
    "sft_t2t.jsonl": _with_tools,
    "sft_t2t_mini.jsonl": _with_tools,
    "rlaif.jsonl": _for_a_reward,
    "agent_rl.jsonl": _for_an_agent,
    "agent_rl_math.jsonl": _for_an_agent,
}
USUAL: dict[str, Line] = {"text": _plain_text, "conversation": _conversation, "preference": _preferred}


def write_lookalikes(folder: Path, lines: int = LINES) -> Path:
    """One file for each published one; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in PUBLISHED.items():
        line = SPECIAL.get(name) or USUAL[file.kind]
        rows = [json.dumps(line(number), ensure_ascii=False) + "\n" for number in range(lines)]
        (folder / name).write_text("".join(rows), encoding="utf-8", newline="\n")
    return folder


if __name__ == "__main__":
    write_lookalikes(Path(sys.argv[1]))
