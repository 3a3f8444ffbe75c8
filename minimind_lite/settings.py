"""Settings that check themselves: frozen dataclasses whose values are checked against the annotations of their fields.

A field says what it takes in its annotation, ``steps: Count = 200``, and nowhere else. Whatever cannot work is refused
when the object is made, whether it comes from Python, from a notebook's parameters, or from the command line, where
every value is a text that is read as its field's type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")

_MOST = 2**31 - 1  # no machine serves more of anything; messages name it to those who ask for more
Count = Annotated[int, Field(ge=1, le=_MOST)]
Natural = Annotated[int, Field(ge=0, le=_MOST)]  # a count that may be 0, which usually switches something off
Length = Annotated[int, Field(ge=1, le=2**20)]  # tokens in one sequence; memory grows with it
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]  # a weight, which may be negative
Share = Annotated[float, Field(ge=0, le=1)]
ShareAbove0 = Annotated[float, Field(gt=0, le=1)]
ShareBelow1 = Annotated[float, Field(ge=0, lt=1)]

_LONGEST = 80  # characters of a refused value that a message repeats


class ConfigError(ValueError):
    """A setting that cannot work; the message says which, why, and what would work."""


@dataclass(frozen=True)
class Checked:
    """The base of every dataclass of settings.

    A whole number is taken for a float, and a number of NumPy's or torch's for Python's own; a bool is not a number.
    Raises ConfigError, which names the field, the value, and what would work.
    """

    def __post_init__(self) -> None:
        owner: type = type(self)
        for name, setting in _settings(owner).items():
            given = getattr(self, name)
            checked = setting.check(name, given)
            if checked is not given and not setting.python_only:
                object.__setattr__(self, name, checked)


class _Setting(NamedTuple):
    """How the values of one field are checked."""

    adapter: TypeAdapter[Any]
    python_only: bool  # only checked, never converted: functions, or a model's whole shape

    def check(self, name: str, value: Any, *, written: bool = False) -> Any:
        """The value with the field's type. written: it is a text from the command line."""
        plain = value.item() if getattr(value, "ndim", None) == 0 else value
        try:
            return self.adapter.validate_python(plain, strict=not written)
        except ValidationError as error:
            shown = repr(value)
            shown = shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"
            words = _in_words(self.schema())
            if any(one.get("ctx", {}).get("le") == _MOST for one in error.errors()):
                words += f", at most {_MOST}"
            raise ConfigError(f"{name} must be {words}, not {shown}") from None

    def read(self, name: str, text: str) -> Any:
        """The value that ``text`` stands for: a tuple's parts are separated by commas."""
        kinds = self.alternatives()
        if text == "None" and any(kind.get("type") == "null" for kind in kinds):
            return None
        if any(kind.get("type") == "array" for kind in kinds):
            return self.check(name, tuple(part.strip() for part in text.split(",") if part.strip()), written=True)
        return self.check(name, text, written=True)

    def schema(self) -> dict[str, Any]:
        """What the field takes, as a JSON schema; empty for functions and for objects that are no settings."""
        try:
            return self.adapter.json_schema()
        except PydanticInvalidForJsonSchema:
            return {}

    def alternatives(self) -> list[dict[str, Any]]:
        """The schema of every type that the field takes."""
        schema = self.schema()
        return list(schema.get("anyOf", [schema]))


@cache
def _settings(owner: type) -> dict[str, _Setting]:
    """By name, every field of a dataclass."""
    kinds, flexible = get_type_hints(owner, include_extras=True), ConfigDict(arbitrary_types_allowed=True)
    return {
        field.name: _Setting(TypeAdapter(kinds[field.name], config=flexible), "python_only" in field.metadata)
        for field in fields(owner)
    }


def _in_words(schema: Mapping[str, Any]) -> str:
    """What a JSON schema asks for: "a whole number, 1 or more"."""
    if not schema:
        words = "of the type that its class declares"
    elif "anyOf" in schema:
        words = ", or ".join(_in_words(one) for one in schema["anyOf"])
    elif "$ref" in schema:
        words = "a " + schema["$ref"].rpartition("/")[2]
    elif "enum" in schema or "const" in schema:
        words = "one of " + ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    elif schema.get("type") == "array":
        kinds = schema.get("prefixItems") or [schema.get("items", {})]
        count = f"{len(kinds)} values" if "prefixItems" in schema else "values"
        words = f"a tuple (NAME=A,B on the command line) of {count}, each {_in_words(kinds[0])}"
    else:
        names = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "None"}
        words = names.get(schema.get("type", ""), "a text") + _range(schema)
    return words + (f" ({schema['description']})" if "description" in schema else "")


def _range(schema: Mapping[str, Any]) -> str:
    forms = {"minimum": "{} or more", "exclusiveMinimum": "above {}", "maximum": "at most {}",
             "exclusiveMaximum": "below {}"}  # fmt: skip
    limits = [form.format(_number(schema[key])) for key, form in forms.items() if schema.get(key, _MOST) != _MOST]
    return ", " + " and ".join(limits) if limits else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def with_changes(base: Settings, changes: Mapping[str, Any], owner: str = "") -> Settings:
    """The dataclass ``base`` with every change that is not None; error messages call it ``owner``.

    Raises ConfigError for a name that ``base`` does not have (listing those it has), or a value that its field refuses.
    """
    known = settable(base)
    unknown = sorted(set(changes) - set(known))
    if unknown:
        owner = owner or type(base).__name__
        raise ConfigError(f"{owner} has no setting called {', '.join(unknown)}; it has: {', '.join(known)}")
    checks = _settings(type(base))
    wanted = {name: checks[name].check(name, value) for name, value in changes.items() if value is not None}
    return replace(base, **wanted)


def settable(settings: Any) -> list[str]:
    """The names of the fields that can be written as NAME=VALUE, of a dataclass or one of its objects."""
    return [field.name for field in fields(settings) if not field.metadata.get("python_only")]


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """Names and values, still as texts; ``read_settings`` gives them the types of their fields.

    Raises ConfigError for anything that is not NAME=VALUE, and for a name with two values.

    >>> parse_settings(["total_steps=100", "preset=nano"])
    {'total_steps': '100', 'preset': 'nano'}
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"-p {pair!r} must look like NAME=VALUE, as in -p total_steps=100")
        if found.setdefault(name, value) != value:
            raise ConfigError(f"-p {name} is given twice, as {found[name]} and as {value}: give it once")
    return found


def read_settings(texts: Mapping[str, str], owner: type) -> dict[str, Any]:
    """Texts from the command line as values of the fields of the dataclass ``owner``, which has every name.

    "yes", "true" and "1" are True, "0.9,0.95" is a tuple, "None" is None where the field may be None. Raises
    ConfigError for a text that its field cannot take.
    """
    checks = _settings(owner)
    return {name: checks[name].read(name, text.strip()) for name, text in texts.items()}
