"""In which order are changed pages taken? Slice by slice over all tables, in passes that end. No I/O."""

from collections.abc import Mapping

from replay.answers import Page
from replay.item_set import ItemSet


class PagePass:
    """A pass over the pages that changed, of all tables. What changes during a pass is left for the next one.

    Draws touch pages everywhere: without passes, slices taken between draws would never come to an end.
    """

    def __init__(self, items: Mapping[str, ItemSet]) -> None:
        self._items = items
        self._begun = False

    def take(self, most: int | None, next_row_number: int) -> list[Page]:
        """At most `most` pages; fewer end the pass."""
        if not self._begun:
            for items in self._items.values():
                items.begin_pages()
        taken: list[Page] = []
        for name, items in self._items.items():
            left = items.pages_left if most is None else most - len(taken)
            taken += [Page(name, number, body) for number, body in items.take_pages(left, next_row_number)]
        self._begun = most is not None and len(taken) == most
        return taken

    def mark_all(self) -> None:
        """The next pass is a whole snapshot."""
        for items in self._items.values():
            items.mark_all_dirty()
