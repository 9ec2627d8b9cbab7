"""Runs and what is learned from them: `run` trains and scores, `records` keeps, `questions` ask, `report` tells."""
