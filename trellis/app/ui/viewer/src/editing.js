// What an edit of the model that is shown needs of the viewer: boxes with handles, the piece under a click, and a view
// to paint over. The shapes of a region are boxes, [[x, y, z], [x, y, z]], and balls, [[x, y, z], radius], in the frame of
// the GLB.
import * as THREE from "three";
import { TransformControls } from "three/addons/controls/TransformControls.js";
import { tint } from "./tint.js";
import { piecesAside } from "./topology.js";

const MARK = 0xf97316;
const SMALLEST = 0.01; // of the model's size
const CLICK = 5; // pixels that a click may move
const SLABS = 5; // of a ball

const isBall = ([, size]) => typeof size === "number";

// A shape as boxes: a ball is a stack of slabs, each of three boxes with their corners on its circle.
export function boxesOf(shape) {
  if (!isBall(shape)) return [shape];
  const [[x, y, z], radius] = shape;
  const thick = (2 * radius) / SLABS;
  return Array.from({ length: SLABS }, (_, index) => y - radius + (index + 0.5) * thick).flatMap((middle) => {
    const round = Math.sqrt(radius ** 2 - (middle - y) ** 2);
    return [Math.PI / 8, Math.PI / 4, (3 * Math.PI) / 8].map((angle) => {
      const half = [round * Math.cos(angle), thick / 2, round * Math.sin(angle)];
      return [-1, 1].map((side) => [x, middle, z].map((value, axis) => Number((value + side * half[axis]).toFixed(4))));
    });
  });
}

export class Boxes {
  // onChange hears the boxes, and which one is chosen, after every change by hand.
  constructor(stage, onChange) {
    this.stage = stage;
    this.onChange = onChange;
    this.drawn = [];
    this.chosen = -1;
    this.handles = new TransformControls(stage.camera, stage.canvas);
    this.handles.addEventListener("change", () => stage.redraw());
    this.handles.addEventListener("dragging-changed", ({ value }) => {
      stage.controls.enabled = !value;
    });
    this.handles.addEventListener("objectChange", () => this.changed());
    stage.canvas.addEventListener("pointerdown", (event) => (this.down = [event.clientX, event.clientY]));
    stage.canvas.addEventListener("click", (event) => this.click(event));
    stage.canvas.addEventListener("wheel", (event) => this.resizeBall(event), { capture: true, passive: false });
  }

  changed() {
    const values = this.values();
    tint(values.flatMap(boxesOf));
    this.onChange(values, this.chosen);
  }

  // Show these boxes with the handles on one of them; null ends it.
  set(boxes, chosen = 0) {
    this.active = boxes !== null;
    const { marks } = this.stage;
    for (const box of this.drawn) {
      marks.remove(box);
      for (const part of [box, ...box.children]) part.geometry.dispose();
    }
    if (!boxes) this.piece = null;
    this.drawn = (boxes ?? []).map(drawnShape);
    for (const box of this.drawn) marks.add(box);
    this.place(boxes ?? []);
    this.choose(Math.min(chosen, this.drawn.length - 1));
  }

  place(boxes) {
    boxes.forEach(([low, high], index) => {
      const shape = this.drawn[index];
      const ball = isBall(boxes[index]);
      shape.position.set(...(ball ? low : low.map((value, axis) => (value + high[axis]) / 2)));
      shape.scale.set(...low.map((value, axis) => (ball ? 2 * high : high[axis] - value)));
    });
    tint(boxes.flatMap(boxesOf));
    this.stage.redraw();
  }

  choose(index) {
    this.chosen = index;
    const helper = this.handles.getHelper();
    if (this.active && this.drawn[index]) {
      this.handles.attach(this.drawn[index]);
      this.stage.marks.add(helper);
    } else {
      this.handles.detach();
      this.stage.marks.remove(helper);
    }
    this.stage.redraw();
  }

  // What the handles do: "translate" or "scale".
  setHandles(mode) {
    this.handles.setMode(mode);
    this.stage.redraw();
  }

  values() {
    return this.drawn.map(({ position, scale, userData }) => {
      if (userData.ball) return [position.toArray(), Number((Math.cbrt(scale.x * scale.y * scale.z) / 2).toFixed(4))];
      const [middle, side] = [position.toArray(), scale.toArray().map((value) => Math.max(Math.abs(value), SMALLEST))];
      return [-0.5, 0.5].map((part) => middle.map((value, axis) => Number((value + part * side[axis]).toFixed(4))));
    });
  }

  // What of these a pointer's ray meets first.
  hit({ clientX, clientY }, objects) {
    const { left, top, width, height } = this.stage.canvas.getBoundingClientRect();
    const ray = new THREE.Raycaster();
    ray.setFromCamera(new THREE.Vector2((2 * (clientX - left)) / width - 1, 1 - (2 * (clientY - top)) / height), this.stage.camera);
    return ray.intersectObjects(objects, false)[0];
  }

  // A click makes the shape that is chosen, or with Shift a new one, the bounds of the connected piece under it; clicked
  // again, or where all is one piece, a ball about the place.
  async click(event) {
    const { mesh } = this.stage.models;
    const moved = this.down && Math.hypot(event.clientX - this.down[0], event.clientY - this.down[1]) > CLICK;
    if (!this.active || moved || this.chosen < 0 || this.handles.dragging || !mesh) return;
    const hit = this.hit(event, mesh.parts);
    if (!hit) return;
    const piece = await pieceBounds(hit);
    const reach = mesh.box.getSize(new THREE.Vector3()).length();
    const again = this.piece?.equals(piece) || piece.getSize(new THREE.Vector3()).length() > 0.95 * reach;
    this.piece = piece.clone();
    piece.expandByScalar(SMALLEST * reach);
    const shapes = this.values();
    const at = event.shiftKey ? shapes.length : this.chosen;
    shapes[at] = again ? [hit.point.toArray().map((value) => Number(value.toFixed(4))), Number((0.12 * reach).toFixed(4))] : [piece.min.toArray(), piece.max.toArray()];
    this.set(shapes, at);
    this.changed();
  }

  // The wheel over the ball that is chosen sizes it, in place of the view.
  resizeBall(event) {
    const ball = this.active && this.drawn[this.chosen];
    if (!ball?.userData.ball || !this.hit(event, [ball])) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    ball.scale.multiplyScalar(event.deltaY > 0 ? 1 / 1.1 : 1.1);
    this.changed();
    this.stage.redraw();
  }
}

function drawnShape(values) {
  const ball = isBall(values);
  const shape = ball ? new THREE.SphereGeometry(0.5, 32, 16) : new THREE.BoxGeometry();
  const seen = { color: MARK, transparent: true, depthWrite: false, toneMapped: false };
  const drawn = new THREE.Mesh(shape, new THREE.MeshBasicMaterial({ ...seen, opacity: 0.12 }));
  if (!ball) drawn.add(new THREE.LineSegments(new THREE.EdgesGeometry(shape), new THREE.LineBasicMaterial(seen)));
  drawn.userData.ball = ball;
  return drawn;
}

async function pieceBounds({ object, face }) {
  const { position } = object.geometry.attributes;
  const every = object.userData.every ?? object.geometry.index;
  object.userData.pieces ??= piecesAside({ positions: new Float32Array(position.array), index: new Uint32Array(every.array) });
  const { labels, bounds } = await object.userData.pieces;
  const [low, high] = [bounds.slice(6 * labels[face.a], 6 * labels[face.a] + 3), bounds.slice(6 * labels[face.a] + 3, 6 * labels[face.a] + 6)];
  return new THREE.Box3(new THREE.Vector3(...low), new THREE.Vector3(...high)).applyMatrix4(object.matrixWorld);
}

// What the camera sees now as a square picture on nothing, and its frame: { blob, view }, the view as `PictureView` of
// the program takes it (world z up, camera y down, everything in sides of the crop).
export async function takeView(stage, size = 1024) {
  const camera = stage.camera.clone();
  camera.aspect = 1;
  camera.updateProjectionMatrix();
  const before = stage.look;
  stage.setLook({ light: "neutral", grid: false, mode: "textured" });
  stage.renderer.setPixelRatio(1);
  stage.renderer.setSize(size, size, false);
  stage.bare(() => stage.renderer.render(stage.scene, camera));
  const taken = new Promise((resolve) => stage.canvas.toBlob(resolve, "image/png"));
  stage.setLook(before);
  stage.resize();
  const blob = await taken;
  const [left, top, side] = await framed(blob, size);
  const scale = size / side;
  const focal = (0.5 / Math.tan(THREE.MathUtils.degToRad(camera.fov / 2))) * scale;
  const turned = new THREE.Matrix4().set(1, 0, 0, 0, 0, 0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 1); // z up to y up
  const outer = new THREE.Matrix4().makeScale(1, -1, -1).multiply(camera.matrixWorldInverse).multiply(turned).transpose().toArray();
  const inner = [[focal, 0, (size / 2 - left) / side], [0, focal, (size / 2 - top) / side], [0, 0, 1]];
  const extrinsics = [0, 4, 8, 12].map((row) => outer.slice(row, row + 4));
  return { blob, view: { size: [size, size], box: [left, top, left + side, top + side], camera: { extrinsics, intrinsics: inner } } };
}

// The square about what is opaque in a picture, 1.2 times as large: left, top, side.
async function framed(blob, size) {
  const pen = Object.assign(document.createElement("canvas"), { width: size, height: size }).getContext("2d");
  pen.drawImage(await createImageBitmap(blob), 0, 0);
  const { data } = pen.getImageData(0, 0, size, size);
  let [left, top, right, bottom] = [size, size, 0, 0];
  for (let at = 3; at < data.length; at += 4) {
    if (data[at] <= 204) continue;
    const [x, y] = [(at >> 2) % size, Math.floor((at >> 2) / size)];
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  if (right < left) return [0, 0, size];
  const half = Math.floor(0.6 * Math.max(right - left, bottom - top));
  return [Math.round((left + right) / 2 - half), Math.round((top + bottom) / 2 - half), Math.max(2 * half, 1)];
}
