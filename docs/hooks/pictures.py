"""The pictures of the plots page, drawn by the page's own code, on a light and on a dark background.

Every picture that a block of Python saves as NAME.png follows that block on the page. Pictures are made when the site
is built and are not in the repository.
"""

import re
import tempfile
from contextlib import chdir
from pathlib import Path

import matplotlib.style
from matplotlib import rc_context
from mkdocs.structure.files import File

PAGE = "plots.md"
BLOCK = re.compile(r"```python\n(.*?)```\n", re.DOTALL)
SAVED = re.compile(r'savefig\("([\w-]+)\.png"')
# A style of matplotlib and the colour of the page, with which the plots mix their colours.
STYLES = {"light": ("default", "#ffffff"), "dark": ("dark_background", "#1e2129")}


def on_files(files, config):
    """Draw all pictures and add them to the site."""
    code = "\n".join(BLOCK.findall(files.get_file_from_path(PAGE).content_string))
    for background, (style, colour) in STYLES.items():
        for path, content in drawn(code, style, colour):
            name = f"pictures/{path.stem}-{background}.png"
            files.append(File.generated(config, name, content=content))
    return files


def drawn(code, style, colour):
    """Run the code of the page in an empty folder; return the pictures that it saves."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        rc = {"savefig.dpi": 144, "savefig.facecolor": "auto", "figure.facecolor": colour, "axes.facecolor": colour}
        with matplotlib.style.context(style), rc_context(rc):
            exec(compile(code, PAGE, "exec"), {"__name__": "__main__"})
        return [(path, path.read_bytes()) for path in sorted(Path(folder).glob("*.png"))]


def on_page_markdown(markdown, page, **kwargs):
    """Show after each block of code the pictures that it saves."""
    return BLOCK.sub(with_pictures, markdown) if page.file.src_uri == PAGE else markdown


def with_pictures(block):
    """A block of code and its pictures."""
    shown = [
        f"![{name.replace('-', ' ')}](pictures/{name}-{background}.png#only-{background})"
        for name in SAVED.findall(block[1])
        for background in STYLES
    ]
    return block[0] + "".join(f"\n{picture}" for picture in shown) + "\n"
