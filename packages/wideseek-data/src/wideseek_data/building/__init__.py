"""The construction of a data set: from sources to task files, a world of pages and a card."""
