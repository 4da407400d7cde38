"""Sphinx's settings for the book: nothing is executed, and nothing is fetched by a reader."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

import hmrlib

project = "hmrlib"
author = copyright = "the hmrlib authors"
release = version = hmrlib.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["colab.ipynb"]
default_role = "code"  # docstrings write `name`
highlight_language = "none"  # of what a docstring sets apart: equations, commands
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_ivar = True  # of a NamedTuple's fields, which are described by themselves, too
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # live widgets would be fetched from the network, and have no kernel
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
nb_merge_streams = True
# notebooks link to files that are no page here, and docstrings are no reStructuredText throughout
suppress_warnings = ["myst.xref_missing", "myst.header", "mystnb.unknown_mime_type", "docutils"]
suppress_warnings += ["ref.python"]  # names that two modules have

html_theme = "furo"
html_title = f"hmrlib {release}"
html_static_path = ["book.css"]
html_css_files = ["book.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # which a page opened from a file cannot fetch
html_math_renderer = "mathml"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2f5d8a", "color-brand-content": "#2f5d8a"},
    "dark_css_variables": {"color-brand-primary": "#8fbbe6", "color-brand-content": "#8fbbe6"},
}

# what means something to reStructuredText and nothing in a docstring, outside of `code`
MARKS = re.compile(r"(`[^`]*`)|(?<!\\)([|*]|(?<=\w)_(?!\w))")
SIZES = re.compile(r"\\[bB]igg?(?=[^a-zA-Z])")  # of fences, which MathML stretches by itself


def mathml(translator, node):
    """Write a formula as MathML, which browsers set without a script."""
    block = isinstance(node, nodes.math_block)
    tex = SIZES.sub("", node.astext())
    try:
        formula = tex2mathml(tex, as_block=block)
    except MathError as error:
        logging.getLogger(__name__).warning("formula %r: %s", tex, error, location=node)
        formula = f"<code>{translator.encode(tex)}</code>"
    translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def escape(app, what, name, described, options, lines):
    """Have |x|, *args and left_ mean themselves in a docstring, a list of lines.

    What a module's docstring indents, equations and commands, is set as it stands.
    """
    found, before = [], ""
    for line in lines:
        literal = what == "module" and line.startswith("    ")
        if literal and not before.startswith("    "):
            found += ["::", ""]
        before = line or before
        found.append(line if literal else MARKS.sub(lambda m: m[1] or "\\" + m[2], line))
    lines[:] = found


def is_alias(app, what, name, described, skip, options):
    """Leave out a NamedTuple's fields, which its own docstring describes; else None."""
    return True if str(described.__doc__).startswith("Alias for field") else None


def setup(app):
    """Tell Sphinx of the way to write formulas, and to read docstrings."""
    app.connect("autodoc-process-docstring", escape, priority=600)  # after napoleon
    app.connect("autodoc-skip-member", is_alias)
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
