// Light or dark: as the system has it until the button says otherwise, which this browser then remembers.
const KEY = "trellis-theme";
const THEMES = ["light", "dark"];
const system = window.matchMedia("(prefers-color-scheme: dark)");
const button = element.querySelector("button");
let chosen = read();

function read() {
  try {
    const value = localStorage.getItem(KEY);
    return THEMES.includes(value) ? value : null;
  } catch {
    return null; // this browser keeps nothing
  }
}

function keep() {
  try {
    if (chosen) localStorage.setItem(KEY, chosen);
    else localStorage.removeItem(KEY);
  } catch {
    console.info("The choice of colours lasts until the page is closed.");
  }
}

const ofSystem = () => (system.matches ? "dark" : "light");

function apply() {
  const dark = (chosen ?? ofSystem()) === "dark";
  if (document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
  button.setAttribute("aria-pressed", dark);
}

button.addEventListener("click", () => {
  const next = document.body.classList.contains("dark") ? "light" : "dark";
  chosen = next === ofSystem() ? null : next; // back at the system's own, it is followed again
  keep();
  apply();
});
document.body.style.background = "var(--body-background-fill)"; // what is around the page goes by the system alone
system.addEventListener("change", apply);
new MutationObserver(apply).observe(document.body, { attributes: true, attributeFilter: ["class"] });
apply();
