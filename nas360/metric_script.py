"""The stand-alone `metric.py` of a dataset repository, put together from the very source of this package.

A definition is copied with all that it mentions, so that the file needs nothing but NumPy (and pyarrow, to read the
references), and computes what the package computes.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from functools import lru_cache

from nas360.evaluate import expected_of, metric_of, reference_columns
from nas360.matching import Expected
from nas360.metrics import Accumulator
from nas360.standalone import score_arrays, score_command
from nas360.task import TaskSpec

PACKAGE = "nas360"

HEAD = '''"""{title} of nas360's task {task}, stand-alone: made from nas360's own source, and computing the same number.

    python metric.py PREDICTIONS [--references test.parquet ...]

prints the score as JSON. PREDICTIONS is .json, .npz or .npy; `compute` does the same for arrays, and `accumulator` for
what comes in parts. NumPy is needed, and pyarrow to read the references. Do not edit: `nas360 prepare` writes it.
"""

from __future__ import annotations

{imports}

TASK = {task!r}
METRIC = {metric!r}
LOWER_IS_BETTER = {lower}
EXPECTED_SHAPE = {shape!r}
COLUMNS = {columns!r}

{body}


EXPECTED = Expected({kind!r}, EXPECTED_SHAPE, {n_outputs}, {class_names!r})


def compute(
    predictions: Any,
    references: Any,
    ids: Sequence[str] | None = None,
    reference_ids: Sequence[str] | None = None,
    **columns: Any,
) -> dict[str, Any]:
    """Score arrays: "score", "n" (how many units were scored) and further numbers.

    Args:
        predictions: one row each: {describe}.
        references: true values, one row each.
        ids: one id a prediction; without, predictions are in the order of the references.
        reference_ids: one id a reference.
        columns: {columns_help}.
    """
    return score_arrays(EXPECTED, {observe}, {reduce}, predictions, references, ids, reference_ids, columns)


def accumulator() -> Accumulator:
    """`update(predictions, references, **columns)` for each part, then `compute()`.

    Predictions and references in one order, and in the metric's own form: `true_values(EXPECTED, references)`.
    """
    return Accumulator({observe}, {reduce}, EXPECTED.n_outputs)


if __name__ == "__main__":
    sys.exit(score_command(compute, EXPECTED.n_outputs, COLUMNS, Path(__file__).resolve().parent))
'''


def metric_script(spec: TaskSpec, class_names: tuple[str, ...] = ()) -> str:
    """The text of `metric.py`.

    Args:
        spec: the task.
        class_names: the dataset's names of the classes, used where the spec has none.

    Returns:
        Python source: constants `TASK`, `METRIC`, `LOWER_IS_BETTER`, `EXPECTED_SHAPE`; `compute(predictions,
        references, ids=None, reference_ids=None, **columns)`; `accumulator()`; and a command line.
    """
    metric, expected, columns = metric_of(spec), expected_of(spec, class_names), reference_columns(spec)
    gathered = _Gathered()
    for wanted in (metric.observe, metric.reduce, Accumulator, Expected, score_arrays, score_command):
        gathered.add(wanted.__module__, wanted.__name__)
    imports = gathered.imports | {"import sys", "from collections.abc import Sequence", "from pathlib import Path"}
    imports |= {"from typing import Any"}
    return HEAD.format(
        title=metric.title[0].upper() + metric.title[1:],
        task=spec.id,
        metric=metric.id,
        lower=spec.direction == "lower",
        shape=expected.shape,
        columns=columns,
        imports="\n".join(sorted(imports, key=lambda line: (line.startswith("from"), line))),
        body="\n\n\n".join(gathered.texts.values()),
        kind=expected.kind,
        n_outputs=expected.n_outputs,
        class_names=expected.class_names,
        describe=expected.describe(),
        columns_help=", ".join(f"{keyword} (column {name!r})" for keyword, name in columns.items()) or "none",
        observe=metric.observe.__name__,
        reduce=metric.reduce.__name__,
    )


class _Gathered:
    """Definitions with all that they mention, each after what it needs.

    Attributes:
        texts: name → source text.
        imports: import lines of what is not ours.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.imports: set[str] = set()
        self._homes: dict[str, str] = {}

    def add(self, module: str, name: str) -> None:
        """Add a top-level name of a module; names that it does not define (builtins, locals) are passed over."""
        node, line = _definitions(module).get(name, (None, ""))
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == PACKAGE:
            self.add(str(node.module), name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self.imports.add(line)
        elif node is not None and name not in self._homes:
            self._homes[name] = module
            for mentioned in ast.walk(node):
                if isinstance(mentioned, ast.Name) and mentioned.id != name:
                    self.add(module, mentioned.id)
            self.texts[name] = line
        elif node is not None and self._homes[name] != module:
            raise ValueError(f"{name!r} is defined in both {self._homes[name]} and {module}")


@lru_cache
def _definitions(module: str) -> dict[str, tuple[ast.stmt, str]]:
    """Top-level names of a module → statement and source text, decorators included; imports one name a line."""
    source = inspect.getsource(importlib.import_module(module))
    lines = source.splitlines()
    found: dict[str, tuple[ast.stmt, str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                renamed = f" as {alias.asname}" if alias.asname else ""
                found[alias.asname or alias.name] = (node, f"import {alias.name}{renamed}")
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.name] = (node, f"from {node.module} import {alias.name}")
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found[node.name] = (node, "\n".join(lines[first - 1 : node.end_lineno]))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    found[target.id] = (node, "\n".join(lines[node.lineno - 1 : node.end_lineno]))
    return found
