"""Published MiniMind weights, drawn at random in each of their layouts, give the logits of those layouts' own formulas.

The formulas are written here once more, from the tensors as they lie in the file: RoPE of the older generations in
complex numbers, on neighbouring dimensions, as llama2.c defines it.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.cli.serve import load_served
from minimind_lite.config import ConfigError, preset
from minimind_lite.interop.any_model import candidate
from minimind_lite.interop.minimind import PUBLISHED, as_folder, import_minimind, load_minimind
from minimind_lite.model.lora import LoRAConfig, add_adapter, save_adapter
from minimind_lite.model.moe import MixtureOfExperts
from minimind_lite.model.pretrained import PretrainedError, is_published, load_pretrained, save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

VOCAB, WIDTH, LAYERS, HEADS, KV, HEAD, INNER = 300, 48, 2, 6, 3, 8, 64
IDS = torch.arange(2, 42)[None] * 7 % VOCAB
State = dict[str, Tensor]
Mapped = Callable[[Tensor], Tensor]


def drawn(*shape: int, scale: float = 0.15) -> Tensor:
    return torch.randn(*shape) * scale


def new_state(qk_norm: bool = False, experts: int = 0, shared: int = 0) -> State:
    """Names since April 2025: Hugging Face's."""
    torch.manual_seed(1)
    state = {"model.embed_tokens.weight": drawn(VOCAB, WIDTH), "model.norm.weight": 1 + drawn(WIDTH)}
    for layer in (f"model.layers.{number}." for number in range(LAYERS)):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            state[f"{layer}{norm}.weight"] = 1 + drawn(WIDTH)
        for part, heads in (("q", HEADS), ("k", KV), ("v", KV)):
            state[f"{layer}self_attn.{part}_proj.weight"] = drawn(heads * HEAD, WIDTH)
        state[f"{layer}self_attn.o_proj.weight"] = drawn(WIDTH, HEADS * HEAD)
        if qk_norm:
            state |= {f"{layer}self_attn.{part}_norm.weight": 1 + drawn(HEAD) for part in "qk"}
        if experts:
            state[f"{layer}mlp.gate.weight"] = drawn(experts, WIDTH)
        mlps = [f"experts.{one}." for one in range(experts)] + [f"shared_experts.{one}." for one in range(shared)]
        for mlp in mlps or [""]:
            state[f"{layer}mlp.{mlp}gate_proj.weight"] = drawn(INNER, WIDTH)
            state[f"{layer}mlp.{mlp}up_proj.weight"] = drawn(INNER, WIDTH)
            state[f"{layer}mlp.{mlp}down_proj.weight"] = drawn(WIDTH, INNER)
    return state | {"lm_head.weight": state["model.embed_tokens.weight"]}


def old_state(experts: int = 0) -> State:
    """Names of V1 and of MiniMind2 before April 2025: llama2.c's. One shared expert, if there are any."""
    torch.manual_seed(2)
    embedding = drawn(VOCAB, WIDTH)
    state = {"tok_embeddings.weight": embedding, "norm.weight": 1 + drawn(WIDTH), "output.weight": embedding}
    for layer in (f"layers.{number}." for number in range(LAYERS)):
        state |= {f"{layer}attention_norm.weight": 1 + drawn(WIDTH), f"{layer}ffn_norm.weight": 1 + drawn(WIDTH)}
        state[f"{layer}attention.wq.weight"] = drawn(HEADS * HEAD, WIDTH)
        state[f"{layer}attention.wk.weight"] = drawn(KV * HEAD, WIDTH)
        state[f"{layer}attention.wv.weight"] = drawn(KV * HEAD, WIDTH)
        state[f"{layer}attention.wo.weight"] = drawn(WIDTH, HEADS * HEAD)
        mlps = [f"experts.{one}." for one in range(experts)] + ["shared_experts."] if experts else [""]
        if experts:
            state[f"{layer}feed_forward.gate.weight"] = drawn(experts, WIDTH)
        for mlp in mlps:
            state[f"{layer}feed_forward.{mlp}w1.weight"] = drawn(INNER, WIDTH)
            state[f"{layer}feed_forward.{mlp}w2.weight"] = drawn(WIDTH, INNER)
            state[f"{layer}feed_forward.{mlp}w3.weight"] = drawn(INNER, WIDTH)
    return state


OLD_WORDS = {"attn": "attention.w{}", "mlp": "feed_forward.", "gate": "w1", "up": "w3", "down": "w2"}
NEW_WORDS = {
    "attn": "self_attn.{}_proj", "mlp": "mlp.", "gate": "gate_proj", "up": "up_proj", "down": "down_proj",
}  # fmt: skip


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def turned_neighbours(x: Tensor, theta: float) -> Tensor:
    """llama2.c: dimensions 2i and 2i + 1 are the real and imaginary part of one number. x: (heads, seq, head_dim)."""
    angles = torch.outer(torch.arange(x.shape[1]), theta ** -(torch.arange(0, HEAD, 2) / HEAD))
    numbers = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
    return torch.view_as_real(numbers * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def turned_halves(x: Tensor, theta: float) -> Tensor:
    """Since April 2025: dimensions i and i + head_dim / 2 are one number."""
    pairs = torch.stack(x.chunk(2, dim=-1), dim=-1).flatten(-2)
    return torch.cat(
        torch.stack(turned_neighbours(pairs, theta).chunk(1)).squeeze(0).unflatten(-1, (-1, 2)).unbind(-1), -1
    )


def attention(x: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, turn: Callable[[Tensor], Tensor],
              norms: tuple[Callable[[Tensor], Tensor], ...]) -> Tensor:  # fmt: skip
    """x: (seq, width). One head at a time."""
    queries, keys, values = (x @ one.T for one in (q, k, v))
    queries, keys, values = (one.unflatten(-1, (-1, HEAD)).transpose(0, 1) for one in (queries, keys, values))
    queries, keys = turn(norms[0](queries)), turn(norms[1](keys))
    mask = torch.full((len(x), len(x)), -math.inf).triu(1)
    heads = []
    for head in range(HEADS):
        scores = queries[head] @ keys[head // (HEADS // KV)].T / math.sqrt(HEAD) + mask
        heads.append(scores.softmax(-1) @ values[head // (HEADS // KV)])
    return torch.cat(heads, dim=-1) @ o.T


def swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    inner = x @ gate.T
    return (inner * inner.sigmoid() * (x @ up.T)) @ down.T


def mixture(x: Tensor, router: Tensor, experts: list[Mapped], shared: list[Mapped], k: int, rescaled: bool) -> Tensor:
    rows = []
    for token in x:
        shares = (router @ token).softmax(-1)
        best = shares.argsort(descending=True)[:k]
        total = shares[best].sum() if rescaled else 1.0
        rows.append(sum(shares[one] / total * experts[one](token) for one in best) + sum(one(token) for one in shared))
    return torch.stack(rows)


def reference(state: State, *, old: bool, theta: float, eps: float, k: int = 0, rescaled: bool = True) -> Tensor:
    """Logits (1, seq, vocab) by the formulas of the layout that ``state`` is in."""
    words = OLD_WORDS if old else NEW_WORDS
    prefix, first, second = (
        ("", "attention_norm", "ffn_norm") if old else ("model.", "input_layernorm", "post_attention_layernorm")
    )
    turn = turned_neighbours if old else turned_halves
    x = state["tok_embeddings.weight" if old else "model.embed_tokens.weight"][IDS[0]]
    for layer in (f"{prefix}layers.{number}." for number in range(LAYERS)):

        def mlp(name: str, layer: str = layer) -> Callable[[Tensor], Tensor]:
            parts = [state[f"{layer}{words['mlp']}{name}{words[part]}.weight"] for part in ("gate", "up", "down")]
            return lambda inputs: swiglu(inputs, *parts)

        matrices = [state[layer + words["attn"].format(part) + ".weight"] for part in "qkvo"]
        norms = tuple(
            (lambda y, w=state[f"{layer}self_attn.{part}_norm.weight"]: norm(y, w, eps))
            if f"{layer}self_attn.{part}_norm.weight" in state else (lambda y: y) for part in "qk")  # fmt: skip
        x = x + attention(norm(x, state[f"{layer}{first}.weight"], eps), *matrices, lambda y: turn(y, theta), norms)
        y, router = norm(x, state[f"{layer}{second}.weight"], eps), state.get(f"{layer}{words['mlp']}gate.weight")
        if router is None:
            x = x + mlp("")(y)
            continue
        shared = [mlp("shared_experts.")] if old else [
            mlp(f"shared_experts.{one}.") for one in range(9)
            if f"{layer}mlp.shared_experts.{one}.up_proj.weight" in state]  # fmt: skip
        x = x + mixture(y, router, [mlp(f"experts.{one}.") for one in range(len(router))], shared, k, rescaled)
    return (norm(x, state[f"{prefix}norm.weight"], eps) @ state["output.weight" if old else "lm_head.weight"].T)[None]


def equal(model: Transformer, wanted: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(IDS), wanted, atol=1e-5, rtol=0)


def saved(path: Path, state: Any) -> Path:
    torch.save(state, path)
    return path


SAID = {"num_attention_heads": HEADS}
LAYOUTS: dict[str, tuple[Callable[[], State], str, dict[str, Any]]] = {
    "MiniMind2": (new_state, "minimind2-small", {"old": False, "theta": 1e6, "eps": 1e-5}),
    "MiniMind2 MoE": (lambda: new_state(experts=4, shared=1), "minimind2-moe",
                      {"old": False, "theta": 1e6, "eps": 1e-5, "k": 2}),
    "v3": (lambda: new_state(qk_norm=True), "minimind3", {"old": False, "theta": 1e6, "eps": 1e-6}),
    "v3 MoE": (lambda: new_state(qk_norm=True, experts=4), "minimind3-moe",
               {"old": False, "theta": 1e6, "eps": 1e-6, "k": 1}),
    "V1": (old_state, "minimind-v1-small", {"old": True, "theta": 1e4, "eps": 1e-5}),
    "V1 MoE": (lambda: old_state(experts=4), "minimind-v1-moe", {"old": True, "theta": 1e4, "eps": 1e-5, "k": 2}),
    "MiniMind2 before April 2025": (old_state, "minimind2-small", {"old": True, "theta": 1e6, "eps": 1e-5}),
    "MiniMind2 MoE before April 2025": (lambda: old_state(experts=4), "minimind2-moe",
                                        {"old": True, "theta": 1e6, "eps": 1e-5, "k": 2}),
}  # fmt: skip


@pytest.mark.parametrize(("make", "name", "formula"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_file_of_each_layout_gives_its_own_logits(
    tmp_path: Path, make: Callable[[], State], name: str, formula: dict[str, Any]
) -> None:
    state = make()
    model = load_minimind(saved(tmp_path / "full_sft.pth", state), name, SAID)
    equal(model, reference(state, **formula))
    other = {**formula, "theta": 5e3} if formula["old"] else {**formula, "theta": 1e4}
    assert not torch.allclose(model(IDS), reference(state, **other), atol=1e-3)  # the comparison can fail


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_what_compile_and_ddp_leave_in_names_is_taken_out(tmp_path: Path, prefix: str) -> None:
    state = old_state()
    buffers = {"pos_cis": torch.polar(torch.ones(4, 4), torch.ones(4, 4)), "layers.0.attention.mask": torch.zeros(1)}
    path = saved(tmp_path / "a.pth", {prefix + name: tensor for name, tensor in {**state, **buffers}.items()})
    equal(load_minimind(path, "minimind-v1-small", SAID), reference(state, old=True, theta=1e4, eps=1e-5))


def test_half_precision_is_for_storing(tmp_path: Path) -> None:
    state = {name: tensor.half() for name, tensor in new_state(qk_norm=True).items()}
    model = load_minimind(saved(tmp_path / "a.pth", {"model": state, "optimizer": {"state": {}}}), "minimind3")
    assert model.model.norm.weight.dtype == torch.float32
    equal(model, reference({name: tensor.float() for name, tensor in state.items()}, old=False, theta=1e6, eps=1e-6))
    assert load_minimind(tmp_path / "a.pth", "minimind3", dtype=None).model.norm.weight.dtype == torch.float16


FOLDERS: dict[str, tuple[State, dict[str, Any], dict[str, Any]]] = {
    "v3, dense, with the settings of experts all the same": (
        new_state(qk_norm=True),
        {"num_attention_heads": HEADS, "rope_theta": 2e5, "rms_norm_eps": 1e-6, "use_moe": False, "num_experts": 4,
         "num_experts_per_tok": 1, "norm_topk_prob": True, "max_position_embeddings": 900},
        {"old": False, "theta": 2e5, "eps": 1e-6},
    ),
    "v3 MoE": (
        new_state(qk_norm=True, experts=3),
        {"num_attention_heads": HEADS, "rope_theta": 1e6, "rms_norm_eps": 1e-6, "use_moe": True,
         "num_experts_per_tok": 1, "norm_topk_prob": True},
        {"old": False, "theta": 1e6, "eps": 1e-6, "k": 1},
    ),
    "MiniMind2 MoE": (
        new_state(experts=4, shared=2),
        {"num_attention_heads": HEADS, "rms_norm_eps": 1e-4, "num_experts_per_tok": 3, "norm_topk_prob": False,
         "n_routed_experts": 4, "n_shared_experts": 2},
        {"old": False, "theta": 1e6, "eps": 1e-4, "k": 3, "rescaled": False},
    ),
    "MiniMind2 of February 2025": (
        old_state(), {"dim": WIDTH, "n_heads": HEADS, "norm_eps": 1e-4, "rope_theta": 1e6, "max_seq_len": 700},
        {"old": True, "theta": 1e6, "eps": 1e-4},
    ),
    "V1": (old_state(), {"dim": WIDTH, "n_heads": HEADS, "norm_eps": 1e-5}, {"old": True, "theta": 1e4, "eps": 1e-5}),
    "V1 MoE": (
        old_state(experts=4),
        {"dim": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "n_kv_heads": KV, "vocab_size": VOCAB, "multiple_of": 64,
         "norm_eps": 1e-5, "max_seq_len": 512, "use_moe": True, "num_experts_per_tok": 2, "n_routed_experts": 4,
         "n_shared_experts": True, "scoring_func": "softmax", "aux_loss_alpha": 0.01, "seq_aux": True,
         "norm_topk_prob": True},
        {"old": True, "theta": 1e4, "eps": 1e-5, "k": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("state", "described", "formula"), FOLDERS.values(), ids=FOLDERS.keys())
def test_a_folder_says_what_weights_do_not(
    tmp_path: Path, state: State, described: dict[str, Any], formula: dict[str, Any]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "minimind", **described}), encoding="utf-8")
    saved(tmp_path / "pytorch_model.bin", state)
    assert is_published(tmp_path)
    model = load_minimind(tmp_path)
    equal(model, reference(state, **formula))
    wanted = described.get("max_position_embeddings", described.get("max_seq_len"))
    assert wanted in (None, model.config.max_position_embeddings)


def test_published_experts_rescale_their_single_weight_and_ours_do_not(tmp_path: Path) -> None:
    state = new_state(qk_norm=True, experts=4)
    published = load_minimind(saved(tmp_path / "a.pth", state), "minimind3-moe")
    assert published.config.norm_topk_prob and not preset("minimind3-moe").norm_topk_prob
    with torch.no_grad():
        ours = reference(state, old=False, theta=1e6, eps=1e-6, k=1, rescaled=False)
        assert (published.eval()(IDS) - ours).abs().max() > 0.1  # taken for the other, it would be another model
    save_pretrained(published, None, tmp_path / "again")
    again = load_pretrained(tmp_path / "again")
    assert again.config.norm_topk_prob
    equal(again, reference(state, old=False, theta=1e6, eps=1e-6, k=1))


def test_a_published_router_learns_all_the_same(tmp_path: Path) -> None:
    model = load_minimind(saved(tmp_path / "a.pth", new_state(qk_norm=True, experts=4)), "minimind3-moe")
    loss, _ = model.loss(IDS[:, :-1], IDS[:, 1:])
    loss.backward()
    routers = [one.gate.weight.grad for one in model.modules() if isinstance(one, MixtureOfExperts)]
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in routers)


@pytest.mark.parametrize(
    ("name", "file"), [("minimind-v1-small", "full_sft_512.pth"), ("minimind-v1-moe", "full_sft_512_moe.pth")]
)
def test_a_published_model_is_known_by_its_sizes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, file: str
) -> None:
    with torch.device("meta"):
        shapes = {one: tensor.shape for one, tensor in Transformer(PUBLISHED[name]).state_dict().items()}
    path = saved(tmp_path / file, {one: torch.zeros(1).expand(shape) for one, shape in shapes.items()})
    assert load_minimind(path).config == PUBLISHED[name]
    assert f"{file} has the sizes of {name}" in caplog.text


def test_no_two_published_models_have_the_same_sizes() -> None:
    sizes = [
        (one.vocab_size, one.hidden_size, one.num_hidden_layers, one.head_dim * one.num_key_value_heads,
         one.intermediate_size, one.qk_norm, one.num_experts, one.num_shared_experts)
        for one in PUBLISHED.values()
    ]  # fmt: skip
    assert len(set(sizes)) == len(sizes)


class Code:
    """Unpickling it would call a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("unpickled",)


def without(name: str) -> State:
    return {one: tensor for one, tensor in new_state().items() if one != name}


REFUSED: dict[str, tuple[Any, str | None, dict[str, Any], str]] = {
    "no preset": (new_state(), None, {}, "no published model has its sizes.*minimind import … --preset NAME"),
    "wrong heads": (new_state(), "minimind2", {"num_attention_heads": 5},
                    "48 rows of queries are not for 5 heads.*-p num_attention_heads=N"),
    "top-k": (new_state(experts=4), "minimind2", SAID, "-p num_experts_per_tok=K"),
    "heads against QK-norm": (new_state(qk_norm=True), "minimind3", {"num_attention_heads": 3},
                              "num_attention_heads is 3, and the weights are for 6"),
    "an adapter": ({"model.layers.0.self_attn.q_proj.lora.A.weight": torch.zeros(2)}, "minimind2", {},
                   "model.embed_tokens.weight' is missing"),
    "a missing tensor": (without("model.layers.1.mlp.up_proj.weight"), "minimind2", SAID,
                         "missing: model.layers.1.mlp.up_proj.weight"),
    "an unknown preset": (new_state(), "minimind9", {}, "no preset called 'minimind9'"),
    "infinite": (new_state() | {"model.norm.weight": torch.full((WIDTH,), math.inf)}, "minimind2", SAID, "infinite"),
    "code": ({"model.norm.weight": Code()}, "minimind2", SAID, "holds more than tensors"),
    "a list": ([torch.zeros(2)], "minimind2", SAID, "holds list"),
    "a number for a tensor": (new_state() | {"step": 3}, "minimind2", SAID, "holds step as int"),
}  # fmt: skip


@pytest.mark.parametrize(("state", "name", "said", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], state: Any, name: str | None, said: dict[str, Any], words: str
) -> None:
    path = saved(tmp_path / "model.pth", state)
    with pytest.raises((PretrainedError, ConfigError), match=f"(?s){words}") as caught:
        load_minimind(path, name, said)
    assert "model.pth" in str(caught.value) or "preset" in words
    assert capsys.readouterr().out == ""  # nothing ran


def test_a_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pth", new_state())
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(PretrainedError, match=r"model\.pth is damaged"):
        load_minimind(path, "minimind2", SAID)


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A ``.pth`` file that no preset's sizes fit, and a tokenizer beside it."""
    Tokenizer.train(["a file and its tokenizer"], 300).save(tmp_path)
    return saved(tmp_path / "model.pth", new_state())


def test_an_imported_model_is_a_folder_of_ours(tmp_path: Path, beside: Path) -> None:
    import_minimind(beside, tmp_path / "out", "minimind2", {"num_attention_heads": str(HEADS)})
    equal(load_pretrained(tmp_path / "out"), reference(new_state(), old=False, theta=1e6, eps=1e-5))
    assert Tokenizer.load(tmp_path / "out").encode("file") == Tokenizer.load(tmp_path).encode("file")
    with pytest.raises(ConfigError, match="-p hidden_size: the weights tell that"):
        import_minimind(beside, tmp_path / "out", "minimind2", {"hidden_size": "3"})
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(PretrainedError, match="minimind import … --tokenizer FOLDER"):
        import_minimind(beside, tmp_path / "out", "minimind2", {"num_attention_heads": str(HEADS)})


def published_folder(path: Path) -> Path:
    Tokenizer.train(["a file and its tokenizer"], 300).save(path)
    described = {"model_type": "minimind", "num_attention_heads": HEADS}
    (path / "config.json").write_text(json.dumps(described), encoding="utf-8")
    saved(path / "pytorch_model.bin", new_state())
    return path


def test_the_same_model_opens_as_the_same_folder_every_time(tmp_path: Path) -> None:
    published_folder(tmp_path)
    contents = []
    for _ in range(2):
        with as_folder(tmp_path) as folder:
            contents.append({file.name: file.read_bytes() for file in folder.iterdir()})
        assert not folder.exists()
    assert contents[0] == contents[1] and "model.safetensors" in contents[0]
    import_minimind(tmp_path, tmp_path / "out")
    with as_folder(tmp_path / "out") as folder:
        assert folder == tmp_path / "out"


def test_a_published_folder_is_scored_as_it_is(tmp_path: Path) -> None:
    published_folder(tmp_path)
    found = candidate(tmp_path)
    scored = found.load()
    wanted = reference(new_state(), old=False, theta=1e6, eps=1e-5)[0]
    with torch.no_grad():
        got = scored.logits(IDS[0, :5].tolist(), IDS[:, 5:], torch.ones_like(IDS[:, 5:], dtype=torch.bool))
    torch.testing.assert_close(got, wanted[5:], atol=1e-5, rtol=0)
    saved(tmp_path / "pytorch_model.bin", {name: 2 * tensor for name, tensor in new_state().items()})
    assert candidate(tmp_path).digest != found.digest  # scores of other weights are other scores
    file = candidate(saved(tmp_path / "a.pth", new_state()))
    with pytest.raises(PretrainedError, match="minimind import … --preset NAME"):
        file.load()


def test_published_models_are_served_under_their_own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = replace(
        PUBLISHED["minimind2-small"], vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=LAYERS, head_dim=HEAD,
        num_attention_heads=HEADS, num_key_value_heads=KV, intermediate_size=INNER,
    )  # fmt: skip
    monkeypatch.setitem(PUBLISHED, "tiny", sizes)
    folder = published_folder(tmp_path / "v2.1")
    file = saved(folder / "full_sft_48.pth", {name: 2 * tensor for name, tensor in new_state().items()})
    model = load_minimind(folder)
    add_adapter(model, LoRAConfig(rank=2))
    save_adapter(model, tmp_path / "adapter")
    models = load_served(
        [folder, file], [f"pirate={tmp_path / 'adapter'}"], slots=1, context=64, queue=1, quantize=True
    )  # fmt: skip
    assert [(one.name, one.base) for one in models] == [("v2.1", None), ("full_sft_48", None), ("pirate", "v2.1")]
    for served, wanted in zip(models, (folder, file), strict=False):
        assert served.tokenizer.encode("file") == Tokenizer.load(folder).encode("file")
        norm = served.engine.model.model.norm.weight
        torch.testing.assert_close(norm.float().cpu(), load_minimind(wanted).model.norm.weight)


def test_a_published_student_is_trained_and_its_run_is_continued(tmp_path: Path) -> None:
    student = published_folder(tmp_path / "student")
    import_minimind(student, tmp_path / "teacher")
    turns = [{"role": "user", "content": "a file?"}, {"role": "assistant", "content": "its tokenizer"}]
    (tmp_path / "chat.jsonl").write_text(json.dumps({"conversations": turns}) + "\n", encoding="utf-8")
    command = ["train", "distill", *(str(tmp_path / name) for name in ("chat.jsonl", "teacher", "out"))]
    for setting in (f"student={student}", "total_steps=2", "save_every=1", "learning_rate=1e-9", "device=cpu",
                    "micro_batch_size=1", "block_size=64", "progress=False"):  # fmt: skip
        command += ["-p", setting]
    for _ in range(2):  # the second time from the checkpoint: the student's folder of ours has another name
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    trained = load_pretrained(tmp_path / "out").state_dict()
    torch.testing.assert_close(trained, load_minimind(student).state_dict(), rtol=0, atol=1e-6)
    saved(student / "pytorch_model.bin", {name: 2 * tensor for name, tensor in new_state().items()})
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1 and "base" in done.output, done.output
