"""The data files that MiniMind publishes, by name, and the two hubs that carry them.

Sizes are rounded as the project's own lists round them. No digest is stored: files are replaced under the same name
(MiniMind2's dpo.jsonl has 909 MB, v3's has 53 MB), so a download is held against the digest that its hub states.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from minimind_lite.data.records import DataError, Kind
from minimind_lite.files import repository_root

DATA_FOLDER = "data"  # in the repository's root; git ignores it
DATA_VARIABLE = "MINIMIND_DATA"  # the environment variable that names another folder, on a larger disk perhaps
KB, MB, GB = 10**3, 10**6, 10**9


@dataclass(frozen=True)
class PublishedFile:
    """One published file."""

    name: str
    size: int  # bytes, rounded
    kind: Kind  # what a line of it is
    stage: str  # the stage of `minimind train` that it serves; "" if there is none
    about: str


@dataclass(frozen=True)
class Hub:
    """Where the files are: a dataset repository on a server that may have mirrors."""

    name: str
    repository: str
    branch: str
    variable: str  # the environment variable that names another server with the same addresses
    server: str

    @property
    def endpoint(self) -> str:
        """The server's address. Raises DataError if the environment variable holds no address."""
        address = os.environ.get(self.variable) or self.server
        if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).netloc:
            raise DataError(f"{self.variable} must be an address such as {self.server}, not {address!r}")
        return address.rstrip("/")

    @property
    def host(self) -> str:
        """The server's name."""
        return urlsplit(self.endpoint).netloc

    def url(self, name: str, revision: str = "") -> str:
        """The address of a file. revision: a branch or a commit; "" is the branch."""
        return f"{self.endpoint}/datasets/{self.repository}/resolve/{quote(revision or self.branch)}/{quote(name)}"


HUBS = {
    hub.name: hub
    for hub in (
        Hub("huggingface", "jingyaogong/minimind_dataset", "main", "HF_ENDPOINT", "https://huggingface.co"),
        Hub("modelscope", "gongjy/minimind_dataset", "master", "MODELSCOPE_ENDPOINT", "https://www.modelscope.cn"),
    )
}
PUBLISHED = {
    file.name: file
    for file in (
        PublishedFile("tokenizer_train.jsonl", 1 * GB, "text", "tokenizer", "texts for a tokenizer"),
        PublishedFile("pretrain_hq.jsonl", 1600 * MB, "text", "pretrain", "texts under 512 characters"),
        PublishedFile("sft_mini_512.jsonl", 1200 * MB, "conversation", "sft", "short conversations, the smallest set"),
        PublishedFile("sft_512.jsonl", 7500 * MB, "conversation", "sft", "conversations under 512 characters"),
        PublishedFile("sft_1024.jsonl", 5600 * MB, "conversation", "sft", "conversations under 1,024 characters"),
        PublishedFile("sft_2048.jsonl", 9 * GB, "conversation", "sft", "conversations under 2,048 characters"),
        PublishedFile("lora_identity.jsonl", 22_800, "conversation", "lora", "questions about the model itself"),
        PublishedFile("lora_medical.jsonl", 34 * MB, "conversation", "lora", "medical questions"),
        PublishedFile("r1_mix_1024.jsonl", 340 * MB, "reasoning", "reason", "thoughts and answers, 10,000 plain"),
        PublishedFile("dpo.jsonl", 909 * MB, "preference", "dpo", "preferences (v3's, of the same name: 53 MB)"),
        PublishedFile("pretrain_t2t_mini.jsonl", 1200 * MB, "text", "pretrain", "v3: texts, the small set"),
        PublishedFile("pretrain_t2t.jsonl", 10 * GB, "text", "pretrain", "v3: texts"),
        PublishedFile("sft_t2t_mini.jsonl", 1600 * MB, "conversation", "sft", "v3: with thoughts and tools, small"),
        PublishedFile("sft_t2t.jsonl", 14 * GB, "conversation", "sft", "v3: with thoughts and tools"),
        PublishedFile("rlaif.jsonl", 24 * MB, "conversation", "grpo", "v3: prompts for a reward of your own"),
        PublishedFile("agent_rl.jsonl", 86 * MB, "conversation", "", "v3: tool use with a verifiable target"),
        PublishedFile("agent_rl_math.jsonl", 18 * MB, "conversation", "", "v3: mathematics with a verifiable target"),
    )
}


def published_files(names: Sequence[str]) -> list[PublishedFile]:
    """The files of these names; ".jsonl" may be left out. Raises DataError, which lists the known names."""
    full = [name if name.endswith(".jsonl") else f"{name}.jsonl" for name in names]
    unknown = [name for name, found in zip(names, full, strict=True) if found not in PUBLISHED]
    if unknown:
        raise DataError(f"no published file is called {', '.join(unknown)}; there are: {', '.join(PUBLISHED)}")
    return [PUBLISHED[name] for name in dict.fromkeys(full)]


def hub_called(name: str) -> Hub:
    """The hub of this name. Raises DataError, which lists the hubs."""
    if name not in HUBS:
        raise DataError(f"there is no source called {name!r}; there are: {', '.join(HUBS)}")
    return HUBS[name]


def data_folder() -> Path:
    """Where downloads go and chapters look: the folder that the environment variable MINIMIND_DATA names, else ``data``
    in the repository's root, or in the current folder outside one.
    """
    if os.environ.get(DATA_VARIABLE):
        return Path(os.environ[DATA_VARIABLE])
    try:
        return repository_root() / DATA_FOLDER
    except FileNotFoundError:
        return Path(DATA_FOLDER)


def in_bytes(size: float) -> str:
    """A number of bytes in the unit that fits: "1.6 GB", "22.8 KB"."""
    for unit, name in ((GB, "GB"), (MB, "MB"), (KB, "KB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:.0f} bytes"


def published_table(folder: Path) -> str:
    """Every file: its name, its size as published, its stage, whether it is in ``folder``, and what it is."""
    lines = [f"{'file':25}{'size':>9}  {'stage':11}{'here':>9}  what it is"]
    for file in PUBLISHED.values():
        path = folder / file.name
        here = in_bytes(path.stat().st_size) if path.is_file() else "no"
        lines.append(f"{file.name:25}{in_bytes(file.size):>9}  {file.stage or '-':11}{here:>9}  {file.about}")
    repositories = ", ".join(f"{hub.repository} ({hub.name})" for hub in HUBS.values())
    return "\n".join([*lines, "", f"from: {repositories}", f"here: {folder}"])
