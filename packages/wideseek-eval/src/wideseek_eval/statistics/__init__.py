"""Numbers out of results: means with intervals, summaries, breakdowns, comparisons."""
