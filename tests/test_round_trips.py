"""What we write we can read: models of every family and precision, adapters, tokenizers, GGUF with our template."""

from pathlib import Path

import pytest
import torch
from model_kit import YARN, random_model
from test_gguf import write

from minimind_lite.config import PRESETS, ModelConfig, preset
from minimind_lite.interop.gguf import load_gguf
from minimind_lite.model.lora import LoRAConfig, add_adapter, load_adapter, merged, save_adapter
from minimind_lite.model.pretrained import load_pretrained, save_pretrained
from minimind_lite.tokenizer import Tokenizer, jinja_template

TEXTS = ["The whale swam under the ship. 床前明月光，疑是地上霜。"] * 10
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "vocab_size": 320}
IDS = torch.arange(3, 60)[None]


def small(name: str, **changes: object) -> ModelConfig:
    """A preset's family at a size for tests."""
    return preset(name, **SMALL, **changes)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}, {"rope_scaling": YARN}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_model(tmp_path: Path, name: str, changes: dict[str, object], dtype: torch.dtype) -> None:
    model = random_model(small(name, **changes)).to(dtype).eval()
    save_pretrained(model, None, tmp_path)
    loaded = load_pretrained(tmp_path).eval()
    assert loaded.config == model.config
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", PRESETS)
def test_an_adapter_and_the_merged_model(tmp_path: Path, name: str) -> None:
    model = random_model(small(name)).eval()
    save_pretrained(model, None, tmp_path / "base")
    add_adapter(model, LoRAConfig(rank=2, alpha=3.5))
    for key, parameter in model.named_parameters():
        if ".lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.1)
    save_adapter(model, tmp_path / "adapter")
    loaded = load_pretrained(tmp_path / "base").eval()
    load_adapter(loaded, tmp_path / "adapter")
    with torch.no_grad():
        wanted = model(IDS)
        assert torch.equal(loaded(IDS), wanted)
        save_pretrained(merged(model), None, tmp_path / "merged")
        torch.testing.assert_close(load_pretrained(tmp_path / "merged").eval()(IDS), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("system", [None, "", "Be brief.\n简短。"])
def test_a_tokenizer_and_its_template_in_a_gguf_file(tmp_path: Path, system: str | None) -> None:
    tokenizer = Tokenizer.train(TEXTS, 320, default_system=system)
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert (loaded.fingerprint, loaded.default_system) == (tokenizer.fingerprint, system)
    model = random_model(small("nano", rope_theta=1e4))
    file = write(tmp_path / "a.gguf", model, tokenizer, template=jinja_template(system))
    assert load_gguf(file)[1].default_system == system
