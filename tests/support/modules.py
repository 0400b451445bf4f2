"""Our modules and what they import, read from the source without running it."""

import ast
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("catalog", "backup", "walstream")


@dataclass(frozen=True)
class Import:
    """One imported module; ``late`` inside a function, ``typing_only`` under ``if TYPE_CHECKING``."""

    importer: str
    imported: str
    line: int
    late: bool
    typing_only: bool

    def __str__(self):
        return f"{self.importer}:{self.line} imports {self.imported}"


def source_files(root=ROOT):
    """Module name → file, for all three packages."""
    files = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


MODULES = source_files()


def imports_of(module, path):
    """Every import of a file, wherever it stands; ``from a import b`` is of ``a.b`` if that is a module."""
    found = []
    _walk(ast.parse(path.read_text(encoding="utf-8")), module, False, False, found)
    return found


def all_imports():
    return [found for module, path in MODULES.items() for found in imports_of(module, path)]


def comments_of(path):
    """Line number → comment."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def is_below(name, prefix):
    return name == prefix or name.startswith(prefix + ".")


def _walk(node, module, late, typing_only, found):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            base = "." * child.level + (child.module or "")
            whole = {f"{base}.{alias.name}" for alias in child.names}
            names = sorted(whole & MODULES.keys()) or [base]
            if len(names) < len(child.names) and base not in names and names != [base]:
                names.append(base)
        else:
            function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            typing = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            _walk(child, module, late or function, typing_only or typing, found)
            continue
        found += [Import(module, name, child.lineno, late, typing_only) for name in names]
