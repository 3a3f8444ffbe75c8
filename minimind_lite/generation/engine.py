"""Generate text with a model: batches, streams and chat turns over one decoding loop.

Guarantees: a prompt gives the same tokens alone and in a batch, greedy and sampled (each row has its own random
stream, see ``sampling.row_generator``); ``max_new_tokens`` is never exceeded; temperature 0 is greedy; a stream yields
whole characters, and its pieces add up to the text of ``generate``.
"""

import codecs
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from minimind_lite.generation.laid_out import Quantize, Stepper, stepper
from minimind_lite.generation.sampling import GREEDY, GenerationError, SamplingConfig, row_generator, sample
from minimind_lite.model.attention import KVCache
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Message, Tokenizer

PREFILL_CHUNK = 512  # columns read at once: bounds the memory of scores and masks for long prompts


@dataclass(frozen=True)
class Generation:
    """The answer to one prompt."""

    ids: list[int]  # every token drawn, including the end token and the tokens of a stop string
    text: str  # up to the end token or the stop string; an unfinished last character is left out
    finish_reason: Literal["stop", "length"]  # an end token or a stop string was reached; or the room ran out
    logprobs: list[float]  # nats, one for each id, under the distribution it was drawn from (sampling.Sampled)


class TextStream:
    """Collects the bytes of tokens and releases the text that is certain.

    A byte-level token may end in the middle of a character (湖 is three bytes), and a stop string may begin in one
    token and end in another. Both are held back until it is clear what they are.

    >>> stream = TextStream(stop=["\\n\\n"])
    >>> [stream.push(b) for b in (b"\\xe6\\xb9", b"\\x96 ok\\n", b"\\nmore")]
    ['', '湖 ok', '']
    >>> stream.stopped, stream.text
    (True, '湖 ok')

    Bytes that are not UTF-8 become U+FFFD; a character that is still unfinished at the end is left out.
    The output does not depend on how the text was split into tokens: of several stop strings the one completed first
    wins, or the longest if several are completed at once.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        if isinstance(stop, str) or not all(isinstance(text, str) and text for text in stop):
            raise ValueError(f"stop must be a list of non-empty strings, such as ['\\n\\n'], not {stop!r}")
        self.stop = tuple(stop)
        self.text = ""  # everything released so far
        self.stopped = False
        self._held = ""  # may turn out to be the start of a stop string
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_bytes: bytes) -> str:
        """Take one token's bytes; return the text that is now certain, often "". After a stop there is no more."""
        if self.stopped:
            return ""
        pending = self._held + self._utf8.decode(token_bytes)
        found = [(at + len(stop), at) for stop in self.stop if (at := pending.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._give(pending, min(found)[1])
        return self._give(pending, len(pending) - self._may_be_stop(pending))

    def finish(self) -> str:
        """End the generation: what was held back as a possible stop string was ordinary text."""
        return "" if self.stopped else self._give(self._held, len(self._held))

    def _may_be_stop(self, text: str) -> int:
        """How many characters at the end of ``text`` are the start of a stop string."""
        longest = max((len(stop) for stop in self.stop), default=1) - 1
        starts = (size for size in range(min(longest, len(text)), 0, -1) if text.endswith(self._prefixes(size)))
        return next(starts, 0)

    def _prefixes(self, size: int) -> tuple[str, ...]:
        return tuple(stop[:size] for stop in self.stop if len(stop) > size)

    def _give(self, text: str, size: int) -> str:
        given, self._held = text[:size], text[size:]
        self.text += given
        return given


@dataclass
class Row:
    """One prompt being answered."""

    prompt: list[int]
    budget: int  # maximum number of new tokens
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
        """The answer so far."""
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
    generators: Sequence[torch.Generator] | None = None,
    quantize: Quantize | None = None,
) -> list[Generation]:
    """Continue every prompt (lists of token ids, of any lengths), ``batch_size`` of them at a time.

    eos_ids end an answer; None means the tokenizer's <|im_end|> and <|endoftext|>. Prompt i is row ``first_row + i``
    of the seed, so a caller that splits its prompts itself gets the samples of the undivided list; or pass one
    random stream per prompt in ``generators``. quantize="int8" multiplies in 8 bits: faster, and not quite the same
    model (see ``laid_out.Int8Matrix``).
    Raises GenerationError for a prompt that is empty, holds unknown ids or fills the model's context; warns when a
    prompt leaves less room than ``max_new_tokens``, and then stops with "length" at the context's end.
    """
    if batch_size < 1:
        raise GenerationError(f"batch_size must be at least 1, not {batch_size}")
    if generators is None:
        generators = [row_generator(sampling.seed, first_row + index) for index in range(len(prompts))]
    rows = checked_rows(model, tokenizer, prompts, max_new_tokens, stop, eos_ids, generators)
    for start in range(0, len(rows), batch_size):
        for _ in decode_rows(model, rows[start : start + batch_size], sampling, quantize):
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
    quantize: Quantize | None = None,
) -> Generator[str, None, Generation]:
    """Like ``generate`` for one prompt, yielding the text piece by piece, never half a character or stop string.

    Arguments are checked at once, not at the first piece. The generator returns (``yield from``) the Generation.
    """
    random = row_generator(sampling.seed, 0)
    row = checked_rows(model, tokenizer, [prompt], max_new_tokens, stop, eos_ids, [random])[0]

    def pieces() -> Generator[str, None, Generation]:
        yield from filter(None, decode_rows(model, [row], sampling, quantize))
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
    quantize: Quantize | None = None,
) -> str:
    """The assistant's next turn in a conversation, as text."""
    prompt = tokenizer.render(messages, add_generation_prompt=True, thinking=thinking).ids
    answers = generate(model, tokenizer, [prompt], max_new_tokens=max_new_tokens, sampling=sampling, quantize=quantize)
    return answers[0].text


@torch.inference_mode()
def decode_rows(
    model: Transformer, rows: list[Row], sampling: SamplingConfig, quantize: Quantize | None
) -> Iterator[str]:
    """Decode ``rows`` (see ``checked_rows``) to the end as one batch, each to its own budget.

    Yields the new text of each row at each step, rows in order; a row that is done leaves the batch.
    """
    decoding = stepper(model, quantize)
    was_training = model.training
    model.eval()
    try:
        prompts, longest = [row.prompt for row in rows], max(row.budget for row in rows)
        decoder = BatchDecoder(model, prompts, longest, decoding)
        logits = decoder.prefill()
        while True:
            vocab = min(logits.shape[-1], rows[0].tokenizer.vocab_size)  # spare rows of the embedding are not tokens
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


def checked_rows(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    stop: Sequence[str],
    eos_ids: Sequence[int] | None,
    generators: Sequence[torch.Generator],
    longest: int | None = None,
) -> list[Row]:
    """Check everything that can be wrong before the first matrix is multiplied.

    longest: the most tokens of a prompt and its answer, where that is less than the model's context.
    """
    if max_new_tokens < 1:
        raise GenerationError(f"max_new_tokens must be at least 1, not {max_new_tokens}")
    if isinstance(prompts, str):
        raise GenerationError(
            "prompts must be a list of lists of token ids, not one text: use [tokenizer.encode(text)]"
        )
    if len(generators) != len(prompts):
        raise GenerationError(f"there are {len(prompts)} prompts and {len(generators)} generators: pass one for each")
    ends = frozenset((tokenizer.eos_id, tokenizer.end_of_text_id) if eos_ids is None else eos_ids)
    rows = []
    for index, (prompt, random) in enumerate(zip(prompts, generators, strict=True)):
        room = _room(index, prompt, model, max_new_tokens, longest)
        rows.append(Row(list(prompt), room, random, tokenizer, ends, TextStream(stop)))
    return rows


def _room(index: int, prompt: Sequence[int], model: Transformer, max_new_tokens: int, longest: int | None) -> int:
    """How many tokens may follow prompt number ``index``; GenerationError if it cannot be continued."""
    if isinstance(prompt, str | int):
        raise GenerationError(f"prompts must be lists of token ids; prompt {index} is {prompt!r}: use tokenizer.encode")
    if not len(prompt):
        raise GenerationError(f"prompt {index} is empty: give it at least one token, such as the tokenizer's bos_id")
    vocab, context = model.config.vocab_size, model.config.max_position_embeddings
    if not 0 <= min(prompt) <= max(prompt) < vocab:
        wrong = min(prompt) if min(prompt) < 0 else max(prompt)
        raise GenerationError(
            f"prompt {index} holds id {wrong}, but the model knows 0..{vocab - 1}: was another tokenizer used?"
        )
    limit, owner = context, f"the model's context is {context} (max_position_embeddings)"
    if longest is not None and longest < context:
        limit, owner = longest, f"a slot of the engine holds {longest} (max_length)"
    room = limit - len(prompt)
    if room < 1:
        raise GenerationError(f"prompt {index} has {len(prompt)} tokens and {owner}: shorten it to at most {limit - 1}")
    if room < max_new_tokens and longest is None:
        warnings.warn(
            f"prompt {index} has {len(prompt)} tokens, so the model's context of {context} leaves room for {room} "
            f"new ones, not {max_new_tokens}: the answer may end early",
            stacklevel=4,
        )
    return min(room, max_new_tokens)


class BatchDecoder:
    """A batch of prompts of unequal length, padded on the left, and its cache.

    ``prefill`` reads the prompts once, ``step`` then takes one token per row; both return the next logits. Two prompts,
    three columns of room for new tokens::

        row 0   p  p  a  b | c  d  e      positions  -  -  0  1 | 2  3  4
        row 1   a  b  c  d | e  f  g                 0  1  2  3 | 4  5  6

    Padding is on the left so that all rows append at the same column. Two things make it invisible: positions count
    from a row's first real token, and no token looks at padding (padding itself is left with nothing to look at, which
    the model turns into finite values that nobody reads).
    """

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        decoding: Stepper | None = None,
    ) -> None:
        weight = next(model.parameters())
        self.model = decoding or model  # what computes each step
        self.width = max(len(prompt) for prompt in prompts)
        room = self.width + max_new_tokens
        self.cache = KVCache(model.config, len(prompts), room, weight.device, weight.dtype)
        self.tokens = torch.full((len(prompts), room), -1, device=weight.device)  # -1 is padding
        for row, prompt in zip(self.tokens, prompts, strict=True):
            row[self.width - len(prompt) : self.width] = torch.tensor(prompt)
        self.padding = torch.tensor([[self.width - len(prompt)] for prompt in prompts], device=weight.device)
        self.equal_lengths = len({len(prompt) for prompt in prompts}) == 1

    @property
    def previous_ids(self) -> Tensor:
        """Prompt and answer so far, (batch, length), -1 for padding."""
        return self.tokens[:, : self.cache.length]

    def prefill(self, chunk: int = PREFILL_CHUNK) -> Tensor:
        """Read the prompts; returns the logits of the first new token, (batch, vocab)."""
        for start in range(0, self.width, chunk):
            logits = self._forward(start, min(start + chunk, self.width))
        return logits

    def step(self, ids: Tensor) -> Tensor:
        """Append one token per row, ids (batch,); returns the logits of the next one, (batch, vocab)."""
        column = self.cache.length
        self.tokens[:, column] = ids
        return self._forward(column, column + 1)

    def keep(self, rows: list[int]) -> None:
        """Continue with these rows only (ascending)."""
        self.cache.keep(rows)
        self.tokens, self.padding = self.tokens[rows], self.padding[rows]

    def _forward(self, start: int, end: int) -> Tensor:
        ids = self.tokens[:, start:end].clamp(min=0)  # (batch, new)
        if self.equal_lengths:  # plain causal attention, no mask to build
            hidden = self.model.hidden_states(ids, cache=self.cache)
        else:
            columns = torch.arange(end, device=ids.device)
            positions = (columns[start:] - self.padding).clamp(min=0)  # (batch, new)
            mask = self._mask(columns, start)
            hidden = self.model.hidden_states(ids, position_ids=positions, attention_mask=mask, cache=self.cache)
        return self.model.logits(hidden[:, -1])  # the head runs on one column, not on the whole prompt

    def _mask(self, columns: Tensor, start: int) -> Tensor:
        """Which tokens may look at which: (batch, 1, new, start + new), True = may look."""
        query, key = columns[start:, None], columns[None, :]
        real = columns >= self.padding  # (batch, length)
        return ((key <= query) & real[:, None, :])[:, None]
