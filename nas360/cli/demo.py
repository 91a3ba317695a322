"""`nas360 demo`."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nas360.cli.output import console
from nas360.errors import MissingExtraError

TRAIN, TEST = 90, 10
STEPS = 400


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything the demo writes.")] = Path("demo_out"),
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps; fewer are quicker and worse.")] = STEPS,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the data and the training.")] = 0,
) -> None:
    """Go the whole way once, on true data that is made here: two to four minutes on two cores, no network.

    Each step is a command that you can type yourself; the demo shows it before it runs it.

    Examples:
    nas360 demo

    nas360 demo --out /tmp/demo --steps 20
    """
    try:
        import matplotlib  # noqa: F401  (asked for now, not after minutes of training)
    except ImportError as cause:
        raise MissingExtraError("matplotlib", "plots") from cause
    began = time.monotonic()
    data, run = out / f"darcy_flow_seed{seed}", out / f"run_seed{seed}_steps{steps}"
    _title("Solve the flow equation for a small data set: 421 x 421 grids, every fifth node kept")
    _command(
        "prepare", "darcy_flow", "--generate", f"--train={TRAIN}", f"--test={TEST}", f"--seed={seed}", f"--out={data}"
    )
    _title("It is a Hugging Face dataset")
    _show_dataset(data)
    _title("Train the paper's baseline on it for a short budget, and predict the test split")
    _command("run", "wrn", "--task=darcy_flow", f"--data={data}", "--budget=small", f"--max-steps={steps}",
             f"--seed={seed}", f"--out={run}", "--resume")  # fmt: skip
    _title("Score the predictions: a file, no model needed")
    _command("evaluate", str(run / "predictions.npz"), "--task=darcy_flow", f"--data={data}")
    _title("Beside the paper's methods on Darcy Flow; ours is a small run on generated data, and says so")
    _command(
        "leaderboard", str(run), "--tasks=darcy_flow", "--include=small,generated", f"--plot={out / 'profile.png'}"
    )
    _title("The paper's ten tasks (its Table 3)")
    _command("leaderboard", "--panel=paper", f"--plot={out / 'paper.png'}")
    console.print(
        f"\nDone in {time.monotonic() - began:.0f} s. Pictures and files are in {escape(str(out))}.", highlight=False
    )


def _title(text: str) -> None:
    console.print(f"\n[bold]{escape(text)}[/]", highlight=False, soft_wrap=True)


def _command(*arguments: str) -> None:
    from nas360.cli import app

    console.print(f"[cyan]$ nas360 {escape(shlex.join(arguments))}[/]", highlight=False, soft_wrap=True)
    app(args=list(arguments), prog_name="nas360", standalone_mode=False)


def _show_dataset(folder: Path) -> None:
    import datasets

    console.print(f"[cyan]>>> datasets.load_dataset({str(folder)!r})[/]", highlight=False, soft_wrap=True)
    datasets.disable_progress_bars()
    console.print(str(datasets.load_dataset(str(folder))), highlight=False)
