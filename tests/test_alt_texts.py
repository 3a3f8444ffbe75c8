"""Alternative texts: every picture of the course says in a sentence what it shows, and a notebook stores it."""

import ast
import base64
import math
import re
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from test_drawings import CONCEPTS

from minimind_lite import course
from minimind_lite.config import preset
from minimind_lite.course.chapters.attention import figures as attention
from minimind_lite.course.chapters.cleaning import figures as cleaning
from minimind_lite.course.chapters.cleaning.experiments import Arm
from minimind_lite.course.chapters.deploy import figures as deploy
from minimind_lite.course.chapters.deploy.experiments import Moment, Span
from minimind_lite.course.chapters.distill import figures as distill
from minimind_lite.course.chapters.dpo import figures as dpo
from minimind_lite.course.chapters.evaluation import figures as evaluation
from minimind_lite.course.chapters.evaluation.experiments import Milestone
from minimind_lite.course.chapters.generation import figures as generation
from minimind_lite.course.chapters.grpo import figures as grpo
from minimind_lite.course.chapters.lora import figures as lora
from minimind_lite.course.chapters.moe import figures as moe
from minimind_lite.course.chapters.ppo import figures as ppo
from minimind_lite.course.chapters.pretrain import figures as pretrain
from minimind_lite.course.chapters.reason import figures as reason
from minimind_lite.course.chapters.rmsnorm import figures as rmsnorm
from minimind_lite.course.chapters.rope import figures as rope
from minimind_lite.course.chapters.scale import figures as scale
from minimind_lite.course.chapters.scale.speed import Gain
from minimind_lite.course.chapters.sft import figures as sft
from minimind_lite.course.chapters.swiglu import figures as swiglu
from minimind_lite.course.chapters.tokenizer import figures as tokenizer
from minimind_lite.course.chapters.transformer import figures as transformer
from minimind_lite.course.kit import answers, bars, curves, language, sentences
from minimind_lite.course.kit.described import _with_palette
from minimind_lite.course.kit.style import described, subplots
from minimind_lite.course.notebooks import pages
from minimind_lite.course.notebooks.cleaning import clean_outputs
from minimind_lite.data.packing import PackedDataset
from minimind_lite.evaluation.closed_book import Answer, ExactMatch
from minimind_lite.evaluation.reasoning import ReasonedAnswer, ReasonedAnswers
from minimind_lite.model.quantization import Scheme
from minimind_lite.training.policy_gradient import OBJECTIVES
from minimind_lite.training.scaling import Memory
from tools import build_site

SOURCES = Path(course.__file__).parent
MAP = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
FREQUENCIES = torch.tensor([1.0, 0.1])
RUN = [
    {"step": step, "loss": 5.0 - step, "eval_loss": 4.5 - step, "logps/chosen": -3.0, "logps/rejected": -4.0 - step}
    for step in (1, 2, 3)
]
BAND = {"steps": [1, 2, 3], "low": [3.5, 2.5, 2.5], "high": [4.5, 3.5, 3.5]}
NANO = preset("nano")
REPORT = SimpleNamespace(accuracy=SimpleNamespace(summed=0.5, per_token=0.6), style=0.1, facts=0.9)
REASONED = {"short": ReasonedAnswers([ReasonedAnswer("1 + 1", "2", "2", 4), ReasonedAnswer("1 + 2", "3", "4", 4)])}
WORLD = {f"{kind} {one}": ExactMatch([Answer("capital?", "Rome", "Rome"), Answer("2 + 2", "4", "5")])
         for kind in ("facts near", "known refused") for one in ("zh", "en")}  # fmt: skip
SERVED = [
    {"clients": clients, "peer_name": peer, "ours": 90.0 * clients, "peer": 50.0,
     "first_token_ms": {"ours": 9.0, "peer": 20.0 * clients}}
    for clients in (1, 4) for peer in ("transformers", "llama.cpp server")
]  # fmt: skip
EXACT = ExactMatch([Answer("capital?", "Rome", "Rome"), Answer("2 + 2", "4", "5")])
PRACTICE = [
    {"step": step, "kl": 0.1 * step, "answer_tokens": 8.0, "correctness_reward": 0.5, "dead_groups": 0.25}
    for step in (1, 2)
]

# Every function that draws, called with small data.
DRAWN: dict[Callable[..., Any], Callable[[], Any]] = {
    attention.score_maps: lambda: attention.score_maps({"weights": MAP}, ["a", "b"]),
    attention.saturation: lambda: attention.saturation([8, 64], {"raw": [0.5, 0.9]}, {"raw": [0.2, 0.1]}),
    attention.kv_memory: lambda: attention.kv_memory({"MHA": [2**20, 2**21]}, [64, 128]),
    attention.head_grid: lambda: attention.head_grid(MAP[None, None], [["itself"]]),
    attention.row_bars: lambda: attention.row_bars(MAP, ["a", "b"], 1),
    cleaning.pipeline: cleaning.pipeline,
    cleaning.score_histograms: lambda: cleaning.score_histograms({"share_of_symbols": ([0.0, 0.1], [0.5, 1.0], 0.2)}),
    cleaning.shingle_rows: lambda: cleaning.shingle_rows("a cat sat", "a cat sits", 5),
    cleaning.minima: lambda: cleaning.minima(["a b", "c"], [[1, 2], [2, 1]], [True, True], [False, True]),
    cleaning.estimates: lambda: cleaning.estimates(
        [0.2, 0.9], {"by_hand": [0.1, 1.0], "datasketch": [0.2, 0.9]}, [15, 60], [0.1, 0.05]
    ),
    cleaning.bands: lambda: cleaning.bands([1, 2, 3, 4], [1, 2, 3, 5], 2),
    cleaning.banding_curves: lambda: cleaning.banding_curves(
        {"one": [0.0, 0.5, 1.0]}, [0.0, 0.5, 1.0], 0.5, [(0.5, 0.4)]
    ),
    cleaning.run_lengths: lambda: cleaning.run_lengths([3, 13], [1.0, 0.1], {"stories": [0.2, 0.0]}),
    cleaning.funnel: lambda: cleaning.funnel(10, {"length": 3, "near": 0}, 6),
    cleaning.worth: lambda: cleaning.worth(
        [Arm("planted", 9, {}, 2.0, 0.5, 0.25), Arm("exam out", 5, {}, 1.9, 0.2, 0.25)], 8
    ),
    deploy.readers: lambda: deploy.readers(["config.json"], {"as_it_is": ["a"], "exported": ["b"], "served_by": ["c"]}),
    deploy.file_layout: lambda: deploy.file_layout({"counts": 16, "tensors": 4096}),
    deploy.scale_grids: deploy.scale_grids,
    deploy.stored_values: lambda: deploy.stored_values(torch.randn(64), {"4 bits": Scheme(4, 32, minimum=True)}),
    deploy.weight_histogram: lambda: deploy.weight_histogram({"gate": torch.randn(8, 8)}),
    deploy.rounding_errors: lambda: deploy.rounding_errors({"rows": ([4.1, 8.1], [12.0, 0.7])}),
    deploy.size_and_quality: lambda: deploy.size_and_quality({"float32": (4.7, 0.0), "4 bits": (0.7, 0.02)}),
    deploy.speeds: lambda: deploy.speeds({"float32": 19.0, "4 bits": 30.0}),
    deploy.step_costs: lambda: deploy.step_costs({16: 4.0, 32: 3.0}, {1: 22.0, 2: 12.0}),
    deploy.timelines: lambda: deploy.timelines({"continuous": [Span(0, 0, 0, 4), Span(0, 1, 4, 6)]}, 1),
    deploy.server_watched: lambda: deploy.server_watched([Moment(n, 5 - n, 2, 40 * n) for n in range(6)], 2),
    deploy.serving_compared: lambda: deploy.serving_compared(SERVED),
    distill.temperatures: lambda: distill.temperatures(torch.tensor([2.0, 1.0, 0.0]), [0.5, 2.0]),
    distill.fits: lambda: distill.fits(torch.arange(2.0), MAP[1], {"forward": MAP[0]}),
    distill.three_ways: lambda: distill.three_ways(
        {"student": 0.4, "labels_only": 0.6}, {"student": EXACT, "labels_only": EXACT}
    ),
    distill.gradients: lambda: distill.gradients({"with_t_squared": [1.0, 0.9]}, [1.0, 2.0]),
    dpo.margin: lambda: dpo.margin([0.1, 0.5], 2.0),
    dpo.logprobs: lambda: dpo.logprobs(RUN),
    dpo.lines: lambda: dpo.lines({"one": RUN}, "loss"),
    dpo.before_after: lambda: dpo.before_after(REPORT, REPORT),
    dpo.kl: lambda: dpo.kl({0.1: (3.0, 0.9, 0.5)}),
    generation.time_per_token: lambda: generation.time_per_token([16, 32], {"cached": [1.0, 2.0]}),
    generation.cache_memory: lambda: generation.cache_memory({"nano": NANO}, 1024),
    grpo.advantages: lambda: grpo.advantages([1.0, 0.0, 0.5]),
    grpo.clips: lambda: grpo.clips({"grpo": OBJECTIVES["grpo"]}),
    grpo.estimators: lambda: grpo.estimators({"k1": (0.1, 0.2), "k3": (0.1, 0.05)}, 0.1),
    lora.spectra: lambda: lora.spectra({"change_of_sft": [torch.diag(torch.tensor([3.0, 1.0]))]}, 1),
    lora.truncated: lambda: lora.truncated([1, 8], [0.1, 0.8]),
    lora.shares_by_rank: lambda: lora.shares_by_rank({"nano": (NANO, 1_000_000)}, [1, 8], 8),
    lora.memory: lambda: lora.memory({"lora": lora.training_bytes(10**6, 10**4)}),
    moe.kinds: lambda: moe.kinds({"poetry": MAP}, ["layer 0", "layer 1"]),
    moe.load_bars: lambda: moe.load_bars({"layer 0": MAP[1]}),
    moe.collapse: lambda: moe.collapse({"off": list(MAP)}),
    moe.race: lambda: moe.race(RUN, RUN, 0.1),
    moe.parameter_bars: lambda: moe.parameter_bars({"nano": NANO}),
    ppo.gae_lines: lambda: ppo.gae_lines([0.0, 1.0], [0.4, 0.6], {"λ = 1": [0.6, 0.4]}),
    pretrain.waste: lambda: pretrain.waste([30, 60, 90], [64, 128], 64),
    pretrain.schedule: lambda: pretrain.schedule(100, 3e-3, [0.0, 0.1], 0.1),
    pretrain.singular_values: lambda: pretrain.singular_values([[0.9, 0.1, 0.01], [1.0, 1.1, 0.7]]),
    pretrain.sources: lambda: pretrain.sources({"poetry": (2.9, 2.6), "stories_pairs_zh": (0.5, 0.2)}),
    pretrain.bits: lambda: pretrain.bits({"untrained": 4.0, "trained": 2.3}, "trained"),
    reason.by_difficulty: lambda: reason.by_difficulty({"with_thinking": REASONED}, "shape"),
    reason.thought_lengths: lambda: reason.thought_lengths({"short": [3, 5]}, {"short": [4, 4]}, "shape"),
    rmsnorm.clouds: lambda: rmsnorm.clouds(MAP, MAP, MAP),
    rmsnorm.through_layers: lambda: rmsnorm.through_layers({"no norm": [1.0, 9.0, float("inf")]}),
    rmsnorm.learning_rates: lambda: rmsnorm.learning_rates([0.1, 1.0], {"plain": [0.3, float("nan")]}, 1.0),
    rmsnorm.precision: lambda: rmsnorm.precision([1e-3, 1.0], {"float16": [1e-2, 1e-4]}),
    rmsnorm.bars: lambda: rmsnorm.bars(MAP[1], MAP[1], MAP[1]),
    rope.dials: lambda: rope.dials(FREQUENCIES, (0, 1), [(9, 4)]),
    rope.angle_table: lambda: rope.angle_table((torch.arange(64)[:, None] * FREQUENCIES).cos()),
    rope.fading: lambda: rope.fading([1, 10], {"base 100": [0.9, 0.1]}),
    rope.recall: lambda: rope.recall([16, 32], {"rope": [1.0, 0.4]}, 0.1),
    rope.yarn: lambda: rope.yarn(FREQUENCIES, FREQUENCIES * torch.tensor([1.0, 0.25]), 64, 4),
    evaluation.scored_tokens: lambda: evaluation.scored_tokens(["It", " is"], {" so": [(" so", -1.0)]}),
    evaluation.four_orders: evaluation.four_orders,
    evaluation.letters: lambda: evaluation.letters({"right_letters": [0.25] * 4, "picked_letters": [1.0, 0, 0, 0]}),
    evaluation.scores: lambda: evaluation.scores({"fill_sum": (30, 40), "after_sum": (9, 40)}, 0.25, "fill_sum"),
    evaluation.two_measures: lambda: evaluation.two_measures(
        {"network": (90.0, 2.0), "trigrams_of_bytes": (8.0, 3.0)},
        {"network": ((80.0, 99.0), (1.9, 2.1)), "trigrams_of_bytes": ((0.0, math.inf), (-math.inf, math.inf))},
    ),
    evaluation.interval_width: lambda: evaluation.interval_width({"ours": 200}),
    evaluation.drawn_scores: lambda: evaluation.drawn_scores([0.2, 0.25, 0.3], 0.25, 100),
    evaluation.paired_answers: lambda: evaluation.paired_answers([0.0, 1.0], [1.0, 1.0], ("before", "after")),
    evaluation.progress: lambda: evaluation.progress(
        [Milestone(tokens, 4.0, (3.9, 4.1), dict.fromkeys(evaluation.CHANCE, (5.0, 10))) for tokens in (0, 10, 20)]
    ),
    evaluation.leak: lambda: evaluation.leak(
        {"honest": {"seen_half": (2, 8)}, "contaminated": {"seen_half": (8, 8)}},
        {"seen_half": [1.0], "unseen_half": [0.5]},
    ),
    evaluation.adapter: lambda: evaluation.adapter({"base_model": {"writes_letter": (0, 8)}}),
    scale.ring_steps: scale.ring_steps,
    scale.shards: scale.shards,
    scale.overlap_lines: scale.overlap_lines,
    scale.distances: lambda: scale.distances({"mean": MAP, "sum": 2 * MAP}, MAP),
    scale.memory_bars: lambda: scale.memory_bars({"1 × ddp": Memory(1e9, 1e9, 2e9, 5e8)}, 24),
    scale.exchange_times: lambda: scale.exchange_times([(1000, 0.1), (10_000, 0.2)], 0.01, 1e5, 2),
    scale.gains: lambda: scale.gains({"packing": Gain([1.0, 1.1], [2.0, 2.1]), "int8": Gain([1.0, 1.0], [0.6, 0.7])}),
    scale.plan: lambda: scale.plan([1, 2], {"how fast": {"slow": [1.0, 0.5]}}),
    sft.kinds: lambda: sft.kinds(WORLD, WORLD),
    sft.kept_and_learned: lambda: sft.kept_and_learned(
        {"before_fine_tuning": 2.6, "with_plain_text": 2.7},
        {"answers_held_out": {"before_fine_tuning": 4.1, "with_plain_text": 1.2}},
    ),
    swiglu.activations: swiglu.activations,
    swiglu.neurons: swiglu.neurons,
    swiglu.gated_line: lambda: swiglu.gated_line(2.0, 1.0, -1.0, 2.0),
    swiglu.learning: lambda: swiglu.learning({"one": {"relu": [1.0, 0.5]}, "two": {"relu": [1.0, 0.1]}}),
    swiglu.seeds: lambda: swiglu.seeds({"relu": [2.0, 2.1], "swiglu": [1.9, 2.0]}),
    swiglu.gates: lambda: swiglu.gates(MAP - 0.5, MAP, MAP),
    tokenizer.compression: lambda: tokenizer.compression({"poetry": 1.0, "moby_dick": 3.1}, ["poetry"]),
    tokenizer.diets: lambda: tokenizer.diets({"poetry": (1.0, 0.9), "stories_zh": (1.0, 1.6)}),
    tokenizer.vocabulary_sizes: lambda: tokenizer.vocabulary_sizes([300, 600], [0.5, 0.8], [2.0, 2.5], 600),
    transformer.block_diagram: lambda: transformer.block_diagram(NANO),
    transformer.stacked_bars: lambda: transformer.stacked_bars({"one": {"a": 1.0, "b": 2.0}}, "MiB"),
    transformer.parameter_bars: lambda: transformer.parameter_bars({"one": {"a": 1_000_000}}),
    transformer.stream_growth: lambda: transformer.stream_growth([1, 2], {"scaled": [1.0, 1.1]}, 1.0),
    transformer.explorer: lambda: transformer.explorer({"a": 1_000_000}, {"b": 2.0**20}),
    bars.paired_bars: lambda: bars.paired_bars({"poetry": (1.0, 0.9)}, ("before", "after"), "bits_per_byte"),
    curves.loss_band: lambda: curves.loss_band(RUN, BAND),
    curves.lines: lambda: curves.lines({"one": [2.0, 1.0]}),
    curves.loss_curves: lambda: curves.loss_curves({"one": [2.0, 1.0]}, 3.0, "guessing"),
    curves.held_out: lambda: curves.held_out({"student": RUN, "labels_only": RUN}),
    curves.practice_curves: lambda: curves.practice_curves(PRACTICE),
    answers.shares: lambda: answers.shares({"before": EXACT, "after": EXACT}),
}  # fmt: skip


def drawing_functions(source: str) -> list[ast.FunctionDef]:
    """The functions that make a figure: they call ``subplots``, or ``sheet`` for a drawing."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return [
        one for one in functions
        if any(isinstance(node, ast.Name) and node.id in ("subplots", "sheet") for node in ast.walk(one))
    ]  # fmt: skip


def test_every_function_that_draws_is_in_the_table() -> None:
    """A figure is made by ``subplots`` alone, or by ``sheet`` with it; so no new one can be forgotten here.

    The concept drawings are in the table of test_drawings.
    """
    called = {(function.__module__, function.__name__) for function in (*DRAWN, *CONCEPTS)}
    for path in sorted(SOURCES.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if path.name == "style.py" or path == SOURCES / "kit" / "drawings.py":
            continue
        assert "plt." not in source and "Figure(" not in source.replace("DescribedFigure(Figure)", ""), path
        module = ".".join(("minimind_lite.course", *path.relative_to(SOURCES).with_suffix("").parts))
        for function in drawing_functions(source):
            assert (module, function.name) in called, f"{path}: {function.name} is not in DRAWN"


@pytest.mark.parametrize("function", DRAWN, ids=lambda one: f"{one.__module__.split('.')[-2]}.{one.__name__}")
def test_every_figure_says_what_it_shows(function: Callable[..., Any]) -> None:
    sentence = DRAWN[function]().alt
    assert sentence[0].isupper() and sentence.endswith(".") and len(sentence) >= 30
    assert len(sentence) < 700, "too long to listen to"
    assert not re.search(r"\b(nan|inf|tensor|array|np|None)\b|[\n{}_]|  |\.\.", sentence), sentence


def test_sentences_follow_the_data() -> None:
    falling, rising = (curves.lines({"mine": line}).alt for line in ([5.0, 2.0], [2.0, 5.0]))
    assert "mine falls from 5 to 2" in falling and "mine rises from 2 to 5" in rising
    bits = pretrain.bits({"untrained": 1.0, "trained": 2.3}, "trained").alt
    assert DRAWN[pretrain.bits]().alt.endswith("coloured: this model, untrained 4; this model, trained 2.3.")
    assert bits.endswith("coloured: this model, trained 2.3; this model, untrained 1.")
    assert "67% of the steps are inside" in curves.loss_band(RUN, BAND).alt
    assert "100% of the steps are inside" in curves.loss_band([*RUN[:2], RUN[2] | {"loss": 3.0}], BAND).alt
    assert "expected band" not in curves.loss_band(RUN, None).alt
    assert "largest where a looks at a" in DRAWN[attention.score_maps]().alt
    masked = attention.score_maps({"scores": torch.tensor([[1.0, float("-inf")], [2.0, 3.0]])}).alt
    assert "from 1 to 3, largest where token 1 looks at token 1, 1 of 4 cells grey" in masked


@pytest.mark.parametrize(
    ("values", "words"),
    [([3.0], "it is 3"), ([5, 2], "it falls from 5 to 2"), ([2, 2], "it stays at 2"), ([], "it is no finite number"),
     ([5, 1, 4], "it falls from 5 to 4, down to 1 in between"),
     ([1, 9, 1], "it starts and ends at 1, up to 9 in between"),
     ([1, 3, float("nan")], "it rises from 1 to 3, then is no finite number")],
)  # fmt: skip
def test_a_line_is_told_by_its_ends_and_its_turns(values: list[float], words: str) -> None:
    assert sentences.move("it", values) == words


def test_many_lines_and_bars_are_told_by_their_extremes() -> None:
    many = {f"line {place}": [9.0, float(place)] for place in range(7)}
    assert sentences.moves(many) == "of 7 lines, at the end line 0 is lowest with 0 and line 6 is highest with 6"
    assert sentences.amounts({name: one[1] for name, one in many.items()}).endswith("line 6 is largest with 6")
    assert sentences.moves({"a": [2, 1], "b": [2, 3]}).endswith("; lowest at the end: a")
    assert (
        sentences.listed(["a"]) == "a" and sentences.listed("abc") == "a, b and c" and sentences.listed([]) == "nothing"
    )
    assert sentences.short(12345) == "12,345" and sentences.short(0.00012345) == "0.000123"


def test_drawings_in_html_say_what_they_show() -> None:
    blocks = pretrain.blocks(PackedDataset([[1] * 6, [1] * 9], 16)).data
    assert 'role="img" aria-label="Bars of 1 block of 16 positions: 2 documents and 3 positions of padding."' in blocks
    assert "0 with 4, 1 with 5" in rope.pairings(8).data and 'role="img"' in rope.pairings(8).data


CELLS = [
    "from minimind_lite.course.kit.style import described, subplots\n"
    "def draw(sentence=None):\n"
    "    figure, axis = subplots()\n"
    "    axis.plot([5, 2])\n"
    "    return described(figure, sentence) if sentence else figure",
    "draw('A line falls\\nfrom 5 to 2.')",
    "draw()",
    "display(draw('Displayed.')); None",
    "%config InlineBackend.figure_formats = ['retina']\ndraw('Sharp.')",
    "%config InlineBackend.figure_formats = ['svg']\ndraw('A drawing.')",
    "import matplotlib.pyplot as plt\n%config InlineBackend.figure_formats = ['png']\nplt.plot([1, 2]); plt.show()",
    "import ipywidgets\nshown = ipywidgets.interactive(lambda level: display(draw(f'Level {level}.')), level=(1, 3))\n"
    "display(shown)",
    "print([(one['output_type'], one['metadata']['image/png']) for one in shown.out.outputs])",
]


@pytest.fixture(scope="module", params=["inline", "agg"])
def executed(request: pytest.FixtureRequest) -> list[Any]:
    """The outputs of each cell of ``CELLS``, as a notebook stores them, also where the shell set MPLBACKEND."""
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in CELLS], metadata={"kernelspec": kernel})
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MPLBACKEND", raising=False)
        if request.param != "inline":
            patch.setenv("MPLBACKEND", request.param)
        NotebookClient(notebook, timeout=120).execute()
    nbformat.validate(notebook)
    return [cell.outputs for cell in notebook.cells]


def test_a_notebook_stores_the_sentence_beside_the_picture_once(executed: list[Any]) -> None:
    (said,), (silent,), (displayed,) = executed[1:4]
    assert said.metadata == {"image/png": {"alt": "A line falls from 5 to 2."}}
    assert base64.b64decode(said.data["image/png"]).startswith(b"\x89PNG")
    assert silent.metadata == {} and "image/png" in silent.data
    assert displayed.output_type == "display_data" and displayed.metadata == {"image/png": {"alt": "Displayed."}}


def test_other_formats_and_other_figures_stay_as_they_are(executed: list[Any]) -> None:
    (sharp,), (drawing,), (plain,) = executed[4:7]
    assert sharp.metadata["image/png"]["alt"] == "Sharp." and sharp.metadata["image/png"]["width"] > 300
    assert "image/svg+xml" in drawing.data and "image/png" not in drawing.data
    assert "image/png" in plain.data and "alt" not in plain.metadata.get("image/png", {})


def test_an_interactive_shows_its_figure_once_with_the_sentence(executed: list[Any]) -> None:
    assert executed[8][0].text == "[('display_data', {'alt': 'Level 2.'})]\n"


def test_cleaning_keeps_the_sentence_and_nothing_else(executed: list[Any]) -> None:
    (sharp,) = clean_outputs([*executed[4]])
    assert sharp.metadata == {"image/png": {"alt": "Sharp."}}


def test_a_web_page_shows_the_sentence_or_names_the_cell() -> None:
    outputs = [
        new_output("display_data", data={"image/png": "iVBORw0KGgo="}, metadata=metadata)
        for metadata in ({"image/png": {"alt": "Loss falls to <2>."}}, {})
    ]
    cells = [new_markdown_cell("# The title"), new_code_cell("x", outputs=outputs, metadata={"tags": ["main-plot"]})]
    page = pages.Page("notebooks/a.ipynb", new_notebook(cells=cells))
    found = build_site.main_plot(page)
    assert found and found[1] == "Loss falls to <2>."
    body = pages.body_of(page)
    assert 'alt="Loss falls to &lt;2&gt;."' in body and 'alt="Figure drawn by cell 1 of The title"' in body


def test_outside_of_a_notebook_a_figure_is_described_too() -> None:
    figure, _ = subplots()
    assert figure.alt == "" and described(figure, "Two  words.").alt == "Two words."


def test_a_stored_picture_has_few_colours_and_looks_the_same() -> None:
    figure, (left, right) = subplots(1, 2)
    figure.colorbar(left.imshow(torch.rand(12, 12, generator=torch.Generator().manual_seed(0))), ax=left)
    for shift in range(5):
        right.plot(torch.sin(torch.linspace(0, 6, 50) + shift), label=f"{shift}")
    right.legend()
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    stored = _with_palette(drawn.getvalue())
    assert isinstance(stored, bytes) and len(stored) < len(drawn.getvalue()) / 2
    before, after = Image.open(drawn), Image.open(BytesIO(stored))
    assert after.mode == "P" and after.size == before.size
    pixels = (torch.frombuffer(bytearray(one.convert("RGB").tobytes()), dtype=torch.uint8) for one in (before, after))
    off = torch.stack([one.int() for one in pixels]).diff(dim=0).abs()
    assert (off > 25).float().mean() < 2e-3


def test_the_chinese_edition_draws_attention_over_chinese_characters() -> None:
    with language.speaking("zh"), warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")
        tokens = attention.sentence()
        figure = attention.score_maps({"weights": torch.eye(len(tokens))}, tokens)
        figure.savefig(BytesIO())
    assert len(tokens) == len(attention.sentence()) == 6
    assert [one.get_text() for one in figure.axes[0].get_xticklabels()] == tokens and not "".join(tokens).isascii()
