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

  function forPaper() {
    places.forEach(function (place) {
      var size = place.dataset.printSize.split(" ").map(Number);
      place.screenHeight = place.layout.height;
      Plotly.relayout(place, { width: size[0], height: size[1], autosize: false });
    });
  }
  function forScreen() {
    places.forEach(function (place) {
      Plotly.relayout(place, { width: null, height: place.screenHeight, autosize: true });
    });
  }
  window.addEventListener("beforeprint", forPaper);
  window.addEventListener("afterprint", forScreen);
})();
