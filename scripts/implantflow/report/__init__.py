"""The report of one case and the table over cases: reads what stages wrote, imports none of them."""
