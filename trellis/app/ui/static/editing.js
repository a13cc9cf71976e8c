// The region of an edit: boxes and balls as numbers here and with handles in the 3D pane, and the view that is painted over.
const AXES = ["x", "y", "z"];
const pane = () => document.querySelector(".viewer");
// What is drawn of the boxes; nothing in a browser without WebGL, where numbers are left.
const UNSEEN = Object.fromEntries(["set", "place", "choose", "setHandles"].map((name) => [name, () => {}]));
const marks = () => pane().viewer.boxes ?? UNSEEN;
const list = element.querySelector(".edit-boxes");
let boxes = [];
let chosen = 0;
let view = null;

let viewOf = ""; // the bounds of the model that the view shows

const bounds = () => JSON.stringify(pane()?.viewer?.box ?? null);

// What the page sends; a view of another model is none.
function drawn() {
  if (view && viewOf !== bounds()) forgetView();
  return { box: boxes.flatMap((shape) => pane()?.viewer?.boxesOf?.(shape) ?? [shape]), view };
}

function tell() {
  element.closest("#edit-region").drawn = drawn;
  element.querySelector("[data-part=view]").hidden = view === null;
}

const isBall = ([, size]) => typeof size === "number";

// A number of `holder`: a corner or the middle of a shape, or, for a radius, the shape itself.
function field(index, holder, at, label) {
  const input = Object.assign(document.createElement("input"), { type: "number", step: 0.01, value: holder[at] });
  input.setAttribute("aria-label", label);
  input.addEventListener("focus", () => choose(index));
  input.addEventListener("input", () => {
    if (!Number.isFinite(input.valueAsNumber)) return;
    holder[at] = input.valueAsNumber;
    marks().place(boxes);
    tell();
  });
  return input;
}

function show() {
  list.replaceChildren(
    ...boxes.map((shape, index) => {
      const [first, last] = isBall(shape) ? ["middle", "radius"] : ["from", "to"];
      const row = document.createElement("li");
      row.toggleAttribute("data-chosen", index === chosen);
      AXES.forEach((axis, at) => row.append(field(index, shape[0], at, `${first} ${axis}`)));
      if (isBall(shape)) row.append(field(index, shape, 1, last));
      else AXES.forEach((axis, at) => row.append(field(index, shape[1], at, `${last} ${axis}`)));
      return row;
    }),
  );
  element.querySelector("[data-part=remove]").disabled = boxes.length < 2;
  tell();
}

function choose(index) {
  if (index === chosen) return;
  chosen = index;
  marks().choose(index);
  [...list.children].forEach((row, at) => row.toggleAttribute("data-chosen", at === index));
}

function add() {
  const [low, high] = pane().viewer.box ?? [[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]];
  const at = (axis, share) => Number((low[axis] + share * (high[axis] - low[axis])).toFixed(3));
  const [from, to] = boxes.length ? [-0.02, 0.4] : [0.6, 1.02]; // the upper part, then the lower
  boxes.push([[at(0, -0.02), at(1, from), at(2, -0.02)], [at(0, 1.02), at(1, to), at(2, 1.02)]]);
  chosen = boxes.length - 1;
  marks().set(boxes, chosen);
  show();
}

// Some shape meets the shown model, and none holds all of it.
function fits() {
  const model = pane().viewer.box;
  if (!model) return true;
  const all = boxes.flatMap((shape) => pane().viewer.boxesOf(shape));
  const along = (test) => ([low, high]) => AXES.every((_, at) => test(low[at], high[at], model[0][at], model[1][at]));
  const meets = along((low, high, from, to) => low < to && from < high);
  const holds = along((low, high, from, to) => low < from && to < high);
  return all.some(meets) && !all.some(holds);
}

// Boxes are drawn while the panel is open and a part is meant.
function update() {
  const open = document.querySelector("#stage").classList.contains("editing");
  const meant = ["part", "remove"].includes(document.querySelector("#edit-operation [aria-checked=true]")?.value);
  element.querySelector(".edit-region").hidden = !meant;
  if (!pane()?.viewer) return;
  if (boxes.length && !fits()) boxes = []; // they were of another model
  if (!(open && meant)) marks().set(null);
  else if (boxes.length) marks().set(boxes, chosen);
  else add();
}

function forgetView() {
  view = null;
  tell();
}

async function editView() {
  const taken = await pane().viewer.takeView?.();
  if (!taken) return;
  [view, viewOf] = [taken.view, bounds()];
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(taken.blob), download: "view.png" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  tell();
}

element.addEventListener("click", (event) => {
  const part = event.target.closest("button")?.dataset.part;
  if (part === "add") add();
  if (part === "move" || part === "size") {
    marks().setHandles(part === "move" ? "translate" : "scale");
    for (const name of ["move", "size"]) element.querySelector(`[data-part=${name}]`).setAttribute("aria-pressed", name === part);
  }
  if (part === "edit-view") editView();
  if (part === "forget") forgetView();
  if (part === "remove") {
    boxes.splice(chosen, 1);
    chosen = 0;
    marks().set(boxes, 0);
    show();
  }
});
document.addEventListener("boxes", ({ detail }) => {
  boxes = detail.values;
  chosen = detail.chosen;
  show();
});
const watcher = new MutationObserver(update);
const begin = () => {
  const [stage, operation] = ["#stage", "#edit-operation"].map((selector) => document.querySelector(selector));
  if (!stage || !operation) return requestAnimationFrame(begin); // they are made after this
  watcher.observe(stage, { attributeFilter: ["class"] });
  watcher.observe(operation, { subtree: true, attributeFilter: ["aria-checked"] });
  watcher.observe(document.querySelector("#viewer"), { subtree: true, attributeFilter: ["data-state"] });
  tell();
};
begin();
