"use strict";
// Panels: values against molality with error bars, curves against distance, measurements beside.
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9", "#1c2127"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "cross", "star"];
const MEASURED = "#6b7480";
const FONT = { family: 'system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif', size: 12, color: "#1c2127" };
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

function axis(text) {
  return {
    title: { text, font: { size: 12 }, standoff: 6 }, showline: true, linecolor: "#c3cad2", ticks: "outside", ticklen: 4,
    tickcolor: "#c3cad2", gridcolor: "#eef1f4", zeroline: false, automargin: true,
  };
}

function layoutOf(x, y, legend) {
  return {
    template: null, font: FONT, margin: { l: 46, r: 8, t: 6, b: 42 }, hovermode: "closest", xaxis: axis(x), yaxis: axis(y),
    showlegend: legend, legend: { orientation: "h", y: -0.26, x: 0, font: { size: 11 } }, hoverlabel: { align: "left", font: FONT },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
  };
}

function lineTrace(line, label, index, shape = index) {
  const colour = COLOURS[index % COLOURS.length];
  const many = line.value.length > 12;
  return {
    type: "scatter", mode: many ? "lines+markers" : "markers", name: safe(label), x: line.molality, y: line.value, customdata: line.hash,
    error_y: { type: "data", array: line.error.map((e) => e || 0), visible: line.error.some((e) => e), thickness: 1.2, width: 2 },
    marker: { color: colour, size: many ? 4 : 7, symbol: SYMBOLS[shape % SYMBOLS.length] }, line: { color: colour, width: 1 },
    hovertemplate: "%{x:.4g} mol/kg<br>%{y:.5g}<extra>" + safe(label) + "</extra>",
  };
}

function measuredTrace(line, label, colour = MEASURED) {
  const curve = line.kind !== "points";
  return {
    type: "scatter", mode: curve ? "lines" : "markers", name: safe(label), x: line.molality, y: line.value,
    error_y: { type: "data", array: line.error.map((e) => e || 0), visible: !curve && line.error.some((e) => e), thickness: 1.2, width: 2 },
    line: { color: colour, width: 1.6, dash: "5px 3px" }, marker: { color: colour, size: 8, symbol: "diamond-open" },
    hovertemplate: "%{x:.4g} mol/kg<br>%{y:.5g}<extra>" + safe(label) + "</extra>",
  };
}

// A panel is drawn when it comes into view.
function panel(parent, title, alternative, caption, draw) {
  const plot = element("div", { className: "plot" });
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", alternative);
  const figure = element("figure", { className: "panel" }, element("h3", { textContent: title }), plot);
  if (caption) figure.append(element("figcaption", { textContent: caption }));
  parent.append(figure);
  const watch = new IntersectionObserver((seen) => {
    if (!seen.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    const { traces, layout } = draw();
    Plotly.newPlot(plot, traces, layout, CONFIG).then(() => {
      figure.dataset.drawn = "true";
      plot.on("plotly_click", (event) => {
        const hash = event.points[0].customdata;
        if (hash) window.location.assign(`/estimates/${hash}`);
      });
    });
  }, { rootMargin: "300px" });
  watch.observe(figure);
}

function citations(lines) {
  const texts = [...new Set(lines.map((line) => line.citation + (line.note ? ` (${line.note})` : "")))];
  return texts.length ? `Measured: ${texts.join("; ")}.` : "";
}
