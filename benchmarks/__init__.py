"""How fast, how large, how soon accurate: MixNAM's training beside plain formulations and other libraries.

`python -m benchmarks` (or `make bench`) measures on this machine and writes one record, described in `record`.
"""
