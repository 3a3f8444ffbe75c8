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
}
