"""
Models of the commit protocols, searched exhaustively with kills and reordered stores.

`explorer` is the search.  Each test file holds one protocol, in words and as steps, and the
mistakes that the search finds in it: change a protocol here before you change it in native/.
"""
