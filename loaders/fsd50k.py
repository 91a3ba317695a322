"""FSD50K: sound events in Freesound clips, any of 200 labels a clip."""

from __future__ import annotations

from nas360.loaders.base import Task
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.loaders.labels import FSD50K_LABELS
from nas360.task import Difference, MultiLabel, Source, TaskSpec

SAMPLE_RATE_HZ = 22050
MELS = 96
FFT = 1920
FRAME = 661
FRAME_HOP = 220
WINDOW = 101
WINDOW_HOP = 50

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
            note="one part of a split archive" if "audio" in name else "",
        )
        for name, size, md5 in _ARCHIVES
    ),
    class_names=FSD50K_LABELS,
    differences=(
        TEST_READ_ONCE,
        Difference(
            reference="clips are first cut into chunks of 1 s every 0.5 s, and each chunk has its own log-mel "
            "spectrogram",
            ours="one log-mel spectrogram for each clip; windows of 101 frames are cut from it every 50 frames",
            reason="a row stays one clip; only the frames at the edges of a window differ, which see sound where "
            "they saw padding",
        ),
        Difference(
            reference="training mixes in background noise from another collection (MUSAN)",
            ours="no sound from outside the task",
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

TASK = Task(SPEC)
