// Tells the page which button of the history was pressed, and for which job. Enter in the field of a name renames.
function act(button) {
  const home = button.closest("[data-job]");
  const name = button.dataset.act === "rename" ? home.querySelector("input").value : "";
  trigger("select", { act: button.dataset.act, job: home.dataset.job, name });
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) act(button);
});
element.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches("input")) return;
  event.preventDefault();
  act(event.target.parentElement.querySelector("[data-act=rename]"));
});
