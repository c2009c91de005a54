"""Models that turn text into dense vectors, behind one method."""
