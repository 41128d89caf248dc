"""PDFium, loaded and started once in an opener, and only when a page must be looked at: it takes 40 ms."""

from __future__ import annotations

import ctypes
import importlib
from functools import cache
from typing import Any

_NO_FOLDERS = (ctypes.POINTER(ctypes.c_char) * 1)()  # PDFium keeps the address, so it must live as long


@cache
def pdfium() -> Any:
    """PDFium's functions. It searches no folder for fonts, and has no scripts."""
    library = importlib.import_module("pypdfium2_raw")
    config = library.FPDF_LIBRARY_CONFIG(version=2, m_pUserFontPaths=_NO_FOLDERS, m_pIsolate=None, m_v8EmbedderSlot=0)
    library.FPDF_InitLibraryWithConfig(config)
    return library
