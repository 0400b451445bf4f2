"""What is installed is ours, complete, and says nothing about the machine it was written on."""

import importlib
import importlib.metadata
import re
import subprocess
import tomllib

import pytest
from support.modules import PACKAGES, ROOT

import walstream

# In two halves, so that this file does not hold what it looks for.
HOSTS = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "deb.deb" + "ian.org"]
PLACES = ["/wo" + "rk/", "/tmp" + "/ws", "/opt" + "/pypi", "/opt" + "/wheels"]


def tracked_files():
    """Every file of the repository and none that was made; skips where there is no repository."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True)
    if listed.returncode != 0:
        pytest.skip(f"no git repository here: {listed.stderr.decode().strip()}")
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_the_one_of_this_checkout(package):
    assert importlib.import_module(package).__file__ == str(ROOT / package / "__init__.py")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_is_typed(package):
    assert (ROOT / package / "py.typed").exists()


def test_the_version_is_a_version_and_is_written_once():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", walstream.__version__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]


def test_the_changelog_begins_with_this_version():
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first[1] == walstream.__version__


def test_what_is_installed_has_the_version_of_this_checkout():
    try:
        installed = importlib.metadata.version("walstream")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed: the tests run from the checkout")
    assert installed == walstream.__version__


def test_no_file_names_a_registry_or_a_place_on_our_machines():
    pattern = re.compile("|".join(map(re.escape, HOSTS + PLACES)).encode())
    named = [str(path.relative_to(ROOT)) for path in tracked_files() if pattern.search(path.read_bytes())]
    assert named == []


@pytest.mark.parametrize("lock", ["requirements.lock", "tests/servers/package-lock.json"])
def test_a_lock_holds_checksums_and_no_address(lock):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index-url" not in text and "--find-links" not in text
    assert re.search("sha256:|sha512-", text)
