"""Stands for Windows' certutil.exe: `-hashfile FILE SHA256`."""

import hashlib
import sys
from pathlib import Path

sys.stdout.write(f"SHA256 hash:\n{hashlib.sha256(Path(sys.argv[2]).read_bytes()).hexdigest()}\n")
