"""StoreStatistics: what Store.statistics() gives."""

import dataclasses

import mpmetrics
from mpmetrics import store


def test_every_number_of_the_core():
    """It has a field for each number of the core's, and no other: none is a default by mistake."""
    fields = {field.name for field in dataclasses.fields(mpmetrics.StoreStatistics)}

    assert fields == store.current().statistics().keys()
