import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.bad_pages import MAX_FILES, BadPages
from catalog.record import BadFile

PAGE = 'checksum verification failed in file "./base/5/16384", block {}: calculated A1B2 but expected 0'
SEVERAL = [
    *map(PAGE.format, range(5)),
    'further checksum verification failures in file "./base/5/16384" will not be reported',
    'file "./base/5/16384" has a total of 12 checksum verification failures',
    'checksum verification failed in file "./global/1262", block 0: calculated A1B2 but expected 0',
    "13 total checksum verification failures",
]


def told(warnings: list[str]) -> BadPages:
    pages = BadPages()
    for warning in warnings:
        pages.note(warning)
    return pages


def test_one_bad_page_is_counted_and_its_file_named() -> None:
    pages = told([PAGE.format(7)])
    assert (pages.total, pages.files) == (1, (BadFile("base/5/16384", 1),))


def test_the_totals_count_where_the_server_says_them() -> None:
    pages = told(SEVERAL)
    assert (pages.total, pages.files) == (13, (BadFile("base/5/16384", 12), BadFile("global/1262", 1)))


@pytest.mark.parametrize(
    "warning",
    [
        "Prüfsummenüberprüfung fehlgeschlagen in Datei »./base/5/16384«, Block 3: berechnet A1B2, aber erwartet 0",
        "échec de la vérification de somme de contrôle dans le fichier « ./base/5/16384 », bloc 3",
        'la verifica del checksum è fallita nel file "./base/5/16384", blocco 3',
    ],
)
def test_a_server_that_speaks_another_language_names_the_file_too(warning: str) -> None:
    assert told([warning, warning]).files == (BadFile("base/5/16384", 1),)


@pytest.mark.parametrize(
    "warning",
    [
        'skipping special file "./base/socket"',
        "aborting backup due to backend exiting before pg_backup_stop was called",
        'could not stat file or directory "x": gone',
    ],
)
def test_other_warnings_say_nothing_of_pages(warning: str) -> None:
    assert told([warning]).total == 0


def test_a_dying_disk_fills_no_memory() -> None:
    pages = told([PAGE.replace("16384", str(number)).format(0) for number in range(5000)])
    pages.note("5000 total checksum verification failures")
    assert (pages.total, len(pages.files)) == (5000, MAX_FILES)


@given(st.lists(st.text()))
def test_no_warning_is_too_strange(warnings: list[str]) -> None:
    assert told(warnings).total >= 0
