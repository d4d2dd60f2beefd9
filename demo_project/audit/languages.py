"""Which language a file is written in, by the end of its name."""

from __future__ import annotations

from pathlib import PurePosixPath

LANGUAGES = {
    "C": (".c", ".h"),
    "C++": (".cc", ".cpp", ".cxx", ".hh", ".hpp"),
    "CSS": (".css", ".scss"),
    "Cython": (".pxd", ".pyx"),
    "Fortran": (".f", ".f90"),
    "HTML": (".htm", ".html"),
    "JSON": (".json",),
    "JavaScript": (".cjs", ".js", ".mjs"),
    "Lua": (".lua",),
    "Markdown": (".md",),
    "Python": (".py", ".pyi"),
    "Rust": (".rs",),
    "SQL": (".sql",),
    "Shell": (".bash", ".sh"),
    "TOML": (".toml",),
    "Translations": (".po",),
    "TypeScript": (".ts",),
    "XML": (".svg", ".xml"),
    "YAML": (".yaml", ".yml"),
    "reStructuredText": (".rst",),
}
_BY_SUFFIX = {suffix: language for language, suffixes in LANGUAGES.items() for suffix in suffixes}


def language_of(path: str) -> str | None:
    """The language of the file at ``path``; None if its lines are not counted."""
    return _BY_SUFFIX.get(PurePosixPath(path).suffix.lower())
