"""Models that transformers opens, as LanguageModels: decoders, and pairs of an encoder and a decoder.

transformers draws at random whatever a file does not hold, and only warns. A model that was made by code of its own
(``auto_map`` in its config.json) may name itself after a class of transformers and fit it in part; its scores would be
noise. So a model is refused unless each of its tensors was found in the file, and each of the file's in the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minimind_lite.files import read_json
from minimind_lite.model.pretrained import PretrainedError
from minimind_lite.tokenizer import Message

UNKNOWN_LENGTH = 2048  # tokens, where a config states no window


@dataclass(frozen=True)
class ForeignModel:
    """A causal model of transformers, and its tokenizer, as a LanguageModel. Nothing is shared between rows."""

    model: Any
    tokenizer: Any
    start_always: bool = False  # what lm-eval does, and published scores are made with

    @property
    def max_length(self) -> int:
        """Tokens it reads at once."""
        config = self.model.config
        stated = (getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "n_ctx"))
        return next((one for one in stated if one), UNKNOWN_LENGTH)

    @property
    def start_id(self) -> int:
        """Its begin-of-text token, or else its end-of-text token. Raises PretrainedError if it has neither."""
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        raise PretrainedError(f"{self.tokenizer.name_or_path}: its tokenizer has no token that begins or ends a text")

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, nothing added; its tokenizer may read special tokens in it."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def logits(self, prefix: list[int], suffixes: Tensor, wanted: Tensor) -> Tensor:
        """Every row is run whole: caches differ from architecture to architecture, plain rows do not."""
        device = self.model.device
        whole = torch.cat((torch.tensor([prefix] * len(suffixes), dtype=torch.int64), suffixes), dim=1).to(device)
        scores: Tensor = self.model(input_ids=whole).logits[:, len(prefix) :]
        return scores[wanted.to(device)]

    def say(self, conversations: Sequence[list[Message]], max_new_tokens: int, batch_size: int) -> list[str]:
        """The next turn of each conversation, greedily, one after the other: nothing is padded.

        Raises PretrainedError for a tokenizer without a chat template.
        """
        if not self.tokenizer.chat_template:
            raise PretrainedError(
                f"{self.tokenizer.name_or_path}: without a chat template it cannot be asked a question"
            )
        said = []
        for turns in conversations:
            text = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
            said.append(self._continue(self.encode(text), max_new_tokens, skip=True))
        return said

    def _continue(self, ids: list[int], max_new_tokens: int, *, skip: bool) -> str:
        """skip: the prompt is part of what comes out, and of the window. Raises PretrainedError if it does not fit."""
        room = self.max_length - len(ids) if skip else max_new_tokens
        if room < 1:
            raise PretrainedError(f"the question has {len(ids)} tokens, and the model reads {self.max_length} at once")
        given = torch.tensor([ids], device=self.model.device)
        with torch.inference_mode():
            whole = self.model.generate(
                input_ids=given, attention_mask=torch.ones_like(given), do_sample=False,
                max_new_tokens=min(max_new_tokens, room),
            )  # fmt: skip
        return str(self.tokenizer.decode(whole[0, len(ids) if skip else 0 :], skip_special_tokens=True))


@dataclass(frozen=True)
class EncoderDecoder(ForeignModel):
    """A T5 and the like: the encoder reads the context, the decoder is asked for the continuation.

    A row is the context's ids, as the tokenizer ends them, the token that the decoder starts with, and the
    continuation. Its first wanted position is that start token, which is how a row is taken apart again.
    """

    @property
    def decoder_start_id(self) -> int:
        """The token before the decoder's first. Raises PretrainedError if the config states none."""
        for name in ("decoder_start_token_id", "pad_token_id"):
            if (token := getattr(self.model.config, name, None)) is not None:
                return int(token)
        raise PretrainedError(f"{self.tokenizer.name_or_path}: its config.json states no decoder_start_token_id")

    def encode_apart(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """The context with the special tokens of its tokenizer, or a start token if it is empty (as in lm-eval)."""
        before = list(self.tokenizer.encode(context)) if context else [self.start_id]
        return [*before, self.decoder_start_id], self.encode(continuation)

    def say(self, conversations: Sequence[list[Message]], max_new_tokens: int, batch_size: int) -> list[str]:
        """The encoder reads the last question by itself; such a model knows no turns."""
        asked = (list(self.tokenizer.encode(turns[-1]["content"])) for turns in conversations)
        return [self._continue(ids, max_new_tokens, skip=False) for ids in asked]

    def logits(self, prefix: list[int], suffixes: Tensor, wanted: Tensor) -> Tensor:
        """Contexts are padded on the right, and their padding masked; the decoder's rows are padded and not read."""
        rows = []
        for suffix, marks in zip(suffixes.tolist(), wanted.tolist(), strict=True):
            whole, border, count = [*prefix, *suffix], len(prefix) + marks.index(True), sum(marks)
            rows.append((whole[:border], whole[border : border + count]))
        contexts, mask = _padded([before for before, _ in rows])
        decoded, targets = _padded([after for _, after in rows])
        device = self.model.device
        scores: Tensor = self.model(
            input_ids=contexts.to(device), attention_mask=mask.to(device), decoder_input_ids=decoded.to(device)
        ).logits
        return scores[targets.bool().to(device)]


def _padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Rows padded on the right with zeros, and a mask that is 1 where a row has a token; both (rows, longest)."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


def open_foreign(folder: Path, device: str, start_always: bool, why: str, run_code: bool = False) -> ForeignModel:
    """Any model of a folder that transformers knows, or, with ``run_code``, that brings its own code.

    why: what kept our own decoder from it, for messages. Raises PretrainedError; ModuleNotFoundError without
    transformers.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    common = {"local_files_only": True, "trust_remote_code": run_code}
    try:
        config = AutoConfig.from_pretrained(folder, **common)
        paired = bool(getattr(config, "is_encoder_decoder", False))
        auto: Any = AutoModelForSeq2SeqLM if paired else AutoModelForCausalLM
        tokenizer = AutoTokenizer.from_pretrained(folder, **common)
        model, found = auto.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **common)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, ImportError) as error:
        raise PretrainedError(
            f"{folder}: neither this library ({why}) nor transformers can open it as a language model: "
            f"{str(error).rstrip('.')}{_own_code(folder, run_code)}"
        ) from error
    _refuse_partial(folder, found, run_code)
    kind = EncoderDecoder if paired else ForeignModel
    return kind(model.to(device).float().eval(), tokenizer, start_always)


def _refuse_partial(folder: Path, found: dict[str, Any], run_code: bool) -> None:
    """``found``: what from_pretrained reports. Raises PretrainedError unless every tensor had its place."""
    shapes = [name if isinstance(name, str) else name[0] for name in found.get("mismatched_keys", ())]
    wrong = [f"missing: {name}" for name in sorted(found.get("missing_keys", ()))]
    wrong += [f"of another shape: {name}" for name in sorted(shapes)]
    wrong += [
        f"without a place: {name}"
        for name in sorted(found.get("unexpected_keys", ()))
        if not name.endswith("rotary_emb.inv_freq")
    ]  # a buffer of transformers before 4.32
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise PretrainedError(
            f"{folder}: its weights are not those of the class that its config.json names ({'; '.join(wrong[:3])}"
            f"{more}), so its scores would be another model's{_own_code(folder, run_code)}"
        )


def _own_code(folder: Path, run_code: bool) -> str:
    """How to go on, if the folder has code of its own, for its model or its tokenizer, that was not run."""
    files = (folder / name for name in ("config.json", "tokenizer_config.json"))
    if run_code or not any(read_json(file).get("auto_map") for file in files if file.is_file()):
        return ""
    return ". It was made by code of its own (auto_map): read the .py files in the folder, and run them with --run-code"
