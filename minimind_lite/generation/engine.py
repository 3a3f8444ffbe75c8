"""Text out of a model: batches, streams and chat turns over one decoding loop.

Promises: a prompt gives the same tokens alone and in a batch, greedy and sampled (each row has its own random
stream, see ``sampling.row_generator``); ``max_new_tokens`` is kept; temperature 0 is greedy; a stream is whole
characters and its pieces add up to the text of ``generate``.
"""

import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from minimind_lite.generation.decoder import BatchDecoder
from minimind_lite.generation.sampling import GREEDY, GenerationError, SamplingConfig, row_generator, sample
from minimind_lite.generation.text_stream import TextStream
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Message, Tokenizer


@dataclass(frozen=True)
class Generation:
    """What one prompt was answered with."""

    ids: list[int]  # every token drawn, the end token and the tokens of a stop string included
    text: str  # up to the end token or the stop string; an unfinished last character is left out
    finish_reason: Literal["stop", "length"]  # an end token or a stop string came; or the room was used up
    logprobs: list[float]  # nats, one for each id, under the distribution it was drawn from (sampling.Sampled)


@dataclass
class _Row:
    """One prompt on its way."""

    prompt: list[int]
    budget: int  # new tokens at most
    random: torch.Generator
    tokenizer: Tokenizer
    eos_ids: frozenset[int]
    text: TextStream
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: Literal["stop", "length"] | None = None

    def push(self, token: int, logprob: float) -> str:
        """Take the next token; return the text that became certain."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        ended = token in self.eos_ids
        piece = "" if ended else self.text.push(self.tokenizer.token_bytes(token))
        if ended or self.text.stopped:
            self.finish_reason = "stop"
        elif len(self.ids) >= self.budget:
            self.finish_reason = "length"
        return piece + self.text.finish() if self.finish_reason else piece

    def result(self) -> Generation:
        return Generation(self.ids, self.text.text, self.finish_reason or "length", self.logprobs)


def generate(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int = 128,
    sampling: SamplingConfig = GREEDY,
    stop: Sequence[str] = (),
    eos_ids: Sequence[int] | None = None,
    batch_size: int = 64,
    first_row: int = 0,
) -> list[Generation]:
    """Continue every prompt (lists of token ids, of any lengths), ``batch_size`` of them at a time.

    eos_ids end an answer; None means the tokenizer's <|im_end|> and <|endoftext|>. Prompt i is row ``first_row + i``
    of the seed, so a caller that splits its prompts itself gets the samples of the undivided list.
    Raises GenerationError for a prompt that is empty, holds unknown ids or fills the model's context; warns when a
    prompt leaves less room than ``max_new_tokens``, and then stops with "length" at the context's end.
    """
    rows = _rows(model, tokenizer, prompts, max_new_tokens, sampling, stop, eos_ids, first_row)
    for start in range(0, len(rows), batch_size):
        for _ in _decode(model, rows[start : start + batch_size], sampling):
            pass
    return [row.result() for row in rows]


def stream(
    model: Transformer,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    *,
    max_new_tokens: int = 128,
    sampling: SamplingConfig = GREEDY,
    stop: Sequence[str] = (),
    eos_ids: Sequence[int] | None = None,
) -> Generator[str, None, Generation]:
    """Like ``generate`` for one prompt, giving the text piece by piece, never half a character or stop string.

    Arguments are checked at once, not at the first piece. The generator returns (``yield from``) the Generation.
    """
    row = _rows(model, tokenizer, [prompt], max_new_tokens, sampling, stop, eos_ids, 0)[0]

    def pieces() -> Generator[str, None, Generation]:
        yield from filter(None, _decode(model, [row], sampling))
        return row.result()

    return pieces()


def chat(
    model: Transformer,
    tokenizer: Tokenizer,
    messages: list[Message],
    *,
    max_new_tokens: int = 256,
    sampling: SamplingConfig = GREEDY,
    thinking: bool | None = None,
) -> str:
    """The assistant's next turn to a conversation, as text."""
    prompt = tokenizer.render(messages, add_generation_prompt=True, thinking=thinking).ids
    return generate(model, tokenizer, [prompt], max_new_tokens=max_new_tokens, sampling=sampling)[0].text


@torch.inference_mode()
def _decode(model: Transformer, rows: list[_Row], sampling: SamplingConfig) -> Iterator[str]:
    """Run ``rows`` to their end as one batch; gives the new text of every row and step, rows in turn."""
    was_training = model.training
    model.eval()
    try:
        decoder = BatchDecoder(model, [row.prompt for row in rows], max(row.budget for row in rows))
        logits = decoder.prefill()
        while True:
            vocab = min(logits.shape[-1], rows[0].tokenizer.vocab_size)  # spare rows of the embedding are no tokens
            ids, logprobs = sample(logits[:, :vocab], sampling, [row.random for row in rows], decoder.previous_ids)
            for row, token, logprob in zip(rows, ids.tolist(), logprobs.tolist(), strict=True):
                yield row.push(token, logprob)
            alive = [index for index, row in enumerate(rows) if row.finish_reason is None]
            if not alive:
                return
            if len(alive) < len(rows):
                decoder.keep(alive)
                rows, ids = [rows[index] for index in alive], ids[alive]
            logits = decoder.step(ids)
    finally:
        model.train(was_training)


def _rows(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: SamplingConfig,
    stop: Sequence[str],
    eos_ids: Sequence[int] | None,
    first_row: int,
) -> list[_Row]:
    """Check everything that can be wrong before the first matrix is multiplied."""
    if max_new_tokens < 1:
        raise GenerationError(f"max_new_tokens must be at least 1, not {max_new_tokens}")
    ends = frozenset((tokenizer.eos_id, tokenizer.end_of_text_id) if eos_ids is None else eos_ids)
    rows = []
    for index, prompt in enumerate(prompts):
        room = _room(index, prompt, model, max_new_tokens)
        random = row_generator(sampling.seed, first_row + index)
        rows.append(_Row(list(prompt), room, random, tokenizer, ends, TextStream(stop)))
    return rows


def _room(index: int, prompt: Sequence[int], model: Transformer, max_new_tokens: int) -> int:
    """How many tokens may follow prompt number ``index``; GenerationError where there is nothing to continue."""
    if isinstance(prompt, str | int):
        raise GenerationError(f"prompts must be lists of token ids; prompt {index} is {prompt!r}: use tokenizer.encode")
    if not len(prompt):
        raise GenerationError(f"prompt {index} is empty: give it one token at least, such as the tokenizer's bos_id")
    vocab, context = model.config.vocab_size, model.config.max_position_embeddings
    if not 0 <= min(prompt) <= max(prompt) < vocab:
        wrong = min(prompt) if min(prompt) < 0 else max(prompt)
        raise GenerationError(
            f"prompt {index} holds id {wrong}, the model knows 0..{vocab - 1}: was it encoded with another tokenizer?"
        )
    room = context - len(prompt)
    if room < 1:
        raise GenerationError(
            f"prompt {index} has {len(prompt)} tokens and the model's context is {context} (max_position_embeddings): "
            f"shorten it to {context - 1} at most"
        )
    if room < max_new_tokens:
        warnings.warn(
            f"prompt {index} has {len(prompt)} tokens, so the model's context of {context} leaves room for {room} "
            f"new ones, not {max_new_tokens}: the answer may end early",
            stacklevel=4,
        )
    return min(room, max_new_tokens)
