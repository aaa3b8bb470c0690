"""How the documentation is built: `python -m sphinx -W -b html docs docs/_build/html`."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

import ott_middleware
from ott_middleware.backends.base import Backend, CoroutineBackend

project = "ott_middleware"
author = "The ott_middleware developers"
copyright = "The ott_middleware developers"
release = version = ott_middleware.__version__

sys.path.append(str(Path(__file__).parent / "_ext"))
extensions = [
    "accessible",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_inline_tabs",
    "sphinxext.opengraph",
]
exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["questions.js"]
# Where Read the Docs serves the pages; elsewhere the address is not known.
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")

# The card that chat programs show for a link to a page: one picture for all of them, since drawing
# one for each page would need matplotlib.
ogp_site_url = html_baseurl
ogp_image = "_static/card.png"
ogp_image_alt = "ott_middleware: a link that signs a user in at your other site, once"
ogp_social_cards = {"enable": False}

# A copied command has no prompt and no output.
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

# `:::{tab} Django` opens a tab: colons, so that the code inside keeps its own fence.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings are read in editors and terminals first: `word` in them is code.
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

# Every name that a signature or a text refers to must be documented.
nitpicky = True
nitpick_ignore_regex = [
    # Python's own: not fetched from docs.python.org, so that the build needs no network.
    ("py:class", r"(collections\.abc|contextlib|datetime|logging|os|typing)\..+"),
    # Other libraries' own: the same.
    ("py:class", r"(flask|sqlalchemy|starlette)\..+"),
    # Names for a type: the texts say in words what they are.
    (
        "py:class",
        "AnyBackend|ASGIApp|Client|GenerateToken|Match|Mode|OnEvent|OnInvalid|OptionValues|Secret|User",
    ),
    ("py:class", "Network|OnReplay|PageName|Protected|ShowPage|StoreToken|timedelta|Validate"),
    # Python 3.10 shows some of them otherwise.
    ("py:class", "Info|Unpack|WSGIApplication|.+PutTake"),
]
# One parameter a line where a signature is long.
maximum_signature_line_length = 88

# The entries of the options and of attributes are made by the modules in `_ext`.
sys.path.insert(0, os.path.dirname(__file__))
extensions += ["_ext.attributes", "_ext.option_entries"]
exclude_patterns += ["_ext"]
nitpick_ignore_regex += [("py:class", "datetime|Direction|Kind|Word")]


def name_each_option(obj: object, signature: str) -> str:
    """Write the arguments that a `TypedDict` lists in place of `**options: Unpack[TypedDict]`."""

    def arguments(match: re.Match[str]) -> str:
        listed = getattr(sys.modules[str(obj.__module__)], match[2])
        options = (
            f"{name}: {getattr(kind, '__forward_arg__', kind)} = ..."
            for name, kind in listed.__annotations__.items()
        )
        # What stands before it decides whether these are keyword-only already.
        return ("" if "*" in signature[: match.start()] else "*, ") + ", ".join(options)

    # The options of the middleware have a page of their own.
    return re.sub(r"\*\*(\w+): Unpack\[(?!OptionValues)(\w+)\]", arguments, signature)


def readable_signature(
    app: object,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Write `...` for defaults made anew each time, and the keys of a `TypedDict` as arguments.

    The signature of a protocol, `(*args, **kwargs)`, is left out: it is that of `typing`.
    """
    if getattr(obj, "_is_protocol", False):
        return "", returns
    signature = signature and name_each_option(obj, signature)
    return signature and signature.replace("<factory>", "..."), returns


def public_bases(app: object, name: str, obj: object, options: object, bases: list[object]) -> None:
    """Show `Backend` as the base of backends that have a base class of the package between."""
    bases[:] = [Backend if base is CoroutineBackend else base for base in bases]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", readable_signature)
    app.connect("autodoc-process-bases", public_bases)
