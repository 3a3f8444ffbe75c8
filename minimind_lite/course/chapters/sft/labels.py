"""Words in the pictures of chapter 10; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "max_length": "cut after",
    "kind_of_conversation": "conversations",
    "kind_of_question": "kind",
    "expected_answer": "expected",
    "facts_near": "facts: near wordings",
    "facts_far": "facts: far frames",
    "facts_backwards_trained": "facts backwards: trained so",
    "facts_backwards": "facts backwards: never trained so",
    "talk": "small talk",
    "follow_ups": "follow-up questions",
    "recall_known_lists": "recall: from known lists",
    "recall_open": "recall: new names and numbers",
    "recall_never_told": "recall: never told",
    "unknown_refused": "invented names refused",
    "known_refused": "known names refused (fewer is better)",
    "system_turns": "system turns obeyed",
    "with_plain_text": "short run, plain text mixed in",
    "conversations_only": "short run, conversations only",
    "before_fine_tuning": "before fine-tuning",
}
