"""Words in the pictures of chapter 00; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "course_text": "the text so far",
    "course_tokenizer": "tokenizer",
    "course_ids": "ids",
    "course_network": "network",
    "course_likely": "how likely each next token is",
    "course_draw": "one is drawn",
    "course_again": "it joins the text, and the next one is asked for",
    "course_stage": "chapter and stage",
    "course_from": "learns from",
    "course_changes": "changes",
    "course_pretrain": "pretraining",
    "course_sft": "SFT",
    "course_lora": "LoRA",
    "course_dpo": "DPO",
    "course_distill": "distillation",
    "course_reason": "reasoning",
    "course_grpo": "GRPO",
    "course_from_pretrain": "plain texts, cleaned (07b)",
    "course_from_sft": "conversations",
    "course_from_lora": "conversations about one subject",
    "course_from_dpo": "pairs of answers: better, worse",
    "course_from_distill": "a larger model's probabilities",
    "course_from_reason": "solutions with their thoughts",
    "course_from_grpo": "its own answers, scored by a program",
    "course_changes_pretrain": "every parameter: it can continue a text",
    "course_changes_sft": "every parameter: it answers questions",
    "course_changes_lora": "small matrices beside frozen weights: a new skill",
    "course_changes_dpo": "every parameter: the better answer gains",
    "course_changes_distill": "a smaller model: it imitates the larger one",
    "course_changes_reason": "every parameter: it thinks before it answers",
    "course_changes_grpo": "every parameter: what is rewarded becomes likelier",
    "course_evaluation": "measures the stages",
    "course_deploy": "puts a model to use",
    "course_scale": "trains on several cards",
}

# What the chapter's cells call their lines, bars and columns; {0}, {1} … stand for numbers.
NAMES = (
    "from prose", "from the facts too",
)  # fmt: skip
