"""Evaluate the output of other programs: prediction tables, masks, boxes, readers."""
