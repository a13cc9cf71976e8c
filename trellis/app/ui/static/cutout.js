// The dialog in which an object is cut out by hand. What is drawn goes to the server as shares of the picture and one
// small picture of strokes; the server answers with the mask. Everything that is drawn is a list, so undo drops its end.
const dialog = element.querySelector("dialog");
const canvas = dialog.querySelector("canvas");
const brush = dialog.querySelector("input");
const said = dialog.querySelector(".said");
const pen = canvas.getContext("2d");
const HINTS = {
  box: "Drag a box around the object.",
  add: "Brush over what belongs to the object.",
  remove: "Brush over what does not belong to the object.",
  crop: "Drag a frame around the part of the picture that is used.",
};
const STEP = 0.02; // of a side, for an arrow key
const MOST_SIDE = 1024;
let number = 0;
let [asked, index, tool, picture, mask, before, done, drawing, cursor, opener] = [null, 0, "box", null, null, null, [], null, null, null];

function send(order, more = {}) {
  number += 1;
  asked = { number, order };
  setBusy(true);
  props.value = { number, order, index, ...more };
  trigger("submit");
}

function setBusy(now) {
  dialog.setAttribute("aria-busy", now);
  if (now) said.textContent = "Cutting out…";
}

// What was drawn, from the list.
function state() {
  const now = { whole: false, crop: null, box: null, strokes: [], ...before };
  for (const step of done) {
    if (step.kind === "stroke") now.strokes = [...now.strokes, step];
    else if (step.kind === "box") Object.assign(now, { box: step.shares, whole: false });
    else if (step.kind === "whole") Object.assign(now, { whole: step.on, box: step.on ? null : now.box });
    else now[step.kind] = step.shares;
  }
  return now;
}

function strokeCanvas(strokes) {
  const layer = new OffscreenCanvas(canvas.width, canvas.height);
  const context = layer.getContext("2d");
  if (before?.layer) context.drawImage(before.layer, 0, 0, canvas.width, canvas.height);
  context.lineCap = context.lineJoin = "round";
  for (const { tool: kind, width, points } of strokes) {
    context.strokeStyle = kind === "add" ? "#00ff00" : "#ff0000";
    context.lineWidth = width;
    context.beginPath();
    points.forEach(([x, y], at) => context[at ? "lineTo" : "moveTo"](x * canvas.width, y * canvas.height));
    if (points.length === 1) context.lineTo(points[0][0] * canvas.width + 0.01, points[0][1] * canvas.height);
    context.stroke();
  }
  return layer;
}

async function addressOf(layer) {
  const reader = new FileReader();
  reader.readAsDataURL(await layer.convertToBlob({ type: "image/png" }));
  return new Promise((resolve) => reader.addEventListener("load", () => resolve(reader.result)));
}

async function ask(order) {
  setBusy(true);
  const { whole, crop, box, strokes } = state();
  const drawn = strokes.length || before?.layer ? await addressOf(strokeCanvas(strokes)) : "";
  send(order, { whole, crop, box, strokes: drawn });
}

function framed([left, top, right, bottom], color) {
  pen.setLineDash([6, 4]);
  pen.lineWidth = 2;
  for (const [style, offset] of [["#000", 0], [color, 5]]) {
    pen.strokeStyle = style;
    pen.lineDashOffset = offset;
    pen.strokeRect(left * canvas.width, top * canvas.height, (right - left) * canvas.width, (bottom - top) * canvas.height);
  }
}

function paint() {
  if (!picture) return;
  const { width, height } = canvas;
  const now = state();
  pen.clearRect(0, 0, width, height);
  pen.drawImage(picture, 0, 0, width, height);
  if (mask) { // what is not kept is dark
    const shade = new OffscreenCanvas(width, height);
    const context = shade.getContext("2d");
    const [left, top, right, bottom] = mask.crop ?? [0, 0, 1, 1];
    context.drawImage(mask.layer, left * width, top * height, (right - left) * width, (bottom - top) * height);
    context.globalCompositeOperation = "source-out";
    context.fillStyle = "rgb(20 24 60 / 78%)";
    context.fillRect(0, 0, width, height);
    pen.drawImage(shade, 0, 0);
  }
  const strokes = drawing?.points ? [...now.strokes, drawing] : now.strokes;
  pen.globalAlpha = 0.3;
  pen.drawImage(strokeCanvas(strokes), 0, 0);
  pen.globalAlpha = 1;
  if (now.crop) framed(now.crop, "#fff");
  if (now.box) framed(now.box, "#2dd4bf");
  if (drawing?.shares) framed(drawing.shares, drawing.kind === "box" ? "#2dd4bf" : "#fff");
  if (cursor) {
    pen.setLineDash([]);
    for (const [color, size] of [["#000", 5], ["#fff", 2]]) {
      [pen.strokeStyle, pen.lineWidth] = [color, size];
      pen.beginPath();
      pen.moveTo(cursor[0] * width - 12, cursor[1] * height);
      pen.lineTo(cursor[0] * width + 12, cursor[1] * height);
      pen.moveTo(cursor[0] * width, cursor[1] * height - 12);
      pen.lineTo(cursor[0] * width, cursor[1] * height + 12);
      pen.stroke();
    }
  }
  dialog.querySelector("[data-order=undo]").disabled = !done.length;
  dialog.querySelector("[data-order=whole]").setAttribute("aria-pressed", now.whole);
}

// A grey mask as a picture whose transparency it is.
function layerOf(image) {
  const layer = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = layer.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, layer.width, layer.height);
  for (let at = 0; at < pixels.data.length; at += 4) pixels.data[at + 3] = pixels.data[at];
  context.putImageData(pixels, 0, 0);
  return layer;
}

async function loaded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

function choose(name) {
  tool = name;
  for (const button of dialog.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === name);
  said.textContent = HINTS[name];
}

function begin([x, y]) {
  const width = (Number(brush.value) / 100) * Math.max(canvas.width, canvas.height);
  if (tool === "box" || tool === "crop") drawing = { kind: tool, from: [x, y], shares: [x, y, x, y] };
  else drawing = { kind: "stroke", tool, width, points: [[x, y]] };
}

function move([x, y]) {
  if (!drawing) return;
  if (drawing.points) drawing.points.push([x, y]);
  else {
    const [fromX, fromY] = drawing.from;
    drawing.shares = [Math.min(x, fromX), Math.min(y, fromY), Math.max(x, fromX), Math.max(y, fromY)];
  }
}

function end() {
  if (!drawing) return;
  const [left, top, right, bottom] = drawing.shares ?? [0, 0, 1, 1];
  const drawn = right - left >= 0.01 && bottom - top >= 0.01;
  if (drawn) done.push(drawing);
  drawing = null;
  if (drawn) ask("try");
  paint();
}

function place(event) {
  const area = canvas.getBoundingClientRect();
  return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height].map((share) => Math.min(1, Math.max(0, share)));
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !picture) return;
  canvas.setPointerCapture(event.pointerId);
  cursor = null;
  begin(place(event));
  paint();
});
canvas.addEventListener("pointermove", (event) => {
  if (!drawing || cursor) return;
  move(place(event));
  paint();
});
canvas.addEventListener("pointerup", () => { if (!cursor) end(); });
canvas.addEventListener("pointercancel", () => { drawing = null; paint(); });

canvas.addEventListener("keydown", (event) => {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!picture || !(event.key in ways || event.key === "Enter" || event.key === " ")) return;
  event.preventDefault();
  cursor ??= [0.5, 0.5];
  if (event.key in ways) {
    cursor = cursor.map((share, axis) => Math.min(1, Math.max(0, share + STEP * (event.shiftKey ? 5 : 1) * ways[event.key][axis])));
    move(cursor);
  } else if (drawing) end();
  else begin(cursor);
  paint();
});

function open(at, name) {
  [index, picture, mask, before, done, drawing, cursor] = [at, null, null, null, [], null, null];
  opener = document.activeElement;
  choose(name ?? "box");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  dialog.showModal();
  send("open");
}

async function receive(answer) {
  if (answer?.answer === undefined || answer.answer !== asked?.number) return; // of an older question
  const { order } = asked;
  if (order !== "open" || answer.error) setBusy(false);
  if (answer.error) {
    if (!dialog.open) dialog.showModal();
    said.textContent = answer.error;
    return;
  }
  if (order === "use") {
    dialog.close();
    return;
  }
  if (order === "open") {
    picture = await loaded(answer.picture);
    const scale = Math.min(1, MOST_SIDE / Math.max(picture.naturalWidth, picture.naturalHeight));
    canvas.width = Math.round(picture.naturalWidth * scale);
    canvas.height = Math.round(picture.naturalHeight * scale);
    canvas.style.setProperty("--ratio", canvas.width / canvas.height);
    if (answer.whole !== undefined) {
      before = { whole: answer.whole, crop: answer.crop, box: answer.box };
      if (answer.strokes) before.layer = await loaded(answer.strokes);
    }
    paint();
    ask("try");
    return;
  }
  mask = { layer: layerOf(await loaded(answer.mask)), crop: state().crop };
  said.textContent = HINTS[tool];
  paint();
}

dialog.addEventListener("click", (event) => {
  const { tool: name, order } = event.target.closest("button")?.dataset ?? {};
  if (name) choose(name);
  else if (order === "cancel") dialog.close();
  else if (order === "use" && picture) ask("use");
  else if (order === "undo" || order === "whole") {
    if (order === "undo") done.pop();
    else done.push({ kind: "whole", on: !state().whole });
    paint();
    ask("try");
  }
});
dialog.addEventListener("close", () => {
  asked = null;
  opener?.focus();
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-cutout], .cutouts [data-way]");
  if (!button) return;
  if (button.dataset.way) document.querySelector(`#background input[value="${button.dataset.way}"]`).click();
  else if (button.dataset.tool === "whole") {
    [index, opener] = [Number(button.dataset.cutout), button];
    send("use", { whole: true });
  } else open(Number(button.dataset.cutout), button.dataset.tool);
});
watch("value", () => receive(props.value));
