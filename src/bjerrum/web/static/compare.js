"use strict";
// Salts and models side by side, and computed against measured.
(() => {
  const status = document.getElementById("status");
  if (!status) return;
  const figures = document.getElementById("figures");

  // The measured value at a molality, between the two nearest ones; null outside.
  function at(line, molality) {
    const x = line.molality;
    const next = x.findIndex((m) => m >= molality);
    if (line.kind === "points") return null;
    if (next < 0 || (next === 0 && x[0] > molality * 1.1)) return null;
    if (next === 0 || x[next] === molality) return line.value[next];
    const part = (molality - x[next - 1]) / (x[next] - x[next - 1]);
    return line.value[next - 1] + part * (line.value[next] - line.value[next - 1]);
  }

  function draw(data) {
    const salts = [...new Set(data.series.map((line) => line.salt))];
    const models = [...new Set(data.series.map((line) => `${line.model}|${line.method}`))];
    if (!salts.length) {
      status.textContent = "No values fit.";
      return;
    }
    const quantity = data.series[0].quantity;
    const unit = unitOf(data.series[0].unit);
    const label = symbolOf(quantity) + (unit ? ` / ${unit}` : "");
    const name = (line) => [formulaOf(line.salt), pairOf(line.subject), line.model].filter(Boolean).join(", ");
    const colour = (salt) => COLOURS[salts.indexOf(salt) % COLOURS.length];
    panel(figures, `${nameOf(quantity)} against molality`, `${nameOf(quantity)} of ${salts.join(", ")} against molality`, citations(data.measured), () => ({
      traces: [
        ...data.measured.map((line) => ({ ...measuredTrace(line, `${formulaOf(line.salt)}, experiment`, colour(line.salt)), showlegend: salts.length < 5 })),
        ...data.series.map((line) => lineTrace(line, name(line), salts.indexOf(line.salt), models.indexOf(`${line.model}|${line.method}`))),
      ],
      layout: layoutOf("mol/kg", label, true),
    }));
    const pairs = data.series.map((line) => {
      const beside = data.measured.find((other) => other.salt === line.salt && other.subject === line.subject && other.temperature_K === line.temperature_K);
      const points = beside ? line.molality.map((m, i) => [at(beside, m), line.value[i], line.error[i], line.hash[i]]).filter((p) => p[0] !== null) : [];
      return { line, points };
    });
    const known = pairs.filter((pair) => pair.points.length);
    if (known.length) parity(known, salts, models, label);
    table(known);
    status.textContent = `${data.series.reduce((sum, line) => sum + line.value.length, 0)} values of ${salts.length} ${salts.length === 1 ? "salt" : "salts"}`;
  }

  function parity(known, salts, models, label) {
    panel(figures, "Computed against measured", "Computed values against measured ones; on the diagonal they agree", "On the line they agree.", () => {
      const all = known.flatMap((pair) => pair.points.flatMap((p) => [p[0], p[1]]));
      const ends = [Math.min(...all), Math.max(...all)];
      return {
        traces: [{ type: "scatter", mode: "lines", x: ends, y: ends, line: { color: MEASURED, width: 1.2 }, hoverinfo: "skip", showlegend: false },
          ...known.map(({ line, points }) => ({
            type: "scatter", mode: "markers", showlegend: false, customdata: points.map((p) => p[3]), x: points.map((p) => p[0]), y: points.map((p) => p[1]),
            error_y: { type: "data", array: points.map((p) => p[2] || 0), thickness: 1.2, width: 2 },
            marker: { color: COLOURS[salts.indexOf(line.salt) % COLOURS.length], size: 6, symbol: SYMBOLS[models.indexOf(`${line.model}|${line.method}`) % SYMBOLS.length] },
            hovertemplate: "measured %{x:.4g}<br>computed %{y:.4g}<extra>" + safe(formulaOf(line.salt)) + "</extra>",
          }))],
        layout: layoutOf(`measured ${label}`, `computed ${label}`, false),
      };
    });
  }

  function table(known) {
    const body = document.querySelector("#deviations tbody");
    body.replaceChildren(...known.map(({ line, points }) => {
      const differences = points.map((p) => p[1] - p[0]);
      const mean = differences.reduce((a, b) => a + b, 0) / differences.length;
      const rms = Math.sqrt(differences.reduce((a, b) => a + b * b, 0) / differences.length);
      const cell = (text, className = "") => element("td", { className, textContent: text });
      return element("tr", {}, cell(formulaOf(line.salt)), cell(line.model || "–"), cell(line.method, "soft"), cell(points.length, "right"),
        cell(valueText(Number(mean.toPrecision(3))), "right"), cell(valueText(Number(rms.toPrecision(3))), "right"));
    }));
  }

  getJson(`/api/compare?${status.dataset.query}`).then(draw)
    .catch((error) => { status.textContent = `The values could not be loaded: ${error.message}`; });
})();
