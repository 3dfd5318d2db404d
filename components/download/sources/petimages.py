"""Dogs vs. Cats as Microsoft publishes it, for anyone, without a login: 25,000 photos in a zip file of 825 MB (layout `petimages`)."""

from __future__ import annotations

from components.download.sources.http import PublishedArchive

ARCHIVE = PublishedArchive(
    url="https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip",
    sha256="b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
    terms="CDLA-Permissive-2.0, as stated in the archive (https://www.microsoft.com/en-us/download/details.aspx?id=54765)",
)
identify, fetch = ARCHIVE.identify, ARCHIVE.fetch
