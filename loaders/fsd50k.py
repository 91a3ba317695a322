"""FSD50K: sound events in Freesound clips, any of 200 labels a clip.

Here the clips are read; `log_mel` makes frames of them, `fsd50k_windows` what networks see.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.base import Array, Column, Loader, RawData, Rows, Task
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.loaders.fsd50k_tables import Labelled, check_vocabulary, clips_of, read_tables
from nas360.loaders.fsd50k_windows import WINDOW, FsdPreprocessing
from nas360.loaders.labels import FSD50K_LABELS
from nas360.loaders.log_mel import FRAME, MELS, SAMPLE_RATE_HZ, log_mel, resample
from nas360.loaders.pieces import Piece, Pieces, in_groups
from nas360.loaders.raw.archive import find_raw, fingerprint
from nas360.loaders.raw.split_zip import Member, SplitZip, part_paths
from nas360.loaders.raw.wav import MAX_BYTES, UnusableSoundError, read_wav
from nas360.task import SPLITS, Difference, MultiLabel, Source, SplitName, TaskSpec

GROUND_TRUTH = "FSD50K.ground_truth.zip"
DEV_AUDIO = "FSD50K.dev_audio.zip"
EVAL_AUDIO = "FSD50K.eval_audio.zip"
AUDIO: Mapping[SplitName, str] = {"train": DEV_AUDIO, "validation": DEV_AUDIO, "test": EVAL_AUDIO}
"""Which archive holds the clips of a split."""

_ARCHIVES = (
    ("FSD50K.dev_audio.z01", 3221225472, "faa7cf4cc076fc34a44a479a5ed862a3"),
    ("FSD50K.dev_audio.z02", 3221225472, "8f9b66153e68571164fb1315d00bc7bc"),
    ("FSD50K.dev_audio.z03", 3221225472, "1196ef47d267a993d30fa98af54b7159"),
    ("FSD50K.dev_audio.z04", 3221225472, "d088ac4e11ba53daf9f7574c11cccac9"),
    ("FSD50K.dev_audio.z05", 3221225472, "81356521aa159accd3c35de22da28c7f"),
    ("FSD50K.dev_audio.zip", 2306663327, "c480d119b8f7a7e32fdb58f3ea4d6c5a"),
    ("FSD50K.eval_audio.z01", 3221225472, "3090670eaeecc013ca1ff84fe4442aeb"),
    ("FSD50K.eval_audio.zip", 3037675767, "6fa47636c3a3ad5c7dfeba99f2637982"),
    ("FSD50K.ground_truth.zip", 334701, "ca27382c195e37d2269c4c866dd73485"),
)

_PART = "one part of a split archive; where a clip is not what the archive's checksum says, it is to be fetched anew"

SPEC = TaskSpec(
    id="fsd50k",
    name="FSD50K",
    summary="Sound events in a clip, any of 200 labels, from windows of its log-mel spectrogram",
    spatial_dims=2,
    input_shape=(1, MELS, WINDOW),
    output=MultiLabel(n_labels=200),
    prediction_shape=(200,),
    loss="binary_cross_entropy",
    metric="macro_map",
    direction="higher",
    bounds=(0.0, 1.0),
    unit="fraction",
    decimals=2,
    unit_of_split="clip",
    splits={"train": 36796, "validation": 4170, "test": 10231},
    final_training=("train",),
    repo="nas360/fsd50k",
    licence="CC-BY-4.0 (the collection; each clip has its own Creative Commons licence, some of them non-commercial)",
    citation=(
        "@article{fonseca2022fsd50k, title={{FSD50K}: An Open Dataset of Human-Labeled Sound Events}, "
        "author={Fonseca, Eduardo and Favory, Xavier and Pons, Jordi and Font, Frederic and Serra, Xavier}, "
        "journal={IEEE/ACM Transactions on Audio, Speech, and Language Processing}, volume={30}, pages={829--852}, "
        "year={2022}}"
    ),
    sources=tuple(
        Source(
            filename=name,
            url=f"https://zenodo.org/records/4060432/files/{name}?download=1",
            size_bytes=size,
            md5=md5,
            note=_PART if "audio" in name else "",
        )
        for name, size, md5 in _ARCHIVES
    ),
    class_names=FSD50K_LABELS,
    differences=(
        TEST_READ_ONCE,
        Difference(
            reference="clips are first cut into chunks of 1 s every 0.5 s, and each chunk has its own log-mel "
            "spectrogram",
            ours="one log-mel spectrogram for each clip; windows of 101 frames are cut from it every 50 frames (11,000 "
            "samples, the reference's half second has 11,025), as many as the reference has chunks",
            reason="a row stays one clip; only the two frames at each edge of a window differ, which see sound where "
            "they saw the chunk mirrored",
        ),
        Difference(
            reference="the spectrogram of a chunk is limited to 80 dB below its loudest value, 75 dB are added, and "
            "its mean is subtracted",
            ours="rows hold plain decibels in half precision (to 0.03 dB); limit and mean are taken in each window, "
            "and the 75 dB, which the mean takes away again, are left out",
            reason="the same input for windows that are cut from a stored clip",
        ),
        Difference(
            reference="ffmpeg resamples the clips to 22,050 Hz, in whole numbers of 16 bits",
            ours="a polyphase filter of zero phase (scipy.signal.resample_poly), in floating point, channels averaged",
            reason="no program beside Python is needed",
        ),
        Difference(
            reference="a chunk at the end of a clip, or of a clip below one second, is filled by repeating its sound",
            ours="it is filled by repeating its frames",
            reason="a row holds frames; they differ around the seams alone",
        ),
        Difference(
            reference="training pads a chunk's spectrogram in time, by repetition or a constant, with probability 0.5, "
            "and crops 101 frames at random",
            ours="the training window begins at any frame of the clip, uniformly drawn; a clip shorter than a window "
            "is seen from its first frame on",
            reason="padding and cropping shift a chunk in time; a stored clip can be shifted with its own sound",
        ),
        Difference(
            reference="training mixes in background noise from another collection (MUSAN)",
            ours="no sound from outside the task; one or two masks of at most 14 mels and 20 frames are kept",
            reason="methods are compared on the data of the task alone",
        ),
        Difference(
            reference="the loader of the DARTS methods drops the first frame of a window",
            ours="101 frames for every method",
            reason="all methods must see the same input",
        ),
        Difference(
            reference="final training uses the 36,796 training clips alone, though its configuration counts 40,966",
            ours="the training clips alone",
            reason="what the published numbers were made with",
        ),
        Difference(
            reference="the papers say that the sounds come from Youtube videos and are equally distributed over the "
            "classes",
            ours="clips from Freesound, very unequally distributed",
            reason="that is what the collection is",
        ),
    ),
)

COLUMNS = {
    "id": Column("string", about="number of the clip on Freesound"),
    "x": Column("float16", (None, MELS), about="log-mel frames in decibel, one every 220 samples at 22,050 Hz"),
    "y": Column("int64", (None,), names=FSD50K_LABELS, about="the labels that the clip bears"),
}

CLIPS_A_PIECE = 50
"""Of 30 s, the longest of the collection, these are 29 MB of frames."""
MAX_AUDIO_BYTES = 128 * 1024 * MIB


class Clip(NamedTuple):
    """A clip that is to be read: its number on Freesound, its labels in ascending order, and where its sound is."""

    name: str
    labels: tuple[int, ...]
    place: Member | str


def open_raw(folder: Path) -> RawData:
    """Read the labels and find the sounds; see `loaders.base.Loader`. No sound is read here.

    A clip that cannot be used is left out and told when rows are read. One that is not what its archive's checksum
    says ends the preparation, as a part that was cut off would cost thousands of clips: get the archive anew.

    Args:
        folder: holds the three archives (two of them in parts), or folders of their names without ".zip".

    Raises:
        RawDataError: when files or parts of archives are missing, damaged or not in the official layout, a clip stands
            in the tables twice or has no label or an unknown one, or a split has no clip.
    """
    paths = _find(folder)
    tables = read_tables(paths[GROUND_TRUTH])
    check_vocabulary(tables["vocabulary.csv"])
    development = clips_of(tables["dev.csv"], "dev.csv", {"train": "train", "val": "validation"})
    test = clips_of(tables["eval.csv"], "eval.csv", {"": "test"})
    labelled: dict[SplitName, Labelled] = {**development, **test}
    twice = sorted(set(test["test"]) & (set(development["train"]) | set(development["validation"])))
    if twice:
        raise RawDataError(f"dev.csv and eval.csv both name {', '.join(twice[:5])} ({len(twice)} clips)")
    sounds = {archive: _sounds(paths[archive]) for archive in (DEV_AUDIO, EVAL_AUDIO)}
    known = {
        archive: {name for split in SPLITS if AUDIO[split] == archive for name in labelled[split]} for archive in sounds
    }
    clips = {split: _clips(labelled[split], sounds[AUDIO[split]]) for split in SPLITS}
    skipped = {
        "no audio file": [name for split in SPLITS for name in labelled[split] if name not in sounds[AUDIO[split]]],
        "audio file without labels": [
            name for archive in sounds for name in sorted(set(sounds[archive]) - known[archive])
        ],
    }
    empty = [split for split in SPLITS if not clips[split]]
    if empty:
        raise RawDataError(
            f"no clip of {', '.join(empty)} has an audio file in {paths[DEV_AUDIO].name} or {paths[EVAL_AUDIO].name}. "
            f"Wav files must bear the names that dev.csv and eval.csv give, such as 64760.wav"
        )
    return RawData(
        splits={
            split: Pieces(partial(_piece, paths[AUDIO[split]]), in_groups(clips[split], CLIPS_A_PIECE))
            for split in SPLITS
        },
        sources=_fingerprints(paths),
        n_units={split: len(clips[split]) for split in SPLITS},
        skipped={reason: tuple(names) for reason, names in skipped.items() if names},
    )


def _find(folder: Path) -> dict[str, Path]:
    """The three archives or folders; whatever is missing of them, parts too, is named at once."""
    parts: list[str] = []
    for name in (DEV_AUDIO, EVAL_AUDIO):
        if (folder / name).is_file():
            parts += [part.name for part in part_paths(folder / name)[:-1]]
        elif not (folder / name.removesuffix(".zip")).exists():
            parts += [part for part, _, _ in _ARCHIVES if part.startswith(name.removesuffix("zip")) and part != name]
    return find_raw(folder, GROUND_TRUTH, DEV_AUDIO, EVAL_AUDIO, *parts)


def _fingerprints(paths: Mapping[str, Path]) -> dict[str, str]:
    """Hash of every file, or unpacked folder, by its name."""
    files = [paths[GROUND_TRUTH]]
    for archive in (DEV_AUDIO, EVAL_AUDIO):
        files += [paths[archive]] if paths[archive].is_dir() else part_paths(paths[archive])
    return {path.name: fingerprint(path) for path in files}


def _sounds(path: Path) -> dict[str, Member | str]:
    """Clip → where its wav is: a file name in a folder, or a member of an archive."""
    sounds: dict[str, Member | str] = {}
    for name, place in _wavs(path):
        clip = Path(name).stem
        if clip in sounds:
            raise RawDataError(f"{path.name}: holds {clip}.wav twice")
        sounds[clip] = place
    return sounds


def _wavs(path: Path) -> Iterator[tuple[str, Member | str]]:
    """All wav files by name; without hidden ones, which a Mac adds."""
    if path.is_dir():
        found: list[tuple[str, Member | str]]
        found = [(file.name, file.name) for file in sorted(path.glob("*.wav")) if file.is_file()]
    else:
        with SplitZip(path) as archive:
            found = [(member.name, member) for member in archive.members(max_bytes=MAX_AUDIO_BYTES)]
    for name, place in found:
        if name.endswith(".wav") and not Path(name).name.startswith("."):
            yield name, place


def _clips(labelled: Labelled, sounds: Mapping[str, Member | str]) -> list[Clip]:
    """The clips that have a sound."""
    return [Clip(name, labels, sounds[name]) for name, labels in labelled.items() if name in sounds]


def _piece(audio: Path, clips: Sequence[Clip]) -> Piece:
    """The rows of some clips; those that cannot be used are named by reason."""
    made, skipped = list[tuple[Clip, Array]](), defaultdict[str, list[str]](list)
    with ExitStack() as opened:
        archive = None if audio.is_dir() else opened.enter_context(SplitZip(audio))
        for clip in clips:
            try:
                made.append((clip, clip_frames(_read(audio, archive, clip.place))))
            except UnusableSoundError as cause:
                skipped[str(cause)].append(clip.name)
    frames, labels = np.empty(len(made), object), np.empty(len(made), object)
    for number, (clip, x) in enumerate(made):
        frames[number], labels[number] = x, np.array(clip.labels, np.int64)
    rows: Rows = {"id": np.array([clip.name for clip, _ in made], np.str_), "x": frames, "y": labels}
    return Piece([rows] if made else [], {reason: tuple(names) for reason, names in skipped.items()})


def _read(audio: Path, archive: SplitZip | None, place: Member | str) -> bytes:
    """A wav file; one that is too large to be used is not read."""
    too_large = UnusableSoundError(f"larger than {MAX_BYTES // MIB} MiB")
    if isinstance(place, Member):
        if place.n_bytes > MAX_BYTES:
            raise too_large
        if archive is None:
            raise ValueError(f"{place.name} is a member of an archive, {audio} a folder")
        return archive.read(place)
    try:
        if (audio / place).stat().st_size > MAX_BYTES:
            raise too_large
        return (audio / place).read_bytes()
    except OSError as cause:
        raise UnusableSoundError(f"cannot be opened ({cause.strerror})") from cause


def clip_frames(content: bytes) -> Array:
    """The log-mel frames of a wav file, as they are stored.

    Returns:
        float16 (frames, 96), dB from -100 on; half precision rounds by 0.03 dB at most.

    Raises:
        UnusableSoundError: when the sound cannot be used; see `wav.read_wav`.
    """
    signal, rate = read_wav(content)
    at_rate = resample(signal, rate)
    if len(at_rate) < FRAME:
        raise UnusableSoundError(f"shorter than one frame ({1000 * FRAME // SAMPLE_RATE_HZ + 1} ms)")
    return log_mel(at_rate).astype(np.float16)


def _fit(rows: Rows) -> FsdPreprocessing:
    """Nothing is fitted: every window is normalised by itself."""
    return FsdPreprocessing(len(FSD50K_LABELS))


def _loader() -> Loader:
    from nas360.loaders.synthetic.fsd50k import write_synthetic

    return Loader(columns=COLUMNS, open_raw=open_raw, fit=_fit, synthesise=write_synthetic)


TASK = Task(SPEC, _loader)
