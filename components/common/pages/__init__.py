"""Pages for people: one HTML file each, that needs no other file and no network; and no script, but for the page that writes decisions.

In: a template of the package that the page belongs to, and the values in it. Out: the page. All pages extend `base.html` and share
`style.css` and the macros of `macros.html`. Much of what they print comes from strangers (file names, labels), so everything is escaped.
"""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def render_page(package: str, template: str, **values: object) -> str:
    """The page.

    Args:
        package: Whose folder holds the template.
        template: Its file name.
        values: What it prints.
    """
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("components.common", "pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(template).render(**values)


def inline_picture(path: Path) -> str:
    """The address of a PNG file that holds the picture itself."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
