"""What a request may say. What is not here, or has another value than is supported, is refused by name, never ignored.

Source: OpenAI's API reference; ``top_k``, ``min_p``, ``repetition_penalty`` and ``chat_template_kwargs`` are named as
in vLLM, ``reasoning_content`` as in DeepSeek's API.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from minimind_lite.generation.sampling import SamplingConfig
from minimind_lite.tokenizer.chat_template import is_text

MOST_CHOICES = 16  # answers to one prompt
MOST_PROMPTS = 64  # of one request, and texts to embed
Penalty = Annotated[float, Field(ge=-2, le=2)]
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]


def unfit(param: str, words: str) -> PydanticCustomError:
    """The refusal of a field that does not go with the others."""
    return PydanticCustomError("unfit", "{words}", {"param": param, "words": words})


class Strict(BaseModel):
    """An object that takes the fields it names and no others, and converts nothing but whole numbers to floats."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TextPart(Strict):
    """A part of a message's content; images and sound are not supported."""

    type: Literal["text"]
    text: str


class CalledFunction(Strict):
    """A function and its arguments, a JSON object as text."""

    name: Annotated[str, Field(min_length=1)]
    arguments: str


class ToolCall(Strict):
    """A call that the assistant made earlier."""

    id: Annotated[str, Field(min_length=1)]
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Strict):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    reasoning_content: str | None = None  # an assistant's; given back, it is rendered as the model wrote it
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    tool_call_id: str | None = None
    refusal: None = None  # clients send back whole answers, with the fields that are null
    audio: None = None
    function_call: None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None

    @field_validator("content", mode="after")
    @classmethod
    def _whole_characters(cls, content: str | list[TextPart] | None) -> str | list[TextPart] | None:
        texts = [content] if isinstance(content, str) else [part.text for part in content or []]
        if not all(map(is_text, texts)):
            raise ValueError("the text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")
        return content

    @property
    def text(self) -> str:
        """The content as one text."""
        return "".join(part.text for part in self.content) if isinstance(self.content, list) else self.content or ""


class FunctionDefinition(Strict):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None  # a JSON schema; shown to the model, not enforced
    strict: Literal[False] | None = None


class Tool(Strict):
    """A tool; only functions are supported."""

    type: Literal["function"]
    function: FunctionDefinition


class ChosenName(Strict):
    """The name of a function that must be called."""

    name: str


class ToolChoice(Strict):
    """A function that must be called."""

    type: Literal["function"]
    function: ChosenName


class StreamOptions(Strict):
    """What a stream holds beyond the answer."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class ResponseFormat(Strict):
    """The form of an answer. json_object is enforced token by token; JSON schemas are not supported."""

    type: Literal["text", "json_object"]


class TemplateArguments(Strict):
    """Switches of the chat template."""

    enable_thinking: bool | None = None  # true opens a think block, false writes an empty one, null leaves it


class Generating(Strict):
    """What chats and completions have in common."""

    model: str
    max_tokens: Tokens | None = None  # null: as many as there is room for
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = None  # less would overflow in fp32
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None  # the caller's own name for a user: it never changes an answer

    @field_validator("stop", mode="after")
    @classmethod
    def _not_empty(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if "" in ([stop] if isinstance(stop, str) else stop or []):
            raise ValueError("a stop text is empty")
        return stop

    @field_validator("logit_bias", mode="after")
    @classmethod
    def _token_ids(cls, biases: dict[str, float] | None) -> dict[str, float] | None:
        if wrong := [key for key in biases or {} if not (key.isascii() and key.isdigit() and len(key) < 10)]:
            raise ValueError(f'its keys must be token ids, such as "42", not {wrong[0][:40]!r}')
        return biases

    @model_validator(mode="after")
    def _options_of_streams(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise unfit("stream_options", "stream_options is only for requests with stream: true")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop texts."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self) -> SamplingConfig:
        """How tokens are drawn; what the request leaves out is the API's default, the model's own distribution."""
        given = {
            name: getattr(self, name)
            for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
            if getattr(self, name) is not None
        }
        return SamplingConfig(**given)


class ChatRequest(Generating):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2048)]
    max_completion_tokens: Tokens | None = None  # the newer name of max_tokens
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(min_length=1, max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None  # false: the answer ends after its first call
    chat_template_kwargs: TemplateArguments | None = None
    reasoning_effort: Literal["none"] | None = None  # the same as enable_thinking: false; there are no degrees
    store: Literal[False] | None = None  # nothing is stored

    @property
    def thinking(self) -> bool | None:
        """Whether the answer begins with a think block: yes, no, or as the model likes."""
        if self.reasoning_effort == "none":
            return False
        return self.chat_template_kwargs.enable_thinking if self.chat_template_kwargs else None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if None not in (self.max_tokens, self.max_completion_tokens):
            raise unfit(
                "max_tokens", "max_tokens and max_completion_tokens are two names of one setting: give one of them"
            )
        if self.top_logprobs is not None and not self.logprobs:
            raise unfit("top_logprobs", "top_logprobs needs logprobs: true")
        if self.tool_choice not in (None, "none") and not self.tools:
            raise unfit("tool_choice", "tool_choice needs tools")
        if self.parallel_tool_calls is not None and not self.tools:
            raise unfit("parallel_tool_calls", "parallel_tool_calls needs tools")
        forced = self.tool_choice == "required" or isinstance(self.tool_choice, ToolChoice)
        json_only = self.response_format is not None and self.response_format.type == "json_object"
        if json_only and (self.thinking or (self.tools and self.tool_choice != "none")):
            raise unfit(
                "response_format", "response_format json_object leaves no room for thinking or tools: switch them off"
            )
        if forced and self.thinking:
            raise unfit("tool_choice", "tool_choice that forces a call leaves no room for thinking: switch that off")
        if len({tool.function.name for tool in self.tools or []}) < len(self.tools or []):
            raise unfit("tools", "tools holds two functions of one name")
        return self


class CompletionRequest(Generating):
    """The body of POST /v1/completions: a text to continue, or token ids, which may be control tokens."""

    prompt: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS)]
        | Annotated[list[int], Field(min_length=1)]
        | Annotated[list[list[int]], Field(min_length=1, max_length=MOST_PROMPTS)]
    )
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: None = None


class EmbeddingRequest(Strict):
    """The body of POST /v1/embeddings."""

    model: str
    input: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS)]
        | Annotated[list[int], Field(min_length=1)]
        | Annotated[list[list[int]], Field(min_length=1, max_length=MOST_PROMPTS)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: None = None
    user: str | None = None


class ErrorBody(BaseModel):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorBody
