"""What a scraper asks for, and what it is given."""

import pytest
from hypothesis import assume, given, settings, strategies as st

from mpmetrics.negotiation import ESCAPINGS, Encoding, Format, gzip_accepted, negotiate

TEXT = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8; escaping="
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping="
OPENMETRICS_OLD = "application/openmetrics-text; version=1.0.0; charset=utf-8"

PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

# Captured from the programs themselves; Prometheus 3's is from its documentation and source.
CAPTURED = {
    "prometheus-2.42": (
        "application/openmetrics-text;version=1.0.0,"
        "application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        OPENMETRICS + "underscores",
    ),
    "prometheus-2.42-native-histograms": (
        PROTOBUF + ",application/openmetrics-text;version=1.0.0;q=0.8,"
        "application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        OPENMETRICS + "underscores",
    ),
    "prometheus-3": (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
        "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        OPENMETRICS + "allow-utf-8",
    ),
    "prometheus-3-typo-in-documentation": (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
        "text/plain;version=0.0.4;q=0.2,/;q=0.1",
        OPENMETRICS + "allow-utf-8",
    ),
    "victoriametrics-1.79.5": ("text/plain;version=0.0.4;q=1,*/*;q=0.1", TEXT),
    "curl": ("*/*", TEXT),
    "firefox": (
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        TEXT,
    ),
    "chrome": (
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
        "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
        TEXT,
    ),
    "java": ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", TEXT),
    "no-header": (None, TEXT),
}


@pytest.mark.parametrize(("accept", "expected"), CAPTURED.values(), ids=CAPTURED.keys())
def test_real_clients(accept, expected):
    """Every real client gets the content type that prometheus_client 0.26 gives it."""
    assert expected == negotiate(accept).content_type


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/plain", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("text/plain;version=0.0.4;escaping=allow-utf-8", TEXT),
        ("text/plain;version=1.0.0", TEXT_1 + "underscores"),
        ("text/plain; version=1.0.0; escaping=dots", TEXT_1 + "dots"),
        ("application/openmetrics-text", OPENMETRICS_OLD),
        ("application/openmetrics-text;escaping=dots", OPENMETRICS_OLD),
        ("application/openmetrics-text;version=0.0.1;escaping=dots", OPENMETRICS_OLD),
        ("application/openmetrics-text;version=1.0.0", OPENMETRICS + "underscores"),
        ("application/openmetrics-text;version=1.0.0;escaping=values", OPENMETRICS + "values"),
    ],
)
def test_one_format_asked_for(accept, expected):
    """One format named alone is given, with prometheus_client 0.26's content type."""
    assert expected == negotiate(accept).content_type


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/openmetrics-text;q=0.1,text/plain;q=0.9", TEXT),
        ("text/plain;version=0.0.4;q=0.1,text/plain;version=1.0.0;q=0.2", TEXT_1 + "underscores"),
        ("*/*;q=0.9,application/openmetrics-text;q=0.1", TEXT),
        ("text/plain;q=0.5,*/*", OPENMETRICS_OLD),
        ("text/plain;q=0.5,*", OPENMETRICS_OLD),
        ("text/plain;version=0.0.4;escaping=dots,application/openmetrics-text;q=0.5", TEXT),
    ],
)
def test_highest_quality_wins(accept, expected):
    """The highest q wins, whatever is listed first."""
    assert expected == negotiate(accept).content_type


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/openmetrics-text;q=0,*/*", TEXT),
        ("application/openmetrics-text;version=1.0.0;q=0.000,text/plain;q=0.1", TEXT),
        ("*/*,text/*;q=0", OPENMETRICS_OLD),
        ("text/plain;version=0.0.4;q=0,*/*;version=1.0.0;q=0.1", OPENMETRICS + "underscores"),
        ("text/*;q=0,application/*;q=0.1", OPENMETRICS_OLD),
        (
            "application/openmetrics-text;version=1.0.0;escaping=dots;q=0,"
            "application/openmetrics-text;version=1.0.0;q=0.1",
            OPENMETRICS + "underscores",
        ),
    ],
)
def test_zero_refuses(accept, expected):
    """What has q=0 is not given where something else may be."""
    assert expected == negotiate(accept).content_type


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*;q=0.9,text/*;q=0.1,application/*;q=0.2", OPENMETRICS_OLD),
        ("text/*;q=0.9,text/plain;q=0.1,application/*;q=0.5", OPENMETRICS_OLD),
        (
            "application/openmetrics-text;q=0.9,application/openmetrics-text;version=1.0.0;q=0.1,"
            "text/plain;q=0.5",
            TEXT,
        ),
        (
            "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.5,"
            "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.1",
            TEXT,
        ),
    ],
)
def test_most_specific_range_gives_the_quality(accept, expected):
    """A format's q is that of the most specific range, however high a wider one's is."""
    assert expected == negotiate(accept).content_type


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*,application/openmetrics-text", OPENMETRICS_OLD),
        ("*/*,text/plain;version=1.0.0", TEXT_1 + "underscores"),
        ("text/plain;version=1.0.0,application/openmetrics-text", TEXT_1 + "underscores"),
        ("application/openmetrics-text,text/plain;version=1.0.0", OPENMETRICS_OLD),
        ("text/plain,application/openmetrics-text;version=1.0.0", OPENMETRICS + "underscores"),
        ("text/plain,text/plain;version=0.0.4", TEXT),
        (
            "text/plain;version=1.0.0;escaping=dots,text/plain;version=1.0.0;escaping=values",
            TEXT_1 + "dots",
        ),
        ("application/*,text/plain", TEXT),
        ("text/*", TEXT),
        ("text/plain;q=0,text/plain;q=0.5,application/*;q=0.4", TEXT),
        ("application/*", OPENMETRICS_OLD),
        ("text/*,application/*", TEXT),
    ],
)
def test_equals(accept, expected):
    """Of equal q: by name before wildcards, 0.0.4 last, then as listed, then plain text."""
    assert expected == negotiate(accept).content_type


@pytest.mark.parametrize("version", ["2.0.0", "9.9", "1.0", "1.0.1", "0.0.2", "x", "", "1.0.0.0"])
def test_unknown_version_is_not_promised(version):
    """A version that we don't write is never echoed: the client gets what else it listed."""
    asked = f"application/openmetrics-text;version={version}"
    if version:
        assert negotiate(asked).content_type == TEXT
        assert negotiate(f"text/plain;version={version}").content_type == TEXT
        assert negotiate(asked + ",text/plain;version=1.0.0;q=0.1").format is Format.TEXT_1
    else:
        # Nothing after the sign is no version asked for, as in prometheus_client.
        assert negotiate(asked).content_type == OPENMETRICS_OLD


def test_old_openmetrics_is_answered_with_the_first_release():
    """OpenMetrics 0.0.1, which Prometheus before 2.23 asked for, is answered with 1.0.0."""
    accept = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

    assert negotiate(accept).content_type == OPENMETRICS_OLD


@pytest.mark.parametrize("escaping", ["allow-utf8", "Dots", "", "dots dots", "underscores"])
def test_unknown_escaping_is_underscores(escaping):
    """An escaping that we don't know is answered with underscores, which everybody reads."""
    accept = f"application/openmetrics-text;version=1.0.0;escaping={escaping}"

    assert negotiate(accept).content_type == OPENMETRICS + "underscores"


@pytest.mark.parametrize(
    "accept",
    [
        "",
        " ",
        ",,,",
        ";",
        ";;q=1;",
        "/",
        "application",
        "application/json",
        PROTOBUF,
        "application/openmetrics-text;q=0",
        "*/*;q=0",
        "application/openmetrics-text;q=high",
        "application/openmetrics-text;q=",
        "application/openmetrics-text;q=nan",
        "application/openmetrics-text;q=-1",
        "application/openmetrics-text;q=1e9",
        "application/openmetrics-text;q=1.1",
        "application/openmetrics-text;q=٠",
        'foo/bar;x=",application/openmetrics-text',
        '"application/openmetrics-text,',
    ],
)
def test_nothing_acceptable_is_plain_text(accept):
    """What can't be read, or accepts nothing of ours, is answered with text 0.0.4."""
    assert Encoding(Format.TEXT) == negotiate(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "APPLICATION/OpenMetrics-Text;VERSION=1.0.0;Escaping=dots",
        '  application/openmetrics-text ; version = "1.0.0" ; escaping="dots" ; q=1.000 ',
        "application/openmetrics-text;version=1.0.0;version=2.0.0;escaping=dots;escaping=values",
        "application/openmetrics-text;version=1.0.0;charset=utf-8;x;=;escaping=dots",
        'image/png;a=",;\\",",application/openmetrics-text;version=1.0.0;escaping=dots',
        "application/openmetrics-text;q=x,application/openmetrics-text;version=1.0.0;escaping=dots",
    ],
)
def test_spelling(accept):
    """Case, blanks, quotes, repeated and unknown parameters don't matter."""
    assert OPENMETRICS + "dots" == negotiate(accept).content_type


@pytest.mark.parametrize(
    "filler", ["a/b,", ",", ";", '"', '"\\', '"a",', "a/b;q=0.1,", "text/plain;version=9,"]
)
def test_only_so_much_of_a_header_is_read(filler):
    """A hostile header costs no more than its first 4,096 characters."""
    wanted = "application/openmetrics-text"

    assert negotiate(filler * 100_000 + "," + wanted).content_type == TEXT
    assert not gzip_accepted(filler * 100_000 + ",gzip")


def test_the_element_cut_through_is_not_read():
    """The cut at 4,096 characters makes no other q, and no other version, of what it cuts."""
    cut = "text/plain;version=1.0.0"
    before = "application/openmetrics-text;q=0.5,"
    filler = "x" * (4096 - len(before) - len(cut) - 1) + ","

    assert len(before + filler + cut) == 4096
    assert negotiate(before + filler + cut + ";q=0.1").format is Format.OPENMETRICS


def test_no_encoding_with_an_unknown_escaping():
    """An escaping that nobody can write is refused where it is made, by name."""
    with pytest.raises(ValueError, match="allow-utf8"):
        Encoding(Format.TEXT_1, "allow-utf8")


# What each encoding is asked for by, and no other one fits.
ASKED_BY = {
    Encoding(Format.TEXT): "text/plain;version=0.0.4",
    **{
        Encoding(Format.TEXT_1, escaping): f"text/plain;version=1.0.0;escaping={escaping}"
        for escaping in ESCAPINGS
    },
    **{
        Encoding(Format.OPENMETRICS, escaping): (
            f"application/openmetrics-text;version=1.0.0;escaping={escaping}"
        )
        for escaping in ESCAPINGS
    },
}
SUPPORTED = {*ASKED_BY, Encoding(Format.OPENMETRICS, states_escaping=False)}

pieces = st.one_of(
    st.sampled_from(["text", "application", "plain", "openmetrics-text", "gzip", "identity"]),
    st.sampled_from(["version=", "escaping=", "q=", "0.0.4", "0.0.1", "1.0.0", *ESCAPINGS]),
    st.sampled_from(["*", "/", ";", ",", '"', "=", " ", "0", "0.5", "1"]),
)
qualities = st.integers(1, 1000).map(lambda thousandths: f";q={thousandths / 1000}")
headers = st.one_of(st.none(), st.text(), st.lists(pieces, max_size=40).map("".join))
elements = st.builds(
    lambda name, version, escaping, q: name + version + escaping + q,
    st.sampled_from(["*/*", "text/*", "application/*", "text/plain"])
    | st.sampled_from(["application/openmetrics-text", "image/png", PROTOBUF]),
    st.sampled_from(["", ";version=0.0.1", ";version=0.0.4", ";version=1.0.0", ";version=2.0.0"]),
    st.sampled_from(["", *(f";escaping={escaping}" for escaping in ESCAPINGS)]),
    qualities | st.just(";q=0"),
)


@pytest.mark.slow
@settings(deadline=None)
@given(headers)
def test_any_header_has_an_answer(header):
    """Any text at all is answered, and with an encoding that we write."""
    assert negotiate(header) in SUPPORTED
    assert gzip_accepted(header) in (True, False)


@pytest.mark.slow
@settings(deadline=None)
@given(st.sampled_from(list(ASKED_BY)), st.data())
def test_the_only_acceptable_encoding_is_chosen(wanted, data):
    """Where one encoding is accepted and the others are refused or not listed, it is given."""
    others = [asked for encoding, asked in ASKED_BY.items() if encoding != wanted]
    refused = [asked + ";q=0" for asked in data.draw(st.lists(st.sampled_from(others)))]
    foreign = data.draw(st.lists(st.sampled_from(["image/png", PROTOBUF, "text/html;q=0.9"])))
    refused += data.draw(st.sampled_from([[], ["*/*;q=0"], ["text/*;q=0", "application/*;q=0"]]))
    listed = [ASKED_BY[wanted] + data.draw(qualities), *refused, *foreign]

    assert wanted == negotiate(",".join(data.draw(st.permutations(listed))))


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(elements, max_size=6), st.data())
def test_order_does_not_matter_where_qualities_differ(listed, data):
    """Elements with different q may be listed in any order."""
    q_values = [float(element.rpartition("=")[2]) for element in listed]
    assume(len(set(q_values)) == len(q_values))

    shuffled = data.draw(st.permutations(listed))
    assert negotiate(",".join(listed)) == negotiate(",".join(shuffled))


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(elements, max_size=6), st.sampled_from(["image/png", PROTOBUF, "?", ";q=2", ""]))
def test_what_is_not_ours_does_not_matter(listed, foreign):
    """An element about something else changes nothing."""
    assert negotiate(",".join(listed)) == negotiate(",".join([foreign, *listed, foreign]))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("deflate, gzip;q=0.001", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=0, *", False),
        ("*, gzip;q=0", False),
        ("*", True),
        ("*;q=0", False),
        ("*;q=0, gzip", True),
        ("identity", False),
        ("identity;q=1, *;q=0", False),
        ("gzip;q=1.0, identity;q=0.5, *;q=0", True),
        ("gzip;q=0.5, identity;q=1", False),
        ("gzip, identity", True),
        ("gzip;q=0, x-gzip", True),
        ("deflate", False),
        ("gzipped", False),
        ("gzip;q=yes", False),
        ('"gzip', False),
    ],
)
def test_gzip(header, expected):
    """gzip is taken where it is accepted, and plain bytes are not liked better."""
    assert expected == gzip_accepted(header)
