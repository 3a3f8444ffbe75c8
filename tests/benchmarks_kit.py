"""Look-alikes of the published benchmarks: their files, names and columns, with questions of our own."""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

COLOURS = ("red", "blue", "green", "grey", "white")
THINGS = ("apple", "sky", "leaf", "mouse", "snow")
ROWS = 20


def json_lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_csv(header: list[str], rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    return text.getvalue()


def four_way(number: int) -> tuple[str, list[str], str]:
    """A question, its four choices and the letter of the right one."""
    choices = [COLOURS[(number + shift) % 5] for shift in range(4)]
    right = (number * 3) % 4
    thing = THINGS[(number + right) % 5]
    return f"第{number}题：{thing}的颜色是____。", choices, "ABCD"[right]


def exam(named: str, answer: str, first: str | None, count: int, explained: bool = False) -> str:
    """A CSV file as C-Eval, CMMLU, ACLUE and TMMLU+ have them; ``first`` is the name of a leading number's column."""
    header = [*([] if first is None else [first]), named, "A", "B", "C", "D", answer]
    rows = []
    for number in range(count):
        question, choices, letter = four_way(number)
        rows.append([*([] if first is None else [number]), question, *choices, letter, *(["为什么"] * explained)])
    return as_csv([*header, *(["explanation"] * explained)], rows)


def science(number: int, nested: bool, digits: bool = False) -> dict[str, Any]:
    """A question of ARC or OpenBookQA; every fourth has five choices. nested: as the authors publish it."""
    count = 5 if number % 4 == 0 else 4
    labels = [str(at + 1) if digits else "ABCDE"[at] for at in range(count)]
    texts = [f"{COLOURS[(number + at) % 5]} light" for at in range(count)]
    key, asked = labels[number % count], f"Which light is number {number}?"
    if nested:
        listed = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
        return {"id": f"q{number}", "question": {"stem": asked, "choices": listed}, "answerKey": key}
    return {"id": f"q{number}", "question": asked, "choices": {"text": texts, "label": labels}, "answerKey": key}


def story(number: int) -> dict[str, Any]:
    """A row of HellaSwag."""
    return {
        "ind": number, "activity_label": "Painting a fence",
        "ctx_a": f"[header] How to [title] Person {number} starts.",
        "ctx_b": "the brush" if number % 2 else "", "ctx": "…", "split": "val", "split_type": "indomain",
        "label": str(number % 4) if number % 3 else number % 4,
        "endings": [f"is [substeps] {colour}  now." for colour in COLOURS[:4]], "source_id": f"s{number}",
    }  # fmt: skip


def pair(number: int, chinese: bool) -> dict[str, Any]:
    """A row of BLiMP or ZhoBLiMP."""
    if chinese:
        return {
            "sentence_good": f"他把{number}本书看完了。",
            "sentence_bad": f"他看完了把{number}本书。",
            "paradigm": "BA_x",
        }
    return {
        "sentence_good": f"These {number} cats sleep.", "sentence_bad": f"These {number} cats sleeps.",
        "field": "syntax", "linguistics_term": "agreement", "UID": "agreement_1", "simple_LM_method": True,
        "one_prefix_method": False, "two_prefix_method": False, "lexically_identical": False, "pairID": str(number),
    }  # fmt: skip


def passage(number: int) -> str:
    return f"The {THINGS[number % 5]} was {COLOURS[number % 5]}, and everybody said it was {COLOURS[number % 5]}"


def files_like(name: str) -> dict[str, str]:
    """Path → content of a small look-alike of a benchmark: ROWS rows to score, five as examples."""
    if name == "ceval":
        made = {"dev/law_dev.csv": exam("question", "answer", "id", 5, True)}
        for split in ("val", "test"):
            made[f"{split}/law_{split}.csv"] = exam("question", "answer", "id", ROWS, True)
        return made | {"subject_mapping.json": json.dumps({"law": ["Law", "法学", "Social Science"]})}
    if name in ("cmmlu", "aclue"):
        return {f"{split}/law.csv": exam("Question", "Answer", "", n) for split, n in (("dev", 5), ("test", ROWS))}
    if name == "tmmluplus":
        return {f"data/law_{s}.csv": exam("question", "answer", None, n) for s, n in (("dev", 5), ("test", ROWS))}
    if name == "openbookqa":
        return {f"Data/Main/{s}.jsonl": json_lines(science(at, True) for at in range(n))
                for s, n in (("train", 5), ("dev", 2), ("test", ROWS))}  # fmt: skip
    if name == "arc":
        return {f"ARC-{part}/ARC-{part}-{s}.jsonl": json_lines(science(at, False, part == "Easy") for at in range(n))
                for part in ("Easy", "Challenge") for s, n in (("Train", 5), ("Test", ROWS // 2))}  # fmt: skip
    if name == "piqa":
        made = {}
        for split, count in (("train", 5), ("valid", ROWS)):
            rows = [{"goal": f"Open jar {at}", "sol1": "Turn the lid.", "sol2": "Eat the lid."} for at in range(count)]
            made |= {
                f"{split}.jsonl": json_lines(rows),
                f"{split}-labels.lst": "0\n1\n" * (count // 2) + "0\n" * (count % 2),
            }
        return made
    if name == "hellaswag":
        return {f"hellaswag_{s}.jsonl": json_lines(map(story, range(n))) for s, n in (("train", 5), ("val", ROWS))}
    if name == "sciq":
        wrong = {"distractor3": "iron", "distractor1": "gold", "distractor2": "lead"}
        rows = [
            {"question": f"What is {at}?", **wrong, "correct_answer": "air", "support": " Air." if at % 2 else ""}
            for at in range(ROWS)
        ]
        return {"test.json": json.dumps(rows), "train.json": json.dumps(rows[:5])}
    if name == "lambada":
        return {"lambada_test.jsonl": json_lines({"text": passage(at)} for at in range(ROWS))}
    where = "data/agreement_1.jsonl" if name == "blimp" else "BA_x.jsonl"
    return {where: json_lines(pair(at, name == "zhoblimp") for at in range(ROWS))}


def write_like(name: str, folder: Path) -> Path:
    """Write a look-alike into ``folder/name``."""
    for path, content in files_like(name).items():
        file = folder / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return folder / name
