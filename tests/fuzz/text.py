"""Damage to data and to its text: YAML and JSON."""

import json
import random
import re
from copy import deepcopy

VALUES = [
    None, True, False, 0, 1, -1, 3, 0.5, -0.0, 1e-300, 1e308, -1e308, 2**31, 2**63, 2**64, 10**30,
    10**400, "", " ", "x", "-", "int4@g128", "int4@g0", "int4@b9999999999x9999999999", "no such",
    "../../etc/passwd", "/dev/zero", "a\0b", "\ud800", "\u202e\u0130\u00df", "x" * 5000, "1e400",
    "NaN", "inf", "64 KiB", "9e99 KiB", "-1 KiB", [], [[]], [0], [1, 1], ["a", None],
    list(range(300)),
    {}, {"a": 1}, {"": {}}, {"from": 0, "to": 10**9, "step": 1e-9}, {"from": 1, "to": 8},
    {"from": 1, "to": 1e308, "factor": 1.0000001}, [{"when": {}, "set": {}}],
]  # fmt: skip
PIECES = [
    "[", "]", "{", "}", "[" * 30000, "{a: " * 3000, "- " * 4000, ": ", "- ", "\t", "\n", "\r\n",
    "\0",
    "'",
    '"', "#", "# " + "c" * 2_000_000, "&a ", "*a", "!!python/object:os.system ", "!!int ", "! ",
    "| ", "> ", "? ", "%YAML 9.9\n", "---\n", "...\n", "<<: ", "9" * 5000, "0." + "1" * 5000, "1e",
    "0x", "_", "\u2028", "\ufeff", "\x85", "\x1b[31m", "x" * 100_000, "é", "\U0001f600", ",", "=",
    "**", " and ", "(" * 3000, "9**9**9**9", "__import__('os')",
]  # fmt: skip


def places(data, loc=()):
    """Return the places of all values within data."""
    found = [loc]
    if isinstance(data, dict):
        for key, value in data.items():
            found += places(value, (*loc, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            found += places(value, (*loc, i))
    return found


def changed(data, rng: random.Random):
    """Return data with one to three values replaced, dropped, doubled, renamed or wrapped."""
    data = deepcopy(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        spots = [loc for loc in places(data) if loc]
        if not spots:
            return data
        *path, last = rng.choice(spots)
        holder = data
        for part in path:
            holder = holder[part]
        change = rng.choice(["value", "value", "value", "drop", "wrap", "key", "number", "copy"])
        value = holder[last]
        if change == "drop":
            del holder[last]
        elif change == "key" and isinstance(holder, dict):
            holder[rng.choice([last + "s", last[:-1], last.upper(), "", "a.b", "title"])] = (
                holder.pop(last)
            )
        elif change == "wrap":
            holder[last] = rng.choice([[value], {"value": value}, [[value]], str(value)])
        elif change == "number" and isinstance(value, int | float) and abs(value) < 1e300:
            holder[last] = rng.choice([value * 2, -value, value + 0.5, value * 10**12, 1 / 3])
        elif change == "copy":
            *_, other = rng.choice([places(data)])
            holder[last] = deepcopy(_at(data, other)) if len(other) > len(path) else value
        else:
            holder[last] = deepcopy(rng.choice(VALUES))
    return data


def _at(data, loc):
    for part in loc:
        data = data[part]
    return data


def damaged(text: str, rng: random.Random) -> bytes:
    """Return text as bytes with pieces put in, taken out, doubled; or in another encoding."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.choice([1, 1, 3, 20, 200]))
        change = rng.choice(["insert", "insert", "insert", "drop", "double", "end", "lines"])
        if change == "insert":
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif change == "drop":
            text = text[:at] + text[to:]
        elif change == "double":
            text = text[:to] + text[at:]
        elif change == "end":
            text = text[:at]
        else:
            lines = text.splitlines(keepends=True)
            rng.shuffle(lines)
            text = "".join(lines)
    content = text.encode("utf-8", "surrogatepass")
    coded = rng.randrange(20)
    if coded == 0:
        return text.encode(rng.choice(["utf-16", "utf-32", "latin-1"]), "replace")
    if coded < 3 and content:
        at = rng.randrange(len(content))
        return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
    return content


def as_yaml(data) -> str:
    """Return data as YAML whose strings and keys are JSON's, so that nothing is repaired."""
    if isinstance(data, dict) and data and all(isinstance(k, str) for k in data):
        simple = re.compile(r"[a-z][a-z_.0-9]*")
        lines = [
            f"{key if simple.fullmatch(key) else json.dumps(key)}: {json.dumps(value)}\n"
            for key, value in data.items()
        ]
        return "".join(lines)
    return json.dumps(data)
