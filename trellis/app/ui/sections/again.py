"""Other files of the model that is shown, without sampling it again."""

import gradio as gr

from trellis.app.ui.studio import Session, Studio, Updates

AGAIN_NOTE = "Applies the settings above to the model that is shown; it is not generated anew."


class Again:
    """A button below the settings of the files; what it does is the jobs' own."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        button = gr.Button("Make the files again", interactive=False, elem_id="again")
        self.button = studio.changes(button)
        gr.HTML(f"<p>{AGAIN_NOTE}</p>", apply_default_css=False, elem_id="again-note")
        studio.usable.append(self._usable)

    def _usable(self, session: Session, running: bool) -> Updates:
        return {self.button: gr.Button(interactive=self._studio.is_kept(session))}
