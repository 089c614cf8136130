(function () {
  "use strict";
  var places = Array.prototype.slice.call(document.querySelectorAll("[data-figure]"));
  var touch = window.matchMedia("(pointer: coarse)").matches;
  var config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: touch ? false : undefined,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]
  };

  places.forEach(function (place) {
    var figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
    if (touch) { figure.layout.dragmode = false; }
    Plotly.newPlot(place, figure.data, figure.layout, config);
  });

  function resizeTo(width) {
    places.forEach(function (place) {
      Plotly.relayout(place, width === null
        ? { width: null, autosize: true }
        : { width: Number(place.dataset.printWidth), autosize: false });
    });
  }
  window.addEventListener("beforeprint", function () { resizeTo("print"); });
  window.addEventListener("afterprint", function () { resizeTo(null); });
})();
