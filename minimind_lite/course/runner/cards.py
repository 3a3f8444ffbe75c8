"""Graphics cards by their makers' figures, and how long training's arithmetic takes on them.

Nothing here was run on a card: a time is the model's arithmetic divided by the share of the card's peak that training
is assumed to reach (MFU). One published time anchors it: see ``anchor``.
"""

from dataclasses import dataclass

from minimind_lite.config import ModelConfig, count_active_parameters, preset

from ..kit.errors import CourseError

ASSUMED_MFU = 0.40  # what single-card trainings of small models report: 0.4 to 0.6
# MiniMind2-Small on a 3090: 1.1 hours for the 1.41 million lines of pretrain_hq.jsonl, each padded to 512 positions.
ANCHOR_CARD, ANCHOR_HOURS, ANCHOR_POSITIONS = "RTX 3090", 1.1, 1_410_000 * 512


@dataclass(frozen=True)
class Card:
    """The published figures of one card."""

    name: str
    tflops: float  # dense, bf16 with fp32 accumulation (T4: fp16), 10¹² a second
    memory: int  # GB
    bandwidth: int  # GB/s
    rent: float  # US dollars an hour, assumed: change it with --rent


CARDS = {
    card.name: card
    for card in (
        Card("RTX 3060", 25.5, 12, 360, 0.10),
        Card("T4", 65, 16, 320, 0.20),
        Card("RTX 4060 Ti", 44, 16, 288, 0.15),
        Card("RTX 3090", 71, 24, 936, 0.25),
        Card("L4", 121, 24, 300, 0.50),
        Card("A10", 125, 24, 600, 0.60),
        Card("RTX 4090", 165, 24, 1008, 0.40),
        Card("RTX 5090", 209, 32, 1792, 0.60),
        Card("L40S", 362, 48, 864, 0.90),
        Card("A100", 312, 80, 2039, 1.30),
        Card("H100", 989, 80, 3350, 2.20),
    )
}


def training_flops(config: ModelConfig, block_size: int) -> float:
    """Floating-point operations of training on one position: 6 a parameter, and attention, which looks back half a row.

    Source: Chowdhery et al. 2022 (PaLM, arXiv 2204.02311), appendix B, with causal attention counted once.

    >>> round(training_flops(ModelConfig(), 512) / 1e6)  # MiniMind2-Small
    168
    """
    attention = 6 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * block_size
    return 6.0 * count_active_parameters(config) + attention


def card_called(name: str) -> Card:
    """The card of this name. Raises CourseError, which lists the cards."""
    if name not in CARDS:
        raise CourseError(f"there is no card called {name!r}; there are: {', '.join(CARDS)}")
    return CARDS[name]


def seconds_on(flops: float, tflops: float, mfu: float) -> float:
    """How long ``flops`` operations take."""
    return flops / (tflops * 1e12 * mfu)


def anchor(mfu: float) -> float:
    """The published run's estimated time over its published time: 1.1 means estimates are 10 % too long."""
    flops = ANCHOR_POSITIONS * training_flops(preset("minimind2-small"), 512)
    return seconds_on(flops, CARDS[ANCHOR_CARD].tflops, mfu) / (3600 * ANCHOR_HOURS)
