"""Words in the pictures of chapter 11; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "directions_kept": "directions kept in each matrix (rank)",
    "energy_percent": "share of the change that they hold, %",
    "all_directions": "all",
    "rank": "rank",
    "trainable_percent": "trainable, % of the base",
    "adamw_moments": "AdamW's two moments",
    "no_adapter": "none",
    "adapter": "adapter",
    "in_fp32": "in fp32",
    "full_fine_tuning": "full fine-tuning",
    "lora": "LoRA",
    "change_of_sft": "what SFT changed (chapter 10)",
    "random_matrix": "random matrices of these shapes",
    "change_of_adapter": "the identity adapter's change",
    "identity": "identity",
    "medical": "medical",
    "identity_before": "identity, before",
    "identity_after": "identity, after",
    "facts_before": "facts before",
    "facts_after": "facts after",
    "lora_input": "x\nwidth {width}",
    "lora_output": "y\nwidth {width}",
    "lora_frozen": "W, frozen\n{rows} × {columns}",
    "lora_down": "A: {rank} × {columns}",
    "lora_up": "B: {rows} × {rank},\nzero at first",
    "lora_between": "{rank} numbers",
    "lora_counts": "{frozen:,} numbers are frozen, {trained:,} are trained: {share:.1%} as many",
    "lora_state_none": "no adapter",
    "lora_state_merged": "{name}, merged",
    "lora_set_aside": "W, set aside",
    "lora_products": "matrix products: {count}",
}

# What the chapter's cells call their lines, bars and columns; {0}, {1} … stand for numbers.
NAMES = (
    "this model", "all linear layers", "square ones only", "learning rate / {0}",
)  # fmt: skip
