"""The docstrings of rdcore as autodoc needs them.

They are written to be read in an editor: `name` for code, indented lines for a formula or a listing, "name: meaning" line by
line, and mathematics with its plain signs. In reStructuredText, which autodoc expects, these are something else, or an error.
"""

import dataclasses
import re
import sys

MARKED = re.compile(r"(``.+?``|`[^`]+`|(?<!\w)\*\w+\*(?!\w))", re.DOTALL)  # code, or one word in *italics*
NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*(\(\))?")
SECTION = re.compile(r"(Args|Returns|Raises|Yields):$")
SIGNS = re.compile(r"([\\*|]|_(?!\w))")
MEANING = re.compile(r"((?:[a-z_][\w-]*|[A-Z])(?:, [\w-]+)*): ")


def restructured(lines: list[str]) -> list[str]:
    """The same docstring in reStructuredText; the sections of Google's style are left to napoleon.

    A plain name in backticks becomes a link, where it is documented, and other code literal. Special signs are escaped.
    Indented lines behind an empty one become a literal block where no section or list owns them. A paragraph of several
    lines "name: meaning" becomes a list.
    """
    result: list[str] = []
    owner = "text"  # of indented lines: "section", "list" or nobody in particular
    for paragraph in _paragraphs(lines):
        first = paragraph[0]
        if not first.startswith(" "):
            owner = "section" if SECTION.match(first) else "list" if first.startswith("- ") else "text"
        if first.startswith(" ") and owner == "text":
            result += ["::", "", *paragraph, ""]
        else:
            result += [*_escaped(_as_list(paragraph)), ""]
    return result


def _paragraphs(lines: list[str]) -> list[list[str]]:
    """Without the empty lines between them; indented ones that follow each other are one."""
    paragraphs: list[list[str]] = []
    fresh = True
    for line in lines:
        if not line.strip():
            fresh = True
        elif fresh and not (paragraphs and line.startswith(" ") and paragraphs[-1][0].startswith(" ")):
            paragraphs.append([line])
            fresh = False
        else:
            paragraphs[-1] += ["", line] if fresh else [line]
            fresh = False
    return paragraphs


def _as_list(paragraph: list[str]) -> list[str]:
    starts = [bool(MEANING.match(line)) for line in paragraph]
    if not (starts[0] and sum(starts) > 1):
        return paragraph
    return [MEANING.sub(r"- ``\1``: ", line) if start else f"  {line}" for line, start in zip(paragraph, starts, strict=True)]


def _escaped(paragraph: list[str]) -> list[str]:
    """Plain text and marked words take turns; code may touch a letter on either side."""
    parts = MARKED.split("\n".join(paragraph))
    for i in range(0, len(parts), 2):
        parts[i] = SIGNS.sub(r"\\\1", parts[i])
    for i in range(1, len(parts), 2):
        if parts[i].startswith("*"):
            continue
        code = parts[i].strip("`")
        role = f":py:obj:`{code}`" if NAME.fullmatch(code) else f"``{code}``"
        before, after = parts[i - 1][-1:].isalnum(), parts[i + 1][:1].isalnum()
        parts[i] = "\\ " * before + role + "\\ " * after
    return "".join(parts).split("\n")


def fields(cls: type) -> list[str]:
    """An entry for each field of a settings class: name, type, default, and the docstring under the field."""
    lines: list[str] = []
    if not dataclasses.is_dataclass(cls):
        return lines
    from sphinx.pycode import ModuleAnalyzer

    documented, homes = {}, {}
    for base in reversed(cls.__mro__[:-1]):
        found = ModuleAnalyzer.for_module(base.__module__).find_attr_docs()
        documented |= {name: text for (owner, name), text in found.items() if owner == base.__qualname__}
        homes |= dict.fromkeys(documented, base.__module__) | homes
    for each in dataclasses.fields(cls):
        if each.name in documented:
            lines += [f".. attribute:: {each.name}", "   :no-index:", f"   :type: {_qualified(each.type, homes[each.name])}"]
            if each.default is not dataclasses.MISSING:
                lines.append(f"   :value: {each.default!r}")
            elif each.default_factory is not dataclasses.MISSING:
                lines.append(f"   :value: {each.default_factory()!r}")
            lines += ["", *(f"   {line}" for line in restructured(documented[each.name])), ""]
    return lines


def _qualified(annotation: str, module: str) -> str:
    """The annotation with the full names of the classes that its module knows: two modules may have one of the same name."""
    known = vars(sys.modules[module])

    def full(word: re.Match) -> str:
        thing = known.get(word[0])
        return f"{thing.__module__}.{thing.__qualname__}" if isinstance(thing, type) else word[0]

    return re.sub(r"\b[A-Za-z_]\w*\b", full, str(annotation))


def process(app, what, name, obj, options, lines) -> None:
    """For autodoc's event of this name: changes ``lines`` in place. A class says what its fields mean, a package what else can
    be imported from it."""
    lines[:] = restructured(lines)
    if what in ("property", "attribute"):
        lines[:0] = ["..", ""]  # an empty comment: of a first line "Means: MAP, P@3", napoleon would take Means for a type
    if what == "class":
        lines += fields(obj)
    if what == "module":
        others = [getattr(obj, public) for public in getattr(obj, "__all__", ())]
        homes = [(thing.__module__, thing.__name__) for thing in others if hasattr(thing, "__name__")]
        if names := [f":py:obj:`~{home}.{thing}`" for home, thing in homes if home != name]:
            lines += [f"From here can be imported: {', '.join(names)}.", ""]
