"""The program behind the launcher's window: started, listened to, and ended with everything that it started."""

from __future__ import annotations

import ctypes
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

DEFAULT_PORT = 7960
READY = re.compile(r"Page and interface at (?P<address>http://\S+)")
KEPT_LINES = 500
NO_WINDOW = 0x08000000  # CREATE_NO_WINDOW


def start_command(root: Path, *, windows: bool = sys.platform == "win32") -> str | list[str]:
    """What opens the page. On Windows the folder's name is left out where cmd can be started within the folder.

    A path with & or % would not survive cmd; as the folder to start in it does no harm. cmd refuses network folders
    (UNC) as that, so those are named, quoted as /s wants it.
    """
    if not windows:
        return ["bash", str(root / "run.sh"), "ui"]
    if str(root).startswith("\\\\"):
        return f'cmd.exe /d /s /c ""{root}\\run.bat" ui"'
    return r"cmd.exe /d /c .\run.bat ui"


def page_address(line: str) -> str | None:
    """The address of the page, if this line of the program's output tells it."""
    found = READY.search(line)
    return found["address"] if found else None


def clean_environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment for other programs: without what PyInstaller set for this one, Python's output not held back."""
    own = ("_PYI_", "_MEIPASS", "TCL_LIBRARY", "TK_LIBRARY")
    return {name: value for name, value in environment.items() if not name.startswith(own)} | {"PYTHONUNBUFFERED": "1"}


def is_answering(port: int = DEFAULT_PORT, *, seconds: float = 1.0) -> bool:
    """Whether this program's server is at that port of this computer already."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
            connection.sendall(b"GET /ping HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            answer = connection.recv(4096)
    except OSError:
        return False
    return answer.startswith(b"HTTP/") and b" 200 " in answer.split(b"\r\n", 1)[0] + b" "


class Program:
    """run.bat (run.sh) with `ui`, its output as lines, and its end.

    `lines` is a queue that ends with the exit status (int). `tail` holds the last KEPT_LINES lines. The output goes to
    `root/.state/launcher.log` too, where that can be written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lines: queue.Queue[str | int] = queue.Queue()
        self.tail: deque[str] = deque(maxlen=KEPT_LINES)
        self.log = root / ".state" / "launcher.log"
        command = start_command(root)
        windows = sys.platform == "win32"
        if windows:  # PyInstaller's own folder of DLLs would be searched by every program that is started
            ctypes.windll.kernel32.SetDllDirectoryW(None)  # type: ignore[attr-defined, unused-ignore]
        self._process = subprocess.Popen(
            command,
            cwd=None if str(root).startswith("\\\\") else root,
            stdin=subprocess.DEVNULL,  # "press any key" must not wait for one
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_environment(dict(os.environ)),
            creationflags=NO_WINDOW if windows else 0,
            start_new_session=not windows,
        )
        self._job = _kill_on_close_job(self._process) if windows else None
        self._reader = threading.Thread(target=self._read, name="output", daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End the program and all that it started; safe to call again."""
        if self._job is not None:
            ctypes.windll.kernel32.TerminateJobObject(self._job, 1)  # type: ignore[attr-defined, unused-ignore]
        elif self.running and hasattr(os, "killpg"):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        log = self._open_log()
        for raw in self._process.stdout:
            line = raw.decode("utf-8", errors="replace").rstrip()
            self.tail.append(line)
            self.lines.put(line)
            if log is not None:
                log.write(line + "\n")
                log.flush()
        if log is not None:
            log.close()
        self.lines.put(self._process.wait())

    def _open_log(self) -> Any:
        try:
            self.log.parent.mkdir(exist_ok=True)
            return self.log.open("w", encoding="utf-8")
        except OSError as error:  # a folder that only others may write to: run.bat says so itself
            self.tail.append(f"(no log: {error})")
            return None


def _kill_on_close_job(process: subprocess.Popen[bytes]) -> int | None:
    """A Windows job that holds `process`: whatever ends this program, also a crash, ends all that it started.

    None where the system refuses; then only the first process is ended.
    """
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined, unused-ignore]
    kernel.CreateJobObjectW.restype = ctypes.c_void_p
    job = kernel.CreateJobObjectW(None, None)
    if not job:
        return None
    # JOBOBJECT_EXTENDED_LIMIT_INFORMATION in 64-bit Windows: 144 bytes, LimitFlags at 16
    limits = (ctypes.c_ubyte * 144)()
    ctypes.memmove(ctypes.byref(limits, 16), (0x2000).to_bytes(4, "little"), 4)  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    handle = ctypes.c_void_p(int(process._handle))  # type: ignore[attr-defined, unused-ignore]
    set_up = kernel.SetInformationJobObject(ctypes.c_void_p(job), 9, limits, len(limits))
    if not set_up or not kernel.AssignProcessToJobObject(ctypes.c_void_p(job), handle):
        kernel.CloseHandle(ctypes.c_void_p(job))
        return None
    return int(job)
