from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import scipy.io

from nas360.errors import RawDataError, RunError, UserError
from nas360.files import MIB
from nas360.loaders import darcy_flow, darcy_generate, workers
from nas360.loaders.base import Rows
from nas360.loaders.darcy_flow import DarcyPreprocessing, open_raw, read_field
from nas360.loaders.darcy_generate import generate, write_synthetic
from nas360.loaders.darcy_pde import solve
from nas360.loaders.raw import mat5
from nas360.loaders.raw.matfile import read_mat
from nas360.task import SPLITS

Array = npt.NDArray[Any]
FIRST, SECOND = "piececonst_r421_N1024_smooth1.mat", "piececonst_r421_N1024_smooth2.mat"
COUNTS = (4, 1)


def silent(done: int, total: int) -> None:
    """Progress that nobody watches."""


def write_v5(path: Path, fields: Mapping[str, Array]) -> None:
    scipy.io.savemat(path, dict(fields))


def write_v5_compressed(path: Path, fields: Mapping[str, Array]) -> None:
    scipy.io.savemat(path, dict(fields), do_compression=True)


def write_doubles(path: Path, fields: Mapping[str, Array]) -> None:
    scipy.io.savemat(path, {key: values.astype(np.float64) for key, values in fields.items()})


def write_v73(path: Path, fields: Mapping[str, Array]) -> None:
    """As MATLAB does: axes in reverse, small chunks, deflate."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, values in fields.items():
            file.create_dataset(key, data=values.T, chunks=True, compression="gzip", compression_opts=1)


def write_numpy_order(path: Path, fields: Mapping[str, Array]) -> None:
    with h5py.File(path, "w") as file:
        for key, values in fields.items():
            file[key] = values


def fields_of(n: int, seed: int = 0, size: int = 421) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    coeff = rng.choice(np.array([3, 12], np.float32), (n, size, size))
    return {"coeff": coeff, "sol": rng.random((n, size, size), dtype=np.float32)}


def all_rows(folder: Path) -> dict[str, Rows]:
    opened = open_raw(folder)
    return {
        split: {name: np.concatenate([block[name] for block in blocks]) for name in ("id", "x", "y")}
        for split in SPLITS
        for blocks in [list(opened.splits[split]())]
    }


@pytest.fixture
def tiny_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of 11×11 nodes, so that a file of the official number of samples is small."""
    monkeypatch.setattr(darcy_flow, "GRID", 11)
    monkeypatch.setattr(darcy_flow, "SIZE", 3)


class TestReading:
    @pytest.mark.parametrize(
        "write", [write_v5, write_v5_compressed, write_doubles, write_v73, write_numpy_order], ids=lambda f: f.__name__
    )
    def test_every_version_and_orientation_gives_the_same_rows(
        self, write: Callable[[Path, Mapping[str, Array]], None], tmp_path: Path
    ) -> None:
        first, second = fields_of(4, 1), fields_of(2, 2)
        write(tmp_path / FIRST, first)
        write(tmp_path / SECOND, second)
        rows = all_rows(tmp_path)
        assert {split: len(part["id"]) for split, part in rows.items()} == {"train": 3, "validation": 1, "test": 2}
        for column, key in (("x", "coeff"), ("y", "sol")):
            expected = first[key][:, ::5, ::5]
            np.testing.assert_array_equal(rows["train"][column], expected[:3])
            np.testing.assert_array_equal(rows["validation"][column], expected[3:])
            np.testing.assert_array_equal(rows["test"][column], second[key][:, ::5, ::5])
            assert rows["train"][column].dtype == np.float32
            assert rows["train"][column].shape == (3, 85, 85)

    @pytest.mark.usefixtures("tiny_grid")
    @pytest.mark.parametrize("write", [write_v5, write_v73])
    def test_the_official_number_of_samples_is_split_as_published(
        self, write: Callable[[Path, Mapping[str, Array]], None], tmp_path: Path
    ) -> None:
        first, second = fields_of(1024, 1, 11), fields_of(1024, 2, 11)
        # what the protocol does not use is not looked at
        first["sol"][1000:] = np.nan
        second["coeff"][100:] = -1
        write(tmp_path / FIRST, first)
        write(tmp_path / SECOND, second)
        rows = all_rows(tmp_path)
        assert open_raw(tmp_path).n_units == {"train": 900, "validation": 100, "test": 100} == darcy_flow.SPEC.splits
        np.testing.assert_array_equal(rows["train"]["y"], first["sol"][:900, ::5, ::5])
        np.testing.assert_array_equal(rows["validation"]["y"], first["sol"][900:1000, ::5, ::5])
        np.testing.assert_array_equal(rows["test"]["x"], second["coeff"][:100, ::5, ::5])
        ids = np.concatenate([part["id"] for part in rows.values()])
        assert len(set(ids)) == 1100
        assert list(ids[[0, 899, 900, 999, 1000, 1099]]) == [
            "smooth1-00000",
            "smooth1-00899",
            "smooth1-00900",
            "smooth1-00999",
            "smooth2-00000",
            "smooth2-00099",
        ]

    @pytest.mark.usefixtures("tiny_grid")
    @pytest.mark.parametrize(("held", "train", "validation"), [(3, 2, 1), (10, 9, 1), (16, 14, 2), (999, 899, 100)])
    def test_fewer_samples_are_split_nine_to_one(self, held: int, train: int, validation: int, tmp_path: Path) -> None:
        write_v5(tmp_path / FIRST, fields_of(held, size=11))
        write_v5(tmp_path / SECOND, fields_of(1, size=11))
        assert open_raw(tmp_path).n_units == {"train": train, "validation": validation, "test": 1}

    def test_rows_can_be_read_again_and_sources_are_hashed(self, tmp_path: Path) -> None:
        write_v5(tmp_path / FIRST, fields_of(4))
        write_v5(tmp_path / SECOND, fields_of(1))
        opened = open_raw(tmp_path)
        once, twice = (next(iter(opened.splits["train"]())) for _ in range(2))
        np.testing.assert_array_equal(once["x"], twice["x"])
        assert set(opened.sources) == {FIRST, SECOND}
        assert all(len(digest) == 64 for digest in opened.sources.values())
        assert opened.notes == {}

    @pytest.mark.parametrize("write", [write_v5_compressed, write_v73])
    def test_memory_holds_what_is_kept_and_a_block(
        self, write: Callable[[Path, Mapping[str, Array]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mat5, "BLOCK_BYTES", MIB)
        path = tmp_path / FIRST
        write(path, {"coeff": np.full((48, 421, 421), 3, np.float32)})  # 34 MB
        tracemalloc.start()
        kept = read_field(path, "coeff", 48)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < kept.nbytes + 8 * MIB

    def test_real_files(self, real_data: Path) -> None:
        folder = real_data / "darcy"
        rows = all_rows(folder)
        found = {split: part["y"] for split, part in rows.items()}
        for name, parts in ((FIRST, ("train", "validation")), (SECOND, ("test",))):
            expected = scipy.io.loadmat(folder / name)["sol"][:, ::5, ::5]
            np.testing.assert_array_equal(np.concatenate([found[part] for part in parts]), expected)


class TestBadFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_v5(tmp_path / FIRST, fields_of(3))
        write_v5(tmp_path / SECOND, fields_of(1))
        return tmp_path

    def test_all_missing_files_are_named_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(RawDataError, match=f"{FIRST} and {SECOND} missing. Download them from .*--generate"):
            open_raw(tmp_path)
        (tmp_path / FIRST).write_bytes(b"x")
        with pytest.raises(RawDataError, match=f": {SECOND} missing"):
            open_raw(tmp_path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"coeff": np.ones((3, 421, 421))}, "no variable 'sol'. It holds: 'coeff'"),
            ({"a": 1, "b": 2}, "no variable 'coeff'. It holds: 'a', 'b'"),
            (
                {"coeff": np.ones((3, 85, 85)), "sol": 1},
                r"'coeff' has shape \(3, 85, 85\); \(N, 421, 421\) was expected",
            ),
            ({"coeff": np.ones((421, 421)), "sol": 1}, r"'coeff' has shape \(421, 421\)"),
            (
                {"coeff": np.ones((3, 421, 421)), "sol": np.ones((4, 421, 421))},
                r"'coeff' has shape \(3, 421, 421\), but 'sol' \(4, 421, 421\)",
            ),
            ({"coeff": np.ones((2, 421, 421)), "sol": np.ones((2, 421, 421))}, "2 samples; training .* at least 3"),
            ({"coeff": np.array([{}, 1], object), "sol": 1}, "'coeff' is a cell array"),
            ({"coeff": "text", "sol": 1}, "'coeff' is text"),
        ],
    )
    def test_wrong_contents(self, content: dict[str, Any], message: str, folder: Path) -> None:
        write_v5(folder / FIRST, content)
        with pytest.raises(RawDataError, match=message):
            open_raw(folder)

    @pytest.mark.parametrize("content", [b"", b"coeff,sol\n1,2\n" * 50, b"<!DOCTYPE html>" * 50])
    def test_no_matlab_file(self, content: bytes, folder: Path) -> None:
        (folder / SECOND).write_bytes(content)
        with pytest.raises(RawDataError, match=rf"{SECOND}: (empty|not a MATLAB file)"):
            open_raw(folder)

    @pytest.mark.parametrize("write", [write_v5, write_v5_compressed, write_v73])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_a_truncated_file(
        self, write: Callable[[Path, Mapping[str, Array]], None], share: float, folder: Path
    ) -> None:
        write(folder / FIRST, fields_of(3))
        content = (folder / FIRST).read_bytes()
        (folder / FIRST).write_bytes(content[: int(share * len(content))])
        with pytest.raises(RawDataError, match=rf"{FIRST}: .*truncated"):
            list(open_raw(folder).splits["train"]())

    @pytest.mark.parametrize("write", [write_doubles, write_v73, write_numpy_order])
    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("sol", np.nan, "'sol' holds values that are not finite"),
            ("coeff", np.inf, "'coeff' holds values that are not finite"),
            ("coeff", 0.0, "'coeff' holds values that are not positive"),
            ("coeff", -3.0, "'coeff' holds values that are not positive"),
        ],
    )
    def test_impossible_values_even_between_the_nodes_that_are_read(
        self, write: Callable[[Path, Mapping[str, Array]], None], key: str, value: float, message: str, folder: Path
    ) -> None:
        fields = fields_of(3)
        fields[key][2, 401, 7] = value
        write(folder / FIRST, fields)
        opened = open_raw(folder)
        with pytest.raises(RawDataError, match=message):
            list(opened.splits["train"]())

    def test_a_number_too_large_for_single_precision(self, folder: Path) -> None:
        fields = {key: values.astype(np.float64) for key, values in fields_of(3).items()}
        fields["sol"][0, 0, 0] = 1e300
        write_v5(folder / FIRST, fields)
        with pytest.raises(RawDataError, match="not finite"):
            list(open_raw(folder).splits["train"]())

    @pytest.mark.parametrize("content", ["[1]", "{", "NaN"])
    def test_a_spoilt_mark_of_generation(self, content: str, folder: Path) -> None:
        (folder / "generated.json").write_text(content)
        with pytest.raises(RawDataError, match=r"generated\.json"):
            open_raw(folder)


class TestPreprocessing:
    @pytest.fixture
    def rows(self) -> Rows:
        rng = np.random.default_rng(5)
        x = rng.choice(np.array([3, 12], np.float32), (12, 85, 85))
        y = rng.normal(0.01, 0.003, (12, 85, 85)).astype(np.float32)
        y[:, 0] = 0  # as on the boundary
        return {"id": np.arange(12).astype(str), "x": x, "y": y}

    def test_the_published_formula_sample_by_sample(self, rows: Rows) -> None:
        batch = DarcyPreprocessing(rows["x"], rows["y"])({k: v[:5] for k, v in rows.items()}, None)
        assert batch.x.shape == (5, 3, 85, 85) and batch.x.dtype == np.float32 and batch.x.flags.c_contiguous
        assert batch.weight is None
        np.testing.assert_array_equal(batch.y, rows["y"][:5])
        x = rows["x"].astype(np.float64)
        for row, column in ((0, 0), (3, 80), (84, 1)):
            at_node = x[:, row, column]
            mean = sum(at_node) / 12
            deviation = (sum((at_node - mean) ** 2) / 11) ** 0.5
            for sample in range(5):
                found = batch.x[sample, :, row, column]
                expected = [(at_node[sample] - mean) / (deviation + 1e-5), column / 84, row / 84]
                np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)

    def test_fitting_samples_come_out_with_mean_zero_and_deviation_one(self, rows: Rows) -> None:
        x = DarcyPreprocessing(rows["x"], rows["y"])(rows, None).x[:, 0].astype(np.float64)
        np.testing.assert_allclose(x.mean(0), 0, atol=1e-6)
        varies = rows["x"].std(0) > 0
        np.testing.assert_allclose(x.std(0, ddof=1)[varies], 1, rtol=1e-4)

    def test_output_scale_undoes_the_normalisation_of_targets(self, rows: Rows) -> None:
        scale = DarcyPreprocessing(rows["x"], rows["y"]).output_scale
        assert scale is not None
        y = rows["y"].astype(np.float64)
        normalised = (y - y.mean(0)) / (y.std(0, ddof=1) + 1e-5)
        output = normalised[:, None].astype(np.float32)  # (n, 1, 85, 85), as a network gives it
        np.testing.assert_allclose((output * scale.scale + scale.shift)[:, 0], rows["y"], rtol=1e-4, atol=1e-7)
        # whatever the network says, the boundary stays near the zero that it always was
        assert np.abs(np.full((1, 1, 85, 85), 5.0) * scale.scale + scale.shift)[0, 0, 0].max() < 1e-4

    def test_a_node_that_never_varied_does_not_blow_up(self, rows: Rows) -> None:
        x = rows["x"].copy()
        x[:, 10, 10] = 3
        batch = DarcyPreprocessing(x, rows["y"])({"x": np.full((1, 85, 85), 12, np.float32), "y": rows["y"][:1]}, None)
        assert batch.x[0, 0, 10, 10] == 9
        assert np.abs(batch.x).max() <= 9

    def test_statistics_are_exact_for_many_samples(self) -> None:
        # single precision would lose the deviation behind a large mean
        rng = np.random.default_rng(0)
        y = (1000 + rng.normal(0, 0.01, (500, 85, 85))).astype(np.float32)
        scale = DarcyPreprocessing(y, y).output_scale
        assert scale is not None
        np.testing.assert_allclose(scale.scale, y.astype(np.float64).std(0, ddof=1) + 1e-5, rtol=1e-6)

    def test_rows_are_neither_changed_nor_shared_in_order(self, rows: Rows) -> None:
        preprocessing = DarcyPreprocessing(rows["x"], rows["y"])
        before = rows["x"].copy()
        order = np.random.default_rng(1).permutation(12)
        plain = preprocessing(rows, None)
        shuffled = preprocessing({k: v[order] for k, v in rows.items()}, np.random.default_rng(2))
        np.testing.assert_array_equal(shuffled.x, plain.x[order])
        np.testing.assert_array_equal(shuffled.y, plain.y[order])
        np.testing.assert_array_equal(rows["x"], before)

    def test_one_sample_is_too_few(self, rows: Rows) -> None:
        with pytest.raises(UserError, match="at least two samples to fit on, got 1"):
            DarcyPreprocessing(rows["x"][:1], rows["y"][:1])


class TestSynthetic:
    def test_the_twin_solves_the_equation_on_the_grid_that_is_read(self, tmp_path: Path) -> None:
        write_synthetic(tmp_path, 0)
        assert {path.name for path in tmp_path.iterdir()} == {FIRST, SECOND}
        rows = all_rows(tmp_path)
        assert {split: len(part["id"]) for split, part in rows.items()} == {"train": 36, "validation": 4, "test": 10}
        x, y = rows["test"]["x"], rows["test"]["y"]
        assert set(np.unique(x)) == {3, 12}
        for index in range(3):
            expected = solve(x[index]).values
            assert np.abs(y[index] - expected).max() < 1e-6 * expected.max()
        whole = read_mat(tmp_path / SECOND, "sol")
        assert whole.shape == (10, 421, 421) and whole.dtype == np.float32
        # between the nodes, too, nothing leaves the range of the neighbours
        assert whole.min() == 0 and whole.max() == y.max()

    def test_the_seed_is_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(darcy_generate, "SYNTHETIC_SAMPLES", (3, 1))
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            write_synthetic(tmp_path / name, seed)
        a, b, c = ((tmp_path / name / FIRST).read_bytes() for name in "abc")
        assert a == b != c


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated distribution that nothing interrupted; not to be changed."""
    folder = tmp_path_factory.mktemp("made") / "raw"
    generate(folder, *COUNTS, 0, silent, workers=1)
    return folder


class TestGeneration:
    def test_the_files_are_the_official_ones(self, made: Path) -> None:
        assert {path.name for path in made.iterdir()} == {FIRST, SECOND, "generated.json"}
        # MATLAB's version word, and the axes in reverse as HDF5 sees them
        assert (made / FIRST).read_bytes()[:10] == b"MATLAB 7.3" and (made / FIRST).read_bytes()[124:128] == b"\0\2IM"
        with h5py.File(made / FIRST) as file:
            assert {key: (data.shape, data.dtype) for key, data in file.items()} == {
                key: ((421, 421, 4), np.dtype("<f4")) for key in ("coeff", "sol")
            }
        assert open_raw(made).n_units == {"train": 3, "validation": 1, "test": 1}

    def test_the_samples_solve_the_equation(self, made: Path) -> None:
        a, u = read_mat(made / FIRST, "coeff"), read_mat(made / FIRST, "sol")
        assert set(np.unique(a)) == {3, 12}
        expected = solve(a[3]).values
        assert np.linalg.norm(u[3] - expected) < 1e-7 * np.linalg.norm(expected)
        assert len({field.tobytes() for field in a}) == 4

    def test_the_recipe_is_pinned(self, made: Path) -> None:
        # when this fails the same seed gives other data: raise RECIPE
        x = read_mat(made / FIRST, "coeff")
        y = read_mat(made / SECOND, "sol")
        assert darcy_generate.RECIPE == 1
        assert int((x == 12).sum()) == 343549
        assert float(y.sum(dtype=np.float64)) == pytest.approx(948.155455, rel=1e-6)

    def test_the_mark_says_how(self, made: Path) -> None:
        generator = open_raw(made).notes["generator"]
        assert generator == json.loads((made / "generated.json").read_text())
        assert generator["seed"] == 0 and generator["samples"] == {FIRST: 4, SECOND: 1} and generator["grid"] == 421
        assert 0 < generator["largest_relative_residual"] <= 1e-8

    def test_neither_processes_nor_their_order_matter(
        self, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(darcy_generate, "_MIN_FOR_POOL", 1)
        steps: list[tuple[int, int]] = []
        generate(tmp_path, *COUNTS, 0, lambda done, total: steps.append((done, total)), workers=2)
        assert steps == [(done, 5) for done in range(1, 6)]
        for name in (FIRST, SECOND, "generated.json"):
            assert (tmp_path / name).read_bytes() == (made / name).read_bytes()

    def test_a_smaller_set_is_the_beginning_of_a_larger(self, made: Path, tmp_path: Path) -> None:
        generate(tmp_path, 3, 1, 0, silent)
        np.testing.assert_array_equal(read_mat(tmp_path / FIRST, "sol"), read_mat(made / FIRST, "sol")[:3])

    def test_killed_and_called_again_it_writes_the_same_bytes(self, made: Path, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from nas360.loaders.darcy_generate import generate; "
            "generate(Path(sys.argv[1]), 4, 1, 0, lambda done, total: print(done, flush=True))"
        )
        with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.1)  # somewhere inside the second sample
            process.send_signal(signal.SIGKILL)
        assert not list(tmp_path.glob("*.mat"))
        with pytest.raises(RawDataError, match="missing"):
            open_raw(tmp_path)
        # a part that the disk spoilt is made again
        part = next(tmp_path.glob(".darcy_flow*/*.npz"))
        part.write_bytes(part.read_bytes()[:1000])
        steps: list[int] = []
        generate(tmp_path, 4, 1, 0, lambda done, total: steps.append(done))
        assert steps[0] >= 1 and steps[-1] == 5
        for name in (FIRST, SECOND, "generated.json"):
            assert (tmp_path / name).read_bytes() == (made / name).read_bytes()
        assert {path.name for path in tmp_path.iterdir()} == {FIRST, SECOND, "generated.json"}

    def test_killed_between_the_files(self, made: Path, tmp_path: Path) -> None:
        for name in (FIRST, "generated.json"):
            (tmp_path / name).write_bytes((made / name).read_bytes())
        generate(tmp_path, *COUNTS, 0, silent)
        assert (tmp_path / SECOND).read_bytes() == (made / SECOND).read_bytes()

    def test_what_is_whole_is_left_alone(self, made: Path) -> None:
        before = (made / FIRST).stat().st_mtime_ns
        steps: list[tuple[int, int]] = []
        generate(made, *COUNTS, 0, lambda done, total: steps.append((done, total)))
        assert steps == [(5, 5)]
        assert (made / FIRST).stat().st_mtime_ns == before

    @pytest.mark.parametrize(("counts", "seed"), [((4, 1), 1), ((5, 1), 0)])
    def test_another_set_is_not_overwritten(self, counts: tuple[int, int], seed: int, made: Path) -> None:
        with pytest.raises(RawDataError, match=r"already holds .*, made with .*'seed': 0.* Choose another folder"):
            generate(made, *counts, seed, silent)

    def test_official_files_are_not_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / FIRST).write_bytes(b"1.6 GB")
        with pytest.raises(RawDataError, match=rf"already holds {FIRST}, which were not generated"):
            generate(tmp_path, *COUNTS, 0, silent)
        assert [path.name for path in tmp_path.iterdir()] == [FIRST]

    @pytest.mark.parametrize(
        ("n_train", "n_test", "seed", "message"),
        [
            (2, 1, 0, "n_train = 2: Darcy Flow uses 3 to 1000"),
            (1001, 1, 0, "n_train = 1001"),
            (3, 0, 0, "n_test = 0: Darcy Flow uses 1 to 100"),
            (3, 101, 0, "n_test = 101"),
            (3, 1, -1, "seed -1: must not be negative"),
        ],
    )
    def test_sizes_out_of_range(self, n_train: int, n_test: int, seed: int, message: str, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=message):
            generate(tmp_path, n_train, n_test, seed, silent)
        assert not list(tmp_path.iterdir())

    def test_a_worker_that_dies_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(darcy_generate, "_MIN_FOR_POOL", 1)
        # an initialiser that fails breaks the pool just as a worker that was killed for memory
        monkeypatch.setattr(workers, "_end_with_parent", sys.exit)
        with pytest.raises(RunError, match=r"ended unexpectedly.*finished samples are kept"):
            generate(tmp_path, *COUNTS, 0, silent, workers=2)
