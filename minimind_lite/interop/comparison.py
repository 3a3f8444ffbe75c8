"""The models that MiniMind's authors compare theirs with: where each is published, and how it is opened here.

Scores are those of the table in MiniMind's README (its tag v2; lm-eval, letters, no examples, in %), the only source
that has them all; where it states none, there is none here. With C-Eval's 1,346 questions a 95 % interval is
± 2.3 points: all of them lie within chance's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from minimind_lite.data.published import data_folder
from minimind_lite.interop.any_model import ModelPath, parse_model

Opening = Literal["our decoder", "transformers", "transformers, T5", "transformers, its own code"]
MODELS = "models"  # in the data folder: where a model is looked for by its name
SCORES_FROM = "MiniMind's README"


@dataclass(frozen=True)
class ComparisonModel:
    """One published model."""

    name: str
    parameters: int  # millions, as its authors count
    source: str
    files: str  # what of it must be in its folder
    opened_by: Opening
    scores: dict[str, float] = field(default_factory=dict)  # benchmark → published accuracy, %

    @property
    def home(self) -> Path:
        """Where it is looked for: a folder, or the one file of weights in it."""
        folder = data_folder() / MODELS / self.name
        weights = sorted([*folder.glob("*.pth"), *folder.glob("*.gguf")])
        return weights[0] if len(weights) == 1 and not (folder / "config.json").is_file() else folder


def _scores(ceval: float, cmmlu: float, aclue: float, tmmluplus: float) -> dict[str, float]:
    return {"ceval": ceval, "cmmlu": cmmlu, "aclue": aclue, "tmmluplus": tmmluplus}


_PTH = "NAME.pth, and MiniMind's tokenizer.json and tokenizer_config.json beside it"
_FOLDER = "config.json, *.safetensors, the tokenizer's files"
_BABY = "epoch_N.pth, and ChatGLM's tokenizer.model beside it (package sentencepiece)"
_CODE = f"{_FOLDER}, its .py files; --run-code"
# qwen.tiktoken and tokenization_qwen.py, of the first Qwen; seen in Aquila-135M-Intermediate, whose files need no login
_TIKTOKEN = f"{_CODE}; package tiktoken"
_V1 = "github: jingyaogong/minimind, README of its tag v2 (Baidu's network disk)"
_MM2 = "modelscope: gongjy/MiniMind2-PyTorch, or hub: jingyaogong/MiniMind2"
COMPARISON = {
    one.name: one
    for one in (
        ComparisonModel("minimind2", 104, _MM2, _PTH, "our decoder", _scores(26.52, 24.42, 24.97, 25.27)),
        ComparisonModel("minimind2-small", 26, _MM2, _PTH, "our decoder", _scores(26.37, 24.97, 25.39, 24.63)),
        ComparisonModel("minimind2-moe", 145, _MM2, _PTH, "our decoder", _scores(26.6, 25.01, 24.83, 25.01)),
        ComparisonModel("minimind-v1", 108, _V1, _PTH, "our decoder"),
        ComparisonModel("minimind-v1-small", 26, _V1, _PTH, "our decoder"),
        ComparisonModel("minimind-v1-moe", 104, _V1, _PTH, "our decoder"),
        ComparisonModel("baby-llama2-92m", 92, "github: DLLXW/baby-llama2-chinese", _BABY, "our decoder"),
        ComparisonModel("baby-llama2-218m", 218, "github: DLLXW/baby-llama2-chinese", _BABY, "our decoder"),
        ComparisonModel("chatlm-mini-chinese", 200, "hub: charent/ChatLM-mini-Chinese", _FOLDER, "transformers, T5"),
        ComparisonModel(
            "steel-llm", 1121, "hub: gqszhanshijin/Steel-LLM", _CODE, "transformers, its own code",
            _scores(24.81, 25.32, 26.0, 24.39),
        ),
        ComparisonModel(
            "gpt2-medium", 360, "hub: openai-community/gpt2-medium", _FOLDER, "transformers",
            _scores(23.18, 25.0, 18.6, 25.19),
        ),
        ComparisonModel(
            "tinyllama", 1100, "hub: TinyLlama/TinyLlama-1.1B-Chat-v1.0", _FOLDER, "transformers",
            _scores(25.48, 25.0, 25.4, 25.13),
        ),
        ComparisonModel(
            "smollm2-135m", 135, "hub: HuggingFaceTB/SmolLM2-135M-Instruct", f"{_FOLDER}; or a GGUF file",
            "our decoder", _scores(24.37, 25.02, 25.37, 25.06),
        ),
        ComparisonModel(
            "aquila-135m", 135, "hub: BAAI/Aquila-135M-Instruct", _TIKTOKEN,
            "transformers, its own code", _scores(25.11, 25.1, 24.43, 25.05),
        ),
    )
}  # fmt: skip


def find_model(text: str | Path) -> tuple[ModelPath, ComparisonModel | None]:
    """A model from its path, BASE+ADAPTER, or a name in COMPARISON, which may also be how its folder or file is called.

    Raises FileNotFoundError, which says where to get it, for a name whose model is not here.
    """
    known = COMPARISON.get(str(text))
    if known is not None and not Path(text).exists():
        if not known.home.exists():
            raise FileNotFoundError(
                f"{known.name} is not here: it is published at {known.source}. Put it into {known.home}: {known.files}"
            )
        return ModelPath(known.home), known
    path = parse_model(text)
    plain = path.base.stem if path.base.is_file() else path.base.name
    return path, None if path.adapter else COMPARISON.get(plain)


def published_scores(names: Sequence[str], suites: Sequence[str]) -> list[str]:
    """What others measured, a line for each of these models and benchmarks that has a figure."""
    lines = []
    for name in names:
        found = [f"{one} {COMPARISON[name].scores[one]:.2f} %" for one in suites if one in COMPARISON[name].scores]
        if found:
            lines.append(f"published for {name} ({SCORES_FROM}): {', '.join(found)}")
    return lines


def comparison_table() -> str:
    """Every model: its size, whether it is here, how it is opened, its published scores, and where to get it."""
    lines = [f"{'model':21}{'size':>6}  {'here':6}{'opened by':28}{'C-Eval':>7}{'CMMLU':>7}  source"]
    for one in COMPARISON.values():
        here = "yes" if one.home.exists() else "no"
        exams = "".join(
            f"{one.scores[name]:7.2f}" if name in one.scores else f"{'-':>7}" for name in ("ceval", "cmmlu")
        )
        lines.append(f"{one.name:21}{one.parameters:5}M  {here:6}{one.opened_by:28}{exams}  {one.source}")
    return "\n".join([*lines, "", f"looked for in: {data_folder() / MODELS}/NAME"])
