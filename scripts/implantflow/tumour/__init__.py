"""Tumour extent over time: masks, measurements, response, reported figures."""
