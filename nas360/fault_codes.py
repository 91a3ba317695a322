"""The codes of faults in result files: one table, from which `nas360 validate --codes` and `--explain` print.

A code is never given to another fault, so that what programs and people have learnt stays true. `E` keeps a file off
the leaderboard, `W` is for a person to judge.
"""

from __future__ import annotations

from typing import NamedTuple

PREFIX = "NAS360-"


class Code(NamedTuple):
    """What a code means.

    Attributes:
        title: what is wrong, in a few words.
        why: why it matters.
        fix: what to do.
    """

    title: str
    why: str
    fix: str


_READ: dict[str, Code] = {
    "E001": Code(
        "cannot be read",
        "A file that is absent, no regular file, or locked holds no result.",
        "Check the name and the rights.",
    ),
    "E002": Code(
        "too large",
        "Results are small; a limit on the size protects whoever reads files of strangers.",
        "Write one file a task; shorten notes, genotypes and extra metrics.",
    ),
    "E003": Code(
        "not UTF-8",
        "JSON is exchanged in UTF-8 (RFC 8259); other encodings read as other text elsewhere.",
        "Save the file as UTF-8.",
    ),
    "E004": Code(
        "byte order mark",
        "JSON texts must not begin with one (RFC 8259), and many readers stumble over it.",
        "Save the file as UTF-8 without a byte order mark.",
    ),
    "E005": Code("empty", "There is nothing in the file.", "Write the result anew."),
    "E006": Code(
        "not JSON",
        "Nothing can be read from a file that breaks the grammar of JSON.",
        "Write it with a JSON library rather than by hand.",
    ),
    "E007": Code(
        "NaN or Infinity",
        "JSON has no such numbers; a score of NaN would also rank nowhere.",
        "Give a finite number; a run without a score has the status 'failed' and the score null.",
    ),
    "E008": Code(
        "number out of range",
        "It cannot be held by a float64, so readers would disagree on what it is.",
        "Give a number that a float64 holds.",
    ),
    "E009": Code("key stands twice", "Readers disagree on which of the two counts.", "Keep one."),
    "E010": Code("nested too deeply", "Deep nesting exhausts the stack of readers.", "Store it flatter."),
    "E011": Code("not an object", "A result file is one JSON object.", "Give a result file, as nas360 run writes it."),
    "E012": Code(
        "unknown schema version",
        "The file's form is told by its schema_version; this nas360 reads some of them alone.",
        "Use a newer nas360 for newer files; a file without it is no result file.",
    ),
}

_SCHEMA: dict[str, Code] = {
    "E020": Code(
        "key is missing",
        "Every reader relies on the required keys.",
        "Add it; `nas360 validate --schema` prints the form.",
    ),
    "E021": Code(
        "unknown key",
        "A misspelt key would be lost without a word.",
        "Correct or remove it; free text goes into `notes`.",
    ),
    "E022": Code(
        "wrong type",
        "A text is no number and a number is no truth value.",
        "Give a value of the type that the rule names.",
    ),
    "E023": Code("number not allowed", "The value lies outside of what it can be.", "Give a value in the range."),
    "E024": Code("not one of the choices", "Only the listed words are understood.", "Choose one of them."),
    "E025": Code(
        "text of the wrong form",
        "Names, hashes, commits and addresses have a form, so that they are safe to show and to look up.",
        "Write it in the form that the rule names.",
    ),
    "E026": Code("too short or too long", "A text or a list has not a possible length.", "Change its length."),
    "E027": Code("not a time", "Times are ISO 8601 with a time zone.", "Write it like 2026-01-31T12:00:00Z."),
    "E028": Code("text that cannot be written", "Half of a surrogate pair has no form in UTF-8.", "Repair the text."),
    "E029": Code(
        "breaks the schema",
        "The value does not fit the schema in another way.",
        "See the rule; `nas360 validate --schema` prints the form.",
    ),
}

_RULES: dict[str, Code] = {
    "E030": Code(
        "score against status",
        "A score stands exactly where the run ended well.",
        "Give the score, or the status that the run ended with and the score null.",
    ),
    "E031": Code(
        "failure against status",
        "A run without a score says where it ended, and one with a score has not failed.",
        "Give `failure` {stage, message}, or remove it.",
    ),
    "E032": Code(
        "no architecture", "A score belongs to a network: its space and number of parameters.", "Give `architecture`."
    ),
    "E033": Code(
        "score out of range",
        "The metric cannot take this value; often percent was given for a fraction.",
        "Give the score in the metric's unit.",
    ),
    "E034": Code("standard error without score", "An uncertainty needs what is uncertain.", "Remove score_stderr."),
    "E035": Code(
        "unknown cost without a reason",
        "What a method costs is half of the comparison; a gap must be explained.",
        "Give the time, or say why in `cost/reason`.",
    ),
    "E036": Code(
        "the same run twice in a file", "A run that counts twice moves the mean.", "Keep one, or number `replicate`."
    ),
    "E037": Code(
        "averages among runs",
        "A published average is no run; such files have the status 'paper' and hold nothing else.",
        "Give one row a seed, or the status 'paper' in a file of its own.",
    ),
    "E038": Code("no environment", "A run tells where it was made.", "Write the file with nas360, which fills it in."),
    "E039": Code("no rules", "A submission says what was done with test and validation data.", "Give `rules`."),
    "E040": Code(
        "breaks the standard track",
        "The standard track neither selects by test data nor chooses seeds.",
        "Submit to the track 'open'.",
    ),
    "E041": Code(
        "no validation score",
        "In the standard track a model that was trained on train alone tells what it was selected by.",
        "Give validation_score.",
    ),
    "E042": Code(
        "changed after it was written",
        "The digest is not that of the content.",
        "Restore the file, or make it again with nas360.",
    ),
    "E043": Code(
        "holds a secret",
        "A token or password in a public file is read by others within minutes.",
        "Revoke it, then remove it from the file; removal alone does not help.",
    ),
    "E044": Code(
        "predictions outside of the folder",
        "The path must stay below the result file's folder, on every system, else it would read files of the host.",
        "Put predictions beside the result and give their relative path, with `/`.",
    ),
}

_SPEC: dict[str, Code] = {
    "E050": Code("unknown task", "The benchmark has ten tasks.", "Correct the id; `nas360 tasks` lists them."),
    "E051": Code(
        "another metric",
        "A task has one metric by which it ranks.",
        "Score with `nas360 evaluate`; other metrics go into extra_metrics.",
    ),
    "E052": Code(
        "another unit",
        "Percent and fractions would be compared with each other.",
        "Give score and unit as the task has them.",
    ),
    "E053": Code("another direction", "Lower and higher would be mixed up.", "State the task's direction."),
    "E054": Code("another range of the metric", "The stated bounds are not the task's.", "State the task's bounds."),
    "E055": Code(
        "another protocol", "Scores of different protocols are on different data.", "Run on the data of this protocol."
    ),
    "E056": Code(
        "not the official size",
        "Data of another size is not the official split.",
        "Mark data that is not whole as 'partial', or use all of it.",
    ),
    "E057": Code(
        "counts do not add up",
        "What was evaluated and what was missing is the split.",
        "Correct n_evaluated, n_missing or dataset/n.",
    ),
    "E060": Code(
        "the same run in two files", "A run that counts twice moves the mean.", "Keep one, or number `replicate`."
    ),
    "E061": Code(
        "too many files",
        "A bound protects whoever checks the folders of strangers.",
        "Name fewer folders, or validate in parts.",
    ),
    "E062": Code("no result files", "There is nothing to check.", "Name result files, or a folder that holds some."),
}

_WARNINGS: dict[str, Code] = {
    "W001": Code(
        "never ranks: not the official data",
        "Partial, generated and synthetic data give scores that do not compare.",
        "Run on the official data.",
    ),
    "W002": Code("does not rank: a smaller budget", "Only the full recipe is the method.", "Run with the full budget."),
    "W003": Code("left out: not the test split", "Only the test split of the default config ranks.", "Evaluate on it."),
    "W004": Code(
        "not all tasks",
        "A median rank over fewer tasks compares less; the leaderboard marks it as partial.",
        "Add the missing tasks, as rows or as further files of the method.",
    ),
    "W005": Code(
        "worse than a constant",
        "A constant prediction, which needs no data, would have scored better.",
        "Look for swapped labels, wrong order of rows, or a run that diverged.",
    ),
    "W006": Code(
        "a fraction for percent?",
        "A percentage below one is rare; often a fraction was given.",
        "Give percent, if it was a fraction.",
    ),
    "W007": Code(
        "perfect", "A score without any error is nearly always a leak.", "Check that no test label reached the model."
    ),
    "W008": Code("training in no time", "Steps or epochs need time.", "Give the true time, or null and a reason."),
    "W009": Code(
        "hours do not add up",
        "GPU hours are far from the seconds times the accelerators.",
        "Check units: seconds for times, hours for gpu_hours.",
    ),
    "W010": Code(
        "a time that cannot be",
        "The file is from the future, from before the benchmark, or tells of decades of computing.",
        "Check clock and units.",
    ),
    "W011": Code(
        "name not safe on every system",
        "Windows reserves some names and signs; a checkout would fail there.",
        "Use another name.",
    ),
    "W012": Code(
        "look-alike letters", "A name that mixes alphabets may pretend to be another.", "Write it in one alphabet."
    ),
    "W013": Code(
        "names that differ by case alone", "Two such files or names are one on Windows and macOS.", "Rename one."
    ),
    "W014": Code(
        "mixed or dirty code",
        "Rows of one method should come from one state of the code.",
        "Commit, and run anew from there.",
    ),
    "W015": Code(
        "mixed data", "Seeds on different contents of the data do not compare.", "Run all on the same revision."
    ),
    "W016": Code(
        "no digest",
        "Without it nobody notices a later change.",
        "Write the file with nas360, or `nas360.results.save_result`.",
    ),
    "W017": Code(
        "data not pinned",
        "Official data without a Hub revision, or from another repository, cannot be looked up.",
        "Run on the published repository at a revision.",
    ),
    "W018": Code(
        "architecture not plausible",
        "A network without parameters, or with more than any accelerator holds.",
        "Check params and macs.",
    ),
    "W019": Code("units without prediction", "The score stands for a part of the split.", "Predict all of it."),
    "W020": Code("run id twice", "Two files claim to be the same run.", "Give each its own run_id."),
    "W021": Code(
        "claims to be checked",
        "Rescored or reproduced results have predictions to check them by; these have none.",
        "Attach predictions, or give the status 'self_reported'.",
    ),
    "W022": Code(
        "a link", "Links are not followed, for they may lead out of the folder.", "Put the file itself there."
    ),
    "W023": Code(
        "more faults", "A list of thousands of faults helps nobody.", "Mend those that are listed, and validate again."
    ),
    "W024": Code(
        "the same predictions twice",
        "Runs of other seeds, or of other methods, hardly ever predict the same to the last bit.",
        "Look for a copied file, or a seed that nothing depends on.",
    ),
}

CODES: dict[str, Code] = {
    PREFIX + code: text for part in (_READ, _SCHEMA, _RULES, _SPEC, _WARNINGS) for code, text in part.items()
}
"""Code → what it means, errors first."""
