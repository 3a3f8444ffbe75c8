"""Defaults are decisions: constants (presets among them), settings of every stage, arguments of public functions.

defaults.json holds all of them; whoever changes one changes what others' programs do. Write it again with
`python tests/test_defaults.py`, look at the difference, and say so in CHANGELOG.md.
"""

import contextlib
import dataclasses
import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import minimind_lite

STORED = Path(__file__).with_name("defaults.json")
FLOORS = (
    "files", "settings", "device", "config", "tokenizer", "model", "data", "generation", "evaluation", "training",
    "interop",
)  # fmt: skip
PLAIN = (bool, int, float, str, type(None))


def described(value: Any) -> Any:
    """A value as JSON; raises TypeError for one that does not say everything by itself."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: described(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): described(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [described(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if not isinstance(value, PLAIN):
        raise TypeError(f"a {type(value).__name__}")
    return value


def modules() -> list[ModuleType]:
    """The library's modules, without the course and the command line."""
    names = [one.name for one in pkgutil.walk_packages(minimind_lite.__path__, "minimind_lite.")]
    own = [name for name in sorted(names) if not name.endswith(".modeling_minimind_moe")]  # transformers' defaults
    return [importlib.import_module(name) for name in own if name.split(".")[1] in FLOORS]


def defaults_of(name: str, thing: Any) -> dict[str, Any]:
    """The plain defaults of a function, or of a class's fields and public methods."""
    if inspect.isfunction(thing):
        found = inspect.signature(thing).parameters.values()
        return {f"{name}({one.name})": one.default for one in found if one.default is not one.empty}
    made = {}
    if dataclasses.is_dataclass(thing):
        fields = dataclasses.fields(thing)
        made = {f"{name}.{one.name}": one.default for one in fields if one.default is not dataclasses.MISSING}
        made |= {
            f"{name}.{one.name}": one.default_factory()
            for one in fields
            if one.default_factory is not dataclasses.MISSING and one.default_factory in (list, dict, tuple)
        }
    for method, function in vars(thing).items():
        function = getattr(function, "__func__", function)  # a class method
        public = (method == "__init__" and not made) or not method.startswith("_")  # a dataclass's fields are in made
        if inspect.isfunction(function) and public:
            made |= defaults_of(f"{name}.{method}", function)
    return made


def collected() -> dict[str, Any]:
    """name → default of everything public, and all public constants."""
    found: dict[str, Any] = {}
    for module in modules():
        prefix = module.__name__.removeprefix("minimind_lite.")
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", module.__name__) != module.__name__:
                continue
            if inspect.isfunction(thing) or inspect.isclass(thing):
                found |= defaults_of(f"{prefix}.{name}", thing)
            elif name.isupper():
                found[f"{prefix}.{name}"] = thing
    stated = {}
    for name, value in found.items():
        with contextlib.suppress(TypeError):
            stated[name] = described(value)
    return json.loads(json.dumps(stated, sort_keys=True))


def test_no_default_has_changed() -> None:
    stored, now = json.loads(STORED.read_text(encoding="utf-8")), collected()
    changed = {name for name in stored.keys() | now.keys() if stored.get(name, "-") != now.get(name, "-")}
    assert {name: (stored.get(name, "-"), now.get(name, "-")) for name in sorted(changed)} == {}
    assert len(now) > 150  # the collection itself still finds them


if __name__ == "__main__":
    STORED.write_text(json.dumps(collected(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
