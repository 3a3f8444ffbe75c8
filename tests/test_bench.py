"""`minimind bench` at its smallest size: what it writes, that it compares equal work only, and what it refuses."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.config import preset
from minimind_lite.data.documents import Document
from minimind_lite.data.packing import pad_documents
from minimind_lite.model.transformer import Transformer

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "bench.py"
FIELDS = {"name", "ours", "peer", "peer_name", "ratio", "unit", "spread", "rounds"}


@pytest.fixture
def subjects(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import_module("subjects.report")
    monkeypatch.setattr("subjects.report.PEAK_SECONDS", 0.01)
    return import_module("subjects")


def module(name: str) -> Any:
    return import_module(f"subjects.{name}")


def run(subjects: Any, *peers: str, rounds: int = 2, threads: int = 1) -> Any:
    return subjects.Run("pico", frozenset(peers), rounds, float("inf"), threads)


def reported(subject: str, output: Path) -> list[dict[str, Any]]:
    """The results that the command writes for a subject, or for all of them."""
    command = [sys.executable, "-m", "minimind_lite.cli", "bench", subject, "--size", "pico", "--rounds", "2"]
    done = subprocess.run(
        [*command, "--output", output], cwd=ROOT, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(output.read_text(encoding="utf-8"))
    assert {"device", "versions", "command", "load_average", "results"} <= set(report)
    assert report["versions"]["torch"] == torch.__version__
    assert report["command"].startswith(f"minimind bench {subject} ")
    results: list[dict[str, Any]] = report["results"]
    for one in results:
        assert set(one) >= FIELDS and one["ours"] > 0 and one["rounds"] == 2
        if one["peer_name"]:
            low, high = one["spread"]["ratio"]
            assert low <= one["ratio"] <= high and one["peer"] > 0
    training = next(one for one in results if one["name"] == "train pico: useful tokens")
    assert training["padding_share"]["ours"] == training["padding_share"]["peer"] < 0.15  # the same blocks
    assert 0 < training["share_of_peak"]["ours"] < 1
    assert [one.name for one in output.parent.iterdir()] == [output.name]
    return results


@pytest.mark.slow
def test_the_command_writes_the_report(tmp_path: Path) -> None:
    results = reported("train", tmp_path / "bench.json")
    assert {one["peer_name"] for one in results} == {"transformers", "original", None}


@pytest.mark.slow
@pytest.mark.weekly
def test_the_command_writes_one_report_of_all_subjects(tmp_path: Path) -> None:
    results = reported("all", tmp_path / "bench.json")
    assert {one["name"].split()[0].rstrip(":") for one in results} == {
        "train", "align", "attention", "generate", "serve", "moe", "data", "start",
    }  # fmt: skip
    assert {one["peer_name"] for one in results} - {"llama.cpp", "llama.cpp Q8_0", "llama.cpp server"} == {
        "transformers", "original", "tokenizers", "slicing", "ours, one text", "fixed batches", "causal", "mask",
        "PEFT", "TRL", None,
    }  # fmt: skip


@pytest.mark.parametrize(("name", "peers"), [("moe", {"original"}), ("data", {"tokenizers", "slicing"})])
def test_a_subject_that_no_other_test_measures(name: str, peers: set[str], subjects: Any) -> None:
    """The six others are measured below or above, one by one; all of them in one process once a week."""
    rows = module(name).measure(run(subjects, *peers))
    assert all(set(row) >= FIELDS and row["ours"] > 0 and row["rounds"] == 2 for row in rows)
    assert {row["peer_name"] for row in rows} - {None} == peers


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["fly"],
            "there is no subject called 'fly'; there are: train, align, attention, generate, serve, moe, data, start, ",
        ),
        (["train", "--size", "huge"], "there is no size called 'huge'; there are: pico, nano, small"),
        (["train", "--against", "nobody"], "there is no peer called 'nobody'; there are: original, transformers"),
        (["moe", "--against", "transformers"], "there is no peer called 'transformers'; there are: original"),
        (
            ["all", "--against", "nobody"],
            "there are: PEFT, TRL, causal, llama.cpp, llama.cpp Q8_0, llama.cpp server, mask, original, python, ",
        ),
    ],
)
def test_what_does_not_exist_is_refused(
    arguments: list[str], words: str, subjects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):  # the script sets them: put them back
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
    with pytest.raises(SystemExit, match=r"^error: ") as stopped:
        import_module("bench").main()
    assert words in str(stopped.value)


def test_a_missing_transformers_says_how_to_install_it(subjects: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_module("bench")
    monkeypatch.setattr(script, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install -e '\.\[course\]', or leave it out with: --against original$"):
        script.chosen_peers(["train"], [])
    assert script.chosen_peers(["train", "data"], ["original"]) == {"train": {"original"}}


def test_llama_cpp_is_measured_only_where_it_is(subjects: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_module("bench")
    monkeypatch.setattr(script, "find_spec", lambda name: None if name == "llama_cpp" else True)
    assert script.chosen_peers(["generate"], []) == {"generate": {"transformers", "original"}}
    with pytest.raises(SystemExit, match=r"the peer llama\.cpp Q8_0 is not installed: pip install '.\[llama-cpp\]'"):
        script.chosen_peers(["generate"], ["llama.cpp Q8_0"])
    with pytest.raises(SystemExit, match=r"llama\.cpp server is not installed: pip install 'llama-cpp-python\["):
        script.chosen_peers(["serve"], ["llama.cpp server"])
    monkeypatch.setattr(script, "find_spec", lambda name: True)
    assert script.chosen_peers(["generate"], ["llama.cpp"]) == {"generate": {"llama.cpp"}}
    monkeypatch.setattr(script, "find_spec", lambda name: name != "starlette_context" or None)
    assert script.not_built() == {"llama.cpp server"}  # the package without what its server needs


@pytest.mark.slow
def test_llama_cpp_gives_the_same_tokens_and_8_bits_stand_beside_8_bits(subjects: Any) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    rows = module("generate").measure(run(subjects, "llama.cpp", "llama.cpp Q8_0", rounds=1))
    pairs = [(one["name"], one["peer_name"]) for one in rows if one["peer_name"].startswith("llama.cpp")]
    many = "generate pico: 3 texts"
    assert pairs[2:] == [(many, "llama.cpp"), (f"{many}, int8", "llama.cpp Q8_0")] and len(pairs) == 4
    assert 0 <= rows[1]["peer_equal_tokens"] <= 1


def test_the_commands_options_reach_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def started(command: list[str], check: bool) -> subprocess.CompletedProcess[bytes]:
        seen.append(command[1:])
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", started)
    options = ["--against", "a", "--against", "b", "--seconds", "9", "--output", "x.json", "--rounds", "2"]
    assert CliRunner().invoke(app, ["bench", "moe", *options]).exit_code == 3
    given = ["--against=a", "--against=b", "--seconds=9.0", "--output=x.json"]
    rest = ["--size", "nano", "--rounds", "2", "--threads", "1"]
    assert seen == [[str(SCRIPT), "moe", *given, *rest]]


def test_outside_a_clone_the_command_says_where_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimind_lite.files.__file__", str(tmp_path / "package" / "files.py"))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["bench", "data"])
    assert done.exit_code == 1 and "Clone the repository" in done.output


def test_seconds_must_be_a_number() -> None:
    assert CliRunner().invoke(app, ["bench", "train", "--seconds", "nan"]).exit_code == 2


def test_other_losses_are_not_compared(subjects: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    train = module("train")

    def other(model: Any) -> Any:
        twin = module("twin").twin_of(model)
        with torch.no_grad():
            twin.model.norm.weight.mul_(1.01)
        return twin

    monkeypatch.setattr(train, "twin_of", other)
    with pytest.raises(subjects.DifferentWork, match=r"the loss of a step|the gradient's norm"):
        train.measure(run(subjects, "transformers", rounds=1))


@pytest.mark.parametrize("name", ["train", "moe"])
def test_an_original_with_other_weights_is_not_compared(
    name: str, subjects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = module(name)
    monkeypatch.setattr(subject.Original, "load_state_dict", lambda self, weights: None)
    with pytest.raises(subjects.DifferentWork, match="the loss"):
        subject.measure(run(subjects, "original", rounds=1))


def test_other_tokens_are_not_compared(subjects: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = module("generate")
    honest = generate.grown_cache
    changed = lambda model, prompts, new: [[*ids[:-1], ids[-1] ^ 1] for ids in honest(model, prompts, new)]  # noqa: E731
    monkeypatch.setattr(generate, "grown_cache", changed)
    with pytest.raises(subjects.DifferentWork, match="text 0 differs from original's from new token 5 on"):
        generate.measure(run(subjects, "original", rounds=1))


def test_int8_says_how_many_tokens_stay_and_mixed_requests_must_agree(
    subjects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = module("generate")
    assert generate.equal_share([[1, 2, 3, 4], [5, 6]], [[1, 2, 9, 4], [5, 6]]) == 0.6667
    rows = {row["name"]: row for row in generate.measure(run(subjects, "original", rounds=1))}
    assert 0 <= rows["generate pico: 1 text, int8"]["equal_tokens"] <= 1
    assert "generate pico: 3 texts against one, int8" in rows
    assert rows["generate pico: 32 requests of mixed lengths through 16 slots"]["peer_name"] == "fixed batches"
    honest = generate.continuous
    monkeypatch.setattr(generate, "continuous", lambda *given: [[ids[0] ^ 1, *ids[1:]] for ids in honest(*given)])
    with pytest.raises(subjects.DifferentWork, match="text 0 differs from fixed batches's from new token 0 on"):
        generate.measure(run(subjects, "original", rounds=1))


@pytest.mark.slow
def test_servers_are_asked_the_same_and_must_answer_as_the_model_does_alone(
    subjects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = module("serve")
    monkeypatch.setattr(serve, "CONVERSATIONS", 8)
    rows = serve.measure(run(subjects, "transformers", rounds=1))
    assert [(row["clients"], row["peer_name"], row["rounds"]) for row in rows] == [
        (1, "transformers", 1), (3, "transformers", 1),
    ]  # fmt: skip
    for row in rows:
        assert row["ours"] > 0 and row["peer"] > 0 and row["unit"] == "new tokens per second of CPU time"
        for one in ("ours", "peer"):
            assert 0 < row["first_token_ms"][one] <= row["first_token_ms_p95"][one]
    honest = serve.conversations
    wrong = lambda *given, **more: ([replace(one, answer="no") for one in honest(*given, **more)[0]], None)  # noqa: E731
    monkeypatch.setattr(serve, "conversations", wrong)
    with pytest.raises(subjects.DifferentWork, match=r"ours said .* which alone gets 'no'"):
        serve.measure(run(subjects, rounds=1))


def test_a_server_that_does_not_start_says_why(subjects: Any, tmp_path: Path) -> None:
    serve = module("serve")
    with (
        pytest.raises(RuntimeError, match=r"ours did not start: .*nowhere"),
        serve.started("ours", tmp_path / "nowhere", 1),
    ):
        pass


def test_each_server_is_asked_so_often_that_every_client_asks_twice(subjects: Any) -> None:
    serve = module("serve")
    assert [serve.requests(clients) for clients in (1, 4, 64)] == [8, 8, 128]
    assert serve.CONVERSATIONS >= 2 * 16  # the slots of `minimind serve`: what is asked again was overwritten
    command = serve.command_of("llama.cpp server", tmp := Path("a/served"), 80, 1)
    assert command[1:3] == ["-m", "llama_cpp.server"] and str(tmp.with_suffix(".gguf")) in command


@pytest.mark.parametrize(("peer", "stages"), [("PEFT", ["LoRA"]), ("TRL", ["DPO", "GRPO"])])
def test_a_stages_peer_with_other_weights_is_not_compared(
    peer: str, stages: list[str], subjects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(peer.lower())
    align = module("align")
    rows = align.measure(run(subjects, peer, rounds=1))
    assert [(row["name"], row["peer_name"]) for row in rows] == [(f"align pico: {one} step", peer) for one in stages]
    for stage in stages:
        name = stage.lower()
        honest = getattr(align, name)

        def other(*given: Any, honest: Any = honest, **named: Any) -> Any:
            mine, theirs, *rest = honest(*given, **named)
            with torch.no_grad():
                theirs.get_input_embeddings().weight.mul_(1.1)
            return mine, theirs, *rest

        with monkeypatch.context() as patch:
            patch.setattr(align, name, other)
            with pytest.raises(subjects.DifferentWork, match=f"of a {stage} step"):
                align.measure(run(subjects, peer, rounds=1))


def test_a_start_is_timed_in_a_new_process(subjects: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = module("start")
    code = start.first_cell(ROOT / "notebooks" / f"{start.CHAPTER}.ipynb")
    assert code.splitlines()[-1].strip() and "begin(" in code
    code = "open('here', 'w').write(str(sum(range(10**6))))"
    cpu, wall = start.spent(lambda: start.run_command("-c", code, folder=str(tmp_path)))
    assert (tmp_path / "here").read_text() == "499999500000" and 0 < cpu < 5 and wall > 0
    monkeypatch.setattr(start, "first_cell", lambda _: "pass")
    rows = start.measure(run(subjects, "python", rounds=1))
    assert [row["name"] for row in rows] == [
        "start: minimind --help", "start: import minimind_lite", "start: a chapter's first cells",
        "start: a chapter's first cells, in a kernel",
    ]  # fmt: skip
    assert [row["goal"]["at_most"] for row in rows if "goal" in row] == [0.4, 3.0, 3.0]
    with pytest.raises(RuntimeError, match="first cells failed: a mistake"):
        start.run_in_kernel("raise ValueError('a mistake')", str(tmp_path))


def test_attention_that_lets_documents_mix_is_not_compared(subjects: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    attention = module("attention")
    rows = attention.measure(run(subjects, "causal", "mask", rounds=1))
    assert [row["peer_name"] for row in rows] == ["causal", "mask"] and rows[0]["documents"] > 4
    leaky = {"document_ids": torch.zeros(1, 256, dtype=torch.int64)}
    honest = attention.next_token_loss
    monkeypatch.setattr(attention, "next_token_loss", lambda layers, row: honest(layers, row | leaky))
    with pytest.raises(subjects.DifferentWork, match="the output of attention within documents"):
        attention.measure(run(subjects, "mask", rounds=1))


def test_the_rows_of_the_attention_subject_are_full_of_documents(subjects: Any) -> None:
    lengths = module("attention").draw_row(subjects.SIZES["nano"])["document_ids"][0].bincount()
    assert int(lengths.sum()) == 4096 and all(61 <= one <= 379 for one in lengths[:-1].tolist())


def test_two_losses_agree_to_1e_4(subjects: Any) -> None:
    subjects.agree("x", 1.0, 1.00009)
    subjects.agree("x", 100.0, 100.009)
    for other in (1.0002, float("nan")):
        with pytest.raises(subjects.DifferentWork):
            subjects.agree("x", 1.0, other)


@pytest.mark.parametrize("name", ["pico", "pico-moe"])
def test_the_original_computes_what_the_library_computes(name: str, subjects: Any) -> None:
    config = preset(name, router_balance_per="sequence", qk_norm=False)
    torch.manual_seed(0)
    model, original = Transformer(config), module("original").Original(config, 32)
    original.load_state_dict(model.state_dict())
    documents = [Document(torch.randint(3, 6400, (length,)).numpy()) for length in (5, 20, 33)]
    inputs, targets, mask = module("original").padded([one.ids.tolist() for one in documents], 32)
    total, items = model.loss(**pad_documents(documents))
    assert inputs.shape == targets.shape == (3, 32) and int(mask.sum()) == int(items) == 4 + 19 + 32
    loss = module("original").masked_loss(original(inputs)[0], targets, mask)
    torch.testing.assert_close(loss, total / items, atol=1e-5, rtol=1e-5)


def test_a_step_of_the_original_is_adamw_on_the_mean_of_its_batches(subjects: Any) -> None:
    method = module("original")
    torch.manual_seed(0)
    model = method.Original(preset("pico"), 16)
    before = model.model.norm.weight.detach().clone()
    batches = [method.padded([[5, 6, 7, 8], [9, 10]], 16), method.padded([[11, 12, 13]], 16)]
    expected = [method.masked_loss(model(inputs)[0], targets, mask).item() for inputs, targets, mask in batches]
    assert method.train_step(model, batches, 1e-3, 1.0) == pytest.approx(sum(expected) / 2)
    moved = (model.model.norm.weight.detach() - before).abs().max().item()
    assert 0 < moved <= 1e-3 + 1e-3 * 0.01 + 1e-6  # AdamW's first step is at most the learning rate, and decay


def test_arms_take_turns_and_the_first_round_does_not_count(subjects: Any) -> None:
    seen: list[str] = []
    times = module("report").interleave({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, run(subjects))
    assert seen == ["a", "b", "b", "a", "a", "b"] and len(times["a"].cpu) == len(times["b"].wall) == 2
    seen.clear()
    short = subjects.Run("pico", frozenset(), 9, 0.0, 1)
    assert len(module("report").interleave({"a": lambda: seen.append("a")}, short)["a"].cpu) == 1


def test_a_result_has_medians_quartiles_and_a_judged_goal(subjects: Any) -> None:
    report = module("report")
    times = {"ours": report.Times([1.0, 2.0, 4.0], [10.0] * 3), "them": report.Times([2.0, 2.0, 2.0], [5.0] * 3)}
    work = {"ours": 8.0, "them": 4.0}
    row = report.compare("x", "things", run(subjects), times, work, "them", goal=report.Goal("ratio", 2.5), more=1)
    assert (row["ours"], row["peer"], row["ratio"], row["peer_name"]) == (4.0, 2.0, 2.0, "them")
    assert row["spread"] == {"ours": [3.0, 6.0], "peer": [2.0, 2.0], "ratio": [1.5, 3.0]}
    assert row["unit"] == "things per second of CPU time" and row["wall"] == {"ours": 0.8, "peer": 0.8}
    assert row["goal"] == {"of": "ratio", "at_least": 2.5, "met": False} and row["more"] == 1
    walls = report.compare("x", "things", run(subjects, threads=2), times, work, "them")
    assert walls["ours"] == 0.8 and walls["unit"] == "things per second of wall time"
    assert report.alone("y", "s", [3, 1, 2], report.Goal("ours", 2.0, at_most=True))["goal"]["met"]


def test_model_flops_are_counted(subjects: Any) -> None:
    config, context = preset("nano"), 100.0
    matrices = 6400 * 128 + 4 * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 384)
    attention = 4 * 4 * 32 * context * 3 * 4  # layers · heads · head_dim · keys · 3 passes · 2 products of 2 FLOP
    assert module("train").flops_per_position(config, context) == 6 * matrices + attention


def test_the_matrix_peak_is_of_the_faster_shape(subjects: Any) -> None:
    peak = module("report").MatrixPeak(64, 32, 32)
    peak()
    assert list(peak.medians) == ["1024 × 1024 × 1024", "64 × 32 × 32"]
    best = max(peak.medians.values())
    assert peak.share(best * 0.5e9) == pytest.approx(0.5, abs=1e-3)


def test_the_readmes_table_shows_ratio_spread_goal_and_shares(subjects: Any) -> None:
    spread = {"ours": [1.0, 2.0], "peer": [1.0, 1.0], "ratio": [0.004, 1.25]}
    row = {
        "name": "x", "unit": "things per second of CPU time", "ours": 2195.4, "peer": 1.234, "peer_name": "them",
        "ratio": 0.0123, "spread": spread, "goal": {"of": "ratio", "at_least": 1.3, "met": False},
        "padding_share": {"ours": 0.02, "peer": 0.57},
    }  # fmt: skip
    lone = {"name": "y", "unit": "seconds of wall time", "ours": 0.5, "peer_name": None, "spread": {},
            "goal": {"of": "ours", "at_most": 1.0, "met": True}}  # fmt: skip
    versions = {"torch": "2.0", "transformers": "5.0"}
    report = {
        "device": "cpu",
        "versions": versions,
        "load_average": {"before": 0.25, "after": 1.0},
        "results": [row, lone],
    }
    lines = import_module("readme").bench_block([report]).splitlines()
    assert lines[2] == ("| x | things/s | 2,195 | 1.23 (them) | 0.012 × (0.004–1.25) | ≥ 1.3 ×, missed | 2% / 57% |  |")
    assert lines[3] == "| y | seconds | 0.5 |  |  | ≤ 1, met |  |  |"
    assert lines[-1] == "On: cpu; torch 2.0, transformers 5.0; load average before a run: 0.25 to 0.25."


def test_the_readmes_table_of_chapters_says_how_many_ran_at_a_time(subjects: Any) -> None:
    ran_on = import_module("readme").ran_on
    assert ran_on({"device": "cpu, 2 cores"}) == ran_on({"device": "cpu, 2 cores", "jobs": 1}) == "On: cpu, 2 cores."
    assert ran_on({"device": "cpu, 2 cores", "jobs": 2}) == "On: cpu, 2 cores, 2 chapters at a time."
