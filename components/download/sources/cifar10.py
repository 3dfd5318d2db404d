"""CIFAR-10 as its authors publish it: 60,000 images of 32 x 32 pixels in ten classes, as a tar file of 170 MB (layout `cifar10`)."""

from __future__ import annotations

from components.download.sources.http import PublishedArchive

ARCHIVE = PublishedArchive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    terms="no licence is stated; the authors ask for a citation of Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
)
identify, fetch = ARCHIVE.identify, ARCHIVE.fetch
