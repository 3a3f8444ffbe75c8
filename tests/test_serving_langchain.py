"""A second client that other people wrote: LangChain's ChatOpenAI, asked for a text, a stream, a call and a refusal."""

import asyncio
from typing import Any

import pytest
from serving_kit import running, said, scripted, served, solo, tag

pytest.importorskip("fastapi", reason="needs the extra serve")
langchain = pytest.importorskip("langchain_openai", reason="needs the group proofs")
openai = pytest.importorskip("openai")

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage  # noqa: E402

MODEL = served()
CALL = '\n{"name": "look", "arguments": {"at": "湖"}}\n'


def look(at: str) -> str:
    """Look at something."""
    return at


def client(server: Any, **options: Any) -> Any:
    given = {"temperature": 0, "max_tokens": 20, "max_retries": 0} | options
    return langchain.ChatOpenAI(base_url=f"{server.address}/v1", api_key="unused", model="tiny", **given)


def test_a_text_whole_streamed_and_asynchronous() -> None:
    wanted = solo(MODEL, said("hello"), 20)
    with running(MODEL) as server:
        chat = client(server)
        whole = chat.invoke([HumanMessage("hello")])
        assert whole.content == wanted.text and whole.usage_metadata["output_tokens"] == len(wanted.ids)
        pieces = list(chat.stream("hello"))
        assert len(pieces) > 2 and "".join(piece.content for piece in pieces) == wanted.text
        assert asyncio.run(chat.ainvoke("hello")).content == wanted.text
        assert [answer.content for answer in chat.batch(["hello", "hello"])] == [wanted.text] * 2


def test_a_conversation_with_its_system_turn_goes_in() -> None:
    with running(MODEL) as server:
        messages = [SystemMessage("Be brief."), HumanMessage("a"), AIMessage("b"), HumanMessage("c")]
        roles = [("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("user", "c")]
        wanted = solo(MODEL, [{"role": role, "content": content} for role, content in roles], 20)
        assert client(server).invoke(messages).content == wanted.text


def test_a_call_and_its_result() -> None:
    with running(scripted("I look.", tag("<tool_call>"), CALL, tag("</tool_call>"))) as server:
        chat = client(server, max_tokens=60).bind_tools([look])
        question = HumanMessage("look")
        answer = chat.invoke([question])
        assert answer.content == "I look."
        assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("look", {"at": "湖"})]
        result = ToolMessage("a lake", tool_call_id=answer.tool_calls[0]["id"])
        again = chat.invoke([question, answer, result])
        assert again.usage_metadata["input_tokens"] > answer.usage_metadata["input_tokens"]


def test_probabilities_and_refusals() -> None:
    with running(MODEL) as server:
        likely = client(server, logprobs=True, top_logprobs=2).invoke("hello").response_metadata["logprobs"]["content"]
        assert likely and all(len(entry["top_logprobs"]) == 2 for entry in likely)
        with pytest.raises(openai.BadRequestError, match="service_tier is not supported"):
            client(server, service_tier="flex").invoke("hello")
