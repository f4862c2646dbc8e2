"""How Sphinx makes the site out of what build.py has put into build/docs; run by `make docs`."""

import importlib.util
import os
import re
import sys
from functools import cached_property
from pathlib import Path

from docutils import nodes

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE)]
os.environ.setdefault("MPLBACKEND", "agg")

import docstrings  # noqa: E402

import rdcore  # noqa: E402

# Sphinx's own extension knows MathJax by its address on the net; this package holds the files, of which one is enough.
MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax" / "tex-svg.js"

project = "rdcore"
author = "The rdcore authors"
copyright = author
version = release = rdcore.__version__
root_doc = "index"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]

html_theme = "furo"
html_title = "rdcore"
html_static_path = ["site.css", str(MATHJAX)]
html_favicon = "favicon.svg"
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_domain_indices = False  # the API reference lists the modules
pygments_style = "friendly"
highlight_language = "none"
smartquotes = False  # --only is an option

# The notebooks are shown as they were executed and committed.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # as the text cells, so that links to other notebooks are found
nb_merge_streams = True

# Mathematics also in the headings of tables that a cell has put out as HTML.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_mathjax_classes = "tex2jax_process|mathjax_process|math|text_html"
mathjax_path = MATHJAX.name
mathjax3_config = {
    "tex": {"inlineMath": [["$", "$"], ["\\(", "\\)"]]},
    "options": {"enableMenu": False},  # it would fetch further files
}

autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True, "ignore-module-all": True}
autodoc_member_order = "bysource"
# Followed, a field whose value is another module's object (IR-RRD's `users`) gives that module's source page dead links.
viewcode_follow_imported_members = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Columns set with spaces; lines without any are prose, and may be broken.
ALIGNED = re.compile(r"\S {2,}\S")


def finish(app, doctree) -> None:
    """Printed sentences wrap; a printed table keeps its columns and scrolls. A figure's text names the section it is in. What
    Sphinx adds to a docstring reads like the rest."""
    for block in doctree.findall(nodes.literal_block):
        printed = isinstance(block.parent, nodes.container) and "cell_output" in block.parent["classes"]
        if printed and not ALIGNED.search(block.astext()):
            block["classes"].append("sentences")
    for dash in [text for text in doctree.findall(nodes.Text) if text == " -- "]:  # Sphinx's, between a name and its meaning
        dash.parent.replace(dash, nodes.Text(": "))
    for base in [text for text in doctree.findall(nodes.paragraph) if text.astext() in ("Bases: object", "Bases: Settings")]:
        base.parent.remove(base)
    for image in doctree.findall(nodes.image):
        around = image.parent
        while not isinstance(around, nodes.section | nodes.document):
            around = around.parent
        if "alt" not in image and isinstance(around, nodes.section):
            image["alt"] = f"Figure: {around.next_node(nodes.title).astext()}"


def skipped(app, what, name, obj, skip, options) -> bool | None:
    """Fields have their entries from docstrings.fields, and names from other packages none."""
    if what == "class" and not (callable(obj) or isinstance(obj, property | cached_property | classmethod | staticmethod)):
        return True
    home = getattr(obj, "__module__", None) or "rdcore"
    return True if what == "module" and home.partition(".")[0] not in ("rdcore", "studies") else None


def setup(app) -> None:
    app.connect("autodoc-skip-member", skipped)
    app.connect("doctree-read", finish)
    # before napoleon, which turns Args and Returns into fields
    app.connect("autodoc-process-docstring", docstrings.process, priority=400)
