"""Stage prototype: printable iterations of the implant, their corrections, and the sheet that is reviewed."""
