"""The site that `make docs` builds. Skipped where its tools are not installed (the extra `docs`)."""

import os
import re
import runpy
import subprocess
import sys

import pytest

import nbsoftmax as nbs
from tests.conftest import REPOSITORY

LOADED = re.compile(r"<(?:script|img|iframe)[^>]* src=[\"']?https?:|<link[^>]* href=[\"']?https?:")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for package in ("material", "nbconvert"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_formula_that_cannot_be_typeset_is_named():
    pytest.importorskip("latex2mathml")
    pytest.importorskip("mkdocs")
    typeset = runpy.run_path(str(REPOSITORY / "docs" / "hooks" / "mathml.py"))["on_page_content"]
    assert "<mfrac>" in typeset(r'<span class="arithmatex">\(\frac{a}{b} &lt; 1\)</span>')
    from mkdocs.exceptions import PluginError

    for wrong in (r"\norm{a}", r"\begin{aligned} a &amp;= b \end{aligned}"):
        with pytest.raises(PluginError, match="does not know a command"):
            typeset(rf'<div class="arithmatex">\[{wrong}\]</div>')


@pytest.mark.slow
def test_pages_load_nothing_from_other_servers(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        assert not LOADED.search(page.read_text(encoding="utf-8")), page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import|url\(.?https?:", sheet.read_text(encoding="utf-8")), sheet.name


@pytest.mark.slow
def test_every_picture_of_a_page_exists_on_both_backgrounds(site):
    page = (site / "plots.html").read_text(encoding="utf-8")
    shown = re.findall(r'src="(pictures/[\w-]+\.png)#only-(light|dark)"', page)
    assert len(shown) >= 14
    for name, background in shown:
        assert name.endswith(f"-{background}.png")
        assert (site / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_formulas_are_typeset_and_every_public_name_has_an_anchor(site):
    page = (site / "mathematics.html").read_text(encoding="utf-8")
    assert page.count("<math") > 50
    assert 'class="arithmatex"' not in page
    reference = "".join(path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html"))
    modules = {"callbacks", "data", "plots", "testing"}
    for name in set(nbs.__all__) - modules:
        assert f'id="nbsoftmax.{name}"' in reference, name
    for method in ("predict", "score"):  # inherited from a class that is not public
        assert f'id="nbsoftmax.SoftmaxRegression.{method}"' in reference


@pytest.mark.slow
def test_notebooks_are_pages_with_their_pictures(site):
    names = [path.stem for path in (REPOSITORY / "docs" / "notebooks").glob("*.ipynb")]
    index = (site / "index.html").read_text(encoding="utf-8")
    for name in names:
        assert f'href="notebooks/{name}.html"' in index
        page = (site / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
        assert "<style scoped" not in page
        for picture in re.findall(rf'src="({name}-outputs/\w+\.png)"', page):
            assert (site / "notebooks" / picture).read_bytes().startswith(b"\x89PNG")
    assert list(site.glob("notebooks/digits-outputs/*.png"))
