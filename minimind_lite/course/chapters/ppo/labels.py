"""Words in the pictures of chapter 15b; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "value": "value",
    "value_loss": "value loss",
    "the_text_so_far": "the text\nso far",
    "shared_layers": "layers",
    "head_policy": "actor: a probability\nfor every token",
    "head_value": "critic V:\none number",
    "policy_term": "clipped ratio × advantage",
    "value_term": "(V - return)², clipped",
    "what_critic_guesses": "what reward will come?",
    "gae_makes": "rewards and values\n→ GAE → advantages",
    "gae_value": "value V",
    "gae_delta": "δ",
    "gae_weight": "weight",
    "gae_sum": "the advantage of token {token}: every δ × its weight, added up = {total:+.3f}",
    "gae_reward": "reward {reward:g}",
}
