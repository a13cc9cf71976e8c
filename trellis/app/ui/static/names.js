// Buttons of Gradio's that have a text are called by it: their own names say something else, and in English.
const NAMED = "#pictures .upload-container[aria-label], #history .thumbnail-item[aria-label]";
const nameByText = () => {
  for (const button of document.querySelectorAll(NAMED)) if (button.innerText.trim()) button.removeAttribute("aria-label");
};
new MutationObserver(nameByText).observe(document.body, { childList: true, subtree: true, attributeFilter: ["aria-label"] });
nameByText();
