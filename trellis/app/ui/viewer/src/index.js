// The 3D pane of the page. `TrellisViewer.mount(element)` fills an empty element and returns `show(files)`, where
// files = { glb: address, ply: address } (either may be missing) or null for the empty state.
import { Pane } from "./pane.js";
import { Stage } from "./stage.js";

function mount(element) {
  const pane = new Pane(element);
  let stage;
  try {
    stage = new Stage(pane.canvas, { onGrab: () => pane.setRotating(false) });
  } catch (error) {
    console.error(error);
    pane.say("This browser cannot show 3D (WebGL is off). The download buttons still work.");
    return { show: () => {} };
  }

  let files = null;
  let latest = 0; // a later request wins over one that is still loading

  async function load(kind) {
    const turn = ++latest;
    pane.select(kind);
    pane.say("Loading the model…");
    try {
      if (kind === "glb") await stage.showMesh(files.glb, () => turn === latest);
      else await stage.showGaussians(files.ply, () => turn === latest);
      if (turn === latest) pane.say("");
    } catch (error) {
      console.error(error);
      if (turn === latest) pane.say("The model could not be loaded. The download buttons still work.");
    }
  }

  pane.on("kind", load);
  pane.on("rotating", (on) => stage.setRotating(on));
  pane.on("exposure", (value) => stage.setExposure(value));
  pane.on("reset", () => stage.resetView());
  stage.setRotating(pane.rotating);

  return {
    show(next) {
      const kinds = ["glb", "ply"].filter((kind) => next?.[kind]);
      files = next;
      pane.offer(kinds);
      if (kinds.length) {
        stage.resetView();
        element.scrollIntoView({ block: "nearest", behavior: "smooth" }); // on a phone it is below the fold
        load(kinds[0]);
      } else {
        latest += 1;
        stage.clear();
        pane.say("Your model appears here");
      }
    },
  };
}

window.TrellisViewer = { mount };
