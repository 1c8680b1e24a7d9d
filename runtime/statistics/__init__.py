"""Statistics of a line: agreement of decisions, exact intervals, control charts. Numbers in, numbers out."""
