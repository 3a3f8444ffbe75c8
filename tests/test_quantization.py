"""Weight-only quantisation: equal to torch's and GGUF's, packed without gaps, written and read back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_kit import random_model

from minimind_lite.config import ModelConfig, preset
from minimind_lite.model.pretrained import PretrainedError, read_tensors, write_tensors
from minimind_lite.model.quantization import (
    QuantizationError,
    Scheme,
    load_quantized,
    pack,
    quantizable,
    quantize,
    rounded,
    save_quantized,
    unpack,
)

SCHEMES = [Scheme(), Scheme(8, 32), Scheme(4), Scheme(4, 32, True), Scheme(3, 16), Scheme(2, 32, True), Scheme(5, 8)]
SMALL = {"vocab_size": 90, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 96}  # fmt: skip


def matrix(rows: int = 24, columns: int = 64) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(1))


@pytest.mark.filterwarnings("ignore:torch.quantize_per")
def test_a_scale_for_each_row_is_torchs_per_channel_quantisation() -> None:
    weight, made = matrix(), quantize(matrix(), Scheme(8))
    scales = (weight.abs().amax(dim=1) / 127).double()
    theirs = torch.quantize_per_channel(weight, scales, torch.zeros(len(weight), dtype=torch.long), 0, torch.qint8)
    assert torch.equal(made.codes, theirs.int_repr().to(torch.int16))
    torch.testing.assert_close(made.scales[:, 0].double(), scales, rtol=2**-11, atol=0)
    torch.testing.assert_close(made.weight(), theirs.dequantize(), rtol=2**-10, atol=0)


@pytest.mark.parametrize(("scheme", "name"), [(Scheme(8, 32), "Q8_0"), (Scheme(4, 32, True), "Q4_1")])
def test_groups_of_32_are_ggufs(scheme: Scheme, name: str) -> None:
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize
    from gguf.quants import quantize as theirs

    kind, weight = GGMLQuantizationType[name], matrix()
    raw = theirs(weight.numpy(), kind)
    expected = torch.from_numpy(np.asarray(dequantize(raw, kind)))
    assert torch.equal(quantize(weight, scheme).weight(), expected)
    assert raw.size * 8 / weight.numel() == scheme.bits_per_weight(64)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_weight_is_further_off_than_half_a_step(scheme: Scheme) -> None:
    weight, made = matrix(), quantize(matrix(), scheme)
    step = made.scales.float().repeat_interleave(64 // made.scales.shape[1], dim=1)
    slack = 2**-10 * weight.abs().max()  # scales and minimums are float16
    assert ((made.weight() - weight).abs() <= step / 2 + slack).all()
    low = 0 if scheme.minimum else -scheme.largest
    assert low <= made.codes.min() and made.codes.max() == scheme.largest


@pytest.mark.parametrize("minimum", [False, True])
def test_a_row_of_equal_weights_is_no_division_by_zero(minimum: bool) -> None:
    for value in (0.0, 0.5):
        made = quantize(torch.full((2, 8), value), Scheme(4, 4, minimum)).weight()
        torch.testing.assert_close(made, torch.full((2, 8), value), rtol=1e-3, atol=0)


@pytest.mark.parametrize("bits", range(2, 9))
def test_packed_codes_have_no_gaps_and_come_back(bits: int) -> None:
    codes = torch.randint(0, 2**bits, (37,), generator=torch.Generator().manual_seed(bits), dtype=torch.uint8)
    packed = pack(codes, bits)
    assert len(packed) == -(-37 * bits // 8)
    assert torch.equal(unpack(packed, bits, 37), codes)
    whole = sum(int(code) << (bits * place) for place, code in enumerate(codes))
    assert bytes(packed.tolist()) == whole.to_bytes(len(packed), "little")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False, "qk_norm": True},
                                     {"num_experts": 4, "num_experts_per_tok": 2}])  # fmt: skip
def test_a_file_comes_back_as_the_rounded_model(tmp_path: Path, scheme: Scheme, changes: dict[str, Any]) -> None:
    model = random_model(ModelConfig(**SMALL, **changes)).eval()
    size = save_quantized(model, tmp_path / "q.safetensors", scheme)
    expected = rounded(model, scheme)
    again = load_quantized(tmp_path / "q.safetensors")
    assert again.config == model.config and size < 4 * sum(one.numel() for one in model.parameters())
    for name, weight in expected.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    changed = [name for name, one in model.state_dict().items() if not torch.equal(expected.state_dict()[name], one)]
    assert set(changed) == set(quantizable(model, scheme)) and not any("norm" in name for name in changed)
    assert not any(name.endswith("mlp.gate.weight") for name in changed)


def test_what_does_not_fit_stays_as_it_is() -> None:
    model = random_model(ModelConfig(**SMALL))
    assert all(name.endswith("down_proj.weight") for name in quantizable(model, Scheme(4, 96)))
    with pytest.raises(QuantizationError, match=r"\(24, 64\).*groups of 48"):
        quantize(matrix(), Scheme(4, 48))


@pytest.mark.parametrize("values", [{"bits": 1}, {"bits": 9}, {"bits": 4.0}, {"group": 0}, {"group": "32"}])
def test_impossible_schemes_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(QuantizationError, match=next(iter(values))):
        Scheme(**values)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_matrix_is_quantised_on_its_own_device(scheme: Scheme) -> None:
    made = quantize(torch.empty(4, 96, device="meta"), scheme)
    assert made.codes.device.type == made.scales.device.type == "meta"


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.safetensors"
    with pytest.raises(PretrainedError, match="no such file"):
        load_quantized(path)
    write_tensors(path, {"a": torch.ones(2)}, {})
    with pytest.raises(PretrainedError, match="not written by save_quantized"):
        load_quantized(path)
    for config in ("[]", '{"model_type": "gpt2"}'):
        write_tensors(path, {"a": torch.ones(2)}, {"minimind.quantization": "{}", "minimind.config": config})
        with pytest.raises(PretrainedError, match="not written by save_quantized"):
            load_quantized(path)
    save_quantized(random_model(preset("pico", vocab_size=90)), path, Scheme(4, 32))
    tensors, metadata = read_tensors(path)
    name = "model.embed_tokens.weight"
    for broken in (f"{name}.scales", f"{name}.codes"):
        kept = {one: tensor for one, tensor in tensors.items() if one != broken}
        short = {one: tensor[:-1] if one == f"{name}.codes" else tensor for one, tensor in tensors.items()}
        for damaged in (kept, short):
            write_tensors(path, damaged, {one: text for one, text in metadata.items() if "minimind." in one})
            with pytest.raises(PretrainedError, match=r"q\.safetensors"):
                load_quantized(path)
