"""What the main stages of the profile full take and cost on each card: a table, for people and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minimind_lite.files import write_text

from ..kit.errors import CourseError
from ..kit.profiles import settings_for
from .cards import ANCHOR_CARD, ANCHOR_HOURS, ASSUMED_MFU, CARDS, anchor, card_called, seconds_on
from .forecast import stages_of

COSTED = ("pretrain", "sft", "dpo")  # chapters


def parse_rents(pairs: list[str]) -> dict[str, float]:
    """Dollars an hour by card, from texts such as "RTX 3090=0.35". Raises CourseError for anything else."""
    found = {}
    for pair in pairs:
        name, _, price = pair.rpartition("=")
        try:
            found[name] = float(price)
        except ValueError:
            raise CourseError(f"--rent {pair!r} must look like CARD=DOLLARS, as in --rent 'RTX 3090=0.35'") from None
    return found


def costs(rents: Mapping[str, float], mfu: float = ASSUMED_MFU) -> dict[str, Any]:
    """Hours and rent of each costed stage on each card, as plain JSON. rents: dollars an hour, by card.

    Raises CourseError for an unknown card, a rent below 0, or an MFU that is not between 0 and 1.
    """
    if not 0 < mfu <= 1:
        raise CourseError(f"--mfu must be a share above 0 and at most 1, not {mfu:g}")
    for name, rent in rents.items():
        card_called(name)
        if not 0 <= rent < float("inf"):
            raise CourseError(f"the rent of the {name} must be 0 or more dollars an hour, not {rent:g}")
    work = {stage: sum(one.flops for one in stages_of(stage, settings_for(stage, "full"))) for stage in COSTED}
    rows = []
    for card in CARDS.values():
        hours = {stage: seconds_on(flops, card.tflops, mfu) / 3600 for stage, flops in work.items()}
        rent = rents.get(card.name, card.rent)
        cost = sum(hours.values()) * rent
        rows.append(asdict(card) | {"rent": rent, "hours": {k: round(v, 3) for k, v in hours.items()},
                                    "dollars": round(cost, 2), "kind": "estimated"})  # fmt: skip
    check = {"card": ANCHOR_CARD, "published_hours": ANCHOR_HOURS, "estimated_over_published": round(anchor(mfu), 3)}
    return {"assumed_mfu": mfu, "model": "minimind2-small", "flops": work, "anchor": check, "cards": rows}


def as_markdown(found: Mapping[str, Any]) -> str:
    """The table of ``costs``, and what it rests on."""
    lines = [f"| card | memory | {' | '.join(f'{stage}, h' for stage in COSTED)} | rent, $/h | cost, $ | |"]
    lines.append("|---" * (len(COSTED) + 5) + "|")
    for row in found["cards"]:
        hours = " | ".join(f"{row['hours'][stage]:.2f}" for stage in COSTED)
        lines.append(f"| {row['name']} | {row['memory']} GB | {hours} | {row['rent']:.2f} | {row['dollars']:.2f} "
                     f"| {row['kind']} |")  # fmt: skip
    check = found["anchor"]
    lines += ["", f"Estimated: the stages' arithmetic at the profile full ({found['model']}) over "
              f"{found['assumed_mfu']:.0%} of each card's dense bf16 peak; rents are assumptions. The published "
              f"{check['published_hours']} h of pretraining on an {check['card']} come out "
              f"{check['estimated_over_published'] - 1:+.0%}."]  # fmt: skip
    return "\n".join(lines)


def write_costs(found: Mapping[str, Any], path: Path) -> None:
    """Write what ``costs`` returned."""
    write_text(path, json.dumps(found, indent=1) + "\n")
