import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from cpcnn.core.errors import DataError
from cpcnn.data.layouts.folder import scan_folder

Plant = Callable[[dict[str, int]], Path]


def reasons(root: Path, **options: bool) -> dict[str, str]:
    """Scan and return what was ignored, by path relative to the root."""
    ignored = scan_folder(root, **options).ignored
    return {path.relative_to(root).as_posix(): reason for path, reason in ignored}


def refusal(root: Path, **options: bool) -> str:
    with pytest.raises(DataError) as caught:
        scan_folder(root, **options)
    return str(caught.value)


# ---- Layouts that are read ---------------------------------------------------------------------


def test_class_folders(plant: Plant) -> None:
    root = plant({"dog": 2, "cat": 3})
    folder = scan_folder(root)
    assert folder.classes == ("cat", "dog")
    assert list(folder.splits) == ["all"]
    assert folder.count("all") == {"cat": 3, "dog": 2}
    assert folder.ignored == ()
    first = folder.splits["all"][0]
    assert (first.path, first.label) == (root / "cat" / "2.png", "cat")
    assert scan_folder(str(root)) == folder


def test_classes_are_sorted_by_name_not_by_number(plant: Plant) -> None:
    assert scan_folder(plant({"2": 1, "10": 1, "B": 1, "a": 1})).classes == ("10", "2", "B", "a")


@pytest.mark.parametrize("train", ["train", "training", "Train", "TRAINING"])
@pytest.mark.parametrize("validation", ["validation", "valid", "val", "dev", "Val"])
@pytest.mark.parametrize("test", ["test", "testing", "eval", "evaluation", "Test"])
def test_split_folders_under_all_names(
    plant: Plant, train: str, validation: str, test: str
) -> None:
    names = {train: 3, validation: 2, test: 1}
    root = plant({f"{split}/{label}": n for split, n in names.items() for label in ("cat", "dog")})
    folder = scan_folder(root)
    assert {split: len(samples) for split, samples in folder.splits.items()} == {
        "train": 6,
        "validation": 4,
        "test": 2,
    }
    assert folder.classes == ("cat", "dog")


def test_classes_are_the_union_of_the_splits(plant: Plant) -> None:
    root = plant({"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/emu": 1})
    folder = scan_folder(root, training=False)
    assert folder.classes == ("cat", "dog", "emu")
    assert folder.count("test") == {"cat": 1, "dog": 0, "emu": 1}
    message = refusal(root)
    assert "1 class has no image in the train folder to train on: emu." in message
    assert scan_folder(root, allow_empty_classes=True).classes == ("cat", "dog", "emu")


def test_images_are_found_at_any_depth(plant: Plant) -> None:
    root = plant({"cat": 1, "cat/a/b/c": 2, "dog/one": 1, "dog/two": 1})
    folder = scan_folder(root)
    assert folder.count("all") == {"cat": 3, "dog": 2}


def test_extensions_in_any_case(plant: Plant) -> None:
    root = plant({"cat": 2, "dog": 1})
    (root / "cat" / "0.png").rename(root / "cat" / "0.PNG")
    assert scan_folder(root).count("all") == {"cat": 2, "dog": 1}


def test_hidden_entries_and_other_files_are_ignored_and_reported(plant: Plant) -> None:
    root = plant({"cat": 1, "dog": 1, ".git": 1, "__MACOSX": 1, "cat/.ipynb_checkpoints": 1})
    (root / "README.md").touch()
    (root / "cat" / "notes").touch()
    (root / "dog" / "._0.png").touch()
    plant({".": 1})
    assert scan_folder(root).count("all") == {"cat": 1, "dog": 1}
    assert reasons(root) == {
        ".git": "hidden",
        "__MACOSX": "hidden",
        "0.png": "an image outside every class folder",
        "README.md": "not an image (.md)",
        "cat/.ipynb_checkpoints": "hidden",
        "cat/notes": "not an image (no extension)",
        "dog/._0.png": "hidden",
    }


def test_folders_beside_the_splits_are_ignored_and_reported(plant: Plant) -> None:
    root = plant({"train/cat": 1, "train/dog": 1, "train": 1, "originals": 3, "docs/x": 0})
    assert reasons(root) == {
        "originals": "beside the split folders",
        "docs": "beside the split folders",
        "train/2.png": "an image outside every class folder",
    }


def test_train_can_be_a_class(plant: Plant) -> None:
    folder = scan_folder(plant({"bus": 1, "car": 1, "train": 2}))
    assert folder.classes == ("bus", "car", "train")
    assert list(folder.splits) == ["all"]


def test_a_test_folder_without_classes_stops_an_evaluation_only(plant: Plant) -> None:
    root = plant({"train/cat": 1, "train/dog": 1, "test": 3})
    assert list(scan_folder(root).splits) == ["train"]
    assert reasons(root)["test"] == "a test folder without class folders"
    assert "the test folder" in refusal(root, training=False)


def test_an_evaluation_may_have_one_class_and_no_train_folder(plant: Plant) -> None:
    folder = scan_folder(plant({"test/cat": 2}), training=False)
    assert folder.classes == ("cat",)
    assert list(folder.splits) == ["test"]


def test_class_names_are_in_nfc(plant: Plant) -> None:
    root = plant({unicodedata.normalize("NFD", "café"): 1, "thé": 1})
    assert scan_folder(root).classes == ("café", "thé")


# ---- Links ------------------------------------------------------------------------------------


def test_links_are_followed(plant: Plant, tmp_path: Path) -> None:
    plant({"images/cat": 1, "images/dog": 1, "elsewhere/more": 2})
    root = tmp_path / "images"
    (root / "emu").symlink_to(tmp_path / "elsewhere" / "more")
    (root / "cat" / "linked.png").symlink_to(tmp_path / "elsewhere" / "more" / "2.png")
    assert scan_folder(root).count("all") == {"cat": 2, "dog": 1, "emu": 2}


def test_links_in_circles_are_survived(plant: Plant) -> None:
    root = plant({"cat": 1, "cat/more": 1, "dog": 1})
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "self").symlink_to(root / "cat")
    (root / "cat" / "more" / "outside").symlink_to(root.parent)
    (root / "cat" / "other").symlink_to(root / "dog")
    (root / "again").symlink_to(root)
    (root / "a cat").symlink_to(root / "cat")
    (root / "dog" / "broken.png").symlink_to(root / "nowhere.png")
    (root / "dog" / "circle.png").symlink_to(root / "dog" / "circle.png")
    folder = scan_folder(root)
    assert folder.count("all") == {"cat": 2, "dog": 1}
    assert reasons(root) == {
        "a cat": "link to a folder that is read elsewhere",
        "again": "link to a folder that is read elsewhere",
        "cat/more/outside": "link to a folder that is read elsewhere",
        "cat/other": "link to a folder that is read elsewhere",
        "cat/self": "link to a folder that is read elsewhere",
        "cat/up": "link to a folder that is read elsewhere",
        "dog/broken.png": "broken link",
        "dog/circle.png": "broken link",
    }


def test_pipes_are_not_opened(plant: Plant) -> None:
    root = plant({"cat": 1, "dog": 1})
    os.mkfifo(root / "cat" / "pipe.png")
    assert reasons(root) == {"cat/pipe.png": "not a regular file"}


# ---- Layouts that are refused -----------------------------------------------------------------


def test_missing_path(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'} does not exist. Check the path."
    )


def test_path_of_a_file(plant: Plant) -> None:
    root = plant({"cat": 1})
    message = refusal(root / "cat" / "0.png")
    assert "0.png is a file, not a folder of images. Expected one folder per class" in message
    (root / "images.zip").touch()
    assert "Unpack the archive" in refusal(root / "images.zip")


def test_empty_folder(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path} is an empty folder. Expected one folder per class")


def test_no_image_says_what_was_found(tmp_path: Path) -> None:
    for number in range(1312):
        (tmp_path / f"{number}.HEIC").touch()
    (tmp_path / "notes.txt").touch()
    message = refusal(tmp_path)
    assert "found 1,312 .heic files, 1 .txt file, 0 subfolders." in message
    assert ".jpeg .jpg" in message


def test_no_image_in_class_folders(plant: Plant) -> None:
    root = plant({"cat": 0, "dog": 0, ".hidden": 1})
    (root / "cat" / "a.heic").touch()
    assert "found 1 .heic file, 2 subfolders, 1 hidden entry." in refusal(root)


@pytest.mark.parametrize("folders", [{".": 3}, {".": 3, "empty": 0}])
def test_images_without_class_folders(plant: Plant, folders: dict[str, int]) -> None:
    root = plant(folders)
    message = refusal(root)
    assert f"{root} holds 3 images directly, but no class folder with images." in message
    assert f"point at {root.parent}" in message
    assert "directly" in refusal(root, training=False)


def test_one_class(plant: Plant) -> None:
    root = plant({"images/train/cat/indoors": 1})
    message = refusal(root / "images" / "train" / "cat")
    assert "1 class found in" in message
    assert ": indoors. A classifier needs 2 or more." in message
    assert (
        f"If cat is itself one class of several, point at {root / 'images' / 'train'};" in message
    )


def test_one_class_in_a_split(plant: Plant) -> None:
    root = plant({"train/cat": 1, "test/cat": 1})
    assert f"Add a folder for every other class beside {root / 'train' / 'cat'}." in refusal(root)


def test_one_class_that_holds_the_classes(plant: Plant) -> None:
    root = plant({"dataset/cat": 1, "dataset/dog": 1})
    assert f"It holds 2 folders (cat, dog): did you mean {root / 'dataset'}?" in refusal(root)


def test_one_class_that_holds_the_splits(plant: Plant) -> None:
    root = plant({"dataset/train/cat": 1, "dataset/train/dog": 1, "dataset/test/cat": 1})
    assert f"It holds 2 folders (test, train): did you mean {root / 'dataset'}?" in refusal(root)
    assert f"Did you mean {root / 'dataset'}?" in refusal(root, training=False)


def test_empty_classes_are_listed_with_all_counts(plant: Plant) -> None:
    root = plant({"cat": 2, "dog": 0, "emu": 0, "fox": 1})
    message = refusal(root)
    assert "2 classes have no image to train on: dog, emu." in message
    assert "Images per class: cat 2, dog 0, emu 0, fox 1." in message
    folder = scan_folder(root, allow_empty_classes=True)
    assert folder.count("all") == {"cat": 2, "dog": 0, "emu": 0, "fox": 1}
    assert scan_folder(root, training=False).classes == ("cat", "dog", "emu", "fox")


@pytest.mark.parametrize(
    ("folders", "split", "name"),
    [
        ({"train": 2, "val/cat": 1}, "train", "train"),
        ({"train/cat": 1, "train/dog": 1, "val": 2}, "val", "validation"),
        ({"test": 2}, "test", "test"),
    ],
)
def test_split_without_class_folders(
    plant: Plant, folders: dict[str, int], split: str, name: str
) -> None:
    root = plant(folders)
    message = refusal(root)
    assert f"the {name} folder {root / split} holds 2 images and no class folder." in message
    assert f"{root / split}/<class>/" in message


def test_only_a_test_split(plant: Plant) -> None:
    root = plant({"test/cat": 1, "test/dog": 1})
    assert f"{root} has a test folder, but no train folder." in refusal(root)
    plant({"val/cat": 1})
    assert f"{root} has a validation and test folder, but no train folder." in refusal(root)


def test_two_folders_of_one_split(plant: Plant) -> None:
    root = plant({"train/cat": 1, "train/dog": 1, "val/cat": 1, "valid/cat": 1})
    assert "has two validation folders: val and valid." in refusal(root)


def test_split_folders_among_class_folders(plant: Plant) -> None:
    root = plant({"test/cat": 1, "cat": 1, "dog": 1})
    message = refusal(root)
    assert "mixes split folders (test) with other folders that hold images (cat, dog)" in message


def test_classes_that_hold_splits(plant: Plant) -> None:
    root = plant({"cat/train": 1, "cat/test": 1, "dog/train": 1, "dog/test": 1})
    message = refusal(root)
    assert "(cat, dog) hold split folders (test, train)." in message
    assert "train/<class>/ instead of <class>/train/" in message


def test_folders_of_folders_that_may_be_classes(plant: Plant) -> None:
    root = plant({"animals/cat": 1, "animals/dog": 1, "vehicles/car": 1, "vehicles/bus": 1})
    message = refusal(root)
    assert "no image lies in animals, vehicles itself, only deeper" in message
    assert "animals/cat, animals/dog, vehicles/bus, vehicles/car" in message
    folder = scan_folder(root, allow_nested=True)
    assert folder.count("all") == {"animals": 2, "vehicles": 2}


def test_a_folder_in_a_class_that_has_the_name_of_another_class(plant: Plant) -> None:
    root = plant({"cat": 2, "cat/2024/dog": 3, "dog": 1})
    message = refusal(root)
    assert (
        f"the folder {root / 'cat/2024/dog'} lies in class cat and is named like class" in message
    )
    assert "like class dog: 3 images could be of either." in message
    assert scan_folder(root, allow_nested=True).count("all") == {"cat": 5, "dog": 1}


@pytest.mark.parametrize(
    "folders",
    [
        {"cat/2023": 1, "cat/2024": 1, "dog/2024": 1},  # a shared name: groups, not classes
        {"cat/a": 1, "cat/b": 1, "dog/c": 1, "dog": 1},  # an image at the class level
        {"cat/a": 1, "dog/b": 1},  # one folder in each: no two would be merged
        {"cat/cat": 1, "dog/dog": 1, "dog": 1},  # named like their own class
    ],
)
def test_folders_of_folders_that_must_be_groups(plant: Plant, folders: dict[str, int]) -> None:
    assert scan_folder(plant(folders)).classes == ("cat", "dog")


def test_unreadable_folders_are_named(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant({"cat": 1, "dog/locked": 1})
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    message = refusal(root)
    assert f"cannot read the folder {root / 'dog' / 'locked'} (Permission denied)." in message


@pytest.mark.parametrize("name", ["ca\nt", "ca\x1b[31mt", os.fsdecode(b"ca\xfft")])
def test_class_names_no_terminal_can_show(plant: Plant, name: str) -> None:
    message = refusal(plant({name: 1, "dog": 1}))
    assert "control characters or bytes that are not UTF-8" in message
    assert message.isprintable()


def test_two_folders_of_one_name(plant: Plant) -> None:
    root = plant({unicodedata.normalize(form, "café"): 1 for form in ("NFC", "NFD")})
    if len(list(root.iterdir())) == 2:  # some file systems hold them to be one
        assert "two folders are both class 'café'" in refusal(root)


def test_a_path_that_cannot_be_a_path(tmp_path: Path) -> None:
    refusal(tmp_path / ("x" * 5000))
