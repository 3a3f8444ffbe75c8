"""A chat in the terminal with a model from a folder: streamed answers, a history that fits the context, three commands.

It reads lines and writes text, so it also works in a pipe: ``printf 'hello\\n/quit\\n' | minimind chat DIR``.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from minimind_lite.files import as_utf8
from minimind_lite.generation.engine import stream
from minimind_lite.generation.laid_out import Quantize, stepper
from minimind_lite.generation.sampling import GenerationError, SamplingConfig
from minimind_lite.model.lora import load_adapter
from minimind_lite.model.pretrained import instead_of_model, load_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Message, Tokenizer

NEEDED = ("config.json", "tokenizer.json")  # and the weights, which load_pretrained looks for
HELP = "Type a message. /reset forgets the conversation, /help shows this line, /quit (or Ctrl-D) leaves."
CHAT_SAMPLING = SamplingConfig(temperature=0.7, top_p=0.9)


class ChatError(ValueError):
    """A chat that cannot start; the message says what is missing and what to do."""


def load_chat_folder(
    folder: str | Path, device: str = "cpu", adapter: str | Path | None = None
) -> tuple[Transformer, Tokenizer]:
    """The model and tokenizer in a folder, with a LoRA adapter from its own folder if one is given.

    Raises ChatError (or PretrainedError, LoRAError) when something is missing, broken, or does not fit.
    """
    folder = Path(folder)
    if there := instead_of_model(folder):
        raise ChatError(there)
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise ChatError(
            f"{folder} is not a complete model: it lacks {', '.join(missing)}; finish the chapter or the training "
            "that writes it, or copy the file there"
        )
    model = load_pretrained(folder, device=device)
    if adapter is not None:
        load_adapter(model, adapter)
    return model, Tokenizer.load(folder)


def fit_history(tokenizer: Tokenizer, messages: list[Message], room: int, thinking: bool | None = None) -> list[int]:
    """The prompt for the next answer, at most ``room`` tokens: keeps a system turn and the latest turns.

    Removes what no longer fits from ``messages`` in place, a question with its answer. Raises GenerationError when the
    last message alone is too long.
    """
    first = 1 if messages and messages[0]["role"] == "system" else 0
    while True:
        prompt = tokenizer.render(messages, add_generation_prompt=True, thinking=thinking).ids
        if len(prompt) <= room:
            return prompt
        if len(messages) - first <= 1:
            raise GenerationError(f"the message is {len(prompt)} tokens long and there is room for {room}: shorten it")
        del messages[first : first + 2]


@dataclass
class Chat:
    """One conversation in a terminal: the model and its settings, where the text goes, and what was said so far.

    messages may hold an earlier conversation, which is continued; ``system`` then goes before it if it has no system
    turn of its own.
    """

    model: Transformer
    tokenizer: Tokenizer
    target: TextIO
    system: str | None = None
    sampling: SamplingConfig = CHAT_SAMPLING
    max_new_tokens: int = 256
    thinking: bool | None = None
    messages: list[Message] = field(default_factory=list)
    quantize: Quantize | None = None  # "int8" answers faster, a little less exactly

    def __post_init__(self) -> None:
        # At most half of the context goes to an answer; the rest is for what was said before.
        self.context = self.model.config.max_position_embeddings
        self.max_new_tokens = min(self.max_new_tokens, self.context // 2)
        if not self.messages:
            self.reset()
        elif self.system and self.messages[0]["role"] != "system":
            self.messages = [{"role": "system", "content": self.system}, *self.messages]

    def reset(self) -> None:
        """Forget everything but the system turn."""
        self.messages = [{"role": "system", "content": self.system}] if self.system else []

    def hear(self, line: str) -> bool:
        """Obey a command or answer a message; False when the chat is over."""
        if line == "/reset":
            self.reset()
            print("(the conversation is forgotten)", file=self.target)
        elif line == "/help":
            print(HELP, file=self.target)
        elif line != "/quit":
            self.answer(line)
        return line != "/quit"

    def answer(self, message: str) -> None:
        """Stream the answer to ``message``; Ctrl-C ends it early and keeps what was said."""
        said = ""
        self.messages.append({"role": "user", "content": message})
        try:
            prompt = fit_history(self.tokenizer, self.messages, self.context - self.max_new_tokens, self.thinking)
            pieces = stream(
                self.model, self.tokenizer, prompt, max_new_tokens=self.max_new_tokens, sampling=self.sampling,
                quantize=self.quantize,
            )  # fmt: skip
            for piece in pieces:
                said += piece
                print(piece, end="", flush=True, file=self.target)
        except GenerationError as error:
            print(f"({error})", end="", file=self.target)
        except KeyboardInterrupt:
            print(" …", end="", file=self.target)
        print(file=self.target)
        if said:
            self.messages.append({"role": "assistant", "content": said})
        else:
            self.messages.pop()


def run_chat(
    folder: str | Path,
    *,
    device: str = "cpu",
    adapter: str | Path | None = None,
    source: TextIO | None = None,
    target: TextIO | None = None,
    system: str | None = None,
    sampling: SamplingConfig = CHAT_SAMPLING,
    max_new_tokens: int = 256,
    thinking: bool | None = None,
    quantize: Quantize | None = None,
) -> None:
    """Chat until /quit or the end of ``source`` (else the keyboard), writing to ``target`` (else the screen)."""
    target = target or as_utf8(sys.stdout)
    source = source or as_utf8(sys.stdin)
    model, tokenizer = load_chat_folder(folder, device, adapter)
    if quantize is not None:
        stepper(model.eval(), quantize)  # what cannot be quantized is said now, not in the middle of a conversation
    chat = Chat(model, tokenizer, target, system, sampling, max_new_tokens, thinking, quantize=quantize)
    prompting = source.isatty()
    if prompting:
        print(HELP, file=target)
    for line in _lines(source, target, prompting):
        if not chat.hear(line):
            return


def _lines(source: TextIO, target: TextIO, prompting: bool) -> Iterator[str]:
    """Lines that are not blank, stripped; ``prompting`` writes "> " before each for a person who types."""
    while True:
        if prompting:
            print("> ", end="", flush=True, file=target)
        try:
            line = source.readline()
        except KeyboardInterrupt:
            line = ""
        if not line:
            return
        if line.strip():
            yield line.strip()
