"""Configurations as TOML: read with every key and value checked, changed by `dotted.key=value`, written out as they were resolved.

What a file may say follows from the dataclass it is read as (see `decoding`); nothing here knows a particular setting.
"""

import dataclasses
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_args, get_origin, get_type_hints

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import (
    NESTED,
    DecodingError,
    MissingFieldError,
    Rules,
    UnknownFieldError,
    decoded,
    parse_toml,
)
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.legacy import current_name, current_names

C = TypeVar("C")
Table = dict[str, object]


def read_toml(path: Path) -> Table:
    """What a TOML file says, unchecked.

    Raises:
        ConfigError: There is no such file, or it is not TOML; names the line.
    """
    try:
        return current_names(parse_toml(disk.read_text(path)))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (DecodingError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except RecursionError:  # a key of thousands of words
        raise ConfigError(f"{path} is not TOML: {NESTED}") from None


def merged(below: Mapping[str, object], above: Mapping[str, object]) -> Table:
    """One table with what both say; `above` wins key by key."""
    table = dict(below)
    for key, value in above.items():
        old = table.get(key)
        table[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return table


def overrides(kind: type, words: Sequence[str]) -> Table:
    """`dotted.key=value` words as a table, read as what the configuration `kind` expects there.

    Raises:
        ConfigError: A word without `=`, an unknown key, or a value that is none.
    """
    table: Table = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} is not a setting; expected dotted.key=value, as in optim.steps=500")
        key = ".".join(map(current_name, key.strip().split(".")))
        wanted = dict(_leaves(kind)).get(key)
        if wanted is None:
            raise _unknown(key, [name for name, _ in _leaves(kind)])
        value = _parsed_value(text.strip(), wanted)
        for part in reversed(key.split(".")):
            value = {part: value}
        assert isinstance(value, dict)
        table = merged(table, current_names(value))
    return table


def build(kind: type[C], table: Mapping[str, object]) -> C:
    """The configuration that a table describes; what it leaves out has its default.

    Raises:
        ConfigError: An unknown key (names the nearest), a missing one, a value of another kind or out of range.
    """
    try:
        return decoded(kind, table, "", Rules(is_for_people=True))
    except UnknownFieldError as error:
        prefix = f"{error.place}." if error.place else ""
        raise _unknown(prefix + error.name, [name for name, _ in _leaves(error.owner, prefix)]) from None
    except MissingFieldError as error:
        raise ConfigError(f"{error.key} is missing", hint=f"set it, as in {error.key}=...") from None
    except DecodingError as error:
        raise ConfigError(str(error), hint=error.hint) from None


def to_toml(config: object) -> str:
    """The configuration as a TOML file that `build` reads back as the same."""
    return "\n".join(_lines(config, "")).strip() + "\n"


def _leaves(kind: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every dotted key and the type of its value."""
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        return
    for key, wanted in get_type_hints(kind).items():
        if dataclasses.is_dataclass(wanted):
            yield from _leaves(wanted, f"{prefix}{key}.")
        else:
            yield prefix + key, wanted


def _unknown(key: str, known: Sequence[str]) -> ConfigError:
    near = _nearest(key, known)
    if near is not None:
        return ConfigError(f"unknown setting {key!r}; did you mean {near!r}?")
    section = key.rpartition(".")[0]
    there = [name.removeprefix(f"{section}.") for name in known if name.startswith(f"{section}.")]
    return ConfigError(f"unknown setting {key!r}", hint=f"{section} has {', '.join(there)}" if there else "")


def _nearest(key: str, known: Sequence[str]) -> str | None:
    """The setting that was meant, by its own word: its section alone makes no two settings alike."""
    section, _, word = key.rpartition(".")
    own = {name.rpartition(".")[2]: name for name in reversed(known) if name.rpartition(".")[0] == section}
    by_word = {name.rpartition(".")[2]: name for name in reversed(known)}
    by_initials = {"".join(part[:1] for part in name.split("_")): name for name in by_word if "_" in name}
    for same in (word, by_initials.get(word, "")):
        if same in by_word:
            return own.get(same) or by_word[same]
    near = [words[other] for words in (own, by_word) for other in difflib.get_close_matches(word, words, n=1)]
    return near[0] if near else None


def _parsed_value(text: str, wanted: object) -> object:
    """A value as a person types it: TOML, but words need no quotes."""
    try:
        return parse_toml(f"value = {text}")["value"]
    except DecodingError:
        pass
    if get_origin(wanted) is tuple:
        return [
            _parsed_value(part.strip(), get_args(wanted)[0]) for part in text.strip("[]").split(",") if part.strip()
        ]
    return text


def _lines(config: object, prefix: str) -> Iterator[str]:
    """Plain values first, then tables, as TOML wants it."""
    assert dataclasses.is_dataclass(config)
    values = [(field.name, getattr(config, field.name)) for field in dataclasses.fields(config)]
    for name, value in values:
        if not _is_table(value) and value is not None:
            yield f"{name} = {_text(value)}"
    for name, value in values:
        if dataclasses.is_dataclass(value):
            yield from ("", f"[{prefix}{name}]", *_lines(value, f"{prefix}{name}."))
        elif _is_table(value):
            for one in value:
                yield from ("", f"[[{prefix}{name}]]", *_lines(one, f"{prefix}{name}."))


def _is_table(value: object) -> bool:
    return dataclasses.is_dataclass(value) or (
        isinstance(value, tuple) and bool(value) and dataclasses.is_dataclass(value[0])
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
