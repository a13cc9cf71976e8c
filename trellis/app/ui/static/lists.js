// A list that drops down closes when the focus goes on; Gradio's own stays over the page until Escape.
document.addEventListener("focusout", ({ target }) => {
  if (target.matches("[role=combobox]")) target.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
});
