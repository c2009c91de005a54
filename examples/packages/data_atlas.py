"""wideseek-data alone: questions and pages of the bundled world."""

from collections import Counter

from wideseek_data import AtlasData, atlas, load_atlas

if __name__ == "__main__":
    tasks = load_atlas(AtlasData(split="dev", questions=("wide", "qa")))
    print(Counter(task.source for task in tasks).most_common(5))
    page = next(iter(atlas.pages()))
    print(page)
