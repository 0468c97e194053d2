"""Scores, intervals, significance, result tables and pictures. Knows no model."""
