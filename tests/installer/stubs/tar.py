"""Stands for Windows' tar.exe, which unpacks zip files too: `-xf FILE -C FOLDER`."""

import sys
import zipfile

zipfile.ZipFile(sys.argv[2]).extractall(sys.argv[4])
