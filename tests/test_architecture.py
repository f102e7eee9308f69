"""The page on the architecture is what the imports are."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"


def test_the_table_of_rooms_is_what_the_imports_are():
    command = [sys.executable, str(ROOT / "docs" / "architecture.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_file_and_folder_that_the_page_names_is_there():
    text = PAGE.read_text(encoding="utf-8").partition("## The rooms")[0]
    named = set(re.findall(r"`((?:\w+/)+(?:\w+(?:\.\w+)?)?)`", text))
    assert len(named) > 25
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
