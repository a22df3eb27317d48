"""The notebooks as pages of the site, with the outputs that are stored in them."""

import re

from mkdocs.structure.files import File
from nbconvert import MarkdownExporter

STYLE = re.compile(r"<style scoped>.*?</style>\n", re.DOTALL)  # of the tables of pandas; the site has its own
LINK = re.compile(r"\]\((notebooks/\w+)\.ipynb\)")


def on_files(files, config):
    """Add a page and its pictures for each notebook."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        name = notebook.src_uri.removesuffix(".ipynb")
        exporter = MarkdownExporter()
        text, resources = exporter.from_filename(notebook.abs_src_path, {"output_files_dir": f"{name}-outputs"})
        folder = name.rpartition("/")[0]
        text = STYLE.sub("", text).replace('<table border="1" class="dataframe">', "<table>")
        text = text.replace(f"]({folder}/", "](")
        files.append(File.generated(config, f"{name}.md", content=text))
        for path, picture in resources["outputs"].items():
            files.append(File.generated(config, path, content=picture))
    return files


def on_page_markdown(markdown, page, **kwargs):
    """Link to the pages; in the repository, the same links lead to the notebooks."""
    return LINK.sub(r"](\1.md)", markdown)
