"""Settings of the site that ``make docs`` builds with Sphinx, from the pages of this folder."""

import re
import sys
import warnings
from pathlib import Path
from typing import Any

from sphinx.ext.napoleon.docstring import NumpyDocstring

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import pages  # noqa: E402  (a file beside this one)

import bitlathe  # noqa: E402

pages.write(HERE / "reference")

project = "bitlathe"
author = "the bitlathe authors"
project_copyright = author
version = release = bitlathe.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery", "notebooks"]
suppress_warnings = ["myst.header", "config.cache", "ref.python", "misc.highlighting_failure"]
default_role = "code"  # docstrings name code in single backticks
autodoc_typehints = "none"  # they stand in the signature and in Parameters
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
html_theme = "furo"
html_static_path = ["style"]
html_css_files = ["dark.css"]  # pictures on dark pages
html_title = f"bitlathe {release}"
html_show_sourcelink = False
html_copy_source = False
pygments_style = "default"

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "show_memory": False,
    "write_computation_times": False,  # its page would load scripts from the network
    "min_reported_time": 5,
    "download_all_examples": False,
    "remove_config_comments": True,
    "plot_gallery": True,
    "image_scrapers": ("matplotlib",),
    "capture_repr": ("_repr_html_", "__repr__"),
    "show_signature": False,
    "ignore_repr_types": r"matplotlib|.list.",  # what drawing returns, and what says nothing
}
# "PEs on the chip: those of ..." is a sentence, not a type and what it means
NumpyDocstring._consume_inline_attribute = lambda self: ("", self._consume_to_end())  # type: ignore[method-assign]
warnings.filterwarnings("ignore", message="Matplotlib is currently using agg")

# links of pages to what stands beside docs/: a page of the site, or the file itself
_OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "reference/changelog.md",
    "CONTRIBUTING.md": "reference/contributing.md",
}
_LINK = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)(#[^)\s]+)?\)")


def _link(found: re.Match[str]) -> str:
    label, path, anchor = found.groups()
    if path in _OUTSIDE:
        return f"[{label}]({_OUTSIDE[path]}{anchor or ''})"
    if (HERE.parent / path).is_file():
        return found.group()
    return f"`{path}`" if label.strip("`") == path.rstrip("/") else f"{label} (`{path}`)"


def _outside(_app: Any, page: str, text: list[str]) -> None:
    """Turn links that leave the folder into what the site has; no page goes unlisted."""
    if page == "index":
        names = sorted(path.stem for path in HERE.glob("*.md"))
        rest = [name for name in names if f"\n{name}\n" not in text[0] and name != page]
        lines = ["```{toctree}", ":caption: More", ":maxdepth: 1", "", *rest, "```"]
        text[0] += "\n".join(["", *lines, ""]) if rest else ""
    if "/" not in page:
        text[0] = _LINK.sub(_link, text[0])


def setup(app: Any) -> None:
    """Connect the above with Sphinx."""
    app.connect("source-read", _outside)
