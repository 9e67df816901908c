"""Secrets taken out of texts that are kept or shown: API keys, shared secrets, and what fields with telling names hold.

A key is recognised by its form, so a mistyped or cut one is, too. Only what may be displayed anyway stays of it: its prefix.
A text may be cut before it is handed in: what is left of a secret at the cut is recognised by what stands before it.
"""

import json
import re

GONE = "…"
_BAR = r"(?:_|%(?:25)*5[Ff]|\\u005[Ff])"
"""An underscore, also as URLs and JSON can spell it."""
_HEAD = rf"(?:pk{_BAR}[^\s\"',;&=]{{1,200}}?|ak){_BAR}(?:live|sandbox){_BAR}"
_KEY = re.compile(rf"({_HEAD}[0-9A-Za-z]{{0,4}}+)[0-9A-Za-z%]+")
_SIGNING = rf"(?<![0-9A-Za-z])ss{_BAR}"
_WHOLE_KEY = re.compile(rf"{_HEAD}[0-9A-Za-z]{{20}}|whsec{_BAR}[0-9A-Za-z+/]{{20}}|{_SIGNING}[0-9A-Za-z_-]{{30}}")
_SHARED = re.compile(rf"(whsec{_BAR})[0-9A-Za-z+/=_%-]+|({_SIGNING})[0-9A-Za-z_%-]{{20,}}")
_TELLING = re.compile(
    r"secret|signature|passwor|passphrase|authorization|credential|mnemonic|(?<!idempotency[_-])keys?$", re.IGNORECASE
)
_STRING = r'"(?:[^"\\]++|\\.)*+"?'
_PART = re.compile(
    rf'(?P<name>{_STRING})(?:(?P<colon>\s*+:\s*+)(?P<value>{_STRING}|\[(?:[^\[\]{{}}"]++|{_STRING})*+\]|[^\s,{{}}\[\]"]++)?+)?+',
    re.DOTALL,
)
"""A string of JSON, and where it names a member, the value too. It reads broken JSON as well, and reads nothing twice."""
_KEPT = frozenset({"null", "true", "false", '""', "[]"})


def redacted(text: str) -> str:
    """The text, whose every key and shared secret is its prefix and ``…``."""
    return _SHARED.sub(rf"\1\2{GONE}", _KEY.sub(rf"\1{GONE}", text))


def holds_secret(text: str) -> bool:
    """Whether so much of a key or shared secret is in the text that it can be nothing else."""
    return _WHOLE_KEY.search(text) is not None


def redacted_json(text: str) -> str:
    """The same for text that should be JSON, where members whose names tell of a secret lose their values as well."""
    return redacted(_PART.sub(_part, text))


def is_telling(name: str) -> bool:
    """Whether what goes by this name is a secret."""
    return _TELLING.search(name) is not None


def _part(found: re.Match[str]) -> str:
    name, colon, value = found["name"], found["colon"] or "", found["value"]
    return _string(name) + colon + ("" if value is None else _value(name, value))


def _value(name: str, value: str) -> str:
    if is_telling(_decoded(name)) and value not in _KEPT:
        shown = redacted(_decoded(value))
        return json.dumps(shown if shown.endswith(GONE) else GONE, ensure_ascii=False)
    if value.startswith("["):
        return _PART.sub(_part, value)
    return _string(value) if value.startswith('"') else value


def _string(token: str) -> str:
    """Escapes hide nothing: a string that has some is read before it is judged. What holds no secret stays as it was spelt."""
    if "\\" not in token:
        return token
    decoded = _decoded(token)
    shown = redacted(decoded)
    return token if shown == decoded else json.dumps(shown, ensure_ascii=False)


def _decoded(token: str) -> str:
    try:
        return str(json.loads(token, strict=False))
    except ValueError:
        return token.strip('"')
