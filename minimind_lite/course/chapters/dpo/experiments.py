"""Chapter 12's experiments: the reference model, what preference training changed, and TRL's loss to compare with.

The reference is a model that could have given either answer of each pair. DPO compares answers that the reference
itself might give: in the paper the pairs are sampled from it (Rafailov et al. 2023, section 4, arXiv 2305.18290); where
they come from elsewhere, the reference is first fine-tuned on the preferred ones. Here it is fine-tuned on both endings
alike, with no hint which is better, so whatever the model prefers later, DPO has taught it.
"""

import json
import re
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minimind_lite.data.documents import Document, marks
from minimind_lite.data.packing import pad_documents
from minimind_lite.data.preferences import Pair
from minimind_lite.data.records import data_files, read_records
from minimind_lite.evaluation.closed_book import exact_match
from minimind_lite.generation.engine import generate
from minimind_lite.generation.sampling import SamplingConfig
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer
from minimind_lite.tokenizer import Message, Tokenizer
from minimind_lite.training.dpo import reference_logprobs
from minimind_lite.training.options import Resume, RunOptions, TrainConfig
from minimind_lite.training.sft import SFTOptions, run_sft
from minimind_lite.training.stage import StageResult


def write_endings(path: str | Path, target: Path) -> int:
    """Write both endings of every preference record as conversations for fine-tuning; returns how many there are."""
    lines = [
        json.dumps({"conversations": [turn.model_dump(exclude_none=True) for turn in turns]}, ensure_ascii=False)
        for record in read_records(path, "preference")
        for turns in (record.chosen, record.rejected)
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return len(lines)


def run_reference(
    data: Path,
    conversations: Path,
    base: Path,
    folder: Path,
    config: TrainConfig,
    options: SFTOptions,
    resume: Resume = "strict",
) -> StageResult:
    """Fine-tune the model in ``base`` on both endings of the preference file ``data``, and leave it in ``folder``.

    conversations: the file that ``base`` was fine-tuned on, mixed in so that the model does not forget it. There are
    few endings, so each occurs twice in the mixture.
    """
    mixture = folder / "mixture"
    for copy in range(2):
        write_endings(data, mixture / f"endings-{copy}.jsonl")
    for file in data_files(conversations):
        shutil.copyfile(file, mixture / f"conversations-{file.name}")
    return run_sft(mixture, base, folder, config, options, RunOptions(resume=resume))


@dataclass(frozen=True)
class PreferenceReport:
    """One model, measured on held-out pairs and questions."""

    accuracy: "PairAccuracy"
    samples: "SampledAnswers"
    style: float  # share of the sampled answers that end as the preferred ones do
    style_once: float  # the same, but only if they do so once
    kl_answer: float  # to the reference, nats per answer
    kl_token: float  # nats per token
    facts: float  # share of held-out questions whose greedy answer contains the expected sentence


def measure_preferences(
    model: Transformer,
    reference: Transformer,
    tokenizer: Tokenizer,
    pairs: Sequence[Pair],
    questions: Sequence[list[Message]],
    closings: Sequence[str],
    *,
    max_new_tokens: int = 96,
) -> PreferenceReport:
    """Measure everything on held-out pairs and questions. closings: see ``closing_sentences``."""
    samples = sample_answers(model, tokenizer, pairs, max_new_tokens=max_new_tokens)
    accuracy = pair_accuracy(model, pairs, reference_logprobs(reference, pairs))
    answers = exact_match(model, tokenizer, questions, max_new_tokens=max_new_tokens).answers
    facts = sum(answer.expected.strip() in answer.given for answer in answers) / len(answers)
    kl_answer, kl_token = kl_to_reference(model, reference, samples)
    style, once = samples.share_ending(closings), samples.share_ending_once(closings)
    return PreferenceReport(accuracy, samples, style, once, kl_answer, kl_token, facts)


@dataclass(frozen=True)
class PairAccuracy:
    """The share of pairs whose chosen answer the model prefers, by three measures of "prefers"."""

    summed: float  # log π(chosen) > log π(rejected): the whole answers as they stand, so a short one has an advantage
    per_token: float  # the same with means over the tokens
    reward: float  # log π/reference is larger for the chosen answer: DPO's own measure; a tie counts half


def pair_accuracy(model: Transformer, pairs: Sequence[Pair], reference: Tensor) -> PairAccuracy:
    """Measure ``model`` on pairs; reference: (pairs, 2) as ``training.dpo.reference_logprobs`` gives it."""
    policy = reference_logprobs(model, pairs)
    lengths = answer_lengths(pairs)

    def share(scores: Tensor) -> float:
        margin = scores[:, 0] - scores[:, 1]
        margin[margin.abs() < 1e-3] = 0.0  # rounding: the reference itself must come out as undecided
        return float((margin.sign() + 1).mean() / 2)

    return PairAccuracy(share(policy), share(policy / lengths), share(policy - reference))


def answer_lengths(pairs: Sequence[Pair]) -> Tensor:
    """The tokens of the chosen and of the rejected answers, their end tokens too: (pairs, 2)."""
    return torch.tensor([[int(marks(one).sum()) for one in (pair.chosen, pair.rejected)] for pair in pairs])


def chosen_likelier(scores: Tensor, lengths: Tensor) -> tuple[float, float]:
    """The share of pairs whose chosen answer has the higher score: where the rejected one is shorter, and elsewhere.

    scores, lengths: (pairs, 2), chosen and rejected.
    """
    right, shorter = scores[:, 0] > scores[:, 1], lengths[:, 1] < lengths[:, 0]
    return float(right[shorter].float().mean()), float(right[~shorter].float().mean())


def closing_sentences(answers: Sequence[str], at_least: int = 5) -> tuple[str, ...]:
    """The last sentences that ``at_least`` of the answers share, commonest first: how the preferred answers end.

    >>> closing_sentences(["It is 4. Ask again!", "Yes. Ask again!", "No."], at_least=2)
    ('Ask again!',)
    """
    pieces = [re.split(r"(?<=[。！？])|(?<=[.!?])\s+", answer.strip()) for answer in answers]
    counts = Counter([piece for piece in some if piece][-1] for some in pieces if any(some))
    return tuple(sentence for sentence, count in counts.most_common() if count >= at_least)


@dataclass(frozen=True)
class SampledAnswers:
    """Answers drawn from the model's own distribution (temperature 1, unfiltered), one per prompt."""

    texts: list[str]
    documents: list[Document]  # prompt and answer; the answer is marked

    def share_ending(self, closings: Sequence[str]) -> float:
        """The share of answers that end with one of ``closings``."""
        return sum(text.strip().endswith(tuple(closings)) for text in self.texts) / len(self.texts)

    def share_ending_once(self, closings: Sequence[str]) -> float:
        """The stricter share: they end with one of ``closings`` and contain no other one, nor the same one twice."""
        once = [sum(text.count(one) for one in closings) == 1 for text in self.texts]
        ends = [text.strip().endswith(tuple(closings)) for text in self.texts]
        return sum(a and b for a, b in zip(once, ends, strict=True)) / len(self.texts)


def sample_answers(
    model: Transformer, tokenizer: Tokenizer, pairs: Sequence[Pair], *, max_new_tokens: int = 96, seed: int = 0
) -> SampledAnswers:
    """One sample for the prompt of each pair; the same seed gives the same samples."""
    prompts = [pair.chosen.ids[: int(marks(pair.chosen).argmax())].tolist() for pair in pairs]
    sampling = SamplingConfig(temperature=1.0, seed=seed)
    drawn = generate(model, tokenizer, prompts, max_new_tokens=max_new_tokens, sampling=sampling)
    documents = [
        Document(np.asarray(prompt + one.ids), np.repeat(np.array([0, 1], np.uint8), [len(prompt), len(one.ids)]))
        for prompt, one in zip(prompts, drawn, strict=True)
    ]
    return SampledAnswers([one.text for one in drawn], documents)


@torch.no_grad()
def kl_to_reference(
    model: Transformer, reference: Transformer, samples: SampledAnswers, batch_size: int = 16
) -> tuple[float, float]:
    """KL(model ‖ reference) in nats: of a whole answer, and of one token, over answers sampled from ``model``.

    At each token the divergence of the two next-token distributions is summed exactly over the vocabulary; only the
    answers are a sample. Unbiased for the divergence of whole answers, and never below 0.
    """
    total = tokens = 0.0
    for start in range(0, len(samples.documents), batch_size):
        batch = pad_documents(samples.documents[start : start + batch_size])
        answer = batch["targets"] != IGNORED_TARGET
        ids = batch["input_ids"].to(model.model.norm.weight.device)
        ours, theirs = (
            one.logits(one.hidden_states(ids)[answer]).float().log_softmax(-1) for one in (model, reference)
        )
        total += float((ours.exp() * (ours - theirs)).sum())  # (tokens, vocab_size)
        tokens += int(answer.sum())
    return total / len(samples.documents), total / tokens


def trl_trainer(folder: Path) -> Any:
    """A ``trl.DPOTrainer`` around the model in ``folder``, on the CPU. It insists on data: it gets one dummy pair."""
    warnings.simplefilter("ignore", FutureWarning)  # of transformers about trl
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    turn = {role: [{"role": role, "content": "hello"}] for role in ("user", "assistant")}
    one = {"prompt": turn["user"], "chosen": turn["assistant"], "rejected": turn["assistant"]}
    arguments = DPOConfig(tempfile.mkdtemp(), report_to=[], use_cpu=True, bf16=False, disable_tqdm=True,
                          gradient_checkpointing=False, precompute_ref_log_probs=True)  # fmt: skip
    return DPOTrainer(  # from a folder on this disk; nothing is downloaded
        AutoModelForCausalLM.from_pretrained(folder),  # nosec B615
        args=arguments, train_dataset=datasets.Dataset.from_list([one]),
        processing_class=AutoTokenizer.from_pretrained(folder),  # nosec B615
    )  # fmt: skip


def trl_loss(
    trainer: Any, pairs: Sequence[Pair], reference: Tensor, beta: float, loss_type: str
) -> tuple[Tensor, dict[str, float]]:
    """TRL's mean loss over ``pairs`` and its metrics (``rewards/chosen``, …), batched by TRL's own collator."""
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    rows = []
    for pair, (chosen, rejected) in zip(pairs, reference.tolist(), strict=True):
        answers = [one.ids[marks(one) == 1].tolist() for one in (pair.chosen, pair.rejected)]
        prompt = pair.chosen.ids[: int(marks(pair.chosen).argmax())].tolist()
        rows.append({"prompt_ids": prompt, "chosen_ids": answers[0], "rejected_ids": answers[1],
                     "ref_chosen_logps": chosen, "ref_rejected_logps": rejected})  # fmt: skip
    trainer.loss_types, trainer.beta = [loss_type], beta
    trainer._metrics["eval"].clear()
    trainer.model.eval()
    loss = trainer._compute_loss(trainer.model, DataCollatorForPreference(pad_token_id=0)(rows), False)
    return loss, {name: values[0] for name, values in trainer._metrics["eval"].items()}
