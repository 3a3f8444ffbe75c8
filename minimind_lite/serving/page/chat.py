"""The middle of the page: the turns of one conversation or of two, and what one can do with each of them.

Streamlit runs `show_page` from its beginning whenever something was clicked or typed. An answer grows in a thread of
its own (client.py), so a click in the middle of it loses nothing: the next run goes on showing it.
"""

from typing import Any

import streamlit as st

from minimind_lite.serving.page.conversation import Turn
from minimind_lite.serving.page.lanes import Lane
from minimind_lite.serving.page.options import PageOptions, configured
from minimind_lite.serving.page.pieces import (
    STYLE,
    calls_html,
    markdown,
    status_of,
    text_html,
    thoughts_html,
    tokens_html,
)
from minimind_lite.serving.page.sidebar import Choices, show_effects, show_export, show_language, show_sidebar
from minimind_lite.serving.page.words import Words

# Drawn here: for a sign of Streamlit's own, the browser would ask another machine.
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#1f5fbf" '
    'd="M4 4h24a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H14l-8 6v-6H4a3 3 0 0 1-3-3V7a3 3 0 0 1 3-3z"/></svg>'
)
LOOK_SECONDS = 0.06  # between two looks at an answer that grows


def show_page() -> None:
    """The whole page."""
    options = configured()
    wide = st.session_state.get("compare", False)
    st.set_page_config("MiniMind", ICON, "wide" if wide else "centered", initial_sidebar_state="auto")
    st.html(STYLE)
    words = show_language(options)
    if not _let_in(options, words):
        return
    choices = show_sidebar(options, words)
    lanes = _lanes(choices)
    waiting = any(lane.running for lane in lanes)
    _show_head(lanes, choices)
    if not choices.models:
        st.info(words("No model can be asked. Start one with `minimind serve DIR`, or connect to another server."))
        return
    spots = _show_lanes(lanes, choices)
    show_effects(lanes[0], choices.asking.drawing, words)
    show_export(lanes, choices.asking, words)
    _show_input(lanes, choices)
    _follow(lanes, spots, choices)
    if waiting:  # whatever was drawn before the answers' end: the next run draws them with their buttons
        st.rerun()


def _let_in(options: PageOptions, words: Words) -> bool:
    """Whether the visitor may use the page: always without keys, else once one of them was given."""
    if not options.keys.digests or st.session_state.get("let_in"):
        return True
    st.title("MiniMind")
    with st.form("door"):
        key = st.text_input(words("API key"), type="password", key="door_key")
        if st.form_submit_button(words("Come in")):
            if options.keys.opens(key.strip().encode()):
                st.session_state["let_in"] = True
                st.rerun()
            st.error(words("This key does not open the page."))
    return False


def _lanes(choices: Choices) -> list[Lane]:
    """As many sides as there are models, kept from one run of the script to the next."""
    kept: list[Lane] = st.session_state.setdefault("lanes", [Lane(), Lane()])
    for lane, (endpoint, model) in zip(kept, choices.models, strict=False):
        lane.endpoint, lane.model = endpoint, model
    for lane in kept[len(choices.models) :]:
        lane.stop()
    return kept[: len(choices.models)]


def _show_head(lanes: list[Lane], choices: Choices) -> None:
    words = choices.words

    def forget() -> None:
        for lane in lanes:
            lane.forget()

    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title("MiniMind", width="content")
        st.button(
            words("New conversation"), key="new", icon=":material/add_comment:", on_click=forget,
            disabled=not any(lane.conversation.turns for lane in lanes),
        )  # fmt: skip
    place = st.empty()  # always there: what a run of the script does not replace stays in sight until its end
    if lanes and not any(lane.conversation.turns for lane in lanes):
        with place.container():
            _show_beginning(lanes, choices)


def _show_beginning(lanes: list[Lane], choices: Choices) -> None:
    """What a new conversation begins with: a sentence, and questions that can be asked with one click."""
    words = choices.words
    st.markdown(
        words("Write a message below. Every question can be changed and every answer asked for again: each change "
              "becomes a branch, and nothing is lost.")
    )  # fmt: skip

    def ask(question: str) -> None:
        for lane in lanes:
            lane.say(question, choices.asking)

    examples = words("What is the capital of France?"), words("Tell me a story about a fox."), words("Who are you?")
    with st.container(horizontal=True):
        for number, question in enumerate(examples):
            st.button(question, key=f"example {number}", on_click=ask, args=(question,))


def _show_lanes(lanes: list[Lane], choices: Choices) -> list[Any]:
    """All turns; returns for each side the place where its answer grows, or None."""
    if len(lanes) == 1:
        return [_show_lane(0, lanes[0], choices)]
    spots = []
    for index, (column, lane) in enumerate(zip(st.columns(2, gap="medium"), lanes, strict=True)):
        with column:
            st.subheader(lane.model, divider="gray")
            spots.append(_show_lane(index, lane, choices))
    return spots


def _show_lane(index: int, lane: Lane, choices: Choices) -> Any:
    spot = None
    for number in lane.conversation.path():
        turn = lane.conversation.turns[number]
        avatars = {"user": ":material/person:", "assistant": ":material/smart_toy:", "tool": ":material/build:"}
        with st.chat_message(turn.role, avatar=avatars[turn.role]):
            if lane.editing == number:
                _show_editor(index, lane, number, choices)
                continue
            growing = turn.role == "assistant" and not turn.ended
            if growing:
                spot = st.empty()
                _draw_growing(spot, turn, choices.words)
            else:
                _show_turn(turn, choices)
            _show_actions(index, lane, number, choices)
    calls = lane.conversation.unanswered_calls()[:1]
    for call in calls:
        _ask_for_result(index, lane, call, choices)
    drawn = len(lane.conversation.path()) + len(calls)
    for _ in range(lane.drawn - drawn):  # turns of another branch, which would stay in sight while an answer grows
        st.empty()
    lane.drawn = drawn
    return spot


def _show_turn(turn: Turn, choices: Choices) -> None:
    """A turn that has come to its end."""
    words = choices.words
    if turn.role != "assistant":
        st.html(text_html(turn.content))
        return
    if turn.reasoning:
        st.html(thoughts_html(turn, words))
    if choices.view == "tokens" and turn.tokens:
        st.html(tokens_html(turn, words))
    elif choices.view == "markdown" and turn.content:
        st.markdown(markdown(turn.content))
    elif turn.content:
        st.html(text_html(turn.content))
    if turn.calls:
        st.html(calls_html(turn, words))
    if turn.error:
        st.error(turn.error)
    if not (turn.content or turn.calls or turn.error):
        st.caption(words("(an empty answer)"))
    if choices.view == "tokens" and not turn.tokens and turn.content:
        st.caption(words("The server gave no probabilities for this answer."))


def _draw_growing(spot: Any, turn: Turn, words: Words) -> None:
    """What is there so far."""
    nothing = not (turn.content or turn.reasoning or turn.calls)
    rest = f'<div class="mm-note" role="status">{words("Answering …")}</div>' if nothing else ""
    spot.html(thoughts_html(turn, words) + text_html(turn.content) + calls_html(turn, words) + rest)


def _show_actions(index: int, lane: Lane, number: int, choices: Choices) -> None:
    """What can be done with a turn, and what is to be said about it."""
    words, turn, asking = choices.words, lane.conversation.turns[number], choices.asking

    def button(name: str, label: str, icon: str, action: Any, *args: Any, **more: Any) -> None:
        key = f"{name} {index} {number}"
        st.button(label, key=key, icon=f":material/{icon}:", type="tertiary", on_click=action, args=args, **more)

    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        if turn.role == "assistant" and not turn.ended:
            button("stop", words("Stop"), "stop_circle", lane.stop, shortcut="Esc" if index == 0 else None)
            return
        if turn.role == "user":
            button("edit", words("Edit"), "edit", _begin_edit, lane, number, disabled=lane.running)
        elif turn.role == "assistant":
            button("again", words("Ask again"), "refresh", lane.again, number, asking, disabled=lane.running)
        versions = lane.conversation.versions(number)
        if len(versions) > 1:
            at = versions.index(number)
            for name, label, icon, to in (
                ("earlier", words("Earlier"), "chevron_left", at - 1),
                ("later", words("Later"), "chevron_right", at + 1),
            ):
                off = lane.running or not 0 <= to < len(versions)
                button(name, label, icon, lane.conversation.choose, versions[to % len(versions)], disabled=off)
            st.caption(words("{number} of {count}").format(number=at + 1, count=len(versions)), width="content")
        if turn.role == "assistant":
            st.caption(status_of(turn, words), width="content")


def _begin_edit(lane: Lane, number: int | None) -> None:
    lane.editing = number


def _show_editor(index: int, lane: Lane, number: int, choices: Choices) -> None:
    """A question that is being changed."""
    words, key = choices.words, f"text {index} {number}"

    def send() -> None:
        if text := st.session_state[key].strip():
            lane.edit(number, text, choices.asking)

    st.text_area(words("Your question"), lane.conversation.turns[number].content, key=key)
    with st.container(horizontal=True):
        st.button(words("Ask this instead"), key=f"send {index} {number}", type="primary", on_click=send)
        st.button(words("Leave it"), key=f"leave {index} {number}", on_click=_begin_edit, args=(lane, None))


def _ask_for_result(index: int, lane: Lane, call: dict[str, Any], choices: Choices) -> None:
    """The visitor stands in for the function."""
    words, key = choices.words, f"result {index} {call['id']}"

    def give() -> None:
        lane.give(call["id"], st.session_state[key], choices.asking)

    with st.form(f"form {key}"):
        st.text_area(
            words("What does {name} return?").format(name=call["function"]["name"]), key=key,
            help=words("The model has asked for this function. You are the function: write what it returns."),
        )  # fmt: skip
        st.form_submit_button(words("Give it to the model"), on_click=give)


def _show_input(lanes: list[Lane], choices: Choices) -> None:
    """The line for the next message."""
    words = choices.words
    waiting = any(lane.conversation.unanswered_calls() for lane in lanes)

    def send() -> None:
        for lane in lanes:
            lane.say(st.session_state["message"], choices.asking)

    st.chat_input(
        words("First say what the function returns") if waiting else words("Your message"), key="message",
        disabled=waiting or any(lane.running for lane in lanes), on_submit=send,
    )  # fmt: skip


def _follow(lanes: list[Lane], spots: list[Any], choices: Choices) -> None:
    """Show answers while they grow, until all have ended."""
    while any(lane.running for lane in lanes):
        for lane, spot in zip(lanes, spots, strict=True):
            if lane.answer is not None and lane.running:
                lane.answer.wait(LOOK_SECONDS)
                if spot is not None:
                    _draw_growing(spot, lane.answer.turn, choices.words)
