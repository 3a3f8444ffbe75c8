"""Which file has which role: the samples in data_samples/, or MiniMind's published data in data/."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from minimind_lite.data.published import PUBLISHED, PublishedFile, data_folder, in_bytes
from minimind_lite.files import repository_root

from .errors import CourseError
from .language import language, say
from .profiles import is_smoke

# The published files, by role; held-out items always come from the samples, so that figures can be compared.
FULL_DATA = {
    "tokenizer_train": "tokenizer_train.jsonl",
    "pretrain": "pretrain_hq.jsonl",
    "sft": "sft_mini_512.jsonl",
    "dpo": "dpo.jsonl",
    "lora_identity": "lora_identity.jsonl",
    "lora_medical": "lora_medical.jsonl",
    "reason": "r1_mix_1024.jsonl",
}
SAMPLE_NAMES = {  # roles that another file or folder of the samples has
    "tokenizer_train": "pretrain",  # the small tokenizer learns from the texts the small model reads
    "sft": "chat",
    "sft_heldout": "facts_rings/near",  # the trained facts, asked in new words
}


def published_files_of(roles: Sequence[str]) -> list[PublishedFile]:
    """The published files that have these roles, each once; a role that only the samples have has none."""
    return [PUBLISHED[name] for name in dict.fromkeys(FULL_DATA[role] for role in roles if role in FULL_DATA)]


def require_data(roles: Sequence[str], profile: str) -> None:
    """Raise CourseError, with the command that helps, if the profile is full and published files are not there."""
    if profile != "full" or is_smoke():
        return
    folder = data_folder()
    missing = [file for file in published_files_of(roles) if not (folder / file.name).is_file()]
    if missing:
        files = ", ".join(f"{folder.name}/{file.name} ({in_bytes(file.size)})" for file in missing)
        raise CourseError(say(
            'profile "full" trains on the published data, and of it these files are not there: {files}. Download them '
            'with: {command}; put them there by hand; or use profile="quick", which needs no download',
            files=files, command=download_command(file.name for file in missing),
        ))  # fmt: skip


def download_command(names: Iterable[str], edition: str = "") -> str:
    """The command that brings published files, from the hub that is near the readers of an edition, or of the language
    that is spoken."""
    hub = " --source modelscope" if (edition or language()) == "zh" else ""
    return f"minimind data download {' '.join(names)}{hub}"


def data_path(name: str, profile: str) -> Path:
    """The file or folder called ``name``; CourseError lists what there is, or tells how to get the full data."""
    root = repository_root()
    require_data([name], profile)
    if profile == "full" and name in FULL_DATA and not is_smoke():
        return data_folder() / FULL_DATA[name]
    samples = root / "data_samples"
    stored = SAMPLE_NAMES.get(name, name)
    for path in (samples / f"{stored}.jsonl", samples / stored):
        if path.exists():
            return path
    there = sorted(p.stem if p.suffix == ".jsonl" else p.name for p in samples.glob("*") if not p.name.startswith("."))
    raise CourseError(say("data_samples/ holds no {name}; it holds: {there}",
                          name=repr(name), there=", ".join(there) or say("nothing yet")))  # fmt: skip
