"""Where on a page do results stand? Between two marks; everything around them is written by hand and stays."""

from pathlib import Path


def write_between(page: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between the two marks. A page that lacks one of them stays as it is."""
    before, begun, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if begun and ended:
        page.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")
