"""A chat server as one writes it in an afternoon: FastAPI around transformers' `generate`, one request at a time.

    python benchmarks/subjects/one_at_a_time.py FOLDER PORT

It takes the same requests as `minimind serve` (as far as the benchmark asks them) and streams the same objects. While
one answer is written, every other request waits: `generate` knows one batch from its beginning to its end.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from starlette.responses import StreamingResponse
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation.streamers import BaseStreamer

UNFINISHED = "\ufffd"  # how a character looks whose bytes have not all come


class Pieces(BaseStreamer):
    """Hands on the text of every new token at once; transformers' own TextIteratorStreamer waits for the word's end."""

    def __init__(self, tokenizer: Any, hand_on: Any) -> None:
        self.tokenizer, self.hand_on = tokenizer, hand_on
        self.ids: list[int] | None = None  # None: the prompt is yet to come
        self.said = 0

    def put(self, value: torch.Tensor) -> None:
        """The prompt, then token by token."""
        if self.ids is None:
            self.ids = []
            return
        self.ids += value.reshape(-1).tolist()
        text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        if not text.endswith(UNFINISHED):
            self._hand_on(text)

    def end(self) -> None:
        """The rest, and that it was the last."""
        self._hand_on(self.tokenizer.decode(self.ids or [], skip_special_tokens=True))
        self.hand_on(None)

    def _hand_on(self, text: str) -> None:
        if len(text) > self.said:
            self.hand_on(text[self.said :])
            self.said = len(text)


class OneAtATime:
    """The route."""

    def __init__(self, folder: str) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.turn = asyncio.Lock()

    async def chat(self, body: dict[str, Any]) -> StreamingResponse:
        """Answer a conversation, as a stream."""
        return StreamingResponse(self._lines(body), media_type="text/event-stream")

    async def _lines(self, body: dict[str, Any]) -> AsyncIterator[str]:
        ids = self.tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True, return_dict=False)
        async with self.turn:
            arrived: asyncio.Queue[str | None] = asyncio.Queue()
            loop = asyncio.get_running_loop()
            pieces = Pieces(self.tokenizer, lambda piece: loop.call_soon_threadsafe(arrived.put_nowait, piece))
            work = asyncio.to_thread(self._generate, torch.tensor([ids]), body["max_tokens"], pieces)
            task = asyncio.create_task(work)
            while (piece := await arrived.get()) is not None:
                yield line({"content": piece}, None)
            await task
        yield line({}, "length")
        yield "data: [DONE]\n\n"

    @torch.inference_mode()
    def _generate(self, ids: torch.Tensor, new: int, pieces: Pieces) -> None:
        try:
            self.model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new, streamer=pieces,
                pad_token_id=self.tokenizer.pad_token_id,
            )  # fmt: skip
        except BaseException:
            pieces.hand_on(None)  # or the client would wait for ever
            raise


def line(delta: dict[str, Any], reason: str | None) -> str:
    """One event of a stream."""
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': choices})}\n\n"


def main() -> None:
    """Serve until a signal comes."""
    folder, port = sys.argv[1:]
    app = FastAPI()
    app.add_api_route("/v1/chat/completions", OneAtATime(folder).chat, methods=["POST"])
    uvicorn.run(app, host="127.0.0.1", port=int(port), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
