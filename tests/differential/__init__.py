"""
Random programs, run alike on prometheus_client's classes and on ours.

`programs` makes and runs them.  What they leave out are the stated differences: NaN in a
histogram, the order of series after a removal, a colon in a name (prometheus_client's OpenMetrics
and labels of an Enum write `_`, and so name what was never declared).
"""
