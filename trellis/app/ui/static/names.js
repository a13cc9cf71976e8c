// Names and roles that Gradio's buttons lack. Those that have a text are called by it: their own names say something
// else. One that holds another button is a frame around it, for only the inner one does anything.
const NAMED = ":is(#pictures, #edit-panel) .upload-container[aria-label]";
const FRAMES = "#pictures .icon-button:has(button):not([role])";
const mend = () => {
  for (const button of document.querySelectorAll(NAMED)) {
    const text = button.innerText.trim().replace(/\s+/g, " ");
    if (text && text !== button.getAttribute("aria-label")) button.setAttribute("aria-label", text);
  }
  for (const frame of document.querySelectorAll(FRAMES)) {
    frame.setAttribute("role", "group");
    frame.tabIndex = -1;
    frame.querySelector("button").setAttribute("aria-label", frame.getAttribute("aria-label"));
  }
};
// Before a frame is laid out, not at each change: what a button shows is known only when the page has been laid out.
let waiting = false;
const mendSoon = () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    mend();
  });
};
const changes = { childList: true, characterData: true, subtree: true, attributeFilter: ["aria-label"] };
new MutationObserver(mendSoon).observe(document.body, changes);
mend();
