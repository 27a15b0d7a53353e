"""The inspection stage: the scan of a print laid on the design, judged, and what to change in the next build."""
