"""Tables with a target: where they come from, how their rows are split, and how they are transformed."""
