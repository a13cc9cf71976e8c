// The frame around the canvas: which representation is shown, rotation, exposure, reset, and one line of text.

const MARKUP = `
  <canvas class="tv-canvas" aria-label="3D view: drag to turn, scroll to zoom"></canvas>
  <div class="tv-message" role="status"></div>
  <div class="tv-bar" hidden>
    <div class="tv-kinds" role="group" aria-label="Shown as">
      <button type="button" data-kind="glb">Mesh</button>
      <button type="button" data-kind="ply">Gaussians</button>
    </div>
    <label class="tv-exposure"><span>Exposure</span>
      <input type="range" min="0.3" max="2.5" step="0.05" value="1" title="Exposure" aria-label="Exposure">
    </label>
    <button type="button" data-action="rotate" title="Turn the model slowly">Rotate</button>
    <button type="button" data-action="reset" title="Back to the first view">Reset</button>
  </div>`;

export class Pane {
  constructor(element) {
    element.classList.add("tv-pane");
    element.innerHTML = MARKUP;
    this.canvas = element.querySelector("canvas");
    this.message = element.querySelector(".tv-message");
    this.bar = element.querySelector(".tv-bar");
    this.kinds = [...element.querySelectorAll("[data-kind]")];
    this.rotate = element.querySelector("[data-action=rotate]");
    this.exposure = element.querySelector("input");
    this.listeners = {};
    this.element = element;

    for (const button of this.kinds) button.onclick = () => this.emit("kind", button.dataset.kind);
    this.rotate.onclick = () => this.setRotating(!this.rotating);
    this.exposure.oninput = () => this.emit("exposure", Number(this.exposure.value));
    element.querySelector("[data-action=reset]").onclick = () => this.emit("reset");
    this.setRotating(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  }

  on(event, listener) {
    this.listeners[event] = listener;
  }

  emit(event, value) {
    this.listeners[event]?.(value);
  }

  say(text) {
    this.message.textContent = text;
    this.element.dataset.state = text ? "message" : "ready";
  }

  offer(kinds) {
    this.bar.hidden = kinds.length === 0;
    for (const button of this.kinds) button.disabled = !kinds.includes(button.dataset.kind);
  }

  select(kind) {
    this.element.dataset.kind = kind;
    for (const button of this.kinds) button.setAttribute("aria-pressed", button.dataset.kind === kind);
  }

  get rotating() {
    return this.rotate.getAttribute("aria-pressed") === "true";
  }

  setRotating(on) {
    this.rotate.setAttribute("aria-pressed", on);
    this.emit("rotating", on);
  }
}
