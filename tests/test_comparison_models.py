"""The models that ours are compared with: each in its architecture and its files' layout, small and drawn at random."""

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from model_kit import random_model
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.config import preset
from minimind_lite.data.benchmarks import BENCHMARKS
from minimind_lite.evaluation.likelihood import LanguageModel, OwnModel, Request, likelihoods
from minimind_lite.interop import minimind
from minimind_lite.interop.any_model import EncoderDecoder, ForeignModel, candidate, open_model, parse_model
from minimind_lite.interop.comparison import COMPARISON, comparison_table, find_model, published_scores
from minimind_lite.interop.gguf_export import export_folder
from minimind_lite.model.lora import LoRAConfig, add_adapter, lora_layers, merged, save_adapter
from minimind_lite.model.pretrained import PretrainedError, load_pretrained, save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Message, Tokenizer

transformers = pytest.importorskip("transformers")

TEXTS = ["The cats sleep on the mat.", "熊猫吃竹子，猫睡在垫子上。"] * 4
REQUESTS = [
    Request("The cats", " sleep on"), Request("熊猫吃", "竹子"), Request("熊猫吃", "垫子上。"), Request("", "The mat."),
]  # fmt: skip
VOCAB = 330


def minimind_eval(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def shaken(model: Any, seed: int = 0) -> Any:
    """Weights large enough that one choice is clearly likelier than another."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def pieces_tokenizer(folder: Path) -> None:
    """Llama's: pieces with ▁ for spaces, bytes for what they do not cover, <s> before every text."""
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend = Backend(models.BPE(**{"unk_token": "<unk>"}, byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=special))
    saved_tokenizer(backend, folder, {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"})


def characters_tokenizer(folder: Path) -> None:
    """ChatLM's: special tokens in brackets, whole words and characters, nothing added to a text."""
    special = ["[PAD]", "[EOS]", "[SEP]", "[BOS]", "[CLS]", "[MASK]", "[UNK]"]
    backend = Backend(models.BPE(**{"unk_token": "[UNK]"}))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=special))
    saved_tokenizer(backend, folder, {"unk_token": "[UNK]", "eos_token": "[EOS]", "pad_token": "[PAD]"})


def saved_tokenizer(backend: Backend, folder: Path, special: dict[str, str]) -> None:
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)


def llama(folder: Path, **changes: Any) -> Any:
    sizes = {"vocab_size": VOCAB, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
             "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 128}  # fmt: skip
    config = transformers.LlamaConfig(**sizes | changes)
    model = shaken(transformers.LlamaForCausalLM(config))
    model.save_pretrained(folder)
    return model


def plainly(model: Any, before: list[int], after: list[int]) -> float:
    """log p of a continuation by one plain pass of transformers' own model."""
    with torch.inference_mode():
        logprobs = model(input_ids=torch.tensor([before + after])).logits[0].log_softmax(-1)
    return float(sum(logprobs[len(before) - 1 + at, token] for at, token in enumerate(after)))


def scores(model: LanguageModel, requests: list[Request] = REQUESTS) -> list[float]:
    return [one.logprob for one in likelihoods(model, requests)]


def opened_as_listed(name: str, opened: LanguageModel, run_code: bool = False) -> None:
    """It was opened by what the list of comparison models says."""
    way = {OwnModel: "our decoder", EncoderDecoder: "transformers, T5", ForeignModel: "transformers"}[type(opened)]
    assert COMPARISON[name].opened_by == (f"{way}, its own code" if run_code else way)


def equal_to_its_class(opened: LanguageModel, model: Any) -> None:
    for request, found in zip(REQUESTS, likelihoods(opened, REQUESTS), strict=True):
        ids, first = opened.encode(request.context + request.continuation), opened.encode(request.context)
        after = ids[len(first) :] or opened.encode(request.continuation)  # a token may span the border
        assert found.logprob == pytest.approx(plainly(model, first or [opened.start_id], after), abs=1e-4)


def test_tinyllama(tmp_path: Path) -> None:
    model = llama(tmp_path, tie_word_embeddings=False)
    pieces_tokenizer(tmp_path)
    opened = open_model(tmp_path, start_always=False)
    opened_as_listed("tinyllama", opened)
    equal_to_its_class(opened, model)


def test_smollm2(tmp_path: Path) -> None:
    """Byte-level BPE that cuts before every digit, and ChatML's tokens first."""
    model = llama(tmp_path, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2)
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=special,
                                initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))  # fmt: skip
    saved_tokenizer(backend, tmp_path, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
                                        "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>"})  # fmt: skip
    opened = open_model(tmp_path, start_always=False)
    opened_as_listed("smollm2-135m", opened)
    equal_to_its_class(opened, model)


QWEN = """
import base64
import unicodedata
from pathlib import Path

import tiktoken
from transformers import PreTrainedTokenizer

FIRST = 256  # after the ranks of the file
SPECIAL = {name: FIRST + at for at, name in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
                                                      + [f"<|extra_{number}|>" for number in range(205)])}


class QWenTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "qwen.tiktoken"}

    def __init__(self, vocab_file, **kwargs):
        super().__init__(**kwargs)
        lines = Path(vocab_file).read_text().split()
        ranks = {base64.b64decode(piece): int(rank) for piece, rank in zip(lines[::2], lines[1::2])}
        self.cut = tiktoken.Encoding("Qwen", pat_str=r" ?\\p{L}+| ?[^\\s\\p{L}]+|\\s+", mergeable_ranks=ranks,
                                     special_tokens=SPECIAL)
        self.pieces = {rank: piece for piece, rank in (ranks | SPECIAL).items()}
        self.ranks = ranks | SPECIAL

    def __len__(self):
        return self.cut.n_vocab

    def get_vocab(self):
        return self.ranks

    def _add_tokens(self, new_tokens, special_tokens=False):
        return 0

    def tokenize(self, text, **kwargs):
        return [self.pieces[one] for one in self.cut.encode(unicodedata.normalize("NFC", text), allowed_special="all")]

    def convert_tokens_to_ids(self, tokens):
        return self.ranks[tokens] if isinstance(tokens, str) else [self.ranks[one] for one in tokens]
"""


@pytest.fixture
def aquila(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any]:
    """SmolLM2's sizes with a head of its own, the first Qwen's tokenizer: ranks in base64, and code that reads them."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "aquila"
    start, end = 256 + 3 + 203, 256 + 3 + 204
    model = llama(folder, vocab_size=256 + 208 + 4, tie_word_embeddings=False, bos_token_id=start, eos_token_id=end)
    single = "".join(f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(256))
    (folder / "qwen.tiktoken").write_text(single, "ascii")
    (folder / "tokenization_qwen.py").write_text(QWEN, "utf-8")
    special = {"bos_token": "<|extra_203|>", "eos_token": "<|extra_204|>", "pad_token": "<|endoftext|>"}
    code = {
        "tokenizer_class": "QWenTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]},
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(special), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({**code, **special}), "utf-8")
    return folder, model


def test_aquila(aquila: tuple[Path, Any]) -> None:
    pytest.importorskip("tiktoken")
    folder, model = aquila
    with pytest.raises(
        PretrainedError, match=r"(?s)tokenizer\.json does not exist.*auto_map.*read the .py files.*--run-code"
    ):
        open_model(folder, start_always=False)
    opened = open_model(folder, start_always=False, run_code=True)
    opened_as_listed("aquila-135m", opened, run_code=True)
    assert opened.start_id == model.config.bos_token_id and opened.encode("猫") == list("猫".encode())
    equal_to_its_class(opened, model)


def test_code_that_needs_a_package_that_is_missing(aquila: tuple[Path, Any]) -> None:
    (aquila[0] / "tokenization_qwen.py").write_text(
        QWEN.replace("import tiktoken", "import tiktoken_of_others"), "utf-8"
    )
    with pytest.raises(PretrainedError, match="tiktoken_of_others"):
        open_model(aquila[0], run_code=True)


TEMPLATE = "{% for turn in messages %}{{ turn['role'] }}: {{ turn['content'] }}. {% endfor %}"


def test_a_model_of_transformers_answers_after_its_own_template(tmp_path: Path) -> None:
    model = llama(tmp_path)
    pieces_tokenizer(tmp_path)
    opened = open_model(tmp_path)
    assert type(opened) is ForeignModel
    asked: list[Message] = [{"role": "user", "content": "The cat sat on the mat"}]
    with pytest.raises(PretrainedError, match="without a chat template it cannot be asked"):
        opened.say([asked], 8, 4)
    opened.tokenizer.chat_template = TEMPLATE
    ids = list(opened.tokenizer.encode("user: The cat sat on the mat. ", add_special_tokens=False))
    said, length = [], len(ids)
    for _ in range(8):
        with torch.inference_mode():
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        said.append(ids[-1])
        if ids[-1] == model.generation_config.eos_token_id:
            break
    assert opened.say([asked], 8, 4) == [opened.tokenizer.decode(said, skip_special_tokens=True)]
    assert len(opened.say([asked], 500, 4)) == 1, "an answer ends with the window"
    long = [{"role": "user", "content": "mat " * 200}]
    with pytest.raises(PretrainedError, match=r"has \d+ tokens, and the model reads 128 at once"):
        opened.say([long], 8, 4)  # type: ignore[list-item]
    assert length < 128


def test_gpt2_medium(tmp_path: Path) -> None:
    config = transformers.GPT2Config(vocab_size=VOCAB, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    model = shaken(transformers.GPT2LMHeadModel(config))
    model.save_pretrained(tmp_path)
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=["<|endoftext|>"],
                                initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))  # fmt: skip
    saved_tokenizer(backend, tmp_path, dict.fromkeys(("bos_token", "eos_token"), "<|endoftext|>"))
    opened = open_model(tmp_path)
    opened_as_listed("gpt2-medium", opened)
    assert type(opened) is ForeignModel and opened.max_length == 64
    ids = opened.encode("The mat.")
    assert scores(opened)[3] == pytest.approx(plainly(model, [opened.start_id], ids), abs=1e-4)


@pytest.fixture
def chatlm(tmp_path: Path) -> Path:
    """A T5 that names a class of its authors' own, which adds nothing to T5's weights."""
    folder = tmp_path / "chatlm"
    config = transformers.T5Config(
        vocab_size=VOCAB, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=4,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    shaken(transformers.T5ForConditionalGeneration(config)).save_pretrained(folder)
    characters_tokenizer(folder)
    described = json.loads((folder / "config.json").read_text("utf-8"))
    described |= {"architectures": ["TextToTextModel"],
                  "auto_map": {"AutoModelForSeq2SeqLM": "modeling_chat_model.TextToTextModel"}}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(described), "utf-8")
    return folder


def test_chatlm_answers_the_last_question(chatlm: Path) -> None:
    opened = open_model(chatlm)
    model = transformers.T5ForConditionalGeneration.from_pretrained(chatlm).eval()
    given = torch.tensor([opened.tokenizer.encode("The mat.")])
    with torch.inference_mode():
        whole = model.generate(given, max_new_tokens=6, do_sample=False)[0]
    turns: list[Message] = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]
    said = opened.say([[*turns, {"role": "user", "content": "The mat."}]], 6, 4)  # type: ignore[attr-defined]
    assert said == [opened.tokenizer.decode(whole, skip_special_tokens=True)]


def test_chatlm_reads_the_question_in_its_encoder(chatlm: Path) -> None:
    opened = open_model(chatlm)
    opened_as_listed("chatlm-mini-chinese", opened)
    assert type(opened) is EncoderDecoder
    model = transformers.T5ForConditionalGeneration.from_pretrained(chatlm).eval()
    for request, found in zip(REQUESTS, scores(opened), strict=True):
        before = opened.tokenizer.encode(request.context) if request.context else [1]  # its end token: it has no start
        after = opened.encode(request.continuation)
        with torch.inference_mode():
            loss = model(input_ids=torch.tensor([before]), labels=torch.tensor([after])).loss
        assert found == pytest.approx(-float(loss) * len(after), abs=1e-4)


def test_an_encoder_decoder_stands_in_the_table_beside_others(chatlm: Path, tmp_path: Path) -> None:
    llama(tmp_path / "llama")
    pieces_tokenizer(tmp_path / "llama")
    code, said = minimind_eval(chatlm, tmp_path / "llama", "--suite", "samples-zh", "--limit", 6, "--shots", 2,
                               "--output", tmp_path / "out")  # fmt: skip
    assert code == 0 and "| suite | metric | n | chance | chatlm | llama |" in said, said
    code, said = minimind_eval(chatlm, "--suite", "samples", "--limit", 6, "--output", tmp_path / "exam")
    assert code == 0 and "| samples/letter | accuracy | 6 |" in said, said


STEEL = '''
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM


class Qwen2Config(Qwen2Config):
    pass


class SoftExperts(torch.nn.Module):
    """Every token goes through every expert, weighted by a router."""

    def __init__(self, config):
        super().__init__()
        self.router = torch.nn.Linear(config.hidden_size, config.n_experts, bias=False)
        self.experts = torch.nn.ModuleList(
            torch.nn.Linear(config.hidden_size, config.hidden_size, bias=False) for _ in range(config.n_experts)
        )

    def forward(self, x):
        outputs = torch.stack([expert(x) for expert in self.experts], dim=-1)
        return (outputs * self.router(x).softmax(-1).unsqueeze(-2)).sum(-1)


class Qwen2ForCausalLM(Qwen2ForCausalLM):
    config_class = Qwen2Config

    def __init__(self, config):
        super().__init__(config)
        for layer in self.model.layers:
            layer.mlp = SoftExperts(config)
'''


@pytest.fixture
def steel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Says that it is a Qwen2, and is one with a mixture of experts in code of its own."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "steel"
    folder.mkdir()
    namespace: dict[str, Any] = {"__name__": "modeling_steel"}
    exec(STEEL, namespace)
    config = namespace["Qwen2Config"](
        vocab_size=VOCAB, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=128, tie_word_embeddings=False, n_experts=3,
    )  # fmt: skip
    shaken(namespace["Qwen2ForCausalLM"](config)).save_pretrained(folder)
    (folder / "modeling_steel.py").write_text(STEEL, "utf-8")
    described = json.loads((folder / "config.json").read_text("utf-8"))
    described["auto_map"] = {name: f"modeling_steel.{kind}" for name, kind in
                             (("AutoConfig", "Qwen2Config"), ("AutoModelForCausalLM", "Qwen2ForCausalLM"))}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(described), "utf-8")
    Tokenizer.train(TEXTS, VOCAB).save(folder)  # Qwen's is byte-level BPE too
    return folder


def test_code_of_its_own_is_run_only_if_one_says_so(steel: Path, tmp_path: Path) -> None:
    with pytest.raises(
        PretrainedError, match=r"not those of the class.*missing: .*mlp.*read the .py files.*--run-code"
    ):
        open_model(steel)
    code, said = minimind_eval(steel, "--suite", "samples-en", "--limit", 3, "--output", tmp_path / "out")
    assert code == 1 and "--run-code" in said and "Traceback" not in said
    opened = open_model(steel, run_code=True)
    opened_as_listed("steel-llm", opened, run_code=True)
    assert type(opened) is ForeignModel and type(opened.model.model.layers[0].mlp).__name__ == "SoftExperts"
    assert all(math.isfinite(one) for one in scores(opened))
    code, said = minimind_eval(
        steel, "--run-code", "--suite", "samples-en", "--limit", 3, "--output", tmp_path / "out", "--fresh"
    )
    assert code == 0 and "| samples-en/pairs | accuracy | 3 |" in said, said


def test_weights_of_another_model_are_refused_instead_of_drawn_at_random(tmp_path: Path) -> None:
    llama(tmp_path)
    pieces_tokenizer(tmp_path)
    described = json.loads((tmp_path / "config.json").read_text("utf-8")) | {"num_hidden_layers": 3}
    (tmp_path / "config.json").write_text(json.dumps(described), "utf-8")
    with pytest.raises(PretrainedError, match=r"missing: model\.layers\.2\..* and \d+ more\), so its scores would be"):
        open_model(tmp_path)


def llama2c(model: Transformer, prefix: str) -> dict[str, torch.Tensor]:
    """The model's weights under llama2.c's names, RoPE's dimensions as neighbours."""
    words = {"q_proj": "wq", "k_proj": "wk", "v_proj": "wv", "o_proj": "wo", "gate_proj": "w1", "up_proj": "w3",
             "down_proj": "w2", "self_attn": "attention", "mlp": "feed_forward", "input_layernorm": "attention_norm",
             "post_attention_layernorm": "ffn_norm", "embed_tokens": "tok_embeddings"}  # fmt: skip
    state = {}
    for name, tensor in model.state_dict().items():
        heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
        if (count := heads.get(name.split(".")[-2])) is not None:
            tensor = tensor.view(count, 2, -1, tensor.shape[1]).transpose(1, 2).reshape(tensor.shape)
        parts = [words.get(part, part) for part in name.removeprefix("model.").split(".")]
        state[prefix + ".".join(parts)] = tensor
    return state | {f"{prefix}output.weight": state[f"{prefix}tok_embeddings.weight"]}


@pytest.mark.parametrize("name", ["baby-llama2-92m", "baby-llama2-218m"])
def test_baby_llama2_has_llama2cs_names_and_chatglms_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "texts").write_text("\n".join(TEXTS), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "texts"), model_prefix=str(tmp_path / "tokenizer"), model_type="bpe", vocab_size=300,
        byte_fallback=True, character_coverage=1.0, minloglevel=9,
    )  # fmt: skip
    config = preset("pico", vocab_size=300, rope_theta=1e4, num_key_value_heads=4)
    monkeypatch.setitem(minimind.PUBLISHED, name, config)
    model = random_model(config).eval()
    torch.save(llama2c(model, "_orig_mod."), tmp_path / "epoch_4.pth")
    opened = open_model(tmp_path / "epoch_4.pth")
    opened_as_listed(name, opened)
    assert isinstance(opened, OwnModel) and opened.start_id == 2
    after = opened.encode("熊猫吃竹子")
    assert scores(opened, [Request("", "熊猫吃竹子")])[0] == pytest.approx(
        scores(OwnModel(model, opened.tokenizer), [Request("", "熊猫吃竹子")])[0], abs=1e-4
    )
    assert len(after) > 1
    (tmp_path / "tokenizer.model").write_bytes(b"nothing")
    with pytest.raises(PretrainedError, match=r"tokenizer\.model is no sentencepiece model"):
        open_model(tmp_path / "epoch_4.pth")


def test_baby_llama2_sizes_follow_its_own_rule() -> None:
    for name, width in (("baby-llama2-92m", 512), ("baby-llama2-218m", 1024)):
        config = minimind.PUBLISHED[name]
        assert config.hidden_size == width
        assert config.intermediate_size == 32 * math.ceil(int(2 * 4 * width / 3) / 32)


def test_every_minimind_of_the_list_is_known_by_its_sizes() -> None:
    ours = [name for name in COMPARISON if name.startswith(("minimind", "baby"))]
    assert len(ours) == 8 and set(ours) <= set(minimind.PUBLISHED)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    tokenizer = Tokenizer.train(TEXTS, VOCAB)  # no row beyond its tokens: a GGUF file would leave it out
    save_pretrained(random_model(preset("pico", vocab_size=tokenizer.vocab_size)), tokenizer, tmp_path / "ours")
    return tmp_path / "ours"


def adapter_of(base: Path, folder: Path) -> Transformer:
    """Save an adapter that changes something; the merged model."""
    torch.manual_seed(5)
    model = load_pretrained(base)
    add_adapter(model, LoRAConfig(rank=2))
    with torch.no_grad():
        for _, layer in lora_layers(model):
            layer.lora_B["adapter"].normal_(std=0.3)
    save_adapter(model, folder)
    return merged(model).eval()


def test_an_adapter_is_scored_on_its_base(ours: Path, tmp_path: Path) -> None:
    together = adapter_of(ours, tmp_path / "lora")
    path = parse_model(f"{ours}+{tmp_path / 'lora'}")
    assert path.name == "ours+lora" and (path.base, path.adapter) == (ours, tmp_path / "lora")
    opened = open_model(path.base, adapter=path.adapter)
    assert scores(opened) == pytest.approx(scores(OwnModel(together, Tokenizer.load(ours))), abs=1e-4)
    assert candidate(ours, adapter=path.adapter).digest != candidate(ours).digest
    code, said = minimind_eval(ours, path, "--suite", "samples-zh", "--limit", 4, "--output", tmp_path / "out")
    assert code == 0 and "| ours | ours+lora |" in said, said


def test_an_adapter_by_itself_needs_its_base(ours: Path, tmp_path: Path) -> None:
    adapter_of(ours, tmp_path / "lora")
    with pytest.raises(PretrainedError, match=r"lora is an adapter: name the model .* as BASE\+"):
        parse_model(tmp_path / "lora")
    config = tmp_path / "lora" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | {"base_model_name_or_path": str(ours)}))
    assert parse_model(tmp_path / "lora").base == ours
    (tmp_path / "lora" / "adapter_model.safetensors").unlink()
    code, said = minimind_eval(tmp_path / "lora", "--output", tmp_path / "out")
    assert code == 1 and "adapter_model.safetensors does not exist: an adapter's folder holds it" in said


def test_an_adapter_on_a_model_that_we_do_not_read_is_refused(ours: Path, tmp_path: Path) -> None:
    adapter_of(ours, tmp_path / "lora")
    llama(tmp_path / "llama")
    pieces_tokenizer(tmp_path / "llama")
    with pytest.raises(PretrainedError, match="adapters are put on what it reads: merge"):
        open_model(tmp_path / "llama", adapter=tmp_path / "lora")


def test_a_gguf_file_scores_as_the_folder_it_was_made_of(ours: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    list(export_folder(ours, tmp_path / "ours.gguf", "f32"))
    opened = open_model(tmp_path / "ours.gguf")
    assert isinstance(opened, OwnModel) and opened.start_always
    assert scores(opened) == pytest.approx(scores(open_model(ours)), abs=1e-4)
    code, said = minimind_eval(
        tmp_path / "ours.gguf", "--suite", "samples-zh", "--limit", 4, "--output", tmp_path / "o"
    )
    assert code == 0 and "| ours.gguf |" in said, said
    (tmp_path / "ours.gguf").write_bytes(b"nothing")
    code, said = minimind_eval(tmp_path / "ours.gguf", "--suite", "samples-zh", "--output", tmp_path / "p")
    assert code == 1 and "is not a GGUF file" in said


def test_the_list_names_every_model_with_its_source_and_what_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: Path
) -> None:
    monkeypatch.setenv("MINIMIND_DATA", str(tmp_path / "data"))
    for one in COMPARISON.values():
        assert one.source in comparison_table() and set(one.scores) <= set(BENCHMARKS)
    with pytest.raises(FileNotFoundError, match=r"gpt2-medium is not here: it is published at hub: openai-community"):
        find_model("gpt2-medium")
    code, said = minimind_eval("gpt2-medium", "--output", tmp_path / "out")
    assert code == 1 and "Put it into" in said and "Traceback" not in said
    home = tmp_path / "data" / "models" / "minimind2-small"
    home.parent.mkdir(parents=True)
    ours.rename(home)
    path, known = find_model("minimind2-small")
    assert path.base == home and known is COMPARISON["minimind2-small"]
    assert published_scores(["minimind2-small", "minimind-v1"], ["samples", "ceval"]) == [
        "published for minimind2-small (MiniMind's README): ceval 26.37 %"
    ]
