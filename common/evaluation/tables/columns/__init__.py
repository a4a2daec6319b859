"""Find the columns of a prediction table: case, labels, scores, split, group."""
