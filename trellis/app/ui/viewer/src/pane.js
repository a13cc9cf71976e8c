// The frame around the canvas: modes above, tools below, one line of facts under it, and the keys.
import { icon } from "./icons.js";

const MODES = { textured: "Textured", clay: "Clay", wireframe: "Wireframe", normals: "Normals", uv: "UV", gaussians: "Gaussians" };
const LIGHTS = { studio: "Studio", sun: "Sun", neutral: "Neutral" };
const BACKGROUNDS = { page: "As the page", white: "White", grey: "Grey", black: "Black" };
const TURN = Math.PI / 24;
const SHIFT = 0.04;
const ANGLE_STEP = 15; // degrees of the light

const button = (action, label, key, more = "") =>
  `<button type="button" data-action="${action}" data-key="${key}" aria-label="${label}" aria-keyshortcuts="${key}" ${more}>${icon(action)}</button>`;
const choice = (group, name, label) =>
  `<button type="button" data-${group}="${name}" aria-pressed="false"${group === "background" ? ` aria-label="${label}" title="${label}"` : ""}>${group === "background" ? "" : label}</button>`;
const choices = (group, names) => Object.entries(names).map(([name, label]) => choice(group, name, label)).join("");
const help = (key, text) => `<dt><kbd>${key}</kbd></dt><dd>${text}</dd>`;

const MARKUP = `
  <div class="tv-view">
    <canvas class="tv-canvas" tabindex="0" aria-label="3D view: drag to turn, scroll to zoom, drag with the right button to move"></canvas>
    <div class="tv-compare" hidden>
      <img alt="The input picture">
      <input type="range" min="0" max="100" step="0.5" value="50" aria-label="Picture to the left, model to the right">
    </div>
    <div class="tv-before" hidden><input type="range" min="0" max="100" step="0.5" value="50" aria-label="Before to the left, after to the right"></div>
    <div class="tv-message" role="status"></div>
    <div class="tv-modes tv-group" role="group" aria-label="Shown as" hidden>${Object.entries(MODES)
      .map(
        ([mode, label], index) =>
          `<button type="button" data-mode="${mode}" data-key="${index + 1}" aria-label="${label}" aria-keyshortcuts="${index + 1}" aria-pressed="false">${icon(mode)}<span aria-hidden="true">${label}</span></button>`,
      )
      .join("")}</div>
    <div class="tv-tools" role="toolbar" aria-label="View" hidden>
      <div class="tv-group">
        ${button("light", "Light and background", "L", 'aria-expanded="false"')}
        ${button("grid", "Grid", "G", 'aria-pressed="false"')}
        ${button("rotate", "Turn the model slowly", "R", 'aria-pressed="false"')}
        ${button("compare", "Compare with the picture", "C", 'aria-pressed="false"')}
        ${button("before", "Before and after", "V", 'aria-pressed="false" hidden')}
      </div>
      <div class="tv-group">
        ${button("picture", "Save a picture without background", "S")}
        ${button("reset", "Back to the first view", "H")}
        ${button("fullscreen", "Full screen", "F", 'aria-pressed="false"')}
        ${button("keys", "Keys", "?", 'aria-expanded="false"')}
      </div>
    </div>
    <div class="tv-panel" data-panel="light" hidden>
      <div class="tv-row tv-choices" role="group" aria-label="Light">${choices("light", LIGHTS)}</div>
      <label class="tv-row"><span>Direction</span><input type="range" data-slider="angle" min="0" max="360" step="5" value="0"></label>
      <label class="tv-row"><span>Exposure</span><input type="range" data-slider="exposure" min="0.3" max="2.5" step="0.05" value="1"></label>
      <div class="tv-row tv-swatches" role="group" aria-label="Background"><span>Background</span>${choices("background", BACKGROUNDS)}</div>
    </div>
    <div class="tv-panel" data-panel="keys" hidden><dl>
      ${help("← ↑ ↓ →", "Turn")}${help("Shift ← ↑ ↓ →", "Move")}${help("+ −", "Zoom")}${help("1 – 6", "Shown as")}
      ${help("L", "Next light")}${help("[ ]", "Turn the light")}${help("B", "Next background")}${help("G", "Grid")}
      ${help("R", "Turn the model slowly")}${help("C", "Compare with the picture")}${help("S", "Save a picture without background")}
      ${help("H", "Back to the first view")}${help("F", "Full screen")}
    </dl></div>
    <div class="tv-scale" hidden></div>
  </div>
  <div class="tv-facts" hidden></div>`;

export class Pane {
  constructor(element) {
    element.classList.add("tv-pane");
    element.innerHTML = MARKUP;
    const find = (selector) => element.querySelector(selector);
    this.element = element;
    this.canvas = find("canvas");
    this.message = find(".tv-message");
    this.comparison = find(".tv-compare");
    this.split = find(".tv-compare input");
    this.facts = find(".tv-facts");
    this.scale = find(".tv-scale");
    this.listeners = {};
    this.available = new Set();

    element.addEventListener("click", (event) => this.click(event.target.closest("button")));
    element.addEventListener("keydown", (event) => this.press(event));
    for (const slider of element.querySelectorAll("[data-slider]"))
      slider.oninput = () => this.emit("look", { [slider.dataset.slider]: Number(slider.value) });
    this.between = find(".tv-before input");
    this.between.oninput = () => this.emit("before", this.between.value / 100);
    this.split.oninput = () => this.moveSplit();
    document.addEventListener("pointerdown", (event) => {
      if (!event.target.closest?.(".tv-panel, [aria-expanded]")) this.openPanel(null);
    });
    document.addEventListener("fullscreenchange", () => this.mark("fullscreen", document.fullscreenElement === element));
    this.action("fullscreen").hidden = !document.fullscreenEnabled;
    this.choose("light", "studio");
    this.choose("background", "page");
    this.setRotating(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  }

  on(event, listener) {
    this.listeners[event] = listener;
  }

  emit(event, value) {
    this.listeners[event]?.(value);
  }

  action(name) {
    return this.element.querySelector(`[data-action=${name}]`);
  }

  mark(name, on) {
    this.action(name).setAttribute("aria-pressed", on);
  }

  marked(name) {
    return this.action(name).getAttribute("aria-pressed") === "true";
  }

  click(target) {
    if (!target || target.disabled) return;
    const { mode, light, background, action } = target.dataset;
    if (mode) this.emit("mode", mode);
    if (light) this.choose("light", light);
    if (background) this.choose("background", background);
    if (action) this.act(action);
  }

  act(action) {
    if (this.action(action).disabled || this.action(action).hidden) return;
    if (action === "light" || action === "keys") this.openPanel(action);
    else if (action === "grid") this.setGrid(!this.marked("grid"));
    else if (action === "rotate") this.setRotating(!this.marked("rotate"));
    else if (action === "compare") this.setComparing(!this.marked("compare"));
    else if (action === "before") this.setBefore(!this.marked("before"));
    else if (action === "fullscreen") this.toggleFullscreen();
    else this.emit(action);
  }

  // Keys count where the pane has the focus; fields and buttons keep the keys that they need themselves.
  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.available.size) return;
    if (event.target.matches("input") && /^(Arrow|Page|Home|End)/.test(event.key)) return;
    if (this.useKey(event)) event.preventDefault();
  }

  useKey({ key, shiftKey }) {
    const turns = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (turns[key]) {
      const [x, y] = turns[key];
      if (shiftKey) this.emit("pan", [-SHIFT * x, SHIFT * y]);
      else this.emit("turn", [TURN * x, TURN * y]);
      return true;
    }
    const mode = Object.keys(MODES)[Number(key) - 1];
    const steps = {
      "+": () => this.emit("zoom", 1 / 1.15),
      "=": () => this.emit("zoom", 1 / 1.15),
      "-": () => this.emit("zoom", 1.15),
      "[": () => this.turnLight(-ANGLE_STEP),
      "]": () => this.turnLight(ANGLE_STEP),
      l: () => this.choose("light", next(LIGHTS, this.element.dataset.light)),
      b: () => this.choose("background", next(BACKGROUNDS, this.element.dataset.background)),
      g: () => this.act("grid"),
      r: () => this.act("rotate"),
      c: () => this.act("compare"),
      v: () => this.act("before"),
      s: () => this.act("picture"),
      h: () => this.act("reset"),
      home: () => this.act("reset"),
      f: () => this.act("fullscreen"),
      "?": () => this.act("keys"),
      escape: () => this.escape(),
    };
    const step = mode ? () => this.available.has(mode) && this.emit("mode", mode) : steps[key.toLowerCase()];
    step?.();
    return Boolean(step);
  }

  escape() {
    const open = this.element.querySelector("[aria-expanded=true]");
    if (open) {
      this.openPanel(null);
      open.focus();
    } else if (this.marked("compare")) this.setComparing(false);
    else if (this.marked("before")) this.setBefore(false);
  }

  openPanel(name) {
    for (const panel of this.element.querySelectorAll("[data-panel]")) {
      const open = panel.dataset.panel === name && panel.hidden;
      panel.hidden = !open;
      this.action(panel.dataset.panel).setAttribute("aria-expanded", open);
    }
  }

  choose(group, name) {
    this.element.dataset[group] = name;
    for (const item of this.element.querySelectorAll(`[data-panel] [data-${group}]`))
      item.setAttribute("aria-pressed", item.dataset[group] === name);
    if (group !== "light") return;
    this.element.querySelector("[data-slider=angle]").disabled = name === "neutral";
    this.emit("look", { light: name });
  }

  turnLight(step) {
    const slider = this.element.querySelector("[data-slider=angle]");
    if (slider.disabled) return;
    slider.value = (Number(slider.value) + step + 360) % 360;
    slider.oninput();
  }

  setGrid(on) {
    this.mark("grid", on);
    this.emit("look", { grid: on });
  }

  setRotating(on) {
    if (on && this.marked("compare")) this.setComparing(false);
    this.mark("rotate", on);
    this.emit("rotating", on);
  }

  // The picture is compared under neutral light, where the model has the colours of its texture.
  setComparing(on) {
    if (on === this.marked("compare")) return;
    if (on) {
      this.setRotating(false);
      this.lightBefore = this.element.dataset.light;
    }
    this.mark("compare", on);
    this.comparison.hidden = !on;
    this.choose("light", on ? "neutral" : this.lightBefore);
    this.moveSplit();
    this.emit("comparing", on);
    (on ? this.split : this.canvas).focus({ preventScroll: true });
  }

  moveSplit() {
    const on = this.marked("compare");
    this.element.style.setProperty("--split", `${this.split.value}%`);
    this.element.toggleAttribute("data-comparing", on);
  }

  offerBefore(there) {
    this.setBefore(false);
    this.action("before").hidden = !there;
  }

  setBefore(on) {
    if (on === this.marked("before")) return;
    if (on) this.setComparing(false);
    this.mark("before", on);
    this.between.parentElement.hidden = !on;
    this.emit("before", on ? this.between.value / 100 : null);
    (on ? this.between : this.canvas).focus({ preventScroll: true });
  }

  toggleFullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.element.requestFullscreen();
  }

  // again: what is offered beside the text, if anything.
  say(text, again) {
    this.message.textContent = text;
    if (again) this.message.append(Object.assign(document.createElement("button"), { type: "button", textContent: "Try again", onclick: again }));
    this.element.dataset.state = text ? "message" : "ready";
  }

  // Which modes there are, and the input picture, if its camera is known.
  offer(modes, picture) {
    this.available = new Set(modes);
    for (const part of this.element.querySelectorAll(".tv-modes, .tv-tools")) part.hidden = modes.length === 0;
    for (const item of this.element.querySelectorAll("[data-mode]")) item.disabled = !this.available.has(item.dataset.mode);
    this.action("compare").disabled = !picture;
    if (picture) this.comparison.querySelector("img").src = picture;
    if (!picture) this.setComparing(false);
  }

  select(mode) {
    this.element.dataset.shown = mode;
    this.element.dataset.kind = mode === "gaussians" ? "ply" : "glb";
    for (const item of this.element.querySelectorAll("[data-mode]"))
      item.setAttribute("aria-pressed", item.dataset.mode === mode);
  }

  // texts: the facts of what is shown, one each; none hides the line.
  tell(texts) {
    this.facts.hidden = texts.length === 0;
    this.facts.replaceChildren(...texts.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
  }

  tellScale(text) {
    this.scale.hidden = !text;
    this.scale.textContent = text;
  }
}

function next(names, name) {
  const keys = Object.keys(names);
  return keys[(keys.indexOf(name) + 1) % keys.length];
}
