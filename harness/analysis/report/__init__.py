"""A suite's results as one HTML file that needs nothing else: no network, no server, no library beside it.

Owns the page: what it says, its data, its style and its script. Computes no statistics and writes no file but the cache
of projections. The same store gives the same bytes.
"""
