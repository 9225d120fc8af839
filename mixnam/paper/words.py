"""The words of verdicts."""

from __future__ import annotations

REPRODUCED, BETTER, NOT_REPRODUCED = "reproduced", "better", "not reproduced"
#: Of a count whose data are in part not at hand.
PARTLY = "partly reproduced"
UNDECIDED, TOO_FEW, NO_DATA = "undecided", "not enough runs", "data not available"
#: What stands on the paper's own numbers: nothing is printed; the PDF shows it and the text that we work from does not.
NOT_PRINTED, NOT_IN_COPY, PRINTED = "not printed", "not in our text copy", "is a printed number"
#: Simulations have one setting, ours, and arithmetic has none: nothing is at the paper's.
NOT_APPLICABLE = "not applicable"
DECIDED = (REPRODUCED, BETTER, PARTLY, NOT_REPRODUCED)
VERDICTS = (*DECIDED, UNDECIDED, TOO_FEW, NO_DATA, NOT_PRINTED, NOT_IN_COPY, PRINTED, NOT_APPLICABLE)
#: What a reader who looks for trouble wants to see first.
SEVERITY = (NOT_REPRODUCED, PARTLY, UNDECIDED, BETTER, REPRODUCED, *VERDICTS[5:])
#: How a number of verdicts is told where the word alone would not read well.
COUNTED = {
    TOO_FEW: "lack runs",
    NO_DATA: "lack data",
    PRINTED: "are single printed numbers, so only ours can be judged",
}
SYMBOLS = {REPRODUCED: "✔", BETTER: "▲", PARTLY: "◐", NOT_REPRODUCED: "✘", UNDECIDED: "?", TOO_FEW: "…"}
