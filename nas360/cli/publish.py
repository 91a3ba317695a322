"""`nas360 publish`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from nas360.cli.output import console, errors, print_json, warn

if TYPE_CHECKING:
    from nas360.loaders.repository.publish import Publication


def publish(
    task: Annotated[str, typer.Argument(help="Id of the task; `nas360 tasks` lists them.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset repository that `nas360 prepare` made.")],
    repo: Annotated[
        str | None,
        typer.Option(
            "--repo", metavar="OWNER/NAME", help="Where to on the Hub.  \\[default: the task's own repository]"
        ),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="The repository must be private.")] = False,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request instead of changing main.")
    ] = False,
    tag: Annotated[
        str | None, typer.Option("--tag", help="Name that this state gets, for instance v1.0.0; never moved.")
    ] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="First line of the commit.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, and list the files; send nothing. Needs no login.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was published as JSON.")] = False,
) -> None:
    """Publish a dataset repository on the Hugging Face Hub, after verifying it.

    The token is that of `hf auth login`, or of the environment variable HF_TOKEN. What is there already is not
    uploaded again, so an interrupted or repeated call costs little.

    Examples:
    nas360 publish ecg data/ecg --repo my-lab/ecg --private

    nas360 publish ecg data/ecg --tag v1.0.0

    nas360 publish ecg data/ecg --dry-run
    """
    from nas360.loaders import TASKS
    from nas360.loaders.repository.publish import publish as publish_dataset

    done = publish_dataset(
        TASKS[task],
        folder,
        repo,
        private=private,
        create_pr=create_pr,
        tag=tag,
        message=message,
        dry_run=dry_run,
        report=_reporter(),
    )
    for warning in done.warnings:
        warn(warning)
    if as_json:
        print_json(done.public())
    else:
        console.print(_said(done), highlight=False, soft_wrap=True)


def _reporter() -> Callable[[str], None]:
    """Shows each step once, and the client's bars, where there is a terminal."""
    if not errors.is_terminal:
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
        return lambda step: None
    shown: set[str] = set()

    def report(step: str) -> None:
        if step not in shown:
            shown.add(step)
            errors.print(f"[dim]{escape(step)}[/]", highlight=False)

    return report


def _said(done: Publication) -> str:
    repo = f"[bold]{escape(done.repo)}[/]"
    if done.commit is None:
        lines = [f"{repo}: would hold {len(done.files)} files, {sum(done.files.values()):,} bytes; nothing was sent"]
        return "\n".join(lines + [f"  {size:>14,}  {escape(path)}" for path, size in done.files.items()])
    if not done.commit.changed:
        lines = [f"{repo}: holds these {len(done.files)} files already; no commit was made"]
    else:
        sent = sum(done.files[path] for path in done.uploaded)
        gone = f", {len(done.deleted)} deleted" if done.deleted else ""
        lines = [f"{repo}: {len(done.uploaded)} of {len(done.files)} files uploaded, {sent:,} bytes{gone}"]
    if done.commit.pull_request is not None:
        lines.append(f"pull request {escape(done.commit.pull_request)}")
    lines.append(f"commit {escape(done.commit.url)}")
    if done.tag is not None:
        lines.append(f"tag {escape(done.tag)}")
    lines.append(f"read it with --data {escape(done.repo)}@{escape(done.tag or done.commit.revision)}")
    return "\n".join(lines)
