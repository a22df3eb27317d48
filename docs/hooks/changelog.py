"""The changelog as a page of the site: CHANGELOG.md of the repository."""

from pathlib import Path

from mkdocs.structure.files import File


def on_files(files, config):
    """Add the page; links to docs/ become links between pages."""
    text = (Path(config.config_file_path).parent / "CHANGELOG.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "changelog.md", content=text.replace("](docs/", "](")))
    return files
