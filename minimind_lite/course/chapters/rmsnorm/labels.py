"""Words in the pictures of chapter 02; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "dimension": "dimension",
    "as_they_come": "as they come",
    "rmsnorm": "after RMSNorm",
    "layernorm": "after LayerNorm",
    "no_norm": "no norm",
    "no_norm_float16": "no norm, float16",
    "norm_first": "RMSNorm in front of each layer",
    "with_rmsnorm": "with RMSNorm",
    "with_layernorm": "with LayerNorm",
    "answers_zero": "answering zero",
    "mean_squared_error": "mean squared error at the end",
    "input_scale": "size of the input",
    "relative_error": "relative error",
    "naive_float16": "all in float16",
    "naive_bfloat16": "all in bfloat16",
    "wide_float16": "squares in float32, result float16",
    "wide_bfloat16": "squares in float32, result bfloat16",
}
