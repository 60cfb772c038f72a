"""Pairs of a name and its documentation from the Python standard library: a small retrieval problem that is on every machine."""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
import warnings
from functools import lru_cache
from pathlib import Path

from tasks.quantization.corpus import EXCLUDED

MIN_WORDS, MAX_CHARACTERS = 8, 300


@lru_cache(maxsize=1)
def pairs() -> tuple[tuple[str, str], ...]:
    """(query, document): module and identifier split into words; the docstring's first 300 characters. Sorted, distinct documents.

    Public functions and classes at the top level of a module or class, docstrings of at least eight words.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if EXCLUDED.intersection(relative.parts):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue  # some distributions ship templates
        module = " ".join(relative.with_suffix("").parts)
        for node in [*tree.body, *(inner for outer in tree.body if isinstance(outer, ast.ClassDef) for inner in outer.body)]:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                text = " ".join((ast.get_docstring(node) or "").split())
                if len(text.split()) >= MIN_WORDS:
                    found.setdefault(text[:MAX_CHARACTERS], f"{module} {_words(node.name)}")
    return tuple(sorted((query, document) for document, query in found.items()))


def _words(identifier: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", identifier).strip().lower()


@lru_cache(maxsize=1)
def pairs_sha256() -> str:
    """Fingerprint of `pairs()`."""
    return hashlib.sha256("\n".join(f"{query}\t{document}" for query, document in pairs()).encode()).hexdigest()
