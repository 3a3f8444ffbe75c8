"""ChatML: how a conversation becomes one stream of tokens, and which of them are training targets.

    <|im_start|>user\\n湖南的简称是什么？<|im_end|>\\n<|im_start|>assistant\\n湘<|im_end|>\\n
                                                                     └ targets ┘

One layout, written twice: as `Piece`s, which the library encodes, and as Jinja, which transformers, vLLM and others
read from `tokenizer_config.json`. The tests keep the two in step. They differ only where content contains the text of
a control token: Jinja makes one string and parses it, so a user can type `<|im_end|>` and close a turn; here only the
template writes control tokens, and content stays text.

One exception, for training data: in an *assistant's* content the tags below become tokens, because reasoning data
(`<think>…</think><answer>…</answer>`) carries them as text. ChatML's own tokens never do.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from minimind_lite.files import parse_json

Message = dict[str, Any]  # "role", "content"; optional "tools" (system), "reasoning_content", "tool_calls" (assistant)

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
ASSISTANT_TAGS = ("<think>", "</think>", "<answer>", "</answer>", "<tool_call>", "</tool_call>")
TAGS = (*ASSISTANT_TAGS, "<tool_response>", "</tool_response>")
SPARE = tuple(f"<|spare_{i}|>" for i in range(8))  # embedding rows reserved for tokens that a later stage adds
SPECIAL_TOKENS: tuple[str, ...] = (END_OF_TEXT, TURN_START, TURN_END, *TAGS, *SPARE)  # their ids are 0, 1, 2, …
ROLES = ("system", "user", "assistant", "tool")

TOOLS_INTRODUCTION = "# Tools\nThe functions you may call, one JSON object a line:\n"
_TAG = re.compile("(" + "|".join(map(re.escape, ASSISTANT_TAGS)) + ")")


class Piece(NamedTuple):
    """One span of a rendered conversation."""

    text: str
    control: bool = False  # one control token or tag; otherwise plain text that is never parsed
    trained: bool = False  # a training target


def conversation_pieces(
    messages: Sequence[Message],
    add_generation_prompt: bool = False,
    thinking: bool | None = None,
    continue_final_message: bool = False,
    default_system: str | None = None,
    tools: Sequence[Mapping[str, Any]] | str | None = None,
) -> list[Piece]:
    """The conversation as pieces, in order; `Tokenizer.render` explains the arguments. Raises ValueError."""
    messages = _with_system(messages, default_system)
    pieces: list[Piece] = []
    if tools:
        messages = _with_tools(messages, tools)
    for index, message in enumerate(messages):
        pieces += _turn(message, index)
    if continue_final_message:
        if add_generation_prompt or messages[-1]["role"] != "assistant":
            raise ValueError("continue_final_message needs an assistant's message at the end and no generation prompt")
        del pieces[-2:]  # the end of the turn and its newline
    return pieces + (_prompt(thinking) if add_generation_prompt else [])


def _with_system(messages: Sequence[Message], default_system: str | None) -> Sequence[Message]:
    """``messages``, checked, and the default system turn before them if they have none of their own."""
    if not messages:
        raise ValueError("the conversation is empty: it needs at least one message")
    for index, message in enumerate(messages):
        _check(message, index)
    if default_system is not None and messages[0]["role"] != "system":
        return [{"role": "system", "content": default_system}, *messages]
    return messages


def messages_and_tools(
    messages: Sequence[Message],
    default_system: str | None = None,
    tools: Sequence[Mapping[str, Any]] | str | None = None,
) -> tuple[list[Message], list[dict[str, Any]]]:
    """The conversation as templates of others take it: lists where our files may hold JSON, and the tools apart.

    Raises ValueError as ``conversation_pieces`` does.
    """
    messages = _with_system(messages, default_system)
    if tools:
        messages = _with_tools(messages, tools)
    plain: list[Message] = []
    for index, message in enumerate(messages):
        made: Message = {"role": message["role"], "content": message.get("content") or ""}
        if isinstance(message.get("reasoning_content"), str):
            made["reasoning_content"] = message["reasoning_content"]
        if calls := _parsed(message, "tool_calls", index):
            made["tool_calls"] = calls
        plain.append(made)
    return plain, _parsed(messages[0], "tools", 0)


def _with_tools(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | str) -> list[Message]:
    """``messages`` with the tools on their system turn, which is made if there is none."""
    first = messages[0]
    if first["role"] != "system":
        return [{"role": "system", "content": "", "tools": tools}, *messages]
    if first.get("tools"):
        raise ValueError("tools are given twice: as an argument and in the system turn")
    return [{**first, "tools": tools}, *messages[1:]]


def check_renderable(messages: Sequence[Message]) -> None:
    """Try whatever rendering and encoding can refuse, while the caller still knows where the conversation came from.

    Raises ValueError, naming the message: a wrong role or type, unreadable tools or calls, half of a surrogate pair.
    """
    if is_text("".join(piece.text for piece in conversation_pieces(messages))):
        return
    for broken, message in enumerate(messages):
        if is_text("".join(piece.text for piece in _turn(message, broken))):
            continue
        raise ValueError(f"message {broken} holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")


def is_text(text: str) -> bool:
    """Whether every character can be written as UTF-8: JSON's ``\\ud800`` alone cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _prompt(thinking: bool | None) -> list[Piece]:
    """The start of an assistant's turn, for the model to continue."""
    pieces = [Piece(TURN_START, control=True), Piece("assistant\n")]
    if thinking is not None:
        pieces += [Piece("<think>", control=True), Piece("\n" if thinking else "\n\n")]
    if thinking is False:
        pieces += [Piece("</think>", control=True), Piece("\n\n")]
    return pieces


def _turn(message: Message, index: int) -> Iterator[Piece]:
    """One turn, from its start token to the newline after its end token."""
    role, content = message["role"], message.get("content") or ""
    trained = role == "assistant"
    yield Piece(TURN_START, control=True)
    yield Piece(f"{role}\n")
    if role == "assistant":
        if message.get("reasoning_content") == "":  # thinking was switched off: the block is given, not learned
            yield from _prompt(thinking=False)[2:]
        for piece in _assistant(content, message, index):
            yield piece._replace(trained=True)
    elif role == "tool":
        yield Piece("<tool_response>", control=True)
        yield Piece(f"\n{content}\n")
        yield Piece("</tool_response>", control=True)
    else:
        yield Piece(content + _tools_text(message, index))
    yield Piece(TURN_END, control=True, trained=trained)  # learned too: it is how the model says "I have finished"
    yield Piece("\n")


def _assistant(content: str, message: Message, index: int) -> Iterator[Piece]:
    """What an assistant says: its reasoning, its answer, its tool calls."""
    if message.get("reasoning_content"):
        yield Piece("<think>", control=True)
        yield Piece(f"\n{message['reasoning_content']}\n")
        yield Piece("</think>", control=True)
        yield Piece("\n\n")
    for part in filter(None, _TAG.split(content)):
        yield Piece(part, control=part in ASSISTANT_TAGS)
    for call in _parsed(message, "tool_calls", index):
        call = call.get("function", call)
        arguments = call["arguments"] if isinstance(call["arguments"], str) else _json(call["arguments"])
        yield Piece("<tool_call>", control=True)
        yield Piece(f'\n{{"name": {_json(call["name"])}, "arguments": {arguments}}}\n')
        yield Piece("</tool_call>", control=True)


def _tools_text(message: Message, index: int) -> str:
    tools = _parsed(message, "tools", index)
    return "\n\n" + TOOLS_INTRODUCTION + "".join(f"{_json(tool)}\n" for tool in tools) if tools else ""


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _check(message: object, index: int) -> None:
    """Reject a message that cannot be rendered, naming its place."""
    if not isinstance(message, Mapping):
        raise ValueError(f"message {index} is {type(message).__name__}; it must be an object with role and content")
    role = message.get("role")
    if role not in ROLES:
        raise ValueError(f"message {index} has the role {role!r}; the roles are {', '.join(ROLES)}")
    for field in ("content", "reasoning_content"):
        value = message.get(field)
        optional = field == "reasoning_content" or (role == "assistant" and message.get("tool_calls"))
        if not isinstance(value, str) and not (value is None and optional):
            raise ValueError(f"message {index} ({role}): {field} must be text, not {type(value).__name__}")


def _parsed(message: Message, field: str, index: int) -> list[dict[str, Any]]:
    """The list in ``field``, which MiniMind v3's files store as a JSON string."""
    value = message.get(field) or []
    try:
        value = parse_json(value, "its text") if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise ValueError("it must be a list of objects")
        if field == "tool_calls":
            for call in value:
                _check_call(call)
    except ValueError as error:
        raise ValueError(f"message {index} ({message['role']}): cannot read {field}: {error}") from error
    return value


def _check_call(call: dict[str, Any]) -> None:
    """Reject a tool call without a name or arguments."""
    function = call.get("function", call)
    if not isinstance(function, Mapping):
        raise ValueError(f"a call's function must be an object, not {type(function).__name__}")
    for name in ("name", "arguments"):
        if name not in function:
            raise ValueError(f"a call lacks {name!r}")
    if not isinstance(function["name"], str):
        raise ValueError(f"a call's name must be text, not {type(function['name']).__name__}")


def tokenizer_config(default_system: str | None) -> dict[str, Any]:
    """The content of `tokenizer_config.json`, for transformers' AutoTokenizer."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": TURN_START,
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "model_max_length": 32768,
        "clean_up_tokenization_spaces": False,
        "chat_template": jinja_template(default_system),
    }
    return config if default_system is None else config | {"default_system": default_system}


def jinja_template(default_system: str | None = None) -> str:
    """The same layout as a Jinja template for `tokenizer_config.json`; `{% generation %}` marks the training targets.

    It takes ``messages``, ``add_generation_prompt``, ``enable_thinking`` (our ``thinking``) and ``tools``, which are
    written as if the system turn held them; without a system turn one is made. Tools in both places, and
    ``documents``, raise an exception. Jinja cannot parse JSON: ``tools`` and ``tool_calls`` must be lists here.
    """
    system = "" if default_system is None else json.dumps(default_system, ensure_ascii=False)
    when = "tools" if default_system is None else "true"
    opening = _JINJA_OPENING.replace("WHEN", when).replace("DEFAULT_SYSTEM", system or "''")
    return (opening + _JINJA).replace("TOOLS_INTRODUCTION", json.dumps("\n\n" + TOOLS_INTRODUCTION))


_JINJA_OPENING = """\
{%- if documents %}
    {{- raise_exception('this model has no place for documents: put their text into a message') }}
{%- endif %}
{%- if tools and messages[0].role == 'system' and messages[0].tools %}
    {{- raise_exception('tools are given twice: as an argument and in the system turn') }}
{%- endif %}
{%- if WHEN and messages[0].role != 'system' %}
    {{- '<|im_start|>system\\n' + DEFAULT_SYSTEM }}
    {%- if tools %}
        {{- TOOLS_INTRODUCTION }}
        {%- for tool in tools %}{{- (tool | tojson) + '\\n' }}{%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
"""

_JINJA = """\
{%- for message in messages %}
    {%- if message.role not in ['system', 'user', 'assistant', 'tool'] %}
        {{- raise_exception('unknown role: ' + message.role) }}
    {%- endif %}
    {%- set content = message.content or '' %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' %}
        {%- if message.reasoning_content is defined and message.reasoning_content == '' %}
            {{- '<think>\\n\\n</think>\\n\\n' }}
        {%- endif %}
        {%- generation %}
        {%- if message.reasoning_content %}
            {{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- content }}
        {%- for call in message.tool_calls or [] %}
            {%- set call = call.function or call %}
            {{- '<tool_call>\\n{"name": ' + (call.name | tojson) + ', "arguments": ' }}
            {{- call.arguments if call.arguments is string else (call.arguments | tojson) }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>' }}
        {%- endgeneration %}
    {%- elif message.role == 'tool' %}
        {{- '<tool_response>\\n' + content + '\\n</tool_response><|im_end|>' }}
    {%- else %}
        {{- content }}
        {%- set listed = tools if tools and loop.first and message.role == 'system' else message.tools %}
        {%- if listed %}
            {{- TOOLS_INTRODUCTION }}
            {%- for tool in listed %}{{- (tool | tojson) + '\\n' }}{%- endfor %}
        {%- endif %}
        {{- '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is not none %}
        {{- '<think>\\n' if enable_thinking else '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

OWN_TEMPLATE = jinja_template()  # made once: every folder's template is compared with it
