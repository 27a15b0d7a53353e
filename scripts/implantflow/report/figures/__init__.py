"""Pictures of the report, one module per part of the case; each is made from files on disk only."""
