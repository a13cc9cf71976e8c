// The 3D pane of the page. `TrellisViewer.mount(element)` fills an empty element and returns `show(files)`, where
// files = { glb, ply, picture, before, name }: addresses of the mesh, the Gaussians, the framed input picture and the mesh
// that this one was made from (each may be missing) and what the asset is called; or null for the empty state. With it
// come `boxes`, `boxesOf`, `takeView` and `box`, the bounds of the mesh, for edits (editing.js).
import { Boxes, boxesOf, takeView } from "./editing.js";
import { factTexts, lengthText } from "./facts.js";
import { addEdges, fetchBytes, readGaussians, readMesh, release } from "./model.js";
import { Pane } from "./pane.js";
import { Stage } from "./stage.js";
import css from "./viewer.css";

document.head.append(Object.assign(document.createElement("style"), { textContent: css }));

const LOST =
  "The graphics card stopped answering. If the model does not come back, load the page again. The download buttons still work.";
const MESH_MODES = ["textured", "clay", "wireframe", "normals", "uv"];

function mount(element) {
  const pane = new Pane(element);
  let stage;
  try {
    stage = new Stage(pane.canvas, {
      onGrab: () => pane.setRotating(false),
      onTooSlow: () => pane.setRotating(false),
      onLost: () => pane.say(LOST),
      onBack: () => show(files),
    });
  } catch (error) {
    console.error(error);
    pane.say("This browser cannot show 3D (WebGL is off). The download buttons still work.");
    return { show: () => {} };
  }

  let files = null;
  let modes = [];
  let latest = 0; // a later request wins over one that is still loading
  let turn = 0; // of the files
  let loading = {}; // by kind, of these files
  let wanted; // the kind that is to be seen

  async function setMode(mode) {
    const mine = ++latest;
    const first = !stage.shown; // nothing of these files has been seen yet
    const kind = (wanted = mode === "gaussians" ? "gaussians" : "mesh");
    const those = loading;
    pane.select(mode);
    try {
      if (!stage.models[kind]) {
        pane.say("Loading the model…");
        await (those[kind] ??= load(kind));
      }
      if (mine !== latest) return;
      if (mode === "wireframe" && stage.models.mesh.facts.unpaired === undefined) {
        pane.say("Finding the edges…");
        await stage.models.mesh.edges;
        if (mine !== latest) return;
      }
      stage.setLook({ mode });
      if (first) stage.resetView();
      tell();
      pane.say("");
    } catch (error) {
      console.error(error);
      delete those[kind];
      if (mine === latest) pane.say("The model could not be loaded. The download buttons still work.", () => setMode(mode));
    }
  }

  // Fetches a kind of model, unless other files are wanted meanwhile.
  async function load(kind) {
    const mine = turn;
    const address = kind === "gaussians" ? files.ply : files.glb;
    const bytes = await fetchBytes(address, (share) => {
      if (mine === turn && wanted === kind) pane.say(`Loading the model…${share < 1 ? ` ${Math.round(100 * share)} %` : ""}`);
    });
    const model = await (kind === "gaussians" ? readGaussians : readMesh)(bytes, stage.slow);
    if (mine !== turn) return release(model);
    stage.put(kind, model);
    if (kind === "gaussians") return;
    pane.offer(modes, model.camera && files.picture);
    model.edges = addEdges(model).then((unpaired) => {
      model.facts.unpaired = unpaired;
      if (mine === turn) tell();
    });
    model.edges.catch((error) => console.error(error)); // the model is shown without
  }

  function tell() {
    pane.tell(stage.shown ? factTexts(stage.shown.facts) : []);
    pane.tellScale(stage.grid ? `Grid: ${lengthText(stage.gridStep)}` : "");
  }

  async function savePicture() {
    const address = URL.createObjectURL(await stage.takePicture());
    Object.assign(document.createElement("a"), { href: address, download: `${files.name ?? "model"}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  pane.on("mode", setMode);
  pane.on("look", (change) => {
    stage.setLook(change);
    tell();
  });
  pane.on("rotating", (on) => stage.setRotating(on));
  pane.on("comparing", (on) => stage.setComparing(on));
  pane.on("before", async (share) => {
    if (share !== null && !stage.before) {
      const mine = turn;
      const model = await readMesh(await fetchBytes(files.before, () => {}), stage.slow);
      if (mine !== turn || stage.before) release(model);
      else stage.putBefore(model);
    }
    stage.setSplit(share);
  });
  pane.on("turn", ([yaw, pitch]) => stage.turn(yaw, pitch));
  pane.on("pan", ([right, up]) => stage.pan(right, up));
  pane.on("zoom", (factor) => stage.zoom(factor));
  pane.on("reset", () => {
    pane.setComparing(false);
    stage.resetView();
  });
  pane.on("picture", savePicture);
  stage.setRotating(pane.marked("rotate"));

  function show(next) {
    turn += 1;
    files = next;
    loading = {};
    modes = [...(next?.glb ? MESH_MODES : []), ...(next?.ply ? ["gaussians"] : [])];
    pane.offer(modes, null);
    pane.offerBefore(Boolean(next?.before && next.glb));
    stage.clear();
    pane.tell([]);
    pane.tellScale("");
    if (modes.length) {
      element.scrollIntoView({ block: "nearest", behavior: "smooth" }); // on a phone it is below the fold
      setMode(modes.includes(element.dataset.shown) ? element.dataset.shown : modes[0]);
    } else {
      latest += 1;
      pane.say("Your model appears here");
    }
  }

  return {
    boxes: new Boxes(stage, (values, chosen) => element.dispatchEvent(new CustomEvent("boxes", { bubbles: true, detail: { values, chosen } }))),
    boxesOf,
    takeView: () => takeView(stage),
    get box() {
      return stage.models.mesh ? [stage.models.mesh.box.min.toArray(), stage.models.mesh.box.max.toArray()] : null;
    },
    show,
  };
}

window.TrellisViewer = { mount };
