"""What a reader of the book sees: tables, figures, the scorecard, and the book itself."""
