import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cpcnn.core.context import Context
from cpcnn.core.errors import CpcnnError, DataError, UsageError
from cpcnn.data.images.preprocess import Preprocessing
from cpcnn.devices import get_device
from cpcnn.preprocessing.image import ImageDataGenerator
from cpcnn.training.input_stage import to_input

Plant = Callable[[Mapping[str, int]], Path]
SMALL: dict[str, Any] = {"target_size": (6, 8)}


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Return a function that writes `count` small colour images into each folder named."""

    def write(folders: Mapping[str, int]) -> Path:
        random = np.random.default_rng(0)
        for name, count in folders.items():
            folder = tmp_path / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = random.integers(0, 256, (9, 7, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:03}.png")
        return tmp_path

    return write


def read(path: str | Path, size: tuple[int, int] = (6, 8)) -> np.ndarray:
    """Decode and resize by Pillow alone, as Keras does by default."""
    image = Image.open(path).convert("RGB")
    return np.asarray(image.resize(size[::-1], Image.Resampling.NEAREST), np.float32)


def test_a_folder_as_keras_shows_it(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    root = plant({"cat": 3, "ant/deep": 2, "bee": 4})
    data = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        str(root), target_size=(6, 8), batch_size=4, shuffle=False
    )
    assert capsys.readouterr().out == "Found 9 images belonging to 3 classes.\n"
    assert (data.n, data.samples, data.num_classes, len(data)) == (9, 9, 3, 3)
    assert data.class_indices == {"ant": 0, "bee": 1, "cat": 2}
    np.testing.assert_array_equal(data.classes, [0, 0, 1, 1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(data.labels, data.classes)
    assert data.filenames[:3] == ["ant/deep/000.png", "ant/deep/001.png", "bee/000.png"]
    assert data.filepaths == [str(root / name) for name in data.filenames]
    assert (data.image_shape, data.target_size) == ((6, 8, 3), (6, 8))
    assert (data.batch_size, data.class_mode, data.shuffle) == (4, "categorical", False)
    assert data.directory == root
    x, y = data[1]
    np.testing.assert_allclose(x, [read(path) / 255 for path in data.filepaths[4:8]], atol=1e-6)
    np.testing.assert_array_equal(y, np.eye(3)[data.classes[4:8]])
    assert x.dtype == y.dtype == np.float32
    assert data.dataset.classes == ("ant", "bee", "cat")


@pytest.mark.parametrize("folders", [{"a": 3, "b": 2}, {"a": 1, "b": 1, "c": 3}])
def test_class_modes(plant: Plant, folders: dict[str, int]) -> None:
    root, count = plant(folders), len(folders)

    def first(class_mode: str | None) -> Any:
        return ImageDataGenerator().flow_from_directory(
            root, class_mode=class_mode, shuffle=False, **SMALL
        )[0]

    labels = np.repeat(np.arange(count), list(folders.values()))
    np.testing.assert_array_equal(first("categorical")[1], np.eye(count)[labels])
    np.testing.assert_array_equal(first("sparse")[1], labels)
    x, y = first("input")
    np.testing.assert_array_equal(x, y)
    assert not np.shares_memory(x, y)
    np.testing.assert_array_equal(first(None), x)
    if count == 2:
        np.testing.assert_array_equal(first("binary")[1], labels)
        assert first("binary")[1].dtype == np.float32
    else:
        with pytest.raises(UsageError, match="'binary' takes 2 classes; found 3: a, b, c"):
            first("binary")


def test_classes_restrict_and_order(plant: Plant) -> None:
    root = plant({"a": 2, "test": 3, "c": 1})
    data = ImageDataGenerator().flow_from_directory(
        root, classes=["test", "a"], shuffle=False, **SMALL
    )
    assert data.class_indices == {"test": 0, "a": 1}
    np.testing.assert_array_equal(data.classes, [0, 0, 0, 1, 1])
    alone = ImageDataGenerator().flow_from_directory(
        root, classes=["test"], class_mode=None, shuffle=False, **SMALL
    )
    np.testing.assert_array_equal(alone[0], data[0][0][:3])


def test_both_forms_give_the_same_files(plant: Plant) -> None:
    root = plant({"a": 5, "b": 4})
    options: dict[str, Any] = {"shear_range": 0.2, "zoom_range": 0.2, "horizontal_flip": True}
    generator = ImageDataGenerator(rescale=1 / 255, **options)
    data = generator.flow_from_directory(root, batch_size=4, seed=2, **SMALL)
    ctx = Context(get_device("numpy"))
    for epoch in range(2):
        for batch in data.epoch(epoch):
            x, y = next(data)
            np.testing.assert_allclose(to_input(ctx, batch, None), x, atol=1e-5)
            np.testing.assert_array_equal(batch.labels, y.argmax(axis=1))
            assert batch.images.dtype == np.uint8


def test_the_split_is_the_files_own(plant: Plant) -> None:
    root = plant({"a": 20, "b": 30})
    generator = ImageDataGenerator(validation_split=0.3)

    def names(subset: str) -> set[str]:
        return set(generator.flow_from_directory(root, subset=subset, **SMALL).filenames)

    train, validation = names("training"), names("validation")
    assert not train & validation
    assert len(train | validation) == 50
    assert 5 <= len(validation) <= 25
    assert set(Counter(name[0] for name in validation)) == {"a", "b"}
    shutil.copy(root / "a" / "000.png", root / "a" / "new.png")
    assert names("validation") - {"a/new.png"} == validation


def test_bad_files_are_named_and_left_out(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    root = plant({"a": 3, "b": 2})
    (root / "a" / "000.png").write_bytes(b"")
    (root / "b" / "001.png").write_text("hello")
    with pytest.warns(UserWarning, match=r"2 of 5 files cannot .*a/000.png.*; .*b/001.png") as said:
        data = ImageDataGenerator().flow_from_directory(root, shuffle=False, **SMALL)
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    assert data.filenames == ["a/001.png", "a/002.png", "b/000.png"]
    np.testing.assert_array_equal(data.classes, [0, 0, 1])
    np.testing.assert_array_equal(data[0][0], [read(path) for path in data.filepaths])
    assert capsys.readouterr().out.startswith("Found 3 images belonging to 2 classes.")


def test_many_bad_files_are_not_all_named(plant: Plant) -> None:
    root = plant({"a": 1, "b": 9})
    for number in range(8):
        (root / "b" / f"{number:03}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"8 of 10 files .*; and 3 more\.$"):
        ImageDataGenerator().flow_from_directory(root, **SMALL)


def test_links_to_folders_are_followed_if_asked(plant: Plant, tmp_path: Path) -> None:
    root = plant({"set/a": 1, "set/b": 2, "elsewhere": 3}) / "set"
    (root / "a" / "more").symlink_to(tmp_path / "elsewhere")
    for follow, count in [(False, 3), (True, 6)]:
        data = ImageDataGenerator().flow_from_directory(root, follow_links=follow, **SMALL)
        assert data.n == count


def test_sizes_colours_and_resampling(plant: Plant) -> None:
    root = plant({"a": 1, "b": 1})
    path = root / "a" / "000.png"
    grey = ImageDataGenerator().flow_from_directory(
        root, color_mode="grayscale", shuffle=False, **SMALL
    )
    assert grey.image_shape == (6, 8, 1)
    bicubic = ImageDataGenerator().flow_from_directory(
        root, interpolation="bicubic", shuffle=False, **SMALL
    )
    resized = Image.open(path).resize((8, 6), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(bicubic[0][0][0], np.asarray(resized, np.float32))
    cropped = ImageDataGenerator().flow_from_directory(
        root, target_size=(7, 7), keep_aspect_ratio=True, shuffle=False
    )
    np.testing.assert_array_equal(cropped[0][0][0], read(path, (9, 7))[1:8])


def test_a_shipped_model_reads_files_the_same_way(plant: Plant) -> None:
    root = plant({"a": 2, "b": 2})
    data = ImageDataGenerator(rescale=1 / 255).flow_from_directory(root, shuffle=False, **SMALL)
    preprocessing = Preprocessing.from_config(data.preprocessing)
    pixels = np.stack([preprocessing.load(Path(path)) for path in data.filepaths])
    np.testing.assert_allclose(pixels / preprocessing.std, data[0][0], atol=1e-6)


def test_a_list_of_files(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    root = plant({"x": 4})
    names = [f"{number:03}.png" for number in (2, 0, 3, 1)]
    labels = ["dog", "cat", "dog", "ape"]
    data = ImageDataGenerator().flow_from_list(
        names, labels, root / "x", [0.5, 1.0, 1.5, 2.0], shuffle=False, **SMALL
    )
    assert capsys.readouterr().out == (
        "Found 4 validated image filenames belonging to 3 classes.\n"
    )
    assert data.filenames == names
    assert data.class_indices == {"ape": 0, "cat": 1, "dog": 2}
    x, y, weights = data[0]
    np.testing.assert_array_equal(x, [read(path) for path in data.filepaths])
    np.testing.assert_array_equal(y, np.eye(3)[[2, 1, 2, 0]])
    np.testing.assert_array_equal(weights, [0.5, 1.0, 1.5, 2.0])
    some = ImageDataGenerator().flow_from_list(
        [root / "x" / name for name in names], labels, classes=["dog", "ape"], shuffle=False
    )
    np.testing.assert_array_equal(some.classes, [0, 0, 1])
    assert some.filenames == [str(root / "x" / names[i]) for i in (0, 2, 3)]


def test_a_list_without_labels(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted((plant({"x": 3}) / "x").iterdir())
    data = ImageDataGenerator().flow_from_list(paths, class_mode=None, shuffle=False, **SMALL)
    assert capsys.readouterr().out == "Found 3 validated image filenames.\n"
    np.testing.assert_array_equal(data[0], [read(path) for path in paths])
    assert data.num_classes == 0
    with pytest.raises(UsageError, match="these images have no labels"):
        _ = data.classes


@pytest.mark.parametrize("kind", ["dict", "structured array"])
def test_a_table_of_files(plant: Plant, kind: str) -> None:
    root = plant({"x": 12})
    table: Any = {
        "filename": [f"x/{number:03}.png" for number in range(12)],
        "class": ["ab"[number % 2] for number in range(12)],
        "weight": np.arange(12.0),
    }
    if kind == "structured array":
        rows = list(zip(*table.values(), strict=True))
        table = np.array(rows, [("filename", "U12"), ("class", "U1"), ("weight", "f8")])
    generator = ImageDataGenerator(validation_split=0.25)
    found = []
    for subset in ("training", "validation"):
        data = generator.flow_from_dataframe(
            table, root, weight_col="weight", class_mode="binary", subset=subset, **SMALL
        )
        for name, label, weight in zip(
            data.filenames, data.classes, data.sample_weight, strict=True
        ):
            assert int(name[2:5]) == weight
            assert label == weight % 2
            found.append(name)
    assert sorted(found) == list(table["filename"])


def test_missing_files_in_a_list(plant: Plant) -> None:
    root = plant({"x": 2})
    names = ["000.png", "gone.png", "001.png"]
    with pytest.warns(UserWarning, match=r"1 of 3 files cannot .*gone.png"):
        data = ImageDataGenerator().flow_from_list(
            names, ["a", "b", "b"], root / "x", [1.0, 2.0, 3.0], shuffle=False, **SMALL
        )
    np.testing.assert_array_equal(data[0][2], [1.0, 3.0])
    with pytest.raises(DataError, match=r"(?s)1 of 3 files .*gone.png"):
        ImageDataGenerator().flow_from_list(
            names, ["a", "b", "b"], root / "x", validate_filenames=False
        )


FOLDER_MISTAKES: list[tuple[dict[str, Any], type[CpcnnError], str]] = [
    ({"color_mode": "rgba"}, UsageError, "color_mode must be 'rgb' or 'grayscale'"),
    ({"class_mode": "raw"}, UsageError, "class_mode must be one of 'categorical'"),
    ({"interpolation": "cubic"}, UsageError, "interpolation must be one of nearest"),
    ({"classes": ["a", "z"]}, DataError, "there is no class 'z'; found are: a, b"),
    ({"classes": ["a", "a"]}, UsageError, "classes names one twice: a, a"),
    ({"subset": "training"}, UsageError, "no training subset without a share"),
    ({"target_size": (0, 8)}, UsageError, "height must be a whole number"),
    ({"target_size": 8}, UsageError, r"target_size must be \(height, width\), not 8"),
    ({"target_size": (8, 8, 3)}, UsageError, r"target_size must be \(height, width\)"),
    ({"classes": "ab"}, UsageError, "classes must be a list of names"),
]


@pytest.mark.parametrize(("option", "kind", "message"), FOLDER_MISTAKES)
def test_folder_options_that_cannot_be_meant(
    plant: Plant, option: dict[str, Any], kind: type[CpcnnError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        ImageDataGenerator().flow_from_directory(plant({"a": 1, "b": 1}), **option)


def test_a_folder_of_splits_is_not_taken_for_classes(plant: Plant) -> None:
    root = plant({"train/a": 1, "train/b": 1, "test/a": 1, "test/b": 1})
    with pytest.raises(DataError, match="is split into train and test"):
        ImageDataGenerator().flow_from_directory(root, **SMALL)
    data = ImageDataGenerator().flow_from_directory(root, classes=["test", "train"], **SMALL)
    assert data.num_classes == 2


def test_lists_that_cannot_be_meant(plant: Plant) -> None:
    generator, files = ImageDataGenerator(), sorted((plant({"x": 2}) / "x").iterdir())
    with pytest.raises(UsageError, match="class_mode 'categorical' takes labels"):
        generator.flow_from_list(files)
    with pytest.raises(DataError, match="2 files, but 1 labels and 2 weights"):
        generator.flow_from_list(files, ["a"])
    with pytest.raises(UsageError, match="labels must be strings, the names of classes; found 1"):
        generator.flow_from_list(files, [1, 2])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="files must be paths or names of files; found 1"):
        generator.flow_from_list([1], ["a"])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="the table has no column 'class'"):
        generator.flow_from_dataframe({"filename": files})
    with pytest.raises(DataError, match="there are no images"):
        generator.flow_from_list([], [])
