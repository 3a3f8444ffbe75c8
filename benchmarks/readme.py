"""Write the README's figures from the files that measured them: python benchmarks/readme.py [--course REPORT].

Blocks of the README between ``<!-- name -->`` and ``<!-- /name -->`` are written here and nowhere else. With
``--course build/course/report.json`` that report is first copied to benchmarks/results/course.json; ``--check`` only
compares.
"""

import argparse
import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from readme_chinese import in_chinese

from minimind_lite.course.kit.discovery import chapter_part
from minimind_lite.course.kit.language import say, speaking

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ROWS = [  # words, figure, figure before or to compare with, format
    ("MoE: loss at equal active parameters and steps, nats per token (beside it: dense)",
     "moe.loss", "moe.dense_loss", "{:.3f}"),
    ("MoE: router entropy, share of its maximum", "moe.router_entropy", None, "{:.3f}"),
    ("LoRA: questions about itself answered word for word (beside it: before)",
     "lora.identity_after", "lora.identity_before", "{:.1%}"),
    ("LoRA: share of the parameters that were trained", "lora.trainable_share", None, "{:.1%}"),
    ("LoRA: closed-book score lost with the adapter on", "lora.sft_drop", None, "{:.1f} points"),
    ("DPO: pairs in which the better answer is preferred (beside it: before)",
     "dpo.preference_accuracy_after", "dpo.preference_accuracy_before", "{:.1%}"),
    ("DPO: sampled answers in the preferred style", "dpo.win_rate", None, "{:.1%}"),
    ("Distillation: the student's loss on answers, nats per token (beside it: the same student on labels alone)",
     "distill.loss", "distill.labels_only_loss", "{:.3f}"),
    ("Reasoning: sums right with thinking (beside it: without, at equal training tokens)",
     "reason.accuracy_think", "reason.accuracy_direct", "{:.1%}"),
    ("Reasoning: answers whose tags are well-formed", "reason.well_formed", None, "{:.1%}"),
    ("GRPO: sums right after reinforcement (beside it: the model it started from)",
     "grpo.accuracy_after", "grpo.accuracy_before", "{:.1%}"),
]  # fmt: skip


def title(chapter: str, folder: str = "notebooks") -> str:
    """The first heading of the chapter's notebook."""
    notebook = json.loads((ROOT / folder / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    heads = ["".join(c["source"]).splitlines()[0] for c in notebook["cells"] if c["cell_type"] == "markdown"]
    first = next(head for head in heads if head.startswith("# "))[2:]
    return re.sub(r"^(chapter\s+)?\d+b?\s*[.:·—-]*\s*", "", first, flags=re.I)


def builds(chapter: str, folder: str = "notebooks") -> str:
    """The part of the library that a chapter builds, as its settings say."""
    part = str(getattr(chapter_part(chapter.partition("_")[2], "settings"), "BUILDS", ""))
    if folder == "notebooks":
        return part
    return BUILDS_ZH.get(part) or re.sub(r"(.+) in (`.+`)", r"\2 里的 \1", part)


BUILDS_ZH = {"the whole pipeline, at toy size": "整条流水线，玩具大小"}


HEADS = {"notebooks": ("chapter", "builds", "minutes", "all"), "notebooks/zh": ("章", "建成什么", "分钟", "合计")}


def chapters_block(course: dict[str, Any], folder: str = "notebooks") -> str:
    """The table of an edition's chapters with their minutes."""
    chapter, built, time, total = HEADS[folder]
    lines = [f"| | {chapter} | {built} | {time} |", "|---|---|---|---|"]
    for row in course["chapters"]:
        name, minutes = row["name"], row["seconds"] / 60
        link = f"[{title(name, folder)}]({folder}/{name}.ipynb)"
        lines.append(f"| {name.partition('_')[0]} | {link} | {builds(name, folder)} | {minutes:.1f} |")
    return "\n".join([*lines, f"| | **{total}** | | **{course['total_seconds'] / 60:.1f}** |"])


def ran_on(course: dict[str, Any]) -> str:
    """The device of a run, and how many chapters ran at a time: the reason why all take less than their sum."""
    jobs = course.get("jobs", 1)  # a report of before has none
    return f"On: {course['device']}{f', {jobs} chapters at a time' if jobs > 1 else ''}."


def results_block(stages: dict[str, Any], course: dict[str, Any]) -> str:
    """The held-out figures beside what they compare with: means over seeds, or the course's own figures."""
    figures = course["figures"] | stages["mean"]
    lines = ["| held-out measurement | model | beside it |", "|---|---|---|"]
    for words, name, other, form in ROWS:
        if name not in figures:  # a stage that is not measured yet
            continue
        beside = form.format(figures[other]) if other else ""
        lines.append(f"| {words} | {form.format(figures[name])} | {beside} |")
    return "\n".join(lines)


WORLD = [  # words, figure of the recorded run, figure before or to compare with, format
    ("Facts, other wordings of a trained question", "sft.exact_match", "sft.exact_match_before", "{:.0%}"),
    ("Facts, frames never trained", "sft.facts_far", None, "{:.0%}"),
    ("Facts asked backwards, backward questions of the kind trained", "sft.facts_backwards_trained", None, "{:.0%}"),
    ("Facts asked backwards, none trained", "sft.facts_backwards", None, "{:.0%}"),
    ("Small talk: the right intent", "sft.talk", None, "{:.0%}"),
    ("Follow-up questions", "sft.follow_ups", None, "{:.0%}"),
    ("Recall across turns, values of known lists", "sft.recall_known_lists", None, "{:.0%}"),
    ("Recall across turns, new names and numbers", "sft.recall_open", None, "{:.0%}"),
    ("Invented names refused (beside it: known ones refused)", "sft.unknown_refused", "sft.known_refused", "{:.0%}"),
    ("System turns obeyed", "sft.system_turns", None, "{:.0%}"),
    ("Stories that end by themselves", "sft.stories_ended", None, "{:.0%}"),
    ("Stories that keep the asked hero", "sft.stories_hero_kept", None, "{:.0%}"),
    ("Stories whose end fits the asked wish", "sft.stories_wish_fits", None, "{:.0%}"),
    ("Longest run copied from a training story, share of a story", "sft.stories_copied", None, "{:.0%}"),
    ("Bits per byte on all held-out texts after fine-tuning (beside it: before)",
     "sft.bits_per_byte_after", "sft.bits_per_byte_before", "{:.2f}"),
    ("Pretraining: sources below an interpolated trigram (beside it: sources)",
     "pretrain.sources_below_trigram", "pretrain.sources", "{:.0f}"),
    ("Tokenizer: characters per token, Chinese stories and talk", "tokenizer.chars_per_token_zh", None, "{:.2f}"),
    ("Tokenizer: characters per token, English stories and talk", "tokenizer.chars_per_token_en", None, "{:.2f}"),
]  # fmt: skip


def world_block(course: dict[str, Any], stages: dict[str, Any]) -> str:
    """What the chat model does, kind by kind: the recorded run, and three more seeds on all questions."""
    figures = course["figures"]
    lines = ["| held-out | recorded run | beside it | three other seeds, all questions |", "|---|---|---|---|"]
    for words, name, other, form in WORLD:
        beside = form.format(figures[other]) if other else ""
        stage, _, figure = name.partition(".")
        values = [one[figure] for one in stages["per_seed"].get(stage, []) if figure in one]
        low, high = (form.format(edge(values)) for edge in (min, max)) if values else ("", "")
        mean = f"{form.format(sum(values) / len(values))} ({low} to {high})" if values else ""
        lines.append(f"| {words} | {form.format(figures[name])} | {beside} | {mean} |")
    return "\n".join(lines)


EXAMS = {  # suite and metric of a column of the table of exams
    "exam, by letter": ("samples/letter", "accuracy"),
    "exam, by whole answer": ("samples/answer", "accuracy per byte"),
    "Chinese pairs": ("samples-zh/pairs", "accuracy"),
    "English pairs": ("samples-en/pairs", "accuracy"),
}


def exams_block(exams: dict[str, Any]) -> str:
    """Models on the sample exams and language tests, each share with its 95 % interval; then chance and n."""
    found = {(row["model"], row["suite"], row["metric"]): row for row in exams["scores"]}
    lines = [f"| model | {' | '.join(EXAMS)} |", f"|---|{'---|' * len(EXAMS)}"]
    for model in exams["models"]:
        rows = [found[model, *column] for column in EXAMS.values()]
        shares = [f"{row['value']:.1%} ({100 * row['low']:.0f}–{100 * row['high']:.0f})" for row in rows]
        lines.append(f"| {model} | {' | '.join(shares)} |")
    guessing = [f"{row['chance']:.0%} (n = {row['n']})" for row in rows]
    return "\n".join([*lines, f"| guessing | {' | '.join(guessing)} |"])


CLAIMED = {
    "notebooks": ("chapter", "runs", "statements", "held in every run", "did not (runs in which it held)"),
    "notebooks/zh": ("章", "运行次数", "陈述", "每次都成立", "并非每次成立的（成立的次数）"),
}


def claims_block(record: dict[str, Any], folder: str = "notebooks") -> str:
    """In how many runs what an edition's chapters say of their own run held; those that did not always, by name."""
    lines = ["| | {} | {} | {} | {} | {} |".format(*CLAIMED[folder]), "|---|---|---|---|---|---|"]
    for name, chapter in record["chapters"].items():
        claims, runs = chapter["claims"], len(chapter["runs"])
        with speaking("zh" if folder.endswith("zh") else "en"):
            failed = [f"{say(text)} ({one['held']}/{one['of']})" for text, one in claims.items() if one["not_in"]]
        link, always = f"[{title(name, folder)}]({folder}/{name}.ipynb)", len(claims) - len(failed)
        number = name.partition("_")[0]
        lines.append(f"| {number} | {link} | {runs} | {len(claims)} | {always} | {'; '.join(failed)} |")
    return "\n".join(lines)


def agreement(found: dict[str, Any]) -> str:
    """On how many items our engine and lm-eval find the same."""
    same, total = (sum(found[name].values()) for name in ("agree", "items"))
    engine, apart = found["settings"]["engine"], found["largest_difference_in_nats"]
    return (
        f"`minimind eval` and {engine} agree on {same:,} of {total:,} such items of one model "
        f"(`{', '.join(found['models'])}`), log-likelihoods to {apart:g} nats "
        "([benchmarks/results/lm_eval.json](benchmarks/results/lm_eval.json))."
    )


CHOSEN = "Twenty held-out questions, chosen by their place in the files, answered by the model of the recorded run:"
CHOSEN_ZH = "下面是二十个留出的问题，按它们在文件里的位置选出，没有人挑过；回答来自有记录的那次运行："


def answers_block(course: dict[str, Any], words: str = CHOSEN) -> str:
    """The recorded run's model's answers, word for word."""
    said = "\n".join(f"> {one['question']}\n{one['answer']}\n" for one in course["answers"])
    return f"{words}\n\n```text\n{said.rstrip()}\n```"


SHOWN = (1, 16, 64)  # numbers of clients at a time


def measured(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each comparison once for every processor; its name says which where there are several."""
    rows: dict[tuple[str, str | None, str], dict[str, Any]] = {}
    for report in reports:
        for row in report["results"]:
            rows.setdefault((row["name"], row["peer_name"], processor(report["device"])), row)
    several = Counter((name, peer) for name, peer, _ in rows)
    return [
        row | {"name": f"{name}, on {place}"} if several[name, peer] > 1 else row
        for (name, peer, place), row in rows.items()
    ]


def processor(device: str) -> str:
    """A device in a word or two: the maker of a CPU, "AMD" for "cpu (AMD EPYC, …)"; a GPU by its name."""
    inside = device.removeprefix("cpu (")
    return re.split(r"[ ,()]", inside)[0] if inside != device else re.split(r"[,(]", device)[0].strip()


def bench_block(reports: list[dict[str, Any]]) -> str:
    """The comparisons of `minimind bench`: medians, the ratio with its quartiles, and the goal; without one: folded."""
    head = ["| | unit | ours | peer | ratio (quartiles) | goal | padding, ours / peer | share of matrix peak |"]
    head.append("|---|---|---|---|---|---|---|---|")
    aimed: list[str] = []
    others: list[str] = []
    for row in measured(reports):
        if row.get("clients", SHOWN[0]) not in SHOWN:  # the rest is in chapter 17's picture
            continue
        peer = ratio = ""
        if row["peer_name"]:
            peer = f"{figure(row['peer'])} ({row['peer_name']})"
            low, high = row["spread"]["ratio"]
            ratio = f"{factor(row['ratio'])} × ({factor(low)}–{factor(high)})"
        padding, share = (shares(row.get(name)) for name in ("padding_share", "share_of_peak"))
        unit = row["unit"].replace(" per second of CPU time", "/s").replace(" of wall time", "")
        (aimed if goal(row) else others).append(
            f"| {row['name']} | {unit} | {figure(row['ours'])} | {peer} | {ratio} | {goal(row)} | {padding} | {share} |"
        )
    devices = sorted({report["device"] for report in reports})
    versions = sorted({f"torch {one['versions']['torch']}, transformers {one['versions']['transformers']}"
                       for one in reports})  # fmt: skip
    loads = [one["load_average"]["before"] for one in reports if one["load_average"]["before"] is not None]
    busy = f"; load average before a run: {min(loads):g} to {max(loads):g}" if loads else ""
    folded = ["<details>", "<summary>Rows without a goal</summary>", "", *head, *others, "", "</details>"]
    return "\n".join([*head, *aimed, "", *folded, "", f"On: {', '.join(devices)}; {', '.join(versions)}{busy}."])


def factor(value: float) -> str:
    """A ratio, to two decimals or, if it is small, two digits."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def figure(value: float) -> str:
    """A rate or a time, to three digits or to the unit."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def shares(pair: dict[str, float] | None) -> str:
    """Ours and the peer's, in percent."""
    return f"{pair['ours']:.0%} / {pair['peer']:.0%}" if pair else ""


def goal(row: dict[str, Any]) -> str:
    """What was aimed at, and whether it was reached."""
    wanted = row.get("goal")
    if wanted is None:
        return ""
    sign, value = ("≤", wanted["at_most"]) if "at_most" in wanted else ("≥", wanted["at_least"])
    amount = f"{value:g} ×" if wanted["of"] == "ratio" else figure(value)
    return f"{sign} {amount}, {'met' if wanted['met'] else 'missed'}"


def bench_reports() -> list[dict[str, Any]]:
    """What `minimind bench` left, training first."""
    order = ("train", "align", "attention", "generate", "serve", "moe", "data", "start")
    files = sorted((RESULTS / "bench").glob("*.json"), key=lambda one: (order.index(one.stem.split("-")[0]), one.stem))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if not file.stem.endswith("-pico")]


def recorded(name: str) -> dict[str, Any]:
    """A result file."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def blocks() -> dict[str, dict[str, str]]:
    """Every block of the two READMEs, written from the result files."""
    course, stages, claims = recorded("course"), recorded("stages"), recorded("claims")
    english = {
        "answers": answers_block(course),
        "world": world_block(course, stages),
        "results": results_block(stages, course),
        "chapters": f"{chapters_block(course)}\n\n{ran_on(course)}",
        "exams": f"{exams_block(recorded('exams'))}\n\n{agreement(recorded('lm_eval'))}",
        "claims": claims_block(claims),
        "bench": bench_block(bench_reports()),
    }
    zh = "notebooks/zh"
    chinese = {
        **{name: in_chinese(english[name]) for name in ("world", "results", "exams", "bench")},
        "answers": answers_block(course, CHOSEN_ZH),
        "claims": claims_block(claims, zh),
        "chapters": chapters_block(course, zh),
    }
    return {"README.md": english, "README.zh.md": chinese}


def filled(name: str, readme: str, blocks: dict[str, str]) -> str:
    """The README with its blocks replaced."""
    for block, text in blocks.items():
        pattern = re.compile(rf"(<!-- {block} -->\n).*?(<!-- /{block} -->)", re.S)
        if not pattern.search(readme):
            raise SystemExit(f"{name} has no block <!-- {block} --> … <!-- /{block} -->")
        readme = pattern.sub(lambda match, text=text: f"{match[1]}{text}\n{match[2]}", readme)
    return readme


def main() -> None:
    """Fill the READMEs, or with --check report whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--course", type=Path, help="a report.json to record first")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a README is out of date")
    options = parser.parse_args()
    if options.course:
        shutil.copyfile(options.course, RESULTS / "course.json")
    for name, made in blocks().items():
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = filled(name, before, made)
        if options.check and before != after:
            sys.exit(f"{name} does not match benchmarks/results/; run: python benchmarks/readme.py")
        if before != after:
            path.write_text(after, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
