"""Open a model's folder for scoring, whoever made it: our decoder reads what it can, transformers the rest."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minimind_lite.config import ConfigError
from minimind_lite.evaluation.harness import Candidate
from minimind_lite.evaluation.likelihood import LanguageModel, OwnModel
from minimind_lite.files import read_json, sha256_of
from minimind_lite.interop.minimind import load_minimind, tokenizer_beside
from minimind_lite.model.pretrained import PretrainedError, config_from_hf, is_published, load_pretrained
from minimind_lite.tokenizer import Tokenizer

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


def model_digest(folder: Path) -> str:
    """Hex SHA-256 over the files that make up a model. Raises PretrainedError if there are no safetensors weights."""
    if folder.is_file():
        return sha256_of(folder)
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".safetensors", ".json", ".model", ".txt")]
    if is_published(folder):
        files = sorted([*files, *folder.glob("pytorch_model*.bin")])  # opened as tensors alone
    elif not any(path.suffix == ".safetensors" for path in files):
        raise PretrainedError(f"{folder}: holds no .safetensors file; pickled weights are not opened: convert them")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def candidate(folder: Path, device: str = "cpu", start_always: bool | None = None, name: str = "") -> Candidate:
    """A folder, or a MiniMind ``.pth`` file, as a model to score; loaded when needed.

    start_always: see ``open_model``.
    """
    if not folder.is_dir() and not is_published(folder):
        raise PretrainedError(f"{folder}: there is no such folder; a model is a folder with config.json")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise PretrainedError(f"{folder / 'config.json'} does not exist: a model folder holds it beside its weights")
    return Candidate(name or folder.name, model_digest(folder), lambda: open_model(folder, device, start_always))


def open_model(folder: Path, device: str = "cpu", start_always: bool | None = None) -> LanguageModel:
    """Our own decoder for what it and our tokenizer can read, transformers for any other causal model.

    folder: or a MiniMind ``.pth`` file.

    start_always: whether every text begins with the start token; None = as the model was trained, which is yes for ours
    and, as lm-eval has it, no for others.
    Raises PretrainedError, or ModuleNotFoundError if transformers is needed and not installed.
    """
    if is_published(folder):
        return OwnModel(
            load_minimind(folder, device=device).eval(), tokenizer_beside(folder), start_always is not False
        )
    try:
        config_from_hf(read_json(folder / "config.json"))
        tokenizer = Tokenizer.load(folder)
    except (ConfigError, FileNotFoundError, ValueError) as error:
        return _open_foreign(folder, device, bool(start_always), str(error))
    model = load_pretrained(folder, device).eval()
    return OwnModel(model, tokenizer, start_always is not False)


def _open_foreign(folder: Path, device: str, start_always: bool, why: str) -> ForeignModel:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise PretrainedError(
            f"{folder}: neither this library ({why}) nor transformers can open it as a causal model: {error}"
        ) from error
    return ForeignModel(model.to(device).eval(), tokenizer, start_always)
