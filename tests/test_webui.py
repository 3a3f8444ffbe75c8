"""The chat page without a browser: branches, streams, tokens, words, files to train on, and Streamlit's own AppTest."""

import ast
import json
import string
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from serving_kit import KEY, TOKENIZER, running, said, scripted, served, solo, tag, tiny_model
from typer.testing import CliRunner

import minimind_lite.serving.page as page_package
from minimind_lite.cli import app
from minimind_lite.data.check import check_folder
from minimind_lite.data.records import read_records
from minimind_lite.generation.sampling import SamplingConfig
from minimind_lite.serving.guard import Keys
from minimind_lite.serving.page.conversation import Conversation, Turn
from minimind_lite.serving.page.words import CHINESE, words_of

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("streamlit", reason="needs the extra webui")
pytest.importorskip("openai", reason="needs the extra webui")

from streamlit.testing.v1 import AppTest

from minimind_lite.serving.page import pieces
from minimind_lite.serving.page.client import UNWATCHED_SECONDS, Answer, Drawing, Endpoint
from minimind_lite.serving.page.lanes import Asking, Lane
from minimind_lite.serving.page.launch import SCRIPT, free_port, run_page
from minimind_lite.serving.page.options import PageOptions, configure

FOLDER = Path(page_package.__file__).parent
ENGLISH = words_of("en")
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = '\n{"name": "look", "arguments": {"at": "湖"}}\n'
MODEL, OTHER = served(), served(tiny_model(1), "other")


def answered(conversation: Conversation, question: str, answer: str, parent: int = -1, **more: Any) -> int:
    """Add a question and its answer; returns the answer's number."""
    asked = conversation.add(Turn("user", question, parent))
    return conversation.add(Turn("assistant", answer, asked, **({"ended": "stop"} | more)))


def shown(conversation: Conversation) -> list[str]:
    return [conversation.turns[number].content for number in conversation.path()]


def test_a_conversation_keeps_every_branch() -> None:
    talk = Conversation()
    first = answered(talk, "a", "A")
    answered(talk, "b", "B", first)
    again = talk.add(Turn("assistant", "A2", talk.turns[first].parent, ended="stop"))
    assert shown(talk) == ["a", "A2"] and talk.versions(again) == [first, again]
    talk.choose(first)
    assert shown(talk) == ["a", "A", "b", "B"]
    edited = talk.add(Turn("user", "c"))
    assert shown(talk) == ["c"] and talk.versions(edited) == [0, edited] and talk.before(again)[0].content == "a"


def test_a_question_that_failed_is_replaced_not_repeated() -> None:
    talk = Conversation()
    answered(talk, "a", "", ended="failed")
    assert talk.next_parent() == -1
    good = answered(talk, "b", "B")
    answered(talk, "c", "", good, ended="failed")
    assert talk.next_parent() == good


def test_records_leave_out_what_is_not_complete() -> None:
    talk = Conversation()
    first = answered(talk, "a", "A", reasoning="why")
    answered(talk, "b", "cut of", first, ended="length")
    (line,) = talk.records("Be brief.")
    turns = json.loads(line)["conversations"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant"]
    assert turns[-1] == {"role": "assistant", "content": "A", "reasoning_content": "why"}
    talk.add(Turn("assistant", "half", 0, ended="stopped"))
    assert talk.records() == []
    answered(talk, "x", "X")
    assert len(talk.records(every_branch=True)) == 2 and len(talk.records()) == 1


def test_what_is_kept_trains_again(tmp_path: Path) -> None:
    """`minimind data check` finds nothing, and fine-tuning's reader and template take every line."""
    talk = Conversation()
    first = answered(talk, "a <|im_end|> b", "A", reasoning="why")
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": "湖"}'}}
    calling = answered(talk, "look", "", first, calls=[call], ended="tool_calls")
    told = talk.add(Turn("tool", "a lake", calling, call_id="1"))
    talk.add(Turn("assistant", "It is a lake.", told, ended="stop"))
    answered(talk, "other", "branch", first)
    lines = talk.records("You may look.", [LOOK], every_branch=True)
    (tmp_path / "kept.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    report = check_folder(tmp_path)
    assert len(lines) == 2 and report.ok, str(report)
    done = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    assert done.exit_code == 0, done.output
    records = list(read_records(tmp_path / "kept.jsonl", "conversation", strict=True))
    rendered = [TOKENIZER.render(record.messages) for record in records]
    assert len(records) == 2 and all(any(one.loss_mask) for one in rendered)
    assert "a lake" in TOKENIZER.decode(rendered[0].ids) and '"name": "look"' in TOKENIZER.decode(rendered[0].ids)


def entry(token: str, logprob: float, *others: tuple[str, float], data: bytes | None = None) -> dict[str, Any]:
    listed = [{"token": text, "logprob": value, "bytes": list(text.encode())} for text, value in others]
    return {"token": token, "logprob": logprob, "bytes": list(data or token.encode()), "top_logprobs": listed}


def test_tokens_are_shown_with_their_candidates_and_nothing_is_markup() -> None:
    tokens = [entry("<b>", -0.01, ("<b>", -0.01), ("<i>", -5.0)), entry(" \n", -3.0)]
    html = pieces.tokens_html(Turn("assistant", "<b> \n", tokens=tokens), ENGLISH)
    assert "<b>" not in html and "&lt;b&gt;" in html and "&lt;i&gt;" in html
    assert 'aria-label="&lt;b&gt;: 99 %"' in html and 'aria-label="␣↵: 5.0 %"' in html
    assert html.count('tabindex="0"') == 2 and "mm-p4" in html


def test_tokens_that_share_a_character_stand_together() -> None:
    data = "湖a".encode()
    parts = [entry("�", -0.5, data=data[:1]), entry("�", -0.1, data=data[1:3]), entry("a", 0.0, data=data[3:])]
    assert [(text, len(tokens)) for text, tokens in pieces.pieces_of(parts)] == [("湖", 2), ("a", 1)]
    broken = [entry("�", -0.5, data=b"\xff")] * 5
    assert "".join(text for text, _ in pieces.pieces_of(broken)).count("�") == 5


@pytest.mark.parametrize(
    ("chance", "text"), [(1.0, "> 99.9 %"), (0.97, "97 %"), (0.042, "4.2 %"), (0.0001, "< 0.1 %"), (0.5, "50 %")]
)
def test_probabilities_are_written_for_people(chance: float, text: str) -> None:
    assert pieces.percent(chance) == text


def test_the_picture_of_the_controls_is_what_is_drawn_from() -> None:
    token = entry("a", -0.2, ("a", -0.2), ("b", -2.0), ("c", -4.0))
    plain = pieces.controls_html(token, SamplingConfig(), ENGLISH)
    assert plain.count('class="mm-away"') == 0 and plain.count('role="img"') == 3
    cut = pieces.controls_html(token, SamplingConfig(top_k=2), ENGLISH)
    assert cut.count('class="mm-away"') == 1 and "a: 84 % before, 86 % after" in cut
    greedy = pieces.controls_html(token, SamplingConfig(temperature=0.0), ENGLISH)
    assert greedy.count('class="mm-away"') == 2


def test_markdown_keeps_lines_and_loads_no_pictures() -> None:
    assert pieces.markdown("床前\n明月") == "床前  \n明月"
    assert pieces.markdown("![x](http://a.example/b.png)").startswith("!\\[")
    assert pieces.markdown("```\na\nb\n```") == "```\na\nb\n```"


def spoken() -> Iterator[str]:
    """Every text of the page's sources that is looked up in the table."""
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "words":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}: {ast.unparse(node)}"
                yield str(node.args[0].value)


def test_every_word_has_its_chinese_and_no_translation_is_left_over() -> None:
    assert set(spoken()) == set(CHINESE)
    for english, chinese in CHINESE.items():
        fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (english, chinese)]
        assert fields[0] == fields[1], english


def test_what_is_off_is_not_sent() -> None:
    assert Drawing(probabilities=False).request() == {"temperature": 0.7, "max_tokens": 256}
    asked = Drawing(0.5, 0.9, 5, 0.1, 1.1, 9, 3, ("x",), False).request()
    extra = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "chat_template_kwargs": {"enable_thinking": False}}
    assert asked == {
        "temperature": 0.5, "max_tokens": 9, "top_p": 0.9, "seed": 3, "stop": ["x"], "logprobs": True,
        "top_logprobs": 20, "extra_body": extra,
    }  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with running(MODEL, OTHER) as server:
        yield server


def endpoint(server: Any, key: str = "") -> Endpoint:
    return Endpoint(f"{server.address}/v1", key)


def finished(lane: Lane) -> Turn:
    """The answer of a side, once it is there."""
    assert lane.answer is not None
    until = time.monotonic() + 30
    while lane.running and time.monotonic() < until:
        lane.answer.wait(0.01)
    assert not lane.running
    return lane.answer.turn


GREEDY = Asking(Drawing(0.0, max_tokens=16))


def test_an_answer_is_the_models(server: Any) -> None:
    lane = Lane(endpoint(server), "tiny")
    lane.say("hello", GREEDY)
    turn, alone = finished(lane), solo(MODEL, said("hello"), 16)
    assert (turn.content, turn.ended) == (alone.text, alone.finish_reason) and turn.tokens and turn.seconds > 0
    lane.say("more", GREEDY)
    finished(lane)
    lane.again(1, GREEDY)
    assert finished(lane).content == turn.content and lane.conversation.versions(1) == [1, 4]
    lane.edit(0, "other", Asking(Drawing(0.0, max_tokens=5), "A system turn"))
    assert finished(lane).content and len(lane.conversation.path()) == 2


def test_a_stopped_answer_frees_its_slot_and_keeps_what_is_there(server: Any) -> None:
    lane = Lane(endpoint(server), "tiny")
    lane.say("hello", Asking(Drawing(1.0, max_tokens=900, stop=("no such text",))))
    assert lane.answer is not None
    until = time.monotonic() + 30
    while not lane.answer.turn.content and time.monotonic() < until:
        lane.answer.wait(0.01)
    lane.stop()
    kept = lane.answer.turn.content
    assert lane.answer.turn.ended == "stopped" and kept and not lane.answer.turn.error
    while MODEL.engine.statistics.free < 4 and time.monotonic() < until:
        time.sleep(0.01)
    assert MODEL.engine.statistics.free == 4 and MODEL.engine.statistics.cancelled > 0


def test_an_answer_that_nobody_looks_at_is_stopped(server: Any) -> None:
    turn = Turn("assistant", model="tiny")
    answer = Answer(endpoint(server), turn, said("hello"), Drawing(1.0, max_tokens=900))
    answer.watched -= UNWATCHED_SECONDS + 1
    answer._thread.join(30)
    assert turn.ended == "stopped" and len(turn.tokens) < 900


def test_what_goes_wrong_is_said(server: Any) -> None:
    secret = "a-secret-that-nobody-may-see"  # noqa: S105
    for asked, model, words in (
        (endpoint(server, secret), "none", "there is no model 'none' here"),
        (Endpoint(f"http://127.0.0.1:{free_port('127.0.0.1', 0)}/v1", secret), "tiny", "nobody answers at http://"),
    ):
        lane = Lane(asked, model)
        lane.say("hello", GREEDY)
        turn = finished(lane)
        assert turn.ended == "failed" and words in turn.error and secret not in turn.error + repr(asked)


class Broken(BaseHTTPRequestHandler):
    """A server that ends in the middle of its answer."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                 "choices": [{"index": 0, "delta": {"content": "half"}, "finish_reason": None}]}  # fmt: skip
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def log_message(self, *args: Any) -> None: ...


def test_a_server_that_breaks_off_is_no_answer() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as broken:
        threading.Thread(target=broken.serve_forever, daemon=True).start()
        lane = Lane(Endpoint(f"http://127.0.0.1:{broken.server_port}/v1"), "m")
        lane.say("hello", GREEDY)
        turn = finished(lane)
        broken.shutdown()
    assert (turn.content, turn.ended) == ("half", "failed") and "in the middle of the answer" in turn.error


# The page itself, run by Streamlit's AppTest.


def opened(*endpoints: Endpoint, **options: Any) -> Any:
    configure(PageOptions(list(endpoints), **options))
    page = AppTest.from_file(str(SCRIPT), default_timeout=60)
    page.run()
    assert not page.exception
    return page


def press(page: Any, label: str, which: int = 0) -> None:
    buttons = [button for button in page.button if button.label == label]
    buttons[which].click().run()
    assert not page.exception


def write(page: Any, text: str) -> None:
    page.chat_input[0].set_value(text).run()
    assert not page.exception


def talk_of(page: Any, lane: int = 0) -> Conversation:
    found: Conversation = page.session_state["lanes"][lane].conversation
    return found


def html_of(page: Any) -> str:
    return "".join(one.proto.body for one in page.main.get("html"))


def test_buttons_come_back_when_the_answer_ends_while_the_page_is_drawn(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(endpoint(server))
    write(page, "hello")
    looks = iter([True] * 3)  # the turn has ended, and for so many looks more it counts as running
    monkeypatch.setattr(Lane, "running", property(lambda lane: next(looks, False)))
    page.run()
    assert next(looks, None) is None
    assert not [button.label for button in page.button if button.disabled]


def test_a_conversation_on_the_page(server: Any) -> None:
    page = opened(endpoint(server))
    page.slider(key="temperature").set_value(0.0)
    page.number_input(key="max_tokens").set_value(12).run()
    write(page, "hello <script>")
    answer = solo(MODEL, said("hello <script>"), 12).text
    assert shown(talk_of(page)) == ["hello <script>", answer]
    assert "<script>" not in html_of(page) and "hello &lt;script&gt;" in html_of(page)
    press(page, "Ask again")
    assert talk_of(page).versions(1) == [1, 2] and any("2 of 2" in one.value for one in page.caption)
    press(page, "Earlier")
    assert talk_of(page).path() == [0, 1]
    press(page, "Edit")
    page.text_area(key="text 0 0").set_value("other")
    press(page, "Ask this instead")
    assert shown(talk_of(page))[0] == "other" and len(talk_of(page).path()) == 2
    page.segmented_control(key="view").set_value("tokens").run()
    assert "mm-token" in html_of(page)
    page.segmented_control(key="view").set_value("markdown").run()
    assert not page.exception and page.slider(key="temperature").value == 0.0
    press(page, "New conversation")
    assert talk_of(page).turns == []


def test_two_models_side_by_side(server: Any) -> None:
    page = opened(endpoint(server))
    page.toggle(key="compare").set_value(True).run()
    page.slider(key="temperature").set_value(0.0)
    page.number_input(key="max_tokens").set_value(10).run()
    write(page, "hello")
    for lane, model in enumerate((MODEL, OTHER)):
        assert shown(talk_of(page, lane)) == ["hello", solo(model, said("hello"), 10).text]
    assert [one.value for one in page.subheader] == ["tiny", "other"]


def test_the_page_in_chinese(server: Any) -> None:
    page = opened(endpoint(server), language="zh")
    assert page.chat_input[0].placeholder == "输入消息" and page.button(key="new").label == "新对话"
    page.radio(key="language").set_value("en").run()
    assert page.chat_input[0].placeholder == "Your message"


def test_a_call_is_shown_and_answered_by_the_visitor() -> None:
    with running(scripted("I look.", tag("<tool_call>"), CALL, tag("</tool_call>"), "A lake.")) as server:
        page = opened(endpoint(server))
        page.checkbox(key="probabilities").set_value(False)
        page.text_area(key="tools").set_value(json.dumps([LOOK])).run()
        write(page, "look")
        assert "Call of the function look" in html_of(page) and page.chat_input[0].disabled
        (call,) = talk_of(page).unanswered_calls()
        page.text_area(key=f"result 0 {call['id']}").set_value("a lake")
        press(page, "Give it to the model")
        turns = [talk_of(page).turns[number] for number in talk_of(page).path()]
        assert [turn.role for turn in turns] == ["user", "assistant", "tool", "assistant"]
        assert turns[2].content == "a lake" and turns[3].ended and not turns[3].error


def test_thoughts_are_folded() -> None:
    with running(scripted(tag("<think>"), "\nwhy\n", tag("</think>"), "\nyes")) as server:
        page = opened(endpoint(server))
        write(page, "hi")
        html = html_of(page)
        assert "<details" in html and "Thoughts, 3 characters" in html and "<details open" not in html
        assert talk_of(page).turns[1].reasoning == "why" and talk_of(page).turns[1].content == "yes"


@pytest.mark.parametrize("text", ["{", "[1]", '[{"type": "function"}]'])
def test_tools_that_cannot_be_read_are_refused(server: Any, text: str) -> None:
    page = opened(endpoint(server))
    page.text_area(key="tools").set_value(text).run()
    assert any("The functions cannot be read" in error.value for error in page.error)
    press(page, "Put in an example")
    assert not page.error and json.loads(page.text_area(key="tools").value)[0]["function"]["name"] == "weekday"


def test_another_server_can_be_asked_unless_it_is_forbidden(server: Any) -> None:
    page = opened()
    assert page.info and not page.chat_input
    page.text_input(key="address").set_value("no address")
    press(page, "Connect")
    assert any("begins with http://" in error.value for error in page.error)
    page.text_input(key="address").set_value(f"{server.address}/v1/")
    press(page, "Connect")
    assert page.selectbox(key="first").options == ["tiny", "other"]
    closed = opened(endpoint(server), other_servers=False)
    assert not [one for one in closed.text_input if one.key == "address"]


def test_a_server_that_is_away_is_named_and_can_be_tried_again() -> None:
    port = free_port("127.0.0.1", 0)
    page = opened(Endpoint(f"http://127.0.0.1:{port}/v1"))
    assert any("nobody answers" in error.value for error in page.error)
    press(page, "Try again")
    assert any("nobody answers" in error.value for error in page.error)


def test_visitors_need_the_key(server: Any) -> None:
    page = opened(endpoint(server), keys=Keys.of([KEY]))
    assert not page.chat_input and not page.selectbox
    for key, opens in (("wrong", False), (KEY, True)):
        page.text_input(key="door_key").set_value(key)
        press(page, "Come in")
        assert bool(page.chat_input) == opens


def test_the_page_is_not_given_to_others_without_a_key() -> None:
    done = CliRunner().invoke(app, ["webui", "--host", "0.0.0.0"])  # noqa: S104
    assert done.exit_code == 1 and "no API key is set" in done.output
    with pytest.raises(Exception, match="no API key is set"):
        run_page(PageOptions(), "0.0.0.0", 1)  # noqa: S104
    for arguments, words in (
        (["--language", "fr"], "must be en or zh"),
        (["--server", "x"], "must be an address"),
        (["--adapter", "poet=out/poet"], "are for models in folders"),
        (["--quantize"], "are for models in folders"),
    ):
        done = CliRunner().invoke(app, ["webui", *arguments])
        assert done.exit_code == 2 and words in done.output.replace("\n", " ")
