"""The report: `docs/results.md` and its pictures, from the studies' committed data alone."""
