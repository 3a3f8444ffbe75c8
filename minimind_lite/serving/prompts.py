"""From a request's body to requests for the engine: the prompt's tokens, how to draw, what to forbid or force."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from minimind_lite.files import UnreadableFile, parse_json
from minimind_lite.generation.adjust import Adjust, AnswerPenalties, Bias, chained
from minimind_lite.generation.constrained import JSON_OBJECT, Constraint, Grammar, Token
from minimind_lite.generation.continuous import Request
from minimind_lite.generation.sampling import GenerationError
from minimind_lite.serving.answers import Reader
from minimind_lite.serving.errors import ApiError, encoded
from minimind_lite.serving.models import ServedModel
from minimind_lite.serving.schemas import ChatMessage, ChatRequest, CompletionRequest, Generating, ToolChoice
from minimind_lite.tokenizer import Message, Tokenizer
from minimind_lite.tokenizer.chat_template import is_text

TextInput = str | list[str] | list[int] | list[list[int]]


@dataclass
class Prompt:
    """What one request asks of the engine."""

    ids: list[list[int]]  # each prompt once, however many answers to it are wanted
    requests: list[Request]
    reader: Callable[[Tokenizer], Reader]  # makes what reads one answer
    logprobs: bool = False


def chat_prompt(body: ChatRequest, model: ServedModel) -> Prompt:
    """A conversation in the chat template. Raises ApiError."""
    tokenizer, called = model.tokenizer, body.tool_choice != "none"
    tools = [tool.model_dump(exclude_none=True) for tool in body.tools or []] if called else []
    _check_tags(tokenizer, bool(tools), body.thinking)
    messages = [_message(message, index, body.messages) for index, message in enumerate(body.messages)]
    try:
        rendered = tokenizer.render(messages, add_generation_prompt=True, thinking=body.thinking, tools=tools or None)
    except ValueError as error:
        raise ApiError(400, str(error), "invalid_value", "messages") from error
    ends = None
    if tools and body.parallel_tool_calls is False:  # the first call ends the answer
        ends = [tokenizer.eos_id, tokenizer.end_of_text_id, _id(tokenizer, "</tool_call>")]
    name = "max_completion_tokens" if body.max_completion_tokens else "max_tokens"
    tokens = _new_tokens(model, rendered.ids, body.max_completion_tokens or body.max_tokens, name, "messages")
    sampling, candidates = body.sampling(), (body.top_logprobs or 0) if body.logprobs else None
    requests = [
        Request(rendered.ids, tokens, sampling, row, body.stops, ends, _chat_adjust(body, model), candidates)
        for row in range(body.n or 1)
    ]
    functions = frozenset(tool["function"]["name"] for tool in tools)
    stops, thinking = body.stops, bool(body.thinking)
    return Prompt([rendered.ids], requests, lambda one: Reader(one, stops, functions, thinking=thinking),
                  bool(body.logprobs))  # fmt: skip


def completion_prompts(body: CompletionRequest, model: ServedModel) -> Prompt:
    """Texts or token ids to continue as they are. Raises ApiError."""
    prompts = text_ids(body.prompt, model, "prompt")
    requests = [
        Request(ids, _new_tokens(model, ids, body.max_tokens, "max_tokens", "prompt"), body.sampling(), row,
                body.stops, None, chained(_common_adjust(body, model)), body.logprobs)
        for ids in prompts
        for row in range(body.n or 1)
    ]  # fmt: skip
    stops = body.stops
    return Prompt(prompts, requests, lambda one: Reader(one, stops, tags=False), body.logprobs is not None)


def text_ids(given: TextInput, model: ServedModel, param: str) -> list[list[int]]:
    """The token ids of a text, several texts, or ids: at least one each, and no more than a slot holds."""
    alone = isinstance(given, str) or isinstance(given[0], int)  # one text, or the ids of one
    listed = cast(list[str | list[int]], [given] if alone else given)
    found = []
    for index, one in enumerate(listed):
        if isinstance(one, str):
            if not is_text(one):
                raise ApiError(
                    400, f"{param} holds half of a surrogate pair, which is no character", "invalid_value", param
                )
            one = model.tokenizer.encode(one) or [model.tokenizer.bos_id]
        elif not one or not 0 <= min(one) <= max(one) < model.tokenizer.vocab_size:
            most = model.tokenizer.vocab_size - 1
            raise ApiError(400, f"{param}: token ids must be 0..{most}, one at least", "invalid_value", param)
        if len(one) > model.engine.max_length:
            where = f"{param}[{index}]" if len(listed) > 1 else param
            raise _too_long(len(one), model, where)
        found.append(one)
    return found


def _new_tokens(model: ServedModel, ids: Sequence[int], wanted: int | None, name: str, param: str) -> int:
    """How many tokens the answer may have. Raises ApiError if the prompt leaves too few."""
    room = model.engine.max_length - len(ids)
    if room < 1:
        raise _too_long(len(ids), model, param)
    if wanted is not None and wanted > room:
        raise ApiError(
            400, f"the prompt has {len(ids)} tokens and {name} is {wanted}; together they must be at most "
            f"{model.engine.max_length}, this model's context here", "context_length_exceeded", name,
        )  # fmt: skip
    return wanted or room


def _too_long(tokens: int, model: ServedModel, param: str) -> ApiError:
    most = model.engine.max_length
    words = f"{param} has {tokens} tokens; this model's context here is {most}, the answer included: shorten it"
    return ApiError(400, words, "context_length_exceeded", param)


def _id(tokenizer: Tokenizer, tag: str) -> int:
    """The id of a tag that `_check_tags` found."""
    token = tokenizer.control_id(tag)
    assert token is not None  # noqa: S101
    return token


def _check_tags(tokenizer: Tokenizer, tools: bool, thinking: bool | None) -> None:
    """Refuse what the model has no tokens for: its text could not be told from what a user typed."""
    for wanted, param, tags in (
        (tools, "tools", ("<tool_call>", "</tool_call>")),
        (thinking is not None, "chat_template_kwargs.enable_thinking", ("<think>", "</think>")),
    ):
        missing = [tag for tag in tags if tokenizer.control_id(tag) is None]
        if wanted and missing:
            raise ApiError(400, f"{param}: this model has no token {missing[0]}", "unsupported_parameter", param)


def _message(message: ChatMessage, index: int, messages: Sequence[ChatMessage]) -> Message:
    """One message as the chat template takes it. Raises ApiError, naming what is wrong."""
    place = f"messages[{index}]"
    role = "system" if message.role == "developer" else message.role
    if message.content is None and not (role == "assistant" and message.tool_calls):
        raise ApiError(400, f"{place}.content is missing", "invalid_value", f"{place}.content")
    only = {"tool_calls": "assistant", "reasoning_content": "assistant", "tool_call_id": "tool"}
    for field, owner in only.items():
        if getattr(message, field) is not None and role != owner:
            raise ApiError(400, f"{place}: only the role {owner} has {field}", "invalid_value", f"{place}.{field}")
    if role == "tool":
        calls = (call for earlier in messages[:index] for call in earlier.tool_calls or [])
        if message.tool_call_id not in {call.id for call in calls}:
            words = f"{place}.tool_call_id must be the id of a call in an earlier message"
            raise ApiError(400, words, "invalid_value", f"{place}.tool_call_id")
    made: Message = {"role": role, "content": message.text}
    if message.reasoning_content:
        made["reasoning_content"] = message.reasoning_content
    if message.tool_calls:
        made["tool_calls"] = [call.model_dump() for call in message.tool_calls]
        for number, call in enumerate(message.tool_calls):
            _check_arguments(call.function.arguments, f"{place}.tool_calls[{number}].function.arguments")
    return made


def _check_arguments(text: str, place: str) -> None:
    try:
        value = parse_json(text, "it")
    except UnreadableFile as error:
        raise ApiError(400, f"{place}: {error}", "invalid_value", place) from None
    if not isinstance(value, dict):
        raise ApiError(400, f"{place} must be a JSON object, as text", "invalid_value", place)


def _common_adjust(body: Generating, model: ServedModel) -> list[Adjust]:
    """What any request may do to its logits."""
    steps: list[Adjust] = []
    if body.logit_bias:
        biases = {int(token): value for token, value in body.logit_bias.items()}
        if max(biases) >= model.tokenizer.vocab_size:
            words = f"logit_bias: there is no token {max(biases)}; ids end at {model.tokenizer.vocab_size - 1}"
            raise ApiError(400, words, "invalid_value", "logit_bias")
        steps.append(Bias(biases))
    if body.frequency_penalty or body.presence_penalty:
        steps.append(AnswerPenalties(body.frequency_penalty or 0, body.presence_penalty or 0))
    return steps


def _chat_adjust(body: ChatRequest, model: ServedModel) -> Adjust | None:
    """A new adjustment for one answer: forms are kept up token by token."""
    steps, grammar = _common_adjust(body, model), None
    if body.response_format is not None and body.response_format.type == "json_object":
        grammar = JSON_OBJECT
    elif body.tools and body.tool_choice == "none":
        call = model.tokenizer.control_id("<tool_call>")
        steps += [] if call is None else [Bias({call: -math.inf})]
    elif body.tools and (body.tool_choice == "required" or isinstance(body.tool_choice, ToolChoice)):
        grammar = _forced_call(body, model.tokenizer)
    if grammar is not None:
        try:
            steps.append(Constraint(model.vocabulary, grammar))
        except GenerationError as error:
            raise ApiError(400, str(error), "unsupported_parameter", "response_format") from error
    return chained(steps)


def _forced_call(body: ChatRequest, tokenizer: Tokenizer) -> Grammar:
    """One call, as the chat template writes it, of the function that was chosen, or of any."""
    names = [tool.function.name for tool in body.tools or []]
    if isinstance(body.tool_choice, ToolChoice):
        chosen = body.tool_choice.function.name
        if chosen not in names:
            raise ApiError(400, f"tool_choice: tools has no function {chosen[:80]!r}", "invalid_value", "tool_choice")
        names = [chosen]
    openings = tuple(b'\n{"name": ' + encoded(name) + b', "arguments": ' for name in names)
    opened, closed = (Token(_id(tokenizer, tag)) for tag in ("<tool_call>", "</tool_call>"))
    return Grammar([opened, openings, "json", (b"}\n",), closed])
