"""Make up web views of a news site: which client looked at which article, and for how many seconds.

Each client likes two topics. The script writes three files into the current folder. The same seed gives the
same files.

- views.csv: clientId, contentId, seconds. Each line is one event. The lines have no order, and a pair occurs
  as often as the client looked at the article.
- contents.csv: contentId, title, topic.
- clients.csv: clientId and the two topics that the client likes. You need it only to judge the result.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

TOPICS = {
    "sport": ("derby", "marathon", "transfer", "relay", "penalty", "coach"),
    "politics": ("coalition", "budget", "ballot", "minister", "treaty", "reform"),
    "culture": ("premiere", "sculpture", "novel", "festival", "gallery", "quartet"),
    "science": ("comet", "genome", "reactor", "fossil", "vaccine", "telescope"),
    "business": ("merger", "harvest", "exports", "start-up", "wages", "railway"),
    "travel": ("island", "night train", "mountain hut", "harbour", "pilgrimage", "lagoon"),
    "food": ("sourdough", "chanterelles", "street kitchen", "olive oil", "vineyard", "dumplings"),
    "technology": ("browser", "battery", "robot", "satellite", "password", "keyboard"),
}
FORMS = ("The {} nobody expected", "What the {} leaves behind", "One more {}", "A {} in ten pictures")
# Most views are of a topic that the client likes, and last for minutes. The others end in seconds. Both have
# a long tail: a tab that stays open counts for hours.
LIKED_SHARE, LIKED_SECONDS, OTHER_SECONDS, SPREAD = 0.75, 70.0, 8.0, 1.1
AGAIN = 0.25
LONGEST = 6 * 3600


def main() -> None:
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--contents", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)  # noqa: S311 - made-up data need no secrecy
    contents = make_contents(rng, options.contents)
    clients = {f"{rng.getrandbits(48):012x}": rng.sample(list(TOPICS), 2) for _ in range(options.clients)}
    views = [view for client, liked in clients.items() for view in make_views(rng, client, liked, contents)]
    rng.shuffle(views)
    write("views.csv", ("clientId", "contentId", "seconds"), views)
    write("contents.csv", ("contentId", "title", "topic"), contents)
    write("clients.csv", ("clientId", "first", "second"), ((key, *liked) for key, liked in clients.items()))
    print(f"{len(views):,} views of {len(contents):,} contents by {len(clients):,} clients in views.csv")


def make_contents(rng: random.Random, n: int) -> list[tuple[str, str, str]]:
    """Return id, title and topic of each content. Topics take turns."""
    topics = itertools.islice(itertools.cycle(TOPICS), n)
    return [
        (
            f"article-{at:04d}",
            f"{topic.title()}: {rng.choice(FORMS).format(rng.choice(TOPICS[topic]))}",
            topic,
        )
        for at, topic in enumerate(topics)
    ]


def make_views(
    rng: random.Random, client: str, liked: Sequence[str], contents: Sequence[tuple[str, str, str]]
) -> list[tuple[str, str, int]]:
    """Return the views of one client. Most clients have few views, and some have many."""
    views: list[tuple[str, str, int]] = []
    n_topics = len(TOPICS)
    names = list(TOPICS)
    for _ in range(max(5, min(300, round(rng.lognormvariate(2.8, 0.8))))):
        if views and rng.random() < AGAIN:
            content = rng.choice(views)[1]
        else:
            topic = rng.choices(liked, (2, 1))[0] if rng.random() < LIKED_SHARE else rng.choice(names)
            of_topic = len(contents[names.index(topic) :: n_topics])
            # A few contents of each topic get most of the views.
            number = int(of_topic * rng.random() ** 2.5)
            content = contents[names.index(topic) + number * n_topics][0]
        likes = contents[int(content.removeprefix("article-"))][2] in liked
        seconds = rng.lognormvariate(0, SPREAD) * (LIKED_SECONDS if likes else OTHER_SECONDS)
        views.append((client, content, min(LONGEST, round(seconds))))
    return views


def write(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file into the current folder."""
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


if __name__ == "__main__":
    main()
