"""The launcher: a small window that starts the program, says what it does, and opens and ends it.

PyInstaller makes an .exe of it (installer/windows/launcher.spec), which lies beside run.bat.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tkinter as tk
from pathlib import Path
from tkinter import font, messagebox

from installer.launcher_program import Program, is_answering, page_address

NAME = "TRELLIS desktop"
POLL_MILLISECONDS = 100
SHOWN_LENGTH = 90
INK, QUIET, PAPER, ACCENT, IDLE = "#16302c", "#5b716d", "#f7faf9", "#12907f", "#dfe8e6"
COLORS = {"starting": "#d9a032", "ready": "#1f9d55", "ended": "#8a9a97", "failed": "#c8412f"}
TEXTS = {
    "starting": "Starting. The first start installs what is needed; that takes some minutes.",
    "ready": "Ready. The page is open in your browser.",
    "ended": "Stopped.",
    "failed": "It did not work. The details say why.",
}


def program_folder() -> Path:
    """Where run.bat is: beside the .exe, or above this file."""
    if getattr(sys, "frozen", False):
        return Path(sys.executable).resolve().parent
    return Path(__file__).resolve().parent.parent


def open_with_system(target: str) -> None:
    """Open an address or a file with what the system has for it."""
    if sys.platform == "win32":
        os.startfile(target)
    else:
        subprocess.Popen(["xdg-open", target])


class Window:
    """One window over one `Program`; states are the keys of TEXTS."""

    def __init__(self, root: Path) -> None:
        self.folder = root
        self.program: Program | None = None
        self.address: str | None = None
        self.state = "ended"
        self.stopping = False
        self.tk = tk.Tk()
        self._build()
        self.start()

    def start(self) -> None:
        """Start the program, or open its page if it runs already."""
        if is_answering():
            open_with_system("http://127.0.0.1:7960/")
            self.tk.after(0, self.tk.destroy)
            return
        self.address, self.stopping = None, False
        self._clear_details()
        try:
            self.program = Program(self.folder)
        except OSError as error:
            self.program = None
            self._append(f"{self.folder}: {error}")
            self.show("failed")
            return
        self.show("starting")
        self.tk.after(POLL_MILLISECONDS, self.poll)

    def stop(self) -> None:
        """End the program."""
        self.stopping = True
        if self.program is not None:
            self.program.stop()

    def poll(self) -> None:
        """Take over what the program said since the last time."""
        assert self.program is not None
        while not self.program.lines.empty():
            line = self.program.lines.get()
            if isinstance(line, int):
                self.program.stop()
                self.show("ended" if self.stopping or line == 0 else "failed")
                return
            self._append(line)
            self.address = page_address(line) or self.address
            if self.address and self.state == "starting":
                self.show("ready")
            elif self.state == "starting" and line.strip():
                self.detail.set(line.strip()[:SHOWN_LENGTH])
        self.tk.after(POLL_MILLISECONDS, self.poll)

    def show(self, state: str) -> None:
        """Show a state: its colour, its sentence, and the buttons that make sense in it."""
        self.state = state
        self.dot.itemconfigure("dot", fill=COLORS[state])
        self.status.set(TEXTS[state])
        self.detail.set(self.address or "" if state == "ready" else "")
        ready = state == "ready"
        self.open.configure(state="normal" if ready else "disabled", bg=ACCENT if ready else IDLE)
        running = state in ("starting", "ready")
        self.switch.configure(text="Stop" if running else "Start again", command=self.stop if running else self.start)
        if state == "failed" and not self.details.winfo_ismapped():
            self.toggle_details()

    def open_page(self) -> None:
        """Open the page in the browser."""
        if self.address:
            open_with_system(self.address)

    def close(self) -> None:
        """End the program and the window, after a question if something runs."""
        running = self.program is not None and self.program.running
        if running and not messagebox.askokcancel(NAME, "Closing this window ends the program and its page."):
            return
        self.stop()
        self.tk.destroy()

    def toggle_details(self) -> None:
        """Show or hide what the program says."""
        if self.details.winfo_ismapped():
            self.details.grid_remove()
            self.tk.geometry("")
        else:
            self.details.grid()

    def _build(self) -> None:
        self.tk.title(NAME)
        self.tk.configure(background=PAPER, padx=24, pady=20)
        self.tk.protocol("WM_DELETE_WINDOW", self.close)
        self.tk.columnconfigure(1, weight=1)
        self.tk.rowconfigure(4, weight=1)
        self.tk.minsize(660, 0)
        self._set_icon()
        plain = font.nametofont("TkDefaultFont").actual()["family"]
        self.status, self.detail = tk.StringVar(), tk.StringVar()
        title = tk.Label(self.tk, text=NAME, font=(plain, 18, "bold"), fg=INK, bg=PAPER)
        title.grid(row=0, column=0, columnspan=2, sticky="w")
        self.dot = tk.Canvas(self.tk, width=16, height=16, bg=PAPER, highlightthickness=0)
        self.dot.create_oval(2, 2, 14, 14, width=0, tags="dot")
        self.dot.grid(row=1, column=0, pady=(14, 0), padx=(0, 8))
        status = tk.Label(self.tk, textvariable=self.status, font=(plain, 11), fg=INK, bg=PAPER, anchor="w")
        status.grid(row=1, column=1, pady=(14, 0), sticky="w")
        detail = tk.Label(self.tk, textvariable=self.detail, font=(plain, 9), fg=QUIET, bg=PAPER, anchor="w")
        detail.grid(row=2, column=1, sticky="w", pady=(2, 12))
        row = tk.Frame(self.tk, bg=PAPER)
        row.grid(row=3, column=0, columnspan=2, sticky="w")
        self.open = tk.Button(row, text="Open the page", command=self.open_page, font=(plain, 11, "bold"))
        self.open.configure(fg="white", disabledforeground=QUIET, relief="flat", padx=16, pady=6)
        self.switch = tk.Button(row, text="Stop", relief="flat", padx=12, pady=6, font=(plain, 11))
        log = tk.Button(row, text="Details", command=self.toggle_details, relief="flat", padx=12, pady=6)
        log.configure(font=(plain, 11))
        for column, button in enumerate((self.open, self.switch, log)):
            button.grid(row=0, column=column, padx=(0, 8))
        self.details = tk.Text(self.tk, height=14, width=92, bg="white", fg=INK, relief="flat", state="disabled")
        self.details.configure(font=(font.nametofont("TkFixedFont").actual()["family"], 9), padx=8, pady=8, wrap="word")
        self.details.grid(row=4, column=0, columnspan=2, sticky="nsew", pady=(14, 0))
        self.details.grid_remove()

    def _set_icon(self) -> None:
        picture = self.folder / "assets" / "icon.png"
        if picture.is_file():
            self.icon = tk.PhotoImage(file=str(picture))
            self.tk.iconphoto(True, self.icon)

    def _append(self, line: str) -> None:
        self.details.configure(state="normal")
        self.details.insert("end", line + "\n")
        excess = int(self.details.index("end-1c").split(".")[0]) - 500
        if excess > 0:
            self.details.delete("1.0", f"{excess + 1}.0")
        self.details.configure(state="disabled")
        self.details.see("end")

    def _clear_details(self) -> None:
        self.details.configure(state="normal")
        self.details.delete("1.0", "end")
        self.details.configure(state="disabled")


def main() -> int:
    """Show the window until it is closed."""
    window = Window(program_folder())
    try:
        window.tk.mainloop()
    finally:
        if window.program is not None:
            window.program.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
