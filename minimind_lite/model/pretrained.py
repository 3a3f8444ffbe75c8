"""A model as a folder in the Hugging Face layout: config.json, model.safetensors, and the tokenizer's files.

transformers, vLLM and llama.cpp's converter read such a folder as it is. Nothing here is ever unpickled: a ``.bin`` or
``.pth`` file can run code when it is opened, a safetensors file cannot.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from minimind_lite.config import ConfigError, ModelConfig
from minimind_lite.model.hf_config import OWN_CLASS, OWN_CLASS_NOTE, config_from_hf, config_to_hf
from minimind_lite.model.transformer import Transformer

logger = logging.getLogger(__name__)


class PretrainedError(ValueError):
    """A model folder that cannot be read; the message says what is wrong and the way out."""


class SavesItself(Protocol):
    """A tokenizer, as far as this module needs one."""

    def save(self, folder: Path) -> None:
        """Write its files into ``folder``."""


def save_pretrained(model: Transformer, tokenizer: SavesItself | None, folder: str | Path) -> None:
    """Write a folder that ``load_pretrained`` and transformers' ``AutoModelForCausalLM`` open.

    Each file appears whole or not at all. The tokenizer may be None, when its files are there already.
    """
    folder = Path(folder)
    description = config_to_hf(model.config) | {"dtype": str(model.model.norm.weight.dtype).removeprefix("torch.")}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / "model.safetensors") as part:
        save_file(weights, part, metadata={"format": "pt"})  # transformers refuses a file without the format
    with written_whole(folder / "config.json") as part:
        part.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    if tokenizer is not None:
        tokenizer.save(folder)


def load_pretrained(
    folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Transformer:
    """Read a Llama, Qwen3 or Qwen3-MoE folder, ours or anyone's, strictly: every tensor must be there and fit.

    dtype None keeps the precision of the file. Experts that transformers has no
    class for are read too, with a warning. Raises PretrainedError or ConfigError, naming file, tensor and way out.
    """
    folder = Path(folder)
    config = _read_config(folder / "config.json")
    if config_to_hf(config)["model_type"] == OWN_CLASS:
        logger.warning("%s: %s; transformers, vLLM and the like do not", folder, OWN_CLASS_NOTE)
    weights = _read_weights(folder)
    with torch.device("meta"):
        model = Transformer(config)
    _check_weights(weights, model, folder)
    model.to(dtype or weights["model.norm.weight"].dtype).to_empty(device=device)
    model.load_state_dict(weights)
    return model


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; on leaving, its content is on the disk and takes ``path``'s name."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read_config(path: Path) -> ModelConfig:
    if not path.is_file():
        raise PretrainedError(f"{path} is not there: a model folder holds config.json and model.safetensors")
    try:
        return config_from_hf(json.loads(path.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise PretrainedError(f"{path}, line {error.lineno}: not JSON ({error.msg}); write the folder again") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _read_weights(folder: Path) -> dict[str, Tensor]:
    whole = folder / "model.safetensors"
    files = [whole] if whole.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))
    if not files:
        pickled = next((path.name for pattern in ("*.bin", "*.pth", "*.pt") for path in folder.glob(pattern)), None)
        reason = f"{pickled} is a pickle, which can run code when opened; convert it to safetensors" if pickled else ""
        raise PretrainedError(f"{whole} is not there. {reason or 'Was the model saved to another folder?'}")
    weights: dict[str, Tensor] = {}
    for path in files:
        try:
            weights |= load_file(path)
        except SafetensorError as error:
            raise PretrainedError(f"{path} is damaged or cut short ({error}); copy or save it again") from error
    return weights


def _check_weights(weights: dict[str, Tensor], model: Transformer, folder: Path) -> None:
    """Drop what older writers add; then refuse, by name, whatever does not fit the config."""
    for name in [name for name in weights if name.endswith("rotary_emb.inv_freq")]:
        del weights[name]  # a buffer of transformers before 4.32; the config says the same
    head, embedding = weights.get("lm_head.weight"), weights.get("model.embed_tokens.weight")
    if model.lm_head is None and head is not None and embedding is not None and torch.equal(head, embedding):
        del weights["lm_head.weight"]  # a tied matrix, written twice
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    problems = [f"missing: {name}" for name in expected if name not in weights]
    problems += [f"unexpected: {name}" for name in weights if name not in expected]
    for name in expected.keys() & weights.keys():
        if expected[name] != weights[name].shape:
            problems.append(f"{name} is {tuple(weights[name].shape)}, config.json asks for {tuple(expected[name])}")
    if problems:
        shown = "\n  ".join(sorted(problems)[:8] + ([f"and {len(problems) - 8} more"] if len(problems) > 8 else []))
        raise PretrainedError(
            f"{folder}: the weights do not fit config.json (lm_head.weight exists only with untied embeddings, "
            f"q_norm and k_norm only in qwen3):\n  {shown}\nconfig.json and model.safetensors must be the same model's."
        )
