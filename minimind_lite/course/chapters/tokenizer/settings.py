"""Chapter 01's settings."""

from dataclasses import dataclass

from minimind_lite.settings import Count

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import Settings


@dataclass(frozen=True)
class TokenizerSettings(Settings):
    """How large the vocabulary is, and how much text it is learned from."""

    vocab_size: Count = 5120  # entries, specials and the 256 bytes included
    max_token_bytes: Count = 9  # keeps unspaced Chinese from becoming whole sentences in one token
    max_characters: Count = 4_000_000  # how much text the trained tokenizer sees at most
    # A folder with tokenizer.json to take instead of training one, relative to the repository; "" trains one.
    # MiniMind2's has no tokens for the thought tags, which chapter 14 needs.
    tokenizer_folder: str = ""
    own_merges: Count = 300  # merges of the byte-pair encoding that the chapter writes itself


SETTINGS = by_profile(
    TokenizerSettings(),
    colab={"vocab_size": 6400},
    full={"vocab_size": 6400, "max_characters": 200_000_000},
    smoke={"vocab_size": 512, "max_characters": 60_000, "own_merges": 40},
)
MINUTES = Minutes(quick=0.5, colab=1.0, full=5.0)
ARTIFACT = "tokenizer.json"
DATA = ("tokenizer_train",)  # published files that the profile full needs, by role
BUILDS = "`tokenizer/`"  # in the README's table of chapters
