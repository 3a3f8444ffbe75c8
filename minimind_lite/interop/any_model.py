"""Open a model for scoring, whoever made it: our decoder reads what it can, transformers the rest.

A model is a folder, a MiniMind or llama2.c ``.pth`` file, a GGUF file, or one of these with an adapter: BASE+ADAPTER.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from minimind_lite.config import ConfigError
from minimind_lite.evaluation.harness import Candidate
from minimind_lite.evaluation.likelihood import Encoder, LanguageModel, OwnModel
from minimind_lite.files import read_json, sha256_of
from minimind_lite.interop.foreign import EncoderDecoder, ForeignModel, open_foreign
from minimind_lite.interop.gguf import GGUFFile, load_gguf
from minimind_lite.interop.minimind import import_minimind, load_minimind, tokenizer_beside
from minimind_lite.interop.sentencepieces import piece_tokenizer
from minimind_lite.model import lora
from minimind_lite.model.pretrained import (
    PretrainedError,
    config_from_hf,
    is_published,
    load_pretrained,
    save_pretrained,
)
from minimind_lite.tokenizer import Tokenizer

__all__ = [
    "EncoderDecoder", "ForeignModel", "ModelPath", "as_plain_folder", "candidate", "model_digest", "open_model",
    "parse_model",
]  # fmt: skip
OUR_CUTS = "deepseek-coder"  # how a GGUF file of ours says that its text is cut as ours is


@dataclass(frozen=True)
class ModelPath:
    """Where a model is, and the adapter that is put on it, if there is one."""

    base: Path
    adapter: Path | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.base.name + (f"+{self.adapter.name}" if self.adapter else "")

    def __str__(self) -> str:
        return str(self.base) + (f"+{self.adapter}" if self.adapter else "")


def parse_model(text: str | Path) -> ModelPath:
    """A path, or BASE+ADAPTER. An adapter by itself is put on the base that its adapter_config.json names.

    Raises PretrainedError for an adapter whose base is not known.
    """
    path = Path(text)
    if not path.exists() and "+" in str(text):
        base, _, adapter = str(text).rpartition("+")
        return ModelPath(Path(base), Path(adapter))
    if not (path / lora.CONFIG).is_file() or (path / "config.json").is_file():
        return ModelPath(path)
    stated = read_json(path / lora.CONFIG).get("base_model_name_or_path")
    if not isinstance(stated, str) or not Path(stated).exists():
        raise PretrainedError(f"{path} is an adapter: name the model that it was trained on too, as BASE+{path}")
    return ModelPath(Path(stated), path)


def model_digest(folder: Path, adapter: Path | None = None) -> str:
    """Hex SHA-256 over the files that make up a model. Raises PretrainedError if there are no safetensors weights."""
    if adapter is not None:
        together = f"{model_digest(folder)} {sha256_of(adapter / lora.CONFIG)} {sha256_of(adapter / lora.WEIGHTS)}"
        return hashlib.sha256(together.encode()).hexdigest()
    if folder.is_file():
        return sha256_of(folder)
    files = [
        path for path in sorted(folder.iterdir()) if path.suffix in (".safetensors", ".json", ".model", ".txt", ".py")
    ]
    if is_published(folder):
        files = sorted([*files, *folder.glob("pytorch_model*.bin")])  # opened as tensors alone
    elif not any(path.suffix == ".safetensors" for path in files):
        raise PretrainedError(f"{folder}: holds no .safetensors file; pickled weights are not opened: convert them")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def candidate(
    folder: Path,
    device: str = "cpu",
    start_always: bool | None = None,
    name: str = "",
    *,
    adapter: Path | None = None,
    run_code: bool = False,
) -> Candidate:
    """A model to score, loaded when needed: a folder, a MiniMind ``.pth`` file or a GGUF file, perhaps with an adapter.

    start_always, run_code: see ``open_model``. Raises PretrainedError for what is not there.
    """
    if not folder.is_dir() and not is_published(folder) and not _is_gguf(folder):
        raise PretrainedError(f"{folder}: there is no such folder; a model is a folder with config.json")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise PretrainedError(f"{folder / 'config.json'} does not exist: a model folder holds it beside its weights")
    for file in (adapter / lora.CONFIG, adapter / lora.WEIGHTS) if adapter else ():
        if not file.is_file():
            raise PretrainedError(f"{file} does not exist: an adapter's folder holds it")
    return Candidate(
        name or ModelPath(folder, adapter).name, model_digest(folder, adapter),
        lambda: open_model(folder, device, start_always, adapter=adapter, run_code=run_code),
    )  # fmt: skip


def _is_gguf(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".gguf"


def open_model(
    folder: Path,
    device: str = "cpu",
    start_always: bool | None = None,
    *,
    adapter: Path | None = None,
    run_code: bool = False,
) -> LanguageModel:
    """Our own decoder for what it and our tokenizer can read, transformers for any other model.

    folder: or a ``.pth`` file of MiniMind or baby-llama2-chinese, or a GGUF file.

    start_always: whether every text begins with the start token; None = as the model was trained, which is yes for ours
    and, as lm-eval has it, no for others. adapter: a LoRA adapter's folder. run_code: run the Python files that a
    folder brings for a class of its own; they can do anything that you can.
    Raises PretrainedError, LoRAError, GGUFError, or ModuleNotFoundError if a package is needed and not installed.
    """
    if is_published(folder):
        own = OwnModel(load_minimind(folder, device=device), _tokenizer_of(folder), start_always is not False)
    elif _is_gguf(folder):
        model, tokenizer = load_gguf(folder)
        ours = GGUFFile(folder).get("tokenizer.ggml.pre") == OUR_CUTS
        own = OwnModel(model.to(device), tokenizer, ours if start_always is None else start_always)
    else:
        try:
            config_from_hf(read_json(folder / "config.json"))
            encoder = Tokenizer.load(folder)
        except (ConfigError, FileNotFoundError, ValueError) as error:
            if adapter is not None:
                raise PretrainedError(
                    f"{folder}: our decoder does not read it ({error}), and adapters are put on what it reads: merge "
                    f"{adapter} into it with peft's merge_and_unload first"
                ) from error
            return open_foreign(folder, device, bool(start_always), str(error), run_code)
        own = OwnModel(load_pretrained(folder, device), encoder, start_always is not False)
    if adapter is not None:
        lora.load_adapter(own.model, adapter)
    own.model.eval()
    return own


def _tokenizer_of(path: Path) -> Encoder:
    """Of a published model: tokenizer.json, or else a sentencepiece file. Raises PretrainedError if there is none."""
    folder = path if path.is_dir() else path.parent
    if not (folder / "tokenizer.json").is_file() and (pieces := piece_tokenizer(folder)) is not None:
        return pieces
    return tokenizer_beside(path)


@contextmanager
def as_plain_folder(path: ModelPath) -> Iterator[Path]:
    """The model as a folder that transformers reads: itself, or one that is gone afterwards."""
    if path.adapter is None and path.base.is_dir() and not is_published(path.base):
        yield path.base
        return
    with TemporaryDirectory(prefix="minimind-") as made:
        if is_published(path.base):
            import_minimind(path.base, made)
        elif _is_gguf(path.base):
            save_pretrained(*load_gguf(path.base), made)
        if path.adapter is not None:
            base = path.base if path.base.is_dir() and not is_published(path.base) else Path(made)
            model, tokenizer = load_pretrained(base), Tokenizer.load(base)
            lora.load_adapter(model, path.adapter)
            save_pretrained(lora.merged(model), tokenizer, made)
        yield Path(made)
