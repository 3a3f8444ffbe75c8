"""The left side of the page: language, models, how words are drawn, tools, and the conversation as a file."""

import json
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import openai
import streamlit as st
from pydantic import TypeAdapter, ValidationError

from minimind_lite.generation.sampling import SamplingConfig
from minimind_lite.serving.page.client import Drawing, Endpoint, in_words
from minimind_lite.serving.page.lanes import Asking, Lane
from minimind_lite.serving.page.options import PageOptions
from minimind_lite.serving.page.pieces import controls_html, visible
from minimind_lite.serving.page.words import LANGUAGES, Words, words_of
from minimind_lite.serving.schemas import Tool

View = Literal["text", "markdown", "tokens"]
EXAMPLE_TOOL = {
    "type": "function",
    "function": {
        "name": "weekday",
        "description": "Weekday of a date",
        "parameters": {"type": "object", "properties": {"date": {"type": "string"}}},
    },
}
_TOOLS = TypeAdapter(list[Tool])


@dataclass(frozen=True)
class Choices:
    """What a visitor has set."""

    words: Words
    models: tuple[tuple[Endpoint, str], ...]  # one, or two side by side; none where no server answers
    asking: Asking
    view: View


def show_language(options: PageOptions) -> Words:
    """The choice of the language, which everything else is written in."""
    language = st.sidebar.radio(
        "Language · 语言", list(LANGUAGES), list(LANGUAGES).index(options.language), LANGUAGES.__getitem__,
        key="language", horizontal=True,
    )  # fmt: skip
    return words_of(language)


def show_sidebar(options: PageOptions, words: Words) -> Choices:
    """Everything that can be set."""
    with st.sidebar:
        models = _models(options, words)
        view = _view(words)
        system = st.text_area(
            words("System turn"), key="system", height=68,
            help=words("What the model is told before the conversation: who it is, how it should answer."),
        )  # fmt: skip
        with st.expander(words("How words are drawn"), icon=":material/casino:"):
            drawing = _drawing(words)
        with st.expander(words("Tools"), icon=":material/build:"):
            tools = _tools(words)
    return Choices(words, models, Asking(drawing, system.strip(), tools), view)


def _models(options: PageOptions, words: Words) -> tuple[tuple[Endpoint, str], ...]:
    """The model, and a second one to compare it with."""
    offered = _offered(options, words)
    chosen: list[tuple[Endpoint, str]] = []
    if offered:
        names = [_named(endpoint, model, offered) for endpoint, model in offered]
        first = st.selectbox(words("Model"), range(len(offered)), format_func=names.__getitem__, key="first")
        compare = st.toggle(
            words("Compare with a second model"), key="compare",
            help=words("Both get every message; each keeps its own conversation."),
        )  # fmt: skip
        chosen = [offered[first]]
        if compare:
            other = min(1, len(offered) - 1)
            second = st.selectbox(
                words("Second model"), range(len(offered)), other, format_func=names.__getitem__, key="second"
            )  # fmt: skip
            chosen.append(offered[second])
    if options.other_servers:
        _another_server(words)
    return tuple(chosen)


def _named(endpoint: Endpoint, model: str, offered: list[tuple[Endpoint, str]]) -> str:
    """A model's name, with its server where there are several."""
    several = len({one for one, _ in offered}) > 1
    return f"{model} · {urlsplit(endpoint.address).netloc}" if several else model


def _offered(options: PageOptions, words: Words) -> list[tuple[Endpoint, str]]:
    """(server, model) of everything that can be asked; says which server does not answer."""
    known: dict[Endpoint, list[str] | str] = st.session_state.setdefault("known", {})
    endpoints = [*options.endpoints, *st.session_state.get("added", [])]
    offered = []
    for endpoint in endpoints:
        if endpoint not in known:
            known[endpoint] = _ask_names(endpoint)
        found = known[endpoint]
        if isinstance(found, str):
            st.error(found)
            st.button(words("Try again"), key=f"retry {endpoint.address}", on_click=known.clear)
        else:
            offered += [(endpoint, model) for model in found]
    return offered


def _ask_names(endpoint: Endpoint) -> list[str] | str:
    """The names of a server's models, or why there are none."""
    try:
        return endpoint.models()
    except openai.OpenAIError as error:
        return in_words(error, endpoint)


def _another_server(words: Words) -> None:
    """A form for the address of any OpenAI-compatible server."""
    with st.expander(words("Another server"), icon=":material/lan:"), st.form("server", border=False):
        address = st.text_input(words("Address"), key="address", placeholder="http://127.0.0.1:8000/v1")
        key = st.text_input(
            words("API key"), key="api_key", type="password", autocomplete="off",
            help=words("It is kept for this visit only, and sent to this address only."),
        )  # fmt: skip
        if st.form_submit_button(words("Connect")):
            parts = urlsplit(address.strip())
            if parts.scheme not in ("http", "https") or not parts.netloc:
                st.error(words("An address begins with http:// or https:// and usually ends with /v1."))
            else:
                added = st.session_state.setdefault("added", [])
                added[:] = [one for one in added if one.address != address.strip().rstrip("/")]
                added.append(Endpoint(address.strip().rstrip("/"), key.strip()))
                st.rerun()


def _view(words: Words) -> View:
    """How answers are shown."""
    names: dict[View, str] = {"text": words("Text"), "tokens": words("Tokens"), "markdown": "Markdown"}
    chosen = st.segmented_control(
        words("Show answers as"), list(names), default="text", format_func=names.__getitem__, key="view", required=True,
        help=words("Tokens: how sure the model was of every one, and what else it might have said there."),
    )  # fmt: skip
    return chosen or "text"


def _drawing(words: Words) -> Drawing:
    """The controls of sampling, each with what it does."""
    temperature = st.slider(words("Temperature"), 0.0, 2.0, 0.7, 0.05, key="temperature", help=words(
        "Divides the scores before they become probabilities. 0: always the likeliest token. 1: the model's own "
        "probabilities. Above: unlikely tokens become likelier, and the text wilder."))  # fmt: skip
    top_p = st.slider(words("Top-p"), 0.05, 1.0, 0.95, 0.05, key="top_p", help=words(
        "Only the likeliest tokens that together reach this probability are drawn from: few where the model is sure, "
        "many where it is not. 1 is off."))  # fmt: skip
    top_k = st.slider(words("Top-k"), 0, 100, 0, key="top_k", help=words(
        "Only so many of the likeliest tokens are drawn from, however sure the model is. 0 is off."))  # fmt: skip
    min_p = st.slider(words("Min-p"), 0.0, 1.0, 0.0, 0.01, key="min_p", help=words(
        "Only tokens at least this share as likely as the likeliest are drawn from. 0 is off."))  # fmt: skip
    penalty = st.slider(words("Repetition penalty"), 1.0, 2.0, 1.0, 0.05, key="penalty", help=words(
        "Above 1, tokens that were used already become less likely. 1 is off."))  # fmt: skip
    longest = st.number_input(words("Most tokens of an answer"), 1, 100_000, 256, key="max_tokens", help=words(
        "The answer is cut there, finished or not."))  # fmt: skip
    seed = st.number_input(words("Seed"), 0, 2**31 - 1, None, key="seed", placeholder=words("random"), help=words(
        "The same number draws the same answer to the same question, as long as nothing else changes."))  # fmt: skip
    stop = st.text_input(words("Stop at"), key="stop", help=words("The answer ends before this text."))
    thinking = {"auto": words("as the model likes"), "on": words("on"), "off": words("off")}
    names = thinking.__getitem__
    think = st.selectbox(words("Thinking"), list(thinking), format_func=names, key="thinking", help=words(
        "Whether the model is made to write down its thoughts first. For models that were trained to."))  # fmt: skip
    probabilities = st.checkbox(words("Ask for probabilities"), True, key="probabilities", help=words(
        "Switch this off for servers that refuse it."))  # fmt: skip
    return Drawing(
        temperature, top_p, top_k, min_p, penalty, int(longest), None if seed is None else int(seed),
        (stop,) if stop else (), {"on": True, "off": False}.get(think), probabilities,
    )  # fmt: skip


def _tools(words: Words) -> tuple[Any, ...]:
    """The functions on offer, as OpenAI's JSON."""
    st.caption(words("Functions that the model may call, as a JSON list. You are asked for what they return."))

    def example() -> None:
        st.session_state["tools"] = json.dumps([EXAMPLE_TOOL], indent=1)

    st.button(words("Put in an example"), key="example", on_click=example)
    text = st.text_area(words("Functions"), key="tools", height=160)
    if not text.strip():
        return ()
    try:
        return tuple(tool.model_dump(exclude_none=True) for tool in _TOOLS.validate_json(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "JSON"
        st.error(words("The functions cannot be read: {reason}").format(reason=f"{place}: {first['msg']}"))
        return ()


def show_effects(lane: Lane, drawing: Drawing, words: Words) -> None:
    """A picture of what the controls do to one token of the last answer."""
    turns = [lane.conversation.turns[number] for number in lane.conversation.path()]
    tokens = next((turn.tokens for turn in reversed(turns) if turn.tokens and turn.ended), [])
    with st.sidebar.expander(words("What the controls do"), icon=":material/bar_chart:"):
        if not tokens or not tokens[0].get("top_logprobs"):
            st.caption(words("After the first answer you see here what the controls make of its tokens."))
            return
        number = int(st.number_input(words("Token of the last answer"), 1, len(tokens), 1, key="looked_at"))
        entry = tokens[number - 1]
        st.caption(words("Drawn was {text}. Grey: the model's own probabilities; blue: what is drawn from now.").format(
            text=f"`{visible(entry['token'])}`"))  # fmt: skip
        sampling = SamplingConfig(drawing.temperature, drawing.top_k, drawing.top_p, drawing.min_p)
        st.html(controls_html(entry, sampling, words))


def show_export(lanes: list[Lane], asking: Asking, words: Words) -> None:
    """The conversation as a file that a model can be trained on."""
    with st.sidebar.expander(words("Keep the conversation"), icon=":material/download:"):
        every = st.checkbox(words("Every branch, not only the one shown"), key="every_branch")
        st.caption(
            words("JSON Lines, as `minimind train sft` reads it. Answers that were stopped or cut are left out.")
        )
        try:
            found = [lane.conversation.records(asking.system, asking.tools, every_branch=every) for lane in lanes]
        except ValidationError as error:
            st.error(words("This conversation cannot be trained on: {reason}").format(reason=error.errors()[0]["msg"]))
            return
        lines = list(dict.fromkeys(line for listed in found for line in listed))
        st.download_button(
            words("Download {count} conversations").format(count=len(lines)), "".join(f"{line}\n" for line in lines),
            "conversations.jsonl", "application/jsonl", key="download", disabled=not lines, on_click="ignore",
        )  # fmt: skip
