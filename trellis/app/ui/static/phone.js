// Where the 3D pane is below the inputs, it comes into view with what a button has to tell.
const STARTS = "#generate, #vary, #generate-text, #vary-text, .examples button";
document.addEventListener("click", ({ target }) => {
  if (!target.closest(STARTS) || !matchMedia("(max-width: 899px)").matches) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  document.querySelector("#stage").scrollIntoView({ behavior: still ? "auto" : "smooth" });
});
