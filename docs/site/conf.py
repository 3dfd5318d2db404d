"""The site of the documentation: Sphinx reads the Markdown where it lies, so that every link is the one that works on GitHub too.

The source folder is the project's root. docs/README.md lists the pages, and its sections become the navigation. Why Sphinx: ADR 7.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from sphinx.application import Sphinx

_ROOT = Path(__file__).parents[2]
_CONTENTS = "docs/README"

project = "pawflow"
author = "the authors of pawflow"
version = release = re.findall(r"^VERSION := (.+)$", (_ROOT / "Makefile").read_text(), re.M)[0]
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/adr/*.md", "components/*/README.md", "infra/README.md", "benchmarks/README.md"]
exclude_patterns = ["**/.*", "mlruns", "tests", "**/__pycache__"]
nitpicky = True
highlight_language = "none"
smartquotes = False

# As GitHub makes them, down to the fourth level.
myst_heading_anchors = 4
linkcheck_ignore = [r"http://(localhost|127\.0\.0\.1)", r"https?://[^/]*\.example"]
linkcheck_timeout = 20
linkcheck_retries = 2
# Kaggle answers a page only to a browser.
linkcheck_allowed_redirects = {r"https://www\.kaggle\.com/.*": r".*"}

html_theme = "furo"
html_title = "pawflow"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["extra"]
html_favicon = "../../serving/gateway/page/paw.svg"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def _list_pages() -> list[tuple[str, list[str]]]:
    """Section -> its pages, as docs/README.md has them."""
    text = (_ROOT / f"{_CONTENTS}.md").read_text()
    sections = re.split(r"^## (.+)$", text, flags=re.M)[1:]
    return [
        (caption, [posixpath.normpath(posixpath.join("docs", link)) for link in re.findall(r"^- \[.+?\]\((.+?)\.md\)", listed, re.M)])
        for caption, listed in zip(sections[::2], sections[1::2], strict=True)
    ]


def _add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    if page == root_doc:
        app.env.note_dependency(f"{_CONTENTS}.md")
        for caption, pages in _list_pages():
            listed = "\n".join(f"/{one}" for one in pages if one != root_doc)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"
    if page == _CONTENTS:
        source[0] = f"---\norphan: true\n---\n\n{source[0]}"


def _keep_folders(app: Sphinx, page: str, source: list[str]) -> None:
    """GitHub shows a folder that is linked to; here there is nothing to show, so its name stays as text."""
    place = Path(app.env.doc2path(page)).parent
    source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)\)", lambda link: link[1] if (place / link[2]).is_dir() else link[0], source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add_navigation)
    app.connect("source-read", _keep_folders)
