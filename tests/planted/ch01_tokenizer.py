"""Planted for the exercises on chapter 01, the tokenizer."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from checks_kit import plant

from minimind_lite.course.chapters.tokenizer import checks

Words = dict[str, int]
Merges = list[tuple[str, str]]


def count(words: Words, pairs_of: Callable[[str], Any] = pairwise, weigh: bool = True) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for word, times in words.items():
        for pair in pairs_of(word):
            found[tuple(pair)] += times if weigh else 1
    return found


plant(
    checks.check_count_pairs,
    mistakes=[
        (lambda words: count(words, weigh=False), "each word was counted once"),
        (lambda words: count(words, lambda w: [w[i : i + 2] for i in range(0, len(w) - 1, 2)]), "pairs overlap"),
        (lambda words: Counter(pairwise("".join(w * n for w, n in words.items()))), "across words"),
        (lambda words: count(words, lambda w: set(pairwise(w))), "stands twice in a word"),
        (lambda words: list(count(words).items()), "return a dict"),
    ],
    alternatives=[
        count,
        lambda words: dict(Counter(p for w, n in words.items() for word in [w] * n for p in pairwise(word))),
    ],
)


def merge(tokens: Any, pair: Any, new: Any) -> list[Any]:
    merged, i = [], 0
    while i < len(tokens):
        hit = tuple(tokens[i : i + 2]) == tuple(pair)
        merged.append(new if hit else tokens[i])
        i += 2 if hit else 1
    return merged


def merge_in_a_string(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    text = "".join(chr(256 + one) for one in ids).replace(chr(256 + pair[0]) + chr(256 + pair[1]), chr(256 + new))
    return [ord(letter) - 256 for letter in text]


def merge_twice(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Goes on by one behind a merge."""
    merged = []
    for i in range(len(ids)):
        hit = tuple(ids[i : i + 2]) == pair
        merged.append(new if hit else ids[i])
    return merged


def merge_without_the_rest(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    merged, i = [], 0
    while i < len(ids) - 1:
        hit = (ids[i], ids[i + 1]) == pair
        merged.append(new if hit else ids[i])
        i += 2 if hit else 1
    return merged


def merge_first(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    for i in range(len(ids) - 1):
        if tuple(ids[i : i + 2]) == pair:
            return [*ids[:i], new, *ids[i + 2 :]]
    return list(ids)


plant(
    checks.check_merge,
    mistakes=[
        (lambda ids, pair, new: merge(ids[::-1], pair[::-1], new)[::-1], "merged from the right"),
        (merge_twice, "used twice"),
        (merge_without_the_rest, "a token got lost"),
        (merge_first, "not every occurrence"),
        (lambda ids, pair, new: list(ids), "nothing was replaced"),
    ],
    alternatives=[merge, merge_in_a_string, lambda ids, pair, new: tuple(merge(ids, pair, new))],
)


def train(words: Words, number: int, weigh: bool = True, oldest: bool = True, join: bool = True) -> Merges:
    pieces = {word: list(word) for word in words}
    age = {letter: i for i, letter in enumerate(sorted({letter for word in words for letter in word}))}
    merges: Merges = []
    for _ in range(number):
        pairs = Counter[tuple[str, str]]()
        for word, times in words.items():
            for pair in pairwise(pieces[word]):
                pairs[pair] += times if weigh else 1
        sign = 1 if oldest else -1
        best = min(pairs, key=lambda p: (-pairs[p], sign * age[p[0]], sign * age[p[1]]))
        merges.append(best)
        age.setdefault("".join(best), len(age))
        pieces = {word: merge(tokens, best, "".join(best)) for word, tokens in pieces.items()} if join else pieces
    return merges


def train_on_text(words: Words, number: int) -> Merges:
    """No weights: every word as often as it occurs, its tokens as numbers."""
    every = [word for word, times in words.items() for _ in range(times)]
    names = sorted({letter for word in every for letter in word})
    texts = [[names.index(letter) for letter in word] for word in every]
    merges: Merges = []
    while len(merges) < number:
        pairs = Counter(pair for text in texts for pair in pairwise(text))
        best = sorted(pairs, key=lambda pair: (-pairs[pair], pair))[0]
        merges.append((names[best[0]], names[best[1]]))
        names.append("".join(merges[-1]))
        texts = [merge(text, best, names.index(names[-1])) for text in texts]
    return merges


PAPER = {"sea": 3, "seaside": 1, "season": 2, "sees": 1, "seen": 1, "the": 3}
plant(
    checks.check_merges_by_hand,
    mistakes=[
        (lambda: [pair for pair, _ in count(PAPER).most_common(3)], "most frequent pairs of LETTERS"),
        (lambda: [("e", "s"), *train(PAPER, 3)[1:]], "a pair has an order"),
        (lambda: [("t", "h"), *train(PAPER, 3)[1:]], "the first merge is a different one"),
        (lambda: [train(PAPER, 3)[0], ("h", "e"), ("t", "he")], "the second is not"),
        (lambda: [*train(PAPER, 3)[:2], ("t", "h")], "the third is not"),
        (lambda: train(PAPER, 2), "three merges are wanted"),
        (lambda: "s e", "return a list of pairs"),
    ],
    alternatives=[lambda: train(PAPER, 3), lambda: tuple(map(list, train_on_text(PAPER, 3)))],
)

plant(
    checks.check_train_bpe,
    mistakes=[
        (lambda words, n: train(words, n, join=False), "the first 1 merges are the library's"),
        (lambda words, n: train(words, n, weigh=False), "each word was counted once"),
        (lambda words, n: sorted(count(words), key=lambda p: (-count(words)[p], p))[:n], "you counted once and took"),
        (lambda words, n: train(words, n - 1), "eight merges are wanted"),
        (lambda words, n: train(words, n)[::-1], "the first merge is"),
    ],
    alternatives=[train, train_on_text],
)


def encode(word: str, merges: Merges) -> list[str]:
    tokens = list(word)
    for pair in merges:
        tokens = merge(tokens, pair, "".join(pair))
    return tokens


def encode_by_rank(word: str, merges: Merges) -> list[str]:
    """As tiktoken does it: again and again the pair that was learned first."""
    tokens, rank = list(word), {tuple(pair): i for i, pair in enumerate(merges)}
    while True:
        here = [pair for pair in pairwise(tokens) if pair in rank]
        if not here:
            return tokens
        best = min(here, key=lambda pair: rank[pair])
        tokens = merge(tokens, best, "".join(best))


def longest_first(word: str, merges: Merges) -> list[str]:
    known, tokens = {"".join(pair) for pair in merges}, []
    while word:
        length = max((n for n in range(1, len(word) + 1) if word[:n] in known), default=1)
        tokens.append(word[:length])
        word = word[length:]
    return tokens


def encode_once(word: str, merges: Merges) -> list[str]:
    """Each merge at its first place only."""
    tokens = list(word)
    for pair in merges:
        hit = next((i for i in range(len(tokens) - 1) if tuple(tokens[i : i + 2]) == pair), None)
        tokens = tokens if hit is None else [*tokens[:hit], "".join(pair), *tokens[hit + 2 :]]
    return tokens


plant(
    checks.check_repaired_encode,
    mistakes=[
        (longest_first, "not the longest first"),
        (encode_once, "at one place only"),
        (lambda word, merges: list(word), "stayed letters"),
        (lambda word, merges: encode(word, merges)[:2], "together the tokens must give the word"),
        (lambda word, merges: "|".join(encode(word, merges)), "return a list of texts"),
    ],
    alternatives=[encode, encode_by_rank, lambda word, merges: tuple(encode(word, merges))],
)
