"""The build stage: layers, paths, themes, the CLI file and the checks that re-read it."""
