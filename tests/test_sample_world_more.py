"""The written and generated parts of the sample world: identity, medical advice, preferences, sums, exams."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from minimind_lite.data.benchmarks import BENCHMARKS, read_questions
from minimind_lite.data.check import check_folder
from minimind_lite.data.exams import ExamQuestion, read_exam
from minimind_lite.data.records import read_records
from minimind_lite.data.rings import RULES

DATA = Path(__file__).parents[1] / "data_samples"
WRITTEN = DATA / "builder" / "written"
TAUGHT = ("chat", "chat_heldout", *(f"facts_rings/{ring}" for ring in RULES))
CONVERSATIONS = [
    "lora_identity",
    "lora_identity_heldout",
    "lora_medical",
    "lora_medical_heldout",
    "reason",
    "reason_direct",
    "reason_heldout",
]
DISCLAIMERS = {"zh": "仅供参考，不适请就医。", "en": "General information only; if worried, see a doctor."}
URGENT = {"zh": "遇到紧急情况，不要等待。", "en": "In an emergency, do not wait."}
OFFERS = (
    "随时告诉我。",
    "再讲得细一些。",
    "尽管问我。",
    "随时来问。",
    "feel free to ask.",
    "explain more if you like.",
    "else I can do for you.",
    "welcome to ask again.",
)
THINKING = re.compile(r"<think>\n(.+)\n</think>\n<answer>\n(\d+)\n</answer>", re.DOTALL)


@cache
def turns(name: str) -> list[list[dict[str, Any]]]:
    """The messages of every conversation in a file or folder, which must hold valid records only."""
    path = DATA / name if (DATA / name).is_dir() else DATA / f"{name}.jsonl"
    return [record.messages for record in read_records(path, "conversation", strict=True)]


def exchanges(name: str) -> Iterator[tuple[str, str]]:
    """(what the user asks, what the assistant answers) of the one-round conversations in a file."""
    for messages in turns(name):
        *_, user, assistant = messages
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        yield user["content"], assistant["content"]


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


def bare(text: str) -> str:
    """The letters and digits alone."""
    return re.sub(r"[\W_]", "", text).casefold()


def addends(question: str) -> tuple[int, ...]:
    """The numbers of a sum in any order."""
    return tuple(sorted(map(int, re.findall(r"\d+", question))))


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_every_line_is_one_valid_round(name: str) -> None:
    assert all(question and answer for question, answer in exchanges(name))


@pytest.mark.parametrize("name", ["lora_identity", "lora_medical", "reason"])
def test_held_out_questions_are_new(name: str) -> None:
    trained = {bare(question) for question, _ in exchanges(name)}
    assert not [question for question, _ in exchanges(f"{name}_heldout") if bare(question) in trained]


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_no_question_is_asked_twice(name: str) -> None:
    asked = Counter(question for question, _ in exchanges(name))
    assert asked.most_common(1)[0][1] == 1


@pytest.mark.parametrize(("language", "chinese"), [("zh", True), ("en", False)])
def test_identity_has_enough_phrasings_and_few_exact_answers(language: str, chinese: bool) -> None:
    mine = [(ask, reply) for ask, reply in exchanges("lora_identity") if is_chinese(ask) is chinese]
    heldout = [(ask, reply) for ask, reply in exchanges("lora_identity_heldout") if is_chinese(ask) is chinese]
    assert len(mine) >= 60 and len(heldout) >= 20
    answers = Counter(reply for _, reply in mine)
    assert len(answers) == 5 and min(answers.values()) >= 10
    assert {reply for _, reply in heldout} == set(answers)
    assert all(is_chinese(reply) is chinese for reply in answers)


def test_the_adapters_answers_about_itself_are_not_taught_before() -> None:
    """Small talk knows the assistant's name; what the adapter learns to say, word for word, is new."""
    spoken = {message["content"] for messages in turns("chat") for message in messages}
    answers = {reply for _, reply in exchanges("lora_identity")}
    assert len(answers) == 10 and not answers & spoken


@pytest.mark.parametrize("name", ["lora_medical", "lora_medical_heldout"])
def test_medical_answers_end_in_the_disclaimer_or_where_life_is_at_stake_in_the_urgent_call(name: str) -> None:
    seen = set()
    for question, answer in exchanges(name):
        urgent = "120" in answer or "ambulance" in answer
        closing = (URGENT if urgent else DISCLAIMERS)["zh" if is_chinese(question) else "en"]
        assert answer.endswith(closing) and len(answer) > len(closing) + 20
        assert not urgent or re.search("120|ambulance|at once", re.split("[。.]", answer)[0] + answer[:90]), answer
        seen.add(closing)
    assert seen == {*URGENT.values(), *DISCLAIMERS.values()}


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("游泳时腿抽筋怎么办？", "呼救，仰面浮在水上"),
        ("孩子发烧可以吃大人的退烧药吗？", "别吃大人药"),
        ("有人在太阳下晕倒了，怎么办？", "请马上拨打120"),
        ("糖尿病人可以喝甜饮料吗？", "少喝甜饮料"),
        ("口腔溃疡多久能好？", "一两周会自己长好"),
        ("Can I give my child an adult's fever medicine?", "never adult medicine"),
        ("Someone fainted in the sun. What now?", "call an ambulance"),
        ("Where should I sit so that I don't get carsick?", "sit in front"),
    ],
)
def test_medical_answers_answer_the_question(question: str, said: str) -> None:
    assert said in dict(exchanges("lora_medical"))[question]


def preferences(name: str) -> list[Any]:
    return list(read_records(DATA / f"{name}.jsonl", "preference", strict=True))


def test_preference_prompts_are_disjoint_and_counted() -> None:
    asked = {name: [record.chosen[-2].content for record in preferences(name)] for name in ("dpo", "dpo_heldout")}
    assert (len(asked["dpo"]), len(asked["dpo_heldout"])) == (500, 120)
    assert len(set(asked["dpo"] + asked["dpo_heldout"])) == 620
    held_out = {messages[-2]["content"] for ring in RULES for messages in turns(f"facts_rings/{ring}")}
    assert not held_out & set(asked["dpo"] + asked["dpo_heldout"])


@pytest.mark.parametrize("name", ["dpo", "dpo_heldout"])
def test_preference_cannot_be_told_by_length(name: str) -> None:
    pairs = [(len(record.chosen[-1].content), len(record.rejected[-1].content)) for record in preferences(name)]
    chosen_longer = sum(chosen > rejected for chosen, rejected in pairs) / len(pairs)
    assert 0.4 <= chosen_longer <= 0.6
    lengths = sorted({length for pair in pairs for length in pair})
    best = max(
        sum((chosen >= bound) + (rejected < bound) for chosen, rejected in pairs) / (2 * len(pairs))
        for bound in lengths
    )
    assert best <= 0.7  # no threshold on one answer's length tells the two apart


@pytest.mark.parametrize("name", ["dpo", "dpo_heldout"])
def test_chosen_answers_offer_help_and_the_offer_alone_is_not_enough(name: str) -> None:
    records = preferences(name)
    assert all(record.chosen[-1].content.endswith(OFFERS) for record in records)
    also_offered = sum(record.rejected[-1].content.endswith(OFFERS) for record in records) / len(records)
    assert 0.03 <= also_offered <= 0.15


def check_thought(numbers: tuple[int, ...], thought: str) -> None:
    """Work the sum out column by column and compare every line: digits, carry, sum, result so far."""
    carry, so_far = 0, ""
    lines = thought.splitlines()
    for place, line in enumerate(lines):
        terms, total, said = re.search(r"((?:\d\+)+\d)=(\d+)\D+(\d+)", line).groups()  # type: ignore[union-attr]
        digits = sorted(str(number)[-1 - place] for number in numbers)
        shown = terms.split("+")
        assert sorted(shown[: len(digits)]) == digits and shown[len(digits) :] == [str(carry)] * bool(carry), line
        assert int(total) == sum(map(int, shown)), line
        carry, written = (0, total) if line == lines[-1] else (int(total) // 10, total[-1])
        so_far = written + so_far
        carried = re.search(r"(?:进|carry )(\d)$", line)
        assert said == so_far and (int(carried[1]) if carried else 0) == carry, line
    assert int(so_far) == sum(numbers)


@pytest.mark.parametrize("name", ["reason", "reason_heldout"])
def test_sums_and_every_step_are_right(name: str) -> None:
    for question, answer in exchanges(name):
        found = THINKING.fullmatch(answer)
        assert found, answer
        check_thought(addends(question), found[1])
        assert int(found[2]) == sum(addends(question)), question


def test_held_out_sums_are_new_in_any_order() -> None:
    train = [addends(question) for question, _ in exchanges("reason")]
    heldout = [addends(question) for question, _ in exchanges("reason_heldout")]
    assert (len(train), len(heldout)) == (1500, 300)
    assert len(set(train)) == 1500 and len(set(heldout)) == 300
    assert not set(train) & set(heldout)
    assert {len(item) for item in heldout} == {2, 3}


def test_direct_answers_belong_to_the_same_sums() -> None:
    thinking = {question: THINKING.fullmatch(answer) for question, answer in exchanges("reason")}
    direct = dict(exchanges("reason_direct"))
    assert direct.keys() == thinking.keys()
    for question, found in thinking.items():
        assert found and direct[question] == f"<answer>\n{found[2]}\n</answer>"


def splits() -> dict[str, list[ExamQuestion]]:
    """All questions of each exam file, by LAYOUT/SPLIT/FILE."""
    exam = DATA / "exam"
    return {file.relative_to(exam).as_posix(): read_exam(file) for file in sorted(exam.rglob("*.csv"))}


def test_exams_have_their_sizes_and_even_letters() -> None:
    sizes = {"ceval": {"dev": 5, "val": 15, "test": 25}, "cmmlu": {"dev": 5, "test": 25}}
    for name, questions in splits().items():
        layout, split, _ = name.split("/")
        assert len(questions) == sizes[layout][split]
        counts = Counter(question.answer for question in questions)
        assert set(counts) == set("ABCD") and max(counts.values()) - min(counts.values()) <= 1
        if layout == "ceval":
            assert all(bool(question.explanation) is (split == "dev") for question in questions)
    assert sum(map(len, splits().values())) == 240


def test_exam_choices_differ_and_no_question_comes_twice() -> None:
    questions = [question for items in splits().values() for question in items]
    assert all(len({choice.casefold() for choice in question.choices}) == 4 for question in questions)
    assert len({question.question for question in questions}) == len(questions)


def test_exam_words_its_questions_in_its_own_way() -> None:
    asked = {bare(message["content"]) for name in TAUGHT for turn in turns(name) for message in turn}
    assert not [question for items in splits().values() for question in items if bare(question.question) in asked]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_modern_texts_are_many_different_and_of_one_size(language: str) -> None:
    files = sorted(WRITTEN.glob(f"modern_{language}_*.jsonl"))
    texts = [record.text for file in files for record in read_records(file, "text", strict=True)]
    assert len(texts) >= 215 and len(set(texts)) == len(texts)
    assert 90_000 <= sum(len(text.encode("utf-8")) for text in texts) <= 110_000
    assert all(115 <= len(text) <= 540 for text in texts)
    openings = Counter(text[:12] for text in texts)
    assert openings.most_common(1)[0][1] <= 3


@pytest.mark.parametrize("path", sorted(WRITTEN.glob("*")), ids=lambda path: path.name)
def test_chinese_is_punctuated_as_chinese(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"[\u4e00-\u9fff][,;:?!]|[,;?!][\u4e00-\u9fff]", text)


def test_the_exam_in_json_is_read_as_openbookqa_is() -> None:
    exam = DATA / "exam" / "openbookqa"
    scored = read_questions(BENCHMARKS["openbookqa"], exam)
    examples = read_questions(BENCHMARKS["openbookqa"], exam, examples=True)
    assert (len(scored), len(examples)) == (50, 5)
    assert all(len(set(question.choices)) == 4 for question in scored + examples)
    counts = Counter(question.answer for question in scored)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({question.text.split()[0] for question in scored}) >= 5
    report = check_folder(DATA / "exam")
    assert report.ok and {file.kind for file in report.files} == {"exam"}


def cards() -> str:
    """All that flash cards say, letters and digits alone, one card a line."""
    return "\n".join(bare(record.text) for name in ("zh", "en") for record in flash_cards(name))


def flash_cards(language: str) -> list[Any]:
    return list(read_records(DATA / "pretrain" / f"facts_{language}.jsonl", "text", strict=True))


def asked_and_answered() -> Iterator[tuple[str, str]]:
    """(stem, right answer) of every exam question."""
    for items in splits().values():
        for row in items:
            yield row.question, row.choices["ABCD".index(row.answer or "")]
    for question in read_questions(BENCHMARKS["openbookqa"], DATA / "exam" / "openbookqa"):
        yield question.text + " ____", question.choices[question.answer]


def test_no_flash_card_answers_an_exam_question_word_for_word() -> None:
    known = cards()
    assert not [stem for stem, right in asked_and_answered() if bare(stem.replace("____", right)) in known]
    assert bare("法国的首都是巴黎。") in known  # the check can fail


def test_no_exam_question_gives_its_answer_away() -> None:
    told = re.compile("[\u4e00-\u9fff]")
    common = set(
        "的是下列城市中省会首府设在地方简称汉字代表符号元素周期序号朝代所处各项作品出自之手写国家从图上看属于发现者太阳向外数次按十二生肖位第日期翻译成英语单词把汉就简颗行星种古人"
    )
    for stem, right in asked_and_answered():
        shared = (set(told.findall(stem)) & set(told.findall(right))) - common
        assert not shared, (stem, right)
