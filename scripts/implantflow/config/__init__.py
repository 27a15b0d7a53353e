"""The typed configuration: one module per section, composed in :mod:`implantflow.config.models`."""
