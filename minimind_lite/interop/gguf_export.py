"""Write a model as a GGUF file, for llama.cpp, Ollama, LM Studio and others that build on it.

llama.cpp's own converter names the pre-tokenizer (how text is cut before merging) by a hash of what a tokenizer does,
and refuses every vocabulary it has never seen. The file written here states the name of the cuts themselves.

An architecture in llama.cpp is a formula, chosen by name: ``llama`` (dense, or experts whose weights are rescaled),
``qwen3`` and ``qwen3moe`` (with QK-norm, rescaled), ``bailingmoe`` (with shared experts). ``llama`` and
``bailingmoe`` turn neighbouring dimensions, so the rows of their queries and keys are reordered. What none of them
computes is refused. Rows of the embedding beyond the tokenizer's last token are left out: our generation never chooses
one, and llama.cpp would.
Needs the package ``gguf``.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from einops import rearrange
from torch import Tensor

from minimind_lite.config import ModelConfig
from minimind_lite.files import write_text, written_whole
from minimind_lite.interop.gguf import EXPERT_NAMES, LAYER_NAMES, MODEL_NAMES, REORDERED, GGUFError
from minimind_lite.interop.gguf_tokenizer import CONTROL, NORMAL, UNUSED, USER_DEFINED, cut_name
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.tokenizer.foreign_template import without_generation_marks

GGUFType = Literal["f32", "f16", "q8_0"]
MAGIC = b"GGUF"  # the first bytes of every such file
BLOCK = 32  # weights of a row that share a scale in Q8_0
PER_TOKEN = ("token_embd.weight", "output.weight")  # the matrices with a row for each token
_OUR_NAMES = {ours: theirs for theirs, ours in (LAYER_NAMES | EXPERT_NAMES).items()}
_OUR_MODEL_NAMES = {ours: theirs for theirs, ours in MODEL_NAMES.items()}


def export_gguf(model: Transformer, tokenizer: Tokenizer, path: str | Path, kind: GGUFType = "q8_0") -> list[Path]:
    """Write ``model`` with its tokenizer and chat template to ``path``, and an Ollama Modelfile beside it.

    kind: how matrices are stored; norms and routers are float32 in any. A matrix whose rows are no multiple of 32
    stays float16 in q8_0. Returns the files written. Raises GGUFError for what llama.cpp could not compute or cut, and
    for a ``path`` that is another kind of file. A Modelfile that somebody wrote or changed stays as it is: the new one
    is then called after ``path``.
    """
    path = Path(path)
    _check_target(path)
    try:
        from gguf import GGUFWriter
    except ImportError as error:
        raise GGUFError("writing a GGUF file needs the package gguf; install it with: pip install gguf") from error
    architecture = architecture_of(model.config)
    if any(".lora_" in name for name in model.state_dict()):
        raise GGUFError("the model holds LoRA adapters: merge them first, with model.lora.merged or minimind merge")
    with written_whole(path) as part:
        writer = GGUFWriter(part, architecture)
        size = min(model.config.vocab_size, 1 + max(tokenizer.backend.get_vocab(with_added_tokens=True).values()))
        _describe(writer, replace(model.config, vocab_size=size), architecture, path.stem, kind)
        _write_tokenizer(writer, tokenizer, size)
        for name, tensor in gguf_tensors(model, architecture):
            _write_tensor(writer, name, tensor[:size] if name in PER_TOKEN else tensor, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    text = ollama_modelfile(tokenizer, path.name, model.config.max_position_embeddings)
    modelfile = path.with_name("Modelfile")
    if not _replaceable(modelfile, text):
        modelfile = path.with_suffix(".Modelfile")
    write_text(modelfile, text)
    return [path, modelfile]


def _check_target(path: Path) -> None:
    """Raise GGUFError rather than write over the model itself, or any other file that is no GGUF file."""
    if path.is_dir():
        raise GGUFError(f"{path} is a folder: name the file to write, such as {path / 'model.gguf'}")
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
        if start not in (b"", MAGIC):
            raise GGUFError(f"{path} is there and is no GGUF file: it would be overwritten, so choose another name")


def _replaceable(modelfile: Path, text: str) -> bool:
    """Whether a Modelfile may be written over: there is none, or it says the same of perhaps another file."""
    if not modelfile.exists():
        return True
    try:
        there = modelfile.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return there.startswith("FROM ./") and there.partition("\n")[2] == text.partition("\n")[2]


def export_folder(folder: str | Path, path: str | Path, kind: str = "q8_0") -> list[Path]:
    """``export_gguf`` for the model and the tokenizer in a folder. Raises what loading them raises, and GGUFError."""
    if kind not in get_args(GGUFType):
        raise GGUFError(f"the type is {kind!r}; it must be one of {', '.join(get_args(GGUFType))}")
    return export_gguf(load_pretrained(folder), Tokenizer.load(folder), path, cast(GGUFType, kind))


def architecture_of(config: ModelConfig) -> str:
    """llama.cpp's name of the formula for this model. Raises GGUFError if it has none."""
    if config.rope_scaling is not None:
        raise GGUFError("llama.cpp scales attention under YaRN in its own way: export the model without rope_scaling")
    if not config.num_experts:
        return "qwen3" if config.qk_norm else "llama"
    if config.num_shared_experts and not config.qk_norm:
        return "bailingmoe"
    if config.norm_topk_prob and not config.num_shared_experts:
        return "qwen3moe" if config.qk_norm else "llama"
    what = "shared experts together with QK-norm" if config.num_shared_experts else "experts without norm_topk_prob"
    raise GGUFError(f"llama.cpp has no architecture for {what}; transformers reads the folder as it is")


def gguf_tensors(model: Transformer, architecture: str) -> Iterator[tuple[str, Tensor]]:
    """(llama.cpp's name, float32 tensor in its layout): experts of a layer in one tensor, their number first."""
    config = model.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    stacked: dict[str, list[Tensor]] = {}
    for name, tensor in model.state_dict().items():
        weight = tensor.detach().float().cpu()
        if name in _OUR_MODEL_NAMES:
            yield _OUR_MODEL_NAMES[name], weight
            continue
        _, _, layer, part = name.removesuffix(".weight").split(".", 3)
        kind = re.sub(r"experts\.\d+\.", "experts.", part)
        target = f"blk.{layer}.{_OUR_NAMES[kind]}.weight"
        if kind != part:
            stacked.setdefault(target, []).append(weight)
            continue
        if architecture in REORDERED and (count := heads.get(part.split(".")[-1])):
            weight = rearrange(weight, "(head half pair) width -> (head pair half) width", head=count, half=2)
        yield target, weight.contiguous()
    for target, weights in stacked.items():
        if target.endswith("_shexp.weight"):  # several shared experts are one that is wider
            yield target, torch.cat(weights, dim=1 if "down" in target else 0)
        else:
            yield target, torch.stack(weights)
    if architecture == "bailingmoe" and config.tie_word_embeddings:  # it has no tied form
        yield "output.weight", model.model.embed_tokens.weight.detach().float().cpu()


def _describe(writer: Any, config: ModelConfig, architecture: str, name: str, kind: GGUFType) -> None:
    from gguf import LlamaFileType

    types = {"f32": LlamaFileType.ALL_F32, "f16": LlamaFileType.MOSTLY_F16, "q8_0": LlamaFileType.MOSTLY_Q8_0}
    writer.add_name(name)
    writer.add_file_type(types[kind])
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_dim)
    if config.num_experts:
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.intermediate_size)
    if architecture == "bailingmoe":
        writer.add_leading_dense_block_count(0)
        writer.add_expert_shared_count(config.num_shared_experts)
        writer.add_expert_weights_scale(1.0)
        writer.add_expert_weights_norm(config.norm_topk_prob)


def _write_tensor(writer: Any, name: str, tensor: Tensor, kind: GGUFType) -> None:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    stored = kind
    if tensor.dim() < 2 or name.endswith("ffn_gate_inp.weight"):
        stored = "f32"
    elif kind == "q8_0" and tensor.shape[-1] % BLOCK:
        stored = "f16"
    raw = GGMLQuantizationType[stored.upper()]
    writer.add_tensor(name, quantize(tensor.numpy(), raw), raw_dtype=raw)


def _write_tokenizer(writer: Any, tokenizer: Tokenizer, size: int) -> None:
    """The tokenizer's lists; a row between its tokens that is none gets a name that no text can become."""
    state = json.loads(tokenizer.backend.to_str())
    added = {token["id"]: CONTROL if token["special"] else USER_DEFINED for token in state["added_tokens"]}
    names = {number: token for token, number in tokenizer.backend.get_vocab(with_added_tokens=True).items()}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in state["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut_name(state["pre_tokenizer"]))
    writer.add_token_list([names.get(number, f"[unused {number}]") for number in range(size)])
    writer.add_token_types([added.get(number, NORMAL if number in names else UNUSED) for number in range(size)])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokenizer.bos_id)
    writer.add_eos_token_id(tokenizer.eos_id)
    writer.add_pad_token_id(tokenizer.pad_id)
    writer.add_add_bos_token(False)  # the chat template writes them
    writer.add_add_eos_token(False)
    writer.add_chat_template(without_generation_marks(tokenizer.jinja()))


def ollama_modelfile(tokenizer: Tokenizer, file: str, context: int) -> str:
    """An Ollama Modelfile for ``file``: the conversation's layout in Go's template language, read off one rendering."""
    start, end = (tokenizer.decode([token]) for token in (tokenizer.bos_id, tokenizer.eos_id))
    question = [{"role": "user", "content": "Q"}]
    text = tokenizer.decode(tokenizer.render(question, add_generation_prompt=True).ids)
    before, _, opening = text.partition(f"{start}user\nQ{end}\n")
    turn = f"{{{{- range .Messages }}}}{start}{{{{ .Role }}}}\n{{{{ .Content }}}}{end}\n{{{{ end }}}}"
    lines = [f"FROM ./{file}", f'TEMPLATE """{turn}{opening}"""']
    if before:
        lines.append(f'SYSTEM """{before.removeprefix(f"{start}system{chr(10)}").removesuffix(f"{end}{chr(10)}")}"""')
    lines += [f'PARAMETER stop "{token}"' for token in (end, start)] + [f"PARAMETER num_ctx {context}"]
    return "\n".join(lines) + "\n"
