// Names and roles that Gradio's buttons lack. Those that have a text are called by it: their own names say something
// else. One that holds another button is a frame around it, for only the inner one does anything.
const NAMED = "#pictures .upload-container[aria-label], #history .thumbnail-item[aria-label]";
const FRAMES = "#pictures .icon-button:has(button):not([role])";
const mend = () => {
  for (const button of document.querySelectorAll(NAMED)) if (button.innerText.trim()) button.removeAttribute("aria-label");
  for (const frame of document.querySelectorAll(FRAMES)) {
    frame.setAttribute("role", "group");
    frame.tabIndex = -1;
    frame.querySelector("button").setAttribute("aria-label", frame.getAttribute("aria-label"));
  }
};
new MutationObserver(mend).observe(document.body, { childList: true, subtree: true, attributeFilter: ["aria-label"] });
mend();
