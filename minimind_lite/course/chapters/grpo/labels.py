"""Words in the pictures of chapter 15; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "minus_mean": "minus the mean",
    "over_std": "over the standard deviation",
    "dead_group": "all rewards are equal: no answer is better, nothing is learned",
    "good_token": "advantage +1",
    "bad_token": "advantage -1",
    "ratio": "ratio π / π_old",
    "push": "push on log π",
    "true_kl": "the KL divergence",
    "kl_nats": "estimate from one sample (nats): mean and standard deviation",
    "reward_for_length": "rewarded for length",
    "too_fast": "learning rate too high",
    "loop_policy": "policy π",
    "loop_sampled": "sampled: a group of answers",
    "loop_update": "update: what is above the mean becomes likelier, what is below less likely",
    "loop_reference": "reference\nis frozen",
    "loop_mean": "mean {mean:.2f}",
    "loop_kl": "KL",
}
