"""Train byte-level BPE with the `tokenizers` library; chapter 01 writes the merge loop by hand and compares.

Design choices: bytes are the alphabet, so nothing is ever unknown; text is cut into words, Chinese runs, punctuation
and single digits before merging, so no token crosses those boundaries; a token is at most nine bytes long, because
Chinese has no spaces, and on repeated sentences BPE would otherwise merge until a whole sentence is one token.
"""

import json
from collections.abc import Iterable
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from minimind_lite.tokenizer.chat_template import SPECIAL_TOKENS, TAGS

# Splits made before merging, one after the other: line breaks, words with their space, punctuation, Chinese (and other
# East Asian) runs, single digits. They are DeepSeek-Coder's, as llama.cpp computes its "deepseek-coder": there a wide
# space, such as the two before a Chinese paragraph, is in no run, although it lies in the range from ࠀ to 一.
SPLITS = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"(?:(?!\s)[一-龥ࠀ-一가-퟿])+", r"\p{N}")
# The same cuts in one pass over the text, because cutting is most of the time that encoding takes. _RUNS are the
# characters of the fourth split: it parts them from all others, so a word, or punctuation, lies wholly within them or
# wholly outside. A space before such a word stands alone: the second split joins the two, the fourth parts them.
_RUNS = "一-龥ࠀ-一가-퟿"
_AT_ONCE = "|".join(
    (
        r"[\r\n]",
        r"\p{N}",
        rf"\s?[\p{{L}}&&[^{_RUNS}]]+",
        rf"\s?[\p{{P}}&&[^{_RUNS}]]+",
        rf"[\p{{L}}&&[{_RUNS}]]+",
        rf"[\p{{P}}&&[{_RUNS}]]+",
        rf"[{_RUNS}&&[^\s\p{{L}}\p{{P}}\p{{N}}]]+",
        rf"\s(?=[[\p{{L}}\p{{P}}]&&[{_RUNS}]])",
    )
)
LARGEST_VOCABULARY = 2**16
MAX_TOKEN_BYTES = 9  # three Chinese characters, or a space and eight letters


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte: printable Latin-1 as itself, the other 68 from U+0100 on.

    >>> byte_alphabet()["A"], byte_alphabet()["Ġ"], byte_alphabet()["Ċ"]
    (65, 32, 10)
    """
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + n): byte for n, byte in enumerate(hidden)}


def train_byte_bpe(texts: Iterable[str], vocab_size: int, max_token_bytes: int) -> tokenizers.Tokenizer:
    """Learn merges until there are ``vocab_size`` entries, special tokens and the 256 bytes included.

    Deterministic; too little text gives fewer entries. Raises ValueError if bytes and special tokens alone need more,
    or ids would not fit into the 16 bits of a token store.
    Source: Sennrich et al. 2016 (arXiv 1508.07909), section 3.2; on bytes: Radford et al. 2019 (GPT-2), section 2.2.
    """
    if isinstance(texts, str):
        raise ValueError("texts must be many texts, such as a list; this is one str: write [text]")
    smallest = len(SPECIAL_TOKENS) + 256
    if vocab_size < smallest:
        raise ValueError(f"vocab_size {vocab_size} is too small: special tokens and bytes alone take {smallest}")
    if vocab_size > LARGEST_VOCABULARY:
        raise ValueError(f"vocab_size {vocab_size} is too large: tokens are stored in 16 bits, {LARGEST_VOCABULARY:,}")
    backend = tokenizers.Tokenizer(models.BPE())
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(_AT_ONCE), "isolated"), to_bytes])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(byte_alphabet()),
        max_token_length=max_token_bytes + 1,  # the library merges while the length is below its bound
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    state = json.loads(backend.to_str())
    state["pre_tokenizer"]["pretokenizers"][:1] = map(_split, SPLITS)  # as other programs know it
    for token in state["added_tokens"]:  # a tag is part of the answer: it stays when special tokens are skipped
        token["special"] = token["content"] not in TAGS
    return tokenizers.Tokenizer.from_str(json.dumps(state))


def without_special_tokens(state: dict[str, Any]) -> tokenizers.Tokenizer:
    """The twin used for text: the same tokens, made faster, but no way to produce a control token's id."""
    model = state["model"] | {"unk_token": None}
    model["vocab"] = {token: token_id for token, token_id in model["vocab"].items() if token not in SPECIAL_TOKENS}
    twin = state | {"model": model, "added_tokens": [], "post_processor": None}
    twin["pre_tokenizer"] = _cutting_at_once(state["pre_tokenizer"])
    return tokenizers.Tokenizer.from_str(json.dumps(twin))


def _cutting_at_once(pre_tokenizer: dict[str, Any] | None) -> dict[str, Any] | None:
    """A pre-tokenizer that begins with SPLITS, with _AT_ONCE in their place; any other as it is."""
    steps = (pre_tokenizer or {}).get("pretokenizers", [])
    if pre_tokenizer is None or steps[: len(SPLITS)] != list(map(_split, SPLITS)):
        return pre_tokenizer
    return pre_tokenizer | {"pretokenizers": [_split(_AT_ONCE), *steps[len(SPLITS) :]]}


def _split(pattern: str) -> dict[str, Any]:
    """A split as tokenizer.json describes it: every match is a piece of its own."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
