"""The concept drawings: words stay on the sheet and apart from one another, and each has its alternative text."""

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Arc, Circle
from matplotlib.path import Path as MatplotlibPath
from matplotlib.text import Annotation

from minimind_lite.config import preset
from minimind_lite.course.chapters.attention import drawings as attention
from minimind_lite.course.chapters.cleaning import drawings as cleaning
from minimind_lite.course.chapters.distill import drawings as distill
from minimind_lite.course.chapters.dpo import drawings as dpo
from minimind_lite.course.chapters.generation import drawings as generation
from minimind_lite.course.chapters.grpo import drawings as grpo
from minimind_lite.course.chapters.lora import drawings as lora
from minimind_lite.course.chapters.moe import drawings as moe
from minimind_lite.course.chapters.ppo import drawings as ppo
from minimind_lite.course.chapters.pretrain import drawings as pretrain
from minimind_lite.course.chapters.reason import drawings as reason
from minimind_lite.course.chapters.rmsnorm import drawings as rmsnorm
from minimind_lite.course.chapters.rope import drawings as rope
from minimind_lite.course.chapters.sft import drawings as sft
from minimind_lite.course.chapters.swiglu import drawings as swiglu
from minimind_lite.course.chapters.tokenizer import drawings as tokenizer
from minimind_lite.course.chapters.transformer import drawings as transformer
from minimind_lite.course.chapters.welcome import drawings as welcome
from minimind_lite.course.kit import language
from minimind_lite.course.kit.drawings import sheet, words
from minimind_lite.course.kit.labels import every_label
from minimind_lite.course.kit.style import style
from minimind_lite.data.cleaning import FORMAT, STEPS
from minimind_lite.data.reasoning import without_thoughts
from minimind_lite.generation.sampling import SamplingConfig
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.reason import tag_weights

SMALL, NANO = preset("minimind2-small"), preset("nano")
LOGITS = (torch.tensor([2.0, 1.0, -1.0]), torch.tensor([0.5, 1.0, 0.0]))  # a teacher's and a student's
FOUR = (torch.tensor([0.50, 0.30, 0.15, 0.05]), torch.tensor([0.0, 1.0, 2.0, 0.5]))  # a reference, and rewards
GROUPS = [
    ("23 + 59 = ?", ["3+9=12;2+5+1=8;82", "82", "3+9=12;2+5=7;72", "83"], [1.0, 1.0, 0.0, 0.0]),
    ("3 + 4 = ?", ["7", "3+4=7;7", "7", "7"], [1.0] * 4),
]
GAE = ([0.0] * 8, [0.5, 0.5, 0.6, 0.7, 0.7, 0.2, 0.1, 0.1])  # rewards and values
# merges of byte-pair encoding with their counts, ids from 256 on; "se", "␣se" and "␣sea" first
MERGES = [
    ((115, 101), 8), ((32, 256), 7), ((257, 97), 4), ((32, 116), 2), ((97, 116), 2), ((259, 104), 2), ((261, 260), 1),
    ((229, 177), 1), ((263, 177), 1), ((228, 184), 1), ((265, 138), 1),
]  # fmt: skip
TOY = ("sea", " seaside", " season", " sees", " seen", " see", " the", " sea", " the", " season")
TOY_WORDS = Counter(tuple(word.encode()) for word in TOY)
THREE = ("The cat sat on the mat all day.", "The cat sat on the mat all night.", "Whales swim far from any land.")
MINIMA = [[81, 23, 17, 54, 60, 12, 99, 31], [81, 23, 40, 54, 60, 12, 99, 77], [18, 90, 33, 41, 26, 75, 14, 52]]
SUM = [
    {"role": "user", "content": "How much is 47+85?"},
    {"role": "assistant", "content": "<think>\nones: 7+5=12\n</think>\n<answer>\n132\n</answer>"},
]


def thoughts_that_count() -> Any:
    """Chapter 14's drawing of one sum, by a tokenizer of bytes."""
    tokenizer = Tokenizer.train(["47 + 85"], 300)
    weights = tag_weights(tokenizer, 10.0, tokenizer.vocab_size)
    return reason.what_counts(tokenizer, tokenizer.render(SUM), tokenizer.render(without_thoughts(SUM)), weights)


def marked_conversation() -> Any:
    """Chapter 10's drawing of one question and its answer, by a tokenizer of bytes."""
    tokenizer = Tokenizer.train(["47 + 85"], 300)
    turns = [{"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "5"}]
    return sft.marks_and_targets(tokenizer, tokenizer.render(turns))


def drawn_token() -> Any:
    """Chapter 09's drawing of one draw from a few bytes."""
    tokenizer = Tokenizer.train(["47 + 85"], 300)
    logits = torch.zeros(tokenizer.vocab_size)
    logits[tokenizer.encode("9876543")] = torch.tensor([8.0, 7.5, 7.0, 6.0, 5.0, 4.0, 3.0])
    return generation.sampling_step(tokenizer, logits, SamplingConfig(temperature=0.8, top_k=4, top_p=0.8), 0.7)


def weights_around_tags() -> Any:
    """Chapter 14's other drawing, of the same sum."""
    tokenizer = Tokenizer.train(["47 + 85"], 300)
    weights = tag_weights(tokenizer, 10.0, tokenizer.vocab_size)
    return reason.weight_of_targets(tokenizer, tokenizer.render(SUM), weights)


DRAWN = (
    (welcome.whole_course, welcome.whole_course),
    (tokenizer.bytes_to_ids, lambda: tokenizer.bytes_to_ids([" that", "山上"], MERGES)),
    (tokenizer.bytes_to_ids, lambda: tokenizer.bytes_to_ids([" that", "山上"], MERGES[:1])),
    (cleaning.cleaning_funnel, cleaning.cleaning_funnel),
    (cleaning.texts_to_candidates, lambda: cleaning.texts_to_candidates(THREE, MINIMA, 2)),
    (cleaning.texts_to_candidates, lambda: cleaning.texts_to_candidates(THREE[1:], MINIMA[1:], 2)),
    (tokenizer.training_rounds, lambda: tokenizer.training_rounds(TOY_WORDS, MERGES)),
    (rmsnorm.one_vector, lambda: rmsnorm.one_vector([3.0, 4.0])),
    (rmsnorm.norm_beside_the_stream, rmsnorm.norm_beside_the_stream),
    (rope.what_is_turned, rope.what_is_turned),
    (rope.same_distance, rope.same_distance),
    (attention.three_projections, attention.three_projections),
    (attention.heads_and_shapes, lambda: attention.heads_and_shapes(SMALL)),
    (attention.heads_and_shapes, lambda: attention.heads_and_shapes(NANO)),
    (attention.shared_keys, lambda: attention.shared_keys(8, {"MHA": 8, "GQA": 2, "MQA": 1})),
    (attention.cache_over_time, attention.cache_over_time),
    (swiglu.gate_drawing, lambda: swiglu.gate_drawing(512, 1408)),
    (swiglu.same_weights, swiglu.same_weights),
    (sft.rings, sft.rings),
    (sft.marks_and_targets, marked_conversation),
    (moe.one_token, lambda: moe.one_token([0.1, 0.55, 0.05, 0.3], 2)),
    (moe.sorted_by_expert, lambda: moe.sorted_by_expert([1, 3, 1, 0, 2, 1, 3, 0], 4)),
    (moe.sorted_by_expert, lambda: moe.sorted_by_expert([3, 5, 1, 2, 5, 4, 5, 4], 6)),
    (moe.stored_and_active, lambda: moe.stored_and_active(4, 2)),
    (transformer.block_to_scale, lambda: transformer.block_to_scale(SMALL)),
    (transformer.next_tokens, lambda: transformer.next_tokens(["once", "upon", "a", "time", "there", "was"])),
    (pretrain.packed_row, lambda: pretrain.packed_row([5, 3, 4], 14)),
    (pretrain.packed_row, lambda: pretrain.packed_row([2, 3, 2, 1], 8)),
    (generation.prefill_and_decode, lambda: generation.prefill_and_decode(["once", "upon"], ["a", "time", "a", "fox"])),
    (generation.sampling_step, drawn_token),
    (lora.beside_the_frozen, lambda: lora.beside_the_frozen(128, 128, 4, 64.0)),
    (lora.beside_the_frozen, lambda: lora.beside_the_frozen(512, 1408, 8, 16.0)),
    (lora.beside_the_frozen, lambda: lora.beside_the_frozen(1408, 512, 8, 16.0)),
    (lora.switched_and_merged, lambda: lora.switched_and_merged(128, 128, {"identity": 4, "medical": 16})),
    (lora.switched_and_merged, lambda: lora.switched_and_merged(1408, 512, {"identity": 8, "medical": 16})),
    (dpo.policy_and_reference, lambda: dpo.policy_and_reference((-25.0, -27.0), (-30.0, -22.0), 0.1)),
    (dpo.reweighted, lambda: dpo.reweighted(*FOUR, [5.0, 1.0, 0.3])),
    (dpo.reweighted, lambda: dpo.reweighted(torch.tensor([0.9, 0.1]), torch.tensor([-1.0, 1.0]), [2.0, 0.1])),
    (dpo.equal_margins, lambda: dpo.equal_margins((-30, -22), [(-25, -27), (-35, -37), (-18, -20)], 0.1)),
    (dpo.equal_margins, lambda: dpo.equal_margins((-30.5, -22), [(-31, -20.5), (-30.5, -22)], 0.5)),
    (distill.teacher_and_student, lambda: distill.teacher_and_student(*LOGITS, 0, 0.1, 2.0)),
    (distill.what_a_student_is_told, lambda: distill.what_a_student_is_told(LOGITS[0], 1)),
    (reason.what_counts, thoughts_that_count),
    (reason.weight_of_targets, weights_around_tags),
    (ppo.one_turn, lambda: ppo.one_turn(list("3+9=12"), [0.4, 0.4, 0.5, 0.5, 0.8, 0.9], 1.0, 0.95)),
    (grpo.one_step, lambda: grpo.one_step("23 + 59 = ?", ["82", "72", "82", "84"], [1.0, 0.0, 1.0, 0.0])),
    (grpo.one_step, lambda: grpo.one_step("23 + 59 = ?", ["82", "82"], [1.0, 1.0])),
    (grpo.pushed_tokens, lambda: grpo.pushed_tokens(GROUPS)),
    (grpo.pushed_tokens, lambda: grpo.pushed_tokens([("1 + 1 = ?", ["2", "3", "2"], [0.5, 0.0, 1.0])])),
    (grpo.when_the_ratio_is_one, lambda: grpo.when_the_ratio_is_one({"used_once": 1, "used_twice": 2})),
    (grpo.when_the_ratio_is_one, lambda: grpo.when_the_ratio_is_one({"used_twice": 4}, boxes=5)),
    (ppo.actor_and_critic, ppo.actor_and_critic),
    (ppo.what_gae_sees, lambda: ppo.what_gae_sees(*GAE, 3)),
    (ppo.what_gae_sees, lambda: ppo.what_gae_sees([0.0, 0.0, 1.0], [0.5, 0.6, 0.9], 1, 0.9, 0.5)),
)
CONCEPTS = [function for function, _ in DRAWN]


def strokes(axis: Any) -> list[MatplotlibPath]:
    """The lines and the arrows of a drawing, as paths on the canvas."""
    arrows = [(one.xyann, one.xy) for one in axis.texts if isinstance(one, Annotation)]
    lines = [list(zip(*one.get_data(), strict=True)) for one in axis.lines]
    return [MatplotlibPath(axis.transData.transform(points)) for points in (*arrows, *lines)]


def problems(figure: Any) -> list[str]:
    """Words that run out of the sheet, over one another, over a line, or over the edge of a box."""
    canvas, edge = FigureCanvasAgg(figure), figure.bbox
    canvas.draw()
    renderer = canvas.get_renderer()
    placed = [(one.get_text(), one.get_window_extent(renderer)) for one in figure.axes[0].texts if one.get_text()]
    boxes = [one.get_window_extent(renderer) for one in figure.axes[0].patches if not isinstance(one, Circle | Arc)]
    out = [f"{text!r} crosses the edge of a box" for text, where in placed for one in boxes
           if where.overlaps(one) and not (one.x0 <= where.x0 and where.x1 <= one.x1)]  # fmt: skip
    out += [f"{text!r} is crossed by a line" for text, where in placed if len(text) > 1
            for one in strokes(figure.axes[0]) if one.intersects_bbox(where, filled=False)]  # fmt: skip
    out += [f"{text!r} runs out" for text, where in placed
           if where.x0 < 0 or where.y0 < 0 or where.x1 > edge.x1 or where.y1 > edge.y1]  # fmt: skip
    return out + [f"{text!r} and {other!r} overlap" for i, (text, where) in enumerate(placed)
                  for other, there in placed[:i] if where.overlaps(there)]  # fmt: skip


@pytest.mark.parametrize("draw", [draw for _, draw in DRAWN], ids=[one.__name__ for one in CONCEPTS])
@pytest.mark.parametrize("speech", language.LANGUAGES)
def test_words_stay_on_the_sheet_and_apart(
    draw: Callable[[], Any], speech: str, caplog: pytest.LogCaptureFixture
) -> None:
    with language.speaking(speech), warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")
        figure = draw()
        assert problems(figure) == []
    # of glyphs that formulas lack, matplotlib writes to its log; others may write to theirs at any time
    assert [one for one in caplog.records if one.name.startswith("matplotlib")] == []
    if speech == "en":
        assert not figure.alt[0].islower() and figure.alt.endswith(".") and 60 < len(figure.alt) < 700
    else:
        assert figure.alt.endswith("。") and not re.search(r"\b(the|of|and|from|to|with|is|in|at)\b", figure.alt)


@pytest.mark.parametrize("draw", [draw for _, draw in DRAWN], ids=[one.__name__ for one in CONCEPTS])
def test_chinese_words_stay_on_the_sheet_and_apart(draw: Callable[[], Any]) -> None:
    with language.speaking("zh"):
        assert problems(draw()) == []


def test_drawings_follow_their_numbers() -> None:
    packed = pretrain.packed_row([5, 3, 4], 14).alt  # 14 * 15 / 2 pairs; 15 + 6 + 10 + 3 of them in one document
    assert "Of the 105 squares" in packed and "closes 71:" in packed
    assert (
        "7 tokens are read in all; without it 4, 5, 6 and 7, together 22"
        in generation.prefill_and_decode(["Once", "upon", "a", "time"], ["there", "was", "a", "fox"]).alt
    )
    drawn = drawn_token().alt
    assert "top-k 4 9 " in drawn and drawn.count(" 6 ") == 2 and "The random number 0.7 draws 8." in drawn
    assert "16,384 numbers" in lora.beside_the_frozen(128, 128, 4, 64.0).alt
    assert "together 1,024 numbers" in lora.beside_the_frozen(128, 128, 4, 64.0).alt
    switched = lora.switched_and_merged(128, 128, {"identity": 4, "medical": 16}).alt
    assert "W, 16,384 numbers" in switched and "identity 1,024 and medical 4,096" in switched
    assert (
        "the margin is 10, and the loss at β = 0.1 is 0.3133"
        in dpo.policy_and_reference((-25, -27), (-30, -22), 0.1).alt
    )
    best = dpo.reweighted(*FOUR, [5.0, 1.0]).alt
    assert "at β = 1 the best policy has 0.20, 0.33, 0.44 and 0.03, a mean reward of 1.23 and a KL of 0.31" in best
    equal = dpo.equal_margins((-30, -22), [(-25, -27), (-35, -37), (-18, -20)], 0.1).alt
    assert "-5 and -15, margin 10" in equal and equal.count("loss 0.3133") == 3
    assert "add up to 0.529" in distill.teacher_and_student(*LOGITS, 0, 0.1, 2.0).alt
    assert "1 for 5 <|im_end|>, 0 for all others" in marked_conversation().alt
    counted = thoughts_that_count().alt
    assert "<think> 1 × 10; thought 14 × 1; </think> 1 × 10; <answer> 1 × 10; answer 5 × 1; </answer> 1 × 10" in counted
    assert "<think> 1 × 0; </think> 1 × 0; <answer> 1 × 10" in counted and counted.count("<|im_end|> 1 × 1") == 2
    assert "+0.87, -0.87, +0.87 and -0.87" in grpo.one_step("?", list("abcd"), [1.0, 0.0, 1.0, 0.0]).alt
    pushed = grpo.pushed_tokens(GROUPS).alt
    assert "advantages +0.87, +0.87, -0.87 and -0.87; 3 + 4" in pushed and "advantages 0, 0, 0 and 0" in pushed
    assert grpo.ratios_of(2, 0.3) == pytest.approx([1.0, 3 * math.exp(0.2) / (math.exp(0.2) + 2 * math.exp(-0.1))])
    assert len({*grpo.ratios_of(9, 0.3)[4:]}) == 1  # past the clip it stays
    assert "first choice, token 1, and" in distill.what_a_student_is_told(LOGITS[0], 1).alt
    assert "4 of 25 trained tokens are tags; they hold 66 % of the weight" in weights_around_tags().alt  # 40 of 61
    turn = ppo.one_turn(["a", "b", "c"], [0.5, 0.5, 0.9], 1.0, 0.5, 1.0).alt  # δ: 0, 0.4 and 0.1
    assert "+0.45 and +0.10; they update the actor" in turn and "0.95 and 1.00, which" in turn
    assert "weighted 1, 0.45 and 0.203: +0.155" in ppo.what_gae_sees([0.0, 0.0, 1.0], [0.5, 0.6, 0.9], 1, 0.9, 0.5).alt


def test_the_drawings_of_merges_do_what_the_tokenizer_does() -> None:
    assert tokenizer.merge_rows(" that", MERGES) == [
        (0, [32, 116, 104, 97, 116]), (4, [259, 104, 97, 116]), (5, [259, 104, 260]), (6, [261, 260]), (7, [262])
    ]  # fmt: skip
    assert "after the merges 8, 9, 10 and 11 its ids are 264 and 266" in tokenizer.bytes_to_ids(["山上"], MERGES).alt
    assert tokenizer.merged([97, 97, 97], (97, 97), 256) == [256, 97]
    assert "s and e, 8 times; ␣ and se, 7 times; ␣se and a, 4 times" in tokenizer.training_rounds(TOY_WORDS, MERGES).alt


def test_the_funnel_has_every_step_of_the_command_and_bands_find_pairs() -> None:
    funnel = {one.get_text() for one in cleaning.cleaning_funnel().axes[0].texts}
    assert {FORMAT, *STEPS} <= funnel
    assert all(f"funnel_{step}" in every_label() for step in (FORMAT, *STEPS))
    assert cleaning.shared_bands(MINIMA, 2) == [[(0, 1)], [], [(0, 1)], []]
    assert cleaning.shared_bands([[1, 2, 3]] * 3, 3) == [[(0, 1), (0, 2), (1, 2)]]
    assert "So 1 of 3 pairs are compared." in cleaning.texts_to_candidates(THREE, MINIMA, 2).alt


def test_the_map_of_the_course_names_chapters_that_exist() -> None:
    stages = [stage for stage, _ in welcome.STAGES]
    assert [welcome.number_of(one) for one in stages] == ["08", "10", "11", "12", "13", "14", "15"]
    assert all(welcome.number_of(one).isdecimal() for one in (*welcome.PARTS, *welcome.LATER))
    assert "10 SFT" in welcome.whole_course().alt


def test_words_that_run_out_or_overlap_are_found() -> None:
    with style():
        figure, axis = sheet(2, 1)
        words(axis, 1.9, 0.5, "far too long")
        words(axis, 1.8, 0.5, "on top of it")
    assert len(problems(figure)) == 3
