"""TaskSpec: everything that is fact about a task, stated once.

Cards, tables, tests, loaders, methods and the leaderboard read these values; none of them states one again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

Provenance = Literal["official", "partial", "generated", "synthetic"]
"""Data: whole as published; a part of it; made by the published recipe; or only of the same form."""

LossName = Literal[
    "cross_entropy", "binary_cross_entropy", "masked_binary_cross_entropy", "relative_l2", "mean_squared_error"
]


class Frozen(BaseModel):
    """A value that is checked when made, cannot be changed, and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(Frozen):
    """One class a sample: the network gives `n_classes` logits."""

    kind: Literal["point"] = "point"
    n_classes: int = Field(ge=2)

    @property
    def channels(self) -> int:
        """Output channels of a network."""
        return self.n_classes


class MultiLabel(Frozen):
    """Any subset of labels a sample: the network gives `n_labels` logits."""

    kind: Literal["multilabel"] = "multilabel"
    n_labels: int = Field(ge=1)

    @property
    def channels(self) -> int:
        """Output channels of a network."""
        return self.n_labels


class Dense(Frozen):
    """One value a position: the network gives `channels` maps of the input's spatial size.

    `target` tells what a value is: a real number in the task's unit (`"real"`) or the probability of a mask (`"mask"`).
    """

    kind: Literal["dense"] = "dense"
    channels: int = Field(ge=1)
    target: Literal["real", "mask"]


Output = Annotated[Point | MultiLabel | Dense, Field(discriminator="kind")]


class Source(Frozen):
    """One raw file as its publisher distributes it. Size and hashes are given where they are known.

    Attributes:
        filename: its name in the folder of raw files.
        url: where it is, or the page where it can be asked for.
        size_bytes: its size.
        sha256: its hash.
        md5: its hash, where the publisher gives this one.
        note: what it holds.
        manual: empty, or why no program can fetch it (licence, login, a closed service) and what a person does instead.
        optional: another form of what the other files hold, which is read when it is there and never fetched.
        unpacked: names in the folder of raw files that, all there, stand for this file, beside what is left of its name
            without the endings of archives.
    """

    filename: str
    url: str
    size_bytes: int | None = Field(default=None, gt=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    note: str = ""
    manual: str = ""
    optional: bool = False
    unpacked: tuple[str, ...] = ()


class Difference(Frozen):
    """One deviation of our protocol from the reference implementation, with its reason."""

    reference: str
    ours: str
    reason: str


class TaskSpec(Frozen):
    """One task of the benchmark.

    Attributes:
        id: short name, as in commands and repository names.
        name: name in the paper.
        summary: one sentence: what is predicted from what.
        spatial_dims: 1 or 2.
        input_shape: shape of one model input, (channels, *space), as the loader's transform makes it.
        output: what a network gives for one sample.
        prediction_shape: shape of one prediction in a predictions file; `()` is a class index, a -1 is a size that
            varies from sample to sample.
        loss: what the reference minimises.
        metric: id of the metric.
        direction: whether a lower or a higher metric is better.
        bounds: the lowest and highest value the metric can take; None is unbounded.
        unit: unit of the metric.
        decimals: digits after the point in the paper's Table 2; ranks compare at this precision.
        unit_of_split: what `splits` counts: the thing that the metric averages over (image, record, protein…).
        splits: official sizes in that unit.
        splits_exact: whether our protocol makes exactly these of the official files. Where not (`differences` tells
            why), they are the reference's, other sizes are no departure, and the loader itself must tell whole files
            from partial ones.
        rows: official number of dataset rows, for splits where it is known and differs from `splits`.
        group: column that ties rows to the unit, where a unit has several rows.
        apart: columns of which no value may stand in two splits.
        final_training: splits that final training uses; test is read once, after it.
        repo: Hugging Face dataset repository.
        revision: commit or tag that this version of nas360 reads by default.
        protocol: version of our protocol; results of different protocols are not comparable.
        licence: SPDX id or name, as far as it is known.
        citation: BibTeX of the data.
        sources: raw files.
        class_names: names of classes or labels, in index order; empty where nobody published them.
        differences: deviations from the reference.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str
    summary: str
    spatial_dims: Literal[1, 2]
    input_shape: tuple[int, ...]
    output: Output
    prediction_shape: tuple[int, ...]
    loss: LossName
    metric: str
    direction: Literal["lower", "higher"]
    bounds: tuple[float, float | None]
    unit: str
    decimals: int = Field(ge=0, le=6)
    unit_of_split: str
    splits: Mapping[SplitName, int]
    splits_exact: bool = True
    rows: Mapping[SplitName, int] = Field(default_factory=dict)
    group: str | None = None
    apart: tuple[str, ...] = ()
    final_training: tuple[SplitName, ...] = ("train", "validation")
    repo: str
    revision: str = "v1.0.0"
    protocol: int = 1
    licence: str
    citation: str
    sources: tuple[Source, ...]
    class_names: tuple[str, ...] = ()
    differences: tuple[Difference, ...]

    @model_validator(mode="after")
    def _consistent(self) -> TaskSpec:
        if len(self.input_shape) != self.spatial_dims + 1:
            raise ValueError(f"input_shape {self.input_shape} must be channels and {self.spatial_dims} spatial sizes")
        if set(self.splits) != set(SPLITS):
            raise ValueError(f"splits must be exactly {SPLITS}, got {tuple(self.splits)}")
        if self.direction == "higher" and self.bounds != (0.0, 1.0):
            raise ValueError("a higher-is-better metric must lie in [0, 1], for its error is 1 - metric")
        if self.class_names and len(self.class_names) != self.output.channels:
            raise ValueError(f"{len(self.class_names)} class names for {self.output.channels} outputs")
        return self

    def official_size(self, split: SplitName) -> str:
        """The size of a split for readers: `71,753`, or `about 71,753` where it is only the reference's."""
        return f"{'' if self.splits_exact else 'about '}{self.splits[split]:,}"

    def error(self, score: float) -> float:
        """The metric as an error, lower better: itself, or 1 - score for a higher-is-better metric."""
        return score if self.direction == "lower" else 1.0 - score

    def rounded_error(self, score: float) -> float:
        """`error` at the published precision, so that methods which the paper's table shows as equal tie."""
        return round(self.error(score), self.decimals)

    def public(self) -> dict[str, Any]:
        """The spec as plain JSON values."""
        return self.model_dump(mode="json")
