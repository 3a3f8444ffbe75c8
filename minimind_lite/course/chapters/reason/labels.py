"""Words in the pictures of chapter 14; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "only_read": "only read",
    "counts_once": "counts once",
    "counts_more": "counts",
    "with_thinking": "thinks first",
    "thinking_off": "same model, thinking off",
    "direct_only": "trained on answers alone",
    "tokens_in_thought": "tokens in the thought",
    "right_percent": "right answers, %",
    "teacher_thought": "the teacher's",
    "model_thought": "the model's",
    "weight": "weight",
    "part_question": "question",
    "part_thought": "thought",
    "part_answer": "answer",
    "with_a_thought": "with a\nthought",
    "thinking_switched_off": "thinking\noff",
    "tokens_times_weight": "tokens\n× weight",
    "model_reads": "reads",
    "should_write": "should write",
    "tags_share": "{tags} of {trained} trained tokens are tags; they hold {share} % of the weight",
}

# What the chapter's cells call their lines, bars and columns; {0}, {1} … stand for numbers.
NAMES = (
    "sums of this shape", "carries in the sum", "a wrong carry", "another last number", "another last sum",
    "follows the mistake", "corrects it", "something else", "planted in {0} thoughts", "weights", "tags", "thought",
    "answer", "all alike", "tags × {0}", "thought × {0}",
)  # fmt: skip
