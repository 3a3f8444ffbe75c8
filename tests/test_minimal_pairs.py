"""The language tests of the sample world: enough kinds, sound pairs, and nothing that word counts alone give away."""

import importlib
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from minimind_lite.data.check import check_folder
from minimind_lite.data.records import DataError, parse_line
from minimind_lite.evaluation.stories import story_tokens

SAMPLES = Path(__file__).parents[1] / "data_samples"
LANGUAGES = ("zh", "en")
Pair = dict[str, str]


@pytest.fixture(scope="module")
def builder() -> Iterator[ModuleType]:
    """The builder's module of minimal pairs; its folder is on the path only during the test."""
    sys.path.insert(0, str(SAMPLES / "builder"))
    yield importlib.import_module("minimal_pairs")
    sys.path.remove(str(SAMPLES / "builder"))


def lines(name: str) -> list[Pair]:
    return [json.loads(line) for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


def by_kind(language: str) -> dict[str, list[Pair]]:
    kinds: dict[str, list[Pair]] = {}
    for pair in lines(f"language/{language}.jsonl"):
        kinds.setdefault(pair["UID"], []).append(pair)
    return kinds


def unigram(language: str) -> Callable[[str], float]:
    """The log probability of a sentence whose words come one by one, as often as they do in the stories."""
    counts = Counter(
        token for one in lines(f"pretrain/stories_{language}.jsonl") for token in story_tokens(one["text"])
    )
    total = counts.total()
    return lambda sentence: sum(math.log((counts[token] + 1) / total) for token in story_tokens(sentence))


def accuracy(pairs: list[Pair], score: Callable[[str], float]) -> float:
    """How many pairs have the better score for the good sentence; a tie counts half."""
    gaps = [score(pair["sentence_good"]) - score(pair["sentence_bad"]) for pair in pairs]
    return sum(1.0 if gap > 1e-9 else 0.5 if gap > -1e-9 else 0.0 for gap in gaps) / len(gaps)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_has_25_different_pairs_of_equal_length(language: str) -> None:
    kinds = by_kind(language)
    assert len(kinds) >= 30
    seen: set[tuple[str, str]] = set()
    for name, pairs in kinds.items():
        assert [pair["pairID"] for pair in pairs] == [str(number) for number in range(25)], name
        for pair in pairs:
            good, bad = pair["sentence_good"], pair["sentence_bad"]
            assert good != bad and len(story_tokens(good)) == len(story_tokens(bad)), name
            assert "{" not in good + bad and good[-1] == bad[-1] and good[-1] in ".?。？", name
            assert (pair["language"], pair["field"]) in {(language, f) for f in ("syntax", "morphology", "semantics")}
            seen.add((good, bad))
    assert len(seen) == 25 * len(kinds)
    good, bad = ({pair[0] for pair in seen}, {pair[1] for pair in seen})
    assert not good & bad


@pytest.mark.parametrize("language", LANGUAGES)
def test_counting_words_does_not_solve_any_kind(language: str) -> None:
    score = unigram(language)
    for name, pairs in by_kind(language).items():
        assert 0.4 <= accuracy(pairs, score) <= 0.6, name


def test_the_control_would_notice_an_unbalanced_kind() -> None:
    pair = {"sentence_good": "The fox went home.", "sentence_bad": "The fox goed home."}
    assert accuracy([pair] * 25, unigram("en")) == 1


def test_too_few_words_for_a_kind_are_named(builder: ModuleType) -> None:
    kind = {"field": "syntax", "term": "order", "pairs": [["{n} is {x}.", "{x} is {n}."]], "x": ["red", "big"]}
    with pytest.raises(ValueError, match=r"en\.toml, kind 'few': only 4 pairs"):
        builder.pairs_of("few", kind, {"n": ["Tom", "Ben"]}, "en")
    assert builder.filled("{n1} is here.", {"n": "cat|the cat"}) == "The cat is here."


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"sentence_good": "A.", "sentence_bad": "A.", "UID": "x"}, "identical"),
        ({"sentence_good": "A.", "UID": "x"}, "sentence_bad"),
        ({"sentence_good": "", "sentence_bad": "A.", "UID": "x"}, "sentence_good"),
    ],
)
def test_a_bad_pair_is_refused(record: Pair, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        parse_line(json.dumps(record), "minimal_pair")
    (tmp_path / "pairs.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    [problem] = check_folder(tmp_path).problems
    assert "pairs.jsonl, line 1" in problem and said in problem
