"""How likely a model finds a text after another: what multiple choice, minimal pairs and cloze are scored with.

log p(continuation | context) = Σ log p(token | everything before it). Nothing is sampled, so a score has no luck in it,
and a model that cannot yet follow an instruction can be measured.

Many requests begin alike: the choices of a question share the question, the questions of a subject its examples. A
batch runs its common beginning once, keeps keys and values, and continues every row from there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from minimind_lite.device import in_float64
from minimind_lite.generation.engine import generate
from minimind_lite.model.attention import KVCache
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Message, Tokenizer

TEXT_BLOCK = 512  # tokens of a text that are read at once, if the model's window has room for them
_POSITIONS = 4096  # whose scores over the vocabulary are in memory at once, for whole texts
PASS_OVERHEAD = 64  # what starting one more forward pass costs, in tokens; decides how rows are put into batches
EMPTY = "there is no continuation to score: the text is empty"


class Request(NamedTuple):
    """A text, and the one whose likelihood after it is asked for."""

    context: str
    continuation: str


class Likelihood(NamedTuple):
    """The answer to a Request."""

    logprob: float  # nats, summed over the continuation's tokens
    tokens: int  # of the continuation
    greedy: bool  # each of its tokens was the most likely one
    cut: int = 0  # tokens of the context that the model's window had no room for


class LanguageModel(Protocol):
    """What scoring needs of a model; ``OwnModel`` is ours, ``interop.foreign`` any other."""

    @property
    def max_length(self) -> int:
        """Tokens it reads at once."""

    @property
    def start_id(self) -> int:
        """The token that texts begin with."""

    @property
    def start_always(self) -> bool:
        """Put it before every context, as in training; otherwise only where the context is empty."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, nothing added."""

    def logits(self, prefix: list[int], suffixes: Tensor, wanted: Tensor) -> Tensor:
        """Scores of the token after each wanted position of rows that all begin with ``prefix``.

        suffixes: (rows, seq) int64, the rows after the prefix, padded on the right. wanted: (rows, seq) bool.
        Returns (wanted positions, vocab_size), row by row.
        """


@runtime_checkable
class Answering(Protocol):
    """A LanguageModel that can be asked and answers in its own words, greedily."""

    def say(self, conversations: Sequence[list[Message]], max_new_tokens: int, batch_size: int) -> list[str]:
        """The next turn of each conversation, without control tokens. Raises ValueError if it cannot be asked."""


@runtime_checkable
class PairEncoder(Protocol):
    """A LanguageModel that encodes a context and its continuation apart, as an encoder and a decoder read them."""

    def encode_apart(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of the context, with all that stands before the first target, and of the continuation."""


class Encoder(Protocol):
    """What scoring needs of a tokenizer: ours, or another that came with a model."""

    @property
    def end_of_text_id(self) -> int:
        """The token that separates texts."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, nothing added."""


@dataclass(frozen=True)
class OwnModel:
    """A Transformer and its tokenizer as a LanguageModel.

    start_always: our models are trained on ``<|endoftext|> text``, so a context without it is one they have never seen.
    False is what lm-eval does.
    """

    model: Transformer
    tokenizer: Encoder
    start_always: bool = True

    @property
    def max_length(self) -> int:
        """Tokens it reads at once."""
        length: int = self.model.config.max_position_embeddings
        return length

    @property
    def start_id(self) -> int:
        """``<|endoftext|>``, which stands before every text in pretraining."""
        token: int = self.tokenizer.end_of_text_id
        return token

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; it is never parsed for special tokens."""
        return self.tokenizer.encode(text)

    def logits(self, prefix: list[int], suffixes: Tensor, wanted: Tensor) -> Tensor:
        """The prefix runs once, as one row; its keys and values are then copied to every row."""
        model, cache = self.model, None
        weight = model.model.embed_tokens.weight
        suffixes, wanted = suffixes.to(weight.device), wanted.to(weight.device)
        rows, length = suffixes.shape
        if prefix:
            one = KVCache(model.config, 1, len(prefix), weight.device, weight.dtype)
            model.hidden_states(torch.tensor([prefix], device=weight.device), cache=one)
            cache = KVCache(model.config, rows, len(prefix) + length, weight.device, weight.dtype)
            cache.keys[:, :, :, : len(prefix)] = one.keys
            cache.values[:, :, :, : len(prefix)] = one.values
            cache.length = len(prefix)
        return model.logits(model.hidden_states(suffixes, cache=cache)[wanted])

    def say(self, conversations: Sequence[list[Message]], max_new_tokens: int, batch_size: int) -> list[str]:
        """The next turn of each conversation, greedily. Raises ValueError for a tokenizer without a chat template."""
        if not isinstance(self.tokenizer, Tokenizer):
            raise ValueError("its tokenizer has no chat template, so the model cannot be asked a question")
        prompts = [self.tokenizer.render(one, add_generation_prompt=True).ids for one in conversations]
        said = generate(self.model, self.tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size)
        return [one.text for one in said]


class _Row(NamedTuple):
    """One sequence to run and what to read off it."""

    inputs: tuple[int, ...]  # everything but the last token
    targets: tuple[int, ...]  # the continuation; the last len(targets) positions predict it
    number: int  # of the request
    cut: int


def encode_pair(model: LanguageModel, request: Request) -> tuple[list[int], list[int]]:
    """Ids of the context, start token included, and of the continuation.

    Both are encoded as one text and cut where the context alone would end, so that a word is split as it is in running
    text; white space at the end of the context goes to the continuation. (lm-eval does the same.) Where a token spans
    the border and leaves nothing of the continuation, the continuation is encoded by itself.
    Raises ValueError for an empty continuation.
    """
    context, continuation = request.context.rstrip(), request.continuation
    continuation = request.context[len(context) :] + continuation
    if isinstance(model, PairEncoder):
        before, after = model.encode_apart(context, continuation)
        if not after:
            raise ValueError(EMPTY)
        return before, after
    before = model.encode(context) if context else []
    after = model.encode(context + continuation)[len(before) :] or model.encode(continuation)
    if not after:
        raise ValueError(EMPTY)
    if not before or model.start_always:
        if not before and after[0] == model.start_id and len(after) > 1:  # a text that brings its own start token
            return after[:1], after[1:]
        before = [model.start_id, *before]
    return before, after


def _row(model: LanguageModel, request: Request, number: int) -> _Row:
    before, after = encode_pair(model, request)
    if len(after) > model.max_length:
        raise ValueError(
            f"a continuation of {len(after)} tokens does not fit the model, which reads {model.max_length}: "
            f"{request.continuation[:60]!r}"
        )
    whole = [*before, *after]
    cut = max(0, len(whole) - 1 - model.max_length)
    return _Row(tuple(whole[cut:-1]), tuple(after), number, cut)


@torch.inference_mode()
def likelihoods(
    model: LanguageModel,
    requests: Sequence[Request],
    *,
    batch_size: int = 32,
    reuse: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Likelihood]:
    """The likelihood of every request, in the order given.

    A context longer than the model's window loses its beginning (``cut``). batch_size: rows per forward pass.
    reuse: run what a batch's rows have in common once; False is the plain way, for comparison. progress: called with
    the number of requests that were just scored.
    Raises ValueError for a continuation that is empty or longer than the window.
    """
    rows = [_row(model, request, number) for number, request in enumerate(requests)]
    found: dict[int, Likelihood] = {}
    for batch in _batches(sorted(rows, key=lambda row: row.inputs), batch_size):
        found |= _score(model, batch, reuse)
        progress(len(batch))
    return [found[number] for number in range(len(rows))]


@torch.inference_mode()
def text_likelihoods(model: LanguageModel, texts: Sequence[str], *, batch_size: int = 32) -> list[Likelihood]:
    """The likelihood of whole texts, after the start token; what ends a text is not scored: not every model ends one.

    A text longer than TEXT_BLOCK tokens, or than the model's window, is cut into blocks without overlap. A later block
    sees the last token before it and no more, so its figure is an upper bound (as in lm-eval's rolling likelihood).
    Raises ValueError for an empty text.
    """
    rows: list[_Row] = []
    of_text: list[int] = []
    for number, text in enumerate(texts):
        before, after = encode_pair(model, Request("", text))
        room = max(1, min(TEXT_BLOCK, model.max_length - len(before) + 1))
        for start in range(0, len(after), room):
            block = after[start : start + room]
            context = [*before[:-1], after[start - 1]] if start else before
            rows.append(_Row((*context, *block[:-1]), tuple(block), len(rows), 0))
            of_text.append(number)
    together = max(1, min(batch_size, _POSITIONS // max((len(row.inputs) for row in rows), default=1)))
    found: dict[int, Likelihood] = {}
    for batch in _batches(sorted(rows, key=lambda row: row.inputs), together):
        found |= _score(model, batch, reuse=True)
    blocks: list[list[Likelihood]] = [[] for _ in texts]
    for index, number in enumerate(of_text):
        blocks[number].append(found[index])
    return [
        Likelihood(sum(one.logprob for one in its), sum(one.tokens for one in its), all(one.greedy for one in its))
        for its in blocks
    ]


def _batches(rows: list[_Row], batch_size: int) -> Iterator[list[_Row]]:
    """Cut sorted rows into batches: one more row joins as long as that computes less than a pass of its own would.

    Rows with equal inputs (the four letters after one question) count once.
    """
    batch: list[_Row] = []
    shared, width, distinct = 0, 0, 0
    for row in rows:
        same = bool(batch) and row.inputs == batch[-1].inputs
        limit = len(row.inputs) - len(row.targets)  # every position that is read off belongs to the suffix
        common = min(shared, limit, _common(batch[-1].inputs, row.inputs)) if batch else limit
        longest, many = max(width, len(row.inputs)), distinct + (not same)
        joined = common + many * (longest - common)
        apart = shared + distinct * (width - shared) + len(row.inputs) + PASS_OVERHEAD
        if batch and (many > batch_size or joined > apart):
            yield batch
            batch, common, longest, many = [], limit, len(row.inputs), 1
        batch.append(row)
        shared, width, distinct = common, longest, many
    if batch:
        yield batch


def _common(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """How many tokens two rows share from the beginning."""
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def _score(model: LanguageModel, batch: list[_Row], reuse: bool) -> dict[int, Likelihood]:
    """Run a batch of sorted rows: its first and last row have the least in common."""
    inputs = list(dict.fromkeys(row.inputs for row in batch))
    limit = min(len(row.inputs) - len(row.targets) for row in batch)
    shared = min(limit, _common(inputs[0], inputs[-1])) if reuse else 0
    longest = {one: max(len(row.targets) for row in batch if row.inputs == one) for one in inputs}
    width = max(map(len, inputs)) - shared
    suffixes = torch.tensor([[*one[shared:], *[model.start_id] * (width - len(one) + shared)] for one in inputs])
    wanted = torch.zeros(suffixes.shape, dtype=torch.bool)
    for index, one in enumerate(inputs):
        wanted[index, len(one) - shared - longest[one] : len(one) - shared] = True
    scores = model.logits(list(inputs[0][:shared]), suffixes, wanted).float().log_softmax(dim=-1)
    at = dict(zip(inputs, scores.split(list(longest.values())), strict=True))
    return {row.number: _read(at[row.inputs][-len(row.targets) :], row) for row in batch}


def _read(logprobs: Tensor, row: _Row) -> Likelihood:
    """logprobs: (targets, vocab_size)."""
    targets = torch.tensor(row.targets, device=logprobs.device)
    picked = logprobs.gather(1, targets[:, None])
    greedy = bool((logprobs.argmax(dim=1) == targets).all())
    return Likelihood(float(in_float64(picked).sum()), len(row.targets), greedy, row.cut)
