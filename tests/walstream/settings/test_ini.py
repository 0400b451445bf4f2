from hypothesis import given
from hypothesis import strategies as st

from walstream.settings.ini import Document


def read(text: str) -> Document:
    document = Document()
    document.read(text, "file")
    return document


def problems(text: str) -> list[str]:
    document = read(text)
    return [
        str(p) for p in [*document.problems, *(p for s in document.sections.values() for p in s.problems)]
    ]


def test_a_line_keeps_its_file_number_and_value():
    line = read("# comment\n[main]\n; comment\n\nslot_name = a_b\n").sections["main"].lines[0]
    assert (line.place, line.option, line.value) == ("file, line 5", "slot_name", "a_b")


def test_a_percent_sign_is_a_character_like_any_other():
    assert (
        read("[a]\nconninfo = postgres://u:p%2F@h/%").sections["a"].lines[0].value == "postgres://u:p%2F@h/%"
    )


def test_interpolation_is_refused_because_it_would_not_be_done():
    assert "%(name)s" in problems("[a]\nx = %(home)s/b")[0]


def test_quotes_around_a_whole_value_are_taken_off_once():
    section = read("[a]\nx = \"'one'\"\ny = 'a' b='c'\nz = '").sections["a"]
    assert [line.value for line in section.lines] == ["'one'", "a' b='c", "'"]


def test_a_continuation_line_is_refused_and_leaves_its_option_in_doubt():
    document = read("[a]\nconninfo = host=x\n   password=secret\n")
    assert "conninfo" in document.sections["a"].doubtful
    assert "line 3" in str(document.sections["a"].problems[0])
    assert "secret" not in str(document.sections["a"].problems[0])


def test_lines_indented_alike_are_not_continuations():
    assert problems("[a]\n  x = 1\n  y = 2\n[b]\n    z = 1\n") == []


def test_an_option_set_twice_names_both_lines():
    assert problems("[a]\nx = 1\n\nx = 2") == ["file, line 4: 'x' in [a] is already set in file, line 2"]


def test_two_different_values_leave_an_option_in_doubt_and_two_equal_ones_do_not():
    section = read("[a]\nx = 1\nx = 2\ny = 1\ny = 1").sections["a"]
    assert (list(section.doubtful), len(section.problems)) == (["x"], 2)


def test_a_section_may_be_spread_over_files():
    document = read("[a]\nx = 1")
    document.read("[a]\ny = 2", "other")
    assert [line.place for line in document.sections["a"].lines] == ["file, line 2", "other, line 2"]


def test_lines_under_a_broken_header_do_not_fall_to_the_section_above():
    document = read("[a]\nx = 1\n[b\ny = 2")
    assert [line.option for line in document.sections["a"].lines] == ["x"]
    assert len(document.problems) == 2


def test_a_line_without_an_option_is_a_problem_that_does_not_repeat_it():
    found = problems("[a]\nconninfo host=x password=secret")
    assert "line 2" in found[0]
    assert "secret" not in found[0]


def test_a_byte_order_mark_and_carriage_returns_are_harmless():
    assert read("\ufeff[a]\r\nx = 1\r\n").sections["a"].lines[0].value == "1"


@given(st.text(st.sampled_from("[]=#;ab \t\n'\"%()s\x00\udc80é"), max_size=200))
def test_no_text_raises(text):
    read(text)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9_]+", fullmatch=True), st.from_regex(r"[!-~]*[!#$&(-~]", fullmatch=True)
    )
)
def test_what_is_written_as_option_and_value_is_read_back(pairs):
    document = read("[s]\n" + "".join(f"{option} = {value}\n" for option, value in pairs.items()))
    assert {line.option: line.value for line in document.sections["s"].lines} == pairs
