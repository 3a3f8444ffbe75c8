"""What other programs read about our tokenizer: `tokenizer_config.json`, with ChatML written as Jinja."""

import json
from typing import Any

from minimind_lite.tokenizer.chat_template import END_OF_TEXT, TOOLS_INTRODUCTION, TURN_END, TURN_START


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
    """The same layout as Jinja for `tokenizer_config.json`; `{% generation %}` marks the training targets.

    It takes ``messages``, ``add_generation_prompt`` and ``enable_thinking`` (our ``thinking``). Jinja cannot parse
    JSON: ``tools`` and ``tool_calls`` must be lists here.
    """
    system = (
        "{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\n' + "
        + json.dumps(default_system, ensure_ascii=False)
        + " + '<|im_end|>\\n' }}{% endif %}"
    )
    return (system if default_system is not None else "") + _JINJA.replace(
        "TOOLS_INTRODUCTION", json.dumps("\n\n" + TOOLS_INTRODUCTION)
    )


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
        {%- if message.tools %}
            {{- TOOLS_INTRODUCTION }}
            {%- for tool in message.tools %}{{- (tool | tojson) + '\\n' }}{%- endfor %}
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
