"""The stated claims by their ids, and claims of tests' own."""

from mixnam.paper.claim import Claim, claims

KNOWN = {c.id: c for c in claims()}
ONE = ({"model": "MixNAM"},)
TWO = (*ONE, {"model": "NAM"})


def claim(kind, subjects=ONE, **changes):
    base = {
        "measure": "measures.additivity.marginal",
        "table": "table3",
        "quantity": "additivity",
        "dataset": "housing",
    }
    base |= {"id": "planted", "place": "", "statement": "", "page": ""}
    return Claim(**(base | {"kind": kind, "subjects": subjects} | changes))
