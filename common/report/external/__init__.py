"""The pages about external predictions: tables, masks, two models."""
