"""The recipe of chapter 17 for ONNX: a folder of ours, opened in transformers and exported, gives the same logits.

Its packages are not among the course's. To run it: pip install onnx onnxscript onnxruntime
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from model_kit import random_model

from minimind_lite.config import preset
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.tokenizer import Tokenizer

HOW = "not installed; this file's first lines say how to install what it needs"
pytest.importorskip("onnxscript", reason=HOW)
onnxruntime = pytest.importorskip("onnxruntime", reason=HOW)
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.slow, pytest.mark.weekly]


@pytest.mark.parametrize("changes", [{}, {"qk_norm": True}], ids=["llama", "qwen3"])
def test_the_exported_file_gives_our_logits_for_any_batch_and_length(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = random_model(preset("pico", vocab_size=300, **changes)).eval()
    save_pretrained(model, Tokenizer.train(["The cats sleep on the mat."] * 4, 300), tmp_path / "sft")
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "sft").eval()
    torch.onnx.export(
        opened, kwargs={"input_ids": torch.zeros(2, 8, dtype=torch.int64), "use_cache": False},
        f=str(tmp_path / "sft.onnx"), dynamo=True,
        dynamic_shapes={"input_ids": {0: "batch", 1: "sequence"}, "use_cache": None},
    )  # fmt: skip
    session = onnxruntime.InferenceSession(tmp_path / "sft.onnx")
    for shape in ((2, 8), (1, 1), (3, 40)):
        ids = torch.randint(300, shape)
        (logits,) = session.run(None, {"input_ids": ids.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), model(ids), atol=1e-4, rtol=0)
