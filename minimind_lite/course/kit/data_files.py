"""Which file has which role: the samples in data_samples/, or the published MiniMind data in dataset/."""

from pathlib import Path

from minimind_lite.files import repository_root

from .errors import CourseError
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
SAMPLE_NAMES = {"tokenizer_train": "pretrain"}  # the small tokenizer learns from the texts the small model reads


def data_path(name: str, profile: str) -> Path:
    """The file or folder called ``name``; CourseError lists what there is, or tells how to get the full data."""
    root = repository_root()
    if profile == "full" and name in FULL_DATA and not is_smoke():
        path = root / "dataset" / FULL_DATA[name]
        if not path.is_file():
            raise CourseError(
                f'profile "full" trains on the published data, and dataset/{path.name} is not there. Download it from '
                "the dataset gongjy/minimind_dataset (ModelScope) or jingyaogong/minimind_dataset (Hugging Face) into "
                f'dataset/ in the repository\'s root, or use profile="quick", which needs no download'
            )
        return path
    samples = root / "data_samples"
    stored = SAMPLE_NAMES.get(name, name)
    for path in (samples / f"{stored}.jsonl", samples / stored):
        if path.exists():
            return path
    there = sorted(p.stem if p.suffix == ".jsonl" else p.name for p in samples.glob("*") if not p.name.startswith("."))
    raise CourseError(f"data_samples/ holds no {name!r}; it holds: {', '.join(there) or 'nothing yet'}")
