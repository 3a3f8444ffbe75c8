"""Checks of the exercises on chapter 01, the tokenizer. Reference: the `tokenizers` library's own BPE."""

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import tokenizers
from tokenizers import models, trainers

from ...exercises.core import check
from ...exercises.task import Task, Wrong
from ...kit.language import say

Ids = list[int]
WORDS = ("sea", "seas", "seaside", "season", "seen", "see", "tea", "teas", "ease", "aaaa")


def _words(task: Task, alphabet: str = "aest", count: int = 12) -> dict[str, int]:
    """Words with their counts; some from the list, some drawn from a small alphabet."""
    drawn = ["".join(alphabet[task.number(0, len(alphabet))] for _ in range(task.number(2, 7))) for _ in range(count)]
    return {word: task.number(1, 9) for word in [*WORDS, *drawn]}


def _library_merges(words: dict[str, int], number: int) -> list[tuple[str, str]]:
    """What the library learns; of equally frequent pairs it takes the one with the smaller ids."""
    alphabet = sorted({letter for word in words for letter in word})
    library = tokenizers.Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + number, initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator((word for word, times in words.items() for _ in range(times)), trainer)
    return [(left, right) for left, right in json.loads(library.to_str())["model"]["merges"]]


def _counts(words: dict[str, int]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for word, times in words.items():
        for pair in pairwise(word):
            found[pair] += times
    return found


def _as_pairs(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(one, (list, tuple)) and len(one) == 2 for one in value
    ):
        raise Wrong(say("return a list of pairs, such as [('s', 'e'), ('se', 'a')]"))
    return [(str(left), str(right)) for left, right in value]


@check("01.count_pairs", points=1)
def check_count_pairs(task: Task) -> str:
    """Count neighbouring pairs, by word and by how often it occurs"""
    words = _words(task)
    got = task.call(words)
    task.that(isinstance(got, dict), "return a dict or a Counter: (left, right) → how often")
    expected = _counts(words)
    once = Counter(pair for word in words for pair in pairwise(word))
    steps = {word: [(word[i], word[i + 1]) for i in range(0, len(word) - 1, 2)] for word in words}
    jumps: Counter[tuple[str, str]] = Counter()
    for word, times in words.items():
        for pair in steps[word]:
            jumps[pair] += times
    text = "".join(word * times for word, times in words.items())
    task.equal(dict(got), dict(expected), "the counts are wrong", {
        "each word was counted once: a word that occurs seven times counts seven times": dict(once),
        "pairs overlap: after (s, e) comes (e, a), so go on by one letter, not by two": dict(jumps),
        "you counted across words: the end of one and the start of the next are no pair": dict(Counter(pairwise(text))),
        "a pair that stands twice in a word counts twice: 'aaaa' holds (a, a) three times":
            dict(_sum_of_sets(words)),
    })  # fmt: skip
    return "every pair, weighted by its word's count, and no pair across two words"


def _sum_of_sets(words: dict[str, int]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for word, times in words.items():
        for pair in set(pairwise(word)):
            found[pair] += times
    return found


@check("01.merges_by_hand", points=2)
def check_merges_by_hand(task: Task) -> str:
    """Predict, then measure: three merges with pencil and paper"""
    words = {"sea": 3, "seaside": 1, "season": 2, "sees": 1, "seen": 1, "the": 3}
    got, expected = _as_pairs(task.call()), _library_merges(words, 3)
    first = _counts(words).most_common(3)
    task.that(len(got) == 3, say("three merges are wanted, and you gave {count}", count=len(got)))
    task.that(got != [pair for pair, _ in first], "these are the three most frequent pairs of LETTERS: after each "
              "merge count again, for the new token takes part and its letters are gone")  # fmt: skip
    task.that(got[0] != (expected[0][1], expected[0][0]), "a pair has an order: (left, right)")
    task.that(
        got[0] == expected[0],
        say(
            "the first merge is a different one: how often does {value} occur in the "
            "words? Remember to count a word as often as it occurs",
            value=got[0],
        ),
    )
    task.that(got[1] == expected[1], "the first merge is right, the second is not: count again with the new token in "
              "the place of its two letters")  # fmt: skip
    task.that(got[2] == expected[2], "two are right, the third is not: count once more; of equally frequent pairs "
              "take the one whose tokens are older (letters by the alphabet, then merges in their order)")  # fmt: skip
    return "the same three merges that the tokenizers library learns"


@check("01.merge", points=1)
def check_merge(task: Task) -> str:
    """Replace a pair by its new token"""
    for ids in ([1, 2, 1, 2, 3], [1, 1, 1], [1, 1, 1, 1, 2], [2, 1], [], task.randint(1, 3, 12).tolist()):
        for pair in ((1, 2), (1, 1)):
            got = task.call(ids, pair, 9)
            task.that(isinstance(got, (list, tuple)), "return a list of token ids")
            expected, got = _merged(ids, pair, 9), list(got)
            used = sum(2 if one == 9 else 1 for one in got)  # how many of the old tokens the answer stands for
            where = say("{ids} with the pair {pair}", ids=ids, pair=pair)
            task.that(
                got == expected or 9 in got or 9 not in expected, say("{where}: nothing was replaced", where=where)
            )
            task.that(
                9 not in got or 9 in expected, say("{where}: the pair does not stand there; order matters", where=where)
            )
            task.that(
                used >= len(ids),
                say("{where}: a token got lost; behind the last pair one may be left over", where=where),
            )
            task.that(
                used <= len(ids),
                say("{where}: a token was used twice; after a merge go on behind BOTH tokens", where=where),
            )
            from_right = _merged(ids[::-1], pair[::-1], 9)[::-1]
            task.that(
                got in (expected, ids) or got != from_right,
                say("{where}: you merged from the right, begin at the left", where=where),
            )
            task.that(got.count(9) >= expected.count(9), say("{where}: not every occurrence was replaced", where=where))
            task.equal(got, expected, say("{where} gives something else", where=where))
    return "left to right, every occurrence, each token used once"


def _merged(ids: Ids, pair: tuple[int, int], new: int) -> Ids:
    found: Ids = []
    for one in ids:
        if found and (found[-1], one) == pair:
            found[-1] = new
        else:
            found.append(one)
    return found


@check("01.train", points=3)
def check_train_bpe(task: Task) -> str:
    """The whole training loop"""
    words = _words(task)
    got, expected = _as_pairs(task.call(words, 8)), _library_merges(words, 8)
    frequent = [pair for pair, _ in sorted(_counts(words).items(), key=lambda item: (-item[1], item[0]))[:8]]
    task.that(got != frequent, "you counted once and took the eight most frequent pairs: count anew after each merge")
    unweighted = _library_merges(dict.fromkeys(words, 1), 8)
    task.that(got != unweighted or got == expected, "each word was counted once, however often it occurs")
    task.that(len(got) == 8, say("eight merges are wanted, you learnt {count}", count=len(got)))
    same = next((i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b), 8)
    task.that(
        same != 0,
        say("the first merge is {value}, the most frequent pair is {value_2}", value=got[0], value_2=expected[0]),
    )
    task.that(
        same == 8,
        say(
            "the first {same} merges are the library's; then you took {value} and it takes "
            "{value_2}. A tie? Of equally frequent pairs take the older tokens",
            same=same,
            value=got[same % 8],
            value_2=expected[same % 8],
        ),
    )
    tied = dict.fromkeys(_words(task, count=6), 1)
    task.that(_as_pairs(task.call(tied, 12)) == _library_merges(tied, 12), "right where frequencies decide; but where "
              "all words are equally frequent, many pairs are: then the one whose left token is older comes first, and "
              "among those the one whose right token is. Letters age in alphabetical order")  # fmt: skip
    return "the same eight merges as the tokenizers library, ties included"


@check("01.encode", points=2)
def check_repaired_encode(task: Task) -> str:
    """The planted bug: an encoder that cuts words differently from the trainer"""
    _compare_encoded(task, ["est", "teste"], [("s", "t"), ("e", "s"), ("t", "es")])  # the longest first: es|t, tes|t|e
    words = _words(task)
    merges = _library_merges(words, 10)
    _compare_encoded(task, [*words, "".join(merges[0]) * 3], merges)
    return "cuts every word as the tokenizers library does"


def _compare_encoded(task: Task, words: list[str], merges: list[tuple[str, str]]) -> None:
    """Ask for each word's tokens, and compare them with those of the library that has the same merges."""
    vocabulary = sorted({letter for text in (*words, *map("".join, merges)) for letter in text})
    ids = {token: i for i, token in enumerate([*vocabulary, *(left + right for left, right in merges)])}
    library = tokenizers.Tokenizer(models.BPE(vocab=ids, merges=merges))
    for word in words:
        got, expected = task.call(word, merges), library.encode(word).tokens
        task.that(isinstance(got, (list, tuple)) and all(isinstance(one, str) for one in got), "return a list of texts")
        task.that(
            "".join(got) == word,
            say("{word} became {value}: together the tokens must give the word", word=repr(word), value="|".join(got)),
        )
        task.that(
            list(got) != list(word) or list(got) == expected,
            say("{word} stayed letters: no merge was applied", word=repr(word)),
        )
        task.that(
            list(got) != _merged_once(word, merges) or list(got) == expected,
            say(
                "{word}: each merge was applied at one place only; it joins its pair wherever that stands",
                word=repr(word),
            ),
        )
        task.that(
            list(got) == expected,
            say(
                "{word} is {value} in the library, yours is {value_2}: merges apply in "
                "the order in which they were learned, not the longest first",
                word=repr(word),
                value="|".join(expected),
                value_2="|".join(got),
            ),
        )


def _merged_once(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """What comes out if each merge joins only the first of its pairs."""
    tokens = list(word)
    for pair in merges:
        place = next((i for i, two in enumerate(pairwise(tokens)) if two == pair), None)
        tokens = tokens if place is None else [*tokens[:place], "".join(pair), *tokens[place + 2 :]]
    return tokens
