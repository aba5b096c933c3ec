"""
One scrape of /metrics: read into a dictionary, and compared with what is true.

A sample is named by its canonical text, labels in alphabetical order, so that a difference can be
printed as it stands. The reader is a few lines of its own, not prometheus_client's: what judges a
library shouldn't be a part of it.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

Sample = str
Values = Mapping[Sample, float]

_LINE = re.compile(r'([A-Za-z_:][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (\S+)(?: -?\d+)?')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

# What nobody outside the shop can know: when a series was made, and how long an answer took.
_UNKNOWABLE = re.compile(r"\w+_created\b|shop_request_seconds_(sum|bucket)\b")


def sample(name: str, **labels: str) -> Sample:
    """`sample("a", y="2", x="1")` is `a{x="1",y="2"}`."""
    if not labels:
        return name
    return name + "{" + ",".join(f'{key}="{labels[key]}"' for key in sorted(labels)) + "}"


def read(text: str) -> dict[Sample, float]:
    """The samples of a page in the text format; ValueError for a line that is none, or twice."""
    values: dict[Sample, float] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"not a sample: {line!r}")
        name = sample(match[1], **dict(_LABEL.findall(match[2] or "")))
        if name in values:
            raise ValueError(f"twice on one page: {name}")
        values[name] = float(match[3])
    return values


def total(values: Values, name: str) -> float:
    """The sum of a family's samples of that name, over all its label sets."""
    return sum(value for key, value in values.items() if key.partition("{")[0] == name)


def contradictions(page: Values) -> list[str]:
    """Where a histogram contradicts itself: buckets that go down, or don't end in its count."""
    found = []
    histograms: dict[Sample, list[tuple[float, float]]] = defaultdict(list)
    for key, value in page.items():
        name, _, labels = key.partition("{")
        if name.endswith("_bucket"):
            others = dict(_LABEL.findall(labels))
            bound = float(others.pop("le"))
            count = sample(name.removesuffix("_bucket") + "_count", **others)
            histograms[count].append((bound, value))
    for count, buckets in histograms.items():
        heights = [height for _, height in sorted(buckets)]
        if any(low > high for low, high in pairwise(heights)):
            found.append(f"{count}: its buckets go down: {heights}")
        if page.get(count) != heights[-1]:
            found.append(f"{count} is {page.get(count)}, its last bucket {heights[-1]}")
    return found


def differences(page: Values, truth: Values) -> list[str]:
    """Every sample of the shop that isn't what it must be, is missing, or shouldn't be there."""
    found = contradictions(page)
    for key in sorted(truth.keys() | page.keys()):
        ours = key.startswith("shop_") and not _UNKNOWABLE.match(key)
        # A series that is shown as 0 before its first event is no difference.
        if ours and page.get(key, 0.0) != truth.get(key, 0.0):
            found.append(f"{key} is {page.get(key)}, true is {truth.get(key, 0.0)}")
    return found


def out_of_bounds(page: Values, answered: Values, sent: Values) -> list[str]:
    """
    What is wrong with a page scraped under load.

    What was answered before the scrape must be counted, and no more can be than was sent by its
    end. `answered` and `sent` hold only what goes up.
    """
    found = contradictions(page)
    for key, high in sorted(sent.items()):
        low, seen = answered.get(key, 0.0), page.get(key, 0.0)
        if not low <= seen <= high:
            found.append(f"{key} is {seen}, not from {low} (answered) to {high} (sent)")
    return found
