"""emeterai: sells electronic revenue stamps, affixes them to PDF files and lets anyone verify them."""

__version__ = "0.1.0"
