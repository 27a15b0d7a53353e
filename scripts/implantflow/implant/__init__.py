"""Stage implant: the final outer solid, its contact faces and dense regions, and its fit."""
