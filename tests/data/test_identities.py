"""Who is in the pictures: by folders, by folders at the top, by a list, or unknown."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from faceshifter_jax.data import PreparedDataset
from faceshifter_jax.data.preparation.identities import assign_identities, doubt_folders
from faceshifter_jax.data.preparation.prepare import prepare_folder
from faceshifter_jax.errors import UserError
from faceshifter_jax.media.folders import PictureFile, read_folder

NAMES = ("ann/clip1/1.png", "ann/clip2/1.png", "bob/clip1/1.png", "top.png")
FILES = [PictureFile(name.rpartition("/")[0], name) for name in NAMES]


def persons(how):
    return [file.identity for file in assign_identities(FILES, str(how))]


def test_folders_top_and_none():
    assert persons("folders") == ["ann/clip1", "ann/clip2", "bob/clip1", ""]
    assert persons("top") == ["ann", "ann", "bob", ""]
    assert persons("none") == [""] * 4
    assert [file.name for file in assign_identities(FILES, "top")] == list(NAMES)


@pytest.mark.parametrize("between", [" ", "\t", ",", ", ", "   "])
def test_a_list_names_persons_of_pictures(tmp_path, between):
    lines = [("ann/clip1/1.png", "7"), ("ann\\clip2\\1.png", "7"), ("bob/clip1/1.png", "12")]
    lines += [("top.png", "3"), ("other file.png", "9")]
    listed = tmp_path / "list.txt"
    listed.write_text("\ufeff" + "\r\n".join(between.join(line) for line in lines) + "\r\n\r\n")
    assert persons(listed) == ["7", "7", "12", "3"]


def test_a_list_by_file_names_alone_as_celeba_has_it(tmp_path):
    listed = tmp_path / "identity_CelebA.txt"
    listed.write_text("000001.jpg 2880\n000002.jpg 2937\n")
    files = [PictureFile("img", f"img/{number:06d}.jpg") for number in (1, 2)]
    assert [f.identity for f in assign_identities(files, str(listed))] == ["2880", "2937"]
    files.append(PictureFile("img", "img/000003.jpg"))
    with pytest.raises(UserError, match=r"does not say who is in img/000003\.jpg: each line"):
        assign_identities(files, str(listed))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read .*No such file.*--identities takes folders, top, none or a file"),
        ("alone\n", r"line 1 is not a picture's name and its person: 'alone'"),
        ("a.png 1\n,b\n", r"line 2 is not"),
        ("", r"does not say who is in ann/clip1/1\.png and 3 more"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, content, message):
    listed = tmp_path / "list.txt"
    if content is not None:
        listed.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        persons(listed)
    assert "\n" not in str(caught.value)


def test_folders_numbered_in_thousands_are_doubted():
    def doubt(*names):
        return doubt_folders([PictureFile(name, f"{name}/1.png") for name in names])

    assert "--identities none" in doubt("00000", "01000", "69000")
    assert doubt("0000045", "0000099") is None
    assert doubt("01000", "ann") is None
    assert doubt("01000") is None
    assert doubt("n000001", "n001000") is None
    # Numbered by something else than thousands: it is the pictures' numbers that tell.
    through = [PictureFile(f"0000{i // 3}", f"0000{i // 3}/{i:05}.png") for i in range(9)]
    assert "numbered (00000, 00001, 00002)" in (doubt_folders(through) or "")
    again = [PictureFile(f"0000{i // 3}", f"0000{i // 3}/{i % 3:03}.jpg") for i in range(9)]
    assert doubt_folders(again) is None


def test_foreign_folders_are_passed_and_windows_names_have_folders(tmp_path):
    for name in ("ann/1.png", "@eaDir/1.png", "ann/@eaDir/2.png", "__MACOSX/ann/._1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    for name in (
        "bob\\2.png",
        "__MACOSX\\bob\\._2.png",
        "bob\\.3.png",
        ".old/4.png",
        "ann/._1.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name, format="PNG")
    found = read_folder(tmp_path)
    assert found.pictures == [PictureFile("ann", "ann/1.png"), PictureFile("bob", "bob\\2.png")]
    assert found.note() == (
        "skipped, hidden: __MACOSX\\bob\\._2.png, ann/._1.png, bob\\.3.png; "
        "not looked into: .old, @eaDir, __MACOSX, ann/@eaDir"
    )
    listed = tmp_path / "list.txt"
    listed.write_text("ann/1.png A\nbob\\2.png B\n")
    assert [file.identity for file in assign_identities(found.pictures, str(listed))] == ["A", "B"]
    with pytest.raises(UserError, match="is an address"):
        assign_identities(found.pictures, "gs://bucket/list.txt")


def test_the_command_line_to_the_dataset(tmp_path):
    for number, name in enumerate(NAMES):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40, 3), 50 * number, np.uint8)).save(
            tmp_path / "photos" / name
        )
    command = [sys.executable, "-m", "faceshifter_jax", "prepare", "photos", "out", "--size=32"]
    done = subprocess.run(
        [*command, "--identities=top", "--num-workers=1"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert PreparedDataset(tmp_path / "out").metadata["identity_names"] == ["ann", "bob"]
    none = prepare_folder(
        tmp_path / "photos", tmp_path / "none", size=32, identities="none", num_workers=1
    )
    assert set(PreparedDataset(none).metadata["identities"]) == {-1}
