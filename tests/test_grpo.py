"""GRPO: the formulas against float64 and TRL, rewards that cannot be cheated, and a run that resumes exactly."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reinforce_kit import Interrupt, config, make_base, make_prompts, make_rollout, many_letters
from torch import Tensor
from training_kit import same_weights
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.config import ConfigError
from minimind_lite.course.chapters.grpo.experiments import trl_grpo_loss
from minimind_lite.data.records import DataError
from minimind_lite.model.losses import token_logprobs
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training import grpo
from minimind_lite.training.callbacks import Callback, read_metrics
from minimind_lite.training.checkpoint import latest_checkpoint
from minimind_lite.training.grpo import GRPOLoss, GRPOOptions, run_grpo
from minimind_lite.training.loop import Trainer
from minimind_lite.training.options import RunOptions
from minimind_lite.training.policy_gradient import OBJECTIVES, clipped_loss, group_advantages, k3, summed
from minimind_lite.training.rewards import RewardError, correctness_reward, format_reward, length_reward, score
from minimind_lite.training.rollouts import read_prompts, roll_out

LETTERS = [(many_letters, 1.0)]
REWARDS = torch.tensor([[1.0, 0.0, 0.2, 1.2], [0.0, 0.0, 1.0, 0.0], [1.2, 1.1, 1.2, 1.0]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_prompts(tmp_path_factory.mktemp("data") / "sums.jsonl")


# Advantages


@pytest.mark.parametrize("scale", [True, False])
def test_advantages_are_those_of_float64_arithmetic(scale: bool) -> None:
    expected = []
    for group in REWARDS.double().tolist():
        mean = sum(group) / len(group)
        std = math.sqrt(sum((r - mean) ** 2 for r in group) / (len(group) - 1))
        expected.append([(r - mean) / (std + 1e-4 if scale else 1) for r in group])
    torch.testing.assert_close(
        group_advantages(REWARDS, scale).double(), torch.tensor(expected).double(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("scale", [True, False])
def test_equal_rewards_give_exactly_nothing(scale: bool) -> None:
    equal = torch.full((2, 7), 0.1)  # 0.1 has no exact binary form: a mean of seven need not be 0.1
    assert group_advantages(equal, scale).abs().max() == 0


# The loss


def naive_loss(rollout: Any, logprobs: Tensor, options: GRPOOptions) -> float:
    """Token by token in float64, from the papers' formulas."""
    paper = options.chosen
    groups = rollout.rewards.double().view(-1, options.group_size)
    advantages = group_advantages(groups, paper.scale_by_std).flatten()
    answers = []
    for row in range(len(rollout.rewards)):
        losses = []
        for t in range(rollout.targets.shape[1]):
            if rollout.targets[row, t] == -100:
                continue
            now, old = float(logprobs[row, t].detach()), float(rollout.old_logprobs[row, t])
            ratio, a = math.exp(now - old), float(advantages[row])
            held = min(max(ratio, 1 - paper.clip_low), 1 + paper.clip_high)
            gain = held * a * now if paper.detached else min(ratio * a, held * a)
            other = float(rollout.reference_logprobs[row, t]) - now
            losses.append(-gain + options.kl_weight * (math.exp(other) - other - 1))
        answers.append(losses)
    if paper.average == "sequence":
        return sum(sum(one) / len(one) for one in answers) / len(answers)
    if paper.average == "token":
        return sum(map(sum, answers)) / sum(map(len, answers))
    return sum(map(sum, answers)) / (len(answers) * options.max_new_tokens)


def random_logprobs(rollout: Any) -> Tensor:
    noise = 0.4 * torch.randn(rollout.targets.shape, generator=torch.Generator().manual_seed(5))
    return ((rollout.old_logprobs + noise) * rollout.mask).requires_grad_()


def our_loss(rollout: Any, logprobs: Tensor, options: GRPOOptions, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(grpo, "token_logprobs", lambda *_: logprobs)
    model = torch.nn.Linear(1, 1)
    return GRPOLoss(None, options, LETTERS, model).loss(model, rollout)  # type: ignore[arg-type]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kl_weight", [0.0, 0.3])
def test_each_papers_loss_is_that_of_float64_loops(
    objective: str, kl_weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = GRPOOptions(objective=objective, kl_weight=kl_weight, group_size=4, max_new_tokens=9)
    rollout = make_rollout(REWARDS)
    logprobs = random_logprobs(rollout)
    loss = our_loss(rollout, logprobs, options, monkeypatch)
    assert float(loss.total.detach() / loss.items) == pytest.approx(naive_loss(rollout, logprobs, options), abs=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_and_gradient_are_trls(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl")
    options = GRPOOptions(objective=objective, kl_weight=0.1, group_size=4, max_new_tokens=9)
    rollout = make_rollout(REWARDS)
    ours, theirs = random_logprobs(rollout), random_logprobs(rollout)
    loss = our_loss(rollout, ours, options, monkeypatch)
    advantages = group_advantages(REWARDS, options.chosen.scale_by_std).flatten()
    other = trl_grpo_loss(rollout, theirs, advantages, objective, options.chosen, kl_weight=0.1, limit=9)
    mean = loss.total / loss.items
    torch.testing.assert_close(mean, other, rtol=1e-5, atol=1e-6)
    mean.backward(), other.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


def test_clip_higher_lets_an_unlikely_good_token_rise_further() -> None:
    now, old, good = torch.tensor([[math.log(0.0125)]]), torch.tensor([[math.log(0.01)]]), torch.tensor([[1.0]])
    slopes: dict[str, Any] = {}
    for name, objective in OBJECTIVES.items():
        logprobs = now.clone().requires_grad_()
        clipped_loss(logprobs, old, good, objective).sum().backward()
        slopes[name] = logprobs.grad.item()  # type: ignore[union-attr]
    assert slopes["grpo"] == 0 and slopes["dapo"] == pytest.approx(-1.25) == slopes["cispo"]


def test_sums_of_micro_batches_give_the_mean_of_the_whole() -> None:
    values, mask = torch.randn(6, 5), torch.rand(6, 5) < 0.7
    mask[:, 0] = True
    for average in ("sequence", "token", "constant"):
        whole = summed(values, mask, average, 8)
        parts = [summed(values[rows], mask[rows], average, 8) for rows in (slice(0, 2), slice(2, 6))]
        torch.testing.assert_close(whole[0] / whole[1], sum(p[0] for p in parts) / sum(p[1] for p in parts))


def test_k3_is_unbiased_and_never_negative() -> None:
    torch.manual_seed(0)
    policy, reference = torch.randn(6).log_softmax(0), torch.randn(6).log_softmax(0)
    kl = (policy.exp() * (policy - reference)).sum()
    torch.testing.assert_close((policy.exp() * k3(policy, reference)).sum(), kl)
    assert k3(policy, reference).min() >= 0


# Groups without a difference


def test_dead_groups_are_counted_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rewards = REWARDS.clone()
    rewards[1] = 0.7
    options, rollout = GRPOOptions(group_size=4, kl_weight=0.5), make_rollout(rewards)
    alive = torch.tensor([True] * 4 + [False] * 4 + [True] * 4)
    some = random_logprobs(rollout).detach()[alive].requires_grad_()
    loss = our_loss(rollout, some, options, monkeypatch)
    assert int(loss.items) == 8
    assert loss.extras["dead_groups"].tolist() == [1, 3]


def test_a_step_of_dead_groups_changes_no_weight(tmp_path: Path, base: Path, prompts: Path) -> None:
    def always_one(question: str, written: str, right_answer: str) -> float:
        return 1.0

    options = GRPOOptions(group_size=3, max_new_tokens=4)
    all_right = replace(options, custom_rewards=[(always_one, 1.0)])
    done = run_grpo(prompts, base, tmp_path, config(weight_decay=0.5), all_right)
    assert same_weights(done.model, load_pretrained(base))
    assert all(row["dead_groups"] == 1 and row["reward"] == 1 for row in done.training.history)
    assert "none of the 6 steps" in done.training.nothing_learned
    assert "earned the same reward" in done.training.nothing_learned


def test_a_command_that_learned_nothing_fails_and_says_why(tmp_path: Path, base: Path, prompts: Path) -> None:
    settings = ["total_steps=2", "group_size=2", "max_new_tokens=2", "device=cpu", "progress=false"]
    changes = [part for one in settings for part in ("-p", one)]  # two tokens are never a right answer in its tags
    done = CliRunner().invoke(app, ["train", "grpo", str(prompts), str(base), str(tmp_path / "out"), *changes])
    assert done.exit_code == 1 and "trained:" not in done.output
    assert f"{prompts.name}: none of the 2 steps" in done.output


def test_metrics_of_two_prompts_are_the_same_in_one_micro_batch_or_two(
    tmp_path: Path, base: Path, prompts: Path
) -> None:
    options = replace(GRPOOptions(group_size=3, max_new_tokens=4), custom_rewards=[(many_letters, 1.0)])
    for average in ("sequence", "token"):
        rows = [
            run_grpo(
                prompts, base, tmp_path / f"{average}-{micro}",
                config(micro_batch_size=micro, gradient_accumulation_steps=2 // micro, total_steps=1),
                replace(options, average=average),
            ).training.history[0]
            for micro in (1, 2)
        ]  # fmt: skip
        for row in rows:
            assert row["answer_tokens"] <= 4 and row["dead_groups"] in (0, 0.5)


def test_a_dead_step_after_live_ones_is_not_moved_by_momentum(tmp_path: Path, base: Path, prompts: Path) -> None:
    kept: list[Any] = []

    class Keep(Callback):
        def after_step(self, trainer: Trainer) -> None:
            kept.append(({name: value.clone() for name, value in trainer.model.state_dict().items()}, trainer.row))

    calls = [0]

    def dead_after_three_steps(question: str, written: str, right_answer: str) -> float:
        calls[0] += 1
        return many_letters(question, written, right_answer) if calls[0] <= 3 * 2 * 4 else 0.0

    options = GRPOOptions(group_size=4, max_new_tokens=12)
    run_grpo(
        prompts,
        base,
        tmp_path,
        config(),
        replace(options, custom_rewards=[(dead_after_three_steps, 1.0)]),
        run=RunOptions(callbacks=[Keep()]),
    )
    assert kept[2][1]["dead_groups"] < 1 and kept[3][1]["dead_groups"] == 1
    assert all(torch.equal(kept[2][0][name], kept[5][0][name]) for name in kept[2][0])
    assert any(not torch.equal(kept[0][0][name], kept[2][0][name]) for name in kept[0][0])


# Rollouts


def test_log_probabilities_are_those_of_the_sampling_temperature(base: Path, prompts: Path) -> None:
    model, tokenizer = load_pretrained(base), grpo_tokenizer(base)
    options = GRPOOptions(group_size=3, max_new_tokens=6, temperature=0.6)
    rollout = roll_out(model, tokenizer, read_prompts(prompts, tokenizer)[:2], options, LETTERS, model)
    for temperature, same in ((0.6, True), (1.0, False)):
        again = token_logprobs(model, rollout.input_ids, rollout.targets, temperature)
        assert torch.allclose(again, rollout.old_logprobs, atol=1e-4) == same
    torch.testing.assert_close(rollout.reference_logprobs, rollout.old_logprobs, rtol=1e-4, atol=1e-4)


def grpo_tokenizer(base: Path) -> Any:
    from minimind_lite.tokenizer import Tokenizer

    return Tokenizer.load(base)


def test_a_question_that_holds_its_answer_is_left_out(tmp_path: Path, base: Path) -> None:
    file = make_prompts(tmp_path / "few.jsonl", [("7+0", "7"), ("7+1", "8"), ("10+25", "35"), ("123+1", "124")])
    kept = read_prompts(file, grpo_tokenizer(base), max_digits=4)
    assert [(one.question, one.right_answer) for one in kept] == [("7+1=?", "8"), ("10+25=?", "35"), ("123+1=?", "124")]
    with pytest.raises(DataError, match="no prompt is left"):
        read_prompts(file, grpo_tokenizer(base), max_digits=1)


# Rewards

QUESTION, GOLD = "How much is 23+59?", "82"
GOOD = "<think>\nones: 3+9=12, so 2, carry 1\ntens: 2+5+1=8, so 82\n</think>\n<answer>\n82\n</answer>"


def test_a_right_answer_in_form_earns_everything() -> None:
    assert [reward(QUESTION, GOOD, GOLD) for reward in (correctness_reward, format_reward, length_reward)] == [1, 1, 1]


@pytest.mark.parametrize(
    "written",
    [
        "", QUESTION, "82", "The answer is 82.", f"<answer>\n{QUESTION}\n</answer>",
        f"<think>\n{QUESTION}\n</think>\n<answer>\n{QUESTION}\n</answer>",
        "<think>\n23+59\n</think>\n<answer>\n23+59\n</answer>",
        "<think>\n23\n</think>\n<answer>\n23\n</answer>",
        f"<answer>\n{' '.join(map(str, range(200)))}\n</answer>", "<answer>\n81 82 83\n</answer>",
        "<answer>\n82\n</answer>\n<answer>\n83\n</answer>", "<answer>\n83\n</answer>\n<answer>\n82\n</answer>",
        "<think>\n82\n</think>", "<answer>\n23+59=82\n</answer>", "<answer>\n82 or 83\n</answer>",
    ],
)  # fmt: skip
def test_copying_listing_and_guessing_several_times_earn_nothing(written: str) -> None:
    for reward in (correctness_reward, format_reward, length_reward):
        assert reward(QUESTION, written, GOLD) == 0, reward.__name__


@pytest.mark.parametrize(
    ("written", "correct", "form"),
    [
        (GOOD.replace("82\n</answer>", "83\n</answer>"), 0, 1),
        ("<answer>\n82\n</answer>", 1, 0),  # no thought
        (GOOD + "\nand more", 1, 0),
        (GOOD.replace("<think>\n", "<think>\n<think>\n"), 1, 0),
        ("<think>\n23+59\n</think>\n<answer>\n82\n</answer>", 1, 0),  # the thought is a piece of the question
        (f"<think>\nNow, {QUESTION} Well.\n</think>\n<answer>\n82\n</answer>", 1, 0),  # and here the whole of it
        (GOOD.replace("82\n</answer>", "59\n</answer>"), 0, 0),  # the answer is a piece of the question
        (GOOD.replace("82\n</answer>", f"{QUESTION} 82\n</answer>"), 0, 0),
    ],
)
def test_each_reward_looks_at_its_own_part(written: str, correct: float, form: float) -> None:
    assert (correctness_reward(QUESTION, written, GOLD), format_reward(QUESTION, written, GOLD)) == (correct, form)


def test_a_thought_beyond_bounds_earns_less_and_less() -> None:
    def thought(characters: int) -> str:
        return f"<think>\n{'x' * characters}\n</think>\n<answer>\n82\n</answer>"

    assert [length_reward(QUESTION, thought(n), GOLD) for n in (200, 300, 400, 900)] == [1, 0.5, 0, 0]


@pytest.mark.parametrize("kind", ["raises", "nan", "none"])
def test_a_failing_reward_is_named_and_loses_no_checkpoint(
    kind: str, tmp_path: Path, base: Path, prompts: Path
) -> None:
    calls = [0]

    def shaky(question: str, written: str, right_answer: str) -> Any:
        calls[0] += 1
        if calls[0] <= 4 * 2 * 2:  # four whole steps
            return many_letters(question, written, right_answer)
        if kind == "raises":
            raise ZeroDivisionError("no such luck")
        return math.nan if kind == "nan" else None

    options = GRPOOptions(group_size=2, max_new_tokens=12)
    with pytest.raises(RewardError, match=r"'shaky' on the prompt '\d\+11=\?'") as caught:
        run_grpo(prompts, base, tmp_path, config(), replace(options, custom_rewards=[(shaky, 1.0)]))
    assert "run the same command again" in str(caught.value)
    found = latest_checkpoint(tmp_path / "checkpoints")
    assert found is not None and found.step == 3
    calls[0] = -1000  # fixed
    done = run_grpo(prompts, base, tmp_path, config(), replace(options, custom_rewards=[(shaky, 1.0)]))
    assert done.training.resumed_from == 3 and done.training.steps == 6


def test_score_gives_one_column_per_function() -> None:
    rewards = [(correctness_reward, 1.0), (format_reward, 0.1)]
    assert score(rewards, [(QUESTION, GOOD, GOLD), (QUESTION, "82", GOLD)]) == [[1, 1], [0, 0]]


# The run


@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("objective", ["grpo", "cispo"])
def test_an_interrupted_run_ends_bit_by_bit_like_a_whole_one(
    objective: str, updates: int, tmp_path: Path, base: Path, prompts: Path
) -> None:
    class Stop(Callback):
        def after_step(self, trainer: Trainer) -> None:
            if trainer.step == 4:
                raise Interrupt

    options = GRPOOptions(objective=objective, group_size=4, max_new_tokens=12, updates_per_rollout=updates)
    settings: Any = {"config": config(), "options": replace(options, custom_rewards=LETTERS)}
    whole = run_grpo(prompts, base, tmp_path / "whole", **settings, run=RunOptions(eval_data=prompts))
    with pytest.raises(Interrupt):
        run_grpo(prompts, base, tmp_path / "cut", **settings, run=RunOptions(prompts, callbacks=[Stop()]))
    torch.rand(5)
    resumed = run_grpo(prompts, base, tmp_path / "cut", **settings, run=RunOptions(eval_data=prompts))
    assert resumed.training.resumed_from == 3  # with 2 updates per rollout: in the middle of one
    assert same_weights(whole.model, resumed.model) and not same_weights(whole.model, load_pretrained(base))
    rows = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "cut")]
    assert [row["reward"] for row in rows[0]] == [row["reward"] for row in rows[1]]
    assert "accuracy" in rows[0][-1]
    moved = [row["ratio_change"] > 1e-4 for row in rows[0] if row["dead_groups"] < 1]
    assert moved == [False, True] * 3 if updates == 2 else not any(moved)


def test_likely_answers_become_those_that_are_rewarded(tmp_path: Path, base: Path, prompts: Path) -> None:
    options = GRPOOptions(group_size=8, max_new_tokens=12, kl_weight=0.0)
    done = run_grpo(
        prompts,
        base,
        tmp_path,
        config(total_steps=16, learning_rate=1e-2, micro_batch_size=4),
        replace(options, custom_rewards=LETTERS),
    )
    reward = [row["reward"] for row in done.training.history]
    assert sum(reward[-5:]) > 1.5 * sum(reward[:5])


@pytest.mark.parametrize(
    "changes",
    [
        {"group_size": 1}, {"objective": "reinforce"}, {"average": "mean"}, {"advantage_scale": "batch"},
        {"temperature": 0.0}, {"kl_weight": -1.0}, {"updates_per_rollout": 0}, {"max_new_tokens": 0},
    ],
)  # fmt: skip
def test_impossible_options_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        GRPOOptions(**changes)


def test_named_changes_reach_the_objective() -> None:
    chosen = GRPOOptions(objective="dapo", clip_high=0.5, average="sequence", advantage_scale="none").chosen
    assert chosen == replace(OBJECTIVES["dapo"], clip_high=0.5, average="sequence", scale_by_std=False)


def test_updates_and_accumulation_do_not_mix(tmp_path: Path, base: Path, prompts: Path) -> None:
    with pytest.raises(ConfigError, match="gradient_accumulation_steps=1"):
        run_grpo(prompts, base, tmp_path, config(gradient_accumulation_steps=2), GRPOOptions(updates_per_rollout=2))


def test_the_reference_follows_the_model_to_its_device(base: Path) -> None:
    class Look(GRPOLoss):
        def answer(self, model: Any, batch: list[Any]) -> Any:
            return next(self.reference.parameters()).device  # type: ignore[union-attr]

        def loss(self, model: Any, rollout: Any) -> Any:
            return rollout

    loss = Look(Tokenizer.load(base), GRPOOptions(kl_weight=0.1), (), load_pretrained(base))
    assert loss(torch.nn.Linear(1, 1, device="meta"), []) == torch.device("meta")


def rlaif(folder: Path, *pairs: tuple[str, str]) -> Path:
    """Prompts and what stands in the place of their answers, as in MiniMind's rlaif.jsonl."""
    file = folder / "rlaif.jsonl"
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in pairs]
    file.write_text("".join(json.dumps({"conversations": one}, ensure_ascii=False) + "\n" for one in turns), "utf-8")
    return file


def test_prompts_without_an_answer_are_left_out_and_counted(
    tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = grpo_tokenizer(base)
    file = rlaif(tmp_path, ("写一首诗", "无"), ("3+4", "7"), ("你好", "  "), ("再见", "无"))
    assert [prompt.question for prompt in read_prompts(file, tokenizer)] == ["3+4"]
    assert "3 prompts have no right answer to compare with" in caplog.text
    kept = read_prompts(file, tokenizer, graded=False)  # scored by a reward of one's own
    assert [prompt.question for prompt in kept] == ["写一首诗", "3+4", "你好", "再见"]


def test_a_target_beside_a_conversation_is_the_right_answer(
    tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty lines as in MiniMind's agent_rl files: tools, a last turn that says nothing, and gt."""
    tools = json.dumps([{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}])
    system = {"role": "system", "content": "", "tools": tools}
    lines = [
        {"conversations": [system, {"role": "user", "content": f"{n}+5"}, {"role": "assistant", "content": ""}],
         "gt": [n + 5] if n % 2 else [str(n + 5), "five"]}
        for n in range(1, 21)
    ]  # fmt: skip
    file = tmp_path / "agent_rl.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    prompts = read_prompts(file, grpo_tokenizer(base))
    assert [(prompt.question, prompt.right_answer) for prompt in prompts] == [
        (f"{n}+5", str(n + 5)) for n in range(1, 21, 2)
    ]
    assert "10 prompts have no right answer to compare with" in caplog.text  # several values at once
    assert len(read_prompts(file, grpo_tokenizer(base), graded=False)) == 20
    text = grpo_tokenizer(base).decode(prompts[0].ids, skip_special_tokens=False)
    assert '"name": "add"' in text and "1+5" in text


def test_a_file_of_prompts_only_is_refused_with_the_way_out(tmp_path: Path, base: Path) -> None:
    file = rlaif(tmp_path, ("写一首诗", "无"), ("再见", "无"))
    with pytest.raises(DataError, match=r"none of its 2 prompts has a right answer.*custom_rewards"):
        run_grpo(file, base, tmp_path / "out", config(total_steps=1), GRPOOptions(group_size=2, max_new_tokens=4))
    with pytest.raises(DataError, match="no prompt is left"):
        read_prompts(rlaif(tmp_path, ("7+0", "7")), grpo_tokenizer(base))
