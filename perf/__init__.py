"""Measurements. They print what they find; tests never assert a time."""
