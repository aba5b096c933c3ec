"""
What a scraper is given: the format and escaping its Accept header asks for.

`negotiate` and `gzip_accepted` are pure functions of one header's text. They never raise:
a monitoring system that sends something odd must still get its metrics. What the formats
look like stands in exposition.py; who sends them over HTTP, in endpoints.py.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

ESCAPINGS = ("underscores", "allow-utf-8", "dots", "values")
"""How names outside the old character set may be written; the first is the default."""

_VERSION_1 = "1.0.0"

# Only this much of a header is read, which bounds the work whatever a server lets through
# (http.server: 64 KiB). Prometheus 3 with everything on sends 400 characters.
_LONGEST = 4096

# Possessive, and the closing quote is optional: one pass, whatever is written.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)("?)', re.DOTALL)
_TOKEN = re.compile(r"[A-Za-z0-9._+-]+")
# RFC 9110's qvalue, and what is seen besides: ".2" (Java), more than three digits.
_QUALITY = re.compile(r"0|1|0\.|0?\.[0-9]{1,9}|1\.0{0,9}")


class Format(enum.Enum):
    """
    The text formats we write; the value is the content type without escaping.

    OpenMetrics 2.0 and protobuf are not among them: who asks for nothing else gets TEXT.
    """

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    TEXT_1 = "text/plain; version=1.0.0; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


# As prometheus_client names them, which it does since 0.23.
CONTENT_TYPE_PLAIN_0_0_4 = Format.TEXT.value
CONTENT_TYPE_PLAIN_1_0_0 = Format.TEXT_1.value


@dataclass(frozen=True)
class Encoding:
    """
    One way to write a scrape; equal encodings of equal metrics are equal bytes.

    Two that differ only in `states_escaping` are equal bytes too, under another content type.
    """

    format: Format
    escaping: str = ESCAPINGS[0]
    # False for those who asked for OpenMetrics before there was escaping: prometheus_client
    # keeps their content type as it was, and so do we.
    states_escaping: bool = True

    def __post_init__(self) -> None:
        if self.escaping not in ESCAPINGS:
            raise ValueError(f"escaping is {self.escaping!r}, must be one of {ESCAPINGS}")

    @property
    def content_type(self) -> str:
        """The Content-Type header, exactly as prometheus_client 0.26 writes it."""
        if self.format is Format.TEXT or not self.states_escaping:
            return self.format.value
        return f"{self.format.value}; escaping={self.escaping}"


class _Offer(NamedTuple):
    """
    One encoding and the ranges that ask for it.

    A range names its own escaping (none named: underscores), so each escaping is an offer.
    """

    encoding: Encoding
    ranges: tuple[str, ...]  # widest first
    versions: tuple[str, ...]  # likewise; "" is a range that names none


class _Asked(NamedTuple):
    """One element of an Accept header, well formed and of a kind we offer."""

    range: str
    version: str  # "": none named
    escaping: str
    escaping_named: bool
    quality: float


def _offers() -> Iterator[_Offer]:
    """Every encoding we write, those we'd rather send first."""
    text = ("*/*", "text/*", "text/plain")
    openmetrics = ("*/*", "application/*", "application/openmetrics-text")
    # TEXT first: it is what prometheus_client gives to curl and to browsers.
    yield _Offer(Encoding(Format.TEXT), text, ("", "0.0.4"))
    for escaping in ESCAPINGS:
        # OpenMetrics 0.0.1 is answered with 1.0.0: its readers go by the media type alone,
        # and prometheus_client gave it to them for years.
        yield _Offer(Encoding(Format.OPENMETRICS, escaping), openmetrics, ("", "0.0.1", _VERSION_1))
        # text/plain without a version has always meant 0.0.4, so 1.0.0 must be named.
        yield _Offer(Encoding(Format.TEXT_1, escaping), text, (_VERSION_1,))


_OFFERS = tuple(_offers())
_RANGES = frozenset(name for offer in _OFFERS for name in offer.ranges)


def negotiate(accept: str | None) -> Encoding:
    """
    The encoding this Accept header likes best; plain text 0.0.4 if it likes none of ours.

    By RFC 9110: the most specific range that fits an encoding gives its q, the highest q
    wins, and 0 refuses. Of equals, a range without a wildcard goes before one with it;
    what is asked for by name before plain text 0.0.4, everybody's last resort; then the one
    listed first. An element that can't be read counts as not listed, a version that we don't
    write is never promised, and an unknown escaping is underscores.
    The price: a refusal of everything is not obeyed, since an error would help nobody, and
    only the first 4,096 characters are read.
    """
    # Without repetitions: 4,096 characters hold two thousand times "*".
    asked = list(dict.fromkeys(_asked(accept)))
    best = Encoding(Format.TEXT)
    best_rank = (0.0, 0, False, 0)
    for offer in _OFFERS:
        fits = [
            (fit, one.quality, -i)
            for i, one in enumerate(asked)
            if (fit := _fit(one, offer)) is not None
        ]
        if not fits:
            continue
        # A range listed twice counts with its higher q.
        fit, _, position = max(fits)
        one = asked[-position]
        by_name = one.range == offer.ranges[-1]
        newer = by_name and offer.encoding.format is not Format.TEXT
        rank = (one.quality, fit[0], newer, position)
        # Strictly greater: of what one wildcard allows, the earlier offer stays.
        if one.quality > 0 and rank > best_rank:
            best, best_rank = _answer(offer, one), rank
    return best


def gzip_accepted(accept_encoding: str | None) -> bool:
    """
    Whether the client takes gzip, and does not say that it likes the plain bytes better.

    `gzip;q=0` refuses, whatever `*` says; no header, or one that can't be read, is a no:
    plain bytes are always understood.
    """
    qualities: dict[str, float] = {}
    for coding, _, quality in _elements(accept_encoding):
        name = "gzip" if coding == "x-gzip" else coding
        qualities[name] = max(quality, qualities.get(name, 0.0))
    gzip = qualities.get("gzip", qualities.get("*", 0.0))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _answer(offer: _Offer, asked: _Asked) -> Encoding:
    if offer.encoding.format is Format.OPENMETRICS and asked.version != _VERSION_1:
        return Encoding(Format.OPENMETRICS, states_escaping=False)
    return offer.encoding


def _fit(asked: _Asked, offer: _Offer) -> tuple[int, int, bool] | None:
    """How specific this range is about this offer; None if it is about something else."""
    if (
        asked.range not in offer.ranges
        or asked.version not in offer.versions
        or asked.escaping != offer.encoding.escaping
    ):
        return None
    return (
        offer.ranges.index(asked.range),
        offer.versions.index(asked.version),
        asked.escaping_named,
    )


def _asked(accept: str | None) -> Iterator[_Asked]:
    for name, parameters, quality in _elements(accept):
        # Java's HttpURLConnection lists a bare "*".
        name = "*/*" if name == "*" else name
        if name not in _RANGES:
            continue
        version = parameters.get("version", "")
        # Before 1.0.0 there was no escaping, so it means nothing beside another version.
        named = parameters.get("escaping") if version == _VERSION_1 else None
        escaping = named if named in ESCAPINGS else ESCAPINGS[0]
        yield _Asked(name, version, escaping, named is not None, quality)


def _elements(header: str | None) -> Iterator[tuple[str, dict[str, str], float]]:
    """Each element of a list header: its name, parameters and q; the unreadable left out."""
    text = header or ""
    if len(text) > _LONGEST:
        # Without the element that the cut went through: half of "q=0.9" is "q=0".
        text = text[:_LONGEST].rpartition(",")[0]
    for element in _QUOTED.sub(_unquote, text).split(","):
        name, *rest = element.split(";")
        parameters: dict[str, str] = {}
        for parameter in rest:
            key, _, value = parameter.partition("=")
            parameters.setdefault(key.strip().lower(), value.strip())
        quality = parameters.pop("q", "1")
        if _QUALITY.fullmatch(quality):
            yield name.strip().lower(), parameters, float(quality)


def _unquote(quoted: re.Match[str]) -> str:
    # No value that we know needs quotes, so one that does is replaced by one nobody knows:
    # after this the commas and semicolons left are all separators.
    return quoted[1] if quoted[2] and _TOKEN.fullmatch(quoted[1]) else "?"
