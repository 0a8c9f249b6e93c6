"""Maps of folders to outputs that others wrote: read as they state them, or one sentence."""

import itertools

import pytest

from alignmixup.data.label_map import read_label_map

ROWS = [("n2", 5, "tench, Tinca tinca"), ("great owl", 3, ""), ("café", 0, "")]


def read(folder, text, name="map.txt", encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return read_label_map(folder / name)


def test_outputs_that_are_stated_count_whatever_stands_around_them(tmp_path):
    for separator, end, encoding in itertools.product((" ", ",", "\t", ", "), ("\n", "\r\n"), ("utf-8", "utf-8-sig")):
        text = end.join(f"{name}{separator}{output}" for name, output, _ in ROWS)
        assert read(tmp_path, text, encoding=encoding) == {name: output for name, output, _ in ROWS}
    assert read(tmp_path, "n2 5 tench, Tinca tinca\nn1 3 goldfish\n") == {"n2": 5, "n1": 3}
    assert read(tmp_path, '{"n2": 5}', "map.JSON", "utf-8-sig") == {"n2": 5}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("folder,output\ncat,5\ndog,3\n", 1),
        ("cat 5\n\n# dogs\ndog 3\n", 3),
        ("cat 5\ndog 3\nbird\n", 3),
        ("WNID ID name\ncat 5 tench\ndog 3 goldfish\n", 1),
    ],
)
def test_lines_are_no_order_where_some_of_them_state_outputs(tmp_path, text, line):
    """A header is no class; a class without an output has none."""
    found, silent = read(tmp_path, text), text.splitlines()[line - 1]
    assert found.outputs(["dog", "cat"]) == [3, 5]
    with pytest.raises(ValueError, match=rf"map.txt, line {line}: .* has no output where other lines have one: write"):
        found.outputs([silent, "cat"])
    with pytest.raises(ValueError, match=rf"map.txt, line {line}: .* has no output where other lines have one: write"):
        found.outputs([silent])


NAMES = [
    "boeing 737",
    "boeing 747",
    "cessna",
    "Acura TL Sedan 2012",
    "class 1",
    "a, b 2",
    "3",
    "tench 4 x",
    "great owl",
]


def test_a_list_of_names_is_one_whatever_they_end_in(tmp_path):
    """The folders tell: with those of the lines it is a list, with those before the numbers it is a map."""
    for names in itertools.permutations(NAMES, 3):
        found = read(tmp_path, "\n".join(names))
        assert found.outputs(names) == [0, 1, 2], names
        with pytest.raises(ValueError, match="lacks 1 of 4 folders: other"):
            found.outputs([*names, "other"])
        pairs = read(tmp_path, "".join(f"{name} {output}\n" for name, output in zip(names, (7, 0, 5), strict=True)))
        wanted = [name.replace(", ", " ") for name in names]
        assert pairs.outputs(wanted[::-1]) == [5, 0, 7], names


def test_what_can_be_read_in_two_ways_of_the_same_folders_is_refused(tmp_path):
    found = read(tmp_path, "a 1 2\na 5\n")
    assert found.outputs(["a 1", "a"]) == [2, 5]
    with pytest.raises(ValueError, match=r"map.txt may say output 1 or 5 of a: write a JSON file"):
        found.outputs(["a"])


@pytest.mark.parametrize("text", ["cat 5.0\ndog 3.0\n", "cat -1\ndog 3\n", "cat 5.0 tabby\ndog 3.0 pug\n"])
def test_outputs_that_are_no_whole_numbers_are_refused(tmp_path, text):
    with pytest.raises(ValueError, match="expected FOLDER and OUTPUT, a whole number from 0 on, got 'cat': '"):
        read(tmp_path, text).outputs(["cat", "dog"])


def test_a_folder_that_is_named_twice_is_refused_in_every_form(tmp_path):
    for name, text in (("a.json", '{"cat": 5, "cat": 3}'), ("a.json", '["cat", "cat"]'), ("a.txt", "cat 5\ncat 3\n")):
        with pytest.raises(ValueError, match="names cat twice, as output"):
            read(tmp_path, text, name).outputs(["cat"])


@pytest.mark.parametrize("encoding", ["utf-16", "latin1"])
def test_other_encodings_are_named(tmp_path, encoding):
    with pytest.raises(ValueError, match=r"map.txt is not a text file .UTF-8.: "):
        read(tmp_path, "café 1\n", encoding=encoding)
