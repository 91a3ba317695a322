"""`nas360 format`: what a predictions file of a task must hold, with an example of every format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas360.cli.output import console, print_json

if TYPE_CHECKING:
    from nas360.matching import Expected
    from nas360.task import TaskSpec


def format_(
    task: Annotated[str, typer.Argument(help="Task; `nas360 tasks` lists them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the description as JSON.")] = False,
) -> None:
    """Show what a predictions file of a task must hold, with an example of every format.

    Examples:
    nas360 format ecg

    nas360 format darcy_flow --json
    """
    from nas360.loaders import TASKS

    spec = TASKS[task].spec
    content = describe(spec)
    if as_json:
        print_json(content)
        return
    from rich.markup import escape

    console.print(f"[bold]{escape(spec.name)}[/]: one prediction a row of the split, in float or integer numbers")
    console.print(f"Each prediction is {escape(content['prediction'])}.", highlight=False)
    if content["class_names"]:
        console.print(f"Class names, in order: {escape(', '.join(content['class_names']))}", highlight=False)
    console.print(escape(content["ids"]), highlight=False)
    for name, example in content["formats"].items():
        console.print(f"\n[bold]{name}[/]  {escape(example['form'])}", highlight=False)
        # printed plain, so that it can be copied from any width of terminal
        typer.echo("\n".join(f"    {line}" for line in example["example"].splitlines()))
    console.print(f"\nScore it: [bold]nas360 evaluate FILE --task {spec.id}[/]", highlight=False)
    console.print(f"A valid file to start from: [bold]nas360 dummy {spec.id}[/]", highlight=False)


def describe(spec: TaskSpec) -> dict[str, Any]:
    """What a predictions file must hold: the form and an example for every format that can hold it.

    Args:
        spec: the task.

    Returns:
        Plain values: task, kind, shape, n_outputs, prediction (in words), class_names, ids (in words), and formats as
        {name: {form, example}}. Examples of text formats are their content; those of the others are Python code that
        writes the file.
    """
    from nas360.evaluate import expected_of

    expected = expected_of(spec)
    return {
        "task": spec.id,
        "kind": expected.kind,
        "shape": list(expected.shape),
        "n_outputs": expected.n_outputs,
        "prediction": expected.describe(),
        "class_names": list(expected.class_names),
        "ids": (
            "Ids are those of the dataset's id column, in any order. Without ids the predictions are taken to be in "
            "the order of the split."
        ),
        "formats": _formats(expected),
    }


def _formats(expected: Expected) -> dict[str, dict[str, str]]:
    ragged, vectors = -1 in expected.shape, len(expected.shape) < 2
    one = _value(expected)
    wide = expected.kind == "scores"
    save = "numpy.savez_compressed('predictions.npz', "
    formats = {
        ".json": {
            "form": "ids and predictions; predictions by id; or a list in the order of the split; 256 MiB at most",
            "example": f'{{"ids": ["id-1", "id-2"], "predictions": [{one}, {one}]}}\n'
            f'{{"predictions": {{"id-1": {one}, "id-2": {one}}}}}\n[{one}, {one}]',
        },
        ".npz": {
            "form": "one array a sample, named by its id" if ragged else "arrays predictions and, optionally, ids",
            "example": f"{save}**{{'id-1': map_1, 'id-2': map_2}})"
            if ragged
            else f"{save}predictions=values, ids=ids)  # values {_shape(expected)}, ids text (n,)",
        },
        ".npy": {
            "form": "one array in the order of the split",
            "example": f"numpy.save('predictions.npy', values)  # values {_shape(expected)}",
        },
        ".csv": {
            "form": "columns id (optional) and " + ("prediction_0, prediction_1, …" if wide else "prediction"),
            "example": "id,prediction_0,prediction_1,…\nid-1,0.1,0.7,…"
            if wide
            else f"id,prediction\nid-1,{one}\nid-2,{one}",
        },
        ".parquet": {
            "form": "columns id (optional) and prediction"
            + ("" if vectors and not wide else ", a (nested) list of numbers"),
            "example": "pyarrow.parquet.write_table(pyarrow.table({'id': ids, 'prediction': values.tolist()}), "
            "'predictions.parquet')",
        },
        ".h5": {
            "form": "a group predictions with one dataset a sample, named by its id"
            if ragged
            else "datasets predictions and, optionally, ids",
            "example": "file['predictions/id-1'] = map_1"
            if ragged
            else "file['predictions'] = values; file['ids'] = ids",
        },
    }
    unfit = ([] if vectors else [".csv"]) + ([".npy"] if ragged else [])
    return {name: form for name, form in formats.items() if name not in unfit}


def _value(expected: Expected) -> str:
    if expected.kind == "classes":
        return "0"
    if expected.kind == "scores":
        return "[0.1, 0.7, …]"
    return "[[0.1, 0.2, …], …]"


def _shape(expected: Expected) -> str:
    if expected.kind == "classes":
        return f"(n,) of whole numbers, or (n, {expected.n_outputs}) of scores"
    return "(" + ", ".join(["n", *(str(size) for size in expected.shape)]) + ")"
