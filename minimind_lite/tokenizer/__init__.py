"""Text to token ids and back, and conversations to ids with a loss mask (chapter 01)."""

from minimind_lite.tokenizer.byte_bpe import MAX_TOKEN_BYTES, SPLITS
from minimind_lite.tokenizer.chat_template import SPECIAL_TOKENS, Message, jinja_template
from minimind_lite.tokenizer.tokenizer import Rendered, Tokenizer

__all__ = ["MAX_TOKEN_BYTES", "SPECIAL_TOKENS", "SPLITS", "Message", "Rendered", "Tokenizer", "jinja_template"]
