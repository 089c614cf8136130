"use strict";
// The box of a run in three dimensions, by 3Dmol.
(() => {
  const place = document.getElementById("box");
  const water = document.getElementById("water");
  const EDGE = { color: "#9aa5b1", dashed: false };
  const STEP = 10;

  function edges(viewer, text) {
    const found = /Lattice="([^"]+)"/.exec(text);
    if (!found) return;
    const n = found[1].trim().split(/\s+/).map(Number);
    const [a, b, c] = [n.slice(0, 3), n.slice(3, 6), n.slice(6, 9)];
    const point = (i, j, k) => ({ x: i * a[0] + j * b[0] + k * c[0], y: i * a[1] + j * b[1] + k * c[1], z: i * a[2] + j * b[2] + k * c[2] });
    for (const [s, t] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
      viewer.addLine({ ...EDGE, start: point(0, s, t), end: point(1, s, t) });
      viewer.addLine({ ...EDGE, start: point(s, 0, t), end: point(s, 1, t) });
      viewer.addLine({ ...EDGE, start: point(s, t, 0), end: point(s, t, 1) });
    }
  }

  function style(viewer) {
    const shown = water.getAttribute("aria-pressed") === "true";
    viewer.setStyle({}, { sphere: { scale: 0.55 } });
    viewer.setStyle({ elem: ["O", "H"] }, shown ? { stick: { radius: 0.09 }, sphere: { scale: 0.13 } } : {});
    viewer.render();
  }

  function keys(viewer, event) {
    const turns = { ArrowLeft: [-STEP, "y"], ArrowRight: [STEP, "y"], ArrowUp: [-STEP, "x"], ArrowDown: [STEP, "x"] };
    if (event.key in turns) viewer.rotate(...turns[event.key]);
    else if (event.key === "+" || event.key === "=") viewer.zoom(1.15);
    else if (event.key === "-") viewer.zoom(0.87);
    else return;
    event.preventDefault();
  }

  fetch(place.dataset.file).then((answer) => answer.text()).then((text) => {
    const viewer = $3Dmol.createViewer(place, { backgroundColor: "white", antialias: true });
    viewer.addModel(text, "xyz");
    edges(viewer, text);
    style(viewer);
    viewer.zoomTo();
    viewer.rotate(20, "y");
    viewer.rotate(12, "x");
    viewer.render();
    place.dataset.atoms = viewer.getModel().selectedAtoms({}).length;
    place.addEventListener("keydown", (event) => keys(viewer, event));
    water.addEventListener("click", () => {
      water.setAttribute("aria-pressed", String(water.getAttribute("aria-pressed") !== "true"));
      style(viewer);
    });
  }).catch(() => { place.textContent = "This browser cannot draw the box; its file is below."; });
})();
