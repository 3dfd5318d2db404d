"""What can be wrong with an archive."""

from __future__ import annotations

import zipfile
import zlib

#: What `zipfile` raises for an archive that is damaged, cut short, encrypted (RuntimeError) or packed in a way that it does not know.
UNREADABLE_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
