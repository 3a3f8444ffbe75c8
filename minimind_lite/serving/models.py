"""The models that a server offers: folders and adapters by name, each with an engine of its own.

An adapter shares its base's weights in memory; its slots of cache are its own, since the same text has other keys and
values under other weights.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from minimind_lite.generation.chat import load_chat_folder
from minimind_lite.generation.constrained import Vocabulary
from minimind_lite.generation.continuous import Engine
from minimind_lite.generation.laid_out import Quantize
from minimind_lite.interop.minimind import as_folder
from minimind_lite.model.lora import LoRAError, load_adapter
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer


class ServingError(ValueError):
    """A server that cannot start; the message says what to change."""


@dataclass
class ServedModel:
    """A model under the name that requests use."""

    name: str
    engine: Engine
    created: int = 0  # seconds since 1970
    base: str | None = None  # whose weights an adapter changes

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self.engine.tokenizer

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Made when the first answer must have a form."""
        return Vocabulary(self.tokenizer)

    @torch.inference_mode()
    def embed(self, ids: Sequence[int]) -> list[float]:
        """The mean of the last hidden states over a text's tokens, hidden_size numbers; not normalised."""
        states: Tensor = self.engine.model.hidden_states(torch.tensor([list(ids)], device=self.engine.device))
        mean: list[float] = states[0].float().mean(dim=0).tolist()
        return mean


def load_models(
    folders: Sequence[Path],
    adapters: Mapping[str, Path],
    *,
    device: str = "cpu",
    slots: int = 16,
    max_length: int | None = None,
    max_queue: int = 256,
    quantize: Quantize | None = None,
) -> list[ServedModel]:
    """The models in ``folders``, named after them, and the adapters, each on the first of them that it fits.

    A published MiniMind model may stand for a folder; that of ``full_sft_512.pth`` is called full_sft_512.

    Raises ServingError for names that are taken twice, and what loading raises.
    """
    served: list[ServedModel] = []
    names = [folder.stem if folder.is_file() else folder.resolve().name for folder in folders] + list(adapters)
    if not folders or len(set(names)) < len(names):
        twice = next((name for name in names if names.count(name) > 1), "")
        raise ServingError(
            f"two models would be called {twice!r}: rename one" if twice else "give the folder of a model to serve"
        )

    def offer(name: str, model: Transformer, tokenizer: Tokenizer, folder: Path, base: str | None) -> ServedModel:
        engine = Engine(
            model, tokenizer, slots=slots, max_length=max_length, max_queue=max_queue, quantize=quantize
        )  # fmt: skip
        served.append(ServedModel(name, engine, int(folder.stat().st_mtime), base))
        return served[-1]

    bases = []
    for name, folder in zip(names, folders, strict=False):
        with as_folder(folder) as opened:
            model, tokenizer = load_chat_folder(opened, device)
        bases.append((offer(name, model, tokenizer, folder, None), model))
    for name, folder in adapters.items():
        base, adapted = _adapted([(one.name, model) for one, model in bases], folder)
        offer(name, adapted, next(one.tokenizer for one in served if one.name == base), folder, base)
    return served


def _adapted(bases: Sequence[tuple[str, Transformer]], folder: Path) -> tuple[str, Transformer]:
    """The name of the base that an adapter fits, and a model that shares that base's weights and has the adapter."""
    refusal: LoRAError | None = None
    for name, base in bases:
        shared = {id(weight): weight for weight in (*base.parameters(), *base.buffers())}
        model = copy.deepcopy(base, shared)
        try:
            load_adapter(model, folder)
        except LoRAError as error:
            refusal = refusal or error
        else:
            return name, model
    assert refusal is not None  # noqa: S101  there is at least one base
    raise refusal
