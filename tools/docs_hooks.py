"""Hooks of mkdocs.yml: makes a page of the API reference for each package in the navigation, and mends links that leave docs."""

import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
SOURCES = "https://github.com/neurosam2/SlicerNeuroSAM2/blob/main/"
LINK = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")
API_PAGE = re.compile(r"api/(.+)\.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the API reference that the navigation names."""
    for page in api_pages(config.nav):
        name = API_PAGE.fullmatch(page)[1]  # type: ignore[index]
        files.append(File.generated(config, page, content=f"# {name}\n\n::: {name}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to files of the repository that are not documentation pages lead to the repository."""
    folder = (Path(config.docs_dir) / page.file.src_uri).parent

    def absolute(match: re.Match[str]) -> str:
        target = (folder / match[1]).resolve()
        if target.is_relative_to(Path(config.docs_dir)) or not target.exists():
            return match[0]
        return f"]({SOURCES}{target.relative_to(ROOT).as_posix()}{match[2] or ''})"

    return LINK.sub(absolute, markdown)


def api_pages(nav: object) -> Iterator[str]:
    """The pages of the API reference in a navigation, however deep."""
    match nav:
        case str() if API_PAGE.fullmatch(nav):
            yield nav
        case list():
            for entry in nav:
                yield from api_pages(entry)
        case dict():
            for entry in nav.values():
                yield from api_pages(entry)
