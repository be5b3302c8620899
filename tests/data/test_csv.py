"""Tables: which columns count, and what a wrong cell is answered with."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests import families
from trainer.config.data import Csv
from trainer.data.examples import Examples
from trainer.data.sources import csv
from trainer.errors import UserError

PATHS = ["a.png", "b.png", "c.png", "d.png"]


@pytest.fixture(autouse=True)
def pictures(workplace: Path) -> None:
    """a.png to d.png in the working directory."""
    for number, path in enumerate(PATHS):
        cv2.imwrite(path, np.full((4, 5, 3), number, np.uint8))


def read(text: str | bytes, **options: Any) -> Examples:
    Path("t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return families.source(lambda: csv.read(Csv(kind="csv", path="t.csv", **options)))


def labels(examples: Examples) -> list[list[str]]:
    return [examples.names_of(index) for index in range(len(examples))]


def problem(text: str | bytes, **options: Any) -> str:
    Path("t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        csv.read(Csv(kind="csv", path="t.csv", **options))
    return str(error.value)


def test_a_table() -> None:
    examples = read("path,label\na.png,dog\nb.png,cat\nc.png,dog\n")
    assert examples.classes == ("cat", "dog")
    assert labels(examples) == [["dog"], ["cat"], ["dog"]]
    assert [examples.pictures.name(i) for i in range(3)] == PATHS[:3]
    assert (examples.sides, examples.groups) == (None, None)


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("path,label", {}),
        ("Filename,Class", {}),
        (" image_path , category ", {}),
        ("picture,what", {"column": "picture", "label": "what"}),
        ("path,label,path2,truth", {"column": "path2", "label": "truth"}),
    ],
)
def test_columns_of_a_usual_or_a_given_name(header: str, options: dict[str, str]) -> None:
    more = ",x" * (header.count(",") - 1)
    rows = ["a.png,dog", "b.png,cat"] if not more else ["x,x,a.png,dog", "x,x,b.png,cat"]
    assert labels(read("\n".join([header, *rows]), **options)) == [["dog"], ["cat"]]


@pytest.mark.parametrize(
    "text",
    [
        "path;label\na.png;dog\nb.png;cat\n",
        "path\tlabel\na.png\tdog\nb.png\tcat\n",
        "\ufeffpath,label\r\na.png,dog\r\n\r\nb.png,cat\r\n",
        'path,label\n"a.png", "dog"\nb.png,"cat"',
    ],
)
def test_separators_marks_quotes_and_empty_lines(text: str) -> None:
    assert labels(read(text)) == [["dog"], ["cat"]]


def test_cells_with_commas_and_line_breaks() -> None:
    Path("a.png").rename("a,\n.png")
    examples = read('path,label\n"a,\n.png","dog, wet"\nb.png,cat\n')
    assert examples.pictures.name(0) == "a,\n.png"
    assert labels(examples) == [["dog, wet"], ["cat"]]


def test_several_labels_in_a_cell() -> None:
    examples = read("path,tags\na.png,sea|sun\nb.png,\nc.png, sea | sea \n", separator="|")
    assert examples.multi_label
    assert labels(examples) == [["sea", "sun"], [], ["sea"]]


def test_columns_of_0_and_1_are_labels() -> None:
    examples = read("Filenames,sun,sea,note\na.png,1,0,x\nb.png,1.0,TRUE,1\nc.png,0,,0\n")
    assert examples.multi_label
    assert examples.classes == ("sea", "sun")
    assert labels(examples) == [["sun"], ["sea", "sun"], []]


def test_named_columns_of_0_and_1() -> None:
    text = "path,label,x,y,z\na.png,q,1,0,1\nb.png,q,0,1,1\n"
    assert labels(read(text, labels=["y", "x"])) == [["x"], ["y"]]


def test_an_empty_column_is_no_label() -> None:
    assert read("path,x,y,note\na.png,1,0,\nb.png,0,1,\n").classes == ("x", "y")


def test_split_and_group() -> None:
    examples = read(
        "path,label,split,group\na.png,x,train,p1\nb.png,y,VAL,p2\nc.png,x,test,p2\nd.png,y,,p1\n"
    )
    assert examples.sides is not None
    assert examples.sides.tolist() == [0, 1, 2, 0]
    assert examples.groups is not None
    assert list(examples.groups) == ["p1", "p2", "p2", "p1"]


def test_split_and_group_of_another_name() -> None:
    text = "path,label,fold,patient\na.png,x,train,p1\nb.png,y,dev,p2\n"
    examples = read(text, split="fold", group="patient")
    assert examples.sides is not None
    assert examples.sides.tolist() == [0, 1]
    assert examples.groups is not None
    assert list(examples.groups) == ["p1", "p2"]


def test_spaces_around_paths_and_groups_do_not_count() -> None:
    examples = read("path,label,group\na.png ,x,p1\n b.png,y, p1 \nc.png,x, \n")
    assert [examples.pictures.name(i) for i in range(3)] == PATHS[:3]
    assert examples.groups is not None
    assert list(examples.groups) == ["p1", "p1", ""]


def test_columns_without_a_1_are_no_classes(capsys: pytest.CaptureFixture[str]) -> None:
    examples = read("path,z,y,x\na.png,1,0,0\nb.png,1,0,1\n")
    assert examples.classes == ("x", "z")
    assert labels(examples) == [["z"], ["x", "z"]]
    assert "warning: t.csv has no picture of 'y', so it is no class\n" in capsys.readouterr().err
    assert problem("path,x,y\na.png,1,0\n") == (
        "data.source: t.csv has 1 class (x)\n  a classifier needs two"
    )


def test_a_path_that_no_file_can_have() -> None:
    pictures = read("path,label\na.png,x\nb.png,y\n").pictures
    assert pictures.stamp(0)[0] > 0
    Path("t.csv").write_text("path,label\na.png,x\nb\0.png,y\n")
    pictures = csv.read(Csv(kind="csv", path="t.csv")).pictures
    assert pictures.stamp(1) == (-1, -1)


def test_paths_start_in_the_folder_of_the_table() -> None:
    Path("deep").mkdir()
    Path("a.png").rename("deep/a.png")
    Path("b.png").rename("deep/b.png")
    examples = read("path,label\na.png,x\nb.png,y\n", folder="deep")
    assert [examples.pictures.name(i) for i in range(2)] == ["a.png", "b.png"]
    assert examples.pictures.place(0) == "deep/a.png"


def test_a_folder_that_was_forgotten() -> None:
    Path("pictures").mkdir()
    for path in PATHS:
        Path(path).rename(Path("pictures") / path)
    text = "path,label\na.png,x\nb.png,y\n"
    assert problem(text) == (
        "data.source.folder: no such file: a.png, nor any other of the first 2 of t.csv\n"
        "  did you mean folder: pictures?"
    )
    assert problem(text.replace("a.png", "z.png").replace("b.png", "y.png")) == (
        "data.source.folder: no such file: z.png, nor any other of the first 2 of t.csv\n"
        "  paths start in the folder of the table; folder: … says where else"
    )


def test_missing_tables_and_columns(workplace: Path) -> None:
    with pytest.raises(UserError) as error:
        csv.read(Csv(kind="csv", path="gone.csv"))
    assert str(error.value) == (
        "data.source.path: gone.csv cannot be read: No such file or directory\n"
        f"  the path is relative to the working directory, {workplace}"
    )
    hint = "\n  write a header such as path,label and one row per picture"
    assert problem("") == f"data.source.path: t.csv has no rows{hint}"
    assert problem("path,label\n") == f"data.source.path: t.csv has no rows{hint}"
    assert problem("name,label\na.png,x\n") == (
        "data.source.column: t.csv has no column of paths; its columns are name, label\n"
        "  name it: column: …"
    )
    assert problem("path,label\na.png,x\n", label="labl") == (
        "data.source.label: t.csv has no column 'labl'\n  did you mean 'label'?"
    )
    assert problem("path,x,y\na.png,1,0\n", labels=["x", "z"]) == (
        "data.source.labels: t.csv has no column 'z'\n  expected one of: path, x, y"
    )
    assert problem("path,x,y\na.png,1,0\n", labels=["x", "x", "y"]) == (
        "data.source.labels: 'x' stands there twice\n  remove one"
    )
    assert problem("path,x,y\na.png,1,0\n", labels=["x"]) == (
        "data.source.labels: expected two 0/1 columns or more, received a list of 1\n"
        "  where a picture has one class, name the column of it: label: …"
    )
    assert problem("path,x,y\na.png,1,b\n") == (
        "data.source.label: t.csv has no label column and only one 0/1 column, 'x': path, x, y\n"
        "  name it: label: …, or labels: […, …]"
    )
    assert problem("path,what\na.png,dog\nb.png,cat\n") == (
        "data.source.label: t.csv has no label column and no 0/1 columns: path, what\n"
        "  name it: label: …, or labels: […, …]"
    )
    assert problem("path,label,label\na.png,x,y\n") == (
        "data.source.path: t.csv has two columns 'label'\n  rename one"
    )


def test_wrong_cells() -> None:
    assert problem("path,label\na.png,x\nb.png\n") == (
        "t.csv:3: data.source: 1 cells, but the header has 2"
    )
    assert problem("path,label\na.png,x\nb.png, \n") == (
        "t.csv:3: data.source.label: no label in column 'label'\n  fill it or remove the row"
    )
    assert problem("path,x,y\na.png,1,0\nb.png,2,0\n", labels=["x", "y"]) == (
        "t.csv:3: data.source.labels: expected 0 or 1 in column 'x', received '2'"
    )
    assert problem("path,label,split\na.png,x,train\nb.png,y,fold1\n") == (
        "t.csv:3: data.source.split: expected train, validation or test, received 'fold1'"
    )
    assert problem("path,label\na.png,x\n,y\n") == (
        "t.csv:3: data.source.column: no path\n  fill it or remove the row"
    )
    assert problem("path,label\na.png,x\nb.png,y\na.png,y\n") == (
        "t.csv:4: data.source: a.png stands here for the second time\n"
        "  one row per picture; several labels stand in one cell with a separator: …"
    )


def test_lines_are_counted_as_an_editor_does() -> None:
    assert problem('path,label\n"a.png","x\ny"\n\nb.png\n').startswith("t.csv:5: ")


def test_too_few_classes_and_other_encodings() -> None:
    assert problem("path,label\na.png,x\nb.png,x\n") == (
        "data.source: t.csv has 1 class (x)\n  a classifier needs two"
    )
    assert problem("path,label\na.png,café\nb.png,x\n".encode("latin-1")) == (
        "data.source.path: t.csv is not UTF-8: a class is called b'caf\\xe9'\n  save it as UTF-8"
    )
    assert problem("path,label\na.png,x\n".encode("utf-16")) == (
        "data.source.path: t.csv is no CSV table in UTF-8\n  save it as one"
    )


def test_a_hot_cell_that_is_wrong_after_the_rows_that_were_looked_at() -> None:
    rows = "".join(f"{number}.png,1,0\n" for number in range(150))
    Path("0.png").touch()
    assert problem(f"path,x,y\n{rows}a.png,yes,0\n") == (
        "t.csv:152: data.source.labels: expected 0 or 1 in column 'x', received 'yes'"
    )
