"""Training: from data and options to a fitted model, with what happens between two iterations."""
