import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = runpy.run_path(str(DOCS / "generate.py"))["pages"]()


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_would_be_generated_now(name):
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name], "run: python docs/generate.py"
