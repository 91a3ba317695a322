"""The schema of a result file, as types; `nas360.results` reads and writes such files.

Rows hold one seed each and are never averaged beforehand; see `PublishedRow` for the one exception.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from nas360.environment import Amount, Device, Environment, Name, Package, Record
from nas360.faults import Fault
from nas360.rules import cost_faults, file_faults, is_published, row_faults
from nas360.task import Provenance, SplitName
from nas360.values import Commit, Count, Json, Prose, RelativePath, RunId, Sha256, Slug, Time, Url

SCHEMA_VERSION = "1.0"

Budget = Literal["full", "small", "smoke"]
Status = Literal["ok", "failed", "timeout", "oom"]


RULE = "nas360_rule"
"""Type of pydantic's error for what `nas360.rules` refuses."""


def _refuse(faults: Iterable[Fault]) -> None:
    texts = [fault.text for fault in faults]
    if texts:
        raise PydanticCustomError(RULE, "{texts}", {"texts": "; ".join(texts)})


class Submission(Record):
    """Who stands for the numbers, and how they were checked.

    Attributes:
        submitter: a person, team or account.
        contact: optional, for questions.
        relationship: of the submitter to the method.
        track: `"standard"` keeps all `Rules`; `"open"` says what it broke.
        status: `"self_reported"`; `"rescored"` from attached predictions; `"reproduced"` by a maintainer; `"paper"`.
    """

    submitter: Name
    contact: Name | None = None
    relationship: Literal["author", "third_party", "maintainer"]
    track: Literal["standard", "open"]
    status: Literal["self_reported", "rescored", "reproduced", "paper"]


class Method(Record):
    """What was run.

    Attributes:
        name: id, unique on a leaderboard: lower-case letters, digits and `_ . : -`.
        display_name: for people.
        version: of the method's code or recipe; a paper's is its date.
        search_space: what architectures were searched over, or the fixed network.
        search_algorithm: None where nothing was searched.
        hpo: how hyper-parameters were tuned per task; None when they were not.
        pretrained: whether any weight came from other data.
        external_data: whether data other than the task's was used.
        command: what to type to make the result again.
    """

    name: Slug
    display_name: Name | None = None
    version: Name
    search_space: Name
    search_algorithm: Name | None
    hpo: Name | None = None
    pretrained: bool
    external_data: bool
    reference_url: Url | None = None
    bibtex: Prose | None = None
    code_url: Url | None = None
    code_commit: Commit | None = None
    command: Prose | None = None


class Dataset(Record):
    """The data that a score was computed on.

    Attributes:
        repo: Hub repository or the name of a local folder (never its whole path, which would tell of a user's machine).
        revision: Hub commit; None for a local folder.
        version: the protocol, see `TaskSpec.protocol`.
        content_sha256: over the decoded arrays of all splits, so that it survives another encoding.
        n: units in the split, see `TaskSpec.unit_of_split`.
        provenance: `"official"` data, whole; a `"partial"` part of it; `"generated"` by the published recipe;
            `"synthetic"` data that only has the form.
    """

    repo: Name
    revision: Commit | None
    version: int = Field(ge=1, le=1_000_000)
    content_sha256: Sha256
    n: Count
    provenance: Provenance


class Metric(Record):
    """The metric as the task's spec has it; stated again so that a file can be read without nas360."""

    id: Name
    lower_is_better: bool
    unit: Name
    min: float
    max: float | None


class Predictions(Record):
    """The predictions that were scored: path relative to the result file, format (the suffix), hash, number of rows."""

    path: RelativePath
    format: Name
    sha256: Sha256
    n: Count


class Architecture(Record):
    """The network that was trained for the score.

    Attributes:
        space: id of the space it is from.
        id: short name, where it has one.
        genotype: the space's own JSON of the architecture.
        params: trainable parameters.
        macs: multiply-adds for one sample.
        checkpoint_sha256: hash of the trained weights.
    """

    space: Name
    id: Name | None = None
    genotype: Json = None
    params: Count
    macs: Count | None = None
    checkpoint_sha256: Sha256 | None = None


class Cost(Record):
    """What it cost. Times are in seconds on the clock; what is unknown is None, and `reason` says why."""

    search_seconds: Amount | None
    train_seconds: Amount | None
    infer_seconds: Amount | None = None
    gpu_hours: Amount | None = None
    peak_mem_mb: Amount | None = None
    energy_kwh: Amount | None = None
    trials: Count | None = None
    epochs: Amount | None = None
    steps: Count | None = None
    reason: Name | None = None

    @model_validator(mode="after")
    def _reasoned(self) -> Cost:
        _refuse(cost_faults(self))
        return self


class Failure(Record):
    """Where a run ended without a score, and with what message."""

    stage: Name
    message: Prose


class ScoreStderr(Record):
    """Standard error of a score, and how it was estimated, for instance `"bootstrap over 853 records, 1000 draws"`."""

    value: Amount
    method: Name


class _Row(Record):
    task: Slug
    config: Name = "default"
    split: SplitName = "test"
    metric: Metric
    budget: Budget
    notes: Prose = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _refuse(row_faults(self))
        return self


class SeedRow(_Row):
    """One run: one task, one seed.

    Attributes:
        task: id of the task. `config` and `split` of its dataset.
        metric: see `Metric`.
        budget: only `"full"` is the method's recipe.
        seed: of the run. `replicate` tells runs of equal seed apart, `fold` those of a cross-validation.
        score: the metric on the split, in the metric's own direction; None exactly when the run failed.
        score_stderr: uncertainty of the score from the finite split, where it was estimated; see `ScoreStderr`.
        extra_metrics: further numbers by name.
        validation_score: what the model was selected by.
        n_evaluated: units that were scored. `n_missing`: units of the split that had no prediction.
        status: `"ok"`, or how the run ended without a score; then `failure` says where.
    """

    dataset: Dataset
    seed: Count
    replicate: Count = 0
    fold: Count | None = None
    status: Status = "ok"
    failure: Failure | None = None
    score: float | None
    score_stderr: ScoreStderr | None = None
    extra_metrics: dict[Name, Json] = Field(default_factory=dict)
    validation_score: float | None = None
    n_evaluated: Count
    n_missing: Count
    predictions: Predictions | None = None
    architecture: Architecture | None
    cost: Cost

    @property
    def key(self) -> tuple[object, ...]:
        """What tells this row from the others of its file."""
        return (self.task, self.config, self.split, self.budget, self.seed, self.replicate, self.fold)


class Published(Record):
    """A number as it was printed.

    Attributes:
        mean: over the seeds, in the metric's own direction.
        std: spread over the seeds, where it was printed.
        n_seeds: how many they were.
        source: document, table, and version.
        gpu_hours: search and training on one accelerator, where it was printed; the file's notes name it.
    """

    mean: float
    std: Amount | None
    n_seeds: int = Field(ge=1, le=100_000)
    source: Name
    gpu_hours: Amount | None = None


class PublishedRow(_Row):
    """A method's number on one task as a publication gives it."""

    published: Published

    @property
    def key(self) -> tuple[object, ...]:
        """What tells this row from the others of its file."""
        return (self.task, self.config, self.split, self.budget)


class Rules(Record):
    """What was done with test data, validation data and seeds. In the standard track the first and last are false."""

    test_used_for_selection: bool
    val_merged_into_train: bool
    seeds_tuned: bool


def _kind_of_row(value: Any) -> str:
    return "published" if is_published(value) else "seed"


Row = Annotated[
    Annotated[SeedRow, Tag("seed")] | Annotated[PublishedRow, Tag("published")], Discriminator(_kind_of_row)
]


class ResultFile(Record):
    """One method on one or more tasks; see the module's text.

    Attributes:
        schema_version: of this form.
        run_id: unique; a UUID or a hash.
        created: UTC.
        nas360: the package that scored.
        environment: None only for a paper's numbers, as are `rules`.
        digest: SHA-256 of the file's canonical JSON without this key; `save_result` writes and `load_result` checks it.
    """

    schema_: Url | None = Field(default=None, alias="$schema")
    schema_version: Literal["1.0"]
    run_id: RunId
    created: Time
    submission: Submission
    method: Method
    nas360: Package
    results: Annotated[tuple[Row, ...], Field(min_length=1, strict=False)]
    environment: Environment | None = None
    rules: Rules | None = None
    notes: Prose = ""
    tags: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    digest: Sha256 | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ResultFile:
        _refuse(file_faults(self))
        return self


MODELS: tuple[type[BaseModel], ...] = (
    *(ResultFile, Submission, Method, Package, SeedRow, ScoreStderr, PublishedRow, Published, Dataset, Metric),
    *(Predictions, Architecture, Cost, Failure, Environment, Device, Rules),
)
FIELDS = sorted({field.alias or name for model in MODELS for name, field in model.model_fields.items()})
