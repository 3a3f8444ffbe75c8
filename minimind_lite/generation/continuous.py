"""Continuous batching: requests come and go between the steps of one running batch.

A batch of fixed texts runs until its longest is done, and whoever comes later waits for all of it. Here every request
has a slot of the cache; between two steps finished requests leave their slots and waiting ones take them::

    step      1  2  3  4  5  6  7  8        R = reads its prompt, a chunk per step
    slot 0    R  a  a  a  R  d  d  d        request d came while all slots were taken, and starts when a is done
    slot 1       R  b  b  b  b  b  b
    slot 2          R  c  c     R  e

The running requests are always the first rows of the cache, so that attention reads them in place: a request that
leaves swaps places with the last one. A slot that is free keeps what was in it, and a new request whose prompt begins
with the same tokens (the next turn of a conversation) reads only the rest.

Guarantees: requests are admitted in the order they came; a request's sampling has its own random stream, so neither
neighbours nor their number change it; a long prompt delays the others by one chunk per step; ``cancel`` frees a slot
at once; memory is reserved at the start and does not grow. Logits differ in their last bits with the number of rows, as
in every batched computation: the tokens equal those of a solo run unless two candidates are that close.
Source: Yu et al. 2022 (Orca, OSDI '22), section 3.1, iteration-level scheduling.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from minimind_lite.generation.engine import Generation, Row, checked_rows
from minimind_lite.generation.laid_out import Quantize, stepper
from minimind_lite.generation.sampling import GREEDY, GenerationError, SamplingConfig, row_generator, sample
from minimind_lite.model.attention import KVCache
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

State = Literal["queued", "reading", "running", "done", "cancelled"]


class QueueFull(GenerationError):
    """No more requests can wait; try again when some are done."""


@dataclass(frozen=True)
class Request:
    """What is asked of the engine; the fields mean what the arguments of ``engine.generate`` mean.

    An answer that fills its slot before ``max_new_tokens`` ends with "length".
    """

    prompt: Sequence[int]
    max_new_tokens: int = 128
    sampling: SamplingConfig = GREEDY  # its seed gives the same tokens as ``generate`` with this prompt alone
    row: int = 0  # of the seed: several answers to one prompt take different rows (``generate``'s first_row)
    stop: Sequence[str] = ()
    eos_ids: Sequence[int] | None = None
    # Called with the logits (vocab,) and the tokens so far, prompt included, before sampling; returns logits (vocab,).
    adjust: Callable[[Tensor, Sequence[int]], Tensor] | None = None
    candidates: int | None = None  # how many of the likeliest tokens each event lists; None: no ``Event.candidates``


@dataclass(eq=False)
class Handle:
    """A request on its way: what became of it."""

    request: Request
    row: Row = field(repr=False)
    state: State = "queued"

    @property
    def finished(self) -> bool:
        """Whether no more tokens will come."""
        return self.state in ("done", "cancelled")

    def result(self) -> Generation:
        """The answer so far; the whole answer once ``finished``, unless it was cancelled."""
        return self.row.result()


class Candidates(NamedTuple):
    """What the model itself thought at one place: before adjustments, temperature and filters; in nats."""

    logprob: float  # of the token that was drawn
    likeliest: list[tuple[int, float]]  # (token, log-probability), likeliest first


class Event(NamedTuple):
    """One new token of one request."""

    handle: Handle
    token: int
    logprob: float  # nats, under the distribution it was drawn from
    text: str  # what became certain with this token, often ""
    finish_reason: Literal["stop", "length"] | None  # None: more will come
    candidates: Candidates | None = None


class Statistics(NamedTuple):
    """Requests and slots now; requests and tokens since the start."""

    queued: int
    reading: int  # slots whose prompt is being read: 0 or 1
    running: int  # slots that make a token at every step
    free: int
    done: int
    cancelled: int
    prompt_tokens: int  # read
    reused_tokens: int  # of prompts, found in a free slot instead of read
    new_tokens: int


class SlotRows(KVCache):
    """The rows ``first``, ``first + 1`` … of another cache, each filled to a length of its own; shares its memory.

    ``update`` stores one new token per row behind what the row holds, or several for a single row.
    """

    def __init__(self, whole: KVCache, first: int, lengths: Sequence[int]) -> None:
        rows = slice(first, first + len(lengths))
        self.keys, self.values, self.max_length = whole.keys[:, rows], whole.values[:, rows], whole.max_length
        self.length = max(lengths)
        self.lengths = torch.tensor(lengths, device=whole.keys.device)
        self.equal = len(set(lengths)) == 1
        self.index = torch.arange(len(lengths), device=whole.keys.device)

    def update(self, layer_index: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k, v (rows, kv_heads, new, head_dim); return views (rows, kv_heads, longest, head_dim)."""
        if self.equal:
            return super().update(layer_index, k, v)
        keys, values = self.keys[layer_index], self.values[layer_index]
        keys[self.index, :, self.lengths], values[self.index, :, self.lengths] = k[:, :, 0], v[:, :, 0]
        return keys[:, :, : self.length + 1], values[:, :, : self.length + 1]

    def places(self) -> tuple[Tensor | None, Tensor | None]:
        """position_ids (rows, 1) and attention_mask (rows, 1, 1, longest) of one new token per row."""
        if self.equal:
            return None, None
        columns = torch.arange(self.length + 1, device=self.lengths.device)
        return self.lengths[:, None], (columns <= self.lengths[:, None])[:, None, None]


@dataclass
class _Slot:
    """What one row of the cache holds: ``tokens[i]`` is the token whose key and value stand in column i."""

    tokens: list[int] = field(default_factory=list)
    handle: Handle | None = None  # whose it is; None: free
    left_at: int = 0  # the step at which it became free: the slot that is free the longest is taken first


class Engine:
    """Generates for many requests at once: ``submit`` them, and call ``step`` until they are done.

    max_length: columns of a slot, prompt and answer together; None means the model's context, at most 2048.
    max_queue: how many requests may wait. prefill_chunk: prompt tokens read per step, the most that running requests
    wait for a new one. Not safe to call from several threads at once: a server gives the engine to one thread. The
    model's weights must stay as they are while the engine lives.

    >>> engine = Engine(model, tokenizer, slots=16)  # doctest: +SKIP
    >>> handle = engine.submit(Request(tokenizer.encode("Once upon"), max_new_tokens=32))  # doctest: +SKIP
    >>> while not handle.finished:  # doctest: +SKIP
    ...     for event in engine.step():
    ...         print(event.text, end="")
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        slots: int = 16,
        max_length: int | None = None,
        max_queue: int = 256,
        prefill_chunk: int = 256,
        quantize: Quantize | None = None,
    ) -> None:
        context = model.config.max_position_embeddings
        self.max_length = min(context, 2048) if max_length is None else max_length
        if min(slots, max_queue, prefill_chunk) < 1 or not 2 <= self.max_length <= context:
            raise GenerationError(
                f"slots ({slots}), max_queue ({max_queue}) and prefill_chunk ({prefill_chunk}) must be at least 1, and "
                f"max_length ({self.max_length}) between 2 and the model's context of {context}"
            )
        weight = next(model.parameters())
        self.model, self.tokenizer, self.device = model.eval(), tokenizer, weight.device
        self.max_queue, self.prefill_chunk = max_queue, prefill_chunk
        self._decoding = stepper(model, quantize)
        try:
            self._cache = KVCache(model.config, slots, self.max_length, weight.device, weight.dtype)
        except RuntimeError as error:  # torch's, on a GPU too
            raise GenerationError(
                f"there is no memory for {slots} slots of {self.max_length} tokens: take fewer slots, or a shorter "
                f"max_length (minimind serve: --slots, --context). torch says: {str(error).splitlines()[0]}"
            ) from error
        for memory in (self._cache.keys, self._cache.values):
            memory.zero_()  # masked columns count zero times what is in them, and that must not be NaN
        self._slots = [_Slot() for _ in range(slots)]  # running ones first, then the one being read, then free ones
        self._running = 0
        self._queue: deque[Handle] = deque()
        self._counts: Counter[str] = Counter()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._queue and not self._running and self._reading is None

    @property
    def statistics(self) -> Statistics:
        """What the engine is doing and has done."""
        reading = int(self._reading is not None)
        now = (len(self._queue), reading, self._running, len(self._slots) - self._running - reading)
        return Statistics(*now, *(self._counts[name] for name in Statistics._fields[4:]))

    def submit(self, request: Request) -> Handle:
        """Let a request wait for a slot. Raises QueueFull, or GenerationError for a request that cannot be met."""
        if len(self._queue) >= self.max_queue:
            raise QueueFull(f"{self.max_queue} requests are waiting already (max_queue): try again later")
        random = row_generator(request.sampling.seed, request.row)
        rows = checked_rows(
            self.model, self.tokenizer, [request.prompt], request.max_new_tokens, request.stop, request.eos_ids,
            [random], self.max_length,
        )  # fmt: skip
        handle = Handle(request, rows[0])
        self._queue.append(handle)
        return handle

    def cancel(self, handle: Handle) -> None:
        """Stop a request, wherever it is; its slot is free for the next step. Nothing happens if it has finished."""
        if handle.state == "queued":
            self._queue.remove(handle)
        elif not handle.finished:
            self._release(next(at for at, slot in enumerate(self._slots) if slot.handle is handle))
        if not handle.finished:
            handle.state = "cancelled"
            self._counts["cancelled"] += 1

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Admit and read what fits into one chunk, then make one token for every running request."""
        before = self._running
        first = self._read()  # the first tokens of those whose prompts are now read
        events = self._decode(before) if before else []
        events += first
        for event in events:
            if event.finish_reason is not None:
                self._release(next(at for at, slot in enumerate(self._slots) if slot.handle is event.handle))
                event.handle.state = "done"
                self._counts["done"] += 1
        return events

    def run(self) -> Iterator[Event]:
        """Step until nothing is left to do."""
        while not self.idle:
            yield from self.step()

    @property
    def _reading(self) -> _Slot | None:
        """The slot whose prompt is being read: it stands behind the running ones."""
        slot = self._slots[self._running] if self._running < len(self._slots) else None
        return slot if slot is not None and slot.handle is not None else None

    def _read(self) -> list[Event]:
        """Read prompts, one after the other, at most ``prefill_chunk`` tokens of them."""
        budget, events = self.prefill_chunk, []
        while budget > 0:
            slot = self._reading or self._admit()
            if slot is None or slot.handle is None:
                break
            prompt, done = slot.handle.row.prompt, len(slot.tokens)
            piece = prompt[done : done + budget]
            rows = SlotRows(self._cache, self._running, [done])
            hidden = self._decoding.hidden_states(torch.tensor([piece], device=self.device), cache=rows)
            slot.tokens += piece
            budget -= len(piece)
            self._counts["prompt_tokens"] += len(piece)
            if len(slot.tokens) == len(prompt):
                slot.handle.state = "running"
                self._running += 1
                events += self._draw(self._decoding.logits(hidden[:, -1]), [slot.handle])
        return events

    def _admit(self) -> _Slot | None:
        """Give the request that waits longest the free slot that holds most of the beginning of its prompt."""
        free = range(self._running, len(self._slots))
        if not self._queue or not free:
            return None
        handle = self._queue.popleft()
        shared = {at: _common(self._slots[at].tokens, handle.row.prompt) for at in free}
        at = max(free, key=lambda one: (shared[one], -self._slots[one].left_at))
        self._swap(at, self._running)
        slot = self._slots[self._running]
        slot.tokens, slot.handle, handle.state = slot.tokens[: shared[at]], handle, "reading"
        self._counts["reused_tokens"] += shared[at]
        return slot

    def _decode(self, count: int) -> list[Event]:
        """One token for each of the first ``count`` slots."""
        slots = self._slots[:count]
        handles = [slot.handle for slot in slots if slot.handle is not None]
        last = [handle.row.ids[-1] for handle in handles]
        rows = SlotRows(self._cache, 0, [len(slot.tokens) for slot in slots])
        positions, mask = rows.places()
        ids = torch.tensor(last, device=self.device)[:, None]
        hidden = self._decoding.hidden_states(ids, position_ids=positions, attention_mask=mask, cache=rows)
        for slot, token in zip(slots, last, strict=True):
            slot.tokens.append(token)
        return self._draw(self._decoding.logits(hidden[:, -1]), handles)

    def _draw(self, logits: Tensor, handles: Sequence[Handle]) -> list[Event]:
        """Draw the next token of each handle from its row of logits; those that sample alike are drawn together."""
        logits = logits[:, : self.tokenizer.vocab_size]  # spare rows of the embedding are not tokens
        alike: dict[SamplingConfig, list[int]] = {}
        asked = {at: logits[at].clone() for at, handle in enumerate(handles) if handle.request.candidates is not None}
        for at, handle in enumerate(handles):
            if handle.request.adjust is not None:
                logits[at] = handle.request.adjust(logits[at], [*handle.row.prompt, *handle.row.ids])
            alike.setdefault(replace(handle.request.sampling, seed=None), []).append(at)
        events: dict[int, Event] = {}
        for config, members in alike.items():
            rows = [handles[at].row for at in members]
            previous = _padded(rows, self.device) if config.repetition_penalty != 1 else None
            drawn = sample(logits[members], config, [row.random for row in rows], previous)
            for at, token, logprob in zip(members, drawn.ids.tolist(), drawn.logprobs.tolist(), strict=True):
                text = handles[at].row.push(token, logprob)
                likely = _candidates(asked[at], token, handles[at].request.candidates or 0) if at in asked else None
                events[at] = Event(handles[at], token, logprob, text, handles[at].row.finish_reason, likely)
        self._counts["new_tokens"] += len(handles)
        return [events[at] for at in range(len(handles))]

    def _release(self, at: int) -> None:
        """Free slot ``at``; the last running one, and then the one being read, close the gap."""
        self._slots[at].handle, self._slots[at].left_at = None, self._counts["done"] + self._counts["cancelled"] + 1
        if at < self._running:
            self._running -= 1
            self._swap(at, self._running)
            behind = self._running + 1
            if behind < len(self._slots) and self._slots[behind].handle is not None:
                self._swap(self._running, behind)

    def _swap(self, one: int, other: int) -> None:
        """Let two slots change places, in the cache too."""
        if one == other:
            return
        columns = max(len(self._slots[one].tokens), len(self._slots[other].tokens))
        for memory in (self._cache.keys, self._cache.values):
            aside = memory[:, one, :, :columns].clone()
            memory[:, one, :, :columns] = memory[:, other, :, :columns]
            memory[:, other, :, :columns] = aside
        self._slots[one], self._slots[other] = self._slots[other], self._slots[one]


def _candidates(logits: Tensor, token: int, count: int) -> Candidates:
    """logits (vocab,) as the model gave them."""
    logprobs = logits.float().log_softmax(dim=-1)
    best = logprobs.topk(min(count, len(logprobs)))
    likeliest = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return Candidates(float(logprobs[token]), likeliest)


def _common(held: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens both begin with; less than the prompt, since its last token must be read to get logits."""
    same = 0
    for mine, theirs in zip(held, prompt[:-1], strict=False):
        if mine != theirs:
            break
        same += 1
    return same


def _padded(rows: Sequence[Row], device: torch.device) -> Tensor:
    """Prompts and answers so far, (batch, longest), -1 where there is none."""
    texts = [torch.tensor(row.prompt + row.ids, device=device) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=-1)
