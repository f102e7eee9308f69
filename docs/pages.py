"""The pages of the site that are made from the program: its Python names, commands and keys."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

import bitlathe
from bitlathe.cli import main
from bitlathe.reports.schemas import KINDS, key_tables

HERE = Path(__file__).parent
ROOMS = {
    "bitlathe": "The names at the root, `import bitlathe as bl`.",
    "bitlathe.datatypes": "Formats, schemes, quantized tensors.",
    "bitlathe.workloads": "Models, and products given one by one.",
    "bitlathe.arch": "Chips, and systems of them.",
    "bitlathe.mapping": "How a layer is laid on a chip.",
    "bitlathe.sim": "Runs and their results, PEs and arrays.",
}
FOLDERS = "arch|datatypes|mapping|reports|sim|workloads"
NAMED = re.compile(rf"(?:bitlathe\.|`)((?:{FOLDERS})(?:\.[a-z_]\w*)+)")
ROOT = sorted({*dir(bitlathe)} - {"__version__", *FOLDERS.split("|")})
IMPORTED = re.compile(r"from (bitlathe(?:\.\w+)+) import")


def write(folder: Path) -> None:
    """Write all pages into a folder."""
    folder.mkdir(exist_ok=True)
    made = {f"python-{room.rpartition('.')[2]}": room_page(room) for room in ROOMS}
    made |= {"python-more": named_page(), "commands": commands_page()}
    made["keys"] = keys_page()
    made |= {name: beside(f"{name.upper()}.md") for name in ("changelog", "contributing")}
    for name, text in made.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def beside(name: str) -> str:
    """Return a page that stands beside this folder, its links as they are from the new place."""
    return (HERE.parent / name).read_text(encoding="utf-8").replace("](docs/", "](../")


def room_page(room: str) -> str:
    """Return the page of a room: each public name with its docstring."""
    parts = [f"# {'bl' if room == 'bitlathe' else room.replace('bitlathe', 'bl')}", ROOMS[room]]
    parts += [_directive(path, found, name) for path, found, name in _listed(room)]
    return "\n\n".join(parts) + "\n"


def _listed(room: str) -> Iterator[tuple[str, object, str]]:
    """Yield what the page of a room describes: where it stands, the object, its name there."""
    module = importlib.import_module(room)
    for name in ROOT if room == "bitlathe" else sorted(module.__all__):
        found = getattr(module, name)
        told = room != "bitlathe" and any(found is getattr(bitlathe, own) for own in ROOT)
        if not told and (inspect.isclass(found) or inspect.isfunction(found)):
            yield f"{found.__module__}.{found.__name__}", found, name


def _directive(path: str, found: object, name: str) -> str:
    kind = "class" if inspect.isclass(found) else "function"
    lines = [f".. auto{kind}:: {path}"]
    if kind == "class":
        lines += ["   :members:", "   :exclude-members: model_config, model_post_init"]
    return f"## {name}\n\n```{{eval-rst}}\n" + "\n".join(lines) + "\n```"


def _modules() -> list[str]:
    """Return the modules that the pages name beside the rooms."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.md"))]
    names = {f"bitlathe.{name}" for text in texts for name in NAMED.findall(text)}
    names |= {name for text in texts for name in IMPORTED.findall(text)}
    return sorted({module for name in names if (module := _module_of(name)) not in ROOMS})


def _module_of(name: str) -> str:
    while name:
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError:
            name = name.rpartition(".")[0]
            continue
        return "bitlathe" if "__init__" in str(found.__file__) else name
    return "bitlathe"


def named_page() -> str:
    """Return the page of all modules that pages name, with their own public names."""
    parts = ["# Modules that the pages name", "What the guides use beyond the rooms' own names."]
    told = {path for room in ROOMS for path, _, _ in _listed(room)}
    for name in _modules():
        own = [(path, found) for path, found in _own(name) if path not in told]
        if not own:
            continue
        parts.append(f"## {name.replace('bitlathe', 'bl', 1)}")
        parts.append((inspect.getdoc(importlib.import_module(name)) or "").partition("\n")[0])
        for path, found in own:
            kind = "class" if inspect.isclass(found) else "function"
            members = "\n   :members:" * (kind == "class")
            parts.append(f"```{{eval-rst}}\n.. auto{kind}:: {path}{members}\n```")
    return "\n\n".join(parts) + "\n"


def _own(name: str) -> Iterator[tuple[str, object]]:
    module = importlib.import_module(name)
    for key, found in vars(module).items():
        public = not key.startswith("_") and getattr(found, "__module__", None) == name
        if public and (inspect.isclass(found) or inspect.isfunction(found)):
            yield f"{name}.{key}", found


def commands_page() -> str:
    """Return the page of commands: what each prints with ``--help``."""
    parts = ["# Commands", "What `bitlathe COMMAND --help` prints."]
    group = click.Context(main, info_name="bitlathe", terminal_width=100)
    parts.append(f"```text\n{main.get_help(group)}\n```")
    for name, command in sorted(main.commands.items()):
        context = click.Context(command, parent=group, info_name=name, terminal_width=100)
        parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts) + "\n"


def keys_page() -> str:
    """Return the page of all keys of files, from the records that read them."""
    parts = [
        "# Keys of files",
        "Every key that a file may have; others are refused. `bitlathe schema KIND` prints them as "
        "JSON Schema for editors. Most numbers with a unit in their name also take what "
        "[chips](../chips.md) and [sweeps](../sweeps.md) say of their short forms.",
    ]
    for kind in KINDS:
        parts.append(f"## {kind.capitalize()} files")
        for section, rows in key_tables(kind):
            parts += [f"### {section}", _table(rows)]
    return "\n\n".join(parts) + "\n"


def _table(rows: list[dict[str, str]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    for row in rows:
        lines.append([_cell(key, value) for key, value in row.items()])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(key: str, value: str) -> str:
    text = value.replace("|", "\\|")
    return f"`{text}`" if key == "key" else text.replace("<", "&lt;").replace("*", "\\*")
