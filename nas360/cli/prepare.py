"""`nas360 prepare`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from nas360.cli.output import console, errors, one_bar_a_step, print_json, progress, warn
from nas360.errors import UserError

if TYPE_CHECKING:
    from nas360.loaders.base import Task
    from nas360.loaders.repository.manifest import Manifest

DEFAULT_WORKERS = 8
MAX_WORKERS = 256
_RAW_OR = "--raw DIR (official raw files) or"


def prepare(
    task: Annotated[str, typer.Argument(help="Id of the task; `nas360 tasks` lists them.")],
    raw: Annotated[
        Path | None, typer.Option("--raw", help="Folder with the raw files in their official layout.")
    ] = None,
    download: Annotated[
        bool,
        typer.Option(
            "--download",
            help="Fetch the official raw files first (into --raw, else raw/TASK in the user's data folder).",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the dataset repository.  \\[default: the user's data folder]"),
    ] = None,
    generate: Annotated[
        bool,
        typer.Option("--generate", help="Generate the raw files by the published recipe (kept in --raw, if given)."),
    ] = False,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Make up a tiny raw distribution in the official layout instead.")
    ] = False,
    train: Annotated[
        int | None,
        typer.Option(
            "--train",
            min=10,
            help="With --generate: samples for training and validation, nine to one.  \\[default: 1000]",
        ),
    ] = None,
    test: Annotated[
        int | None, typer.Option("--test", min=1, help="With --generate: samples for test.  \\[default: 100]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of --generate and --synthetic.  \\[default: 0]")
    ] = None,
    require_complete: Annotated[
        bool,
        typer.Option(
            "--require-complete/--allow-partial", help="Refuse raw data that is less than the official distribution."
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            max=MAX_WORKERS,
            help="Processes that make rows; the result is the same.  \\[default: the cores at hand, at most 8]",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another dataset in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Make a dataset repository: Parquet files, README card, metric.py and manifest.

    A killed preparation can be started again: finished splits, generated samples, and what was downloaded are kept.

    --download says which files must be fetched by hand, where a login or a closed service leaves no other way.

    Examples:
    nas360 prepare ecg --download

    nas360 prepare ecg --raw physionet/ --out data/ecg

    nas360 prepare darcy_flow --generate --train 90 --test 10 --out data/darcy_small

    nas360 prepare cifar100 --synthetic --out data/cifar100_synthetic
    """
    from nas360.loaders import TASKS
    from nas360.loaders.data import datasets_root, raw_root
    from nas360.loaders.workers import available_cores

    chosen = TASKS[task]
    target = out or datasets_root() / task
    _check(synthetic, generate, download, raw)
    _check_sizes(synthetic, generate, train, test, seed)
    n_train, n_test, seed = train or 1000, test or 100, seed or 0
    # beginning a process takes longer than making a twin's rows
    cores = workers or (1 if synthetic else min(available_cores(), DEFAULT_WORKERS))
    if not (synthetic or generate):
        if download:
            raw = raw or raw_root() / task
            _download(chosen, raw)
        elif raw is None:
            ways = "--raw DIR (official raw files), --generate, or" if chosen.loader.generate else _RAW_OR
            raise UserError(f"where from? Give --download, {ways} --synthetic")
        _finish(_prepare(chosen, raw, target, require_complete, overwrite, cores), target, as_json)
        if download:
            errors.print(f"raw files kept in {escape(str(raw))}", highlight=False, soft_wrap=True)
        return
    if synthetic:
        with tempfile.TemporaryDirectory(prefix="nas360-") as made:
            chosen.write_synthetic(Path(made), seed)
            manifest = _prepare(chosen, Path(made), target, require_complete, overwrite, cores)
    else:
        beside = target.resolve()
        folder = raw or beside.with_name(f".{beside.name}.generated-{n_train}-{n_test}-{seed}")
        _generate(chosen, folder, n_train, n_test, seed)
        manifest = _prepare(chosen, folder, target, require_complete, overwrite, cores)
        if raw is None:
            shutil.rmtree(folder)
    _finish(manifest, target, as_json)


def _check(synthetic: bool, generate: bool, download: bool, raw: Path | None) -> None:
    given = [
        name
        for name, wanted in (("--synthetic", synthetic), ("--generate", generate), ("--download", download))
        if wanted
    ]
    if len(given) > 1:
        raise UserError(
            f"{' and '.join(given)} exclude each other: --synthetic makes a tiny twin, --generate true data by a "
            "published recipe, --download fetches the official files. Give one"
        )
    if synthetic and raw is not None:
        raise UserError("--synthetic makes its own raw files; leave --raw out")


def _check_sizes(synthetic: bool, generate: bool, train: int | None, test: int | None, seed: int | None) -> None:
    """Refuse options that would be passed over."""
    given = [name for name, value in (("--train", train), ("--test", test)) if value is not None]
    if given and not generate:
        raise UserError(f"{' and '.join(given)}: only what --generate makes can have any size. Leave that out")
    if seed is not None and not (generate or synthetic):
        raise UserError("--seed: nothing is drawn where the raw files are given. Leave it out")


def _download(task: Task, folder: Path) -> None:
    from nas360.loaders.raw.download import download

    _ = task.loader  # a task that cannot be prepared is told so before gigabytes are fetched for it
    with progress(of_bytes=True) as bars:
        bar: dict[str, Any] = {}

        def report(name: str, done: int, total: int | None) -> None:
            if name not in bar:
                bar[name] = bars.add_task(escape(name), total=total, completed=done)
            bars.update(bar[name], completed=done, total=total)

        try:
            download(task.spec, folder, report, warn)
        except KeyboardInterrupt as cause:
            raise KeyboardInterrupt(
                f"interrupted; what came is kept in {folder}, and the same command goes on from there"
            ) from cause


def _prepare(task: Task, raw: Path, out: Path, require_complete: bool, overwrite: bool, workers: int) -> Manifest:
    from nas360.loaders.prepare import prepare as prepare_dataset

    with progress() as bars:
        report = one_bar_a_step(bars, prefix=f"{task.spec.id} ")
        return prepare_dataset(
            task, raw, out, require_complete=require_complete, overwrite=overwrite, workers=workers, report=report
        )


def _generate(task: Task, folder: Path, n_train: int, n_test: int, seed: int) -> None:
    generate = task.loader.generate
    if generate is None:
        raise UserError(f"{task.spec.id!r} is measured data and cannot be generated. Use --raw DIR, or --synthetic")
    with progress() as bars:
        bar = bars.add_task(f"{task.spec.id} generate", total=n_train + n_test)
        generate(folder, n_train, n_test, seed, lambda done, total: bars.update(bar, completed=done, total=total))


def _finish(manifest: Manifest, out: Path, as_json: bool) -> None:
    if manifest.provenance == "partial":
        warn(
            f"not the official distribution, as far as can be told: {'; '.join(manifest.departures)}. "
            "Results on it are marked partial and not ranked"
        )
    elif manifest.provenance != "official":
        warn(f"this data is {manifest.provenance}; results on it are marked so")
    for reason, names in manifest.skipped.items():
        warn(f"left out {len(names)} ({reason}): {', '.join(names[:5])}{'…' if len(names) > 5 else ''}")
    if as_json:
        print_json(manifest.public())
        return
    counts = ", ".join(f"{split} {entry.rows:,}" for split, entry in manifest.splits.items())
    console.print(
        f"[bold]{escape(manifest.task)}[/]: {counts} rows → {escape(str(out))}", highlight=False, soft_wrap=True
    )
    errors.print(f"content {manifest.content_sha256[:16]}…", highlight=False)
