"""What a client of a chat server sees: conversations whose greedy answers are known, asked one by one as streams."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import torch

from minimind_lite.generation.engine import generate
from minimind_lite.generation.sampling import GREEDY
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

CUT = "\ufffd"  # how a character looks whose bytes are not all there
WORDS = ("fox", "dog", "湖南", "lazy", "简称")


@dataclass(frozen=True)
class Conversation:
    """What is asked, and what a solo run answers."""

    content: str
    tokens: int
    answer: str


@torch.inference_mode()
def conversations(
    model: Transformer, tokenizer: Tokenizer, count: int, new: tuple[int, int], clear: float, whole: bool = False
) -> tuple[list[Conversation], Counter[str]]:
    """``count`` conversations with their solo answers of ``new`` (low, high) tokens; how many were left out, and why.

    Left out are those whose answer passes a place where two candidates are less than ``clear`` apart in logits, since
    the rounding of a batch may decide there; those that open a think block, which a server moves to another field; and,
    if answers must be ``whole``, those that end early, hold any other control token, or cut a character into pieces.
    """
    draw, found, left_out = random.Random(0), [], Counter[str]()  # noqa: S311  no secret
    thinking = {tokenizer.control_id("<think>"), tokenizer.control_id("</think>")}
    unwanted = set(tokenizer.control_ids) if whole else thinking
    while len(found) < count:
        content = " ".join(draw.choice(WORDS) for _ in range(draw.randrange(1, 40)))
        prompt = tokenizer.render([{"role": "user", "content": content}], add_generation_prompt=True).ids
        wanted = draw.randrange(*new)
        made = generate(model, tokenizer, [prompt], max_new_tokens=wanted, sampling=GREEDY)[0]
        logits = model(torch.tensor([prompt + made.ids]))[0, len(prompt) - 1 : -1, : tokenizer.vocab_size]
        best = logits.topk(2).values
        if float((best[:, 0] - best[:, 1]).min()) < clear:
            left_out["too close to call"] += 1
        elif unwanted & set(made.ids):
            left_out["control token" if whole else "thinks"] += 1
        elif whole and len(made.ids) < wanted:
            left_out["ends early"] += 1
        elif whole and CUT in made.text:
            left_out["cuts a character"] += 1
        else:
            found.append(Conversation(content, len(made.ids), made.text))
    return found, left_out


def asked(conversation: Conversation, model: str, **more: Any) -> dict[str, Any]:
    """The body of a request for a stream."""
    messages = [{"role": "user", "content": conversation.content}]
    body = {"model": model, "messages": messages, "max_tokens": conversation.tokens, "temperature": 0, "stream": True}
    return body | more


async def read(
    client: httpx.AsyncClient,
    body: dict[str, Any],
    *,
    leave_after: int | None = None,
    pause: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[str | None, float, bool]:
    """(text, seconds to its first piece, whether the stream came to its end); no text if the client left."""
    text, first, begun = "", 0.0, clock()
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        pieces = 0
        async for line in answer.aiter_lines():
            if line == "data: [DONE]":
                return text, first, True
            if not line.startswith("data: "):
                continue
            choice = json.loads(line[6:])["choices"][0]
            first = first or (clock() - begun if choice["delta"].get("content") else 0.0)
            text += choice["delta"].get("content") or ""
            pieces += 1
            if leave_after is not None and pieces >= leave_after:
                return None, first, False
            await asyncio.sleep(pause)
    return text, first, False
