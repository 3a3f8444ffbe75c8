"""Chapter 06's pictures, controls and measurement: they show the routing that really happened."""

import pytest
import torch
from model_kit import random_model
from training_kit import tiny_data

from minimind_lite.config import preset
from minimind_lite.course.chapters.moe import figures, widgets
from minimind_lite.course.kit.profiles import PROFILES, settings_for
from minimind_lite.data.documents import Document
from minimind_lite.data.packing import PackedDataset
from minimind_lite.evaluation.routing import routing_loads
from minimind_lite.model.moe import expert_loads, recorded_routing
from minimind_lite.tokenizer import Tokenizer

MODEL = random_model(preset("pico-moe", vocab_size=40))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["the whale, the white whale. 床前明月光,疑是地上霜。"] * 20, vocab_size=320)


def test_loads_are_shares_of_real_tokens_only() -> None:
    data = tiny_data(documents=9)
    loads = routing_loads(MODEL, data, batch_size=2)
    assert loads.shape == (2, 8)
    torch.testing.assert_close(loads.sum(dim=1), torch.ones(2))
    ids = torch.arange(12)
    alone = PackedDataset([Document(ids.numpy())], 11)
    padded = PackedDataset([Document(ids.numpy())], 64)
    with torch.no_grad(), recorded_routing(MODEL) as routings:
        MODEL(ids[None, :11])
    wanted = torch.stack([expert_loads(one.chosen, 8)[0] for one in routings])
    torch.testing.assert_close(routing_loads(MODEL, alone), wanted)
    torch.testing.assert_close(routing_loads(MODEL, padded), wanted)


def test_a_routed_text_shows_every_token_with_its_first_expert(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("white <b>明月")
    probabilities = torch.eye(8)[torch.arange(len(ids)) % 8]
    chosen = probabilities.topk(2).indices
    body = figures.routed_text(tokenizer, ids, probabilities, chosen)
    for number, colour in enumerate(figures.EXPERT_COLOURS[: len(ids)]):
        assert f"background:{colour}" in body and f"expert {number}: 100%" in body
    assert "&lt;" in body and "<b>" not in body
    assert "expert\u00a07" in figures.routing({"one": body}, 8).data


def test_the_pictures_say_what_they_were_given() -> None:
    even, one = torch.full((4,), 0.25), torch.tensor([1.0, 0, 0, 0])
    titles = [axis.get_title() for axis in figures.load_bars({"even": even, "one": one}).axes]
    assert titles == ["even\nentropy 1.00", "one\nentropy 0.00"]
    bars = figures.load_bars({"even": even}).axes[0].patches
    assert [bar.get_height() for bar in bars] == [25.0] * 4
    assert len(figures.collapse({"on": [even, one], "off": [one, one]}, step=1).axes) == 2
    kinds = figures.kinds({"poetry": torch.stack((even, one))}, ["layer 0", "layer 1"])
    assert kinds.axes[1].images[0].get_array()[0].tolist() == [1.0, 0, 0, 0]
    shown = figures.parameter_bars({"minimind3-moe": preset("minimind3-moe")}).axes[0]
    assert "63.9 / 198.4" in {text.get_text() for text in shown.texts}


def test_the_race_takes_the_balance_term_out() -> None:
    rows = [{"step": 1, "loss": 5.0, "balance_loss": 2.0, "eval_loss": 4.0}]
    plain = [{"step": 1, "loss": 5.0, "eval_loss": 4.5}]
    lines = figures.race(plain, rows, coefficient=0.5).axes[0].lines
    assert [float(line.get_ydata()[0]) for line in lines] == [5.0, 4.5, 4.0, 4.0]


def test_the_controls_redraw(tokenizer: Tokenizer, capsys: pytest.CaptureFixture[str]) -> None:
    ids = tokenizer.encode("the whale")
    with torch.no_grad(), recorded_routing(MODEL) as routings:
        MODEL(torch.tensor([ids]) % 40)
    viewer = widgets.routing_viewer(tokenizer, {"one": (ids, routings)})
    viewer.children[1].value = 0
    history = [torch.full((4,), 0.25)] * 3
    switch = widgets.collapse_switch({"on": {"layer 0": history}, "off": {"layer 0": history}})
    assert switch.children[1].max == 2
    switch.children[0].value = "off"
    assert "Error" not in capsys.readouterr().out


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_trains_a_mixture(profile: str) -> None:
    assert preset(settings_for("moe", profile).preset).num_experts
