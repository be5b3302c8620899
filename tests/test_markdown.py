"""What is text in Markdown stays text."""

from trainer.markdown import listed, table, text


def test_text_begins_no_markup_and_ends_no_cell() -> None:
    assert text("a|b *c*\n<d> ~e~ $f$") == r"a\|b \*c\* \<d\> \~e\~ \$f\$"
    assert text("a\udce9") == r"a\\udce9"


def test_numbers_stand_on_the_right() -> None:
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    assert listed(["x", "y"]) == "- x\n- y"
