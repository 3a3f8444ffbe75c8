"""Tokenizers that lie beside a model as a sentencepiece file (``tokenizer.model``), read for scoring.

baby-llama2-chinese has ChatGLM's, whose own class is code that would have to be run. A score needs no more of it than
its pieces and the two tokens that begin and end a text.
"""

from pathlib import Path
from typing import Any

from minimind_lite.model.pretrained import PretrainedError

FILE = "tokenizer.model"


class PieceTokenizer:
    """A sentencepiece model with the methods that scoring asks for, of ours and of transformers' tokenizers."""

    def __init__(self, file: Path) -> None:
        """Raises PretrainedError for a file that is no sentencepiece model; ModuleNotFoundError without the package."""
        from sentencepiece import SentencePieceProcessor

        self.name_or_path = str(file)
        try:
            self._pieces: Any = SentencePieceProcessor(model_file=str(file))
        except (OSError, RuntimeError) as error:
            raise PretrainedError(f"{file} is no sentencepiece model, or damaged ({error}); copy it again") from error

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins a text."""
        return self._known(self._pieces.bos_id())

    @property
    def eos_token_id(self) -> int | None:
        """The token that ends a text."""
        return self._known(self._pieces.eos_id())

    @property
    def end_of_text_id(self) -> int:
        """The same, for a model whose texts were separated by it. Raises PretrainedError if there is none."""
        if self.eos_token_id is None:
            raise PretrainedError(f"{self.name_or_path}: has no token that ends a text")
        return self.eos_token_id

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Token ids of a text, nothing added."""
        if add_special_tokens:
            raise ValueError("a sentencepiece file does not say which tokens are added to a text")
        ids: list[int] = self._pieces.encode(text)
        return ids

    @staticmethod
    def _known(token: int) -> int | None:
        return None if token < 0 else token


def piece_tokenizer(folder: Path) -> PieceTokenizer | None:
    """The tokenizer of a folder's ``tokenizer.model``, None if it has none."""
    return PieceTokenizer(folder / FILE) if (folder / FILE).is_file() else None
